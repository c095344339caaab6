/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image_unpack: one function a codec, all with the same arguments.
 *
 * zstd is linked. zlib, LZO and Snappy are loaded when a dump has pages of theirs: only dumps need
 * them, and Snappy alone brings C++'s library, which takes longer to load than all of quire (see
 * docs/adr/0058). So they are asked for by the names under which their ABI has been stable for
 * more than ten years, and their functions are declared here as their manuals have them.
 *
 * Invariant:
 *   U1  `function` of a library is set once, before `once` of it is done, and never changes
 */
#include "mmu/image_unpack.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <zstd.h>

/* zlib.h, lzo/lzo1x.h, snappy-c.h: 0 is success, and *n_page the room before, the size after. */
typedef int uncompress_function(unsigned char *page, unsigned long *n_page,
                                const unsigned char *packed, unsigned long n);
typedef int lzo1x_function(const unsigned char *packed, unsigned long n, unsigned char *page,
                           unsigned long *n_page, void *unused);
typedef int snappy_function(const char *packed, size_t n, char *page, size_t *n_page);

struct library {
    const char *name, *symbol;
    pthread_once_t once;
    void *function; /* NULL: not to be had */
};

static struct library zlib = {"libz.so.1", "uncompress", PTHREAD_ONCE_INIT, NULL};
static struct library lzo = {"liblzo2.so.2", "lzo1x_decompress_safe", PTHREAD_ONCE_INIT, NULL};
static struct library snappy = {"libsnappy.so.1", "snappy_uncompress", PTHREAD_ONCE_INIT, NULL};

/* It stays loaded: the next dump may be of the same kind. */
static void load(struct library *library)
{
    void *handle = dlopen(library->name, RTLD_NOW | RTLD_LOCAL);

    if (handle != NULL)
        library->function = dlsym(handle, library->symbol);
}

static void load_zlib(void)
{
    load(&zlib);
}

static void load_lzo(void)
{
    load(&lzo);
}

static void load_snappy(void)
{
    load(&snappy);
}

static void *function_of(struct library *library, void (*load_it)(void))
{
    (void)pthread_once(&library->once, load_it);
    return library->function;
}

const char *image_unpack_lacks(enum image_codec codec)
{
    switch (codec) {
    case IMAGE_CODEC_ZLIB:
        return function_of(&zlib, load_zlib) == NULL ? zlib.name : NULL;
    case IMAGE_CODEC_LZO:
        return function_of(&lzo, load_lzo) == NULL ? lzo.name : NULL;
    case IMAGE_CODEC_SNAPPY:
        return function_of(&snappy, load_snappy) == NULL ? snappy.name : NULL;
    default:
        return NULL;
    }
}

static int unpack_zlib(const void *packed, size_t n, void *page, size_t n_page)
{
    uncompress_function *function = (uncompress_function *)function_of(&zlib, load_zlib);
    unsigned long n_done = n_page;

    if (function == NULL)
        return -ENOTSUP;
    return function(page, &n_done, packed, n) == 0 && n_done == n_page ? 0 : -EIO;
}

static int unpack_lzo(const void *packed, size_t n, void *page, size_t n_page)
{
    lzo1x_function *function = (lzo1x_function *)function_of(&lzo, load_lzo);
    unsigned long n_done = n_page;

    if (function == NULL)
        return -ENOTSUP;
    return function(packed, n, page, &n_done, NULL) == 0 && n_done == n_page ? 0 : -EIO;
}

static int unpack_snappy(const void *packed, size_t n, void *page, size_t n_page)
{
    snappy_function *function = (snappy_function *)function_of(&snappy, load_snappy);
    size_t n_done = n_page;

    if (function == NULL)
        return -ENOTSUP;
    return function(packed, n, page, &n_done) == 0 && n_done == n_page ? 0 : -EIO;
}

/* A context is larger than many pages: the one that was used last is kept. */
static _Atomic(ZSTD_DCtx *) spare;

static int unpack_zstd(const void *packed, size_t n, void *page, size_t n_page)
{
    /* acquire and release: what was done with the context came before */
    ZSTD_DCtx *context = atomic_exchange_explicit(&spare, NULL, memory_order_acquire);

    if (context == NULL)
        context = ZSTD_createDCtx();
    if (context == NULL)
        return -ENOMEM;
    const size_t n_done = ZSTD_decompressDCtx(context, page, n_page, packed, n);
    context = atomic_exchange_explicit(&spare, context, memory_order_acq_rel);
    ZSTD_freeDCtx(context); /* NULL, unless two threads were here at once */
    return n_done == n_page ? 0 : -EIO;
}

int image_unpack(unsigned codec, const void *packed, size_t n, void *page, size_t n_page)
{
    switch (codec) {
    case IMAGE_CODEC_ZLIB:
        return unpack_zlib(packed, n, page, n_page);
    case IMAGE_CODEC_LZO:
        return unpack_lzo(packed, n, page, n_page);
    case IMAGE_CODEC_SNAPPY:
        return unpack_snappy(packed, n, page, n_page);
    case IMAGE_CODEC_ZSTD:
        return unpack_zstd(packed, n, page, n_page);
    default:
        return -ENOTSUP;
    }
}
