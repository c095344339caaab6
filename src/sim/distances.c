/* SPDX-License-Identifier: Apache-2.0 */
/* distances: see distances.h. */
#include "sim/distances.h"

#include <errno.h>
#include <string.h>

#define WORDS (DISTANCES_BLOCK / 64)
#define LEAST_BITS 65536u
#define MOST_BITS ((uint64_t)1 << 31)
#define NEAR 1024u /* bits: counted one by one */

/* Into touch_popcnt(), which has the instruction for counting bits. */
#define INLINE inline __attribute__((always_inline))

static uint64_t *bits_of(const struct distances *distances)
{
    return distances->bits.base;
}

static uint32_t *tree_of(const struct distances *distances)
{
    return distances->tree.base;
}

static int resize(struct distances *distances, uint64_t n_bits)
{
    distances->n_bits = n_bits;
    int error = array_grow(&distances->bits, n_bits / 8);
    return error ? error
                 : array_grow(&distances->tree, (n_bits / DISTANCES_BLOCK + 1) * sizeof(uint32_t));
}

int distances_init(struct distances *distances)
{
    *distances = (struct distances){0};
#ifdef __x86_64__
    distances->has_popcnt = __builtin_cpu_supports("popcnt");
#endif
    return resize(distances, LEAST_BITS);
}

void distances_deinit(struct distances *distances)
{
    array_free(&distances->bits);
    array_free(&distances->tree);
}

/* Bits that are set in blocks before this one; they are all closed. */
static INLINE uint64_t sum_before(const struct distances *distances, uint64_t block)
{
    const uint32_t *tree = tree_of(distances);
    uint64_t sum = 0;
    for (; block > 0; block &= block - 1)
        sum += tree[block];
    return sum;
}

static INLINE void add(struct distances *distances, uint64_t block, uint32_t n)
{
    uint32_t *tree = tree_of(distances);
    const uint64_t n_blocks = distances->n_bits / DISTANCES_BLOCK;
    for (block++; block <= n_blocks; block += block & (0 - block))
        tree[block] += n;
}

static INLINE uint64_t count_words(const uint64_t *words, uint64_t n)
{
    uint64_t sum = 0;
    for (uint64_t i = 0; i < n; i++)
        sum += (uint64_t)__builtin_popcountll(words[i]);
    return sum;
}

/* Bits that are set before this one. */
static INLINE uint64_t rank(const struct distances *distances, uint64_t bit)
{
    const uint64_t *words = bits_of(distances), block = bit / DISTANCES_BLOCK, word = bit / 64;
    uint64_t below = words[word] & (((uint64_t)1 << (bit & 63)) - 1);
    return sum_before(distances, block) + count_words(words + block * WORDS, word - block * WORDS) +
           (uint64_t)__builtin_popcountll(below);
}

/* Bits that are set behind this one, not far from the end. */
static INLINE uint64_t count_behind(const struct distances *distances, uint64_t bit)
{
    const uint64_t *words = bits_of(distances), first = bit / 64, end = distances->now / 64 + 1;
    uint64_t above = words[first] & ~(((uint64_t)2 << (bit & 63)) - 1);
    return (uint64_t)__builtin_popcountll(above) + count_words(words + first + 1, end - first - 1);
}

/* The block before `now` is full: it joins the tree. */
static INLINE void close_block(struct distances *distances)
{
    const uint64_t block = distances->now / DISTANCES_BLOCK - 1;
    add(distances, block, (uint32_t)count_words(bits_of(distances) + block * WORDS, WORDS));
}

static void rebuild(struct distances *distances)
{
    const uint64_t n_full = distances->n_live / DISTANCES_BLOCK;
    memset(bits_of(distances), 0, distances->n_bits / 8);
    memset(tree_of(distances), 0, (distances->n_bits / DISTANCES_BLOCK + 1) * sizeof(uint32_t));
    for (uint64_t bit = 0; bit < distances->n_live; bit++)
        bits_of(distances)[bit / 64] |= (uint64_t)1 << (bit & 63);
    for (uint64_t block = 0; block < n_full; block++)
        add(distances, block, DISTANCES_BLOCK);
    distances->now = distances->n_live;
}

int distances_make_room(struct distances *distances, size_t n, struct distances_page *pages,
                        uint32_t n_pages)
{
    uint64_t n_bits = distances->n_bits;
    if (distances->now + n < n_bits)
        return 0;
    for (uint32_t i = 0; i < n_pages; i++)
        if (pages[i].last != 0)
            pages[i].last = (uint32_t)rank(distances, pages[i].last - 1) + 1;
    while (n_bits < 2 * (distances->n_live + n))
        n_bits *= 2;
    if (n_bits > MOST_BITS)
        return -E2BIG;
    int error = resize(distances, n_bits);
    if (!error)
        rebuild(distances);
    return error;
}

static INLINE void take_out(struct distances *distances, struct distances_page *page)
{
    const uint64_t bit = page->last - 1, block = bit / DISTANCES_BLOCK;
    bits_of(distances)[bit / 64] &= ~((uint64_t)1 << (bit & 63));
    if (block < distances->now / DISTANCES_BLOCK)
        add(distances, block, UINT32_MAX); /* less one */
    distances->n_live--;
    page->last = 0;
}

void distances_forget(struct distances *distances, struct distances_page *page)
{
    if (page->last != 0)
        take_out(distances, page);
}

static INLINE uint64_t touch(struct distances *distances, struct distances_page *page)
{
    uint64_t distance = DISTANCES_NONE;
    if (page->last != 0) {
        const uint64_t bit = page->last - 1;
        distance = distances->now - bit <= NEAR ? count_behind(distances, bit)
                                                : distances->n_live - rank(distances, bit) - 1;
        take_out(distances, page);
    }
    bits_of(distances)[distances->now / 64] |= (uint64_t)1 << (distances->now & 63);
    page->last = (uint32_t)++distances->now;
    distances->n_live++;
    if (distances->now % DISTANCES_BLOCK == 0)
        close_block(distances);
    return distance;
}

#ifdef __x86_64__
__attribute__((target("popcnt"))) static uint64_t touch_popcnt(struct distances *distances,
                                                               struct distances_page *page)
{
    return touch(distances, page);
}
#else
#define touch_popcnt touch
#endif

uint64_t distances_touch(struct distances *distances, struct distances_page *page)
{
    return distances->has_popcnt ? touch_popcnt(distances, page) : touch(distances, page);
}
