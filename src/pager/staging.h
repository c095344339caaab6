/* SPDX-License-Identifier: Apache-2.0 */
/*
 * staging: evicted pages that are still uncompressed, in a ring of slots.
 *
 *        tail: released next   packed: packed next   head: filled next
 *         v                     v                     v
 *   |....| x | - | x | x | x | x | p | - | p | x | p |......|     p page   - hole   x orphan
 *
 * A slot is a page of a registered mapping of its own. Pages are moved into slots at the head and
 * packed into the store at `packed`; one that is touched meanwhile is moved back and leaves a hole.
 * An orphan is a page whose owner no longer wants it there (it was packed, or unmapped). Its memory
 * is released when the tail passes, a block of STAGING_BLOCK slots at a time.
 *
 * Invariants, while nobody holds the lock:
 *   G1  tail <= packed <= head <= tail + n_slots
 *   G2  between tail and packed there are holes and orphans only; n_done is how many are orphans
 *   G3  n_pages is how many slots are no holes: what is charged
 *
 * head, packed and tail are changed by whoever has the pass; the rest under the pager's lock.
 */
#ifndef QUIRE_PAGER_STAGING_H
#define QUIRE_PAGER_STAGING_H

#include <stddef.h>
#include <stdint.h>

#define STAGING_HOLE UINT32_MAX
#define STAGING_ORPHAN (UINT32_MAX - 1)
#define STAGING_RESERVE_SLOTS \
    256u                 /* beside what is kept as a second chance: batches on their way */
#define STAGING_BLOCK 32 /* x86: of more than 33 pages the kernel would flush all of the TLB */

struct staging {
    char *base;
    uint32_t *page;   /* of each slot */
    uint32_t n_slots; /* a power of two */
    uint64_t head, packed, tail;
    uint64_t shared_head;     /* where the head was at the last fork: slots before may be shared */
    _Atomic uint32_t n_pages; /* pages and orphans: what is charged */
    _Atomic uint32_t n_done;  /* of these, orphans that only have to be released */
};

int staging_init(struct staging *staging, uint32_t n_slots);

static inline uint32_t staging_slot(const struct staging *staging, uint64_t position)
{
    return (uint32_t)(position & (staging->n_slots - 1));
}

static inline char *staging_address(const struct staging *staging, uint32_t slot)
{
    return staging->base + ((size_t)slot << 12);
}

/* How many slots at the head can be filled in one go, up to `most`. */
uint32_t staging_room(const struct staging *staging, uint32_t most);

#endif
