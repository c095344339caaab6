/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scratch: a buffer for what need not be kept, that holds memory for as much as is used of it.
 *
 *   | used: charged as metadata ......| never touched |
 *   memory                            ^ used_bytes    ^ n_bytes
 *
 * Invariant S1: what is charged for it is used_bytes, whole pages; no byte at or above has memory,
 * as long as its user says with scratch_use() what he touches, before he does.
 *
 * Not thread-safe: a buffer is in one pair of hands at a time.
 */
#ifndef QUIRE_BASE_SCRATCH_H
#define QUIRE_BASE_SCRATCH_H

#include <stddef.h>

struct scratch {
    unsigned char *memory; /* aligned to a page */
    size_t n_bytes;        /* address space */
    size_t used_bytes;     /* from the start; whole pages */
};

/* 0 or -ENOMEM. */
int scratch_open(struct scratch *scratch, size_t n_bytes);
void scratch_close(struct scratch *scratch);

/* Bytes below n_bytes are about to be touched. Cheap when they have been. */
void scratch_use(struct scratch *scratch, size_t n_bytes);

/* The contents are worth nothing any more: the memory goes back to the system. */
void scratch_drop(struct scratch *scratch);

#endif
