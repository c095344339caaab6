/* SPDX-License-Identifier: Apache-2.0 */
/*
 * group: 64 pages, a bit each. Pure functions on such a word; no state.
 *
 *     free    1 1 1 1 0 0 1 0 1 1 0 1 ...       bit i: page i of the group is free
 *     order 2 ^                                 bits at the first pages of free aligned runs
 *     order 1 ^   ^           ^
 *
 * A free block of a group is not stored anywhere: it is an aligned run of free pages whose buddy is
 * not all free. So within a group blocks split and coalesce by themselves, in a few instructions
 * whatever the order (after H. S. Warren, Hacker's Delight, 2nd ed. 2012, 6-3, runs of 1-bits).
 */
#ifndef QUIRE_PAGES_GROUP_H
#define QUIRE_PAGES_GROUP_H

#include <stdint.h>

#define GROUP_ORDER 6u
#define GROUP_PAGES (1u << GROUP_ORDER)
#define GROUP_TOP_ORDER (GROUP_ORDER - 1) /* the largest block that is part of a group */

/* n bits from bit `from` on; n is 1 to 64 and they fit. */
static inline uint64_t group_mask(unsigned from, unsigned n)
{
    return (~(uint64_t)0 >> (GROUP_PAGES - n)) << from;
}

/* Where runs of `order` >= 1 begin, of where those of the order below do. */
static inline uint64_t group_fold(uint64_t runs, unsigned order)
{
    static const uint64_t begins[GROUP_ORDER] = {
        0xffffffffffffffff, 0x5555555555555555, 0x1111111111111111,
        0x0101010101010101, 0x0001000100010001, 0x0000000100000001,
    };
    return runs & runs >> (1u << (order - 1)) & begins[order];
}

/* Where free runs of an order begin. */
static inline uint64_t group_runs(uint64_t free, unsigned order)
{
    for (unsigned k = 1; k <= order; k++)
        free = group_fold(free, k);
    return free;
}

/* The order of the largest free run within a group, at most GROUP_TOP_ORDER; -1: all are in use. */
static inline int group_largest(uint64_t free)
{
    uint64_t runs1 = group_fold(free, 1), runs2 = group_fold(runs1, 2);
    uint64_t runs3 = group_fold(runs2, 3), runs4 = group_fold(runs3, 4);
    uint64_t runs5 = group_fold(runs4, 5);

    /* each is 0 if the one before is */
    return (free != 0) + (runs1 != 0) + (runs2 != 0) + (runs3 != 0) + (runs4 != 0) + (runs5 != 0) -
           1;
}

/* Those runs of an order that are blocks: not half of a run of the next. */
static inline uint64_t group_blocks(uint64_t runs, unsigned order, unsigned top_order)
{
    if (order >= top_order)
        return runs;
    uint64_t wider = group_fold(runs, order + 1);
    return runs & ~(wider | wider << (1u << order));
}

/*
 * The first page of the lowest among the smallest free blocks of at least this order, which exists.
 * Blocks are no larger than top_order, at most GROUP_TOP_ORDER.
 */
static inline unsigned group_pick(uint64_t free, unsigned order, unsigned top_order)
{
    uint64_t runs = group_runs(free, order);

    for (unsigned k = order; k < top_order; k++) {
        uint64_t blocks = group_blocks(runs, k, top_order);
        if (blocks != 0)
            return (unsigned)__builtin_ctzll(blocks);
        runs = group_fold(runs, k + 1);
    }
    return (unsigned)__builtin_ctzll(runs);
}

/* The order of the free block that a free page of the group lies in. */
static inline unsigned group_block_order(uint64_t free, unsigned page, unsigned top_order)
{
    unsigned order = 0;
    while (order < top_order) {
        unsigned n = 2u << order;
        uint64_t mask = group_mask(page & ~(n - 1), n);
        if ((free & mask) != mask)
            break;
        order++;
    }
    return order;
}

#endif
