/* SPDX-License-Identifier: Apache-2.0 */
/*
 * access: touches memory in one pattern and prints nanoseconds an operation.
 *
 *   access PATTERN SIZE_MIB RESIDENT_PERCENT OPERATIONS THREADS
 *
 * Fills SIZE_MIB of malloc'ed memory with pages that are half random and half zeros (they compress
 * to about half), then makes OPERATIONS accesses and prints one line of JSON. It knows nothing of
 * who pages it: the same binary runs under Quire and under the kernel. RESIDENT_PERCENT is only
 * printed. Every read is checked against the pattern, so a wrong page is noticed.
 *
 * Patterns:
 *   random      read one word of a page chosen uniformly
 *   write       write one word of such a page
 *   sequential  read one word of each page in order, round and round
 *   stride      the same, every 7th page
 *   zipf        read one word of a page chosen by Zipf's law (s = 0.99, scattered over the range)
 *   fill        the filling itself is what is measured; no accesses follow
 */
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PAGE_BYTES = 4096, WORDS = PAGE_BYTES / 8, MAX_THREADS = 64 };

enum pattern { RANDOM, WRITE, SEQUENTIAL, STRIDE, ZIPF, FILL, N_PATTERNS };
static const char *const pattern_names[] = {"random", "write", "sequential",
                                            "stride", "zipf",  "fill"};

struct work {
    pthread_t thread;
    uint64_t seed;
    size_t n_operations;
    size_t n_wrong;
};

static uint64_t *pages; /* n_pages * WORDS */
static size_t n_pages;
static enum pattern pattern;
static double zipf_zetan, zipf_eta;

static const double zipf_theta = 0.99;

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* splitmix64: a full-period mixer; source: G. Steele et al., OOPSLA 2014. */
static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
}

static uint64_t next(uint64_t *state)
{
    return mix((*state)++);
}

static size_t below(uint64_t *state, size_t n)
{
    return (size_t)(((unsigned __int128)next(state) * n) >> 64);
}

/* Word 0 is the only one that writes change; its upper half stays what the fill put there. */
static uint64_t expected(size_t page)
{
    return mix(page) & 0xffffffff00000000;
}

static void fill(void)
{
    for (size_t page = 0; page < n_pages; page++) {
        uint64_t *word = pages + page * WORDS;
        word[0] = expected(page);
        for (size_t i = 1; i < WORDS / 2; i++)
            word[i] = mix(page * WORDS + i);
        memset(word + WORDS / 2, 0, PAGE_BYTES / 2);
    }
}

/* Source: J. Gray et al., "Quickly Generating Billion-Record Synthetic Databases", 1994. */
static void zipf_prepare(void)
{
    double zeta = 0;
    for (size_t i = 1; i <= n_pages; i++)
        zeta += pow(1.0 / (double)i, zipf_theta);
    zipf_zetan = zeta;
    double zeta2 = 1 + pow(0.5, zipf_theta);
    zipf_eta = (1 - pow(2.0 / (double)n_pages, 1 - zipf_theta)) / (1 - zeta2 / zeta);
}

static size_t zipf_page(uint64_t *state)
{
    double u = (double)(next(state) >> 11) * 0x1p-53;
    double uz = u * zipf_zetan;
    size_t rank;
    if (uz < 1)
        rank = 0;
    else if (uz < 1 + pow(0.5, zipf_theta))
        rank = 1;
    else
        rank = (size_t)((double)n_pages * pow(zipf_eta * u - zipf_eta + 1, 1 / (1 - zipf_theta)));
    /* Popular pages do not lie side by side. */
    return (rank < n_pages ? mix(rank) : 0) % n_pages;
}

static size_t choose(struct work *work, size_t i)
{
    switch (pattern) {
    case SEQUENTIAL:
        return (work->seed + i) % n_pages;
    case STRIDE:
        return (work->seed + i * 7) % n_pages;
    case ZIPF:
        return zipf_page(&work->seed);
    default:
        return below(&work->seed, n_pages);
    }
}

static void *access_pages(void *argument)
{
    struct work *work = argument;
    for (size_t i = 0; i < work->n_operations; i++) {
        size_t page = choose(work, i);
        uint64_t *word = pages + page * WORDS;
        if ((__atomic_load_n(word, __ATOMIC_RELAXED) & 0xffffffff00000000) != expected(page))
            work->n_wrong++;
        if (pattern == WRITE)
            __atomic_store_n(word, expected(page) | (i & 0xffffffff), __ATOMIC_RELAXED);
    }
    return NULL;
}

static size_t run(size_t n_operations, size_t n_threads)
{
    static struct work work[MAX_THREADS];
    static uint64_t n_runs; /* no two read the same pages in the same order */
    size_t n_wrong = 0;
    n_runs++;
    for (size_t i = 0; i < n_threads; i++) {
        work[i].seed = (n_runs << 32) + mix(i) % n_pages + i * n_pages / n_threads;
        work[i].n_operations = n_operations / n_threads;
        work[i].n_wrong = 0;
        if (pthread_create(&work[i].thread, NULL, access_pages, &work[i]) != 0)
            exit(2);
    }
    for (size_t i = 0; i < n_threads; i++) {
        pthread_join(work[i].thread, NULL);
        n_wrong += work[i].n_wrong;
    }
    return n_wrong;
}

static int usage(void)
{
    fputs("usage: access random|write|sequential|stride|zipf|fill MIB PERCENT OPERATIONS THREADS\n",
          stderr);
    return 2;
}

int main(int argc, char **argv)
{
    if (argc != 6)
        return usage();
    while (pattern < N_PATTERNS && strcmp(argv[1], pattern_names[pattern]) != 0)
        pattern++;
    n_pages = strtoull(argv[2], NULL, 10) << 8;
    size_t n_operations = strtoull(argv[4], NULL, 10);
    size_t n_threads = strtoull(argv[5], NULL, 10);
    if (pattern == N_PATTERNS || n_pages == 0 || n_threads == 0 || n_threads > MAX_THREADS)
        return usage();
    pages = aligned_alloc(PAGE_BYTES, n_pages * PAGE_BYTES);
    if (!pages) {
        perror("access: memory");
        return 2;
    }

    uint64_t start = now_ns();
    fill();
    uint64_t fill_ns = now_ns() - start;
    if (pattern == ZIPF)
        zipf_prepare();

    uint64_t access_ns = fill_ns;
    size_t n_wrong = 0;
    if (pattern == FILL) {
        n_operations = n_pages;
    } else {
        /* Half as many unmeasured ones first: the steady state is what is compared. */
        n_wrong = run(n_operations / 2, n_threads);
        start = now_ns();
        n_wrong += run(n_operations, n_threads);
        access_ns = now_ns() - start;
    }
    printf(
        "{\"pattern\": \"%s\", \"mib\": %s, \"resident_percent\": %s, \"threads\": %zu, "
        "\"operations\": %zu, \"ns_per_op\": %.1f, \"fill_ns_per_page\": %.1f, \"wrong\": %zu}\n",
        pattern_names[pattern], argv[2], argv[3], n_threads, n_operations,
        (double)access_ns / (double)n_operations, (double)fill_ns / (double)n_pages, n_wrong);
    return n_wrong ? 1 : 0;
}
