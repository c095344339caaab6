/* SPDX-License-Identifier: Apache-2.0 */
/*
 * standing: threads whose stacks are made of managed memory.
 *
 * Whoever holds the pager's lock must not fault, since who serves faults waits for the lock. Some
 * programs' threads run on stacks that they allocated themselves (fibers, signal stacks). Such a
 * thread says on which pages it stands, before it takes the lock and until it has released it;
 * those stay where they are, and can be written to:
 *
 *   the thread                                    who takes pages away, or protects them: under L
 *     says where it stands                          turn becomes odd
 *     waits, if the turn is odd, until it is not    looks who stands where, passes those pages over
 *     touches the pages: from now on they stay      turn becomes even
 *     takes L ...
 *
 * Both sides write before they read, in sequentially consistent order: at least one of them sees
 * the other (as in E. Dijkstra's algorithm for mutual exclusion, 1965). Pages that may not be
 * written to are let be: below a small stack lies a page without access.
 */
#ifndef QUIRE_PAGER_STANDING_H
#define QUIRE_PAGER_STANDING_H

#include <stddef.h>
#include <stdint.h>

/*
 * The calling thread stands on what lies so far below and above its stack pointer. Not with L, and
 * with signals blocked. What standing_end() wants; 0: its stack is none of the pager's.
 */
unsigned standing_begin(size_t n_below, size_t n_above);
void standing_end(unsigned place);
void standing_fork_child(void); /* the others are the parent's */

/* L: pages are about to be taken away or protected; and no more. */
void standing_turn_begins(void);
void standing_turn_ends(void);

/* L, in a turn: how many of n_pages pages from `page` on there are before one that is stood on. */
uint32_t standing_before(uint32_t page, uint32_t n_pages);
void standing_each(void (*apply)(uint32_t from, uint32_t to));

#endif
