/* SPDX-License-Identifier: Apache-2.0 */
/*
 * copies: what the store still has of pages that came in to be read.
 *
 *   STORED ---- fault, to read ----> RESIDENT | CLEAN | KEPT      the copy stays in the store
 *      ^                                |              |
 *      '---- evicted: frame dropped ----'              '-- written to, freed, moved: copy dropped
 *
 * To evict such a page takes no reading, no packing and no writing. Invariant P6: a page has the
 * mark PAGE_KEPT if and only if it has an entry here, whose payload names a copy that is alive; it
 * is RESIDENT and CLEAN then, so the copy is what the page holds.
 *
 * Copies in the swap file are kept as long as the file has room, those that need no memory always.
 * One in RAM takes room that would serve a page better, unless the page is to leave at once: what
 * a stream read ahead (policy/drop_behind.h).
 *
 * All of it under the pager's lock.
 */
#ifndef QUIRE_PAGER_COPIES_H
#define QUIRE_PAGER_COPIES_H

#include "store/store.h"

#include <stdbool.h>
#include <stdint.h>

int copies_init(uint32_t n_pages);

/* Whether the copy that `page`, which just came in clean, was loaded from should stay. */
bool copies_is_worth(store_ref ref);

/* The page is RESIDENT and CLEAN; it gets its mark. */
void copies_keep(uint32_t page, store_ref ref);

store_ref copies_of(uint32_t page); /* 0: none */

/* The store moved the copy. */
void copies_relocate(uint32_t page, store_ref ref);

/* The page was evicted: the reference is the caller's. */
store_ref copies_hand_over(uint32_t page);

/* The page will change, or is gone: so is its copy. Nothing, if it has none. */
void copies_drop(uint32_t page);

/* The file is full: what is kept there makes room. Returns the number dropped. */
uint32_t copies_drop_file(void);

#endif
