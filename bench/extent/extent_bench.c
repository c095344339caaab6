/* SPDX-License-Identifier: Apache-2.0 */
/*
 * extent_bench: placement beside other allocators, in one run.
 *
 *   extent_bench [-d] [-s | -f] [PEER.so ...]      see peer.h for what a peer exports
 *
 *   -d  of Quire's policies the default alone
 *   -s  speed alone
 *   -f  fit alone, which depends on no clock
 *
 * Speed: processor time, for Quire's policies and each peer, over 256 MiB, in turns, N_TURNS times,
 * the best of each kept; ratios are to the default, tlsf:
 *
 *   pair 64, 4K      alloc and free of one extent, over and over, where 1000 others are held
 *   pair edge        the same of 64 bytes where nothing is held: the only hole is 2^28 bytes long,
 *                    so each call takes it from one size class to another
 *   fill, drain      32768 extents of 16 to 8192 bytes; freed in random order
 *   mix 50, 90, 99   that full, of extents of 16 to 16384 bytes (small ones more often): free a
 *                    random one, then allocate until the fill is reached again; time of an
 *                    operation
 *
 * Every allocator's metadata is written to before the clock starts: as many extents as `fill`
 * counts are allocated and freed, the last one first; of a mix the first filling is not counted.
 *
 * Fit: the mixes again, ten times as long and the same requests for all. What was refused of what
 * was asked for; the highest end that any extent ever had, which is the space that the
 * trace needs as it is placed; and of the end of the trace how much is free, the largest hole, and
 * how many holes there are that any request fits. All of it is computed here, from offsets and
 * lengths.
 */
#include "peer.h"

#include <dlfcn.h>
#include <math.h>
#include <quire/extent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SPACE ((uint64_t)256 << 20)
#define MAX_EXTENTS (1u << 18)
#define MIN_LENGTH 16u
#define N_FILL 32768u
#define N_HELD 1000u
#define N_PAIRS 300000u
#define N_MIX 200000u
#define N_LONG (10 * N_MIX)
#define N_TURNS 7
#define MAX_PEERS 12
#define MAX_ALLOCATORS (MAX_PEERS + QUIRE_EXTENT_N_POLICIES)

struct allocator {
    const char *name;
    enum quire_extent_policy policy; /* Quire's */
    void *(*make)(uint64_t length, uint32_t max_extents);
    void (*delete)(void *space);
    uint64_t (*alloc)(void *space, uint64_t length);
    void (*free)(void *space, uint64_t handle);
    uint64_t (*offset)(void *space, uint64_t handle);
    uint64_t header_bytes; /* before each extent */
};

enum measure { PAIR_64, PAIR_4K, PAIR_EDGE, FILL, DRAIN, MIX_50, MIX_90, MIX_99, N_MEASURES };
static const char *const measure_names[N_MEASURES] = {"pair 64", "pair 4K", "pair edge", "fill",
                                                      "drain",   "mix 50",  "mix 90",    "mix 99"};

static const unsigned fills_percent[] = {50, 90, 99};
#define N_FILLS 3

struct figures {
    double ns[N_MEASURES];
};

struct fit {
    unsigned n_asked, n_refused, n_holes;
    uint64_t highest, free, largest; /* bytes */
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

static uint64_t quire_offset(void *space, uint64_t handle)
{
    struct quire_extent_piece piece;
    if (quire_extent_find(space, handle, &piece) != 0)
        abort();
    return piece.offset;
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

/* Speed */

static uint64_t handles[MAX_EXTENTS];
static uint32_t lengths[MAX_EXTENTS];

/* The first touches of the metadata. */
static void touch(const struct allocator *allocator, void *space)
{
    for (unsigned i = 0; i < N_FILL; i++)
        handles[i] = allocator->alloc(space, 4096);
    for (unsigned i = N_FILL; i-- > 0;)
        allocator->free(space, handles[i]);
}

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
        lengths[i] = MIN_LENGTH + draw(8176);
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
    uint32_t most = MIN_LENGTH << draw(11);
    return MIN_LENGTH + draw(most) / 8 * 8;
}

struct mix {
    void *space;
    uint64_t used, target;
    unsigned n, n_asked, n_refused;
    uint64_t highest; /* where it is asked for */
};

static void free_one(const struct allocator *allocator, struct mix *mix)
{
    unsigned i = draw(mix->n);
    allocator->free(mix->space, handles[i]);
    mix->used -= lengths[i];
    handles[i] = handles[--mix->n];
    lengths[i] = lengths[mix->n];
}

/* The same requests for all: one that is refused is not made again. */
static inline void refill(const struct allocator *allocator, struct mix *mix, bool looks)
{
    while (mix->used < mix->target && mix->n < MAX_EXTENTS) {
        uint32_t length = draw_length();
        uint64_t handle = allocator->alloc(mix->space, length);
        mix->n_asked++;
        mix->used += length;
        if (handle == PEER_NONE) {
            mix->used -= length;
            mix->n_refused++;
            break;
        }
        if (looks) {
            uint64_t end = allocator->offset(mix->space, handle) + length;
            uint64_t headers_bytes = mix->n * allocator->header_bytes; /* if none lies above it */
            end -= headers_bytes < end ? headers_bytes : end;
            mix->highest = end > mix->highest ? end : mix->highest;
        }
        handles[mix->n] = handle;
        lengths[mix->n++] = length;
    }
}

static void *make(const struct allocator *allocator)
{
    void *space = allocator->make(SPACE, MAX_EXTENTS);
    if (space == NULL) {
        fprintf(stderr, "extent_bench: %s makes no space of 256 MiB\n", allocator->name);
        exit(1);
    }
    return space;
}

static double time_mix(const struct allocator *allocator, unsigned percent)
{
    struct mix mix = {.space = make(allocator), .target = SPACE / 100 * percent};
    random_state = 7;
    refill(allocator, &mix, false);
    mix.n_asked = 0;
    unsigned n_freed = 0;
    double start = now_ns();
    for (; n_freed + mix.n_asked < N_MIX; n_freed++) {
        free_one(allocator, &mix);
        refill(allocator, &mix, false);
    }
    double ns = (now_ns() - start) / (n_freed + mix.n_asked);
    allocator->delete (mix.space);
    return ns;
}

static void measure_speed(const struct allocator *allocator, struct figures *best)
{
    struct figures figures;
    random_state = 1;
    void *space = make(allocator);
    touch(allocator, space);
    for (unsigned i = 0; i < N_HELD; i++)
        handles[i] = allocator->alloc(space, 4096);
    figures.ns[PAIR_64] = pairs(allocator, space, 64);
    figures.ns[PAIR_4K] = pairs(allocator, space, 4096);
    for (unsigned i = N_HELD; i-- > 0;)
        allocator->free(space, handles[i]);
    figures.ns[PAIR_EDGE] = pairs(allocator, space, 64);
    fill_and_drain(allocator, space, &figures);
    allocator->delete (space);
    for (unsigned i = 0; i < N_FILLS; i++)
        figures.ns[MIX_50 + i] = time_mix(allocator, fills_percent[i]);
    for (unsigned i = 0; i < N_MEASURES; i++)
        best->ns[i] = best->ns[i] == 0 ? figures.ns[i] : fmin(best->ns[i], figures.ns[i]);
}

/* Fit */

struct placed {
    uint64_t offset, length;
};

static int compare_offsets(const void *a, const void *b)
{
    uint64_t first = ((const struct placed *)a)->offset,
             second = ((const struct placed *)b)->offset;
    return (first > second) - (first < second);
}

/* What lies between the extents that are held; what is no longer than a header is no hole. */
static void count_holes(const struct allocator *allocator, const struct mix *mix, struct fit *fit)
{
    static struct placed placed[MAX_EXTENTS + 1];
    uint64_t end = 0, n_header = allocator->header_bytes;
    for (unsigned i = 0; i < mix->n; i++)
        placed[i] = (struct placed){allocator->offset(mix->space, handles[i]), lengths[i]};
    qsort(placed, mix->n, sizeof placed[0], compare_offsets);
    placed[mix->n] = (struct placed){SPACE + mix->n * n_header, 0};
    for (unsigned i = 0; i <= mix->n; i++) {
        if (placed[i].offset < end && i < mix->n) {
            fprintf(stderr, "extent_bench: extents of %s overlap\n", allocator->name);
            exit(1);
        }
        uint64_t gap = placed[i].offset > end + n_header ? placed[i].offset - end - n_header : 0;
        fit->n_holes += gap >= MIN_LENGTH;
        fit->free += gap;
        fit->largest = gap > fit->largest ? gap : fit->largest;
        end = placed[i].offset + placed[i].length;
    }
}

static struct fit measure_fit(const struct allocator *allocator, unsigned percent)
{
    struct mix mix = {.space = make(allocator), .target = SPACE / 100 * percent};
    struct fit fit = {0};
    random_state = 7;
    refill(allocator, &mix, true);
    for (unsigned n_freed = 0; n_freed + mix.n_asked < N_LONG; n_freed++) {
        free_one(allocator, &mix);
        refill(allocator, &mix, true);
    }
    count_holes(allocator, &mix, &fit);
    allocator->delete (mix.space);
    fit.n_asked = mix.n_asked;
    fit.n_refused = mix.n_refused;
    fit.highest = mix.highest;
    return fit;
}

/* Printing */

static void print_speed(const struct allocator *all, unsigned n)
{
    static struct figures best[MAX_ALLOCATORS];
    for (unsigned turn = 0; turn < N_TURNS; turn++) {
        for (unsigned i = 0; i < n; i++) {
            policy = all[i].policy;
            measure_speed(&all[i], &best[i]);
        }
    }
    printf("%-18s", "ns (ratio to tlsf)");
    for (unsigned i = 0; i < N_MEASURES; i++)
        printf(" %13s", measure_names[i]);
    putchar('\n');
    for (unsigned i = 0; i < n; i++) {
        printf("%-18s", all[i].name);
        for (unsigned j = 0; j < N_MEASURES; j++)
            printf("  %5.1f (%4.2f)", best[i].ns[j], best[i].ns[j] / best[0].ns[j]);
        putchar('\n');
    }
}

static void print_fit(const struct allocator *all, unsigned n)
{
    for (unsigned j = 0; j < N_FILLS; j++) {
        printf("%-18s  %8s  %8s  %12s  %12s  %12s  %8s\n", "", "asked", "refused", "highest, MiB",
               "free, MiB", "largest, KiB", "holes");
        for (unsigned i = 0; i < n; i++) {
            policy = all[i].policy;
            struct fit fit = measure_fit(&all[i], fills_percent[j]);
            printf("%2u %%  %-12.12s  %8u  %8u  %12.2f  %12.2f  %12.1f  %8u\n", fills_percent[j],
                   all[i].name, fit.n_asked, fit.n_refused, (double)fit.highest / (1 << 20),
                   (double)fit.free / (1 << 20), (double)fit.largest / 1024, fit.n_holes);
        }
    }
}

static void load(const char *path, struct allocator *peer)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const char *(*name)(void) = NULL;
    uint64_t (*header_bytes)(void) = NULL;
    if (library != NULL) {
        *(void **)&name = dlsym(library, "peer_name");
        *(void **)&peer->make = dlsym(library, "peer_new");
        *(void **)&peer->delete = dlsym(library, "peer_delete");
        *(void **)&peer->alloc = dlsym(library, "peer_alloc");
        *(void **)&peer->free = dlsym(library, "peer_free");
        *(void **)&peer->offset = dlsym(library, "peer_offset");
        *(void **)&header_bytes = dlsym(library, "peer_header_bytes");
    }
    if (!library || !name || !peer->make || !peer->delete || !peer->alloc || !peer->free ||
        !peer->offset || !header_bytes) {
        fprintf(stderr, "extent_bench: %s is no peer: %s\n", path,
                library ? "see peer.h for what it must export" : dlerror());
        exit(2);
    }
    peer->name = name();
    peer->header_bytes = header_bytes();
}

int main(int argc, char **argv)
{
    static struct allocator all[MAX_ALLOCATORS];
    unsigned n_policies = QUIRE_EXTENT_N_POLICIES, n = 0;
    bool speed = true, fit = true;
    for (int option; (option = getopt(argc, argv, "dsf")) != -1;) {
        if (option == 'd')
            n_policies = 1;
        else if (option == 's')
            fit = false;
        else if (option == 'f')
            speed = false;
        else
            exit(2);
    }
    for (; n < n_policies; n++)
        all[n] = (struct allocator){quire_extent_policy_name((enum quire_extent_policy)n),
                                    (enum quire_extent_policy)n,
                                    quire_make,
                                    free,
                                    quire_alloc,
                                    quire_free,
                                    quire_offset,
                                    0};
    for (int i = optind; i < argc && n < MAX_ALLOCATORS; i++)
        load(argv[i], &all[n++]);
    if (speed)
        print_speed(all, n);
    if (fit)
        print_fit(all, n);
    return 0;
}
