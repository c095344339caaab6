/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fifo: the order in which pages arrived, as a queue without links.
 *
 * The first segment of a segmented FIFO (R. Turner, H. Levy, "Segmented FIFO Page Replacement",
 * SIGMETRICS 1981): user space sees no accessed bits, so the age of a page is the time since it
 * was last brought in, and the second segment (the pager's staging area) tells which of the old
 * ones are used after all; those enter the queue anew.
 *
 *        tail                     head
 *         v                        v
 *   ...|  7 |  9 |  - |  8 |  12 |        positions grow for ever; ring index = position % capacity
 *
 * The owner keeps each page's position, and with it takes a page out of the middle: that leaves a
 * hole, which nobody is ever given. Not thread-safe.
 *
 * The ring is the caller's memory (fifo_init), or a sparse mapping of the queue's own (fifo_open):
 * then the memory behind the tail goes back to the system, and what is held is charged as metadata,
 * 4 bytes a slot between tail and head.
 */
#ifndef QUIRE_POLICY_FIFO_H
#define QUIRE_POLICY_FIFO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FIFO_HOLE UINT32_MAX

struct fifo {
    uint32_t *ring;    /* capacity entries */
    uint64_t capacity; /* a power of two */
    uint64_t head, tail;
    uint64_t n_live; /* slots that are no holes: F3 */
    uint32_t n_held; /* pages of a ring of its own that are charged: F2 */
    bool is_own;     /* the ring is */
};

/* Bytes of `ring` for a queue of up to `capacity` slots, holes included. */
size_t fifo_bytes(uint64_t capacity);
void fifo_init(struct fifo *fifo, uint32_t *ring, uint64_t capacity);

/* A queue with a ring of its own. 0; -ENOMEM; -EINVAL: less than FIFO_LEAST_OWN slots. */
#define FIFO_LEAST_OWN 1024u /* they fill a page */
int fifo_open(struct fifo *fifo, uint64_t capacity);
void fifo_close(struct fifo *fifo);

static inline bool fifo_is_full(const struct fifo *fifo)
{
    return fifo->head - fifo->tail == fifo->capacity;
}

static inline uint32_t *fifo_slot(const struct fifo *fifo, uint64_t position)
{
    return &fifo->ring[position & (fifo->capacity - 1)];
}

/* Whether the page stands at this position. Any page and position may be asked for. */
static inline bool fifo_has(const struct fifo *fifo, uint32_t page, uint64_t position)
{
    return position >= fifo->tail && position < fifo->head && *fifo_slot(fifo, position) == page;
}

/* Appends a page, not FIFO_HOLE, and returns its position. The queue must not be full. */
uint64_t fifo_push(struct fifo *fifo, uint32_t page);

/* Which the oldest page is; false when there is none. */
bool fifo_oldest(struct fifo *fifo, uint32_t *page);

/* Takes the oldest page; false when there is none. */
bool fifo_pop(struct fifo *fifo, uint32_t *page, uint64_t *position);

/* Takes the page from this position, if it stands there. True: it did. */
bool fifo_remove(struct fifo *fifo, uint32_t page, uint64_t position);

/* There are as many holes as pages, and some more: time for fifo_compact(). */
static inline bool fifo_is_stale(const struct fifo *fifo)
{
    return fifo->head - fifo->tail >= 2 * fifo->n_live + FIFO_LEAST_OWN;
}

/* Closes the holes, keeping the order; moved() gives a page its new position. */
void fifo_compact(struct fifo *fifo, void (*moved)(void *context, uint32_t page, uint64_t position),
                  void *context);

/* 0, or -EUCLEAN with the reason logged. */
int fifo_validate(const struct fifo *fifo);

#endif
