/* SPDX-License-Identifier: Apache-2.0 */
/*
 * box: cuts a conversion into boxes, whose loops run without a look at tails.
 *
 * The index of a dimension is a number of mixed radix. Its digits are what the blocks of the source
 * and of the target need both: with 4c in the one and 16c in the other
 *
 *     c = digit 0 (of radix 4) + 4 * digit 1 (of radix 4) + 16 * digit 2
 *
 * and each digit is a loop with a stride in the source and one in the target. A range of indices is
 * cut into pieces in which the digits run independently: 0 to 22 is 16 (digits 0 and 1 full),
 * then 4 (digit 0 full), then 3. A box is the product of a piece of each dimension.
 *
 * The target's tails are boxes of zeros. The exception is the tail of the target's innermost digit,
 * which the box with the elements in front of it writes along (`pad`): a line is written once.
 *
 * Where the blocks have no common digits (12 and 8), each index is a piece.
 */
#include "tensor/layout/box.h"

#define MAX_DIGITS (2 * QUIRE_LAYOUT_MAX_BLOCKS + 1)
#define ENDLESS INT64_MAX

struct digit {
    int64_t radix, weight; /* the last one's radix is ENDLESS */
    int64_t from, to;      /* strides, bytes */
};

struct dim {
    uint32_t n_digits; /* 0: the blocks have none in common */
    struct digit digits[MAX_DIGITS];
    int64_t first, end; /* the range to be cut */
    bool is_padded;     /* the piece that ends at `end` fills the lowest digit with zeros */
};

struct cutting {
    const struct quire_layout_conversion *conversion;
    struct dim dims[QUIRE_LAYOUT_MAX_DIMS];
    void (*visit)(void *context, const struct layout_box *box);
    void *context;
};

/* Digits */

/* The radices of a dimension in one layout, the lowest first, with their strides in bytes. */
static uint32_t list_radices(const struct quire_layout *layout, uint32_t dim, int64_t *radices,
                             int64_t *strides)
{
    int64_t step = (int64_t)quire_layout_type_bytes(layout->type), bytes = step;
    uint32_t n = 0;

    for (uint32_t i = layout->n_blocks; i-- > 0;) {
        if (layout->blocks[i].dim == dim && layout->blocks[i].size > 1) {
            radices[n] = layout->blocks[i].size;
            strides[n++] = step;
        }
        step *= layout->blocks[i].size;
    }
    radices[n] = ENDLESS;
    strides[n++] = layout->strides[dim] * bytes;
    return n;
}

/* Splits both lists into common digits. */
static void find_digits(const struct quire_layout_conversion *conversion, uint32_t d,
                        struct dim *dim)
{
    int64_t radices[2][MAX_DIGITS], strides[2][MAX_DIGITS], weight = 1;
    uint32_t at[2] = {0, 0};

    list_radices(&conversion->from, d, radices[0], strides[0]);
    list_radices(&conversion->to, d, radices[1], strides[1]);
    dim->n_digits = 0;
    for (;;) {
        int64_t *a = &radices[0][at[0]], *b = &radices[1][at[1]];
        int64_t radix = *a < *b ? *a : *b, larger = *a < *b ? *b : *a;
        dim->digits[dim->n_digits++] = (struct digit){radix, weight, strides[0][at[0]],
                                                      strides[1][at[1]]};
        if (radix == ENDLESS)
            return;
        if (larger != ENDLESS && larger % radix != 0)
            break;
        weight *= radix;
        for (uint32_t side = 0; side < 2; side++) {
            int64_t *left = &radices[side][at[side]];
            if (*left == radix) {
                at[side]++;
            } else {
                strides[side][at[side]] *= radix;
                if (*left != ENDLESS)
                    *left /= radix;
            }
        }
    }
    dim->n_digits = 0;
}

/* Pieces */

static void add_axis(struct layout_box *box, int64_t n, const struct digit *digit, int64_t pad)
{
    if (n > 1 || pad > 0)
        box->axes[box->n_axes++] = (struct layout_axis){n, digit->from, digit->to, pad};
}

/* Adds to the box the piece that begins at `first`; returns where the next one begins. */
static int64_t add_piece(const struct dim *dim, int64_t first, struct layout_box *box)
{
    uint32_t top = 0;

    for (uint32_t k = 0; k < dim->n_digits; k++) {
        const struct digit *digit = &dim->digits[k];
        int64_t value = first / digit->weight % digit->radix;
        box->from += value * digit->from;
        box->to += value * digit->to;
        if (first % digit->weight == 0 && digit->weight <= dim->end - first)
            top = k;
    }
    const struct digit *digit = &dim->digits[top];
    int64_t n = (dim->end - first) / digit->weight;
    int64_t room = digit->radix - first / digit->weight % digit->radix;
    n = n < room ? n : room;
    for (uint32_t k = 0; k < top; k++)
        add_axis(box, dim->digits[k].radix, &dim->digits[k], 0);
    bool is_padded = dim->is_padded && top == 0 && first + n == dim->end && n < room;
    add_axis(box, n, digit, is_padded ? room - n : 0);
    return first + n * digit->weight;
}

/* The same for one index of a dimension without digits. */
static void add_index(const struct cutting *cutting, uint32_t d, int64_t index,
                      struct layout_box *box)
{
    int64_t at[QUIRE_LAYOUT_MAX_DIMS] = {0};
    int64_t n_bytes = (int64_t)quire_layout_type_bytes(cutting->conversion->from.type);

    at[d] = index;
    box->from += (quire_layout_place(&cutting->conversion->from, at) -
                  cutting->conversion->from.offset) *
                 n_bytes;
    box->to += (quire_layout_place(&cutting->conversion->to, at) - cutting->conversion->to.offset) *
               n_bytes;
}

/* Adds dimension `d` and those behind it to the box, and takes them away again. */
static void cut(const struct cutting *cutting, uint32_t d, struct layout_box *box)
{
    if (d == cutting->conversion->from.n_dims) {
        cutting->visit(cutting->context, box);
        return;
    }
    const struct dim *dim = &cutting->dims[d];
    int64_t from = box->from, to = box->to;
    uint32_t n_axes = box->n_axes;
    for (int64_t next = dim->first; next < dim->end;) {
        if (dim->n_digits == 0)
            add_index(cutting, d, next++, box);
        else
            next = add_piece(dim, next, box);
        cut(cutting, d + 1, box);
        box->from = from;
        box->to = to;
        box->n_axes = n_axes;
    }
}

/* With the tail. */
static int64_t whole_size(const struct quire_layout *layout, uint32_t d)
{
    int64_t block = quire_layout_block_size(layout, d);

    return (layout->dims[d] + block - 1) / block * block;
}

/* Where the tail of a dimension begins that zeros are written to by boxes of their own. */
static int64_t tail_of(const struct cutting *cutting, uint32_t d)
{
    const struct dim *dim = &cutting->dims[d];
    int64_t size = cutting->conversion->to.dims[d], radix = dim->digits[0].radix;

    return dim->is_padded && size % radix != 0 ? size + radix - size % radix : size;
}

void layout_each_box(const struct quire_layout_conversion *conversion,
                     void (*visit)(void *context, const struct layout_box *box), void *context)
{
    const struct quire_layout *to = &conversion->to;
    int64_t n_bytes = (int64_t)quire_layout_type_bytes(to->type);
    struct cutting cutting; /* the rest is not worth clearing */
    struct layout_box box;

    cutting.conversion = conversion;
    cutting.visit = visit;
    cutting.context = context;
    box.from = conversion->from.offset * n_bytes;
    box.to = to->offset * n_bytes;
    box.n_axes = 0;
    box.is_zero = false;
    for (uint32_t d = 0; d < to->n_dims; d++) {
        struct dim *dim = &cutting.dims[d];
        find_digits(conversion, d, dim);
        dim->first = 0;
        dim->end = to->dims[d];
        dim->is_padded = dim->n_digits > 0 && quire_layout_block_size(to, d) > 1 &&
                         dim->digits[0].to == n_bytes && to->blocks[to->n_blocks - 1].dim == d;
    }
    cut(&cutting, 0, &box);
    /* Of the tails: what is in d's and in none before */
    box.is_zero = true;
    for (uint32_t d = 0; d < to->n_dims; d++) {
        struct dim *dim = &cutting.dims[d];
        dim->first = tail_of(&cutting, d);
        dim->end = whole_size(to, d);
        if (dim->first == dim->end)
            continue;
        for (uint32_t e = 0; e < to->n_dims; e++) {
            if (e == d)
                continue;
            cutting.dims[e].first = 0;
            cutting.dims[e].end = e < d ? tail_of(&cutting, e) : whole_size(to, e);
        }
        cut(&cutting, 0, &box);
    }
}
