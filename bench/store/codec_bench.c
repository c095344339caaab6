/* SPDX-License-Identifier: Apache-2.0 */
/*
 * codec_bench: what codecs, clusters of pages and dictionaries make of a process's memory, and what
 * it costs to bring one page back.
 *
 *   codec_bench PID
 *
 * Reads what is there of the process's private anonymous memory, at most MOST_PAGES, same-filled
 * pages left out. For each way of packing one line: the ratio, µs to pack a page, µs to unpack the
 * one page that is wanted (all of its cluster). Pages of a cluster are neighbours by address. CPU
 * time, the best of three rounds.
 *
 *   cc -O2 -D_GNU_SOURCE bench/store/codec_bench.c -llz4 -lzstd -o /tmp/codec_bench
 */
#include <fcntl.h>
#include <lz4.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#define ZSTD_STATIC_LINKING_ONLY
#include <zdict.h>
#include <zstd.h>

#define PAGE ((size_t)4096)
#define MOST_PAGES ((size_t)20000)
#define MOST_CLUSTER 16
#define WORTH(n_bytes) ((n_bytes) / 8 * 7) /* more than that is kept as it is */
#define N_SAMPLES ((size_t)1000)
#define ROUNDS 3

static unsigned char *pages, *packed, unpacked[MOST_CLUSTER * PAGE];
static size_t n_pages, packed_bytes[MOST_PAGES], packed_at[MOST_PAGES];

struct way {
    size_t cluster;   /* pages packed together */
    bool lz4;         /* else zstd, level 1 */
    size_t most_dict; /* bytes of the dictionary; 0: none */
    void *lz4_state;
    ZSTD_CCtx *compress;
    ZSTD_DCtx *decompress;
};

static double cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void must(bool true_or_stop, const char *what)
{
    if (!true_or_stop) {
        fprintf(stderr, "codec_bench: %s\n", what);
        exit(1);
    }
}

/* What can be read of [from, to), but for same-filled pages. */
static void read_range(int memory, uint64_t from, uint64_t to)
{
    for (; from < to && n_pages < MOST_PAGES; from += PAGE) {
        unsigned char *page = pages + n_pages * PAGE;
        if (pread(memory, page, PAGE, (off_t)from) == (ssize_t)PAGE &&
            memcmp(page, page + 4, PAGE - 4) != 0)
            n_pages++;
    }
}

static void read_process(const char *pid)
{
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%s/mem", pid);
    const int memory = open(path, O_RDONLY);
    snprintf(path, sizeof path, "/proc/%s/maps", pid);
    FILE *maps = fopen(path, "r");
    must(memory >= 0 && maps != NULL, "no such process, or no right to read its memory");
    while (fgets(line, sizeof line, maps) != NULL) {
        unsigned long from, to, inode;
        char rights[5];
        if (sscanf(line, "%lx-%lx %4s %*x %*s %lu", &from, &to, rights, &inode) == 4 &&
            strcmp(rights, "rw-p") == 0 && inode == 0 && strstr(line, "[stack") == NULL)
            read_range(memory, from, to);
    }
    must(n_pages >= 100, "it has too little memory");
    fclose(maps);
    close(memory);
}

static void train(struct way *way)
{
    const size_t n = n_pages / 4 < N_SAMPLES ? n_pages / 4 : N_SAMPLES;
    unsigned char *samples = malloc(n * PAGE), *dict = malloc(way->most_dict);
    size_t *sizes = malloc(n * sizeof *sizes);
    must(samples != NULL && sizes != NULL && dict != NULL, "out of memory");
    for (size_t i = 0; i < n; i++) {
        memcpy(samples + i * PAGE, pages + i * 7717 % n_pages * PAGE, PAGE);
        sizes[i] = PAGE;
    }
    const size_t bytes = ZDICT_trainFromBuffer(dict, way->most_dict, samples, sizes, (unsigned)n);
    must(!ZDICT_isError(bytes), "no dictionary can be made of this");
    const ZSTD_compressionParameters p = ZSTD_getCParams(1, way->cluster * PAGE, 0);
    ZSTD_CCtx_refCDict(way->compress,
                       ZSTD_createCDict_advanced(dict, bytes, ZSTD_dlm_byCopy, ZSTD_dct_auto, p,
                                                 ZSTD_defaultCMem));
    ZSTD_DCtx_refDDict(way->decompress, ZSTD_createDDict(dict, bytes));
    free(samples);
    free(sizes);
    free(dict);
}

static void start(struct way *way)
{
    const ZSTD_compressionParameters p = ZSTD_getCParams(1, way->cluster * PAGE, 0);
    way->lz4_state = malloc((size_t)LZ4_sizeofState());
    way->compress = ZSTD_createCCtx();
    way->decompress = ZSTD_createDCtx();
    must(way->lz4_state != NULL && way->compress != NULL && way->decompress != NULL,
         "out of memory");
    ZSTD_CCtx_setParameter(way->compress, ZSTD_c_compressionLevel, 1);
    ZSTD_CCtx_setParameter(way->compress, ZSTD_c_windowLog, (int)p.windowLog);
    ZSTD_CCtx_setParameter(way->compress, ZSTD_c_hashLog, (int)p.hashLog);
    ZSTD_CCtx_setParameter(way->compress, ZSTD_c_format, ZSTD_f_zstd1_magicless);
    ZSTD_CCtx_setParameter(way->compress, ZSTD_c_dictIDFlag, 0);
    ZSTD_DCtx_setParameter(way->decompress, ZSTD_d_format, ZSTD_f_zstd1_magicless);
    if (way->most_dict > 0)
        train(way);
}

/* Bytes of what became of one cluster. */
static size_t pack(const struct way *way, const unsigned char *from, unsigned char *to)
{
    const size_t n_bytes = way->cluster * PAGE;
    size_t n;
    if (way->lz4) {
        const int result = LZ4_compress_fast_extState(
            way->lz4_state, (const char *)from, (char *)to, (int)n_bytes, (int)WORTH(n_bytes), 1);
        n = result > 0 ? (size_t)result : n_bytes;
    } else {
        n = ZSTD_compress2(way->compress, to, WORTH(n_bytes), from, n_bytes);
    }
    if (n < n_bytes && !ZSTD_isError(n))
        return n;
    memcpy(to, from, n_bytes);
    return n_bytes;
}

static void unpack(const struct way *way, size_t i)
{
    const size_t n_bytes = way->cluster * PAGE;
    const unsigned char *from = packed + packed_at[i];
    if (packed_bytes[i] == n_bytes)
        memcpy(unpacked, from, n_bytes);
    else if (way->lz4)
        LZ4_decompress_safe((const char *)from, (char *)unpacked, (int)packed_bytes[i],
                            (int)n_bytes);
    else
        ZSTD_decompressDCtx(way->decompress, unpacked, n_bytes, from, packed_bytes[i]);
    must(memcmp(unpacked, pages + i * n_bytes, n_bytes) == 0, "a page came back wrong");
}

static void measure(const char *name, struct way way)
{
    const size_t n = n_pages / way.cluster;
    double pack_us = 1e18, unpack_us = 1e18;
    size_t sum = 0;
    start(&way);
    for (int round = 0; round < ROUNDS; round++) {
        double begun = cpu_us();
        sum = 0;
        for (size_t i = 0; i < n; i++) {
            packed_at[i] = sum;
            packed_bytes[i] = pack(&way, pages + i * way.cluster * PAGE, packed + sum);
            sum += packed_bytes[i];
        }
        const double packing = cpu_us() - begun;
        begun = cpu_us();
        for (size_t i = 0; i < n; i++)
            unpack(&way, i * 7919 % n);
        const double unpacking = cpu_us() - begun;
        pack_us = packing < pack_us ? packing : pack_us;
        unpack_us = unpacking < unpack_us ? unpacking : unpack_us;
    }
    printf("%-34s ratio %5.2f  pack %5.1f us  a page back %5.1f us\n", name,
           (double)(n * way.cluster * PAGE) / (double)sum, pack_us / (double)(n * way.cluster),
           unpack_us / (double)n);
    free(way.lz4_state);
    ZSTD_freeCCtx(way.compress);
    ZSTD_freeDCtx(way.decompress);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fputs("usage: codec_bench PID\n", stderr);
        return 2;
    }
    pages = malloc((MOST_PAGES + 1) * PAGE);
    packed = malloc((MOST_PAGES + 1) * PAGE);
    must(pages != NULL && packed != NULL, "out of memory");
    memset(packed, 1, (MOST_PAGES + 1) * PAGE);
    read_process(argv[1]);
    printf("%zu pages\n", n_pages);
    measure("LZ4, a page", (struct way){.cluster = 1, .lz4 = true});
    measure("zstd, a page", (struct way){.cluster = 1});
    measure("zstd, a page, dictionary of 4 KiB", (struct way){.cluster = 1, .most_dict = 4 << 10});
    measure("zstd, a page, dictionary of 16 KiB",
            (struct way){.cluster = 1, .most_dict = 16 << 10});
    measure("zstd, clusters of 4", (struct way){.cluster = 4});
    measure("zstd, clusters of 8", (struct way){.cluster = 8});
    measure("zstd, clusters of 16", (struct way){.cluster = 16});
    measure("clusters of 16, dictionary 16 KiB",
            (struct way){.cluster = 16, .most_dict = 16 << 10});
    free(pages);
    free(packed);
    return 0;
}
