/* SPDX-License-Identifier: Apache-2.0 */
/* store_pages: reproducible pages of every kind, for the store's tests. */
#ifndef QUIRE_TESTS_STORE_PAGES_H
#define QUIRE_TESTS_STORE_PAGES_H

#include "store/seal.h"
#include "store/store.h"
#include "store/swap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum page_kind {
    PAGE_ZERO,
    PAGE_PATTERN,
    PAGE_TINY,
    PAGE_TEXT,
    PAGE_HALF,
    PAGE_RANDOM,
    PAGE_KINDS
};

static inline uint64_t next_random(uint64_t *state) /* xorshift64* */
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1d;
}

/* The same seed and kind make the same page. */
static inline void make_page(void *page, enum page_kind kind, uint64_t seed)
{
    uint64_t state = seed * 0x9e3779b97f4a7c15 + 1;
    unsigned char *bytes = page;
    for (size_t i = 0; i < SYS_PAGE_SIZE; i += 8) {
        const uint64_t r = next_random(&state);
        uint64_t word = 0;
        if (kind == PAGE_PATTERN)
            word = (seed & UINT32_MAX) << 32 | (seed & UINT32_MAX);
        if (kind == PAGE_TINY)
            word = i == (seed % 512) * 8 ? r | 1 : 0;
        if (kind == PAGE_TEXT)
            word = 0x2020202020202020 + (r & 0x0f0f0f) + seed % 7;
        if (kind == PAGE_HALF)
            word = i < (1 + seed % 6) * SYS_PAGE_SIZE / 8 ? r : i;
        if (kind == PAGE_RANDOM)
            word = r;
        memcpy(bytes + i, &word, 8);
    }
}

/* In memory so well aligned that the packer is its beginning: free(packer). */
static inline struct store_packer *new_packer(enum store_codec codec)
{
    const size_t n_bytes = store_packer_bytes(codec);
    void *memory;
    if (posix_memalign(&memory, SYS_PAGE_SIZE, n_bytes) != 0)
        abort();
    return store_packer_init(memset(memory, 0, n_bytes), codec);
}

/* Shared between forks; lives as long as the process. */
static inline struct swap_space *new_space(uint64_t file_bytes)
{
    void *space = mmap(NULL, swap_space_bytes(file_bytes), PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (space == MAP_FAILED)
        abort();
    swap_space_init(space, file_bytes);
    return space;
}

/* The key of a run, as the launcher makes it; cipher 0: the best. `fd` may be NULL. */
static inline struct seal *new_seal(enum seal_cipher cipher, int *fd)
{
    struct seal *seal = NULL;
    int result = seal_prepare();
    if (result == 0)
        result = seal_create(cipher != 0 ? cipher : seal_best_cipher(), &seal);
    if (result < 0)
        abort();
    if (fd != NULL)
        *fd = result;
    else
        close(result);
    return seal;
}

/* Where the tests put swap files: not a file system in RAM. */
static inline const char *swap_directory(void)
{
    const char *directory = getenv("QUIRE_TEST_DIRECTORY");
    return directory != NULL ? directory : "/var/tmp";
}

static inline int new_swap_file(uint64_t file_bytes)
{
    int fd = -1;
    const int error = swap_open(swap_directory(), file_bytes, &fd);
    if (error != 0) {
        fprintf(stderr, "%s: %s\n", swap_directory(), swap_open_reason(error));
        abort();
    }
    return fd;
}

static inline uint64_t test_seed(void) /* QUIRE_TEST_SEED replays a run */
{
    const char *text = getenv("QUIRE_TEST_SEED");
    return text != NULL ? strtoull(text, NULL, 0) : (uint64_t)time(NULL);
}

#endif
