/* SPDX-License-Identifier: Apache-2.0 */
/* peer: oneDNN's convolution and OpenBLAS's matrix product, as convolutions wants them. */
#ifndef QUIRE_BENCH_LAYOUT_PEER_H
#define QUIRE_BENCH_LAYOUT_PEER_H

#include <quire/conv.h>

enum peer_kind {
    PEER_AUTO,   /* the algorithm that oneDNN takes for its own choice */
    PEER_DIRECT, /* in the layouts that it likes best */
    PEER_WINOGRAD,
    PEER_PLAIN,      /* nchw in and out: converted to what it likes best and back */
    PEER_FIRST,      /* nchw in: converted to what it likes best, and what comes out is left so */
    PEER_FIRST_PLAIN /* nchw in: read as it is */
};

struct peer_conv;

/* With bias and ReLU; NULL: it does not do that. The tensors are its own, filled with numbers. */
struct peer_conv *peer_conv_new(const struct quire_conv_shape *shape, enum peer_kind kind);
void peer_conv_run(struct peer_conv *conv);
/* What oneDNN calls the implementation. */
const char *peer_conv_name(const struct peer_conv *conv);
void peer_conv_free(struct peer_conv *conv);

/* C = A B, all n x n, row by row. */
void peer_multiply(int n, const float *a, const float *b, float *c);

#endif
