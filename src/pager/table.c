/* SPDX-License-Identifier: Apache-2.0 */
/* table: see table.h. */
#include "pager/table.h"

#include "base/meta.h"

#include <errno.h>

int table_init(struct table *table, uint32_t n_pages)
{
    size_t n_chunks = ((size_t)n_pages + TABLE_CHUNK_PAGES - 1) >> TABLE_CHUNK_SHIFT;
    *table = (struct table){
        .entries = meta_map((size_t)n_pages * sizeof(page_entry)),
        .n_used = meta_map(n_chunks * sizeof(uint16_t)),
        .n_pages = n_pages,
    };
    return table->entries && table->n_used ? 0 : -ENOMEM;
}

void table_set(struct table *table, uint32_t page, page_entry entry)
{
    uint16_t *n_used = &table->n_used[page >> TABLE_CHUNK_SHIFT];
    page_entry before = table_get(table, page);
    if (before == 0 && entry == 0)
        return;
    if (!(*n_used & TABLE_TOUCHED)) { /* the chunk's metadata page comes into being, and stays */
        *n_used |= TABLE_TOUCHED;
        meta_charge((long)(TABLE_CHUNK_PAGES * sizeof(page_entry)));
    }
    if (before == 0)
        ++*n_used; /* T1 */
    else if (entry == 0)
        --*n_used;
    table->entries[page] = entry;
    if (page >= table->highest)
        table->highest = (page | (TABLE_CHUNK_PAGES - 1)) + 1;
}

uint32_t table_next(const struct table *table, uint32_t page, uint32_t end)
{
    uint32_t last = end < table->highest ? end : table->highest;
    while (page < last) {
        uint32_t chunk_end = (page | (TABLE_CHUNK_PAGES - 1)) + 1;
        if (!table_chunk_used(table, page)) {
            page = chunk_end;
            continue;
        }
        for (; page < chunk_end && page < last; page++) {
            if (table->entries[page] != 0)
                return page;
        }
    }
    return end;
}
