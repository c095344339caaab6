/* SPDX-License-Identifier: Apache-2.0 */
/*
 * codec: same-filled pages, LZ4, zstd, raw pages, and the checksum that guards them all.
 *
 * Everything works in the packer's memory, which the caller supplies: LZ4's hash table, or zstd's
 * static contexts, which by contract never call malloc. zstd's frames are written without their
 * magic number: four bytes less a page, and no damaged magic can lead to another frame format.
 *
 * Packers are used by threads that libc does not know and under locks that a program's dlopen may
 * want. So store_packer_warm_up() runs each library function once: the dynamic linker has bound
 * them all before the first page counts.
 *
 * Invariant K1: whatever the header and the data are, decode reads within data[0, capacity), writes
 * within out[0, SYS_PAGE_SIZE), and returns 0 only if the checksum fits.
 */
#include "store/codec.h"

#include "base/checked.h"

#include <errno.h>
#include <lz4.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define ZSTD_STATIC_LINKING_ONLY /* contexts in caller's memory */
#include <zstd.h>

#define ZSTD_LEVEL 1
#define ZSTD_HASH_LOG 11 /* a page has no more to remember: 24 KiB less for the same ratio */
#define LZ4_ACCELERATION 1
#define CONTEXT_ALIGNMENT 64

struct store_packer {
    enum store_codec codec;
    void *lz4;
    ZSTD_CCtx *compress;
    unsigned char *decompress_memory;
    ZSTD_DCtx *decompress; /* NULL: nothing was loaded yet that needs it, its memory is untouched */
};

static ZSTD_compressionParameters zstd_parameters(void)
{
    ZSTD_compressionParameters p = ZSTD_getCParams(ZSTD_LEVEL, SYS_PAGE_SIZE, 0);
    p.hashLog = ZSTD_HASH_LOG;
    return p;
}

static size_t lz4_bytes(void)
{
    return round_up((size_t)LZ4_sizeofState(), CONTEXT_ALIGNMENT);
}

static size_t compress_bytes(void)
{
    return round_up(ZSTD_estimateCCtxSize_usingCParams(zstd_parameters()), CONTEXT_ALIGNMENT);
}

static size_t decompress_bytes(void)
{
    return round_up(ZSTD_estimateDCtxSize(), CONTEXT_ALIGNMENT);
}

/* Of the struct, wherever its memory begins. */
static size_t packer_bytes(void)
{
    return CONTEXT_ALIGNMENT + round_up(sizeof(struct store_packer), CONTEXT_ALIGNMENT);
}

size_t store_packing_bytes(enum store_codec codec)
{
    return packer_bytes() + (codec >= STORE_CODEC_LZ4 ? lz4_bytes() : 0) +
           (codec == STORE_CODEC_ZSTD ? compress_bytes() : 0);
}

size_t store_packer_bytes(enum store_codec codec)
{
    return store_packing_bytes(codec) + store_loader_bytes(codec) - packer_bytes();
}

size_t store_loader_bytes(enum store_codec codec)
{
    return packer_bytes() + (codec == STORE_CODEC_ZSTD ? decompress_bytes() : 0);
}

/* The contexts can't be too small: their sizes were asked of the same library just before. */
static void start_compressing(struct store_packer *packer, unsigned char *memory)
{
    const ZSTD_compressionParameters p = zstd_parameters();
    ZSTD_CCtx *c = ZSTD_initStaticCCtx(memory, compress_bytes());
    ZSTD_CCtx_setParameter(c, ZSTD_c_compressionLevel, ZSTD_LEVEL);
    ZSTD_CCtx_setParameter(c, ZSTD_c_windowLog, (int)p.windowLog);
    ZSTD_CCtx_setParameter(c, ZSTD_c_hashLog, (int)p.hashLog);
    ZSTD_CCtx_setParameter(c, ZSTD_c_chainLog, (int)p.chainLog);
    ZSTD_CCtx_setParameter(c, ZSTD_c_format, ZSTD_f_zstd1_magicless);
    packer->compress = c;
}

static void start_decompressing(struct store_packer *packer)
{
    packer->decompress = ZSTD_initStaticDCtx(packer->decompress_memory, decompress_bytes());
    ZSTD_DCtx_setParameter(packer->decompress, ZSTD_d_format, ZSTD_f_zstd1_magicless);
}

struct store_packer *store_loader_init(void *memory, enum store_codec codec)
{
    unsigned char *at = (unsigned char *)round_up((uintptr_t)memory, CONTEXT_ALIGNMENT);
    struct store_packer *packer = (struct store_packer *)(void *)at;
    at += round_up(sizeof(*packer), CONTEXT_ALIGNMENT);
    *packer = (struct store_packer){.codec = codec, .decompress_memory = at};
    return packer;
}

struct store_packer *store_packer_init(void *memory, enum store_codec codec)
{
    struct store_packer *packer = store_loader_init(memory, codec);
    unsigned char *at = packer->decompress_memory;
    if (codec >= STORE_CODEC_LZ4) {
        packer->lz4 = at;
        at += lz4_bytes();
    }
    if (codec == STORE_CODEC_ZSTD) {
        start_compressing(packer, at);
        at += compress_bytes();
    }
    packer->decompress_memory = at;
    return packer;
}

enum store_codec store_packer_codec(const struct store_packer *packer)
{
    return packer->codec;
}

void store_packer_warm_up(struct store_packer *packer)
{
    unsigned char page[SYS_PAGE_SIZE];
    struct store_packed trial;
    for (size_t i = 0; i < SYS_PAGE_SIZE; i++)
        page[i] = (unsigned char)(i >> 4);
    store_pack(packer, page, &trial);
    const struct object_header header = {
        .checksum = trial.checksum, .n_bytes = trial.n_bytes, .codec = trial.codec};
    (void)codec_decode(packer, &header, trial.data, SYS_PAGE_SIZE, page);
}

uint64_t codec_checksum(const void *page)
{
    return XXH3_64bits(page, SYS_PAGE_SIZE);
}

/* A page is one word over and over if it equals itself moved on by a word. */
bool codec_same_filled(const void *page, uint32_t *pattern)
{
    memcpy(pattern, page, sizeof(*pattern));
    return memcmp(page, (const unsigned char *)page + sizeof(*pattern),
                  SYS_PAGE_SIZE - sizeof(*pattern)) == 0;
}

/* The number of bytes in `data`, at most CODEC_WORTH_BYTES, or 0: not worth it. */
static size_t compress(struct store_packer *packer, enum store_codec codec, const void *page,
                       unsigned char *data)
{
    switch (codec) {
    case STORE_CODEC_LZ4: {
        int n = LZ4_compress_fast_extState(packer->lz4, page, (char *)data, (int)SYS_PAGE_SIZE,
                                           (int)CODEC_WORTH_BYTES, LZ4_ACCELERATION);
        return n > 0 ? (size_t)n : 0;
    }
    case STORE_CODEC_ZSTD: {
        size_t n = ZSTD_compress2(packer->compress, data, CODEC_WORTH_BYTES, page, SYS_PAGE_SIZE);
        return ZSTD_isError(n) ? 0 : n;
    }
    case STORE_CODEC_NONE:
        break;
    }
    return 0;
}

void store_pack(struct store_packer *packer, const void *page, struct store_packed *packed)
{
    store_pack_by(packer, packer->codec, page, packed);
}

void store_pack_by(struct store_packer *packer, enum store_codec codec, const void *page,
                   struct store_packed *packed)
{
    packed->same = codec_same_filled(page, &packed->pattern);
    if (packed->same) {
        packed->n_bytes = 0;
        return;
    }
    packed->checksum = codec_checksum(page);
    size_t n = compress(packer, codec, page, packed->data);
    if (n == 0) {
        memcpy(packed->data, page, SYS_PAGE_SIZE);
        packed->codec = STORE_CODEC_NONE;
        packed->n_bytes = SYS_PAGE_SIZE;
        return;
    }
    packed->codec = (uint8_t)codec;
    packed->n_bytes = (uint16_t)n;
}

/* How many bytes came out; anything but SYS_PAGE_SIZE is damage. */
static size_t decompress(struct store_packer *packer, enum store_codec codec, const void *data,
                         size_t n_bytes, void *out)
{
    switch (codec) {
    case STORE_CODEC_NONE:
        if (n_bytes == SYS_PAGE_SIZE)
            memcpy(out, data, SYS_PAGE_SIZE);
        return n_bytes;
    case STORE_CODEC_LZ4: {
        int n = LZ4_decompress_safe(data, out, (int)n_bytes, (int)SYS_PAGE_SIZE);
        return n > 0 ? (size_t)n : 0;
    }
    case STORE_CODEC_ZSTD: {
        if (!packer->decompress)
            start_decompressing(packer);
        size_t n = ZSTD_decompressDCtx(packer->decompress, out, SYS_PAGE_SIZE, data, n_bytes);
        return ZSTD_isError(n) ? 0 : n;
    }
    }
    return 0;
}

int codec_decode(struct store_packer *packer, const struct object_header *header, const void *data,
                 size_t capacity, void *out)
{
    const size_t n = header->n_bytes;
    if (n == 0 || n > SYS_PAGE_SIZE || n > capacity || header->codec > packer->codec)
        return -EBADMSG;
    if (decompress(packer, header->codec, data, n, out) != SYS_PAGE_SIZE)
        return -EBADMSG;
    return codec_checksum(out) == header->checksum ? 0 : -EBADMSG;
}
