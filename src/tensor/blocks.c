/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blocks: bottom-up joining of rectangles.
 *
 *     +------+                      +------+
 *     |  b   |   a stack: same      |  a   | b |   a row: same size, and one begins where
 *     +------+   lifetime           +------+---+   the other ends
 *     |  a   |
 *     +------+
 *
 * A block is a rectangle again, and joins others. Where buffers come from cutting something (a
 * tensor into slices, a phase into steps) this finds the way back; where they don't, little is
 * joined, and the caller goes on without.
 *
 * A table finds the partner: each block is in it under its lifetime, under (size, start) and under
 * (size, end). A block that was joined stays in the table and is skipped.
 *
 * Invariants
 *   1. blocks[i] for i < n_items is item i alone; parts[] of the others have lower indices.
 *   2. A block is `is_used` if and only if it is a part of another.
 *   3. Sizes in a stack are multiples of every alignment, so that each item of it is aligned if the
 *      block is.
 *
 * Fails with -ENOMEM only. O(number of items) expected.
 */
#include "tensor/blocks.h"

#include <errno.h>
#include <stdlib.h>

#define NONE UINT32_MAX
#define LEAST_GAIN 8 /* an eighth less, or it is not worth it */

enum kind { LIFETIME, START, END, N_KINDS };

struct tensor_block {
    uint64_t size, alignment;
    uint64_t offset;      /* while it is expanded */
    int64_t lower, upper; /* times: sections would make unlike lifetimes alike */
    uint32_t parts[2];    /* NONE: a single item */
    bool is_stack, is_used;
    uint32_t next[N_KINDS]; /* in the table */
};

struct table {
    uint32_t *heads; /* of the lists of each kind */
    uint32_t mask;
    uint64_t alignment; /* of all */
};

static uint32_t place_in(const struct table *table, enum kind kind, uint64_t a, uint64_t b)
{
    uint64_t z = (a * 0x9e3779b97f4a7c15u) ^ ((b + kind) * 0xc2b2ae3d27d4eb4fu);
    z = (z ^ (z >> 32)) * 0xd6e8feb86659fd93u;
    return kind * (table->mask + 1) + ((uint32_t)(z >> 32) & table->mask);
}

static uint32_t place_of(const struct table *table, enum kind kind,
                         const struct tensor_block *block)
{
    if (kind == LIFETIME)
        return place_in(table, kind, (uint64_t)block->lower, (uint64_t)block->upper);
    return place_in(table, kind, block->size,
                    (uint64_t)(kind == START ? block->lower : block->upper));
}

/* A block that is not used and fits to `one` in this way; NONE. Forgets the used ones on its way.
 */
static uint32_t partner(struct tensor_blocks *blocks, struct table *table, enum kind kind,
                        const struct tensor_block *one)
{
    uint32_t at = kind == LIFETIME
                      ? place_in(table, kind, (uint64_t)one->lower, (uint64_t)one->upper)
                  : kind == START ? place_in(table, kind, one->size, (uint64_t)one->upper)
                                  : place_in(table, kind, one->size, (uint64_t)one->lower);
    for (uint32_t *link = &table->heads[at]; *link != NONE;) {
        struct tensor_block *block = &blocks->blocks[*link];
        if (block->is_used) {
            *link = block->next[kind];
            continue;
        }
        bool fits = kind == LIFETIME ? block->lower == one->lower && block->upper == one->upper
                    : kind == START  ? block->size == one->size && block->lower == one->upper
                                     : block->size == one->size && block->upper == one->lower;
        if (fits && block != one)
            return *link;
        link = &block->next[kind];
    }
    return NONE;
}

static void enter(struct tensor_blocks *blocks, struct table *table, uint32_t index)
{
    struct tensor_block *block = &blocks->blocks[index];
    for (enum kind kind = LIFETIME; kind < N_KINDS; kind++) {
        uint32_t *head = &table->heads[place_of(table, kind, block)];
        block->next[kind] = *head;
        *head = index;
    }
}

/* Invariant 3. */
static bool is_joinable(const struct table *table, const struct tensor_item *item)
{
    return item->fixed == TENSOR_NOWHERE && item->size % table->alignment == 0;
}

/* Joins a block with a partner, if there is one; the new block is the last. */
static void join(struct tensor_blocks *blocks, struct table *table, uint32_t index)
{
    struct tensor_block *one = &blocks->blocks[index];
    for (enum kind kind = LIFETIME; kind < N_KINDS; kind++) {
        uint32_t other_index = partner(blocks, table, kind, one);
        if (other_index == NONE)
            continue;
        struct tensor_block *other = &blocks->blocks[other_index];
        struct tensor_block *both = &blocks->blocks[blocks->n_blocks++];
        *both = (struct tensor_block){
            .size = kind == LIFETIME ? one->size + other->size : one->size,
            .alignment = table->alignment,
            .lower = kind == END ? other->lower : one->lower,
            .upper = kind == START ? other->upper : one->upper,
            .parts = {index, other_index},
            .is_stack = kind == LIFETIME,
        };
        one->is_used = other->is_used = true;
        return;
    }
}

/* Joins until nothing can be joined. */
static bool join_all(struct tensor_blocks *blocks, const struct tensor_instance *instance)
{
    uint32_t n_heads = 64;
    while (n_heads < 2 * (uint64_t)blocks->n_items && n_heads < (uint32_t)1 << 28)
        n_heads *= 2;
    struct table table = {malloc(N_KINDS * (size_t)n_heads * sizeof *table.heads), n_heads - 1, 1};
    if (table.heads == NULL)
        return false;
    for (size_t i = 0; i < N_KINDS * (size_t)n_heads; i++)
        table.heads[i] = NONE;
    for (uint32_t i = 0; i < instance->n_items; i++)
        table.alignment = tensor_common_alignment(table.alignment, instance->items[i].alignment);
    for (uint32_t i = 0; i < instance->n_items; i++)
        if (is_joinable(&table, &instance->items[i]))
            enter(blocks, &table, i);
    for (uint32_t i = 0; i < blocks->n_blocks; i++) {
        if (i >= blocks->n_items)
            enter(blocks, &table, i);
        else if (!is_joinable(&table, &instance->items[i]))
            continue;
        if (!blocks->blocks[i].is_used)
            join(blocks, &table, i);
    }
    free(table.heads);
    return true;
}

/* The instance whose items are the blocks. */
static int make_instance(struct tensor_blocks *blocks, const struct tensor_instance *instance)
{
    uint32_t n = 0, n_blocks = blocks->n_blocks;
    struct quire_tensor_buffer *buffers = calloc(n_blocks + 1, sizeof *buffers);
    uint32_t *chosen = malloc((n_blocks + 1) * sizeof *chosen);
    int error = -ENOMEM;

    if (buffers != NULL && chosen != NULL) {
        for (uint32_t i = 0; i < n_blocks; i++) {
            const struct tensor_block *block = &blocks->blocks[i];
            bool is_fixed = i < blocks->n_items && instance->items[i].fixed != TENSOR_NOWHERE;
            buffers[i] = (struct quire_tensor_buffer){.lower = block->lower,
                                                      .upper = block->upper,
                                                      .size = block->size,
                                                      .alignment = block->alignment,
                                                      .is_fixed = is_fixed,
                                                      .offset = is_fixed ? instance->items[i].fixed
                                                                         : 0};
            if (!block->is_used)
                chosen[n++] = i;
        }
        struct quire_tensor_problem problem = {buffers, n_blocks, NULL, 0};
        error = tensor_instance_init(&blocks->joined, &problem, chosen, n, 0, NULL);
    }
    free(buffers);
    free(chosen);
    return error;
}

int tensor_blocks_join(struct tensor_blocks *blocks, const struct tensor_instance *instance)
{
    *blocks = (struct tensor_blocks){.n_items = instance->n_items};
    if (instance->first_piece != NULL || instance->n_items < 2)
        return -ENOENT;
    blocks->blocks = malloc(2 * (size_t)instance->n_items * sizeof *blocks->blocks);
    if (blocks->blocks == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < instance->n_items; i++)
        blocks->blocks[i] = (struct tensor_block){
            .size = instance->items[i].size,
            .alignment = instance->items[i].alignment,
            .lower = instance->items[i].start,
            .upper = (int64_t)((uint64_t)instance->items[i].start + instance->items[i].duration),
            .parts = {NONE, NONE}};
    blocks->n_blocks = instance->n_items;
    int error = join_all(blocks, instance) ? 0 : -ENOMEM;
    uint32_t n_joined = blocks->n_blocks - blocks->n_items;
    if (error == 0 && n_joined < instance->n_items / LEAST_GAIN + 1)
        error = -ENOENT;
    if (error == 0)
        error = make_instance(blocks, instance);
    if (error != 0)
        tensor_blocks_free(blocks);
    return error;
}

void tensor_blocks_free(struct tensor_blocks *blocks)
{
    tensor_instance_deinit(&blocks->joined);
    free(blocks->blocks);
    blocks->blocks = NULL;
}

void tensor_blocks_expand(struct tensor_blocks *blocks, const uint64_t *of_blocks,
                          uint64_t *offsets)
{
    for (uint32_t i = 0; i < blocks->joined.n_items; i++)
        blocks->blocks[blocks->joined.origin[i]].offset = of_blocks[i];
    for (uint32_t i = blocks->n_blocks; i-- > 0;) {
        const struct tensor_block *block = &blocks->blocks[i];
        if (i < blocks->n_items) {
            offsets[i] = block->offset;
            continue;
        }
        struct tensor_block *below = &blocks->blocks[block->parts[0]];
        below->offset = block->offset;
        blocks->blocks[block->parts[1]].offset = block->offset +
                                                 (block->is_stack ? below->size : 0);
    }
}
