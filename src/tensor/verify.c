/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verify: checks of problems and of anybody's placements. Shares no code with the searches.
 *
 *     offset   ^   | b |          Sweep over time. A balanced tree (a treap) has the live pieces in
 *              |   +---+          the order of (space, offset). One that begins may not reach into
 *     sweep ---|-> | a | new?     the next above it, nor the next below it into it: the live ones
 *              |   +---+          don't overlap, so these two are the only candidates.
 *
 * Where each begins behind the one before, in the order of the problem, nobody meets anybody, and
 * that is all.
 *
 * Members of a group are checked apart: sorted by (space, offset), neighbours may not overlap. A
 * buffer of 0 bytes meets nobody.
 *
 * Invariant: the live pieces in the tree do not overlap, or a fault has been found.
 *
 * Fails with -ENOMEM only.
 */
#include "base/checked.h"
#include <quire/tensor.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

const char *quire_tensor_fault_text(enum quire_tensor_fault_kind kind)
{
    static const char *const texts[] = {
        [QUIRE_TENSOR_SOUND] = "sound",
        [QUIRE_TENSOR_BAD_LIFETIME] = "its lifetime does not end after it begins",
        [QUIRE_TENSOR_BAD_GAP] = "its gaps are empty, out of order or not within its lifetime",
        [QUIRE_TENSOR_BAD_SPACE] = "there is no such space, or it may not lie there",
        [QUIRE_TENSOR_TOO_LARGE] = "sizes, alignments or offsets are too large",
        [QUIRE_TENSOR_TOO_MANY] = "there are too many buffers, gaps or spaces",
        [QUIRE_TENSOR_MISALIGNED] = "its offset is no multiple of its alignment",
        [QUIRE_TENSOR_OVERLAP] = "two share memory while both are in use",
        [QUIRE_TENSOR_OVER_CAPACITY] = "it ends beyond the capacity",
        [QUIRE_TENSOR_MOVED] = "it does not lie at its fixed offset",
    };
    return (unsigned)kind < sizeof texts / sizeof texts[0] ? texts[kind] : "unknown";
}

static int fail(struct quire_tensor_fault *fault, enum quire_tensor_fault_kind kind, size_t first,
                size_t second)
{
    if (fault != NULL)
        *fault = (struct quire_tensor_fault){kind, first, second};
    return kind == QUIRE_TENSOR_SOUND ? 0 : -EINVAL;
}

/* The problem */

#define MAX_PIECES ((uint64_t)1 << 30) /* whatever counts them has 32 bits */

static enum quire_tensor_fault_kind check_gaps(const struct quire_tensor_buffer *buffer)
{
    int64_t end = buffer->lower;
    bool has_life = false;

    if (buffer->lower >= buffer->upper)
        return QUIRE_TENSOR_BAD_LIFETIME;
    if (buffer->n_gaps > 0 && buffer->gaps == NULL)
        return QUIRE_TENSOR_BAD_GAP;
    for (uint32_t g = 0; g < buffer->n_gaps; g++) {
        const struct quire_tensor_gap *gap = &buffer->gaps[g];
        if (gap->lower < end || gap->lower >= gap->upper || gap->upper > buffer->upper)
            return QUIRE_TENSOR_BAD_GAP;
        has_life = has_life || gap->lower > end;
        end = gap->upper;
    }
    return has_life || end < buffer->upper ? QUIRE_TENSOR_SOUND : QUIRE_TENSOR_BAD_GAP;
}

/* Adds what the buffer may need to *sum. */
static bool add_need(const struct quire_tensor_buffer *buffer, uint64_t *sum)
{
    uint64_t end = 0;
    if (buffer->size > QUIRE_TENSOR_MAX_SIZE || buffer->alignment > QUIRE_TENSOR_MAX_SIZE)
        return false;
    if (buffer->is_fixed &&
        (!checked_add(buffer->offset, buffer->size, &end) || end > QUIRE_TENSOR_MAX_SIZE))
        return false;
    *sum += buffer->size + (buffer->alignment > 1 ? buffer->alignment : 0);
    return *sum <= QUIRE_TENSOR_MAX_SIZE;
}

int quire_tensor_check(const struct quire_tensor_problem *problem, struct quire_tensor_fault *fault)
{
    uint32_t n_spaces = problem->n_spaces > 0 ? problem->n_spaces : 1;
    uint32_t known = n_spaces >= 32 ? UINT32_MAX : ((uint32_t)1 << n_spaces) - 1;
    uint64_t sum = 0, n_pieces = problem->n_buffers;

    if (problem->n_buffers > QUIRE_TENSOR_MAX_BUFFERS || n_spaces > QUIRE_TENSOR_MAX_SPACES ||
        (problem->n_spaces > 0 && problem->spaces == NULL))
        return fail(fault, QUIRE_TENSOR_TOO_MANY, 0, 0);
    for (size_t i = 0; i < problem->n_buffers; i++) {
        const struct quire_tensor_buffer *buffer = &problem->buffers[i];
        enum quire_tensor_fault_kind kind = check_gaps(buffer);
        if (kind != QUIRE_TENSOR_SOUND)
            return fail(fault, kind, i, i);
        n_pieces += buffer->n_gaps;
        if (n_pieces > MAX_PIECES)
            return fail(fault, QUIRE_TENSOR_TOO_MANY, i, i);
        if ((buffer->spaces & ~known) != 0)
            return fail(fault, QUIRE_TENSOR_BAD_SPACE, i, i);
        if (!add_need(buffer, &sum))
            return fail(fault, QUIRE_TENSOR_TOO_LARGE, i, i);
        if (buffer->is_fixed && buffer->alignment > 1 && buffer->offset % buffer->alignment != 0)
            return fail(fault, QUIRE_TENSOR_MISALIGNED, i, i);
    }
    return fail(fault, QUIRE_TENSOR_SOUND, 0, 0);
}

/* The placement */

#define NOBODY UINT32_MAX
#define N_DIGITS 256u
#define AHEAD 16u

/* A buffer, or a piece of one that has gaps. */
struct live {
    uint64_t lower, upper; /* bytes */
    uint32_t space, buffer, left, right, priority;
};

struct stamp {
    uint64_t time; /* as a number without a sign */
    uint32_t piece;
};

struct sweep {
    const struct quire_tensor_problem *problem;
    struct live *live;  /* of each buffer */
    struct live *nodes; /* of the tree: of each piece, in the order in which they begin, so that
                           those that live at one time lie side by side */
    uint32_t root;
};

static bool is_before(const struct live *a, const struct live *b)
{
    return a->space != b->space ? a->space < b->space : a->lower < b->lower;
}

static uint32_t *child(struct sweep *sweep, uint32_t node, bool right)
{
    return right ? &sweep->nodes[node].right : &sweep->nodes[node].left;
}

/* Divides a tree: those before `key` into *left, the others into *right. */
static void split(struct sweep *sweep, uint32_t node, const struct live *key, uint32_t *left,
                  uint32_t *right)
{
    while (node != NOBODY) {
        if (is_before(&sweep->nodes[node], key)) {
            *left = node;
            left = child(sweep, node, true);
            node = *left;
        } else {
            *right = node;
            right = child(sweep, node, false);
            node = *right;
        }
    }
    *left = *right = NOBODY;
}

static uint32_t merge(struct sweep *sweep, uint32_t left, uint32_t right)
{
    uint32_t root = NOBODY, *link = &root;
    while (left != NOBODY && right != NOBODY) {
        bool is_left = sweep->nodes[left].priority > sweep->nodes[right].priority;
        *link = is_left ? left : right;
        link = child(sweep, *link, is_left);
        if (is_left)
            left = *link;
        else
            right = *link;
    }
    *link = left != NOBODY ? left : right;
    return root;
}

static bool overlap(const struct live *a, const struct live *b)
{
    return a->space == b->space && a->lower < b->upper && b->lower < a->upper;
}

/* Puts a piece into the tree. Returns one that it overlaps; NOBODY. */
static uint32_t begin(struct sweep *sweep, uint32_t index)
{
    struct live *new = &sweep->nodes[index];
    uint32_t left, right, *link, below, above;

    split(sweep, sweep->root, new, &left, &right);
    for (below = left; below != NOBODY && sweep->nodes[below].right != NOBODY;)
        below = sweep->nodes[below].right;
    for (above = right; above != NOBODY && sweep->nodes[above].left != NOBODY;)
        above = sweep->nodes[above].left;
    new->left = new->right = NOBODY;
    link = &sweep->root;
    *link = merge(sweep, merge(sweep, left, index), right);
    if (below != NOBODY && overlap(&sweep->nodes[below], new))
        return below;
    return above != NOBODY && overlap(&sweep->nodes[above], new) ? above : NOBODY;
}

static void end(struct sweep *sweep, uint32_t index)
{
    const struct live *old = &sweep->nodes[index];
    uint32_t *link = &sweep->root;
    while (*link != index)
        link = child(sweep, *link, is_before(&sweep->nodes[*link], old));
    *link = merge(sweep, old->left, old->right);
}

/* By digits, from the lowest up; those that all have in common cost nothing. `scratch` has room for
 * n. */
static void sort_stamps(struct stamp *stamps, struct stamp *scratch, size_t n)
{
    uint64_t differ = 0;
    for (size_t i = 1; i < n; i++)
        differ |= stamps[i].time ^ stamps[0].time;
    for (unsigned shift = 0; shift < 64; shift += 8) {
        size_t place[N_DIGITS] = {0}, at = 0;
        if ((differ >> shift & (N_DIGITS - 1)) == 0)
            continue;
        for (size_t i = 0; i < n; i++)
            place[stamps[i].time >> shift & (N_DIGITS - 1)]++;
        for (unsigned d = 0; d < N_DIGITS; d++) {
            size_t n_here = place[d];
            place[d] = at;
            at += n_here;
        }
        for (size_t i = 0; i < n; i++)
            scratch[place[stamps[i].time >> shift & (N_DIGITS - 1)]++] = stamps[i];
        memcpy(stamps, scratch, n * sizeof *stamps);
    }
}

static uint64_t without_sign(int64_t time)
{
    return (uint64_t)time ^ (uint64_t)1 << 63;
}

/* The pieces of all buffers: when each begins and ends, numbered by when they begin. `scratch` has
 * as much room as both. Returns their number. */
static uint32_t list_pieces(struct sweep *sweep, struct stamp *begins, struct stamp *ends,
                            struct stamp *scratch)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < sweep->problem->n_buffers; i++) {
        const struct quire_tensor_buffer *buffer = &sweep->problem->buffers[i];
        int64_t from = buffer->lower;
        for (uint32_t g = 0; buffer->size > 0 && g <= buffer->n_gaps; g++) {
            bool is_last = g == buffer->n_gaps;
            int64_t till = is_last ? buffer->upper : buffer->gaps[g].lower;
            if (from < till) {
                begins[n] = (struct stamp){without_sign(from), n};
                ends[n++] = (struct stamp){without_sign(till), i};
            }
            from = is_last ? from : buffer->gaps[g].upper;
        }
    }
    sort_stamps(begins, scratch, n);
    memcpy(scratch, ends, n * sizeof *ends);
    for (uint32_t k = 0; k < n; k++) {
        if (k + 2 * AHEAD < n) { /* they lie anywhere */
            __builtin_prefetch(&scratch[begins[k + 2 * AHEAD].piece]);
            __builtin_prefetch(&sweep->live[scratch[begins[k + AHEAD].piece].piece]);
        }
        const struct stamp *end = &scratch[begins[k].piece];
        sweep->nodes[k] = sweep->live[end->piece];
        ends[k] = (struct stamp){end->time, k};
    }
    sort_stamps(ends, scratch, n);
    return n;
}

/* At one time, ends go first. */
static int run_sweep(struct sweep *sweep, const struct stamp *begins, const struct stamp *ends,
                     uint32_t n, struct quire_tensor_fault *fault)
{
    for (uint32_t k = 0, e = 0; k < n; k++) {
        while (ends[e].time <= begins[k].time)
            end(sweep, ends[e++].piece);
        uint32_t other = begin(sweep, k);
        if (other != NOBODY) {
            fail(fault, QUIRE_TENSOR_OVERLAP, sweep->nodes[other].buffer, sweep->nodes[k].buffer);
            return -EUCLEAN;
        }
    }
    return 0;
}

static int check_times(struct sweep *sweep, struct quire_tensor_fault *fault)
{
    size_t n = 1;
    for (size_t i = 0; i < sweep->problem->n_buffers; i++)
        n += 1 + (size_t)sweep->problem->buffers[i].n_gaps;
    struct stamp *begins = malloc(n * sizeof *begins), *ends = malloc(n * sizeof *ends);
    struct stamp *scratch = malloc(n * sizeof *scratch);
    int error = -ENOMEM;
    sweep->nodes = malloc(n * sizeof *sweep->nodes);
    if (begins != NULL && ends != NULL && scratch != NULL && sweep->nodes != NULL && n < NOBODY)
        error = run_sweep(sweep, begins, ends, list_pieces(sweep, begins, ends, scratch), fault);
    free(begins);
    free(ends);
    free(scratch);
    free(sweep->nodes);
    return error;
}

static bool are_in_a_row(const struct sweep *sweep)
{
    uint64_t ends[QUIRE_TENSOR_MAX_SPACES] = {0};
    for (size_t i = 0; i < sweep->problem->n_buffers; i++) {
        const struct live *live = &sweep->live[i];
        if (live->lower == live->upper)
            continue;
        if (live->lower < ends[live->space])
            return false;
        ends[live->space] = live->upper;
    }
    return true;
}

struct member {
    uint64_t lower, upper;
    uint32_t group, space, buffer;
};

static int compare_members(const void *a, const void *b)
{
    const struct member *x = a, *y = b;
    if (x->group != y->group)
        return x->group < y->group ? -1 : 1;
    if (x->space != y->space)
        return x->space < y->space ? -1 : 1;
    if (x->lower != y->lower)
        return x->lower < y->lower ? -1 : 1;
    return x->buffer < y->buffer ? -1 : x->buffer > y->buffer;
}

static int check_groups(const struct sweep *sweep, struct quire_tensor_fault *fault)
{
    const struct quire_tensor_problem *problem = sweep->problem;
    struct member *members = malloc((problem->n_buffers + 1) * sizeof *members);
    size_t n = 0;
    int error = 0;

    if (members == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < problem->n_buffers; i++) {
        const struct live *live = &sweep->live[i];
        if (problem->buffers[i].group != 0 && problem->buffers[i].size > 0)
            members[n++] = (struct member){live->lower, live->upper, problem->buffers[i].group,
                                           live->space, i};
    }
    qsort(members, n, sizeof *members, compare_members);
    for (size_t k = 1; k < n && error == 0; k++) {
        const struct member *a = &members[k - 1], *b = &members[k];
        if (a->group == b->group && a->space == b->space && b->lower < a->upper) {
            fail(fault, QUIRE_TENSOR_OVERLAP, a->buffer, b->buffer);
            error = -EUCLEAN;
        }
    }
    free(members);
    return error;
}

/* What can be said of a buffer alone. */
static enum quire_tensor_fault_kind check_one(const struct quire_tensor_problem *problem, size_t i,
                                              uint64_t offset, uint32_t space, uint64_t capacity,
                                              uint64_t min_alignment)
{
    const struct quire_tensor_buffer *buffer = &problem->buffers[i];
    uint32_t n_spaces = problem->n_spaces > 0 ? problem->n_spaces : 1, allowed = buffer->spaces;
    uint64_t end;

    if (space >= n_spaces || (allowed != QUIRE_TENSOR_ANY_SPACE && (allowed >> space & 1) == 0))
        return QUIRE_TENSOR_BAD_SPACE;
    if (!checked_add(offset, buffer->size, &end))
        return QUIRE_TENSOR_TOO_LARGE;
    if (problem->n_spaces > 0 && problem->spaces[space].capacity != 0)
        capacity = problem->spaces[space].capacity;
    if (buffer->is_fixed && offset != buffer->offset)
        return QUIRE_TENSOR_MOVED;
    if (buffer->size > 0 && ((buffer->alignment > 1 && offset % buffer->alignment != 0) ||
                             (min_alignment > 1 && offset % min_alignment != 0)))
        return QUIRE_TENSOR_MISALIGNED;
    return capacity != 0 && buffer->size > 0 && end > capacity ? QUIRE_TENSOR_OVER_CAPACITY
                                                               : QUIRE_TENSOR_SOUND;
}

int quire_tensor_verify(const struct quire_tensor_problem *problem, const uint64_t *offsets,
                        const uint32_t *spaces, uint64_t capacity, uint64_t min_alignment,
                        uint64_t *peak, struct quire_tensor_fault *fault)
{
    uint64_t peaks[QUIRE_TENSOR_MAX_SPACES] = {0}, priority = 88172645463325252u;
    int error = quire_tensor_check(problem, fault);
    if (error != 0)
        return error;
    struct sweep sweep = {.problem = problem,
                          .live = malloc((problem->n_buffers + 1) * sizeof *sweep.live),
                          .root = NOBODY};
    if (sweep.live == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < problem->n_buffers && error == 0; i++) {
        uint32_t space = spaces != NULL ? spaces[i] : 0;
        enum quire_tensor_fault_kind kind = check_one(problem, i, offsets[i], space, capacity,
                                                      min_alignment);
        if (kind != QUIRE_TENSOR_SOUND) {
            fail(fault, kind, i, i);
            error = -EUCLEAN;
            break;
        }
        priority ^= priority << 13;
        priority ^= priority >> 7;
        priority ^= priority << 17;
        uint64_t upper = offsets[i] + problem->buffers[i].size;
        sweep.live[i] = (struct live){
            offsets[i], upper, space, (uint32_t)i, NOBODY, NOBODY, (uint32_t)(priority >> 32)};
        if (problem->buffers[i].size > 0 && upper > peaks[space])
            peaks[space] = upper;
    }
    bool is_row = error == 0 && are_in_a_row(&sweep);
    if (error == 0 && !is_row)
        error = check_times(&sweep, fault);
    if (error == 0 && !is_row)
        error = check_groups(&sweep, fault);
    free(sweep.live);
    for (unsigned s = 0; error == 0 && peak != NULL && s < QUIRE_TENSOR_MAX_SPACES; s++)
        *peak = (s == 0 ? 0 : *peak) + peaks[s];
    return error;
}
