/* SPDX-License-Identifier: Apache-2.0 */
/* box: a conversion as a few loop nests that have no tails. */
#ifndef QUIRE_TENSOR_LAYOUT_BOX_H
#define QUIRE_TENSOR_LAYOUT_BOX_H

#include <quire/layout.h>

#define LAYOUT_MAX_AXES (QUIRE_LAYOUT_MAX_DIMS + 2 * QUIRE_LAYOUT_MAX_BLOCKS)

/* A loop: n times, so many bytes further in the source and in the target. */
struct layout_axis {
    int64_t n, from, to;
    int64_t pad; /* so many steps more in the target, of zeros. Then `to` is an element */
};

/* Every element of the product of its axes is copied; is_zero: becomes zero, in the target. */
struct layout_box {
    int64_t from, to; /* bytes, to the first element */
    uint32_t n_axes;
    struct layout_axis axes[LAYOUT_MAX_AXES]; /* none with n 1 and no pad */
    bool is_zero;
};

static inline void layout_box_copy(struct layout_box *to, const struct layout_box *box)
{
    to->from = box->from;
    to->to = box->to;
    to->is_zero = box->is_zero;
    to->n_axes = box->n_axes;
    for (uint32_t i = 0; i < box->n_axes; i++) /* mostly a few */
        to->axes[i] = box->axes[i];
}

/* Calls visit() for each box of a conversion. Together they write each element and each tail of
 * the target once. */
void layout_each_box(const struct quire_layout_conversion *conversion,
                     void (*visit)(void *context, const struct layout_box *box), void *context);

#endif
