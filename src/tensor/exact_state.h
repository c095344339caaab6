/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exact_state: what an exact search has placed, and all that follows from it.
 *
 * States of an item: placed (offsets[i] is known) or left (minimum[i] is its lowest possible
 * offset). exact_place() and exact_unplace() change it and everything that follows from it; changes
 * of minimum and floor are logged, and undone in reverse.
 *
 * Invariants
 *   1. minimum[i] >= top of every placed item that meets i.
 *   2. total[s] = sum of the sizes of the items left that cover s.
 *   3. crossing[s] = number of items left that cover s - 1 and s.
 *   4. list[position[i]] == i; a call's items are a contiguous part of `list`, those left first.
 */
#ifndef QUIRE_TENSOR_EXACT_STATE_H
#define QUIRE_TENSOR_EXACT_STATE_H

#include "tensor/exact.h"
#include "tensor/instance.h"
#include "tensor/sort.h"
#include "tensor/work.h"

struct exact_change {
    uint64_t old;
    uint32_t index;   /* of an item, or of a section */
    uint32_t witness; /* of the section */
};

#define EXACT_NOBODY UINT32_MAX

/* A part that has no solution: what is left in it, and where each may begin at the lowest. */
struct exact_dead_end {
    uint64_t a, b; /* a hash of that; 0, 0: none */
};

#define EXACT_DEAD_ENDS 262144u /* a power of two */

struct tensor_exact {
    const struct tensor_instance *instance;
    uint32_t *rank;  /* of items: who goes first at an offset */
    bool by_fullest; /* it is renewed for each part */
    struct tensor_work *work;
    uint64_t capacity;
    uint64_t *offsets, *minimum;          /* of items */
    uint64_t *floor, *total;              /* of sections */
    uint32_t *crossing;                   /* of sections */
    uint32_t *witness;                    /* of sections: an item that may keep it low */
    uint32_t *first_member, *members;     /* of sections */
    uint32_t *twin;                       /* of items: an equal one that goes before */
    uint32_t *list, *position;            /* of items */
    uint32_t *watched;                    /* of items: the first section whose witness it is, */
    uint32_t *watch_before, *watch_after; /* of sections: and the others */
    struct exact_change *minima, *floors; /* logs */
    size_t n_minima, n_floors, max_minima, max_floors;
    struct tensor_key *choices, *scratch;
    size_t n_choices, max_choices;
    struct tensor_key *ranks; /* those of the parts that are being solved: a stack */
    size_t n_ranks, max_ranks;
    struct exact_dead_end *dead_ends; /* by the low bits of `a` */
};

/* Nothing is placed. */
void exact_begin(struct tensor_exact *exact);

/* Room in both logs for one more placement. False: no memory. */
bool exact_reserve_logs(struct tensor_exact *exact);
/* Room for `n` elements. False: no memory, and the search is over. */
bool exact_reserve(void **array, size_t element, size_t *max, size_t n);

/*
 * Puts an item at its minimum. *is_hatless: no neighbour of it is left. False: it leads nowhere.
 * Room in the logs has been reserved; to be undone by exact_unplace() either way.
 */
bool exact_place(struct tensor_exact *exact, uint32_t item, bool *is_hatless);
/* As before exact_place(), when the logs were of these lengths. */
void exact_unplace(struct tensor_exact *exact, uint32_t item, size_t n_minima, size_t n_floors);
/* An item is left again; the logs are not looked at. */
void exact_take_back(struct tensor_exact *exact, uint32_t item);

#endif
