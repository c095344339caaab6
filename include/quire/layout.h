/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quire/layout.h: how the elements of a tensor lie in memory, and changing it.
 *
 * A layout gives each element (i0, i1, ...) of a tensor its place. Dimensions may be blocked: the
 * index is split into which block and where in the block, and the places in blocks are innermost:
 *
 *     nchw      offset = ((n * C + c) * H + h) * W + w
 *     nhwc      offset = ((n * H + h) * W + w) * C + c
 *     nchw16c   offset = (((n * ceil(C / 16) + c / 16) * H + h) * W + w) * 16 + c % 16
 *
 * A dimension that is no multiple of its block has a tail: the places from its end to the end of
 * its last block. A conversion fills the tails of what it writes with zeros, and reads none.
 *
 * Names. The grammar is that of the names above: the dimensions from the outermost to the
 * innermost, then the blocks, again from the outermost, each a size and a dimension. Upper case
 * letters count as lower case ("nChw16c").
 *
 *     data      n images, c channels, d depth, h height, w width
 *     weights   g groups, o output channels, i input channels, d, h, w
 *
 *     nchw nhwc nchw4c nchw8c nchw16c       ncw nwc nc ncdhw ndhwc nCdhw16c
 *     oihw ohwi hwio oihw16o oihw16i16o     oihw4i16o4i (dot products of four i8)
 *     goihw goihw16g (depthwise)
 *
 * The logical order of dimensions, that of `dims`, is the same for all layouts of a tensor: n c d h
 * w, and g o i d h w, without those that it has not. Converting copies elements as they are, bit
 * by bit; what they mean does not matter.
 *
 * Memory is always the caller's: sizes are asked for first; nothing here allocates, blocks, prints
 * or touches errno. No state is global. Several threads may use the same layout and conversion.
 *
 * Sources: oneDNN's blocked formats (the grammar); H. Warren, "Hacker's Delight", 7-3 (transposing
 * in registers by halves).
 */
#ifndef QUIRE_LAYOUT_H
#define QUIRE_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

#define QUIRE_LAYOUT_MAX_DIMS 6
#define QUIRE_LAYOUT_MAX_BLOCKS 4
#define QUIRE_LAYOUT_MAX_BLOCK 256                 /* elements, of one dimension in all */
#define QUIRE_LAYOUT_MAX_BYTES ((uint64_t)1 << 47) /* of a tensor, gaps and tails included */
#define QUIRE_LAYOUT_NAME_BYTES 64                 /* room for any name */

enum quire_layout_type {
    QUIRE_LAYOUT_F32,
    QUIRE_LAYOUT_F16,
    QUIRE_LAYOUT_BF16,
    QUIRE_LAYOUT_I8,
    QUIRE_LAYOUT_N_TYPES
};

/* Bytes of an element: 4, 2, 2, 1; 0: no such type. */
size_t quire_layout_type_bytes(enum quire_layout_type type);
/* "f32", "f16", "bf16", "i8"; static. NULL: no such type. */
const char *quire_layout_type_name(enum quire_layout_type type);

struct quire_layout_block {
    uint32_t dim;  /* which dimension it splits */
    uint32_t size; /* elements, 1 or more */
};

/*
 * The place of element i, in elements from the start of the buffer:
 *
 *     offset + sum over d of strides[d] * (i[d] / B[d]) + place in the blocks
 *
 * where B[d] is the product of the sizes of d's blocks. The blocks are dense: the last has stride
 * 1. Several blocks of one dimension split what is left of the index, the last one first.
 * Strides may be anything, negative too, as long as no place lies before the start of the buffer;
 * what is written has to have a place of its own for each element (a stride of 0 is for reading).
 */
struct quire_layout {
    enum quire_layout_type type;
    uint32_t n_dims;                     /* 1 to QUIRE_LAYOUT_MAX_DIMS */
    int64_t dims[QUIRE_LAYOUT_MAX_DIMS]; /* elements, 1 or more */
    int64_t
        strides[QUIRE_LAYOUT_MAX_DIMS]; /* elements, from one block of a dimension to the next */
    int64_t offset;                     /* elements, to element (0, 0, ...) */
    uint32_t n_blocks;
    struct quire_layout_block blocks[QUIRE_LAYOUT_MAX_BLOCKS]; /* the innermost is the last */
};

/*
 * Makes the dense layout of that name. n_dims is the number of letters in its first part. Returns
 * 0; -EINVAL: no such name or type, n_dims does not fit the name, a dimension is below 1, or a
 * block is too large; -EOVERFLOW: it has more than QUIRE_LAYOUT_MAX_BYTES.
 */
int quire_layout_init(struct quire_layout *layout, const char *name, enum quire_layout_type type,
                      uint32_t n_dims, const int64_t *dims) __attribute__((warn_unused_result));

/*
 * Writes the layout's name (QUIRE_LAYOUT_NAME_BYTES), spelled as data (of 2 to 5 dimensions) or as
 * weights (3 to 6). Returns 0; -EINVAL: it has none: it is not valid, or not dense.
 */
int quire_layout_name(const struct quire_layout *layout, bool is_weights, char *name);

/* Returns 0; -EINVAL: a field is out of its range, or a place lies before the buffer's start;
 * -EOVERFLOW: it has more than QUIRE_LAYOUT_MAX_BYTES, or a stride goes beyond that. */
int quire_layout_check(const struct quire_layout *layout);

/* Bytes of a buffer that holds it, tails included; 0: the layout is not valid. */
size_t quire_layout_bytes(const struct quire_layout *layout);

/* Elements, tails not included; 0: the layout is not valid. */
uint64_t quire_layout_elements(const struct quire_layout *layout);

/* The elements that one block holds of dimension `dim` (B above); 1: it is not blocked. */
int64_t quire_layout_block_size(const struct quire_layout *layout, uint32_t dim);

/* The place of an element, in elements. Of a valid layout; each index is within its dimension, or
 * in its tail. */
int64_t quire_layout_place(const struct quire_layout *layout, const int64_t *index);

/* Whether no two elements have the same place. (Judged by the strides: true is always right; false
 * is too, but for strides that interleave in ways no slice or transposition does.) */
bool quire_layout_is_injective(const struct quire_layout *layout);

/* Instruction sets that code here is written for. */
enum quire_layout_isa {
    QUIRE_LAYOUT_BEST,     /* the last of these that this processor has */
    QUIRE_LAYOUT_PORTABLE, /* plain C */
    QUIRE_LAYOUT_SSE2,
    QUIRE_LAYOUT_NEON,
    QUIRE_LAYOUT_AVX2,   /* and FMA */
    QUIRE_LAYOUT_AVX512, /* F, BW, DQ and VL */
    QUIRE_LAYOUT_N_ISAS
};

/* "best", "portable", "sse2", "neon", "avx2", "avx512"; static. NULL: no such set. */
const char *quire_layout_isa_name(enum quire_layout_isa isa);
/* Whether this processor has it, and this library code for it. BEST and PORTABLE: always. */
bool quire_layout_isa_is_here(enum quire_layout_isa isa);
/* The last that is here. */
enum quire_layout_isa quire_layout_isa_best(void);

/* Converting */

/* Whether what is written goes through the caches. */
enum quire_layout_stores {
    QUIRE_LAYOUT_STORES_AUTO,    /* past them from QUIRE_LAYOUT_STREAMED_BYTES on */
    QUIRE_LAYOUT_STORES_CACHED,  /* always */
    QUIRE_LAYOUT_STORES_STREAMED /* past them wherever whole lines can be stored */
};
#define QUIRE_LAYOUT_STREAMED_BYTES ((size_t)16 << 20) /* of the target */

struct quire_layout_options {
    enum quire_layout_isa isa;
    enum quire_layout_stores stores;
};

/* A conversion that was checked. Its fields are private; it has no pointers in it. */
struct quire_layout_conversion {
    struct quire_layout from, to;
    size_t from_bytes, to_bytes;
    uint8_t isa, stores;
};

/*
 * Checks and prepares. `options` may be NULL. Returns 0; -EINVAL: a layout is not valid, type or
 * dimensions of the two differ, `to` is not injective, or an option is out of its range;
 * -EOVERFLOW: a layout is too large; -ENOTSUP: that instruction set is not here.
 */
int quire_layout_conversion_init(struct quire_layout_conversion *conversion,
                                 const struct quire_layout *from, const struct quire_layout *to,
                                 const struct quire_layout_options *options)
    __attribute__((warn_unused_result));

/*
 * Copies every element of `source` to its place in `target`, and zeros to the target's tails; what
 * lies between (the gaps that strides leave) stays as it is. Nothing is written if an error is
 * returned: -EFAULT: a buffer is NULL or not aligned to an element, or they overlap; -ENOSPC: one
 * is shorter than quire_layout_bytes() of its layout.
 */
int quire_layout_convert(const struct quire_layout_conversion *conversion, const void *source,
                         size_t source_bytes, void *target, size_t target_bytes)
    __attribute__((warn_unused_result));

/*
 * The same, but only a share of the work: `part` of n_parts. All parts together, in any order or at
 * the same time in several threads, are the whole. -EINVAL: part is not below n_parts.
 */
int quire_layout_convert_part(const struct quire_layout_conversion *conversion, uint32_t part,
                              uint32_t n_parts, const void *source, size_t source_bytes,
                              void *target, size_t target_bytes)
    __attribute__((warn_unused_result));

/*
 * In the buffer where it lies, which has to have room for both layouts. The tensor is taken apart
 * from the outermost dimension on into pieces that cover the same bytes in both; a piece at a time
 * is copied to the workspace and converted back. So NCHW to NCHW16c needs room for 16 channels of
 * one image, NCHW to NHWC for one image, and what can't be taken apart for the whole.
 */
size_t quire_layout_in_place_bytes(const struct quire_layout_conversion *conversion);

/* Returns as quire_layout_convert(), for both the buffer and the workspace, which is aligned to an
 * element, too. What lies in gaps of the target may be changed. */
int quire_layout_convert_in_place(const struct quire_layout_conversion *conversion, void *buffer,
                                  size_t n_bytes, void *workspace, size_t workspace_bytes)
    __attribute__((warn_unused_result));

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
