/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bring: how absent pages come in, whoever wants them: a fault (fault.c), or nobody (fetch.c).
 *
 * A page on its way in is BUSY. Who brings it in works without the lock, alone may change the
 * page's entry meanwhile, and wakes whoever waits for the page when all is done:
 *
 *   lock: entry |= BUSY   ->   fill, load, read (no lock)   ->   UFFDIO_COPY
 *                                                                     |
 *   wake   <-   lock: entry = RESIDENT, the stored copy is dropped   <'
 *
 * Pages in staging need no such detour: one UFFDIO_MOVE under the lock brings them back.
 *
 * All of it runs in the pager's threads; L: with the lock.
 */
#ifndef QUIRE_PAGER_BRING_H
#define QUIRE_PAGER_BRING_H

#include "pager/internal.h"
#include "pager/window.h"

struct waiters { /* who is to be woken when a fault has been served */
    uint32_t page, n_pages;
    bool first_touch;
    uint64_t waited_ns; /* for room */
};

/* How pages come in. */
struct coming {
    enum policy_arrival first; /* the first of them; the others come beside */
    bool clean;                /* writes to them will fault */
    bool in_stream;            /* read ahead of a thread that runs through them */
    bool in_a_row;             /* what comes before or after them is wanted, too */
};

/* L. How many pages from `page` on, up to `most`, can be brought in the same way. */
uint32_t bring_alike(uint32_t page, enum page_state state, uint32_t most);
/* A window is not worth waiting for: take what room there is, and one page in any case. */
uint32_t bring_within_room(uint32_t n_pages);

/* L. Marks [page, page + n) busy, and afterwards what of them came in, from the first on. */
void bring_begin(uint32_t page, uint32_t n_pages);
void bring_finish(uint32_t page, uint32_t n_pages, uint32_t n_done, const struct coming *coming);

/*
 * Installs n_pages pages; returns how many are there afterwards, from the first on. 0: the address
 * is mapped no more. *protect: writes to them should fault; false afterwards if some may not.
 */
uint32_t bring_install(uint32_t page, const unsigned char *contents, uint32_t n_pages,
                       bool *protect);
uint32_t bring_install_writable(uint32_t page, const unsigned char *contents, uint32_t n_pages);

/*
 * Loads n stored pages, until one is not intact; the first one has to be, if it was asked for.
 * Entries are BUSY: nobody changes them. in_a_row: their neighbours in the file are wanted, too,
 * before or after this.
 */
uint32_t bring_loaded(struct window *window, uint32_t page, uint32_t n_pages, bool asked_for,
                      bool in_a_row);

/* L. Brings n stored pages in; lets go of the lock meanwhile. How many came, from the first on. */
uint32_t bring_stored(uint32_t page, uint32_t n_pages, bool to_read, struct coming coming);

/* L. Pages that lie in consecutive slots come back in one move: how many, and how many came. */
uint32_t bring_staged_run(uint32_t page, uint32_t slot, uint32_t most);
uint32_t bring_back(uint32_t page, uint32_t slot, uint32_t n, enum policy_arrival first);

/* Who is not woken sleeps for ever, so a refusal is not taken for an answer. */
void bring_wake(struct waiters waiters);

#endif
