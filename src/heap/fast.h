/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fast: the paths of malloc and free that take no lock, to be inlined into whoever interposes them:
 * a pop from and a push to the thread's magazine, of the process's heap.
 *
 * Both fail for whatever is out of the ordinary: a magazine that is empty or full, a large object,
 * a hardened heap, a thread without a cache, a heap that is not set up yet, and any pointer that is
 * none of the heap's, NULL included. So they need no check before them, and all checks stand in the
 * slow path behind.
 */
#ifndef QUIRE_HEAP_FAST_H
#define QUIRE_HEAP_FAST_H

#include "heap/cache.h"

/* NULL: ask heap_malloc. */
static inline void *heap_fast_malloc(size_t n_bytes)
{
    if (__builtin_expect(n_bytes > CLASS_MAX_BYTES, 0))
        return NULL;
    return object_address(tcache_pop(class_of(n_bytes)));
}

/* False: ask heap_free. */
static inline bool heap_fast_free(void *object)
{
    size_t page = run_page(&heap_process, object);

    if (__builtin_expect(page >= heap_process.runs.n_pages || (uintptr_t)object % 16 != 0, 0))
        return false;
    /* relaxed: whoever passed the object on made its entry visible too */
    uint32_t entry = atomic_load_explicit(&heap_process.runs.entries[page], memory_order_relaxed);
    return tcache_push(tcache_bin(entry, run_owner(&heap_process, page)), object);
}

#endif
