/* SPDX-License-Identifier: Apache-2.0 */
/*
 * in_place: a conversion in the buffer where the tensor lies.
 *
 * The tensor is cut along its outermost dimensions into pieces that lie one behind the other both
 * in the source and in the target. Piece by piece is copied out and converted back:
 *
 *     source    | 0    | 1    | 2    | 3    |
 *     target    | 0      | 1      | 2      | 3      |      growing: the last piece first
 *
 * Where pieces grow, the target's piece k begins at or behind the source's: what it overwrites
 * belongs to pieces k and later, which are read already if the last comes first. Where they shrink
 * the first comes first. Both kinds of cuts can't be mixed.
 */
#include "tensor/layout/tiles.h"

#include <errno.h>
#include <string.h>

struct piece_cut {
    uint32_t dim;
    int64_t length;   /* of a piece but the last, elements of the dimension */
    int64_t n;        /* pieces */
    int64_t from, to; /* elements, from piece to piece */
};

struct cuts {
    uint32_t n;
    struct piece_cut cuts[QUIRE_LAYOUT_MAX_DIMS]; /* the outermost first */
    struct quire_layout from, to;                 /* of a piece */
    bool grows, shrinks;                          /* both: all pieces begin at the same places */
};

/* Elements that a layout spans, from its first place on. */
static int64_t span_of(struct quire_layout layout)
{
    layout.offset = 0;
    return (int64_t)(quire_layout_bytes(&layout) / quire_layout_type_bytes(layout.type));
}

static bool try_cut(struct cuts *cuts, uint32_t dim)
{
    struct quire_layout from = cuts->from, to = cuts->to;
    int64_t from_block = quire_layout_block_size(&from, dim);
    int64_t to_block = quire_layout_block_size(&to, dim);
    int64_t length = from_block > to_block ? from_block : to_block, size = from.dims[dim];

    if (length % from_block != 0 || length % to_block != 0 || size <= length)
        return false;
    struct piece_cut cut = {.dim = dim,
                            .length = length,
                            .n = size / length + (size % length != 0),
                            .from = length / from_block * from.strides[dim],
                            .to = length / to_block * to.strides[dim]};
    bool grows = cuts->grows && cut.to >= cut.from, shrinks = cuts->shrinks && cut.to <= cut.from;
    from.dims[dim] = to.dims[dim] = length;
    if (!(grows || shrinks) || span_of(from) > cut.from || span_of(to) > cut.to)
        return false;
    cuts->from = from;
    cuts->to = to;
    cuts->grows = grows;
    cuts->shrinks = shrinks;
    cuts->cuts[cuts->n++] = cut;
    return true;
}

static bool has_positive_strides(const struct quire_layout *layout)
{
    for (uint32_t d = 0; d < layout->n_dims; d++)
        if (layout->strides[d] < 0)
            return false;
    return true;
}

static void find_cuts(const struct quire_layout_conversion *conversion, struct cuts *cuts)
{
    *cuts = (struct cuts){.from = conversion->from,
                          .to = conversion->to,
                          .grows = conversion->to.offset >= conversion->from.offset,
                          .shrinks = conversion->to.offset <= conversion->from.offset};
    if (!has_positive_strides(&cuts->from) || !has_positive_strides(&cuts->to))
        return;
    for (bool is_cut = true; is_cut;) {
        is_cut = false;
        for (uint32_t d = 0; d < cuts->from.n_dims && !is_cut; d++)
            is_cut = try_cut(cuts, d);
    }
}

/* Where the pieces lie in the source, and how much of it is to be kept. */
static size_t piece_bytes(const struct cuts *cuts, int64_t *start)
{
    size_t n_bytes = quire_layout_type_bytes(cuts->from.type);

    if (!has_positive_strides(&cuts->from)) { /* one piece; it may begin anywhere */
        *start = 0;
        return quire_layout_bytes(&cuts->from);
    }
    *start = cuts->from.offset;
    return (size_t)span_of(cuts->from) * n_bytes;
}

size_t quire_layout_in_place_bytes(const struct quire_layout_conversion *conversion)
{
    struct cuts cuts;
    int64_t start;

    find_cuts(conversion, &cuts);
    return piece_bytes(&cuts, &start);
}

static void visit_box(void *context, const struct layout_box *box)
{
    layout_run_box(context, box);
}

/* The piece of that number, counted from the outermost cut on. */
static void convert_piece(const struct quire_layout_conversion *whole, const struct cuts *cuts,
                          int64_t number, char *buffer, char *workspace)
{
    struct quire_layout_conversion piece = {.from = cuts->from, .to = cuts->to};
    int64_t element = (int64_t)quire_layout_type_bytes(whole->from.type), start;

    (void)piece_bytes(cuts, &start);
    for (uint32_t i = cuts->n; i-- > 0;) {
        const struct piece_cut *cut = &cuts->cuts[i];
        int64_t index = number % cut->n, rest = whole->from.dims[cut->dim] - index * cut->length;
        number /= cut->n;
        start += index * cut->from;
        piece.to.offset += index * cut->to;
        if (rest < cut->length)
            piece.from.dims[cut->dim] = piece.to.dims[cut->dim] = rest;
    }
    size_t n_bytes = piece_bytes(&(struct cuts){.from = piece.from}, &(int64_t){0});
    memcpy(workspace, buffer + start * element, n_bytes);
    if (has_positive_strides(&piece.from))
        piece.from.offset = 0;
    struct layout_job job = {.kernels = layout_kernels_of((enum quire_layout_isa)whole->isa),
                             .source = workspace,
                             .source_bytes = n_bytes,
                             .target = buffer,
                             .n_parts = 1,
                             .stores = QUIRE_LAYOUT_STORES_CACHED,
                             .n_bytes = (size_t)element};
    layout_each_box(&piece, visit_box, &job);
}

static bool is_aligned(const void *buffer, size_t n_bytes)
{
    return buffer != NULL && (uintptr_t)buffer % n_bytes == 0;
}

int quire_layout_convert_in_place(const struct quire_layout_conversion *conversion, void *buffer,
                                  size_t n_bytes, void *workspace, size_t workspace_bytes)
{
    size_t element = quire_layout_type_bytes(conversion->from.type);
    struct cuts cuts;
    int64_t start, n = 1;

    find_cuts(conversion, &cuts);
    size_t wanted = piece_bytes(&cuts, &start);
    size_t most = conversion->from_bytes > conversion->to_bytes ? conversion->from_bytes
                                                                : conversion->to_bytes;
    if (!is_aligned(buffer, element) || !is_aligned(workspace, element) ||
        ((uintptr_t)buffer < (uintptr_t)workspace + wanted &&
         (uintptr_t)workspace < (uintptr_t)buffer + most))
        return -EFAULT;
    if (n_bytes < most || workspace_bytes < wanted)
        return -ENOSPC;
    for (uint32_t i = 0; i < cuts.n; i++)
        n *= cuts.cuts[i].n;
    for (int64_t i = 0; i < n; i++)
        convert_piece(conversion, &cuts, cuts.grows ? n - 1 - i : i, buffer, workspace);
    return 0;
}
