/* SPDX-License-Identifier: Apache-2.0 */
/*
 * extent_bench: placement beside other allocators, in one run.
 *
 *   extent_bench [PEER.so ...]       see peer.h for what a peer exports
 *
 * Processor time, for Quire's policies and each peer, over 256 MiB, in turns, N_TURNS times, the
 * best of each kept; ratios are to the default, tlsf:
 *
 *   pair 64, 4K      alloc and free of one extent, over and over, in an empty space
 *   fill, drain      32768 extents of 16 to 8192 bytes; freed in random order
 *   mix 50, 90, 99   that full, of extents of 16 to 16384 bytes (small ones more often): free a
 *                    random one, then allocate until the fill is reached again; time of an
 * operation
 *
 * And the quality of fit on the same requests, which depends on no clock: of `mix 99`, how
 * many requests failed while it was that full.
 */
#include "peer.h"

#include <dlfcn.h>
#include <math.h>
#include <quire/extent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SPACE ((uint64_t)256 << 20)
#define MAX_EXTENTS (1u << 18)
#define N_FILL 32768u
#define N_PAIRS 300000u
#define N_MIX 200000u
#define N_TURNS 7
#define MAX_PEERS 12

struct allocator {
    const char *name;
    void *(*make)(uint64_t length, uint32_t max_extents);
    void (*delete)(void *space);
    uint64_t (*alloc)(void *space, uint64_t length);
    void (*free)(void *space, uint64_t handle);
};

enum measure { PAIR_64, PAIR_4K, FILL, DRAIN, MIX_50, MIX_90, MIX_99, N_MEASURES };
static const char *const measure_names[N_MEASURES] = {"pair 64", "pair 4K", "fill",  "drain",
                                                      "mix 50",  "mix 90",  "mix 99"};

struct figures {
    double ns[N_MEASURES];
    unsigned n_failed[N_MEASURES];
};

static uint64_t random_state;

static uint32_t draw(uint32_t below)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((random_state >> 32) * below >> 32);
}

static double now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* Quire, one set of functions for all policies but init */

static enum quire_extent_policy policy;

static void *quire_make(uint64_t length, uint32_t max_extents)
{
    struct quire_extent_config config = {length, max_extents, policy};
    size_t n_bytes = quire_extent_metadata_bytes(&config);
    struct quire_extent_space *space;
    void *metadata = aligned_alloc(QUIRE_EXTENT_ALIGNMENT, (n_bytes + 63) / 64 * 64);
    if (metadata == NULL || quire_extent_init(&config, metadata, n_bytes, &space) != 0)
        return NULL;
    return metadata;
}

static uint64_t quire_alloc(void *space, uint64_t length)
{
    quire_extent extent;
    return quire_extent_alloc(space, length, 1, &extent, NULL) == 0 ? extent : PEER_NONE;
}

static void quire_free(void *space, uint64_t handle)
{
    if (quire_extent_free(space, handle) != 0)
        abort();
}

/* Measures */

static uint64_t handles[MAX_EXTENTS];
static uint32_t lengths[MAX_EXTENTS];

static double pairs(const struct allocator *allocator, void *space, uint32_t length)
{
    double start = now_ns();
    for (unsigned i = 0; i < N_PAIRS; i++)
        allocator->free(space, allocator->alloc(space, length));
    return (now_ns() - start) / N_PAIRS;
}

static void fill_and_drain(const struct allocator *allocator, void *space, struct figures *figures)
{
    for (unsigned i = 0; i < N_FILL; i++)
        lengths[i] = 16 + draw(8176);
    double start = now_ns();
    for (unsigned i = 0; i < N_FILL; i++)
        handles[i] = allocator->alloc(space, lengths[i]);
    figures->ns[FILL] = (now_ns() - start) / N_FILL;
    for (unsigned i = N_FILL - 1; i > 0; i--) {
        unsigned j = draw(i + 1);
        uint64_t swapped = handles[i];
        handles[i] = handles[j];
        handles[j] = swapped;
    }
    start = now_ns();
    for (unsigned i = 0; i < N_FILL; i++)
        if (handles[i] != PEER_NONE)
            allocator->free(space, handles[i]);
    figures->ns[DRAIN] = (now_ns() - start) / N_FILL;
}

/* A multiple of 8, which all can serve exactly. */
static uint32_t draw_length(void)
{
    uint32_t most = 16u << draw(11);
    return 16 + draw(most) / 8 * 8;
}

static double mix(const struct allocator *allocator, unsigned percent, unsigned *n_failed)
{
    void *space = allocator->make(SPACE, MAX_EXTENTS);
    uint64_t used = 0, target = SPACE / 100 * percent;
    unsigned n = 0, n_operations = 0;
    double start = 0;
    random_state = 7;
    *n_failed = 0;
    for (unsigned step = 0; step <= 1 || n_operations < N_MIX; step++) { /* 0: fills */
        if (step == 1) {
            start = now_ns();
            n_operations = 0;
            *n_failed = 0;
        }
        if (n > 0 && step > 0) {
            unsigned i = draw(n);
            allocator->free(space, handles[i]);
            used -= lengths[i];
            handles[i] = handles[--n];
            lengths[i] = lengths[n];
            n_operations++;
        }
        /* the same requests for all, whatever became of those before */
        while (used < target && n < MAX_EXTENTS) {
            uint32_t length = draw_length();
            uint64_t handle = allocator->alloc(space, length);
            n_operations++;
            if (handle == PEER_NONE) {
                ++*n_failed;
                break;
            }
            handles[n] = handle;
            lengths[n++] = length;
            used += length;
        }
    }
    double ns = (now_ns() - start) / n_operations;
    allocator->delete (space);
    return ns;
}

static void measure(const struct allocator *allocator, struct figures *best)
{
    static const unsigned percents[] = {50, 90, 99};
    struct figures figures;
    random_state = 1;
    void *space = allocator->make(SPACE, MAX_EXTENTS);
    if (space == NULL) {
        fprintf(stderr, "extent_bench: %s makes no space of 256 MiB\n", allocator->name);
        exit(1);
    }
    figures.ns[PAIR_64] = pairs(allocator, space, 64);
    figures.ns[PAIR_4K] = pairs(allocator, space, 4096);
    fill_and_drain(allocator, space, &figures);
    allocator->delete (space);
    for (unsigned i = 0; i < 3; i++)
        figures.ns[MIX_50 + i] = mix(allocator, percents[i], &best->n_failed[MIX_50 + i]);
    for (unsigned i = 0; i < N_MEASURES; i++)
        best->ns[i] = best->ns[i] == 0 ? figures.ns[i] : fmin(best->ns[i], figures.ns[i]);
}

static void load(const char *path, struct allocator *peer)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const char *(*name)(void) = NULL;
    if (library != NULL) {
        *(void **)&name = dlsym(library, "peer_name");
        *(void **)&peer->make = dlsym(library, "peer_new");
        *(void **)&peer->delete = dlsym(library, "peer_delete");
        *(void **)&peer->alloc = dlsym(library, "peer_alloc");
        *(void **)&peer->free = dlsym(library, "peer_free");
    }
    if (!library || !name || !peer->make || !peer->delete || !peer->alloc || !peer->free) {
        fprintf(stderr, "extent_bench: %s is no peer: %s\n", path,
                library ? "see peer.h for what it must export" : dlerror());
        exit(2);
    }
    peer->name = name();
}

int main(int argc, char **argv)
{
    static struct allocator all[MAX_PEERS + QUIRE_EXTENT_N_POLICIES];
    static struct figures best[MAX_PEERS + QUIRE_EXTENT_N_POLICIES];
    unsigned n = QUIRE_EXTENT_N_POLICIES;
    for (unsigned i = 0; i < n; i++)
        all[i] = (struct allocator){quire_extent_policy_name((enum quire_extent_policy)i),
                                    quire_make, free, quire_alloc, quire_free};
    for (int i = 1; i < argc && i <= MAX_PEERS; i++)
        load(argv[i], &all[n++]);
    for (unsigned turn = 0; turn < N_TURNS; turn++) {
        for (unsigned i = 0; i < n; i++) {
            policy = (enum quire_extent_policy)i; /* of a peer: unused */
            measure(&all[i], &best[i]);
        }
    }
    printf("%-18s", "ns (ratio to tlsf)");
    for (unsigned i = 0; i < N_MEASURES; i++)
        printf(" %13s", measure_names[i]);
    printf("  failed of %u at 90, 99 %%\n", N_MIX / 2);
    for (unsigned i = 0; i < n; i++) {
        printf("%-18s", all[i].name);
        for (unsigned j = 0; j < N_MEASURES; j++)
            printf("  %5.0f (%4.2f)", best[i].ns[j], best[i].ns[j] / best[0].ns[j]);
        printf("  %u, %u\n", best[i].n_failed[MIX_90], best[i].n_failed[MIX_99]);
    }
    return 0;
}
