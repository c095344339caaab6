/* SPDX-License-Identifier: Apache-2.0 */
/* drop_behind: see drop_behind.h. */
#include "policy/drop_behind.h"

int drop_behind_open(struct drop_behind *behind, uint64_t most_resident)
{
    uint64_t capacity = FIFO_LEAST_OWN;
    while (capacity < 2 * most_resident / DROP_BEHIND_PART)
        capacity *= 2;
    behind->n_windows = 0;
    return fifo_open(&behind->queue, capacity);
}

void drop_behind_close(struct drop_behind *behind)
{
    fifo_close(&behind->queue);
}

bool drop_behind_wanted(struct drop_behind *behind, uint64_t n_resident)
{
    return n_resident / DROP_BEHIND_PART >= DROP_BEHIND_LEAST &&
           ++behind->n_windows % DROP_BEHIND_STAYS != 0;
}

bool drop_behind_push(struct drop_behind *behind, uint32_t page)
{
    if (fifo_is_full(&behind->queue))
        return false;
    fifo_push(&behind->queue, page);
    return true;
}

bool drop_behind_pop(struct drop_behind *behind, uint64_t n_resident, uint32_t *page)
{
    uint64_t part = n_resident / DROP_BEHIND_PART, position;
    if (part < DROP_BEHIND_LEAST)
        part = DROP_BEHIND_LEAST;
    return behind->queue.head - behind->queue.tail > part &&
           fifo_pop(&behind->queue, page, &position);
}
