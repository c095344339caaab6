/* SPDX-License-Identifier: Apache-2.0 */
/*
 * window: the memory through which a fault loads pages from the store.
 *
 * A thread takes one for each load and gives it back: the lowest that is free, so there are never
 * more in use, and with memory, than loads at the same time. Most programs need one, where one for
 * each thread that may serve a fault would be six.
 *
 *   pages   | 1st page | 2nd | ... WINDOW_PAGES      what is loaded, to be copied to its place
 *             one page from the file is read through the 2nd and 3rd
 *   cluster | ...                                    of the file, for pages that lie in a row
 *
 * Invariant W1: a window belongs to nobody, its bit in `free` is set, or to the thread that took
 * it.
 */
#ifndef QUIRE_PAGER_WINDOW_H
#define QUIRE_PAGER_WINDOW_H

#include "base/scratch.h"
#include "store/store.h"

#define WINDOW_PAGES 64u /* at most that are loaded at once */
#define N_WINDOWS 6      /* of threads that load: handlers.c, and the service thread */

struct window {
    struct store_packer *loader; /* in `state`; NULL: there is none as yet */
    struct scratch state, pages, cluster;
    struct store_reader reader;
};

/* Address space for all of them, once; all are free afterwards. 0 or -ENOMEM. */
int windows_init(enum store_codec most);

/* Pages will have to be loaded that this codec packed: before the first of them is in the store. */
void windows_expect(enum store_codec codec);

/* One that nobody else has; there is one for each thread. Does not block or allocate. */
struct window *window_take(void);
void window_give(struct window *window);

/* Says what is about to be used of it: to load n pages, of which some lie in the file. */
void window_use(struct window *window, uint32_t n_pages, bool from_file);

/* The memory of those that nobody has goes back to the system. */
void windows_drop(void);

#endif
