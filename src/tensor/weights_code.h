/* SPDX-License-Identifier: Apache-2.0 */
/* weights_code: what entropy coding makes of packed weights. */
#ifndef QUIRE_TENSOR_WEIGHTS_CODE_H
#define QUIRE_TENSOR_WEIGHTS_CODE_H

#include "tensor/weights_pack.h"

struct weights_coder;

/* For up to `most` packed bytes; `level`: of zstd. NULL: no memory. */
struct weights_coder *weights_coder_new(uint64_t most, int level);
void weights_coder_free(struct weights_coder *coder);

/* Bytes by zstd, planes apart; as many as there are where it gains nothing. */
uint64_t weights_code(struct weights_coder *coder, const struct weights_packed *packed);

/* Bytes by an ideal coder that knows each plane's frequencies. */
double weights_entropy(const struct weights_packed *packed);

#endif
