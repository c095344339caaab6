/* SPDX-License-Identifier: Apache-2.0 */
/*
 * instance: a problem in one space, as the searches want it.
 *
 * Time is cut into sections, and a buffer becomes an item that covers sections. A section stands
 * for a largest set of buffers that live at one time: two items meet in time exactly if they share
 * one. There are at most as many as there are buffers.
 *
 *     time      |--a--|      |---c---|            section   0    1
 *                  |-----b------|                           a b  b c
 *
 * An item with gaps has several pieces. A group, whose members never share memory, is one more
 * section after those of time, as a further piece of each member. So nothing below knows of gaps,
 * groups and times.
 *
 * Items stand in an order that does not depend on that of the input (by hull, size, alignment,
 * fixed offset), so a search on a permuted problem takes the same way.
 */
#ifndef QUIRE_TENSOR_INSTANCE_H
#define QUIRE_TENSOR_INSTANCE_H

#include "tensor/work.h"
#include <quire/tensor.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TENSOR_NOWHERE UINT64_MAX /* an offset that is not known */
#define TENSOR_MAX_LEVELS 8u

struct tensor_limits; /* work.h */

struct tensor_piece {
    uint32_t lower, upper; /* sections, half-open */
};

struct tensor_item {
    uint64_t size;         /* 1 or more */
    uint64_t alignment;    /* 1 or more */
    uint64_t fixed;        /* or TENSOR_NOWHERE */
    int64_t start;         /* time */
    uint64_t duration;     /* from start to end */
    uint32_t lower, upper; /* the hull of its pieces */
};

struct tensor_instance {
    uint32_t n_items, n_sections;
    struct tensor_item *items; /* ascending by lower */
    uint32_t *origin;          /* of each: the buffer's index in the problem */
    uint32_t *first_piece;     /* n_items + 1; NULL: every item is its hull */
    struct tensor_piece *pieces;
    uint64_t *need;   /* of each section: the sum of its sizes */
    uint64_t load;    /* the most of them */
    uint64_t bound;   /* bytes: no placement has a lower peak */
    uint64_t unit;    /* bytes: divides all sizes, alignments and fixed offsets */
    uint64_t n_pairs; /* that meet, at most */
    /* The highest `upper` of each 16 items, of each 256, ...: skips what ended long ago. */
    uint32_t *reach[TENSOR_MAX_LEVELS];
    unsigned n_levels;
    uint32_t *first_neighbour; /* n_items + 1; NULL: too many pairs, tensor_neighbours() looks */
    uint32_t *neighbours;
};

/*
 * `chosen` has the indices of the buffers of `problem` that are in this instance; those of 0 bytes
 * are left out. 0; -ENOMEM; -ETIME, as soon as the first placement and its check would be too late
 * for `limits` (NULL: none). The problem has been checked.
 */
int tensor_instance_init(struct tensor_instance *instance,
                         const struct quire_tensor_problem *problem, const uint32_t *chosen,
                         size_t n_chosen, uint64_t min_alignment,
                         const struct tensor_limits *limits);

void tensor_instance_deinit(struct tensor_instance *instance);

/* Makes lists of neighbours if they don't take too much memory. 0 or -ENOMEM. */
int tensor_instance_list_neighbours(struct tensor_instance *instance);

/* Whether two items whose hulls overlap live at one time. */
bool tensor_pieces_meet(const struct tensor_instance *instance, uint32_t a, uint32_t b);

/*
 * Those that live at a time at which `item` does, ascending, without itself. *list is either into
 * the instance or is `room`, which has n_items elements. Returns their number.
 */
uint32_t tensor_neighbours(const struct tensor_instance *instance, uint32_t item, uint32_t *room,
                           const uint32_t **list);

/* The pieces of an item; *single is for those that have one. Returns their number. */
static inline uint32_t tensor_pieces(const struct tensor_instance *instance, uint32_t item,
                                     struct tensor_piece *single,
                                     const struct tensor_piece **pieces)
{
    if (instance->first_piece != NULL) {
        *pieces = instance->pieces + instance->first_piece[item];
        return instance->first_piece[item + 1] - instance->first_piece[item];
    }
    *single = (struct tensor_piece){instance->items[item].lower, instance->items[item].upper};
    *pieces = single;
    return 1;
}

/* `alignment` is 1 or more. Sums of sizes and alignments are below 2^63. */
static inline uint64_t tensor_align_up(uint64_t offset, uint64_t alignment)
{
    if ((alignment & (alignment - 1)) == 0)
        return (offset + alignment - 1) & ~(alignment - 1);
    return (offset + alignment - 1) / alignment * alignment;
}

static inline uint64_t tensor_align_down(uint64_t offset, uint64_t alignment)
{
    if ((alignment & (alignment - 1)) == 0)
        return offset & ~(alignment - 1);
    return offset / alignment * alignment;
}

/* The least common multiple; 0 counts as 1. UINT64_MAX: it is too large. */
uint64_t tensor_common_alignment(uint64_t a, uint64_t b);

/* The highest end of an item; TENSOR_NOWHERE: one has no offset. */
uint64_t tensor_peak(const struct tensor_instance *instance, const uint64_t *offsets);

#endif
