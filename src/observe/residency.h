/* SPDX-License-Identifier: Apache-2.0 */
/* residency: which pages of another process are in RAM. */
#ifndef QUIRE_OBSERVE_RESIDENCY_H
#define QUIRE_OBSERVE_RESIDENCY_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Told of each run of pages that are there; addresses rise. */
typedef void (*residency_visit)(void *context, uint64_t address, uint64_t n_bytes);

/*
 * Looks through [address, address + n_bytes) of the process, both multiples of the page size. The
 * kernel's zero page does not count. Costs the process nothing but that a change to its mappings
 * may have to wait, for 64 MiB of present pages at a time. 0; -ENOTTY: the kernel can't tell
 * (before Linux 6.7); or another negative errno: there is no such process, or it may not be looked
 * into. Allocates nothing; thread-safe.
 */
int residency_scan(pid_t pid, uint64_t address, uint64_t n_bytes, residency_visit visit,
                   void *context);

#endif
