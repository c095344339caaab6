/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch: what the pager sees of the program's touches, for `quire record`.
 *
 * In a recorded run the budget bounds what is resident and staged alone: a window that pages pass
 * through first in, first out, one at a time. Whatever is outside of it faults when it is touched,
 * and that is noted. What is inside is not seen again until it has left.
 */
#ifndef QUIRE_PAGER_WATCH_H
#define QUIRE_PAGER_WATCH_H

#include "pager/internal.h"

static inline bool is_watched(void)
{
    return pager.control && pager.control->options.n_touches > 0;
}

/* A fault of the program, before it is woken. `flags`: of base/touches.h. */
void watch_touch(uint32_t page, uint32_t flags);
/* L. What becomes of pages [page, end) without a touch, if anything is known of them. */
void watch_range(uint32_t page, uint32_t end, uint32_t flags);
/* The pager is armed: where the arena begins. */
void watch_begin(void);

#endif
