/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool_validate: the pool's invariants P1 to P7, which pool.c states, each worked out again from
 * the blocks.
 */
#include "base/log.h"
#include "store/pool.h"

#include <errno.h>

static int unclean(const char *what, uint32_t index)
{
    log_error("pool: block %u: %s", index, what);
    return -EUCLEAN;
}

static int validate_block(const struct pool *pool, uint32_t index)
{
    const struct pool_block *block = &pool->blocks[index];
    if (block->class >= pool->n_classes)
        return unclean("no such class", index);
    unsigned n = 0, end = 0;
    for (int at = pool_next_used(block, 0); at >= 0; at = pool_next_used(block, end)) {
        n++;
        end = (unsigned)at + 1;
        if (end == POOL_SLOTS)
            break;
    }
    if (n != block->n_used || n == 0 || end > pool_n_slots(pool, block))
        return unclean("P1: used slots do not add up", index);
    if (block->n_leaving > block->n_used)
        return unclean("P1: more objects leave than are there", index);
    if (pool_pages_to_touch(pool, block, end - 1) != 0)
        return unclean("P2: an object lies in untouched memory", index);
    return 0;
}

/* Walks the age list; adds up the blocks, their pages, and those that must be on room lists. */
static int validate_ages(const struct pool *pool, uint32_t *n, size_t *n_pages, uint32_t *n_room)
{
    uint32_t last = POOL_NONE;
    for (uint32_t i = pool->oldest; i != POOL_NONE; i = pool->blocks[i].age_next) {
        const struct pool_block *block = &pool->blocks[i];
        if (i >= pool->n_opened || block->age_prev != last || ++*n > pool->n_opened)
            return unclean("P4: the age list is broken", i);
        if (validate_block(pool, i) != 0)
            return -EUCLEAN;
        *n_pages += block->n_touched;
        *n_room += block->n_used < pool_n_slots(pool, block);
        last = i;
    }
    return last == pool->youngest ? 0 : unclean("P4: the youngest is not the last", last);
}

static int validate_rooms(const struct pool *pool, uint32_t n_expected)
{
    uint32_t n = 0;
    for (unsigned c = 0; c < pool->n_classes; c++) {
        bool any = false;
        for (unsigned f = 0; f < POOL_N_FILLS; f++) {
            uint32_t last = POOL_NONE;
            for (uint32_t i = pool->room[c][f]; i != POOL_NONE; i = pool->blocks[i].room_next) {
                const struct pool_block *block = &pool->blocks[i];
                if (block->class != c || pool_fill_of(pool, block) != f ||
                    block->room_prev != last || ++n > n_expected)
                    return unclean("P3: on a wrong room list", i);
                last = i;
                any = true;
            }
        }
        if ((pool->has_room[c / 64] >> c % 64 & 1) != any)
            return unclean("P5: a class's bit is wrong", c);
    }
    return n == n_expected ? 0 : unclean("P3: blocks with room are on no list", n);
}

/* P7, of all classes; the age list has been found to be right. */
static int validate_free(const struct pool *pool)
{
    size_t n_free[POOL_MAX_CLASSES] = {0};
    for (uint32_t i = pool->oldest; i != POOL_NONE; i = pool->blocks[i].age_next)
        n_free[pool->blocks[i].class] += pool_n_slots(pool, &pool->blocks[i]) -
                                         pool->blocks[i].n_used;
    for (unsigned c = 0; c < pool->n_classes; c++)
        if (n_free[c] != pool->n_free[c])
            return unclean("P7: a class's free slots do not add up", c);
    return 0;
}

static int validate_shared(const struct pool *pool)
{
    size_t n_shared = 0;
    for (uint32_t i = 0; i < pool->n_opened; i++) {
        const struct pool_block *block = &pool->blocks[i];
        if (block->shared >> block->n_touched != 0)
            return unclean("P6: an untouched page is shared", i);
        n_shared += (size_t)__builtin_popcount(block->shared);
    }
    return n_shared == pool_shared_pages(pool) ? 0 : unclean("P6: shared pages do not add up", 0);
}

int pool_validate(const struct pool *pool)
{
    uint32_t n = 0, n_room = 0;
    size_t n_pages = 0;
    if (validate_ages(pool, &n, &n_pages, &n_room) != 0 || validate_rooms(pool, n_room) != 0)
        return -EUCLEAN;
    if (validate_free(pool) != 0 || validate_shared(pool) != 0)
        return -EUCLEAN;
    const uint32_t heads[] = {pool->free_head, pool->spare_head};
    for (unsigned list = 0; list < 2; list++) {
        for (uint32_t i = heads[list]; i != POOL_NONE; i = pool->blocks[i].age_next) {
            if (i >= pool->n_opened || pool->blocks[i].n_used != 0 || ++n > pool->n_opened)
                return unclean("P1: an empty block is not empty", i);
            n_pages += pool->blocks[i].n_touched;
        }
    }
    if (n != pool->n_opened)
        return unclean("P4: blocks are on no list", n);
    return n_pages == pool_pages(pool) ? 0 : unclean("P2: pages do not add up", 0);
}
