/* SPDX-License-Identifier: Apache-2.0 */
/* image_unpack: pages that a dump holds compressed. */
#ifndef QUIRE_MMU_IMAGE_UNPACK_H
#define QUIRE_MMU_IMAGE_UNPACK_H

#include <stddef.h>
#include <stdint.h>

/* As the flags of kdump-compressed files have them. */
enum image_codec {
    IMAGE_CODEC_ZLIB = 0x1,
    IMAGE_CODEC_LZO = 0x2, /* LZO1X */
    IMAGE_CODEC_SNAPPY = 0x4,
    IMAGE_CODEC_ZSTD = 0x20,
};
#define IMAGE_CODECS (IMAGE_CODEC_ZLIB | IMAGE_CODEC_LZO | IMAGE_CODEC_SNAPPY | IMAGE_CODEC_ZSTD)

/* Loads what that codec needs. NULL; or the name of the library that this machine lacks. */
const char *image_unpack_lacks(enum image_codec codec);

/*
 * Unpacks n bytes, which become n_page bytes exactly. 0; -EIO: they don't; -ENOTSUP: the library
 * lacks, or there is no such codec; -ENOMEM. Any number of threads may call it.
 */
int image_unpack(unsigned codec, const void *packed, size_t n, void *page, size_t n_page);

#endif
