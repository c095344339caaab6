/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weights_code: see weights_code.h.
 *
 *     numbers a0 a1 b0 b1 c0 c1  -->  planes a0 b0 c0 | a1 b1 c1  --> zstd
 *
 * The high bytes of numbers of like size are alike, the low ones are noise: apart, zstd's Huffman
 * coder has tables for each.
 */
#include "tensor/weights_code.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

struct weights_coder {
    ZSTD_CCtx *context;
    uint8_t *planes, *coded;
    size_t room; /* of coded */
    int level;
};

struct weights_coder *weights_coder_new(uint64_t most, int level)
{
    struct weights_coder *coder = calloc(1, sizeof *coder);
    if (coder == NULL)
        return NULL;
    coder->level = level;
    coder->room = ZSTD_compressBound(most);
    coder->context = ZSTD_createCCtx();
    coder->planes = malloc(most + 1);
    coder->coded = malloc(coder->room);
    if (coder->context == NULL || coder->planes == NULL || coder->coded == NULL) {
        weights_coder_free(coder);
        return NULL;
    }
    return coder;
}

void weights_coder_free(struct weights_coder *coder)
{
    if (coder == NULL)
        return;
    ZSTD_freeCCtx(coder->context);
    free(coder->planes);
    free(coder->coded);
    free(coder);
}

static void split(const uint8_t *from, const struct weights_stream *stream, uint8_t *to)
{
    for (uint32_t plane = 0; plane < stream->width; plane++) {
        for (uint64_t i = plane; i < stream->n_bytes; i += stream->width)
            *to++ = from[i];
    }
}

uint64_t weights_code(struct weights_coder *coder, const struct weights_packed *packed)
{
    uint64_t at = 0;
    for (unsigned s = 0; s < packed->n_streams; s++) {
        split(packed->bytes + at, &packed->streams[s], coder->planes + at);
        at += packed->streams[s].n_bytes;
    }
    size_t n = ZSTD_compressCCtx(coder->context, coder->coded, coder->room, coder->planes, at,
                                 coder->level);
    return ZSTD_isError(n) || n > packed->n_bytes ? packed->n_bytes : n;
}

static double bits_of(const uint64_t *counts, unsigned n_counts)
{
    double total = 0, bits = 0;
    for (unsigned i = 0; i < n_counts; i++)
        total += (double)counts[i];
    for (unsigned i = 0; i < n_counts; i++)
        if (counts[i] > 0)
            bits += (double)counts[i] * log2(total / (double)counts[i]);
    return bits;
}

static double plane_bits(const uint8_t *bytes, const struct weights_stream *stream, uint32_t plane)
{
    uint64_t counts[256] = {0};
    const unsigned n_symbols = 1u << stream->bits;
    for (uint64_t i = plane; i < stream->n_bytes; i += stream->width) {
        for (unsigned shift = 0; shift < 8; shift += stream->bits)
            counts[bytes[i] >> shift & (n_symbols - 1)]++;
    }
    return bits_of(counts, n_symbols);
}

double weights_entropy(const struct weights_packed *packed)
{
    const uint8_t *bytes = packed->bytes;
    double bits = 0;
    for (unsigned s = 0; s < packed->n_streams; s++) {
        for (uint32_t plane = 0; plane < packed->streams[s].width; plane++)
            bits += plane_bits(bytes, &packed->streams[s], plane);
        bytes += packed->streams[s].n_bytes;
    }
    return bits / 8;
}
