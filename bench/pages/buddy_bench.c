/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the buddy system costs: nanoseconds for an operation, best of several repetitions.
 *
 *   pair    alloc and free of one block, over and over; `cold` splits and coalesces a block of the
 *           largest order each time, `warm` finds a block of its own order on the list
 *   fill    alloc until the range is full, from fresh pages, then again from coalesced ones
 *   drain   free of all that, in a random order
 *   exact   alloc_exact and free_range of 1 to 64 pages, 512 of them held, replaced at random
 *   pair, N threads   `warm` by all threads at once on one zone: what a per-thread cache would save
 *
 * Metadata held after a drain is printed in bytes a page, once for each order.
 */
#include <pthread.h>
#include <quire/buddy.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#define N_PAGES (1u << 22) /* 16 GiB of 4 KiB pages */
#define MAX_ORDER 20
#define N_PAIRS 1000000u
#define MAX_BLOCKS (1u << 19)
#define N_REPETITIONS 5

static struct quire_buddy *buddy;
static void *metadata;
static size_t metadata_bytes;
static quire_page blocks[MAX_BLOCKS];

static double now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void require(int result)
{
    if (result != 0) {
        fprintf(stderr, "buddy_bench: an operation failed: %d\n", result);
        exit(1);
    }
}

static void fresh_buddy(void)
{
    struct quire_buddy_zone zone = {0, N_PAGES, NULL};
    struct quire_buddy_config config = {MAX_ORDER, 1, &zone};
    if (metadata != NULL)
        munmap(metadata, metadata_bytes);
    metadata_bytes = quire_buddy_metadata_bytes(&config);
    metadata = mmap(NULL, metadata_bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    require(metadata == MAP_FAILED);
    require(quire_buddy_init(&config, metadata, metadata_bytes, &buddy));
}

static uint32_t draw(uint32_t below)
{
    static uint64_t state = 1;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33) % below;
}

static quire_page alloc(unsigned order)
{
    quire_page page;
    require(quire_buddy_alloc(buddy, NULL, order, &page));
    return page;
}

static double pairs(unsigned order)
{
    double start = now_ns();
    for (unsigned i = 0; i < N_PAIRS; i++)
        require(quire_buddy_free(buddy, alloc(order), order));
    return (now_ns() - start) / N_PAIRS;
}

static double best(double (*measure)(unsigned), unsigned argument)
{
    double least = 1e99;
    for (unsigned i = 0; i < N_REPETITIONS; i++) {
        double ns = measure(argument);
        least = ns < least ? ns : least;
    }
    return least;
}

static void bench_pairs(unsigned order)
{
    fresh_buddy();
    require(quire_buddy_free(buddy, alloc(MAX_ORDER), MAX_ORDER));
    printf("pair order %u, cold: %.1f ns/op\n", order, best(pairs, order));
    quire_page wall = alloc(order); /* its free buddy stands alone on the list */
    printf("pair order %u, warm: %.1f ns/op\n", order, best(pairs, order));
    require(quire_buddy_free(buddy, wall, order));
}

static double fill(unsigned order, unsigned n_blocks)
{
    double start = now_ns();
    for (unsigned i = 0; i < n_blocks; i++)
        blocks[i] = alloc(order);
    return (now_ns() - start) / n_blocks;
}

static double drain(unsigned order, unsigned n_blocks)
{
    for (unsigned i = n_blocks - 1; i > 0; i--) {
        unsigned j = draw(i + 1);
        quire_page swapped = blocks[i];
        blocks[i] = blocks[j];
        blocks[j] = swapped;
    }
    double start = now_ns();
    for (unsigned i = 0; i < n_blocks; i++)
        require(quire_buddy_free(buddy, blocks[i], order));
    return (now_ns() - start) / n_blocks;
}

static void bench_fill(unsigned order)
{
    unsigned n_blocks = N_PAGES >> order < MAX_BLOCKS ? N_PAGES >> order : MAX_BLOCKS;
    fresh_buddy();
    printf("fill order %u, fresh: %.1f ns/op\n", order, fill(order, n_blocks));
    printf("drain order %u, first: %.1f ns/op\n", order, drain(order, n_blocks));
    printf("fill order %u, again: %.1f ns/op\n", order, fill(order, n_blocks));
    printf("drain order %u, again: %.1f ns/op\n", order, drain(order, n_blocks));
    struct quire_buddy_counts counts;
    require(quire_buddy_counts(buddy, 0, &counts));
    printf("metadata order %u: %.3f bytes/page\n", order,
           (double)counts.metadata_bytes / counts.frontier);
}

static double exact(unsigned n_steps)
{
    static uint32_t held[512];
    double start = now_ns();
    for (unsigned i = 0; i < n_steps; i++) {
        unsigned slot = draw(512);
        if (held[slot] > 0)
            require(quire_buddy_free_range(buddy, blocks[slot], held[slot]));
        held[slot] = 1 + draw(64);
        require(quire_buddy_alloc_exact(buddy, NULL, held[slot], 1, &blocks[slot]));
    }
    return (now_ns() - start) / n_steps;
}

static void *run_pairs(void *argument)
{
    pairs(0);
    return argument;
}

static double threads(unsigned n_threads)
{
    pthread_t ids[8];
    double start = now_ns();
    for (unsigned i = 0; i < n_threads; i++)
        require(pthread_create(&ids[i], NULL, run_pairs, NULL));
    for (unsigned i = 0; i < n_threads; i++)
        require(pthread_join(ids[i], NULL));
    return (now_ns() - start) / N_PAIRS / n_threads;
}

int main(void)
{
    static const unsigned orders[] = {0, 3, 6, 9};
    for (unsigned i = 0; i < 4; i++)
        bench_pairs(orders[i]);
    for (unsigned i = 0; i < 4; i++)
        bench_fill(orders[i]);
    fresh_buddy();
    printf("exact 1-64 pages, free and alloc: %.1f ns/op\n", best(exact, N_PAIRS));
    fresh_buddy();
    for (unsigned n = 1; n <= 4; n *= 2)
        printf("pair order 0, %u thread(s): %.1f ns/op\n", n, best(threads, n));
    return 0;
}
