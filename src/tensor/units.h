/* SPDX-License-Identifier: Apache-2.0 */
/*
 * units: what is put in order: operators that may run apart from each other.
 *
 * A unit is an operator; or a Begin with its bodies and its End; or an operator with those that
 * prepare its constants (dequantize weights, say): these free nothing, so just before it is the
 * best place for them. Views belong to the value they show, a class, because nothing is moved for
 * them.
 */
#ifndef QUIRE_TENSOR_UNITS_H
#define QUIRE_TENSOR_UNITS_H

#include "tensor/graph.h"

/* Some of a table, one after the other. */
struct units_list {
    uint32_t first, n;
};

struct units_class {
    uint64_t n_bytes;
    struct units_list users; /* units that read or make any of it, in units.users */
    bool stays;              /* an output of the model */
    bool is_input;
};

struct unit {
    struct units_list operators; /* in units.operators */
    struct units_list touched;   /* classes of others that it reads or makes, in units.touched */
    struct units_list next;      /* units that wait for it, in units.next */
    struct units_list before;    /* those that it waits for, in units.before */
    /* Bytes that live inside of it alone: beside what its last operator makes, and at most before
     * that. */
    uint64_t inner, inner_before;
    bool can_overwrite; /* it may write over a value of its output's size */
};

struct units {
    const struct graph *graph;
    struct unit *unit;
    struct units_class *class;
    uint32_t *unit_of;  /* of each operator */
    uint32_t *class_of; /* of each tensor, or GRAPH_NONE */
    uint32_t *operators, *touched, *users, *next, *before;
    uint32_t n_units, n_classes;
    bool in_place;
};

/* 0 or -ENOMEM. */
int units_init(struct units *units, const struct graph *graph, bool in_place);
void units_free(struct units *units);

#endif
