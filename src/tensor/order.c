/* SPDX-License-Identifier: Apache-2.0 */
/* order: ranks by one key after the other, the least important first, as sorting is stable. */
#include "tensor/order.h"

#include <string.h>

/* Saturates. */
static uint64_t area(const struct tensor_item *item)
{
    uint64_t product;
    return __builtin_mul_overflow(item->size, item->duration, &product) ? UINT64_MAX : product;
}

static uint64_t fullest(const struct tensor_instance *instance, const struct tensor_item *item)
{
    uint64_t most = 0;
    for (uint32_t s = item->lower; s < item->upper; s++)
        most = instance->need[s] > most ? instance->need[s] : most;
    return most;
}

static uint64_t value(const struct tensor_instance *instance, uint32_t index, char key)
{
    const struct tensor_item *item = &instance->items[index];
    switch (key) {
    case 'a':
        return area(item);
    case 'd':
        return item->duration;
    case 'z':
        return item->size;
    case 's':
        return item->upper - item->lower;
    default:
        return fullest(instance, item);
    }
}

void tensor_order(const struct tensor_instance *instance, const char *keys, uint32_t *rank,
                  struct tensor_key *room)
{
    uint32_t n = instance->n_items;
    for (uint32_t i = 0; i < n; i++)
        room[i].value = i;
    for (size_t k = strlen(keys); k-- > 0;) {
        for (uint32_t i = 0; i < n; i++)
            room[i].key = ~value(instance, room[i].value, keys[k]);
        tensor_sort(room, room + n, n);
    }
    for (uint32_t i = 0; i < n; i++)
        rank[room[i].value] = i;
}
