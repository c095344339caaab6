/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a page allocator costs over 1 GiB of pages: nanoseconds for an operation (an allocation or
 * a free; a pair is both), each the median of alternating rounds.
 *
 *    buddy_bench [--rounds N] [--only TEXT] [PEER.so ...]      peer.h tells what a peer is
 *
 *   pair K        alloc and free of one block of order K, half of the pages in use
 *   mix           half full; free a random block, allocate one whose order is geometric (half of
 *                 them 0, a quarter 1 ...): a pair; `fails` is the part that found no room
 *   fill          order 0 until nothing is left
 *   drain         the same freed, in order of address; shuffled
 *   full          all in use: free a random page and allocate one: a pair
 *   threads 2     two threads, `mix` each: a pair
 *   fragments     after 20 million pairs of `mix` at three quarters full: the part of free pages
 *                 that is in no free block of order 9, by filling up with such blocks
 *   metadata      bytes a page after `fill`
 */
#include "ours.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define N_PAGES (1u << 18)
#define MAX_PEERS 8
#define MAX_ROWS 16
#define MAX_ROUNDS 31
#define TOP_ORDER 10

struct block {
    uint32_t page;
    unsigned order;
};

struct bench {
    const struct pages_peer *peer;
    void *state, *thread;
    struct block *blocks; /* in use */
    uint32_t n_blocks, n_used;
    uint64_t random;
    unsigned long n_failed, n_tried;
};

static const struct pages_peer *peers[MAX_PEERS];
static unsigned n_peers, n_rounds = 5;
static const char *only = "";

static double now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static uint32_t draw(struct bench *bench, uint32_t below)
{
    bench->random = bench->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((bench->random >> 33) * below >> 31);
}

static void start(struct bench *bench, const struct pages_peer *peer, unsigned round)
{
    *bench = (struct bench){.peer = peer, .state = peer->create(N_PAGES), .random = round + 1};
    if (bench->state == NULL) {
        fprintf(stderr, "buddy_bench: %s can't be made\n", peer->name);
        exit(1);
    }
    bench->thread = peer->thread(bench->state, 0);
    bench->blocks = malloc(N_PAGES * sizeof *bench->blocks);
    memset(bench->blocks, 0xff,
           N_PAGES * sizeof *bench->blocks); /* its first touches are not ours */
}

static void end(struct bench *bench)
{
    bench->peer->destroy(bench->state);
    free(bench->blocks);
}

static bool take(struct bench *bench, unsigned order)
{
    struct block block = {0, order};
    bench->n_tried++;
    if (!bench->peer->alloc(bench->thread, order, &block.page)) {
        bench->n_failed++;
        return false;
    }
    bench->blocks[bench->n_blocks++] = block;
    bench->n_used += 1u << order;
    return true;
}

static void give(struct bench *bench, uint32_t i)
{
    struct block block = bench->blocks[i];
    bench->blocks[i] = bench->blocks[--bench->n_blocks];
    bench->n_used -= 1u << block.order;
    bench->peer->free(bench->thread, block.page, block.order);
}

static unsigned geometric(struct bench *bench)
{
    unsigned order = (unsigned)__builtin_ctz(draw(bench, 1u << 30) | 1u << 30);
    return order <= TOP_ORDER ? order : 0;
}

static void fill_to(struct bench *bench, uint32_t n_pages)
{
    while (bench->n_used < n_pages)
        if (!take(bench, geometric(bench)))
            break;
    for (uint32_t i = bench->n_blocks / 2; i > 0; i--) /* so that holes are everywhere */
        give(bench, draw(bench, bench->n_blocks));
    while (bench->n_used < n_pages)
        if (!take(bench, geometric(bench)))
            break;
}

static double pairs(struct bench *bench, unsigned order)
{
    const unsigned n = 500000;
    fill_to(bench, N_PAGES / 2);
    double begin = now_ns();
    for (unsigned i = 0; i < n; i++) {
        uint32_t page;
        if (bench->peer->alloc(bench->thread, order, &page))
            bench->peer->free(bench->thread, page, order);
        else
            bench->n_failed++;
    }
    return (now_ns() - begin) / n;
}

static void mix_steps(struct bench *bench, unsigned n, uint32_t most)
{
    for (unsigned i = 0; i < n; i++) {
        if (bench->n_blocks > 0)
            give(bench, draw(bench, bench->n_blocks));
        unsigned order = geometric(bench);
        if (bench->n_used + (1u << order) <= most)
            take(bench, order);
        while (bench->n_used + 64 < most && take(bench, geometric(bench)))
            i++;
    }
}

static double mix(struct bench *bench, unsigned argument)
{
    const unsigned n = 500000;
    fill_to(bench, N_PAGES / 2);
    bench->n_tried = bench->n_failed = 0;
    double begin = now_ns();
    mix_steps(bench, n, N_PAGES / 2);
    return (now_ns() - begin) / n;
}

static void fill_all(struct bench *bench)
{
    while (take(bench, 0))
        ;
    bench->n_failed = 0;
}

static double fill(struct bench *bench, unsigned argument)
{
    double begin = now_ns();
    fill_all(bench);
    return (now_ns() - begin) / bench->n_blocks;
}

static void shuffle(struct bench *bench)
{
    for (uint32_t i = bench->n_blocks - 1; i > 0; i--) {
        uint32_t j = draw(bench, i + 1);
        struct block swapped = bench->blocks[i];
        bench->blocks[i] = bench->blocks[j];
        bench->blocks[j] = swapped;
    }
}

static double drain(struct bench *bench, unsigned shuffled)
{
    fill_all(bench);
    uint32_t n = bench->n_blocks;
    if (shuffled)
        shuffle(bench);
    double begin = now_ns();
    for (uint32_t i = 0; i < n; i++)
        bench->peer->free(bench->thread, bench->blocks[i].page, 0);
    return (now_ns() - begin) / n;
}

static double full(struct bench *bench, unsigned argument)
{
    const unsigned n = 500000;
    fill_all(bench);
    double begin = now_ns();
    for (unsigned i = 0; i < n; i++) {
        give(bench, draw(bench, bench->n_blocks));
        take(bench, 0);
    }
    return (now_ns() - begin) / n;
}

static void *run_mix(void *argument)
{
    mix_steps(argument, 300000, N_PAGES / 4);
    return NULL;
}

static double threads(struct bench *bench, unsigned argument)
{
    struct bench other = *bench;
    pthread_t thread;
    if (!bench->peer->is_threaded)
        return 0;
    other.thread = bench->peer->thread(bench->state, 1);
    other.blocks = malloc(N_PAGES * sizeof *other.blocks);
    other.random += 1000;
    fill_to(bench, N_PAGES / 4);
    fill_to(&other, N_PAGES / 4);
    double begin = now_ns();
    if (pthread_create(&thread, NULL, run_mix, &other) != 0)
        abort();
    run_mix(bench);
    pthread_join(thread, NULL);
    double ns = (now_ns() - begin) / 300000;
    bench->n_failed += other.n_failed;
    free(other.blocks);
    return ns;
}

static double fragments(struct bench *bench, unsigned argument)
{
    uint32_t n_huge = 0, page, n_free;
    fill_to(bench, N_PAGES / 4 * 3);
    mix_steps(bench, 2000000, N_PAGES / 4 * 3);
    n_free = N_PAGES - bench->n_used;
    while (bench->peer->alloc(bench->thread, 9, &page))
        n_huge++;
    return 1 - (double)n_huge * 512 / n_free;
}

static double metadata(struct bench *bench, unsigned argument)
{
    fill_all(bench);
    return (double)bench->peer->metadata_bytes(bench->state) / N_PAGES;
}

static const struct row {
    const char *name;
    double (*run)(struct bench *bench, unsigned argument);
    unsigned argument;
} rows[] = {
    {"pair 0", pairs, 0},
    {"pair 3", pairs, 3},
    {"pair 6", pairs, 6},
    {"pair 9", pairs, 9},
    {"mix", mix, 0},
    {"fill", fill, 0},
    {"drain", drain, 0},
    {"drain shuffled", drain, 1},
    {"full", full, 0},
    {"threads 2", threads, 0},
    {"fragments", fragments, 0},
    {"metadata", metadata, 0},
};

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void run_row(const struct row *row)
{
    double results[MAX_PEERS][MAX_ROUNDS];
    double failed[MAX_PEERS] = {0};

    for (unsigned round = 0; round < n_rounds; round++)
        for (unsigned i = 0; i < n_peers; i++) {
            struct bench bench;
            start(&bench, peers[i], round);
            results[i][round] = row->run(&bench, row->argument);
            failed[i] += (double)bench.n_failed / (double)(bench.n_tried ? bench.n_tried : 1);
            end(&bench);
        }
    printf("%-16s", row->name);
    for (unsigned i = 0; i < n_peers; i++) {
        qsort(results[i], n_rounds, sizeof(double), compare);
        printf(" %12.2f", results[i][n_rounds / 2]);
    }
    for (unsigned i = 0; i < n_peers; i++)
        if (failed[i] > 0)
            printf("   %s fails %.3f %%", peers[i]->name, failed[i] * 100 / n_rounds);
    printf("\n");
    fflush(stdout);
}

static void load(const char *path)
{
    void *library = dlopen(path, RTLD_NOW);
    const struct pages_peer *peer = library != NULL ? dlsym(library, "quire_pages_peer") : NULL;
    if (peer == NULL || n_peers == MAX_PEERS) {
        fprintf(stderr, "buddy_bench: %s: %s\n", path, peer == NULL ? dlerror() : "too many");
        exit(2);
    }
    peers[n_peers++] = peer;
}

int main(int argc, char **argv)
{
    for (unsigned i = 0; i < N_OURS; i++)
        peers[n_peers++] = &pages_ours[i];
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--rounds") == 0 && i + 1 < argc)
            n_rounds = (unsigned)atoi(argv[++i]);
        else if (strcmp(argv[i], "--only") == 0 && i + 1 < argc)
            only = argv[++i];
        else
            load(argv[i]);
    }
    if (n_rounds < 1 || n_rounds > MAX_ROUNDS) {
        fprintf(stderr, "buddy_bench: --rounds takes 1 to %d\n", MAX_ROUNDS);
        return 2;
    }
    printf("%-16s", "ns");
    for (unsigned i = 0; i < n_peers; i++)
        printf(" %12s", peers[i]->name);
    printf("\n");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strstr(rows[i].name, only) != NULL)
            run_row(&rows[i]);
    return 0;
}
