/* SPDX-License-Identifier: Apache-2.0 */
/* levels: see levels.h. A segment tree without propagation: node i has the children 2i, 2i + 1. */
#include "tensor/levels.h"

#include <errno.h>
#include <stdlib.h>

int levels_init(struct levels *levels, int64_t n)
{
    levels->room = 1;
    while (levels->room < n)
        levels->room *= 2;
    levels->add = calloc(2 * (size_t)levels->room, sizeof *levels->add);
    levels->most = calloc(2 * (size_t)levels->room, sizeof *levels->most);
    if (levels->add != NULL && levels->most != NULL)
        return 0;
    levels_free(levels);
    return -ENOMEM;
}

void levels_free(struct levels *levels)
{
    free(levels->add);
    free(levels->most);
    *levels = (struct levels){0};
}

/* The highest of node i again, after its children or its own amount changed. */
static void renew(struct levels *levels, uint32_t i)
{
    int64_t below = 0;
    if (i < levels->room) {
        int64_t left = levels->most[2 * i], right = levels->most[2 * i + 1];
        below = left > right ? left : right;
    }
    levels->most[i] = below + levels->add[i];
}

void levels_add(struct levels *levels, int64_t from, int64_t to, int64_t amount)
{
    if (from >= to || amount == 0)
        return;
    uint32_t left = (uint32_t)from + levels->room, right = (uint32_t)to + levels->room;
    for (uint32_t l = left, r = right; l < r; l /= 2, r /= 2) {
        if (l % 2 == 1) {
            levels->add[l] += amount;
            levels->most[l++] += amount;
        }
        if (r % 2 == 1) {
            levels->add[--r] += amount;
            levels->most[r] += amount;
        }
    }
    for (uint32_t l = left / 2; l > 0; l /= 2)
        renew(levels, l);
    for (uint32_t r = (right - 1) / 2; r > 0; r /= 2)
        renew(levels, r);
}
