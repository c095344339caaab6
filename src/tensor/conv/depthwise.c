/* SPDX-License-Identifier: Apache-2.0 */
/* depthwise: one kernel for each channel; a column is one block. */
#include "tensor/conv/conv.h"

void conv_depthwise_strip(const struct conv_run *run, const struct conv_strip *strip)
{
    const struct quire_conv_plan *plan = run->plan;
    const struct quire_conv_shape *shape = &plan->shape;
    const int64_t block = plan->kernels->block;
    /* Input rows that are there, counted from the first that this strip reads. */
    int64_t first = strip->first_row * shape->stride_y - shape->pad_top;
    int64_t above = first < 0 ? -first : 0;
    const float *in = run->strip;
    if (plan->packs) {
        conv_strip_pack(run, strip);
        above = 0;
    } else {
        in = run->source + plan->source.offset + strip->image * plan->source.strides[0] +
             (first + above) * shape->in_width * block;
    }
    struct conv_depthwise rows = {
        .in_height = plan->packs ? conv_strip_in_rows(plan, strip->n_rows)
                                 : shape->in_height - (first + above),
        .in_width = plan->packs ? plan->packed_columns : shape->in_width,
        .kernel_height = shape->kernel_height,
        .kernel_width = shape->kernel_width,
        .stride_y = shape->stride_y,
        .stride_x = shape->stride_x,
        .dilation_y = shape->dilation_y,
        .dilation_x = shape->dilation_x,
        .pad_top = above,
        .pad_left = plan->packs ? 0 : shape->pad_left,
        .out_width = plan->out_width,
        .n_rows = strip->n_rows,
    };
    for (int64_t b = strip->first_column; b < strip->end_column; b++) {
        int64_t out = b * strip->out_block_stride;
        rows.in = in + b * plan->in_block_floats;
        rows.weights = run->weights + b * plan->column_floats;
        rows.out = strip->out + out;
        rows.finish = conv_finish(run, b, strip->sum == NULL ? NULL : strip->sum + out);
        plan->kernels->depthwise(&rows);
    }
}
