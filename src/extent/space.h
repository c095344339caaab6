/* SPDX-License-Identifier: Apache-2.0 */
/*
 * space: the metadata of an extent space, and what its files share; private to extent/.
 *
 * Everything is a node: an extent, a hole, or unused. Links are indexes of nodes, 0 is none. Node 0
 * is neither: its state, height and length read as 0, its `next` and `prev` are the first and the
 * last piece, and its `left` is written by whoever has no neighbour in a list, and never read. So
 * links are changed without asking whether there is a neighbour.
 *
 *     struct quire_extent_space | nodes[2 * max_extents + 2] | longest[], FIRST and NEXT only
 *
 * The invariants are in space.c.
 */
#ifndef QUIRE_EXTENT_SPACE_H
#define QUIRE_EXTENT_SPACE_H

#include <assert.h>
#include <quire/extent.h>

#define SPACE_MAGIC \
    0x3154584552495551 /* "QUIREXT1" in memory: another byte order reads otherwise */

/* Size classes: one for each length below 32, then 32 for each power of two. */
#define CLASS_BITS 5
#define N_STEPS (1u << CLASS_BITS)
#define N_ROWS (56 - CLASS_BITS + 1)
#define N_CLASSES (N_ROWS * N_STEPS)

enum node_state { NODE_UNUSED, NODE_EXTENT, NODE_HOLE };

#define NODE_LENGTH_BITS 56
#define NODE_LENGTH_MASK QUIRE_EXTENT_MAX_LENGTH
#define NODE_HEIGHT_MASK 0x3fu
#define NODE_STATE_SHIFT 62

struct extent_hold {
    uint16_t n_pins;
    uint8_t align_order;
    uint8_t unused;
};

struct extent_node {
    uint64_t offset;
    uint64_t bits;       /* 2: state, 6: height in its tree (a hole in a tree), 56: length */
    uint32_t prev, next; /* by offset; `next` of an unused node: the next unused one */
    union {
        struct {
            uint32_t left, right; /* a hole in a tree; in a list: towards its head, its end */
        };
        struct { /* an extent */
            uint32_t stamp;
            struct extent_hold hold;
        };
    };
};
static_assert(sizeof(struct extent_node) == 32, "two nodes a cache line; a layout that is saved");

struct quire_extent_space {
    uint64_t magic;
    uint64_t length;
    uint64_t n_used;
    uint64_t cursor;     /* NEXT: the end of what was allocated last */
    uint64_t packed_end; /* nothing that ends at or below it can slide; see compact.c */
    uint32_t policy;
    uint32_t max_extents;
    uint32_t n_touched; /* nodes from 0 that were ever used */
    uint32_t unused;
    uint32_t n_extents, n_holes;
    uint32_t stamp;  /* of the extent allocated last */
    uint32_t root;   /* FIRST and NEXT: the tree of all holes by offset */
    uint32_t finger; /* a piece to begin a search by offset with, or 0 */
    uint32_t packed; /* the piece that ends at packed_end, or 0 */
    uint64_t rows;   /* which rows have a class with holes */
    uint32_t steps[N_ROWS];
    uint32_t head[N_CLASSES]; /* TLSF: a list of holes; BEST and WORST: the root of a tree */
    _Alignas(64) struct extent_node nodes[];
};
static_assert(sizeof(struct quire_extent_space) % 64 == 0, "a layout that is saved");

/* Nodes */

static inline uint32_t space_n_nodes(uint32_t max_extents)
{
    return 2 * max_extents + 2; /* node 0, the extents, and a hole before and after each */
}

static inline bool space_is_by_offset(const struct quire_extent_space *space)
{
    return space->policy == QUIRE_EXTENT_FIRST || space->policy == QUIRE_EXTENT_NEXT;
}

static inline uint64_t node_length(const struct extent_node *node)
{
    return node->bits & NODE_LENGTH_MASK;
}

static inline enum node_state node_state(const struct extent_node *node)
{
    return (enum node_state)(node->bits >> NODE_STATE_SHIFT);
}

/* As quick as can be: a hole's state is the only one with the uppermost bit. Node 0 is none. */
static inline bool node_is_hole(const struct extent_node *node)
{
    return (int64_t)node->bits < 0;
}

static inline unsigned node_height(const struct extent_node *node)
{
    return (unsigned)(node->bits >> NODE_LENGTH_BITS) & NODE_HEIGHT_MASK;
}

static inline uint64_t node_end(const struct extent_node *node)
{
    return node->offset + node_length(node);
}

static inline void node_set(struct extent_node *node, enum node_state state, uint64_t length)
{
    node->bits = (uint64_t)state << NODE_STATE_SHIFT | length;
}

static inline void node_set_length(struct extent_node *node, uint64_t length)
{
    node->bits = (node->bits & ~NODE_LENGTH_MASK) | length;
}

static inline void node_set_height(struct extent_node *node, unsigned height)
{
    node->bits = (node->bits & ~((uint64_t)NODE_HEIGHT_MASK << NODE_LENGTH_BITS)) |
                 (uint64_t)height << NODE_LENGTH_BITS;
}

/* The longest hole of the subtree at `index`; in the tree by offset only. */
static inline uint64_t *space_longest(const struct quire_extent_space *space, uint32_t index)
{
    const struct extent_node *end = space->nodes + space_n_nodes(space->max_extents);
    return (uint64_t *)(uintptr_t)end + index;
}

static inline quire_extent space_handle(const struct quire_extent_space *space, uint32_t index)
{
    return (uint64_t)space->nodes[index].stamp << 32 | index;
}

/* The node that a handle names; 0: none. */
static inline uint32_t space_lookup(const struct quire_extent_space *space, quire_extent extent)
{
    uint32_t index = (uint32_t)extent;
    if (index >= space->n_touched)
        return 0;
    const struct extent_node *node = &space->nodes[index];
    return node_state(node) == NODE_EXTENT && node->stamp == extent >> 32 ? index : 0;
}

/* Ends the process if the metadata contradicts itself. */
void space_corrupt(const struct quire_extent_space *space, uint32_t index, const char *what)
    __attribute__((noreturn, cold));

static inline void space_check(bool holds, const struct quire_extent_space *space, uint32_t index,
                               const char *what)
{
    if (__builtin_expect(!holds, 0))
        space_corrupt(space, index, what);
}

/* The lowest aligned place of `length` units in a hole. */
static inline bool node_fits(const struct extent_node *hole, uint64_t length, uint64_t alignment,
                             uint64_t *place)
{
    uint64_t pad = -hole->offset & (alignment - 1), room = node_length(hole);
    *place = hole->offset + pad;
    return room >= length && room - length >= pad;
}

/* Size classes */

static inline unsigned class_of(uint64_t length)
{
    unsigned row = (63u ^ (unsigned)__builtin_clzll(length | N_STEPS)) - CLASS_BITS;
    return row * N_STEPS + (unsigned)(length >> row);
}

/*
 * Whether two lengths are of one class, without looking for their uppermost bits, which is slow on
 * many processors: if they differ only in bits below the class's. false: maybe.
 */
static inline bool class_is_kept(uint64_t before, uint64_t after)
{
    return (before ^ after) << CLASS_BITS <= before / 2;
}

/* The first class after `class` that has holes; N_CLASSES: none. */
static inline unsigned class_after(const struct quire_extent_space *space, unsigned class)
{
    unsigned row = class / N_STEPS;
    uint32_t steps = space->steps[row] & (UINT32_MAX - 1) << class % N_STEPS;
    if (steps == 0) {
        uint64_t rows = space->rows & (UINT64_MAX - 1) << row;
        if (rows == 0)
            return N_CLASSES;
        row = (unsigned)__builtin_ctzll(rows);
        steps = space->steps[row];
    }
    return row * N_STEPS + (unsigned)__builtin_ctz(steps);
}

/* The first class at or after `class`. */
static inline unsigned class_from(const struct quire_extent_space *space, unsigned class)
{
    return space->steps[class / N_STEPS] >> class % N_STEPS & 1 ? class : class_after(space, class);
}

/* The last class before `class` that has holes; N_CLASSES: none. */
unsigned class_last_before(const struct quire_extent_space *space, unsigned class);

static inline void class_mark(struct quire_extent_space *space, unsigned class)
{
    space->steps[class / N_STEPS] |= 1u << class % N_STEPS;
    space->rows |= (uint64_t)1 << class / N_STEPS;
}

static inline void class_unmark(struct quire_extent_space *space, unsigned class)
{
    uint32_t steps = space->steps[class / N_STEPS] &= ~(1u << class % N_STEPS);
    if (steps == 0)
        space->rows &= ~((uint64_t)1 << class / N_STEPS);
}

/*
 * tree.c: AVL trees of holes, by offset with the longest hole of each subtree, or by length and
 * offset. `root` is a field of the space.
 */
void tree_insert(struct quire_extent_space *space, uint32_t *root, uint32_t hole);
void tree_remove(struct quire_extent_space *space, uint32_t *root, uint32_t hole);
/* A tree by offset: the hole's length was changed. */
void tree_update(struct quire_extent_space *space, uint32_t *root, uint32_t hole);
#define TREE_MAX_HEIGHT 46 /* of 2^32 nodes: 1.44 * 32 */

/* search.c: the hole that the policy takes, and the place in it; 0: none fits */
uint32_t search_hole(const struct quire_extent_space *space, uint64_t length, uint64_t alignment,
                     uint64_t *place);

/* space.c: what compaction needs */
void space_slide(struct quire_extent_space *space, uint32_t extent, uint64_t to);

/* The least aligned offset at or above `offset` for this extent. */
static inline uint64_t node_align_up(const struct extent_node *extent, uint64_t offset)
{
    uint64_t mask = ((uint64_t)1 << extent->hold.align_order) - 1;
    return (offset + mask) & ~mask;
}

#endif
