/* SPDX-License-Identifier: Apache-2.0 */
/* report: the state of the zones in figures, as structs, as indexes and as text. */
#include "pages/buddy.h"

#include <errno.h>
#include <string.h>

/* Counts */

int quire_buddy_counts(struct quire_buddy *buddy, unsigned index, struct quire_buddy_counts *counts)
{
    if (index >= buddy->n_zones)
        return -EINVAL;
    struct zone *zone = &buddy->zones[index];
    lock_take(&zone->lock);
    *counts = (struct quire_buddy_counts){
        .first = zone->first,
        .n_pages = zone->end - zone->first,
        .frontier = zone->frontier,
        .n_allocated = zone->frontier - zone->first - zone->n_free - zone->n_set_aside[0] -
                       zone->n_set_aside[1],
        .n_free = zone->n_free,
        .n_fresh = zone->end - zone->frontier,
        .n_reserved = zone->n_set_aside[0],
        .n_offline = zone->n_set_aside[1],
        .metadata_bytes = zone_metadata_bytes(zone),
    };
    lock_release(&zone->lock);
    return 0;
}

size_t quire_buddy_metadata_held(const struct quire_buddy *buddy)
{
    size_t n_bytes = sizeof *buddy;
    for (unsigned i = 0; i < buddy->n_zones; i++)
        n_bytes += zone_metadata_bytes(&buddy->zones[i]);
    return n_bytes;
}

/* Free blocks */

struct walk {
    unsigned min_order;
    bool (*visit)(void *context, const struct zone *zone, uint32_t page, unsigned order);
    void *context;
};

/* The free blocks of a carved group. */
static bool walk_group(const struct zone *zone, uint32_t number, const struct walk *walk)
{
    uint64_t free = ~zone_group(zone, number)->used;

    while (free != 0) {
        unsigned bit = (unsigned)__builtin_ctzll(free);
        unsigned order = group_block_order(free, bit, zone->top_order);
        free &= ~group_mask(bit, 1u << order);
        if (order >= walk->min_order &&
            !walk->visit(walk->context, zone, zone_group_page(zone, number) + bit, order))
            return false;
    }
    return true;
}

/* All free blocks by rising address; blocks of many groups are passed in one step. */
static void walk_zone(const struct zone *zone, const struct walk *walk)
{
    uint32_t end = zone_n_groups(zone), step;

    for (uint32_t i = 0; i < end; i += step) {
        const struct zone_group *group = zone_group(zone, i);
        uint32_t page = zone_group_page(zone, i);
        step = 1;
        if (group->kind == GROUP_CARVED) {
            if (!walk_group(zone, i, walk))
                return;
            continue;
        }
        if (page < zone->first) /* of the page block that the zone begins in */
            continue;
        struct zone_block block = zone_block_at(zone, page);
        step = 1u << (block.order - GROUP_ORDER);
        if (block.kind == ZONE_FREE && block.order >= walk->min_order &&
            !walk->visit(walk->context, zone, page, block.order))
            return;
    }
}

static int walk_locked(struct quire_buddy *buddy, unsigned index, const struct walk *walk)
{
    if (index >= buddy->n_zones)
        return -EINVAL;
    lock_take(&buddy->zones[index].lock);
    walk_zone(&buddy->zones[index], walk);
    lock_release(&buddy->zones[index].lock);
    return 0;
}

static bool count_block(void *context, const struct zone *zone, uint32_t page, unsigned order)
{
    struct quire_buddy_free_blocks *blocks = context;
    blocks->n_blocks[zone_type(zone, zone_group_of(zone, page))][order]++;
    return true;
}

int quire_buddy_free_blocks(struct quire_buddy *buddy, unsigned index,
                            struct quire_buddy_free_blocks *blocks)
{
    *blocks = (struct quire_buddy_free_blocks){0};
    return walk_locked(buddy, index, &(struct walk){0, count_block, blocks});
}

struct visitor {
    bool (*visit)(void *context, quire_page page, unsigned order);
    void *context;
};

static bool visit_block(void *context, const struct zone *zone, uint32_t page, unsigned order)
{
    struct visitor *visitor = context;
    return visitor->visit(visitor->context, page, order);
}

int quire_buddy_each_free(struct quire_buddy *buddy, unsigned index, unsigned min_order,
                          bool (*visit)(void *context, quire_page page, unsigned order),
                          void *context)
{
    struct visitor visitor = {visit, context};
    return walk_locked(buddy, index, &(struct walk){min_order, visit_block, &visitor});
}

/* Indexes */

struct fragments {
    uint64_t n_pages, n_blocks, n_suitable; /* free; the last in blocks of the order asked for */
};

static struct fragments fragments_of(struct quire_buddy *buddy, unsigned index, unsigned order)
{
    struct quire_buddy_free_blocks blocks;
    struct fragments sum = {0};

    quire_buddy_free_blocks(buddy, index, &blocks);
    for (unsigned type = 0; type < QUIRE_BUDDY_N_MOBILITIES; type++)
        for (unsigned k = 0; k <= buddy->max_order; k++) {
            uint64_t n = blocks.n_blocks[type][k];
            sum.n_blocks += n;
            sum.n_pages += n << k;
            sum.n_suitable += k >= order ? n << (k - order) : 0;
        }
    return sum;
}

int quire_buddy_unusable_index(struct quire_buddy *buddy, unsigned index, unsigned order)
{
    if (index >= buddy->n_zones || order > buddy->max_order)
        return -EINVAL;
    struct fragments sum = fragments_of(buddy, index, order);
    if (sum.n_pages == 0)
        return 1000;
    return (int)((sum.n_pages - (sum.n_suitable << order)) * 1000 / sum.n_pages);
}

int quire_buddy_fragmentation_index(struct quire_buddy *buddy, unsigned index, unsigned order)
{
    if (index >= buddy->n_zones || order > buddy->max_order)
        return -EINVAL;
    struct fragments sum = fragments_of(buddy, index, order);
    if (sum.n_blocks == 0)
        return 0;
    if (sum.n_suitable > 0)
        return -1000;
    return 1000 - (int)((1000 + (sum.n_pages * 1000 >> order)) / sum.n_blocks);
}

/* Text that is counted beyond the end of its buffer */

struct text {
    char *buffer;
    size_t n_bytes; /* of the buffer */
    size_t length;
};

static void put_char(struct text *text, char c)
{
    if (text->length + 1 < text->n_bytes)
        text->buffer[text->length] = c;
    text->length++;
}

static void put_right(struct text *text, const char *word, size_t width)
{
    for (size_t length = strlen(word); length < width; length++)
        put_char(text, ' ');
    while (*word != '\0')
        put_char(text, *word++);
}

static void put_left(struct text *text, const char *word, size_t width)
{
    size_t length = strlen(word);
    put_right(text, word, 0);
    for (; length < width; length++)
        put_char(text, ' ');
}

static void put_number(struct text *text, unsigned number, size_t width)
{
    char digits[12];
    char *digit = digits + sizeof digits - 1;
    *digit = '\0';
    do
        *--digit = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    put_right(text, digit, width);
}

static void put_numbers(struct text *text, const uint32_t *numbers, unsigned n, size_t width)
{
    for (unsigned i = 0; i < n; i++) {
        put_number(text, numbers[i], width);
        put_char(text, ' ');
    }
    put_char(text, '\n');
}

static size_t finish(const struct text *text)
{
    if (text->n_bytes > 0)
        text->buffer[text->length < text->n_bytes ? text->length : text->n_bytes - 1] = '\0';
    return text->length;
}

/* "Node 0, zone   Normal      1      0 ... \n" */
size_t quire_buddy_print(struct quire_buddy *buddy, char *buffer, size_t n_bytes)
{
    struct text text = {buffer, n_bytes, 0};

    for (unsigned i = 0; i < buddy->n_zones; i++) {
        struct quire_buddy_free_blocks blocks;
        uint32_t sums[QUIRE_BUDDY_MAX_ORDER + 1];
        quire_buddy_free_blocks(buddy, i, &blocks);
        for (unsigned order = 0; order <= buddy->max_order; order++)
            sums[order] = blocks.n_blocks[0][order] + blocks.n_blocks[1][order] +
                          blocks.n_blocks[2][order];
        put_right(&text, "Node 0, zone ", 0);
        put_right(&text, buddy->zones[i].name, 8);
        put_char(&text, ' ');
        put_numbers(&text, sums, buddy->max_order + 1, 6);
    }
    return finish(&text);
}

/* In the kernel's order. */
static const struct {
    enum quire_buddy_mobility type;
    const char *name;
} type_names[] = {
    {QUIRE_BUDDY_UNMOVABLE, "Unmovable"},
    {QUIRE_BUDDY_MOVABLE, "Movable"},
    {QUIRE_BUDDY_RECLAIMABLE, "Reclaimable"},
};

static void put_free_types(struct text *text, struct quire_buddy *buddy, unsigned index)
{
    struct quire_buddy_free_blocks blocks;

    quire_buddy_free_blocks(buddy, index, &blocks);
    for (unsigned i = 0; i < ZONE_N_TYPES; i++) {
        put_right(text, "Node    0, zone ", 0);
        put_right(text, buddy->zones[index].name, 8);
        put_right(text, ", type ", 0);
        put_right(text, type_names[i].name, 12);
        put_char(text, ' ');
        put_numbers(text, blocks.n_blocks[type_names[i].type], buddy->max_order + 1, 6);
    }
}

static void put_page_blocks(struct text *text, struct zone *zone)
{
    uint32_t n_of[ZONE_N_TYPES] = {0}, n_blocks[ZONE_N_TYPES];

    lock_take(&zone->lock);
    uint32_t first = zone_group_of(zone, zone->first) & ~(zone->block_groups - 1);
    for (uint32_t i = first; i < zone_n_groups(zone); i += zone->block_groups)
        n_of[zone_type(zone, i)]++;
    lock_release(&zone->lock);
    for (unsigned i = 0; i < ZONE_N_TYPES; i++)
        n_blocks[i] = n_of[type_names[i].type];
    put_right(text, "Node 0, zone ", 0);
    put_right(text, zone->name, 8);
    put_char(text, ' ');
    put_numbers(text, n_blocks, ZONE_N_TYPES, 12);
}

size_t quire_buddy_print_types(struct quire_buddy *buddy, char *buffer, size_t n_bytes)
{
    struct text text = {buffer, n_bytes, 0};
    uint32_t orders[QUIRE_BUDDY_MAX_ORDER + 1];
    unsigned block_order = GROUP_ORDER;

    while (1u << (block_order - GROUP_ORDER) < buddy->zones[0].block_groups)
        block_order++;
    for (unsigned order = 0; order <= buddy->max_order; order++)
        orders[order] = order;
    put_right(&text, "Page block order: ", 0);
    put_number(&text, block_order, 0);
    put_right(&text, "\nPages per block:  ", 0);
    put_number(&text, 1u << block_order, 0);
    put_right(&text, "\n\n", 0);
    put_left(&text, "Free pages count per migrate type at order", 43);
    put_char(&text, ' ');
    put_numbers(&text, orders, buddy->max_order + 1, 6);
    for (unsigned i = 0; i < buddy->n_zones; i++)
        put_free_types(&text, buddy, i);
    put_right(&text, "\nNumber of blocks type ", 0);
    for (unsigned i = 0; i < ZONE_N_TYPES; i++) {
        put_right(&text, type_names[i].name, 12);
        put_char(&text, ' ');
    }
    put_char(&text, '\n');
    for (unsigned i = 0; i < buddy->n_zones; i++)
        put_page_blocks(&text, &buddy->zones[i]);
    return finish(&text);
}
