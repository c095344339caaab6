/* SPDX-License-Identifier: Apache-2.0 */
/* weights_pack: a tensor's weights as bytes, by each scheme of <quire/weights.h>, and back. */
#ifndef QUIRE_TENSOR_WEIGHTS_PACK_H
#define QUIRE_TENSOR_WEIGHTS_PACK_H

#include <quire/weights.h>

#define WEIGHTS_MAX_STREAMS 3u

/* Channel by channel, whichever axis of the tensor that is. */
struct weights_matrix {
    float *values;
    uint64_t n;
    uint32_t n_channels;        /* divides n */
    enum quire_model_type type; /* f32, f16, bf16 */
};

/* What belongs together: codes, scales, zero points, a map of bits. */
struct weights_stream {
    uint64_t n_bytes;
    uint32_t width; /* bytes of a number */
    uint32_t bits;  /* of a symbol: 8, or 4 or 1 if width is 1 */
};

struct weights_packed {
    uint8_t *bytes;
    uint64_t n_bytes;
    unsigned n_streams; /* one behind the other */
    struct weights_stream streams[WEIGHTS_MAX_STREAMS];
};

/* Room for the packed bytes by any scheme. */
uint64_t weights_pack_room(const struct weights_matrix *matrix);

/*
 * Packs into packed->bytes, where there is room; `scratch`: as many floats as there are weights.
 * Values are finite. Options have no defaults left.
 */
void weights_pack(const struct weights_matrix *matrix, enum quire_weights_scheme scheme,
                  const struct quire_weights_options *options, float *scratch,
                  struct weights_packed *packed);

/* Into `values`: as many as matrix->n; of `matrix` only its form counts. */
void weights_unpack(const struct weights_matrix *matrix, enum quire_weights_scheme scheme,
                    const struct quire_weights_options *options,
                    const struct weights_packed *packed, float *values);

#endif
