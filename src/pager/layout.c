/* SPDX-License-Identifier: Apache-2.0 */
/* layout: the pager describes its arena to those who read it from outside, base/arena_layout.h. */
#include "base/arena_layout.h"
#include "base/thread.h"
#include "pager/internal.h"

extern const struct arena_layout quire_arena_layout;

/* Found by its name among the library's dynamic symbols. */
__attribute__((visibility("default"), used)) const struct arena_layout quire_arena_layout = {
    .magic = {'Q', 'U', 'I', 'R', 'A', 'R', 'E', 'N'},
    .version = ARENA_LAYOUT_VERSION,
    .n_bytes = sizeof(struct arena_layout),
    .base = &pager.base,
    .n_pages = &pager.n_pages,
    .highest = &pager.table.highest,
    .n_used = &pager.table.n_used,
    .index = &pager.table.index,
    .groups = &pager.table.groups,
    .threads = thread_ids,
    .n_threads = THREAD_MOST_IDS,
    .chunk_shift = TABLE_CHUNK_SHIFT,
    .group_shift = TABLE_GROUP_SHIFT,
    .used_mask = TABLE_USED_MASK,
    .count_bits = TABLE_COUNT_BITS,
    .state_mask = PAGE_STATE_MASK,
    .resident_state = PAGE_RESIDENT,
};
