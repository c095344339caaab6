/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quick: buffers come and go in the order of time, in a space of <quire/extent.h> that places in
 * constant time (TLSF).
 *
 *     buffers --two sorts--> guests in the order of their starts --> offsets
 *
 *     offset  | groups   one behind the other
 *             | guests   come and go
 *             | fixed
 *
 * Two sorts and one pass: a fraction of what an instance takes. Guests stand in the order of their
 * starts, so those that live at one time lie side by side in memory, whatever the order of the
 * problem. Gaps are not used.
 *
 * Offsets are multiples of a grain, the common multiple of the alignments where that is small; an
 * alignment that does not divide it gets room to be rounded up in.
 */
#include "tensor/quick.h"

#include "tensor/instance.h"
#include "tensor/sort.h"
#include <quire/extent.h>

#include <errno.h>
#include <stdlib.h>

#define MAX_GRAIN 4096u
#define AHEAD 24u /* buffers whose lines are fetched before they are wanted */
/* Of the time that this and its check take: when the starts are sorted, when all is placed, and
 * what it takes to put each behind the one before instead. */
#define SORTED_PERCENT 10u
#define PLACED_PERCENT 45u
#define ROW_PERCENT 20u

struct guest {
    uint64_t size;      /* bytes */
    bool is_whole;      /* it has no gaps: they are in use as long as it lives */
    uint64_t room;      /* bytes that it asks for; 0: it has its place elsewhere */
    uint64_t alignment; /* 1: that of the grain */
    quire_extent extent;
};

struct quick {
    const struct quire_tensor_problem *problem;
    uint64_t min_alignment, grain;
    uint64_t fixed_end;     /* the highest end of what is fixed */
    uint32_t n, n_together; /* guests; at one time, at most */
    bool has_groups;
    struct tensor_key *starts, *ends, *scratch;
    struct guest *guests; /* in the order of starts */
    void *metadata;
    struct quire_extent_space *space;
};

static uint64_t sortable(int64_t time)
{
    return (uint64_t)time ^ (uint64_t)1 << 63;
}

static uint64_t alignment_of(const struct quick *quick, const struct quire_tensor_buffer *buffer)
{
    return tensor_common_alignment(buffer->alignment, quick->min_alignment);
}

/* What is fixed, the grain, and the starts. */
static void look(struct quick *quick, uint64_t *offsets)
{
    uint64_t common = 1;

    for (uint32_t i = 0; i < quick->problem->n_buffers; i++) {
        const struct quire_tensor_buffer *buffer = &quick->problem->buffers[i];
        offsets[i] = buffer->is_fixed ? buffer->offset : 0;
        if (buffer->size == 0)
            continue;
        if (buffer->is_fixed && buffer->offset + buffer->size > quick->fixed_end)
            quick->fixed_end = buffer->offset + buffer->size;
        if (common <= MAX_GRAIN)
            common = tensor_common_alignment(common, alignment_of(quick, buffer));
        quick->has_groups = quick->has_groups || buffer->group != 0;
        quick->starts[quick->n++] = (struct tensor_key){sortable(buffer->lower), i};
    }
    quick->grain = common <= MAX_GRAIN ? common : 1;
}

/* From `starts`, sorted. */
static void list_guests(struct quick *quick)
{
    const struct quire_tensor_buffer *buffers = quick->problem->buffers;

    for (uint32_t k = 0; k < quick->n; k++) {
        if (k + AHEAD < quick->n)
            __builtin_prefetch(&buffers[quick->starts[k + AHEAD].value].upper);
        const struct quire_tensor_buffer *buffer = &buffers[quick->starts[k].value];
        struct guest *guest = &quick->guests[k];
        uint64_t alignment = alignment_of(quick, buffer);
        *guest = (struct guest){
            .size = buffer->size, .is_whole = buffer->n_gaps == 0, .alignment = 1};
        quick->ends[k] = (struct tensor_key){sortable(buffer->upper), k};
        if (buffer->is_fixed || buffer->group != 0)
            continue;
        guest->room = tensor_align_up(buffer->size, quick->grain);
        if (quick->grain % alignment != 0) {
            guest->room += tensor_align_up(alignment - 1, quick->grain);
            guest->alignment = alignment;
        }
    }
    tensor_sort(quick->ends, quick->scratch, quick->n);
}

static uint64_t need(const struct guest *guest)
{
    return guest->is_whole ? guest->size : 0;
}

/* The most that lives at one time: of bytes, which is a bound, and of guests. */
static uint64_t find_load(struct quick *quick)
{
    uint64_t live = 0, most = 0;
    uint32_t n_live = 0, e = 0;

    for (uint32_t k = 0; k < quick->n; k++) {
        for (; quick->ends[e].key <= quick->starts[k].key; e++, n_live--)
            live -= need(&quick->guests[quick->ends[e].value]);
        live += need(&quick->guests[k]);
        most = live > most ? live : most;
        quick->n_together = ++n_live > quick->n_together ? n_live : quick->n_together;
    }
    return most;
}

static int open_space(struct quick *quick)
{
    struct quire_extent_config config = {.length = QUIRE_EXTENT_MAX_LENGTH,
                                         .max_extents = quick->n_together,
                                         .policy = QUIRE_EXTENT_TLSF};
    size_t n_bytes = quire_extent_metadata_bytes(&config);

    if (n_bytes == 0)
        return -EINVAL;
    n_bytes = (n_bytes + QUIRE_EXTENT_ALIGNMENT - 1) / QUIRE_EXTENT_ALIGNMENT *
              QUIRE_EXTENT_ALIGNMENT;
    quick->metadata = aligned_alloc(QUIRE_EXTENT_ALIGNMENT, n_bytes);
    if (quick->metadata == NULL)
        return -ENOMEM;
    return quire_extent_init(&config, quick->metadata, n_bytes, &quick->space);
}

/* Guests come and go. Returns the highest end in *peak. */
static int place_guests(struct quick *quick, uint64_t *offsets, uint64_t *peak)
{
    uint64_t base = tensor_align_up(quick->fixed_end, quick->grain), offset = 0;
    uint32_t e = 0;
    int error = 0;

    *peak = quick->fixed_end;
    for (uint32_t k = 0; k < quick->n && error == 0; k++) {
        struct guest *guest = &quick->guests[k];
        if (k + AHEAD < quick->n)
            __builtin_prefetch(&offsets[quick->starts[k + AHEAD].value], 1);
        for (; error == 0 && quick->ends[e].key <= quick->starts[k].key; e++)
            if (quick->guests[quick->ends[e].value].room != 0)
                error = quire_extent_free(quick->space, quick->guests[quick->ends[e].value].extent);
        if (error != 0 || guest->room == 0)
            continue;
        error = quire_extent_alloc(quick->space, guest->room, 1, &guest->extent, &offset);
        if (error != 0)
            continue;
        offset = tensor_align_up(base + offset, guest->alignment);
        offsets[quick->starts[k].value] = offset;
        if (offset + guest->size > *peak)
            *peak = offset + guest->size;
    }
    return error == -ENOSPC || error == -ENOMEM ? -EINVAL : error; /* the space is too short */
}

static void place_groups(const struct quick *quick, uint64_t *offsets, uint64_t *peak)
{
    for (size_t i = 0; quick->has_groups && i < quick->problem->n_buffers; i++) {
        const struct quire_tensor_buffer *buffer = &quick->problem->buffers[i];
        if (buffer->group == 0 || buffer->is_fixed || buffer->size == 0)
            continue;
        offsets[i] = tensor_align_up(*peak, alignment_of(quick, buffer));
        *peak = offsets[i] + buffer->size;
    }
}

static int run(struct quick *quick, const struct tensor_limits *limits, uint64_t *offsets,
               struct tensor_quick *result)
{
    uint64_t start_ns = tensor_now_ns();

    look(quick, offsets);
    tensor_sort(quick->starts, quick->scratch, quick->n);
    uint64_t took_ns = tensor_now_ns() - start_ns;
    uint64_t go_on_percent = PLACED_PERCENT + ROW_PERCENT - SORTED_PERCENT;
    if (tensor_is_late(limits, took_ns * go_on_percent / SORTED_PERCENT))
        return -ETIME; /* there is no time even to look again */
    list_guests(quick);
    uint64_t load = find_load(quick);
    int error = quick->n == 0 ? 0 : open_space(quick);
    result->peak = quick->fixed_end;
    if (error == 0 && quick->n > 0)
        error = place_guests(quick, offsets, &result->peak);
    if (error == 0)
        place_groups(quick, offsets, &result->peak);
    result->bound = load > quick->fixed_end ? load : quick->fixed_end;
    took_ns = tensor_now_ns() - start_ns;
    if (error == 0 && tensor_is_late(limits, took_ns * (100 - PLACED_PERCENT) / PLACED_PERCENT))
        return -ETIME;
    return error;
}

int tensor_quick_place(const struct quire_tensor_problem *problem, uint64_t min_alignment,
                       const struct tensor_limits *limits, uint64_t *offsets,
                       struct tensor_quick *result)
{
    size_t n = problem->n_buffers + 1;
    struct quick quick = {.problem = problem,
                          .min_alignment = min_alignment,
                          .starts = malloc(n * sizeof *quick.starts),
                          .ends = malloc(n * sizeof *quick.ends),
                          .scratch = malloc(n * sizeof *quick.scratch),
                          .guests = malloc(n * sizeof *quick.guests)};
    int error = -ENOMEM;

    if (quick.starts != NULL && quick.ends != NULL && quick.scratch != NULL && quick.guests != NULL)
        error = run(&quick, limits, offsets, result);
    free(quick.starts);
    free(quick.ends);
    free(quick.scratch);
    free(quick.guests);
    free(quick.metadata);
    return error;
}
