/* SPDX-License-Identifier: Apache-2.0 */
/*
 * meta: unpaged memory for Quire's own metadata.
 *
 * Straight from the kernel, never inside a managed region (DESIGN, rule 1), zeroed, and left out of
 * fork's reach of the pager: a child has its own copy on write. Two ways:
 *
 *   meta_map()    a large sparse table: only what is touched costs memory. Its user says with
 *                 meta_charge() what it touches, since nobody else can know cheaply.
 *   meta_alloc()  small permanent blocks, carved from chunks and charged at once; never freed
 *                 (keep freed blocks on a list of your own).
 *
 * meta_bytes() is the sum of the charges: the metadata line of the budget. Thread-safe, lock-free
 * but for meta_alloc's short lock.
 */
#ifndef QUIRE_BASE_META_H
#define QUIRE_BASE_META_H

#include <stddef.h>

/* A zeroed sparse table of n_bytes (address space only), or NULL. */
void *meta_map(size_t n_bytes);
void meta_unmap(void *table, size_t n_bytes);

/* Adds to (or takes from, negative) what counts as metadata. */
void meta_charge(long n_bytes);

/* A zeroed block of n_bytes, aligned to 64 bytes, charged. NULL when the kernel has no memory. */
void *meta_alloc(size_t n_bytes);

/* All that is charged, bytes. */
size_t meta_bytes(void);

/* Fork: prepare takes the lock, so that the child finds the chunk consistent. */
void meta_fork_prepare(void);
void meta_fork_done(void); /* in the parent and in the child */

#endif
