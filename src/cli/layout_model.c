/* SPDX-License-Identifier: Apache-2.0 */
/*
 * layout_model: counts lines and pages, by a model of a first-level cache and of a TLB in front of
 * page tables (quire/tlb.h).
 *
 *     conversion's order, or the target's --touch--> cache: sets of lines, LRU
 *                                               \--> quire_tlb_translate --> walks
 */
#include "cli/layout_model.h"

#include "base/checked.h"
#include "tensor/layout/conversion.h"

#include <quire/tlb.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LINE_SHIFT 6
#define PAGE_SHIFT 12
#define N_SETS 64
#define N_WAYS 8
#define MOST_ELEMENTS ((uint64_t)1 << 20)
#define TABLES_AT ((uint64_t)1 << 40) /* physical */
#define SOURCE_AT ((uint64_t)1 << 32)

struct machine {
    struct quire_image *image;
    struct quire_mmu mmu;
    unsigned char *tables;
    uint64_t tables_bytes, next;
    struct quire_tlb *tlb;
    uint64_t target_at, n_lines;    /* of both sides */
    uint64_t lines[N_SETS][N_WAYS]; /* the last used first; 0: none */
    uint8_t *is_touched;            /* of each line */
    struct layout_walk walk;
};

/* Building */

static uint64_t take_frame(void *context, uint64_t n_bytes)
{
    struct machine *machine = context;
    uint64_t at = machine->next;

    if (n_bytes > machine->tables_bytes - at)
        return 0;
    machine->next += n_bytes;
    return TABLES_AT + at;
}

static void give_frame(void *context, uint64_t address, uint64_t n_bytes)
{
    (void)context;
    (void)address;
    (void)n_bytes;
}

static int make_tables(struct machine *machine, uint64_t n_bytes)
{
    const struct quire_mmu_frames frames = {take_frame, give_frame, machine};
    uint64_t n_pages = n_bytes >> PAGE_SHIFT;

    machine->tables_bytes = (n_pages / 512 + 16) << PAGE_SHIFT;
    machine->tables = calloc(1, machine->tables_bytes);
    if (machine->tables == NULL)
        return -ENOMEM;
    int error = quire_image_new(&machine->image);
    if (error == 0)
        error = quire_image_add_memory(machine->image, TABLES_AT, machine->tables,
                                       machine->tables_bytes, true);
    if (error == 0)
        error = quire_mmu_init_mode(&machine->mmu, machine->image, QUIRE_MMU_X86_48,
                                    take_frame(machine, 1 << PAGE_SHIFT), 0);
    for (uint64_t page = 0; error == 0 && page < n_pages; page++)
        error = quire_mmu_map(&machine->mmu, machine->image, &frames,
                              SOURCE_AT + (page << PAGE_SHIFT), SOURCE_AT + (page << PAGE_SHIFT),
                              PAGE_SHIFT, QUIRE_MMU_ALL);
    return error;
}

static int make_tlb(struct machine *machine)
{
    const struct quire_tlb_config config = {
        .n_arrays = 2,
        .arrays = {{.level = 1, .n_sets = 16, .n_ways = 4},
                   {.level = 2, .n_sets = 128, .n_ways = 12}},
        .replacement = QUIRE_TLB_LRU,
        .n_walk_entries = 32,
    };
    size_t n_bytes = round_up(quire_tlb_bytes(&config), 64);
    void *memory = aligned_alloc(64, n_bytes);

    return memory == NULL ? -ENOMEM : quire_tlb_init(&config, memory, n_bytes, &machine->tlb);
}

static void drop(struct machine *machine)
{
    quire_image_free(machine->image);
    free(machine->tables);
    free(machine->tlb);
    free(machine->is_touched);
    free(machine);
}

static struct machine *make(const struct quire_layout *from, const struct quire_layout *to)
{
    struct machine *machine = calloc(1, sizeof *machine);
    uint64_t from_bytes = round_up(quire_layout_bytes(from), 1 << PAGE_SHIFT);
    uint64_t n_bytes = from_bytes + round_up(quire_layout_bytes(to), 1 << PAGE_SHIFT);

    if (machine == NULL)
        return NULL;
    machine->target_at = SOURCE_AT + from_bytes;
    machine->n_lines = n_bytes >> LINE_SHIFT;
    machine->is_touched = calloc(1, machine->n_lines);
    if (machine->is_touched != NULL && make_tables(machine, n_bytes) == 0 && make_tlb(machine) == 0)
        return machine;
    drop(machine);
    return NULL;
}

/* Touching */

static void touch_line(struct machine *machine, uint64_t line)
{
    uint64_t *set = machine->lines[line % N_SETS];
    struct quire_mmu_answer answer;
    unsigned way = 0;

    while (way < N_WAYS - 1 && set[way] != line)
        way++;
    machine->walk.n_fetched += set[way] != line;
    memmove(set + 1, set, way * sizeof set[0]);
    set[0] = line;
    machine->is_touched[line - (SOURCE_AT >> LINE_SHIFT)] = 1;
    int level = quire_tlb_translate(machine->tlb, &machine->mmu, 0, line << LINE_SHIFT, &answer);
    machine->walk.n_second += level == 2;
    machine->walk.n_walks += level == 0;
}

static void touch(void *context, bool is_target, int64_t at, size_t n_bytes)
{
    struct machine *machine = context;
    uint64_t first = (is_target ? machine->target_at : SOURCE_AT) + (uint64_t)at;

    for (uint64_t line = first >> LINE_SHIFT; line <= (first + n_bytes - 1) >> LINE_SHIFT; line++)
        touch_line(machine, line);
}

static void finish(struct machine *machine, struct layout_walk *walk)
{
    uint64_t in_page = (uint64_t)1 << (PAGE_SHIFT - LINE_SHIFT);

    for (uint64_t line = 0; line < machine->n_lines; line++)
        machine->walk.n_lines += machine->is_touched[line];
    for (uint64_t line = 0; line < machine->n_lines; line += in_page)
        machine->walk.n_pages += memchr(machine->is_touched + line, 1, in_page) != NULL;
    *walk = machine->walk;
    drop(machine);
}

/* Element by element, as the target lies: its dimensions by falling strides, then its blocks. */
struct order {
    uint32_t n;
    int64_t counts[QUIRE_LAYOUT_MAX_DIMS + QUIRE_LAYOUT_MAX_BLOCKS];
    int64_t weights[QUIRE_LAYOUT_MAX_DIMS + QUIRE_LAYOUT_MAX_BLOCKS];
    uint32_t dims[QUIRE_LAYOUT_MAX_DIMS + QUIRE_LAYOUT_MAX_BLOCKS];
};

static void find_order(const struct quire_layout *to, struct order *order)
{
    bool is_done[QUIRE_LAYOUT_MAX_DIMS] = {false};

    order->n = 0;
    for (uint32_t i = 0; i < to->n_dims; i++) {
        uint32_t most = to->n_dims;
        for (uint32_t d = 0; d < to->n_dims; d++)
            if (!is_done[d] && (most == to->n_dims || to->strides[d] > to->strides[most]))
                most = d;
        is_done[most] = true;
        int64_t block = quire_layout_block_size(to, most);
        order->counts[order->n] = (to->dims[most] + block - 1) / block;
        order->weights[order->n] = block;
        order->dims[order->n++] = most;
    }
    for (uint32_t i = 0; i < to->n_blocks; i++) {
        int64_t below = 1;
        for (uint32_t k = i + 1; k < to->n_blocks; k++)
            below *= to->blocks[k].dim == to->blocks[i].dim ? to->blocks[k].size : 1;
        order->counts[order->n] = to->blocks[i].size;
        order->weights[order->n] = below;
        order->dims[order->n++] = to->blocks[i].dim;
    }
}

static void touch_plainly(struct machine *machine, const struct quire_layout *from,
                          const struct quire_layout *to)
{
    int64_t digits[QUIRE_LAYOUT_MAX_DIMS + QUIRE_LAYOUT_MAX_BLOCKS] = {0};
    int64_t n_bytes = (int64_t)quire_layout_type_bytes(from->type);
    struct order order;

    find_order(to, &order);
    for (uint32_t k = 0; k < order.n;) {
        int64_t index[QUIRE_LAYOUT_MAX_DIMS] = {0};
        bool is_element = true;
        for (uint32_t i = 0; i < order.n; i++)
            index[order.dims[i]] += digits[i] * order.weights[i];
        for (uint32_t d = 0; d < to->n_dims; d++)
            is_element &= index[d] < to->dims[d];
        if (is_element)
            touch(machine, false, quire_layout_place(from, index) * n_bytes, (size_t)n_bytes);
        touch(machine, true, quire_layout_place(to, index) * n_bytes, (size_t)n_bytes);
        for (k = 0; k < order.n; k++) { /* k: how many digits went over */
            uint32_t i = order.n - 1 - k;
            if (++digits[i] < order.counts[i])
                break;
            digits[i] = 0;
        }
    }
}

int layout_model_walk(const struct quire_layout *from, const struct quire_layout *to,
                      struct layout_walk *tiled, struct layout_walk *plain, int64_t *dims)
{
    struct quire_layout source = *from, target = *to;
    struct quire_layout_conversion conversion;

    /* strides stay: it is the beginning of the same tensor */
    for (uint32_t d = 0; d < source.n_dims; d += d == 0 ? 2 : 1)
        while (source.dims[d] > 1 && (quire_layout_elements(&source) > MOST_ELEMENTS))
            source.dims[d] = target.dims[d] = (source.dims[d] + 1) / 2;
    memcpy(dims, source.dims, sizeof source.dims);
    int error = quire_layout_conversion_init(&conversion, &source, &target, NULL);
    if (error != 0)
        return error;
    struct machine *first = make(&source, &target), *second = make(&source, &target);
    if (first == NULL || second == NULL) {
        if (first != NULL)
            drop(first);
        if (second != NULL)
            drop(second);
        return -ENOMEM;
    }
    layout_trace(&conversion, touch, first);
    touch_plainly(second, &source, &target);
    finish(first, tiled);
    finish(second, plain);
    return 0;
}

/* What a kernel sees */

static int ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static uint64_t count_different(const int64_t *places, size_t n, unsigned shift)
{
    uint64_t different = n > 0;

    for (size_t i = 1; i < n; i++)
        different += places[i] >> shift != places[i - 1] >> shift;
    return different;
}

void layout_model_view(const struct quire_layout *layout, int64_t side, struct layout_view *view)
{
    int64_t height = layout->dims[2], width = layout->dims[3];
    int64_t h = height / 2 - side / 2, w = width / 2 - side / 2;
    size_t n = 0, most = (size_t)(layout->dims[1] * side * side);
    int64_t *places = calloc(most, sizeof *places);

    *view = (struct layout_view){0};
    if (places == NULL)
        return;
    for (int64_t c = 0; c < layout->dims[1]; c++)
        for (int64_t y = h < 0 ? 0 : h; y < h + side && y < height; y++)
            for (int64_t x = w < 0 ? 0 : w; x < w + side && x < width; x++)
                places[n++] = quire_layout_place(layout,
                                                 (int64_t[QUIRE_LAYOUT_MAX_DIMS]){0, c, y, x}) *
                              (int64_t)quire_layout_type_bytes(layout->type);
    qsort(places, n, sizeof *places, ascending);
    view->n_lines = count_different(places, n, LINE_SHIFT);
    view->n_pages = count_different(places, n, PAGE_SHIFT);
    free(places);
}
