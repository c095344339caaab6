/* SPDX-License-Identifier: Apache-2.0 */
/* fifo: see fifo.h. Invariant F1: tail <= head <= tail + capacity. */
#include "policy/fifo.h"

#include <assert.h>

size_t fifo_bytes(uint64_t capacity)
{
    return (size_t)capacity * sizeof(uint32_t);
}

void fifo_init(struct fifo *fifo, uint32_t *ring, uint64_t capacity)
{
    *fifo = (struct fifo){.ring = ring, .capacity = capacity};
}

uint64_t fifo_push(struct fifo *fifo, uint32_t page)
{
    assert(!fifo_is_full(fifo)); /* F1 */
    fifo->ring[fifo->head & (fifo->capacity - 1)] = page;
    return fifo->head++;
}

bool fifo_pop(struct fifo *fifo, uint32_t *page, uint64_t *position)
{
    if (fifo->head == fifo->tail)
        return false;
    *position = fifo->tail;
    *page = fifo->ring[fifo->tail & (fifo->capacity - 1)];
    fifo->tail++;
    return true;
}

void fifo_compact(struct fifo *fifo,
                  bool (*is_live)(void *context, uint32_t page, uint64_t position),
                  void (*moved)(void *context, uint32_t page, uint64_t position), void *context)
{
    /* Live slots are pushed again behind a moving end; the slots read are always ahead of it. */
    uint64_t end = fifo->tail;
    for (uint64_t at = fifo->tail; at != fifo->head; at++) {
        uint32_t page = fifo->ring[at & (fifo->capacity - 1)];
        if (!is_live(context, page, at))
            continue;
        fifo->ring[end & (fifo->capacity - 1)] = page;
        if (end != at)
            moved(context, page, end);
        end++;
    }
    fifo->head = end;
}
