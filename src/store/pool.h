/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool: variable-sized slots for objects in RAM, in blocks of one size class each; private to the
 * store. All functions want the owner's lock, but pool_object() and pool_pages().
 */
#ifndef QUIRE_STORE_POOL_H
#define QUIRE_STORE_POOL_H

#include "store/object.h"

#define POOL_BLOCK_BYTES ((size_t)64 << 10)
#define POOL_MIN_SLOT_BYTES ((size_t)128)
#define POOL_SLOTS (POOL_BLOCK_BYTES / POOL_MIN_SLOT_BYTES) /* the most in a block */
#define POOL_MAX_CLASSES 96
#define POOL_NONE UINT32_MAX
#define POOL_SPARE_BLOCKS 2 /* empty blocks that keep their pages */
static_assert(POOL_SLOTS == 1u << REF_SLOT_BITS, "a slot's number fits its field");

enum pool_fill { POOL_FULLER, POOL_EMPTIER, POOL_N_FILLS }; /* over half; at most half */

struct pool_block {
    uint64_t used[POOL_SLOTS / 64]; /* a bit a slot */
    uint32_t age_prev, age_next;    /* towards the oldest, towards the youngest */
    uint32_t room_prev, room_next;  /* others of the class that have free slots */
    uint16_t n_used;
    uint16_t n_leaving;  /* of these, listed in a batch: OBJECT_LEAVING or OBJECT_DEAD */
    uint16_t first_free; /* no slot below it is free */
    uint16_t shared;     /* a bit a page: a fork's other side may have its frame as well */
    uint8_t class;
    uint8_t n_touched; /* pages from the start that may hold memory */
};
static_assert(POOL_BLOCK_BYTES / SYS_PAGE_SIZE <= 16, "a bit a page in `shared`");

struct pool {
    unsigned char *base;
    struct pool_block *blocks;
    uint32_t n_blocks;  /* address space */
    uint32_t n_opened;  /* blocks from the start that were ever used */
    uint32_t free_head; /* opened, empty, untouched; linked by age_next */
    uint32_t spare_head, n_spare;
    uint32_t oldest, youngest;
    uint32_t first_own; /* since the last fork, the oldest to join the young end; POOL_NONE */
    uint32_t room[POOL_MAX_CLASSES][POOL_N_FILLS];
    uint64_t has_room[(POOL_MAX_CLASSES + 63) / 64]; /* classes with a block in room[] */
    uint32_t n_free[POOL_MAX_CLASSES];               /* free slots in blocks in use */
    _Atomic size_t n_pages;                          /* sum of n_touched */
    _Atomic size_t n_shared;                         /* sum of the bits in `shared` */
    size_t charged_bytes;                            /* of blocks[], as metadata */
    unsigned n_classes;
    uint16_t slot_bytes[POOL_MAX_CLASSES];
    uint8_t class_of[OBJECT_MAX_BYTES / 16 + 1]; /* by size in steps of 16 bytes, rounded up */
};

/* 0, -EINVAL or -ENOMEM. A pool of 0 bytes is allowed and refuses everything. */
int pool_init(struct pool *pool, size_t max_bytes);
void pool_deinit(struct pool *pool);

/*
 * Takes a slot for n_bytes (1 to OBJECT_MAX_BYTES) and sets its number. While the pool holds
 * `limit_pages` or more it only takes what needs no further page. 0 or -ENOSPC.
 */
int pool_take(struct pool *pool, size_t n_bytes, size_t limit_pages, uint64_t *slot);
void pool_give(struct pool *pool, uint64_t slot);

/*
 * Compaction. A block whose objects would fit into others of its size class, the emptiest of the
 * class that has most memory in free slots; POOL_NONE: no class has much more than a block of them.
 */
uint32_t pool_emptiest(const struct pool *pool);
/*
 * Takes a slot in another block for the n_bytes that are in slot `from`: of the size class that
 * fits them best if there is one on memory that is held anyway, or of the same. 0 or -ENOSPC.
 */
int pool_take_other(struct pool *pool, uint64_t from, size_t n_bytes, uint64_t *slot);

/*
 * A fork: what the pool holds is shared with the other side until it is written to, which makes a
 * copy of each page. Slots are taken elsewhere while there is room elsewhere.
 */
void pool_share(struct pool *pool);
void pool_unshare(struct pool *pool); /* the others are gone */
/* The first n_bytes of the slot, which is in use, are about to be written to. */
void pool_will_write(struct pool *pool, uint64_t slot, size_t n_bytes);
/* Where collecting starts: with what gives memory back. POOL_NONE: the pool is empty. */
uint32_t pool_oldest_own(const struct pool *pool);

/* Whether the number names a slot in use. */
bool pool_holds(const struct pool *pool, uint64_t slot);

/* The slot's memory, and how long it is. The slot must be in use. */
static inline struct object_header *pool_object(const struct pool *pool, uint64_t slot,
                                                size_t *n_bytes)
{
    const uint64_t block = slot >> REF_SLOT_BITS, index = slot & (POOL_SLOTS - 1);
    *n_bytes = pool->slot_bytes[pool->blocks[block].class];
    return (struct object_header *)(void *)(pool->base + block * POOL_BLOCK_BYTES +
                                            index * *n_bytes);
}

/* The state of the slot's object changes. */
static inline void pool_set_state(struct pool *pool, uint64_t slot, enum object_state state)
{
    size_t n_bytes;
    pool_will_write(pool, slot, OBJECT_HEADER_BYTES);
    pool_object(pool, slot, &n_bytes)->state = (uint8_t)state;
}

static inline size_t pool_pages(const struct pool *pool)
{
    return atomic_load_explicit(&pool->n_pages, memory_order_relaxed); /* a figure, no partner */
}

static inline size_t pool_shared_pages(const struct pool *pool)
{
    return atomic_load_explicit(&pool->n_shared, memory_order_relaxed); /* likewise */
}

/* How many slots the block's class has in a block. */
static inline unsigned pool_n_slots(const struct pool *pool, const struct pool_block *block)
{
    return (unsigned)(POOL_BLOCK_BYTES / pool->slot_bytes[block->class]);
}

static inline enum pool_fill pool_fill_of(const struct pool *pool, const struct pool_block *block)
{
    return 2u * block->n_used > pool_n_slots(pool, block) ? POOL_FULLER : POOL_EMPTIER;
}

/* The pages that taking `slot` would touch for the first time. */
static inline size_t pool_pages_to_touch(const struct pool *pool, const struct pool_block *block,
                                         unsigned slot)
{
    const size_t end = (slot + 1) * (size_t)pool->slot_bytes[block->class];
    const size_t n = (end + SYS_PAGE_SIZE - 1) >> SYS_PAGE_SHIFT;
    return n > block->n_touched ? n - block->n_touched : 0;
}

/* The first slot in use at or after `index` in the block, or -1. */
int pool_next_used(const struct pool_block *block, unsigned index);

/* 0 or -EUCLEAN with the reason logged. */
int pool_validate(const struct pool *pool);

#endif
