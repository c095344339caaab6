/* SPDX-License-Identifier: Apache-2.0 */
/* model: a graph, and the file that it came from. */
#ifndef QUIRE_TENSOR_MODEL_H
#define QUIRE_TENSOR_MODEL_H

#include "tensor/graph.h"

struct quire_model {
    struct graph graph;
    const uint8_t *bytes;
    size_t n_bytes;
    bool is_mapped;
    struct onnx_files *files;
};

#endif
