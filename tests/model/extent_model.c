/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extent spaces of all policies against an oracle that keeps a sorted array and looks at all of it.
 *
 * First, next, best and worst fit must place exactly where the definition in quire/extent.h says;
 * TLSF in some hole that fits, and it may fail only as its guarantee says. Compaction is compared
 * with what was advised, and its window with the best of all windows. The metadata is moved to
 * another address all the time. QUIRE_TEST_SEED replays a run; QUIRE_TEST_ROUNDS makes it longer.
 */
#include "model_random.h"

#include <errno.h>
#include <quire/extent.h>
#include <string.h>

#define MAX_EXTENTS 300u

static struct quire_extent_space *space;
static struct quire_extent_config config;
static size_t metadata_bytes;

static struct held {
    quire_extent extent;
    uint64_t offset, length, alignment;
    uint32_t n_pins;
} held[MAX_EXTENTS]; /* by offset */
static unsigned n_held;
static uint64_t cursor; /* next fit's */
static quire_extent stale[64];

/* The oracle. Hole i lies before held[i]; hole n_held at the end. */

static uint64_t hole_start(unsigned i)
{
    return i == 0 ? 0 : held[i - 1].offset + held[i - 1].length;
}

static uint64_t hole_end(unsigned i)
{
    return i == n_held ? config.length : held[i].offset;
}

static uint64_t align_up(uint64_t offset, uint64_t alignment)
{
    return (offset + alignment - 1) / alignment * alignment;
}

static bool fits(unsigned i, uint64_t length, uint64_t alignment)
{
    uint64_t place = align_up(hole_start(i), alignment);
    return place <= hole_end(i) && hole_end(i) - place >= length;
}

static uint64_t hole_length(unsigned i)
{
    return hole_end(i) - hole_start(i);
}

static uint64_t longest_hole(void)
{
    uint64_t longest = 0;
    for (unsigned i = 0; i <= n_held; i++)
        longest = hole_length(i) > longest ? hole_length(i) : longest;
    return longest;
}

static bool is_better(unsigned i, unsigned than)
{
    bool passed = hole_end(i) > cursor, other_passed = hole_end(than) > cursor;
    switch (config.policy) {
    case QUIRE_EXTENT_NEXT:
        return passed && !other_passed;
    case QUIRE_EXTENT_BEST:
        return hole_length(i) < hole_length(than);
    case QUIRE_EXTENT_WORST:
        return hole_length(i) > hole_length(than);
    default: /* the lowest */
        return false;
    }
}

/* The hole that the policy's definition names; n_held + 1: none fits. */
static unsigned expected_hole(uint64_t length, uint64_t alignment)
{
    unsigned found = n_held + 1;
    for (unsigned i = 0; i <= n_held; i++)
        if (hole_length(i) > 0 && fits(i, length, alignment) &&
            (found == n_held + 1 || is_better(i, found)))
            found = i;
    return found;
}

/* What a hole's length has to be for TLSF to be sure. */
static uint64_t sure_length(uint64_t length)
{
    uint64_t step_length = 1;
    while (length / step_length >= 64)
        step_length *= 2;
    return (length / step_length + 1) * step_length;
}

static void hold(quire_extent extent, uint64_t offset, uint64_t length, uint64_t alignment)
{
    unsigned i = 0;
    while (i < n_held && held[i].offset < offset)
        i++;
    REQUIRE(hole_start(i) <= offset && length <= hole_end(i) - offset);
    memmove(held + i + 1, held + i, (n_held - i) * sizeof held[0]);
    held[i] = (struct held){extent, offset, length, alignment, 0};
    n_held++;
    cursor = offset + length;
}

static void drop(unsigned i)
{
    stale[draw(64)] = held[i].extent;
    n_held--;
    memmove(held + i, held + i + 1, (n_held - i) * sizeof held[0]);
}

/* Operations */

static uint64_t draw_length(void)
{
    return 1 + draw(1 + draw(1 + config.length / (1 + draw(40))));
}

static void alloc(void)
{
    uint64_t length = draw_length(), alignment = draw(3) ? 1 : (uint64_t)1 << draw(10), place;
    quire_extent extent;
    unsigned hole = expected_hole(length, alignment);
    int result = quire_extent_alloc(space, length, alignment, &extent, &place);
    if (n_held == config.max_extents) {
        REQUIRE(result == -ENOSPC);
    } else if (result == 0) {
        REQUIRE(hole <= n_held && place % alignment == 0);
        if (config.policy != QUIRE_EXTENT_TLSF)
            REQUIRE(place == align_up(hole_start(hole), alignment));
        hold(extent, place, length, alignment);
    } else {
        REQUIRE(result == -ENOMEM);
        REQUIRE(hole > n_held || (config.policy == QUIRE_EXTENT_TLSF &&
                                  longest_hole() < sure_length(length + alignment - 1)));
    }
}

static void alloc_at(void)
{
    uint64_t offset = draw(config.length + 2), length = draw(2) ? draw_length() : draw(4);
    quire_extent extent;
    unsigned i = 0;
    if (draw(2)) /* more likely to be free */
        offset = hole_start((unsigned)draw(n_held + 1));
    while (i < n_held && hole_end(i) <= offset)
        i++;
    int expected = 0;
    if (length == 0 || offset + length > config.length)
        expected = -EINVAL;
    else if (n_held == config.max_extents)
        expected = -ENOSPC;
    else if (offset < hole_start(i) || offset + length > hole_end(i))
        expected = -ENOMEM;
    REQUIRE(quire_extent_alloc_at(space, offset, length, &extent) == expected);
    if (expected == 0)
        hold(extent, offset, length, 1);
}

static void give_back(void)
{
    if (draw(8) == 0) {
        quire_extent extent = draw(2) ? stale[draw(64)] : draw(1000) << 32 | draw(1000);
        for (unsigned i = 0; i < n_held; i++)
            if (held[i].extent == extent)
                return;
        REQUIRE(quire_extent_free(space, extent) == -EINVAL);
        REQUIRE(quire_extent_resize(space, extent, 1) == -EINVAL);
    } else if (n_held > 0) {
        unsigned i = (unsigned)draw(n_held);
        REQUIRE(quire_extent_free(space, held[i].extent) == 0);
        drop(i);
    }
}

static void resize(void)
{
    if (n_held == 0)
        return;
    unsigned i = (unsigned)draw(n_held);
    uint64_t length = draw(2) ? 1 + draw(held[i].length) : held[i].length + draw(100);
    if (draw(8) == 0)
        length = hole_end(i + 1) - held[i].offset;
    bool valid = length <= hole_end(i + 1) - held[i].offset;
    REQUIRE(quire_extent_resize(space, held[i].extent, length) == (valid ? 0 : -ENOMEM));
    if (valid)
        held[i].length = length;
}

static void set_length(void)
{
    uint64_t length = draw(2) ? hole_start(n_held) + draw(3) : config.length + draw(300);
    bool valid = length >= hole_start(n_held);
    if (draw(20) == 0)
        valid = (length = draw(1 + config.length)) >= hole_start(n_held);
    REQUIRE(quire_extent_set_length(space, length) == (valid ? 0 : -EBUSY));
    if (valid)
        config.length = length;
}

static void pin(void)
{
    if (n_held == 0)
        return;
    struct held *one = &held[draw(n_held)];
    if (draw(4) == 0) {
        REQUIRE(quire_extent_pin(space, one->extent) == 0);
        one->n_pins++;
    } else {
        REQUIRE(quire_extent_unpin(space, one->extent) == (one->n_pins > 0 ? 0 : -EINVAL));
        one->n_pins -= one->n_pins > 0;
    }
}

/* Compaction */

static unsigned n_moves_left;
static int final_answer;

static int move(void *context, quire_extent extent, uint64_t from, uint64_t to, uint64_t length)
{
    (void)context;
    if (n_moves_left == 0 && final_answer < 0)
        return final_answer;
    for (unsigned i = 0; i < n_held; i++) {
        if (held[i].extent != extent)
            continue;
        REQUIRE(held[i].offset == from && held[i].length == length && held[i].n_pins == 0);
        REQUIRE(to < from && to == align_up(hole_start(i), held[i].alignment));
        held[i].offset = to;
        return n_moves_left-- == 0 ? final_answer : 0;
    }
    REQUIRE(extent == 0); /* only what is held is moved */
    return 0;
}

/* The least that has to be moved for a hole of `wanted`; UINT64_MAX: it can't be had. */
static uint64_t least_to_move(uint64_t wanted)
{
    uint64_t least = UINT64_MAX;
    for (unsigned from = 0; from <= n_held; from++) {
        uint64_t end = hole_start(from), cost = 0;
        for (unsigned to = from; to <= n_held && cost < least; to++) {
            if (hole_end(to) - end >= wanted)
                least = cost;
            if (to == n_held || held[to].n_pins > 0)
                break;
            uint64_t place = align_up(end, held[to].alignment);
            cost += place < held[to].offset ? held[to].length : 0;
            end = place + held[to].length;
        }
    }
    return least;
}

static void check_all_is_packed(void)
{
    for (unsigned i = 0; i < n_held; i++)
        REQUIRE(held[i].n_pins > 0 || held[i].offset == align_up(hole_start(i), held[i].alignment));
}

static void compact(void)
{
    struct quire_extent_compaction compaction = {
        .wanted = draw(2) ? 0 : 1 + draw(config.length + 2),
        .budget = draw(3) ? UINT64_MAX : draw(config.length + 1),
        .move = move,
    };
    struct quire_extent_advice advice;
    uint64_t longest = longest_hole();
    uint64_t least = compaction.wanted > 0 ? least_to_move(compaction.wanted) : 0;
    quire_extent_advise(space, compaction.wanted, &advice);
    REQUIRE(advice.largest == longest);
    if (compaction.wanted > 0)
        REQUIRE(advice.pays == (longest < compaction.wanted && least != UINT64_MAX));
    n_moves_left = draw(2) ? UINT32_MAX : (unsigned)draw(10);
    final_answer = draw(2) ? -EIO : draw(2) ? 1 : 0;
    int result = quire_extent_compact(space, &compaction);
    if (result == 0 && compaction.wanted == 0) {
        check_all_is_packed();
        REQUIRE(compaction.n_moved == advice.n_to_move || advice.n_to_move == 0);
        REQUIRE(longest_hole() == advice.largest_after);
    } else if (result == 0) {
        REQUIRE(longest_hole() >= compaction.wanted);
        REQUIRE(compaction.n_moved <= advice.n_to_move);
    } else if (result == -ENOMEM) {
        REQUIRE(compaction.wanted > 0 && least == UINT64_MAX && compaction.n_moved == 0);
    } else {
        REQUIRE(result == -EAGAIN || result == -EIO);
        REQUIRE(compaction.n_extents_moved <= 1 || compaction.n_moved <= compaction.budget);
    }
    if (advice.pays && compaction.wanted > 0)
        REQUIRE(advice.n_to_move == least);
}

/* Rounds */

static void *aligned(size_t n_bytes)
{
    void *memory = aligned_alloc(QUIRE_EXTENT_ALIGNMENT, (n_bytes + 63) / 64 * 64);
    REQUIRE(memory != NULL);
    memset(memory, 0xa5, n_bytes); /* need not be zero */
    return memory;
}

/* Another address, and sometimes more extents. */
static void relocate(void)
{
    uint32_t max_extents = config.max_extents;
    size_t saved_bytes = quire_extent_saved_bytes(space);
    if (draw(3) == 0 && config.max_extents < MAX_EXTENTS)
        config.max_extents += (uint32_t)draw(MAX_EXTENTS - config.max_extents + 1);
    size_t n_bytes = quire_extent_metadata_bytes(&config);
    REQUIRE(n_bytes >= metadata_bytes && saved_bytes <= metadata_bytes);
    struct quire_extent_space *before = space;
    void *copy = aligned(n_bytes);
    memcpy(copy, before, saved_bytes);
    memset(before, 0, metadata_bytes);
    free(before);
    REQUIRE(quire_extent_open(copy, n_bytes, &space) == 0);
    REQUIRE(quire_extent_allow(space, max_extents - 1, n_bytes) == -EINVAL);
    if (config.max_extents > max_extents)
        REQUIRE(quire_extent_allow(space, config.max_extents, n_bytes - 1) == -ENOSPC);
    REQUIRE(quire_extent_allow(space, config.max_extents, n_bytes) == 0);
    metadata_bytes = n_bytes;
}

struct walk {
    unsigned i;
    uint64_t end, n_used;
    uint32_t n_holes;
};

static bool compare_piece(void *context, const struct quire_extent_piece *piece)
{
    struct walk *walk = context;
    REQUIRE(piece->offset == walk->end && piece->length > 0);
    walk->end += piece->length;
    if (piece->extent == 0) {
        walk->n_holes++;
        return true;
    }
    const struct held *one = &held[walk->i++];
    REQUIRE(walk->i <= n_held && one->extent == piece->extent && one->offset == piece->offset &&
            one->length == piece->length && one->alignment == piece->alignment &&
            one->n_pins == piece->n_pins);
    walk->n_used += piece->length;
    return true;
}

static void compare(void)
{
    struct walk walk = {0};
    struct quire_extent_stats stats;
    uint32_t histogram[QUIRE_EXTENT_N_SIZES], n_holes = 0;
    REQUIRE(quire_extent_validate(space) == 0);
    quire_extent_each(space, compare_piece, &walk);
    REQUIRE(walk.i == n_held && walk.end == config.length);
    quire_extent_stats(space, &stats);
    REQUIRE(stats.n_used == walk.n_used && stats.n_extents == n_held && stats.length == walk.end);
    REQUIRE(stats.n_holes == walk.n_holes && stats.n_free == walk.end - walk.n_used);
    REQUIRE(stats.largest == longest_hole() && stats.metadata_bytes <= metadata_bytes);
    quire_extent_histogram(space, histogram);
    for (unsigned i = 0; i < QUIRE_EXTENT_N_SIZES; i++)
        n_holes += histogram[i];
    REQUIRE(n_holes == walk.n_holes);
}

static void play(enum quire_extent_policy policy)
{
    static void (*const operations[])(void) = {alloc,     alloc,    alloc,     alloc,
                                               alloc,     alloc_at, give_back, give_back,
                                               give_back, resize,   pin,       set_length};
    config = (struct quire_extent_config){
        .length = draw(8) ? 1 + draw((uint64_t)1 << draw(17)) : draw((uint64_t)1 << 50),
        .max_extents = draw(3) ? MAX_EXTENTS : 1 + (uint32_t)draw(40),
        .policy = policy,
    };
    n_held = 0;
    cursor = 0;
    memset(stale, 0, sizeof stale);
    metadata_bytes = quire_extent_metadata_bytes(&config);
    REQUIRE(quire_extent_init(&config, aligned(metadata_bytes), metadata_bytes, &space) == 0);
    for (step = 0; step < 400; step++) {
        operations[draw(sizeof operations / sizeof operations[0])]();
        if (draw(12) == 0)
            compact();
        if (draw(24) == 0)
            relocate();
        compare();
    }
    free(space);
}

int main(void)
{
    unsigned n_rounds = draw_from_seed(60);
    for (round_number = 0; round_number < n_rounds; round_number++)
        for (unsigned policy = 0; policy < QUIRE_EXTENT_N_POLICIES; policy++)
            play((enum quire_extent_policy)policy);
    return 0;
}
