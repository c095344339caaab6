/* SPDX-License-Identifier: Apache-2.0 */
/*
 * meta: see meta.h.
 *
 *   chunk  |block|block|block|....free....|      one chunk at a time is carved; what is left of a
 *                             ^next       ^end   chunk when a block does not fit is given up
 *
 * Invariant M1: charged == bytes of all blocks handed out + what meta_charge added.
 * Lock: `lock` guards next and end. It is held for a few instructions, never over a fault that
 * Quire has to serve, since chunks are not managed memory.
 */
#include "base/meta.h"

#include "base/checked.h"
#include "base/lock.h"

#include <sys/mman.h>

#define CHUNK_BYTES ((size_t)256 << 10)
#define ALIGNMENT 64

static struct {
    struct lock lock;
    char *next, *end; /* under lock */
    _Atomic long charged;
} meta;

void *meta_map(size_t n_bytes)
{
    void *table = sys_mmap(NULL, n_bytes, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (sys_is_error(table))
        return NULL;
    sys_madvise(table, n_bytes, MADV_NOHUGEPAGE); /* a sparse table must stay sparse */
    return table;
}

void meta_unmap(void *table, size_t n_bytes)
{
    if (table)
        sys_munmap(table, n_bytes);
}

void meta_charge(long n_bytes)
{
    atomic_fetch_add_explicit(&meta.charged, n_bytes, memory_order_relaxed);
}

size_t meta_bytes(void)
{
    return (size_t)atomic_load_explicit(&meta.charged, memory_order_relaxed);
}

static void *carve_locked(size_t n_bytes)
{
    if ((size_t)(meta.end - meta.next) < n_bytes) {
        char *chunk = meta_map(CHUNK_BYTES);
        if (!chunk)
            return NULL;
        meta.next = chunk;
        meta.end = chunk + CHUNK_BYTES;
    }
    void *block = meta.next;
    meta.next += n_bytes;
    return block;
}

void *meta_alloc(size_t n_bytes)
{
    void *block;
    n_bytes = round_up(n_bytes, ALIGNMENT);
    if (n_bytes >= CHUNK_BYTES) {
        block = meta_map(n_bytes);
    } else {
        lock_take(&meta.lock);
        block = carve_locked(n_bytes);
        lock_release(&meta.lock);
    }
    if (block)
        meta_charge((long)n_bytes);
    return block;
}

void meta_fork_prepare(void)
{
    lock_take(&meta.lock);
}

void meta_fork_done(void)
{
    lock_release(&meta.lock);
}
