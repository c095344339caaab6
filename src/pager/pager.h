/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pager: runs a process in less RAM than it uses.
 *
 * One address range a process, the arena, holds the heap's runs and the program's private anonymous
 * mappings. As long as what was handed out fits in the budget nothing is done to it at all; when
 * it does not, the pager is armed: a userfaultfd is registered over the arena, and from then on
 * pages come and go.
 *
 *   program's thread        handlers (fault.c)        service thread (reclaim.c)
 *   touches an absent  ---> bring the page in    <--- keeps room between the watermarks:
 *   page, sleeps            from zeros, staging,      evict to staging, pack into the store,
 *                           the store                 write on to the swap file
 *
 * Threads: the functions below are called by the program's threads, inside interposed functions.
 * They may block for I/O of the store, never for memory that the caller itself has to bring in.
 * Return 0 or a negative errno unless said otherwise.
 *
 * Locks, in the order they are taken:
 *   service.call_lock (service.c)   one request to the service thread at a time
 *   pager.pass                      held by the service thread during a pass; fork takes it
 *   pager.lock                      the arena, the table, the queues, staging and the store
 */
#ifndef QUIRE_PAGER_PAGER_H
#define QUIRE_PAGER_PAGER_H

#include "base/control.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Which bytes of a heap page are dead: see heap_scrub(). */
typedef size_t (*pager_scrub)(const void *page, void *copy);

/*
 * Reserves the arena. `control` may be NULL: then nothing is counted or paged. Called once, before
 * the program has threads. -ENOMEM: no address space; -EAGAIN: the run has too many processes.
 */
int pager_init(struct control *control, pager_scrub scrub);

/* The process is about to end: nothing counts against the budget any more. */
void pager_exit(void);

/* The part of the arena that heap pages come from. */
void *pager_heap_base(void);
size_t pager_heap_pages(void);

/* The heap's source of pages: the meaning of struct heap_source's functions. */
void *pager_heap_alloc(size_t n_pages, size_t align_pages, bool *zeroed);
void pager_heap_free(void *run, size_t n_pages);
bool pager_heap_extend(void *run, size_t n_pages, size_t new_n_pages, bool *zeroed);
void pager_heap_move(void *from, void *to, size_t n_pages);
/* Gives free heap pages that still hold memory back to the system; true if there were any. */
bool pager_heap_purge(void);

/* Whether a range of addresses lies wholly (owns) or partly (touches) in the mappings' part. */
bool pager_owns(const void *address, size_t n_bytes);
bool pager_touches(const void *address, size_t n_bytes);

/* Private anonymous memory; NULL when there is no room, or memory is exhausted. */
void *pager_map(size_t n_bytes, int prot);
/* The rest work on ranges that pager_owns. Lengths are rounded up to pages. */
int pager_unmap(void *address, size_t n_bytes);
int pager_protect(void *address, size_t n_bytes, int prot);
int pager_advise(void *address, size_t n_bytes, int advice);
int pager_lock_range(const void *address, size_t n_bytes);
int pager_unlock_range(const void *address, size_t n_bytes);
/* mremap's meaning without MREMAP_FIXED; the new address or a negative errno as a pointer. */
void *pager_remap(void *address, size_t old_bytes, size_t new_bytes, bool may_move);
/* MREMAP_FIXED from one managed range over another one. 0 or a negative errno. */
int pager_remap_over(void *address, size_t old_bytes, size_t new_bytes, void *target);
/* MAP_FIXED over a managed range: private anonymous memory again, or something foreign. */
int pager_map_over(void *address, size_t n_bytes, int prot);
void *pager_map_foreign(void *address, size_t n_bytes, int prot, int flags, int fd, long offset);

/* fork, from pthread_atfork handlers that run innermost. All signals stay blocked in between. */
void pager_fork_prepare(void);
void pager_fork_parent(void);
void pager_fork_child(void);

/* Between prepare and the fork: takes prepare back. */
void pager_fork_cancel(void);

/* Whether an access to the address could not fault: it is outside of the arena, or resident. Holds
 * for as long as pager_fork_prepare's locks are held. */
bool pager_is_resident(const void *address);

bool pager_is_armed(void);

#endif
