/* SPDX-License-Identifier: Apache-2.0 */
/*
 * matrix: C = A B as a 1x1 convolution: the rows of A are pixels, its columns input channels, B has
 * the weights. A and C are "nhwc" whose pixels are lda and ldc floats apart.
 */
#include "base/checked.h"
#include "tensor/conv/conv.h"

#include <errno.h>

static struct quire_layout rows_layout(int64_t n_channels, int64_t n_rows, int64_t distance)
{
    return (struct quire_layout){
        .type = QUIRE_LAYOUT_F32,
        .n_dims = 4,
        .dims = {1, n_channels, n_rows, 1},
        .strides = {n_rows * distance, 1, distance, distance},
    };
}

static int plan_product(struct quire_conv_plan *plan, int64_t m, int64_t n, int64_t k, int64_t lda,
                        int64_t ldc)
{
    struct quire_conv_shape shape;
    const int64_t most = QUIRE_CONV_MAX_SIZE;
    if (m < 1 || n < 1 || k < 1 || lda < k || ldc < n)
        return -EINVAL;
    if (m > most || n > most || k > most || lda > most || ldc > most)
        return -EOVERFLOW;
    quire_conv_shape_init(&shape, 1, k, m, 1, n, 1);
    const struct quire_layout source = rows_layout(k, m, lda), destination = rows_layout(n, m, ldc);
    const struct quire_conv_options options = {.algorithm = QUIRE_CONV_DIRECT};
    return quire_conv_plan_init(plan, &shape, &source, &destination, &options);
}

size_t quire_matrix_workspace_bytes(int64_t m, int64_t n, int64_t k)
{
    struct quire_conv_plan plan;
    return plan_product(&plan, m, n, k, k, n) != 0 ? 0 : plan.weights_bytes + plan.workspace_bytes;
}

int quire_matrix_multiply(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda,
                          const float *b, int64_t ldb, float *c, int64_t ldc, void *workspace,
                          size_t workspace_bytes)
{
    struct quire_conv_plan plan;
    int error = plan_product(&plan, m, n, k, lda, ldc);
    if (error == 0 && ldb < n)
        error = -EINVAL;
    if (error != 0)
        return error;
    const struct quire_layout weights = {
        .type = QUIRE_LAYOUT_F32,
        .n_dims = 4,
        .dims = {n, k, 1, 1},
        .strides = {1, ldb, k * ldb, k * ldb},
    };
    error = quire_layout_check(&weights);
    if (error != 0)
        return error;
    if (workspace_bytes < plan.weights_bytes + plan.workspace_bytes)
        return -ENOSPC;
    if (!conv_is_usable(workspace, QUIRE_CONV_ALIGNMENT) || !conv_is_usable(b, sizeof *b) ||
        conv_overlap(c, plan.destination_bytes, b, quire_layout_bytes(&weights)))
        return -EINVAL;
    char *work = (char *)workspace + plan.weights_bytes;
    if (!conv_are_sound(&plan, a, workspace, NULL, c, work))
        return -EINVAL;
    error = quire_conv_pack(&plan, &weights, b, NULL, workspace);
    return error != 0 ? error : quire_conv_run(&plan, a, workspace, NULL, c, work);
}
