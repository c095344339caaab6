/* SPDX-License-Identifier: Apache-2.0 */
/* levels: how much lives at each step, changed range by range, with the highest at hand. */
#ifndef QUIRE_TENSOR_LEVELS_H
#define QUIRE_TENSOR_LEVELS_H

#include <stdint.h>

struct levels {
    int64_t *add;  /* of each node of a segment tree: to all steps below it */
    int64_t *most; /* the highest below it, `add` included */
    uint32_t room; /* leaves: a power of two */
};

/* For steps 0 to n - 1, all 0. 0 or -ENOMEM. */
int levels_init(struct levels *levels, int64_t n);
void levels_free(struct levels *levels);
/* Steps `from` up to without `to`. O(log n). */
void levels_add(struct levels *levels, int64_t from, int64_t to, int64_t amount);

static inline int64_t levels_peak(const struct levels *levels)
{
    return levels->most[1];
}

#endif
