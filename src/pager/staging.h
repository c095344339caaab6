/* SPDX-License-Identifier: Apache-2.0 */
/*
 * staging: evicted pages that are still uncompressed, in a ring of slots.
 *
 *        tail: packed next                    head: filled next
 *         v                                    v
 *   |....| p | - | p | p | x | p | p | p | p |......|      p page   - hole   x orphan
 *
 * A slot is a page of a registered mapping of its own. Pages are moved into slots at the head and
 * packed into the store at the tail; one that is touched meanwhile is moved back and leaves a hole.
 * An orphan is a page whose owner no longer wants it (munmap): its memory goes when the tail
 * passes.
 *
 * head and tail are changed by the service thread alone; page[] under the pager's lock.
 */
#ifndef QUIRE_PAGER_STAGING_H
#define QUIRE_PAGER_STAGING_H

#include <stddef.h>
#include <stdint.h>

#define STAGING_HOLE UINT32_MAX
#define STAGING_ORPHAN (UINT32_MAX - 1)

struct staging {
    char *base;
    uint32_t *page;   /* of each slot */
    uint32_t n_slots; /* a power of two */
    uint64_t head, tail;
    uint64_t shared_head; /* where the head was at the last fork: slots before may be shared */
    uint32_t n_pages;     /* pages and orphans: what is charged */
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
