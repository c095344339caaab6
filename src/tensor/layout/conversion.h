/* SPDX-License-Identifier: Apache-2.0 */
/* conversion: what a conversion touches, for those who explain it. */
#ifndef QUIRE_TENSOR_LAYOUT_CONVERSION_H
#define QUIRE_TENSOR_LAYOUT_CONVERSION_H

#include <quire/layout.h>

/* Calls touch() for each run of bytes that the conversion reads (is_target false) and writes, in
 * its order, but for boxes of zeros. Nothing is converted. */
void layout_trace(const struct quire_layout_conversion *conversion,
                  void (*touch)(void *context, bool is_target, int64_t at, size_t n_bytes),
                  void *context);

#endif
