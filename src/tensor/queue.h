/* SPDX-License-Identifier: Apache-2.0 */
/* queue: a binary heap of items, the one with the least key first; of equal keys the least item. */
#ifndef QUIRE_TENSOR_QUEUE_H
#define QUIRE_TENSOR_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct queue_entry {
    double key;
    uint32_t item, stamp; /* the caller's: an entry with an old one is out of date */
};

struct queue {
    struct queue_entry *entries; /* entry i is not before entry (i - 1) / 2 */
    size_t n, room;
};

/* All 0 is an empty queue. 0 or -ENOMEM. O(log n). */
int queue_push(struct queue *queue, struct queue_entry entry);
/* The first, taken out; n is above 0. O(log n). */
struct queue_entry queue_pop(struct queue *queue);
void queue_free(struct queue *queue);

#endif
