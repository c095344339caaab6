/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fifo: see fifo.h.
 *
 *   ring of its own  |......|..tail|######|######|head..|......|     a page is FIFO_LEAST_OWN slots
 *                           ^ held: from the tail's page to the head's
 *
 * Invariants
 *   F1  tail <= head <= tail + capacity
 *   F2  n_held == pages of the ring with slots from the start of the tail's page up to the head. No
 *       other page of it has memory
 *   F3  n_live == slots from tail to head that are no holes
 */
#include "policy/fifo.h"

#include "base/log.h"
#include "base/meta.h"
#include "base/sys.h"

#include <assert.h>
#include <errno.h>
#include <sys/mman.h>

static_assert(FIFO_LEAST_OWN * sizeof(uint32_t) == SYS_PAGE_SIZE, "so many slots fill a page");

size_t fifo_bytes(uint64_t capacity)
{
    return (size_t)capacity * sizeof(uint32_t);
}

void fifo_init(struct fifo *fifo, uint32_t *ring, uint64_t capacity)
{
    *fifo = (struct fifo){.ring = ring, .capacity = capacity};
}

int fifo_open(struct fifo *fifo, uint64_t capacity)
{
    if (capacity < FIFO_LEAST_OWN)
        return -EINVAL;
    uint32_t *ring = meta_map(fifo_bytes(capacity));
    if (!ring)
        return -ENOMEM;
    *fifo = (struct fifo){.ring = ring, .capacity = capacity, .is_own = true};
    return 0;
}

void fifo_close(struct fifo *fifo)
{
    meta_charge(-(long)(fifo->n_held * SYS_PAGE_SIZE));
    meta_unmap(fifo->ring, fifo_bytes(fifo->capacity));
    *fifo = (struct fifo){0};
}

/* Pages of positions: the tail's, and the one behind the head's last. */
static uint64_t first_page(const struct fifo *fifo)
{
    return fifo->tail / FIFO_LEAST_OWN;
}

static uint64_t end_page(uint64_t head)
{
    return (head + FIFO_LEAST_OWN - 1) / FIFO_LEAST_OWN;
}

/* The head may come round to the first slots of the tail's own page. */
static uint32_t pages_to_hold(const struct fifo *fifo)
{
    uint64_t n = end_page(fifo->head) - first_page(fifo), all = fifo->capacity / FIFO_LEAST_OWN;
    return (uint32_t)(n < all ? n : all);
}

/* F2, after head or tail have moved. */
static void charge(struct fifo *fifo)
{
    uint32_t n = pages_to_hold(fifo);
    if (n == fifo->n_held)
        return;
    meta_charge(((long)n - (long)fifo->n_held) * (long)SYS_PAGE_SIZE);
    fifo->n_held = n;
}

/* Pages of positions [from, to) hold nothing any more, unless the ring's other end is there. */
static void give_back(struct fifo *fifo, uint64_t from, uint64_t to)
{
    uint64_t all = fifo->capacity / FIFO_LEAST_OWN;
    for (uint64_t page = from; page < to; page++) {
        bool is_tails = page - first_page(fifo) == all,
             is_heads = end_page(fifo->head) > page + all;
        uint32_t *slots = &fifo->ring[page % all * FIFO_LEAST_OWN];
        if (!is_tails && !is_heads)
            sys_madvise(slots, SYS_PAGE_SIZE, MADV_DONTNEED);
    }
    charge(fifo);
}

uint64_t fifo_push(struct fifo *fifo, uint32_t page)
{
    assert(!fifo_is_full(fifo) && page != FIFO_HOLE); /* F1 */
    *fifo_slot(fifo, fifo->head) = page;
    fifo->n_live++;
    if (fifo->head++ % FIFO_LEAST_OWN == 0 && fifo->is_own)
        charge(fifo);
    return fifo->head - 1;
}

static uint32_t pop_slot(struct fifo *fifo)
{
    uint32_t page = *fifo_slot(fifo, fifo->tail++);
    if (fifo->tail % FIFO_LEAST_OWN == 0 && fifo->is_own)
        give_back(fifo, first_page(fifo) - 1, first_page(fifo));
    return page;
}

bool fifo_oldest(struct fifo *fifo, uint32_t *page)
{
    while (fifo->head != fifo->tail && *fifo_slot(fifo, fifo->tail) == FIFO_HOLE)
        pop_slot(fifo);
    if (fifo->head != fifo->tail)
        *page = *fifo_slot(fifo, fifo->tail);
    return fifo->head != fifo->tail;
}

bool fifo_pop(struct fifo *fifo, uint32_t *page, uint64_t *position)
{
    do {
        if (fifo->head == fifo->tail)
            return false;
        *position = fifo->tail;
        *page = pop_slot(fifo);
    } while (*page == FIFO_HOLE);
    fifo->n_live--;
    return true;
}

bool fifo_remove(struct fifo *fifo, uint32_t page, uint64_t position)
{
    if (!fifo_has(fifo, page, position))
        return false;
    *fifo_slot(fifo, position) = FIFO_HOLE;
    fifo->n_live--;
    return true;
}

void fifo_compact(struct fifo *fifo, void (*moved)(void *context, uint32_t page, uint64_t position),
                  void *context)
{
    /* Pages are pushed again behind a moving end; the slots read are always ahead of it. */
    uint64_t end = fifo->tail, before = fifo->head;
    for (uint64_t at = fifo->tail; at != fifo->head; at++) {
        uint32_t page = *fifo_slot(fifo, at);
        if (page == FIFO_HOLE)
            continue;
        *fifo_slot(fifo, end) = page;
        if (end != at)
            moved(context, page, end);
        end++;
    }
    fifo->head = end;
    if (fifo->is_own)
        give_back(fifo, end_page(end), end_page(before));
}

int fifo_validate(const struct fifo *fifo)
{
    const char *wrong = NULL;
    uint64_t n_live = 0;
    for (uint64_t at = fifo->tail; at < fifo->head; at++)
        n_live += *fifo_slot(fifo, at) != FIFO_HOLE;
    if (fifo->head < fifo->tail || fifo->head - fifo->tail > fifo->capacity)
        wrong = "F1: the head is not within a ring's length of the tail";
    else if (fifo->n_held != (fifo->is_own ? pages_to_hold(fifo) : 0))
        wrong = "F2: the ring's memory is not charged rightly";
    else if (n_live != fifo->n_live)
        wrong = "F3: the count of pages is not that of the slots";
    if (wrong)
        log_error("fifo: %s", wrong);
    return wrong ? -EUCLEAN : 0;
}
