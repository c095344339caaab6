/* SPDX-License-Identifier: Apache-2.0 */
/* layout_model: what a conversion, and a kernel that reads a layout, cost the caches and the TLB.
 */
#ifndef QUIRE_CLI_LAYOUT_MODEL_H
#define QUIRE_CLI_LAYOUT_MODEL_H

#include <quire/layout.h>

struct layout_walk {
    uint64_t n_lines;   /* different ones, of both sides */
    uint64_t n_fetched; /* lines that the first-level cache had to fetch */
    uint64_t n_pages;   /* different ones */
    uint64_t n_second;  /* pages that only the second-level TLB had */
    uint64_t n_walks;   /* of the page tables */
};

struct layout_view {
    uint64_t n_lines, n_pages;
};

/* The processor that is modelled, in words. */
#define LAYOUT_MODEL_TEXT \
    "32 KiB in 8 ways of 64-byte lines; a TLB of 64, behind it 1536, for pages of 4 KiB"

/*
 * Walks in the order of the conversion (`tiled`), and element by element in the order of the
 * target. Of a large tensor only its first images, rows of an image, are walked: `dims` says which.
 * Returns 0; -ENOMEM.
 */
int layout_model_walk(const struct quire_layout *from, const struct quire_layout *to,
                      struct layout_walk *tiled, struct layout_walk *plain, int64_t *dims);

/* All channels (dimension 1) of one pixel in the middle, or of 3 x 3. Of n, c, h, w alone. */
void layout_model_view(const struct quire_layout *layout, int64_t side, struct layout_view *view);

#endif
