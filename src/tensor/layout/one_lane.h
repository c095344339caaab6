/* SPDX-License-Identifier: Apache-2.0 */
/*
 * one_lane: the kernels of an instruction set whose vectors are one lane of 16 bytes, and the
 * tables of them. Included once, after what lanes.h wants. Private to src/tensor/layout.
 */
#include "tensor/layout/lanes.h"

LANES_KERNEL(8)
LANES_KERNEL(16)
LANES_KERNEL(32)
LANES_KERNEL(64)
FIRST_KERNEL(8, 8)
FIRST_KERNEL(8, 4)
FIRST_KERNEL(8, 2)
FIRST_KERNEL(16, 4)
FIRST_KERNEL(16, 2)
FIRST_KERNEL(32, 2)
FILL_KERNEL(16)
FILL_KERNEL(32)

MOVE_KERNEL(16)
MOVE_KERNEL(32)
MOVE_KERNEL(64)

static const struct layout_kernel of_1[] = {{16, 16, lanes_8, LAYOUT_READS_ON},
                                            {8, 16, first_8_8, LAYOUT_READS_ON},
                                            {4, 16, first_8_4, LAYOUT_READS_ON},
                                            {2, 16, first_8_2, LAYOUT_READS_ON},
                                            {0}};
static const struct layout_kernel of_2[] = {{8, 8, lanes_16, LAYOUT_READS_ON},
                                            {4, 8, first_16_4, LAYOUT_READS_ON},
                                            {2, 8, first_16_2, LAYOUT_READS_ON},
                                            {0}};
static const struct layout_kernel of_4[] = {
    {4, 4, lanes_32, LAYOUT_READS_ON}, {2, 4, first_32_2, LAYOUT_READS_ON}, {0}};
static const struct layout_kernel of_8[] = {{2, 2, lanes_64, LAYOUT_READS_ON}, {0}};
