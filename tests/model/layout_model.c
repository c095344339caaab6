/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conversions against an oracle that goes element by element, by formulas of its own, with each
 * instruction set, in parts, past the caches and in place: shapes of 1 to 40 in each dimension,
 * larger ones, and random strides and blocks.
 *
 * Not all 40^4 shapes are different. In all named layouts but two h and w lie one behind the other,
 * so only their product counts, of which there are 517 (in the two, a few thousand random
 * shapes have to do); n is a loop around the rest. So each run has data of 1 to 40 channels with
 * products of 1 to 40, and a fifth of the larger ones, by the seed; weights of 1 to 40 outputs and
 * inputs; each with another few of the pairs of layouts.
 *
 * QUIRE_TEST_ROUNDS=64000 goes through all products with all pairs, and weights of 1 to 40 places:
 * some minutes (`scripts/test.sh full`).
 */
#include "model_random.h"

#include <quire/layout.h>
#include <string.h>
#include <sys/mman.h>

#define SIDE 40
#define LONGEST 3000
#define MAX_BYTES ((size_t)24 << 20)
#define GUARD 64
#define CLOSED_BYTES ((size_t)64 << 10)
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static const char *const data_names[] = {"nchw",    "nhwc", "nchw4c", "nchw8c",
                                         "nchw16c", "chwn", "nhcw2w"};
static const char *const weight_names[] = {"oihw",     "ohwi",       "hwio",        "oihw4i4o",
                                           "oihw8i8o", "oihw16i16o", "oihw4i16o4i", "oihw16o"};

static unsigned char *source_room, *source, *target, *expected, *room;
static uint32_t *places[8]; /* of each element in each layout of a list */
static enum quire_layout_isa isas[QUIRE_LAYOUT_N_ISAS];
static unsigned n_isas;

/* Offset of an element, straight from the definition in quire/layout.h. */
static int64_t place_of(const struct quire_layout *layout, const int64_t *index)
{
    int64_t at = layout->offset;
    for (uint32_t d = 0; d < layout->n_dims; d++) {
        int64_t block = 1;
        for (uint32_t i = 0; i < layout->n_blocks; i++)
            block *= layout->blocks[i].dim == d ? layout->blocks[i].size : 1;
        at += index[d] / block * layout->strides[d];
        int64_t left = index[d] % block;
        for (uint32_t i = layout->n_blocks; i-- > 0;) {
            if (layout->blocks[i].dim != d)
                continue;
            int64_t below = 1;
            for (uint32_t k = i + 1; k < layout->n_blocks; k++)
                below *= layout->blocks[k].size;
            at += left % layout->blocks[i].size * below;
            left /= layout->blocks[i].size;
        }
    }
    return at;
}

static bool next_index(const int64_t *dims, uint32_t n_dims, int64_t *index)
{
    for (uint32_t d = n_dims; d-- > 0;) {
        if (++index[d] < dims[d])
            return true;
        index[d] = 0;
    }
    return false;
}

/* Zeros where the layout has tails: all its places with blocks, before the elements are set. */
static void clear_tails(const struct quire_layout *layout, unsigned char *bytes)
{
    int64_t index[QUIRE_LAYOUT_MAX_DIMS] = {0}, whole[QUIRE_LAYOUT_MAX_DIMS];
    size_t size = quire_layout_type_bytes(layout->type);
    bool has_tails = false;
    size_t n = size;
    for (uint32_t d = 0; d < layout->n_dims; d++) {
        int64_t block = quire_layout_block_size(layout, d);
        whole[d] = (layout->dims[d] + block - 1) / block * block;
        has_tails |= whole[d] != layout->dims[d];
        n *= (size_t)whole[d];
    }
    if (n == quire_layout_bytes(layout)) { /* there are no gaps */
        memset(bytes, 0, n);
        return;
    }
    while (has_tails) {
        memset(bytes + (size_t)place_of(layout, index) * size, 0, size);
        has_tails = next_index(whole, layout->n_dims, index);
    }
}

/* A place is a sum of what each index adds to it. */
static uint32_t list_places(const struct quire_layout *layout, uint32_t *list)
{
    static int64_t parts[QUIRE_LAYOUT_MAX_DIMS][LONGEST + 1];
    int64_t index[QUIRE_LAYOUT_MAX_DIMS] = {0};
    uint32_t last = layout->n_dims - 1, n = 0;
    for (uint32_t d = 0; d <= last; d++) {
        for (; index[d] < layout->dims[d]; index[d]++)
            parts[d][index[d]] = place_of(layout, index) - layout->offset;
        index[d] = 0;
    }
    int64_t outer[QUIRE_LAYOUT_MAX_DIMS];
    memcpy(outer, layout->dims, sizeof outer);
    outer[last] = 1;
    do {
        int64_t at = layout->offset;
        for (uint32_t d = 0; d < last; d++)
            at += parts[d][index[d]];
        for (int64_t i = 0; i < layout->dims[last]; i++)
            list[n++] = (uint32_t)(at + parts[last][i]);
    } while (next_index(outer, layout->n_dims, index));
    return n;
}

static void expect(const struct quire_layout *to, const uint32_t *from_places,
                   const uint32_t *to_places, uint32_t n)
{
    size_t size = quire_layout_type_bytes(to->type);
    memset(expected, 0xa5, quire_layout_bytes(to) + GUARD);
    clear_tails(to, expected);
    for (uint32_t i = 0; i < n; i++) {
        const unsigned char *s = source + from_places[i] * size;
        unsigned char *e = expected + to_places[i] * size;
        switch (size) {
        case 4:
            memcpy(e, s, 4);
            break;
        case 2:
            memcpy(e, s, 2);
            break;
        default:
            *e = *s;
        }
    }
}

/* In `n_parts`, the last first; then in place. */
static void check(const struct quire_layout *from, const struct quire_layout *to,
                  const struct quire_layout_options *options, uint32_t n_parts, bool in_place)
{
    struct quire_layout_conversion conversion;
    unsigned char *out = target + step % 4 * 16; /* not always at the start of a line */
    size_t from_bytes = quire_layout_bytes(from), to_bytes = quire_layout_bytes(to);
    REQUIRE(quire_layout_conversion_init(&conversion, from, to, options) == 0);
    memset(out, 0xa5, to_bytes + GUARD);
    for (uint32_t part = n_parts; part-- > 0;)
        REQUIRE(quire_layout_convert_part(&conversion, part, n_parts, source, from_bytes, out,
                                          to_bytes) == 0);
    REQUIRE(memcmp(out, expected, to_bytes + GUARD) == 0);
    size_t wanted = quire_layout_in_place_bytes(&conversion);
    size_t most = from_bytes > to_bytes ? from_bytes : to_bytes;
    REQUIRE(wanted <= from_bytes);
    if (!in_place)
        return;
    memcpy(target, source, from_bytes);
    memset(target + from_bytes, 0xa5, most + GUARD - from_bytes);
    memset(room, 0x5a, wanted + GUARD);
    REQUIRE(quire_layout_convert_in_place(&conversion, target, most, room, wanted) == 0);
    REQUIRE(memcmp(target, expected, to_bytes) == 0); /* both dense: there are no gaps */
    for (size_t i = 0; i < GUARD; i++)
        REQUIRE(target[most + i] == 0xa5 && room[wanted + i] == 0x5a);
}

/* It ends where memory that can't be read begins: nothing is read behind it. */
static void fill_source(size_t n_bytes)
{
    source = source_room + MAX_BYTES - n_bytes;
    for (size_t end = MAX_BYTES; end > MAX_BYTES - n_bytes; end -= 8)
        memcpy(source_room + end - 8, &(uint64_t){draw((uint64_t)1 << 47) * 0x10001}, 8);
}

static void take_source(void)
{
    source_room = mmap(NULL, MAX_BYTES + CLOSED_BYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(source_room != MAP_FAILED);
    REQUIRE(mprotect(source_room + MAX_BYTES, CLOSED_BYTES, PROT_NONE) == 0);
}

/* One in so many pairs of a list of names. */
static void check_names(const char *const *names, size_t n_names, const int64_t dims[4],
                        enum quire_layout_type type, enum quire_layout_stores stores, size_t one_in)
{
    struct quire_layout layouts[8];
    bool is_listed[8] = {false};
    uint32_t n = 0;
    for (size_t i = 0; i < n_names; i++)
        REQUIRE(quire_layout_init(&layouts[i], names[i], type, 4, dims) == 0);
    for (size_t pair = (seed + step) % one_in; pair < n_names * n_names; pair += one_in) {
        size_t sides[2] = {pair / n_names, pair % n_names};
        for (unsigned k = 0; k < 2; k++)
            if (!is_listed[sides[k]])
                n = list_places(&layouts[sides[k]], places[sides[k]]);
        is_listed[sides[0]] = is_listed[sides[1]] = true;
        const struct quire_layout *from = &layouts[sides[0]], *to = &layouts[sides[1]];
        fill_source(quire_layout_bytes(from));
        expect(to, places[sides[0]], places[sides[1]], n);
        for (unsigned k = 0; k < n_isas; k++)
            check(from, to, &(struct quire_layout_options){isas[k], stores},
                  1 + (uint32_t)(pair + k) % 3, (pair + k) % 4 == 0);
    }
}

/* Of h and w of 1 to SIDE those with this product, another one each time; false: there are none. */
static bool factor(int64_t product, int64_t *h, int64_t *w)
{
    int64_t found[SIDE];
    unsigned n = 0;
    for (int64_t i = 1; i <= SIDE; i++)
        if (product % i == 0 && product / i <= SIDE)
            found[n++] = i;
    if (n == 0)
        return false;
    *h = found[step % n];
    *w = product / *h;
    return true;
}

static enum quire_layout_type next_type(void)
{
    static const enum quire_layout_type types[] = {QUIRE_LAYOUT_F32, QUIRE_LAYOUT_I8,
                                                   QUIRE_LAYOUT_BF16};
    return types[step % 3];
}

static enum quire_layout_stores next_stores(void)
{
    return step / 3 % 2 == 0 ? QUIRE_LAYOUT_STORES_CACHED : QUIRE_LAYOUT_STORES_STREAMED;
}

static void check_data(bool all)
{
    int64_t h, w;
    for (int64_t c = 1; c <= SIDE; c++)
        for (int64_t product = 1; product <= (int64_t)SIDE * SIDE; product++) {
            bool is_turn = all || product <= SIDE || (seed + (uint64_t)(c + product)) % 5 == 0;
            if (!is_turn || !factor(product, &h, &w))
                continue;
            /* small ones, where the tails are most of it, with more pairs */
            check_names(data_names, COUNT(data_names), (int64_t[]){product < SIDE ? 2 : 1, c, h, w},
                        next_type(), next_stores(),
                        all               ? 1
                        : product <= SIDE ? 8
                                          : 49);
            step++;
        }
}

static void check_weights(bool all)
{
    for (int64_t o = 1; o <= SIDE; o++)
        for (int64_t i = 1; i <= SIDE; i++)
            for (int64_t w = 1; w <= (all ? SIDE : 1); w++, step++) {
                int64_t side = all ? 1 : 1 + step % 2 * 2; /* 1 x 1 or 3 x 3 */
                check_names(weight_names, COUNT(weight_names),
                            (int64_t[]){o, i, side, all ? w : side}, next_type(), next_stores(),
                            all ? 1 : 8);
            }
}

/* Random layouts */

/* Blocks that divide each other, or not. */
static void draw_blocks(struct quire_layout *layout)
{
    static const uint32_t sizes[] = {1, 2, 3, 4, 4, 8, 8, 12, 16, 16, 32};
    uint32_t n = (uint32_t)draw(QUIRE_LAYOUT_MAX_BLOCKS + 1);
    for (uint32_t i = 0; i < n; i++) {
        layout->n_blocks = i + 1;
        layout->blocks[i] = (struct quire_layout_block){(uint32_t)draw(layout->n_dims),
                                                        sizes[draw(COUNT(sizes))]};
        if (quire_layout_block_size(layout, layout->blocks[i].dim) > QUIRE_LAYOUT_MAX_BLOCK)
            layout->blocks[i].size = 1;
    }
}

/* Strides in a random order of the dimensions, some with gaps, some negative. */
static void draw_layout(struct quire_layout *layout, enum quire_layout_type type, uint32_t n_dims,
                        const int64_t *dims)
{
    uint32_t order[QUIRE_LAYOUT_MAX_DIMS] = {0};
    int64_t stride = 1, gap = (int64_t)draw(3);
    *layout = (struct quire_layout){.type = type, .n_dims = n_dims};
    for (uint32_t d = 0; d < n_dims; d++) {
        uint32_t other = (uint32_t)draw(d + 1);
        layout->dims[d] = dims[d];
        order[d] = order[other];
        order[other] = d;
    }
    draw_blocks(layout);
    for (uint32_t i = 0; i < layout->n_blocks; i++)
        stride *= layout->blocks[i].size;
    for (uint32_t i = 0; i < n_dims; i++) {
        int64_t block = quire_layout_block_size(layout, order[i]);
        int64_t n = (dims[order[i]] + block - 1) / block;
        stride += (int64_t)draw((uint64_t)gap + 1);
        bool is_negative = gap > 0 && draw(4) == 0;
        layout->strides[order[i]] = is_negative ? -stride : stride;
        layout->offset += is_negative ? stride * (n - 1) : 0;
        stride *= n;
    }
    layout->offset += gap;
}

static void check_random(int64_t longest)
{
    struct quire_layout from, to;
    int64_t dims[QUIRE_LAYOUT_MAX_DIMS];
    enum quire_layout_type type = (enum quire_layout_type)draw(QUIRE_LAYOUT_N_TYPES);
    uint32_t n_dims = 1 + (uint32_t)draw(QUIRE_LAYOUT_MAX_DIMS);
    double n = 1;
    for (uint32_t d = 0; d < n_dims; d++) {
        dims[d] = 1 + (int64_t)draw((uint64_t)longest);
        while (n * (double)dims[d] > 200000)
            dims[d] = (dims[d] + 1) / 2;
        n *= (double)dims[d];
    }
    draw_layout(&from, type, n_dims, dims);
    draw_layout(&to, type, n_dims, dims);
    if (quire_layout_bytes(&from) > MAX_BYTES - 2 * GUARD ||
        quire_layout_bytes(&to) > MAX_BYTES - 2 * GUARD)
        return;
    REQUIRE(quire_layout_is_injective(&to));
    fill_source(quire_layout_bytes(&from));
    uint32_t n_places = list_places(&from, places[0]);
    list_places(&to, places[1]);
    expect(&to, places[0], places[1], n_places);
    for (unsigned k = 0; k < n_isas; k++)
        check(&from, &to,
              &(struct quire_layout_options){isas[k], (enum quire_layout_stores)(1 + draw(2))},
              1 + (uint32_t)draw(5), false);
}

int main(void)
{
    unsigned n_rounds = draw_from_seed(300);
    take_source();
    target = aligned_alloc(64, MAX_BYTES);
    expected = aligned_alloc(64, MAX_BYTES);
    room = aligned_alloc(64, MAX_BYTES);
    REQUIRE(target != NULL && expected != NULL && room != NULL);
    for (unsigned i = 0; i < COUNT(places); i++)
        REQUIRE((places[i] = malloc(((size_t)1 << 20) * sizeof *places[i])) != NULL);
    for (int isa = QUIRE_LAYOUT_PORTABLE; isa < QUIRE_LAYOUT_N_ISAS; isa++)
        if (quire_layout_isa_is_here((enum quire_layout_isa)isa))
            isas[n_isas++] = (enum quire_layout_isa)isa;
    for (round_number = 0; round_number < n_rounds && round_number < 3000; round_number++)
        check_random(round_number % 10 == 0 ? LONGEST : SIDE);
    for (step = 0; step < 10; step++) {
        int64_t dims[4] = {1 + (int64_t)draw(2), 1 + (int64_t)draw(200), 1 + (int64_t)draw(40),
                           1 + (int64_t)draw(60)};
        check_names(data_names, COUNT(data_names), dims, QUIRE_LAYOUT_F32, QUIRE_LAYOUT_STORES_AUTO,
                    1);
    }
    check_data(n_rounds >= SIDE * SIDE * SIDE);
    check_weights(n_rounds >= SIDE * SIDE * SIDE);
    munmap(source_room, MAX_BYTES + CLOSED_BYTES);
    free(target);
    free(expected);
    free(room);
    for (unsigned i = 0; i < COUNT(places); i++)
        free(places[i]);
    return 0;
}
