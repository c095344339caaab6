/* SPDX-License-Identifier: Apache-2.0 */
/*
 * neon: the kernels with vectors of 16 bytes, one lane.
 */
#include "tensor/layout/kernels.h"

#if defined(__aarch64__)

#include <arm_neon.h>
#include <string.h>

#define V uint8x16_t
#define LANES 1
#define ANY "w"
#define TARGET
#define IN static inline __attribute__((always_inline))
#define load_whole(from) vld1q_u8((const uint8_t *)(from))
#define load(rows) load_whole((rows)[0])
#define store(to, v) vst1q_u8((uint8_t *)(to), v)
/* There is no store past the caches but a hint (STNP), which the cores in use don't follow. */
#define store_past store
#define zero() vdupq_n_u8(0)
#define ZIP(a, b, bits, half) \
    vreinterpretq_u8_u##bits( \
        vzip##half##q_u##bits(vreinterpretq_u##bits##_u8(a), vreinterpretq_u##bits##_u8(b)))
#define alone(v, l) (v)
#define low8(a, b) vzip1q_u8(a, b)
#define high8(a, b) vzip2q_u8(a, b)
#define low16(a, b) ZIP(a, b, 16, 1)
#define high16(a, b) ZIP(a, b, 16, 2)
#define low32(a, b) ZIP(a, b, 32, 1)
#define high32(a, b) ZIP(a, b, 32, 2)
#define low64(a, b) ZIP(a, b, 64, 1)
#define high64(a, b) ZIP(a, b, 64, 2)

IN void store_first(char *to, V v, size_t n_bytes)
{
    uint64_t bits = vgetq_lane_u64(vreinterpretq_u64_u8(v), 0);
    memcpy(to, &bits, n_bytes);
}

#include "tensor/layout/one_lane.h"

#define W uint8x16_t
#define weave_load(from) vld1q_u8((const uint8_t *)(from))
#define weave_store(to, v) vst1q_u8((uint8_t *)(to), v)
#define pick vqtbl1q_u8
#define either vorrq_u8
#include "tensor/layout/weave.h"

const struct layout_kernels layout_kernels_neon = {
    .transpose = {of_1, of_2, of_4, of_8},
    .fill = FILLERS,
    .move = {NULL, NULL, NULL, NULL, move_16, move_32, move_64},
    .weave = weave,
    .smaller = &layout_kernels_portable,
};

#endif
