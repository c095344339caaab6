/* SPDX-License-Identifier: Apache-2.0 */
/*
 * points: where Winograd's polynomials are evaluated: 0, infinity and pairs +-p.
 *
 * Those for m = 4 are chosen for accuracy: with 5/8 and 3/2 the error is half that of the usual
 * 1 and 2 (the amplification is 24.5, not 94.3), at the same price. For m = 6 the usual ones are
 * the best of all multiples of 1/8.
 */
#ifndef QUIRE_TENSOR_CONV_POINTS_H
#define QUIRE_TENSOR_CONV_POINTS_H

#define CONV_MOST_PAIRS 3
#define CONV_MOST_TILE 8 /* m + 2 */

#define CONV_POINTS_2 \
    {                 \
        1             \
    }
#define CONV_POINTS_4 \
    {                 \
        0.625, 1.5    \
    }
#define CONV_POINTS_6 \
    {                 \
        0.5, 1, 2     \
    }

#define CONV_AMPLIFICATION_2 5
#define CONV_AMPLIFICATION_4 24.6
#define CONV_AMPLIFICATION_6 139

#endif
