/* SPDX-License-Identifier: Apache-2.0 */
/*
 * space: extents and holes, in the order of their offsets.
 *
 *     first                                                             last
 *       |                                                                 |
 *     [ extent ] <-> [ hole ] <-> [ extent ] <-> [ extent ] <-> ... <-> [ hole ]
 *     0                                                                        length
 *
 * States of a node and the functions that change them:
 *
 *     UNUSED --node_take--> HOLE or EXTENT --node_release--> UNUSED
 *     HOLE --become_extent--> EXTENT --give_room--> HOLE
 *
 * A piece cut from a hole's start is a new node, and the hole keeps its own: it stays where it is
 * in its tree or, most times, in its list. What is freed joins the hole before it, or else the one
 * behind it, for the same reason.
 *
 * Invariants, checked by quire_extent_validate() by number:
 *   1. The pieces cover [0, length) in order, none is empty, links agree in both directions.
 *   2. No two holes touch. So there are at most n_extents + 1, and nodes never run out before
 *      max_extents is reached.
 *   3. Every touched node but 0 is a piece or on the list `unused`.
 *   4. Every hole is in the index once, where its offset and length say, and nothing else is.
 *      Trees are ordered, balanced, and say the right height and longest hole.
 *   5. n_used, n_extents and n_holes are what the pieces add up to.
 *   6. `packed` is 0 or the extent that ends at packed_end; `finger` is 0 or a touched node,
 *      where a search by offset begins if it is a piece.
 *
 * No lock. An operation checks all that can fail before it changes anything. Links that contradict
 * each other end the process.
 */
#include "extent/index.h"

#include "base/checked.h"
#include "base/log.h"

#include <errno.h>
#include <string.h>

void space_corrupt(const struct quire_extent_space *space, uint32_t index, const char *what)
{
    log_error("extent space: metadata is corrupt at node %u: %s", index, what);
    __builtin_trap();
}

const char *quire_extent_policy_name(enum quire_extent_policy policy)
{
    static const char *const names[] = {
        [QUIRE_EXTENT_TLSF] = "tlsf", [QUIRE_EXTENT_FIRST] = "first", [QUIRE_EXTENT_NEXT] = "next",
        [QUIRE_EXTENT_BEST] = "best", [QUIRE_EXTENT_WORST] = "worst",
    };
    return (unsigned)policy < QUIRE_EXTENT_N_POLICIES ? names[policy] : NULL;
}

/* Nodes */

static uint32_t node_take(struct quire_extent_space *space)
{
    uint32_t index = space->unused;
    if (index != 0) {
        space_check(node_state(&space->nodes[index]) == NODE_UNUSED, space, index,
                    "an unused node is in use");
        space->unused = space->nodes[index].next;
        return index;
    }
    space_check(space->n_touched < space_n_nodes(space->max_extents), space, 0, "no node is left");
    return space->n_touched++;
}

static void node_release(struct quire_extent_space *space, uint32_t index)
{
    node_set(&space->nodes[index], NODE_UNUSED, 0);
    space->nodes[index].next = space->unused;
    space->unused = index;
}

static void link_between(struct quire_extent_space *space, uint32_t prev, uint32_t index,
                         uint32_t next)
{
    struct extent_node *node = &space->nodes[index];
    node->prev = prev;
    node->next = next;
    space->nodes[prev].next = index;
    space->nodes[next].prev = index;
}

static void unlink_piece(struct quire_extent_space *space, uint32_t index)
{
    const struct extent_node *node = &space->nodes[index];
    space->nodes[node->prev].next = node->next;
    space->nodes[node->next].prev = node->prev;
}

static bool is_hole(const struct quire_extent_space *space, uint32_t index)
{
    return node_is_hole(&space->nodes[index]);
}

/* A hole that is linked nowhere yet. */
static uint32_t new_hole(struct quire_extent_space *space, uint64_t offset, uint64_t length)
{
    uint32_t index = node_take(space);
    space->nodes[index].offset = offset;
    node_set(&space->nodes[index], NODE_HOLE, length);
    return index;
}

static inline void remove_hole(struct quire_extent_space *space, bool lists, uint32_t hole)
{
    index_remove(space, lists, hole);
    unlink_piece(space, hole);
    node_release(space, hole);
}

/* Something at or above `offset` may be able to slide now. */
static void unpack_from(struct quire_extent_space *space, uint64_t offset)
{
    if (offset < space->packed_end) {
        space->packed = 0;
        space->packed_end = 0;
    }
}

/* [offset, offset + length) between these two pieces holds nothing any more. */
static inline void give_room(struct quire_extent_space *space, bool lists, uint32_t prev,
                             uint32_t next, uint64_t offset, uint64_t length)
{
    unpack_from(space, offset);
    if (is_hole(space, prev)) {
        const struct extent_node *before = &space->nodes[prev];
        length += node_length(before);
        if (is_hole(space, next)) {
            length += node_length(&space->nodes[next]);
            remove_hole(space, lists, next);
        }
        index_change(space, lists, prev, before->offset, length);
    } else if (is_hole(space, next)) {
        index_change(space, lists, next, offset, length + node_length(&space->nodes[next]));
    } else {
        uint32_t hole = new_hole(space, offset, length);
        link_between(space, prev, hole, next);
        index_insert(space, lists, hole);
    }
}

/* Setting up */

static bool is_valid(const struct quire_extent_config *config)
{
    return config->length <= QUIRE_EXTENT_MAX_LENGTH && config->max_extents >= 1 &&
           config->max_extents <= QUIRE_EXTENT_MAX_EXTENTS &&
           (unsigned)config->policy < QUIRE_EXTENT_N_POLICIES;
}

static size_t metadata_bytes(enum quire_extent_policy policy, uint32_t max_extents)
{
    bool by_offset = policy == QUIRE_EXTENT_FIRST || policy == QUIRE_EXTENT_NEXT;
    size_t node_bytes = sizeof(struct extent_node) + (by_offset ? sizeof(uint64_t) : 0);
    return sizeof(struct quire_extent_space) + space_n_nodes(max_extents) * node_bytes;
}

size_t quire_extent_metadata_bytes(const struct quire_extent_config *config)
{
    return is_valid(config) ? metadata_bytes(config->policy, config->max_extents) : 0;
}

int quire_extent_init(const struct quire_extent_config *config, void *metadata, size_t n_bytes,
                      struct quire_extent_space **result)
{
    struct quire_extent_space *space = metadata;
    if (!is_valid(config) || (uintptr_t)metadata % QUIRE_EXTENT_ALIGNMENT != 0)
        return -EINVAL;
    if (n_bytes < quire_extent_metadata_bytes(config))
        return -ENOSPC;
    memset(space, 0, sizeof *space);
    memset(&space->nodes[0], 0, sizeof space->nodes[0]);
    space->magic = SPACE_MAGIC;
    space->policy = config->policy;
    space->max_extents = config->max_extents;
    space->n_touched = 1;
    *result = space;
    return quire_extent_set_length(space, config->length);
}

int quire_extent_open(void *metadata, size_t n_bytes, struct quire_extent_space **result)
{
    struct quire_extent_space *space = metadata;
    if ((uintptr_t)metadata % QUIRE_EXTENT_ALIGNMENT != 0)
        return -EINVAL;
    if (n_bytes < sizeof *space)
        return -ENOSPC;
    struct quire_extent_config config = {space->length, space->max_extents,
                                         (enum quire_extent_policy)space->policy};
    if (space->magic != SPACE_MAGIC || !is_valid(&config))
        return -EINVAL;
    if (n_bytes < quire_extent_metadata_bytes(&config))
        return -ENOSPC;
    int error = quire_extent_validate(space);
    if (error == 0)
        *result = space;
    return error;
}

size_t quire_extent_saved_bytes(const struct quire_extent_space *space)
{
    if (space_is_by_offset(space)) /* longest[] lies behind all nodes */
        return metadata_bytes((enum quire_extent_policy)space->policy, space->max_extents);
    return sizeof *space + space->n_touched * sizeof space->nodes[0];
}

int quire_extent_allow(struct quire_extent_space *space, uint32_t max_extents, size_t n_bytes)
{
    if (max_extents < space->max_extents || max_extents > QUIRE_EXTENT_MAX_EXTENTS)
        return -EINVAL;
    if (n_bytes < metadata_bytes((enum quire_extent_policy)space->policy, max_extents))
        return -ENOSPC;
    const uint64_t *from = space_longest(space, 0);
    space->max_extents = max_extents;
    if (space_is_by_offset(space))
        memmove(space_longest(space, 0), from, space->n_touched * sizeof *from);
    return 0;
}

int quire_extent_set_length(struct quire_extent_space *space, uint64_t length)
{
    bool lists = index_is_lists(space);
    uint32_t last = space->nodes[0].prev;
    if (length > QUIRE_EXTENT_MAX_LENGTH)
        return -EINVAL;
    if (length > space->length) {
        uint64_t offset = space->length;
        space->length = length;
        give_room(space, lists, last, 0, offset, length - offset);
        return 0;
    }
    if (length == space->length)
        return 0;
    if (!is_hole(space, last) || space->nodes[last].offset > length)
        return -EBUSY;
    space->length = length;
    uint64_t offset = space->nodes[last].offset;
    if (offset < length)
        index_change(space, lists, last, offset, length - offset);
    else
        remove_hole(space, lists, last);
    return 0;
}

/* Placing */

static quire_extent become_extent(struct quire_extent_space *space, uint32_t index, uint64_t offset,
                                  uint64_t length, unsigned align_order)
{
    struct extent_node *node = &space->nodes[index];
    uint32_t stamp = space->stamp + 1;
    stamp += stamp == 0;
    space->stamp = stamp;
    node->offset = offset;
    node_set(node, NODE_EXTENT, length);
    node->stamp = stamp;
    node->hold = (struct extent_hold){0, (uint8_t)align_order, 0};
    space->n_extents++;
    space->n_used += length;
    return (uint64_t)stamp << 32 | index;
}

/* Makes [offset, offset + length) of a hole an extent. */
static quire_extent cut(struct quire_extent_space *space, uint32_t hole, uint64_t offset,
                        uint64_t length, unsigned align_order)
{
    struct extent_node *node = &space->nodes[hole];
    uint64_t front = offset - node->offset, back = node_end(node) - offset - length;
    uint32_t extent = hole;
    bool lists = index_is_lists(space);
    space->cursor = offset + length;
    if (front == 0 && back == 0) {
        index_remove(space, lists, hole);
    } else if (front == 0) {
        extent = node_take(space);
        link_between(space, node->prev, extent, hole);
        index_change(space, lists, hole, offset + length, back);
    } else {
        extent = node_take(space);
        index_change(space, lists, hole, node->offset, front);
        link_between(space, hole, extent, node->next);
        if (back > 0) {
            uint32_t behind = new_hole(space, offset + length, back);
            link_between(space, extent, behind, space->nodes[extent].next);
            index_insert(space, lists, behind);
        }
    }
    return become_extent(space, extent, offset, length, align_order);
}

/* alloc, but for what it does at once */
__attribute__((noinline)) static int alloc_searching(struct quire_extent_space *space,
                                                     uint64_t length, uint64_t alignment,
                                                     quire_extent *extent, uint64_t *offset)
{
    uint64_t place;
    if (length == 0 || !is_power_of_two(alignment))
        return -EINVAL;
    if (space->n_extents == space->max_extents)
        return -ENOSPC;
    /* an alignment that no offset of the space but 0 has fits, and is kept, as well as a lower one
     */
    if (alignment > QUIRE_EXTENT_MAX_LENGTH)
        alignment = QUIRE_EXTENT_MAX_LENGTH + 1;
    uint32_t hole = search_hole(space, length, alignment, &place);
    if (hole == 0)
        return -ENOMEM;
    *extent = cut(space, hole, place, length, (unsigned)__builtin_ctzll(alignment));
    if (offset != NULL)
        *offset = place;
    return 0;
}

/*
 * This and free are quick where the policy is the default's and nothing is aligned: what a hole
 * that stays in its list needs comes first, the rest is in functions that they end with, so that
 * few registers have to be saved for it.
 */

/* The start of a hole of a class, or all of it, which then leaves its list. */
__attribute__((noinline)) static int cut_listed(struct quire_extent_space *space, unsigned class,
                                                uint32_t hole, uint64_t length,
                                                quire_extent *extent)
{
    struct extent_node *node = &space->nodes[hole];
    uint64_t offset = node->offset, rest = node_length(node) - length;
    uint32_t index = hole;
    if (rest > 0) {
        list_move(space, class, class_of(rest), hole);
        node->offset = offset + length;
        node_set(node, NODE_HOLE, rest);
        index = node_take(space);
        link_between(space, node->prev, index, hole);
    } else {
        list_remove(space, class, hole);
        space->n_holes--;
    }
    *extent = become_extent(space, index, offset, length, 0);
    return 0;
}

int quire_extent_alloc(struct quire_extent_space *space, uint64_t length, uint64_t alignment,
                       quire_extent *extent, uint64_t *offset)
{
    unsigned class;
    if (!index_is_lists(space) || alignment != 1 || length - 1 >= QUIRE_EXTENT_MAX_LENGTH ||
        space->n_extents == space->max_extents)
        return alloc_searching(space, length, alignment, extent, offset);
    uint32_t hole = index_good_fit(space, length, &class);
    if (hole == 0)
        return alloc_searching(space, length, alignment, extent, offset);
    struct extent_node *node = &space->nodes[hole];
    uint64_t place = node->offset, room = node_length(node), rest = room - length;
    if (offset != NULL)
        *offset = place;
    if (!class_is_kept(room, rest))
        return cut_listed(space, class, hole, length, extent);
    uint32_t index = node_take(space);
    link_between(space, node->prev, index, hole);
    node->offset = place + length;
    node_set(node, NODE_HOLE, rest);
    *extent = become_extent(space, index, place, length, 0);
    return 0;
}

/* The piece that contains `offset`, by way of the tree or from the finger. */
static uint32_t piece_at(const struct quire_extent_space *space, uint64_t offset)
{
    uint32_t index = 0;
    if (space_is_by_offset(space)) {
        for (uint32_t i = space->root; i != 0;) { /* the last hole at or below it */
            index = space->nodes[i].offset <= offset ? i : index;
            i = space->nodes[i].offset <= offset ? space->nodes[i].right : space->nodes[i].left;
        }
        return index;
    }
    index = node_state(&space->nodes[space->finger]) != NODE_UNUSED ? space->finger
                                                                    : space->nodes[0].next;
    while (index != 0 && space->nodes[index].offset > offset)
        index = space->nodes[index].prev;
    while (index != 0 && node_end(&space->nodes[index]) <= offset)
        index = space->nodes[index].next;
    return index;
}

int quire_extent_alloc_at(struct quire_extent_space *space, uint64_t offset, uint64_t length,
                          quire_extent *extent)
{
    if (length == 0 || length > space->length || offset > space->length - length)
        return -EINVAL;
    if (space->n_extents == space->max_extents)
        return -ENOSPC;
    uint32_t hole = piece_at(space, offset);
    space->finger = hole;
    if (!is_hole(space, hole) || node_end(&space->nodes[hole]) < offset + length)
        return -ENOMEM;
    unpack_from(space, offset);
    *extent = cut(space, hole, offset, length, 0);
    space->finger = (uint32_t)*extent;
    return 0;
}

/* The four ways that an extent becomes room, by what its neighbours are. */

__attribute__((noinline)) static int free_alone(struct quire_extent_space *space, uint32_t index)
{
    struct extent_node *node = &space->nodes[index];
    uint64_t length = node_length(node);
    node_set(node, NODE_HOLE, length);
    index_insert(space, true, index);
    return 0;
}

__attribute__((noinline)) static int free_into_prev(struct quire_extent_space *space,
                                                    uint32_t index)
{
    uint32_t prev = space->nodes[index].prev;
    const struct extent_node *hole = &space->nodes[prev];
    uint64_t length = node_length(&space->nodes[index]);
    unlink_piece(space, index);
    node_release(space, index);
    index_change(space, true, prev, hole->offset, node_length(hole) + length);
    return 0;
}

__attribute__((noinline)) static int free_into_next(struct quire_extent_space *space,
                                                    uint32_t index)
{
    uint32_t next = space->nodes[index].next;
    uint64_t offset = space->nodes[index].offset, length = node_length(&space->nodes[index]);
    unlink_piece(space, index);
    node_release(space, index);
    index_change(space, true, next, offset, node_length(&space->nodes[next]) + length);
    return 0;
}

__attribute__((noinline)) static int free_into_both(struct quire_extent_space *space,
                                                    uint32_t index)
{
    uint32_t next = space->nodes[index].next;
    uint64_t length = node_length(&space->nodes[next]);
    index_remove(space, true, next);
    node_set_length(&space->nodes[index], node_length(&space->nodes[index]) + length);
    unlink_piece(space, next);
    node_release(space, next);
    return free_into_prev(space, index);
}

__attribute__((noinline)) static int free_in_trees(struct quire_extent_space *space, uint32_t index)
{
    struct extent_node *node = &space->nodes[index];
    uint32_t prev = node->prev, next = node->next;
    uint64_t offset = node->offset, length = node_length(node);
    unlink_piece(space, index);
    node_release(space, index);
    give_room(space, false, prev, next, offset, length);
    return 0;
}

int quire_extent_free(struct quire_extent_space *space, quire_extent extent)
{
    uint32_t index = space_lookup(space, extent);
    if (index == 0)
        return -EINVAL;
    const struct extent_node *node = &space->nodes[index], *prev = &space->nodes[node->prev],
                             *next = &space->nodes[node->next];
    space_check((prev->next == index) & (next->prev == index), space, index,
                "its neighbours do not know it");
    space->n_extents--;
    space->n_used -= node_length(node);
    unpack_from(space, node->offset);
    if (!index_is_lists(space))
        return free_in_trees(space, index);
    if (node_is_hole(prev))
        return node_is_hole(next) ? free_into_both(space, index) : free_into_prev(space, index);
    return node_is_hole(next) ? free_into_next(space, index) : free_alone(space, index);
}

int quire_extent_resize(struct quire_extent_space *space, quire_extent extent, uint64_t length)
{
    uint32_t index = space_lookup(space, extent);
    if (index == 0 || length == 0)
        return -EINVAL;
    struct extent_node *node = &space->nodes[index];
    uint64_t before = node_length(node);
    uint32_t next = node->next;
    bool lists = index_is_lists(space);
    if (length < before) {
        node_set_length(node, length);
        give_room(space, lists, index, next, node->offset + length, before - length);
    } else if (length > before) {
        uint64_t more = length - before,
                 room = is_hole(space, next) ? node_length(&space->nodes[next]) : 0;
        if (room < more)
            return -ENOMEM;
        unpack_from(space, node->offset);
        node_set_length(node, length);
        if (room > more)
            index_change(space, lists, next, node->offset + length, room - more);
        else
            remove_hole(space, lists, next);
    }
    space->n_used += length - before;
    return 0;
}

int quire_extent_pin(struct quire_extent_space *space, quire_extent extent)
{
    uint32_t index = space_lookup(space, extent);
    if (index == 0)
        return -EINVAL;
    if (space->nodes[index].hold.n_pins == UINT16_MAX)
        return -EOVERFLOW;
    space->nodes[index].hold.n_pins++;
    return 0;
}

int quire_extent_unpin(struct quire_extent_space *space, quire_extent extent)
{
    uint32_t index = space_lookup(space, extent);
    if (index == 0 || space->nodes[index].hold.n_pins == 0)
        return -EINVAL;
    if (--space->nodes[index].hold.n_pins == 0)
        unpack_from(space, space->nodes[index].offset);
    return 0;
}

/* The extent moves down over the hole before it, which goes on behind it. */
void space_slide(struct quire_extent_space *space, uint32_t extent, uint64_t to)
{
    struct extent_node *node = &space->nodes[extent];
    uint32_t hole = node->prev, next = node->next;
    uint64_t start = space->nodes[hole].offset, room = node->offset - to;
    uint64_t end = to + node_length(node);
    bool lists = index_is_lists(space);
    node->offset = to;
    if (to > start) { /* a gap that the alignment needs */
        index_change(space, lists, hole, start, to - start);
        give_room(space, lists, extent, next, end, room);
        return;
    }
    if (is_hole(space, next)) {
        remove_hole(space, lists, hole);
        index_change(space, lists, next, end, room + node_length(&space->nodes[next]));
        return;
    }
    unlink_piece(space, hole);
    link_between(space, extent, hole, next);
    index_change(space, lists, hole, end, room);
}
