/* SPDX-License-Identifier: Apache-2.0 */
/* queue: see queue.h. */
#include "tensor/queue.h"

#include <errno.h>
#include <stdlib.h>

static bool is_before(const struct queue_entry *a, const struct queue_entry *b)
{
    return a->key < b->key || (a->key == b->key && a->item < b->item);
}

int queue_push(struct queue *queue, struct queue_entry entry)
{
    if (queue->n == queue->room) {
        size_t room = 2 * queue->room + 64;
        struct queue_entry *larger = realloc(queue->entries, room * sizeof *larger);
        if (larger == NULL)
            return -ENOMEM;
        queue->entries = larger;
        queue->room = room;
    }
    size_t at = queue->n++;
    for (; at > 0 && is_before(&entry, &queue->entries[(at - 1) / 2]); at = (at - 1) / 2)
        queue->entries[at] = queue->entries[(at - 1) / 2];
    queue->entries[at] = entry;
    return 0;
}

struct queue_entry queue_pop(struct queue *queue)
{
    struct queue_entry *entries = queue->entries, first = entries[0], last = entries[--queue->n];
    size_t at = 0, child;
    while ((child = 2 * at + 1) < queue->n) {
        child += child + 1 < queue->n && is_before(&entries[child + 1], &entries[child]);
        if (!is_before(&entries[child], &last))
            break;
        entries[at] = entries[child];
        at = child;
    }
    entries[at] = last;
    return first;
}

void queue_free(struct queue *queue)
{
    free(queue->entries);
    *queue = (struct queue){0};
}
