/* SPDX-License-Identifier: Apache-2.0 */
/*
 * touches: a ring in memory that all processes of a recorded run share. Their pagers' handlers put
 * in what they see of the program's touches; the recorder takes it out.
 *
 *   handlers of any process --touches_put()--> slots --touches_take()--> the one recorder
 *            waits while all slots are full         a slot is empty while its first word is 0
 *
 * Nothing is lost as long as the recorder lives: who finds the ring full waits. A process may be
 * killed between the two halves of a put; its slot is passed over after a while, and counted.
 *
 * Invariant T1: slots at and above `tail`, below `head`, are full or being filled; others are 0.
 */
#ifndef QUIRE_BASE_TOUCHES_H
#define QUIRE_BASE_TOUCHES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TOUCHES_WRITE (1u << 0) /* the access was one */
/* No touches: */
#define TOUCHES_BASE (1u << 1)  /* `page` is where the arena begins, in GiB */
#define TOUCHES_FREED (1u << 2) /* the heap has these pages back, and keeps them */
#define TOUCHES_REVIVED \
    (1u << 3) /* they are in use without a touch: handed out again, or moved here */
#define TOUCHES_DROPPED (1u << 4) /* the kernel has them back */

struct touch {
    uint64_t time_ns; /* CLOCK_MONOTONIC */
    uint32_t page;    /* of the arena; below 2^28 */
    uint32_t n_pages; /* from there on: 1 of a touch */
    uint32_t pid;     /* below 2^22 */
    uint32_t flags;
};

struct touches_slot {
    _Atomic uint64_t what; /* 0: empty */
    _Atomic uint64_t time_ns;
    _Atomic uint32_t n_pages;
};

struct touches {
    _Alignas(64) _Atomic uint64_t head;
    _Alignas(64) _Atomic uint64_t tail;
    _Atomic uint64_t n_lost; /* slots passed over */
    uint64_t n_slots;        /* a power of two */
    uint64_t stuck_since_ns; /* the recorder's */
    _Alignas(64) struct touches_slot slots[];
};

size_t touches_bytes(uint64_t n_slots);
/* Into zeroed memory. */
void touches_init(struct touches *touches, uint64_t n_slots);

/* Waits for room until `*ended` is not 0; then the touch is dropped. Async-signal-safe. */
void touches_put(struct touches *touches, const struct touch *touch, _Atomic uint32_t *ended);

/* The oldest ones, up to `most`; how many there were. */
size_t touches_take(struct touches *touches, struct touch *taken, size_t most);

#endif
