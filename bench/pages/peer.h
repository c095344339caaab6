/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peer: what buddy_bench wants of a page allocator. A peer is a shared library that exports
 * `struct pages_peer quire_pages_peer`; whoever runs the benchmark builds one around the allocator
 * that he wants beside ours, and names it on the command line.
 */
#ifndef QUIRE_BENCH_PAGES_PEER_H
#define QUIRE_BENCH_PAGES_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pages_peer {
    const char *name;
    bool is_threaded; /* may be used by several threads at once */

    /* An allocator of n_pages, a power of two, with blocks of orders 0 to 10; NULL: it can't. */
    void *(*create)(uint32_t n_pages);
    void (*destroy)(void *state);
    void *(*thread)(void *state,
                    unsigned number); /* what thread `number` hands to alloc and free */
    bool (*alloc)(void *thread, unsigned order, uint32_t *page);
    void (*free)(void *thread, uint32_t page, unsigned order);
    size_t (*metadata_bytes)(void *state);
};

#endif
