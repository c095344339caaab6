/* SPDX-License-Identifier: Apache-2.0 */
/*
 * compact: extents slide downwards, in steps.
 *
 *     before   [A][  hole  ][B][hole][C][pinned][hole][D]
 *     after    [A][B][C][        hole        ][pinned][D][hole]      wanted = 0
 *
 * For a hole of a wanted length only a window is compacted: from one hole to another with nothing
 * pinned between, where the least has to be moved. Two ends go over the pieces once. What a window
 * yields is found out by a trial run of the sliding, since alignments may leave gaps.
 *
 *     [hole a] B C [hole d] E [hole f]     what has to be moved: B + C + E
 *     ^ from                   ^ to
 *
 * Nothing has to be remembered between steps. A step that was cut short left the window's lower
 * holes as one, so the window that is left costs less than before. Compaction of all remembers in
 * `packed` below which piece nothing can slide, until something there is freed or unpinned.
 *
 * `move` is called before the metadata is changed, so if it fails the extent is where it was.
 */
#include "extent/index.h"

#include <errno.h>

struct window {
    uint32_t from, to; /* holes; 0: none */
    uint64_t sum;      /* of its holes */
    uint64_t n_to_move;
};

static bool is_fixed(const struct extent_node *node)
{
    return node_state(node) == NODE_EXTENT && node->hold.n_pins > 0;
}

/* Moves one extent if it can slide: 1 if it can't, else what compact is to return, 0 to go on. */
static int slide(struct quire_extent_space *space, uint32_t index,
                 struct quire_extent_compaction *compaction)
{
    struct extent_node *node = &space->nodes[index];
    if (node_is_hole(node) || is_fixed(node) || !node_is_hole(&space->nodes[node->prev]))
        return 1;
    uint64_t to = node_align_up(node, space->nodes[node->prev].offset), length = node_length(node);
    if (to >= node->offset)
        return 1;
    if (compaction->n_extents_moved > 0 && (compaction->n_moved >= compaction->budget ||
                                            length > compaction->budget - compaction->n_moved))
        return -EAGAIN;
    int answer = compaction->move(compaction->context, space_handle(space, index), node->offset, to,
                                  length);
    if (answer < 0)
        return answer;
    space_slide(space, index, to);
    compaction->n_moved += length;
    compaction->n_extents_moved++;
    return answer > 0 ? -EAGAIN : 0;
}

static int compact_all(struct quire_extent_space *space, struct quire_extent_compaction *compaction)
{
    uint32_t index = space->packed != 0 ? space->packed : space->nodes[0].next;
    while (index != 0) {
        int result = slide(space, index, compaction);
        if (result < 0)
            return result;
        if (node_state(&space->nodes[index]) == NODE_EXTENT) {
            space->packed = index;
            space->packed_end = node_end(&space->nodes[index]);
        }
        index = space->nodes[index].next;
    }
    return 0;
}

/* What sliding all between the two holes makes of them: the hole at the end; and what is moved. */
static uint64_t window_yield(const struct quire_extent_space *space, uint32_t from, uint32_t to,
                             uint64_t *n_to_move)
{
    uint64_t end = space->nodes[from].offset;
    *n_to_move = 0;
    for (uint32_t i = space->nodes[from].next; i != to; i = space->nodes[i].next) {
        const struct extent_node *node = &space->nodes[i];
        if (node_is_hole(node))
            continue;
        uint64_t place = node_align_up(node, end);
        *n_to_move += place < node->offset ? node_length(node) : 0;
        end = place + node_length(node);
    }
    return node_end(&space->nodes[to]) - end;
}

/* Leaves out of a window that yields `wanted` what it does not need for that, from below. */
static void shorten(const struct quire_extent_space *space, struct window *window, uint64_t wanted)
{
    while (window->from != window->to) {
        uint32_t next = space->nodes[window->from].next;
        uint64_t sum = window->sum - node_length(&space->nodes[window->from]), n_to_move;
        while (!node_is_hole(&space->nodes[next]))
            next = space->nodes[next].next;
        if (sum < wanted || window_yield(space, next, window->to, &n_to_move) < wanted)
            return;
        window->from = next;
        window->sum = sum;
        window->n_to_move = n_to_move;
    }
}

/*
 * The window that yields `wanted` for the least that has to be moved; from = 0: there is none. A
 * window moves all that a window within it moves, and yields no less than one that begins higher
 * and ends where it does. So for each end the highest beginning that will do is the best.
 */
static struct window cheapest_window(const struct quire_extent_space *space, uint64_t wanted)
{
    struct window best = {0, 0, 0, UINT64_MAX}, window = {0, 0, 0, 0};
    for (uint32_t i = space->nodes[0].next; i != 0; i = space->nodes[i].next) {
        const struct extent_node *node = &space->nodes[i];
        if (is_fixed(node))
            window = (struct window){0, 0, 0, 0};
        if (!node_is_hole(node))
            continue;
        window.from = window.from != 0 ? window.from : i;
        window.to = i;
        window.sum += node_length(node);
        if (window.sum < wanted || window_yield(space, window.from, i, &window.n_to_move) < wanted)
            continue;
        shorten(space, &window, wanted);
        if (window.n_to_move < best.n_to_move)
            best = window;
    }
    return best;
}

static int compact_for(struct quire_extent_space *space, struct quire_extent_compaction *compaction)
{
    if (index_longest(space) >= compaction->wanted)
        return 0;
    struct window window = cheapest_window(space, compaction->wanted);
    if (window.from == 0)
        return -ENOMEM;
    /* The last node to slide is known before: sliding changes holes only. */
    uint32_t index = space->nodes[window.from].next, last = space->nodes[window.to].prev;
    for (bool more = true; more;) {
        more = index != last;
        uint32_t next = space->nodes[index].next;
        while (more && node_is_hole(&space->nodes[next]))
            next = space->nodes[next].next;
        int result = slide(space, index, compaction);
        if (result < 0)
            return index_longest(space) >= compaction->wanted && result == -EAGAIN ? 0 : result;
        index = next;
    }
    return 0;
}

int quire_extent_compact(struct quire_extent_space *space,
                         struct quire_extent_compaction *compaction)
{
    compaction->n_moved = 0;
    compaction->n_extents_moved = 0;
    return compaction->wanted == 0 ? compact_all(space, compaction)
                                   : compact_for(space, compaction);
}

/* Compaction of all, without doing it. */
static void trial(const struct quire_extent_space *space, struct quire_extent_advice *advice)
{
    uint64_t end = 0, longest = 0, gap;
    for (uint32_t i = space->nodes[0].next; i != 0; i = space->nodes[i].next) {
        const struct extent_node *node = &space->nodes[i];
        if (node_is_hole(node))
            continue;
        uint64_t to = is_fixed(node) ? node->offset : node_align_up(node, end);
        advice->n_to_move += to < node->offset ? node_length(node) : 0;
        gap = to - end;
        longest = gap > longest ? gap : longest;
        end = to + node_length(node);
    }
    gap = space->length - end;
    advice->largest_after = gap > longest ? gap : longest;
}

void quire_extent_advise(const struct quire_extent_space *space, uint64_t wanted,
                         struct quire_extent_advice *advice)
{
    struct quire_extent_stats stats;
    quire_extent_stats(space, &stats);
    *advice = (struct quire_extent_advice){.largest = stats.largest};
    if (wanted == 0) {
        trial(space, advice);
        uint64_t gain = advice->largest_after > stats.largest
                            ? advice->largest_after - stats.largest
                            : 0;
        advice->pays = quire_extent_fragmentation(&stats) >= 0.5 && gain >= advice->n_to_move;
        return;
    }
    advice->largest_after = stats.largest;
    if (stats.largest >= wanted)
        return;
    struct window window = cheapest_window(space, wanted);
    if (window.from == 0)
        return;
    advice->pays = true;
    advice->largest_after = window_yield(space, window.from, window.to, &advice->n_to_move);
}
