/* SPDX-License-Identifier: Apache-2.0 */
/*
 * instance: makes items and sections of buffers, and finds who meets whom.
 *
 *     buffers --pieces--> [lower, upper) of times --sweep--> [lower, upper) of sections
 *                                                 --sort---> items
 *
 * The sweep goes over the starts and the ends of the pieces, both sorted. A section ends at the
 * first end after a start; a piece covers the sections from the one that is open when it starts to
 * the one that closes when it ends.
 *
 * Who meets an item: the items that start before its hull ends and end after it starts. The first
 * condition is a prefix of the items, the second is looked up in `reach`, a tree of sixteens.
 *
 * Invariants
 *   1. Items ascend by lower; then upper, size, alignment, fixed offset, index in the problem.
 *   2. Two items meet in time or are of one group if and only if they share a section.
 *   3. need[s] is the sum of the sizes of the items that cover section s.
 *
 * Of a million buffers this takes a part of a second, and so do the first placement and its check.
 * A time limit that won't hold is seen early: after each piece of work it is reckoned how long all
 * of it will take.
 *
 * Fails with -ENOMEM and -ETIME.
 */
#include "tensor/instance.h"
#include "base/checked.h"
#include "tensor/sort.h"
#include "tensor/work.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_LISTED_PAIRS 6000000u /* 48 MB of neighbours */
#define FAN 16u
#define CUT_PERCENT 20u   /* of the time that an instance takes, at most, when pieces are cut, */
#define SWEPT_PERCENT 60u /* and when they are swept */

/* What is needed while it is made. */
struct making {
    struct tensor_instance *instance;
    const struct quire_tensor_problem *problem;
    const uint32_t *chosen; /* those with a size */
    uint32_t n, n_pieces;
    uint32_t *owner;      /* of each piece: the position in `chosen` */
    int64_t *from, *till; /* of each piece, times */
    struct tensor_piece *pieces;
    uint32_t *first; /* n + 1: the pieces of each */
    struct tensor_key *keys, *scratch;
    const struct tensor_limits *limits;
    uint64_t start_ns;
};

/* With `percent` of the instance made: what is still to come will end behind the deadline. */
static bool is_hopeless(const struct making *making, uint64_t percent)
{
    if (making->limits == NULL || making->limits->deadline_ns == UINT64_MAX)
        return false;
    uint64_t took_ns = tensor_now_ns() - making->start_ns, all_ns = took_ns * 100 / percent;
    return tensor_is_late(making->limits,
                          all_ns - took_ns + TENSOR_FIRST_NS(all_ns) + TENSOR_CHECK_NS(all_ns));
}

static const struct quire_tensor_buffer *buffer_of(const struct making *making, uint32_t i)
{
    return &making->problem->buffers[making->chosen[i]];
}

static uint64_t sortable(int64_t time)
{
    return (uint64_t)time ^ (uint64_t)1 << 63;
}

static bool make_room(struct making *making)
{
    size_t n = making->n_pieces + 1, n_keys = n > making->n ? n : making->n + 1;
    making->owner = malloc(n * sizeof *making->owner);
    making->from = malloc(n * sizeof *making->from);
    making->till = malloc(n * sizeof *making->till);
    making->pieces = malloc((n + making->n) * sizeof *making->pieces);
    making->first = malloc((making->n + 1) * sizeof *making->first);
    making->keys = malloc(2 * n_keys * sizeof *making->keys);
    making->scratch = malloc(n_keys * sizeof *making->scratch);
    return making->owner && making->from && making->till && making->pieces && making->first &&
           making->keys && making->scratch;
}

static void drop_room(struct making *making)
{
    free(making->owner);
    free(making->from);
    free(making->till);
    free(making->pieces);
    free(making->first);
    free(making->keys);
    free(making->scratch);
}

/* The times at which each buffer lives. */
static void cut_at_gaps(struct making *making)
{
    uint32_t k = 0;
    for (uint32_t i = 0; i < making->n; i++) {
        const struct quire_tensor_buffer *buffer = buffer_of(making, i);
        int64_t from = buffer->lower;
        making->first[i] = k;
        for (uint32_t g = 0; g <= buffer->n_gaps; g++) {
            int64_t till = g < buffer->n_gaps ? buffer->gaps[g].lower : buffer->upper;
            if (from < till) {
                making->owner[k] = i;
                making->from[k] = from;
                making->till[k++] = till;
            }
            from = g < buffer->n_gaps ? buffer->gaps[g].upper : from;
        }
    }
    making->first[making->n] = making->n_pieces = k;
}

/* Times into sections. Returns their number. */
static uint32_t sweep(struct making *making)
{
    uint32_t n = making->n_pieces, open = 0, section = 0;
    struct tensor_key *starts = making->keys, *ends = making->keys + n;
    uint64_t live = 0, n_pairs = 0;

    for (uint32_t k = 0; k < n; k++) {
        starts[k] = (struct tensor_key){sortable(making->from[k]), k};
        ends[k] = (struct tensor_key){sortable(making->till[k]), k};
    }
    tensor_sort(starts, making->scratch, n);
    tensor_sort(ends, making->scratch, n);
    for (uint32_t s = 0, e = 0; e < n;) {
        if (s < n && starts[s].key < ends[e].key) {
            making->pieces[starts[s++].value].lower = section;
            open = 1;
            n_pairs += live++;
            continue;
        }
        section += open; /* it closes */
        open = 0;
        making->pieces[ends[e++].value].upper = section;
        live--;
    }
    making->instance->n_pairs = n_pairs;
    return section;
}

/* Appends a piece for each member of a group of two or more. Returns the number of sections. */
static uint32_t add_groups(struct making *making, uint32_t n_sections,
                           struct tensor_piece *group_of)
{
    uint32_t n_members = 0;
    for (uint32_t i = 0; i < making->n; i++) {
        group_of[i] = (struct tensor_piece){0, 0};
        if (buffer_of(making, i)->group != 0)
            making->keys[n_members++] = (struct tensor_key){buffer_of(making, i)->group, i};
    }
    tensor_sort(making->keys, making->scratch, n_members);
    for (uint32_t k = 0, end; k < n_members; k = end) {
        for (end = k; end < n_members && making->keys[end].key == making->keys[k].key; end++)
            group_of[making->keys[end].value] = (struct tensor_piece){n_sections, n_sections + 1};
        making->instance->n_pairs += (uint64_t)(end - k) * (end - k - 1) / 2;
        n_sections++;
    }
    return n_sections;
}

static uint64_t greatest_common_divisor(uint64_t a, uint64_t b)
{
    while (b != 0) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

uint64_t tensor_common_alignment(uint64_t a, uint64_t b)
{
    uint64_t multiple;
    if (a <= 1 || b <= 1)
        return a > 1 ? a : b > 1 ? b : 1;
    return checked_mul(a / greatest_common_divisor(a, b), b, &multiple) ? multiple : UINT64_MAX;
}

static struct tensor_item make_item(const struct making *making, uint32_t i,
                                    struct tensor_piece group, uint64_t min_alignment)
{
    const struct quire_tensor_buffer *buffer = buffer_of(making, i);
    uint64_t alignment = tensor_common_alignment(buffer->alignment, min_alignment);
    return (struct tensor_item){
        .size = buffer->size,
        .alignment = alignment,
        .fixed = buffer->is_fixed ? buffer->offset : TENSOR_NOWHERE,
        .start = buffer->lower,
        .duration = (uint64_t)buffer->upper - (uint64_t)buffer->lower,
        .lower = making->pieces[making->first[i]].lower,
        .upper = group.upper != 0 ? group.upper : making->pieces[making->first[i + 1] - 1].upper};
}

static uint64_t sort_key(const struct tensor_item *item, unsigned pass)
{
    switch (pass) {
    case 0:
        return item->fixed;
    case 1:
        return item->alignment;
    case 2:
        return item->size;
    default:
        return (uint64_t)item->lower << 32 | item->upper;
    }
}

static bool differ_in(const struct making *making, const struct tensor_item *items, unsigned pass)
{
    uint64_t differ = 0;
    for (uint32_t i = 1; i < making->n; i++)
        differ |= sort_key(&items[i], pass) ^ sort_key(&items[0], pass);
    return differ != 0;
}

/* Invariant 1. `items` is in the order of `chosen`. */
static void sort_items(struct making *making, const struct tensor_item *items)
{
    for (uint32_t i = 0; i < making->n; i++)
        making->keys[i].value = i;
    for (unsigned pass = 0; pass < 4; pass++) {
        if (!differ_in(making, items, pass))
            continue;
        for (uint32_t i = 0; i < making->n; i++)
            making->keys[i].key = sort_key(&items[making->keys[i].value], pass);
        tensor_sort(making->keys, making->scratch, making->n);
    }
}

static int fill_pieces(struct making *making, const struct tensor_piece *group_of)
{
    struct tensor_instance *instance = making->instance;
    bool is_plain = making->n_pieces == making->n;
    for (uint32_t i = 0; is_plain && i < making->n; i++)
        is_plain = group_of[i].upper == 0;
    if (is_plain)
        return 0;
    instance->first_piece = malloc((making->n + 1) * sizeof *instance->first_piece);
    instance->pieces = malloc((making->n_pieces + making->n) * sizeof *instance->pieces);
    if (instance->first_piece == NULL || instance->pieces == NULL)
        return -ENOMEM;
    uint32_t n = 0;
    for (uint32_t i = 0; i < making->n; i++) {
        uint32_t from = making->keys[i].value;
        instance->first_piece[i] = n;
        for (uint32_t k = making->first[from]; k < making->first[from + 1]; k++)
            instance->pieces[n++] = making->pieces[k];
        if (group_of[from].upper != 0)
            instance->pieces[n++] = group_of[from];
    }
    instance->first_piece[making->n] = n;
    return 0;
}

static int fill(struct making *making, uint64_t min_alignment)
{
    struct tensor_instance *instance = making->instance;
    struct tensor_piece *group_of = malloc((making->n + 1) * sizeof *group_of);
    struct tensor_item *items = malloc((making->n + 1) * sizeof *items);
    int error = -ENOMEM;

    if (group_of != NULL && items != NULL)
        instance->n_sections = add_groups(making, sweep(making), group_of);
    if (group_of != NULL && items != NULL && is_hopeless(making, SWEPT_PERCENT)) {
        error = -ETIME;
    } else if (group_of != NULL && items != NULL) {
        for (uint32_t i = 0; i < making->n; i++)
            items[i] = make_item(making, i, group_of[i], min_alignment);
        sort_items(making, items);
        for (uint32_t i = 0; i < making->n; i++) {
            instance->items[i] = items[making->keys[i].value];
            instance->origin[i] = making->chosen[making->keys[i].value];
        }
        error = fill_pieces(making, group_of);
    }
    free(group_of);
    free(items);
    return error;
}

/* The tree of sixteens. */
static int build_reach(struct tensor_instance *instance)
{
    uint32_t n = instance->n_items;
    while (n > FAN && instance->n_levels < TENSOR_MAX_LEVELS) {
        uint32_t n_above = (n + FAN - 1) / FAN;
        uint32_t *above = calloc(n_above, sizeof *above);
        if (above == NULL)
            return -ENOMEM;
        for (uint32_t i = 0; i < n; i++) {
            uint32_t upper = instance->n_levels == 0 ? instance->items[i].upper
                                                     : instance->reach[instance->n_levels - 1][i];
            if (upper > above[i / FAN])
                above[i / FAN] = upper;
        }
        instance->reach[instance->n_levels++] = above;
        n = n_above;
    }
    return 0;
}

/* need[] of sizes rounded up to `unit`; the highest. `steps` has n_sections + 1 elements. */
static uint64_t add_up(const struct tensor_instance *instance, uint64_t unit, uint64_t *steps)
{
    struct tensor_piece single;
    const struct tensor_piece *pieces;
    uint64_t highest = 0;

    memset(steps, 0, (instance->n_sections + 1) * sizeof *steps);
    for (uint32_t i = 0; i < instance->n_items; i++) {
        uint64_t size = tensor_align_up(instance->items[i].size, unit);
        uint32_t n = tensor_pieces(instance, i, &single, &pieces);
        for (uint32_t k = 0; k < n; k++) {
            steps[pieces[k].lower] += size;
            steps[pieces[k].upper] -= size; /* modulo 2^64 */
        }
    }
    for (uint32_t s = 1; s < instance->n_sections; s++)
        steps[s] += steps[s - 1];
    for (uint32_t s = 0; s < instance->n_sections; s++)
        highest = steps[s] > highest ? steps[s] : highest;
    return highest;
}

static uint64_t rest_of(const struct tensor_item *item, uint64_t unit)
{
    return tensor_align_up(item->size, unit) - item->size;
}

/* The first section from `section` on that has no slack yet. */
static uint32_t next_bare(uint32_t *next, uint32_t section)
{
    while (next[section] != section)
        section = next[section] = next[next[section]];
    return section;
}

/*
 * Takes from steps[], the rounded sizes that live at each section, what the topmost item may do
 * without: the largest rest of those that live there. The largest first, each section once.
 */
static int take_slack(const struct tensor_instance *instance, uint64_t unit, uint64_t *steps)
{
    uint32_t n = 0, *next = malloc(((size_t)instance->n_sections + 1) * sizeof *next);
    struct tensor_key *keys = malloc(((size_t)instance->n_items + 1) * sizeof *keys);
    struct tensor_key *scratch = malloc(((size_t)instance->n_items + 1) * sizeof *scratch);
    int error = next == NULL || keys == NULL || scratch == NULL ? -ENOMEM : 0;

    for (uint32_t i = 0; error == 0 && i < instance->n_items; i++) {
        uint64_t rest = rest_of(&instance->items[i], unit);
        if (rest > 0)
            keys[n++] = (struct tensor_key){rest, i};
    }
    if (error == 0 && n > 0) {
        tensor_sort(keys, scratch, n);
        for (uint32_t s = 0; s <= instance->n_sections; s++)
            next[s] = s;
    }
    for (; error == 0 && n > 0; n--) {
        struct tensor_piece single;
        const struct tensor_piece *pieces;
        uint32_t n_pieces = tensor_pieces(instance, keys[n - 1].value, &single, &pieces);
        for (uint32_t k = 0; k < n_pieces; k++) {
            for (uint32_t s = next_bare(next, pieces[k].lower); s < pieces[k].upper;
                 s = next_bare(next, s)) {
                steps[s] -= keys[n - 1].key;
                next[s] = s + 1;
            }
        }
    }
    free(next);
    free(keys);
    free(scratch);
    return error;
}

/*
 * Every offset is a multiple of the alignments' common divisor, so all but the topmost item of a
 * section take up their rounded sizes.
 */
static int find_bound(struct tensor_instance *instance)
{
    uint64_t unit = 0;
    int error = 0;
    uint64_t *steps = malloc((instance->n_sections + 1) * sizeof *steps);

    instance->need = malloc((instance->n_sections + 1) * sizeof *instance->need);
    if (steps == NULL || instance->need == NULL) {
        free(steps);
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < instance->n_items; i++)
        unit = greatest_common_divisor(unit, instance->items[i].alignment);
    instance->bound = instance->load = add_up(instance, 1, instance->need);
    for (uint32_t i = 0; i < instance->n_items; i++) {
        const struct tensor_item *item = &instance->items[i];
        instance->unit = greatest_common_divisor(instance->unit, item->size);
        if (item->alignment > 1)
            instance->unit = greatest_common_divisor(instance->unit, item->alignment);
        if (item->fixed != TENSOR_NOWHERE)
            instance->unit = greatest_common_divisor(instance->unit, item->fixed);
        if (item->fixed != TENSOR_NOWHERE && item->fixed + item->size > instance->bound)
            instance->bound = item->fixed + item->size;
    }
    if (unit > 1) {
        add_up(instance, unit, steps);
        error = take_slack(instance, unit, steps);
        for (uint32_t s = 0; error == 0 && s < instance->n_sections; s++)
            instance->bound = steps[s] > instance->bound ? steps[s] : instance->bound;
    }
    free(steps);
    return error;
}

int tensor_instance_init(struct tensor_instance *instance,
                         const struct quire_tensor_problem *problem, const uint32_t *chosen,
                         size_t n_chosen, uint64_t min_alignment,
                         const struct tensor_limits *limits)
{
    struct making making = {.instance = instance,
                            .problem = problem,
                            .limits = limits,
                            .start_ns = limits == NULL ? 0 : tensor_now_ns()};
    uint32_t *sized = malloc((n_chosen + 1) * sizeof *sized);
    int error = -ENOMEM;

    *instance = (struct tensor_instance){0};
    if (sized == NULL)
        return error;
    for (size_t i = 0; i < n_chosen; i++) {
        if (problem->buffers[chosen[i]].size == 0)
            continue;
        sized[making.n++] = chosen[i];
        making.n_pieces += 1 + problem->buffers[chosen[i]].n_gaps;
    }
    making.chosen = sized;
    instance->n_items = making.n;
    instance->items = malloc((making.n + 1) * sizeof *instance->items);
    instance->origin = malloc((making.n + 1) * sizeof *instance->origin);
    if (instance->items != NULL && instance->origin != NULL && make_room(&making)) {
        cut_at_gaps(&making);
        error = is_hopeless(&making, CUT_PERCENT) ? -ETIME : fill(&making, min_alignment);
    }
    drop_room(&making);
    free(sized);
    if (error == 0)
        error = build_reach(instance);
    if (error == 0)
        error = find_bound(instance);
    if (error == 0 && is_hopeless(&making, 100))
        error = -ETIME;
    if (error != 0)
        tensor_instance_deinit(instance);
    return error;
}

void tensor_instance_deinit(struct tensor_instance *instance)
{
    free(instance->items);
    free(instance->origin);
    free(instance->first_piece);
    free(instance->pieces);
    free(instance->need);
    for (unsigned i = 0; i < instance->n_levels; i++)
        free(instance->reach[i]);
    free(instance->first_neighbour);
    free(instance->neighbours);
    *instance = (struct tensor_instance){0};
}

bool tensor_pieces_meet(const struct tensor_instance *instance, uint32_t a, uint32_t b)
{
    struct tensor_piece single_a, single_b;
    const struct tensor_piece *of_a, *of_b;
    uint32_t n_a = tensor_pieces(instance, a, &single_a, &of_a);
    uint32_t n_b = tensor_pieces(instance, b, &single_b, &of_b);

    for (uint32_t i = 0, k = 0; i < n_a && k < n_b;) {
        if (of_a[i].upper <= of_b[k].lower)
            i++;
        else if (of_b[k].upper <= of_a[i].lower)
            k++;
        else
            return true;
    }
    return false;
}

/* The first item whose lower is not below `section`. */
static uint32_t first_from(const struct tensor_instance *instance, uint32_t section)
{
    uint32_t low = 0, high = instance->n_items;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (instance->items[middle].lower < section)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Those of items i*FAN^level and so on, below `end`, that reach beyond `lower`. */
static uint32_t descend(const struct tensor_instance *instance, unsigned level, uint32_t index,
                        uint32_t end, uint32_t lower, uint32_t *found, uint32_t n)
{
    uint32_t width = 1;
    for (unsigned i = 1; i < level; i++)
        width *= FAN;
    for (uint32_t k = index * FAN; k < (index + 1) * FAN && (uint64_t)k * width < end; k++) {
        if (level == 1) {
            found[n] = k;
            n += instance->items[k].upper > lower;
        } else if (instance->reach[level - 2][k] > lower) {
            n = descend(instance, level - 1, k, end, lower, found, n);
        }
    }
    return n;
}

static uint32_t look(const struct tensor_instance *instance, uint32_t item, uint32_t *found)
{
    uint32_t lower = instance->items[item].lower, n = 0, kept = 0;
    uint32_t end = first_from(instance, instance->items[item].upper);
    uint64_t width = 1;
    for (unsigned i = 0; i <= instance->n_levels; i++)
        width *= FAN;
    for (uint32_t i = 0; i * width < end; i++)
        n = descend(instance, instance->n_levels + 1, i, end, lower, found, n);
    for (uint32_t k = 0; k < n; k++) {
        found[kept] = found[k];
        kept += found[k] != item &&
                (instance->first_piece == NULL || tensor_pieces_meet(instance, item, found[k]));
    }
    return kept;
}

int tensor_instance_list_neighbours(struct tensor_instance *instance)
{
    uint32_t n = 0;
    if (instance->n_pairs > MAX_LISTED_PAIRS || instance->first_neighbour != NULL)
        return 0;
    uint32_t *first = malloc((instance->n_items + 1) * sizeof *first);
    uint32_t *room = malloc((instance->n_items + 1) * sizeof *room);
    uint32_t *all = malloc((2 * instance->n_pairs + 1) * sizeof *all);
    if (first == NULL || room == NULL || all == NULL) {
        free(first);
        free(room);
        free(all);
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < instance->n_items; i++) {
        first[i] = n;
        uint32_t count = look(instance, i, room);
        memcpy(all + n, room, count * sizeof *all);
        n += count;
    }
    first[instance->n_items] = n;
    free(room);
    instance->first_neighbour = first;
    instance->neighbours = all;
    return 0;
}

uint32_t tensor_neighbours(const struct tensor_instance *instance, uint32_t item, uint32_t *room,
                           const uint32_t **list)
{
    if (instance->first_neighbour != NULL) {
        *list = instance->neighbours + instance->first_neighbour[item];
        return instance->first_neighbour[item + 1] - instance->first_neighbour[item];
    }
    *list = room;
    return look(instance, item, room);
}

uint64_t tensor_peak(const struct tensor_instance *instance, const uint64_t *offsets)
{
    uint64_t peak = 0;
    for (uint32_t i = 0; i < instance->n_items; i++) {
        if (offsets[i] == TENSOR_NOWHERE)
            return TENSOR_NOWHERE;
        uint64_t end = offsets[i] + instance->items[i].size;
        peak = end > peak ? end : peak;
    }
    return peak;
}
