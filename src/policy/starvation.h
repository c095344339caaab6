/* SPDX-License-Identifier: Apache-2.0 */
/*
 * starvation: does a handler of low priority get its turns?
 *
 * The handler runs on the processor of the thread whose faults it answers, and only while that
 * thread sleeps: as soon as it has woken it, the thread takes the processor from it. So the handler
 * is runnable, and waits, all the time that the thread runs. Whatever it waits beyond that, others
 * run, and the thread waits for the handler.
 *
 *   processor   | thread | handler | thread | other ......... | handler | thread |
 *   the handler | waits  | runs    | waits  | waits: starved  | runs    | waits  |
 *
 * Pure functions.
 */
#ifndef QUIRE_POLICY_STARVATION_H
#define QUIRE_POLICY_STARVATION_H

#include <stdbool.h>
#include <stdint.h>

#define STARVATION_SHARE 4 /* one part in so many of the time may go to others */

/* What both have had since they began, ns. */
struct turns {
    uint64_t at_ns;     /* when this was so */
    uint64_t ran_ns;    /* the thread, running; 0: not known */
    uint64_t waited_ns; /* the handler, runnable, waiting for its turn */
    uint32_t thread;    /* which one */
};

/* Whether the handler waited for others between two looks. False where it can't be told. */
bool starvation_between(const struct turns *then, const struct turns *now);

#endif
