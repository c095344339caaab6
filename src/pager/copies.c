/* SPDX-License-Identifier: Apache-2.0 */
/* copies: see copies.h. */
#include "pager/copies.h"

#include "pager/reclaim.h"

#define FILE_SHARE 2 /* copies in the file are kept until one part in so many of it is used */

static struct table copies; /* STORED entries, of resident pages */

int copies_init(uint32_t n_pages)
{
    return table_init(&copies, n_pages);
}

static bool file_has_room(void)
{
    struct watermarks marks;
    uint64_t most_bytes = pager.control->options.swap_max_bytes / FILE_SHARE;
    budget_watermarks(&marks);
    return (uint64_t)pager.file_charged << SYS_PAGE_SHIFT < most_bytes / (uint64_t)marks.n_pagers;
}

bool copies_is_worth(store_ref ref)
{
    switch (store_tier(ref)) {
    case STORE_SAME_FILLED:
        return true;
    case STORE_RAM:
        return false;
    case STORE_FILE:
        break;
    }
    return writeback_is_possible() && file_has_room();
}

void copies_keep(uint32_t page, store_ref ref)
{
    table_set(&copies, page, page_make(PAGE_STORED, ref));
    table_set(&pager.table, page, table_get(&pager.table, page) | PAGE_KEPT);
}

store_ref copies_of(uint32_t page)
{
    return page_payload(table_get(&copies, page));
}

void copies_relocate(uint32_t page, store_ref ref)
{
    table_set(&copies, page, page_make(PAGE_STORED, ref));
}

store_ref copies_hand_over(uint32_t page)
{
    store_ref ref = copies_of(page);
    table_set(&copies, page, 0);
    return ref;
}

void copies_drop(uint32_t page)
{
    page_entry entry = table_get(&pager.table, page);
    if (!(entry & PAGE_KEPT))
        return;
    store_drop(pager.store, copies_of(page));
    table_set(&copies, page, 0);
    table_set(&pager.table, page, entry & ~PAGE_KEPT);
}

uint32_t copies_drop_file(void)
{
    uint32_t n_dropped = 0, page = 0;
    for (; (page = table_next(&copies, page, pager.n_pages)) < pager.n_pages; page++) {
        if (store_tier(copies_of(page)) != STORE_FILE)
            continue;
        copies_drop(page);
        n_dropped++;
    }
    return n_dropped;
}
