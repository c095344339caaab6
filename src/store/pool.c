/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool: the compressed pages' memory, after the idea of zsmalloc: slots of similar size together,
 * and everything about them out of band.
 *
 *   base   | block 0: class 17 | block 1: class 40 | block 2: free | ...     64 KiB each
 *   blocks | bits, counts, links                   | ...                     96 bytes each
 *
 * Classes. A class exists for a number of slots a block, so its slots share the whole block and
 * what would be a tail is in the slots, where an object may use it; below 1.4 KiB, where that
 * would make too many classes, they are 32 bytes apart. An object of s bytes wastes s/128Ki of
 * itself on average (1.6 % at 2 KiB), at most 16 bytes when it is small.
 *
 * States of a block
 *   unopened  beyond n_opened, never touched
 *   free      on the free list, untouched, no memory    -> open_block() -> in use
 *   spare     empty, but keeps its pages; of any class  -> open_block() -> in use
 *   in use    at least one slot taken; on the age list, and if a slot is free on a room list
 *                                                       -> close_block() -> spare or free
 *
 * A slot is taken in a block over half full if there is one, so that emptier blocks can drain, and
 * always the lowest in its block, so that a block touches no page before the ones below are used.
 *
 * Programs change, and with them the sizes that are stored: of some classes slots come free, of
 * others none are. Compaction (compact.c) empties blocks of the former.
 *
 * Age: a block joins the young end when it is opened and again when it comes to be over half full,
 * since most of what it holds is then new. Collecting starts at the old end.
 *
 * Fork: each page is shared with the other side until one of both writes to it, which makes a copy
 * of the whole page. So while there are shared pages, slots on them are not free to take: other
 * slots, of blocks opened since, are preferred, and so are objects that were stored since when
 * something has to go to the file, because to give up a shared page gives nobody memory.
 *
 * Invariants, which pool_validate.c checks
 *   P1  n_used = bits in used[]; a block in use has n_used >= 1
 *   P2  used slots, and only pages below n_touched, hold memory; n_pages = sum of n_touched
 *   P3  a block is on room[class][fill] iff it is in use, has a free slot, and fill says right
 *   P4  the age list holds exactly the blocks in use
 *   P5  has_room's bit of a class is set iff one of its room lists is not empty
 *   P6  shared has no bits but of touched pages; n_shared = sum of its bits
 *   P7  n_free of a class = slots less n_used of its blocks in use
 */
#include "store/pool.h"

#include "base/checked.h"
#include "base/meta.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define CLASS_STEP_BYTES 32
#define ROOM_TRIES 4 /* blocks of a class looked at when the limit is reached */

static void make_classes(struct pool *pool)
{
    size_t last = 0;
    for (size_t n = POOL_SLOTS; last < OBJECT_MAX_BYTES; n--) {
        const size_t bytes = round_down(POOL_BLOCK_BYTES / n, 16);
        if (bytes < last + CLASS_STEP_BYTES && bytes < OBJECT_MAX_BYTES)
            continue;
        for (size_t i = last / 16; i * 16 < OBJECT_MAX_BYTES && i * 16 < bytes; i++)
            pool->class_of[i + 1] = (uint8_t)pool->n_classes;
        pool->slot_bytes[pool->n_classes++] = (uint16_t)bytes;
        last = bytes;
    }
}

int pool_init(struct pool *pool, size_t max_bytes)
{
    *pool = (struct pool){.free_head = POOL_NONE,
                          .spare_head = POOL_NONE,
                          .oldest = POOL_NONE,
                          .youngest = POOL_NONE,
                          .first_own = POOL_NONE};
    memset(pool->room, 0xff, sizeof(pool->room)); /* POOL_NONE */
    make_classes(pool);
    if (max_bytes / POOL_BLOCK_BYTES >= POOL_NONE)
        return -EINVAL;
    pool->n_blocks = (uint32_t)(max_bytes / POOL_BLOCK_BYTES);
    if (pool->n_blocks == 0)
        return 0;
    const size_t n_bytes = pool->n_blocks * POOL_BLOCK_BYTES;
    pool->base = sys_mmap(NULL, n_bytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (sys_is_error(pool->base))
        return -ENOMEM;
    /* A huge page would make pages resident that P2 does not count. */
    (void)sys_madvise(pool->base, n_bytes, MADV_NOHUGEPAGE);
    pool->blocks = meta_map(pool->n_blocks * sizeof(*pool->blocks));
    if (pool->blocks == NULL) {
        sys_munmap(pool->base, n_bytes);
        return -ENOMEM;
    }
    return 0;
}

void pool_deinit(struct pool *pool)
{
    if (pool->n_blocks == 0)
        return;
    meta_unmap(pool->blocks, pool->n_blocks * sizeof(*pool->blocks));
    meta_charge(-(long)pool->charged_bytes);
    sys_munmap(pool->base, pool->n_blocks * POOL_BLOCK_BYTES);
}

static void change_pages(struct pool *pool, ssize_t n)
{
    /* One writer, the lock's holder; readers want a figure, so no order. */
    atomic_store_explicit(&pool->n_pages, pool_pages(pool) + (size_t)n, memory_order_relaxed);
}

static void change_shared(struct pool *pool, ssize_t n)
{
    const size_t now = pool_shared_pages(pool) + (size_t)n;
    atomic_store_explicit(&pool->n_shared, now, memory_order_relaxed); /* as for n_pages */
}

static void add_age(struct pool *pool, uint32_t index)
{
    struct pool_block *block = &pool->blocks[index];
    block->age_prev = pool->youngest;
    block->age_next = POOL_NONE;
    if (pool->youngest != POOL_NONE)
        pool->blocks[pool->youngest].age_next = index;
    else
        pool->oldest = index;
    pool->youngest = index;
    if (pool->first_own == POOL_NONE)
        pool->first_own = index;
}

static void remove_age(struct pool *pool, uint32_t index)
{
    const struct pool_block *block = &pool->blocks[index];
    if (block->age_prev != POOL_NONE)
        pool->blocks[block->age_prev].age_next = block->age_next;
    else
        pool->oldest = block->age_next;
    if (block->age_next != POOL_NONE)
        pool->blocks[block->age_next].age_prev = block->age_prev;
    else
        pool->youngest = block->age_prev;
    if (pool->first_own == index)
        pool->first_own = block->age_next;
}

static void add_room(struct pool *pool, uint32_t index, enum pool_fill fill)
{
    struct pool_block *block = &pool->blocks[index];
    uint32_t *head = &pool->room[block->class][fill];
    block->room_prev = POOL_NONE;
    block->room_next = *head;
    if (*head != POOL_NONE)
        pool->blocks[*head].room_prev = index;
    *head = index;
    pool->has_room[block->class / 64] |= 1ull << block->class % 64;
}

static void remove_room(struct pool *pool, uint32_t index, enum pool_fill fill)
{
    const struct pool_block *block = &pool->blocks[index];
    uint32_t *heads = pool->room[block->class];
    if (block->room_prev != POOL_NONE)
        pool->blocks[block->room_prev].room_next = block->room_next;
    else
        heads[fill] = block->room_next;
    if (block->room_next != POOL_NONE)
        pool->blocks[block->room_next].room_prev = block->room_prev;
    if (heads[POOL_FULLER] == POOL_NONE && heads[POOL_EMPTIER] == POOL_NONE)
        pool->has_room[block->class / 64] &= ~(1ull << block->class % 64);
}

/* The lowest free slot; the block has one. */
static unsigned lowest_free(const struct pool_block *block)
{
    unsigned word = block->first_free / 64;
    while (block->used[word] == UINT64_MAX)
        word++;
    return word * 64 + (unsigned)__builtin_ctzll(~block->used[word]);
}

/* Bits of the pages in which bytes [begin, end) of a block lie. */
static unsigned page_bits(size_t begin, size_t end)
{
    const unsigned first = (unsigned)(begin >> SYS_PAGE_SHIFT);
    const unsigned n = (unsigned)((end - 1) >> SYS_PAGE_SHIFT) + 1 - first;
    return ((1u << n) - 1) << first;
}

/* The shared pages that `slot` lies on: to write to it copies them. */
static unsigned pages_to_copy(const struct pool *pool, const struct pool_block *block,
                              unsigned slot)
{
    const size_t n_bytes = pool->slot_bytes[block->class], begin = slot * n_bytes;
    return block->shared & page_bits(begin, begin + n_bytes);
}

/* Metadata counts from the page on that it is touched. */
static void charge_blocks(struct pool *pool)
{
    const size_t n = round_up(pool->n_opened * sizeof(*pool->blocks), SYS_PAGE_SIZE);
    if (n > pool->charged_bytes) {
        meta_charge((long)(n - pool->charged_bytes));
        pool->charged_bytes = n;
    }
}

/* An empty block for the class: one that still has pages if there is one. POOL_NONE: no room. */
static uint32_t open_block(struct pool *pool, unsigned class, size_t limit_pages)
{
    uint32_t index = pool->spare_head;
    const size_t needed = (pool->slot_bytes[class] + SYS_PAGE_SIZE - 1) >> SYS_PAGE_SHIFT;
    if (index != POOL_NONE &&
        (pool->blocks[index].n_touched >= needed || pool_pages(pool) + needed <= limit_pages)) {
        pool->spare_head = pool->blocks[index].age_next;
        pool->n_spare--;
    } else if (pool_pages(pool) + needed > limit_pages) {
        return POOL_NONE;
    } else if (pool->free_head != POOL_NONE) {
        index = pool->free_head;
        pool->free_head = pool->blocks[index].age_next;
    } else if (pool->n_opened < pool->n_blocks) {
        index = pool->n_opened++;
        charge_blocks(pool);
    } else {
        return POOL_NONE;
    }
    struct pool_block *block = &pool->blocks[index];
    block->class = (uint8_t) class;
    block->first_free = 0;
    pool->n_free[class] += pool_n_slots(pool, block);
    add_age(pool, index);
    add_room(pool, index, POOL_EMPTIER);
    return index;
}

/* A block that has fallen empty; it is on the age list and on no room list. */
static void close_block(struct pool *pool, uint32_t index)
{
    struct pool_block *block = &pool->blocks[index];
    pool->n_free[block->class] -= pool_n_slots(pool, block);
    remove_age(pool, index);
    if (pool->n_spare < POOL_SPARE_BLOCKS) {
        block->age_next = pool->spare_head;
        pool->spare_head = index;
        pool->n_spare++;
        return;
    }
    const size_t n_bytes = (size_t)block->n_touched << SYS_PAGE_SHIFT;
    if (sys_madvise(pool->base + index * POOL_BLOCK_BYTES, n_bytes, MADV_DONTNEED) == 0) {
        change_pages(pool, -(ssize_t)block->n_touched);
        change_shared(pool, -(ssize_t)__builtin_popcount(block->shared));
        block->n_touched = 0;
        block->shared = 0;
    } /* else it keeps its memory, stays counted, and is used again */
    block->age_next = pool->free_head;
    pool->free_head = index;
}

/*
 * A block of the class, but not `except`, with a free slot that takes no copy of a page and no more
 * than `most` untouched ones; POOL_NONE: none found.
 */
static uint32_t find_room(const struct pool *pool, unsigned class, size_t most, uint32_t except)
{
    for (int fill = 0; fill < POOL_N_FILLS; fill++) {
        uint32_t index = pool->room[class][fill];
        for (int i = 0; i < ROOM_TRIES && index != POOL_NONE; i++) {
            const struct pool_block *block = &pool->blocks[index];
            const unsigned slot = lowest_free(block);
            if (index != except && pool_pages_to_touch(pool, block, slot) <= most &&
                !pages_to_copy(pool, block, slot))
                return index;
            index = block->room_next;
        }
    }
    return POOL_NONE;
}

/*
 * The limit is reached: memory that is held anyway, in a class as near as possible. An object in a
 * larger slot than it needs costs less than refusing it.
 */
static uint32_t squeeze(struct pool *pool, unsigned class)
{
    for (unsigned c = class; c < pool->n_classes; c++) {
        if ((pool->has_room[c / 64] >> c % 64 & 1) == 0)
            continue;
        const uint32_t index = find_room(pool, c, 0, POOL_NONE);
        if (index != POOL_NONE)
            return index;
    }
    return POOL_NONE;
}

/* A block with a free slot for the class within the limit; POOL_NONE: no room. */
static uint32_t choose_block(struct pool *pool, unsigned class, size_t limit_pages)
{
    uint32_t index = find_room(pool, class, SIZE_MAX, POOL_NONE);
    if (index == POOL_NONE)
        index = open_block(pool, class, limit_pages);
    if (index == POOL_NONE)
        return squeeze(pool, class);
    const struct pool_block *block = &pool->blocks[index];
    const size_t more = pool_pages_to_touch(pool, block, lowest_free(block));
    return more != 0 && pool_pages(pool) + more > limit_pages ? squeeze(pool, class) : index;
}

/* The lowest free slot of a block in use that has one. */
static uint64_t take_in(struct pool *pool, uint32_t index)
{
    struct pool_block *block = &pool->blocks[index];
    const unsigned at = lowest_free(block);
    const size_t more = pool_pages_to_touch(pool, block, at);
    if (more != 0) {
        block->n_touched = (uint8_t)(block->n_touched + more);
        change_pages(pool, (ssize_t)more);
    }
    const enum pool_fill before = pool_fill_of(pool, block);
    block->used[at / 64] |= 1ull << at % 64;
    block->first_free = (uint16_t)(at + 1);
    block->n_used++;
    pool->n_free[block->class]--;
    const bool full = block->n_used == pool_n_slots(pool, block);
    const bool rose = pool_fill_of(pool, block) != before;
    if (full || rose)
        remove_room(pool, index, before);
    if (rose && !full)
        add_room(pool, index, POOL_FULLER);
    if (rose && pool->youngest != index) {
        remove_age(pool, index);
        add_age(pool, index);
    }
    return (uint64_t)index << REF_SLOT_BITS | at;
}

static unsigned class_for(const struct pool *pool, size_t n_bytes)
{
    return pool->class_of[(n_bytes + 15) / 16];
}

int pool_take(struct pool *pool, size_t n_bytes, size_t limit_pages, uint64_t *slot)
{
    const uint32_t index = choose_block(pool, class_for(pool, n_bytes), limit_pages);
    if (index == POOL_NONE)
        return -ENOSPC;
    *slot = take_in(pool, index);
    return 0;
}

void pool_give(struct pool *pool, uint64_t slot)
{
    const uint32_t index = (uint32_t)(slot >> REF_SLOT_BITS);
    const unsigned at = (unsigned)slot & (POOL_SLOTS - 1);
    struct pool_block *block = &pool->blocks[index];
    const enum pool_fill before = pool_fill_of(pool, block);
    const bool was_full = block->n_used == pool_n_slots(pool, block);
    block->used[at / 64] &= ~(1ull << at % 64);
    block->n_used--;
    pool->n_free[block->class]++;
    if (at < block->first_free)
        block->first_free = (uint16_t)at;
    const enum pool_fill after = pool_fill_of(pool, block);
    if (!was_full && (after != before || block->n_used == 0))
        remove_room(pool, index, before);
    if (block->n_used == 0)
        close_block(pool, index);
    else if (was_full || after != before)
        add_room(pool, index, after);
}

/* The class with most memory in free slots, if that is a block and a quarter at least; or -1. */
static int class_to_compact(const struct pool *pool)
{
    int best = -1;
    size_t most = POOL_BLOCK_BYTES + POOL_BLOCK_BYTES / 4;
    for (unsigned c = 0; c < pool->n_classes; c++) {
        const size_t n_bytes = (size_t)pool->n_free[c] * pool->slot_bytes[c];
        if (n_bytes < most)
            continue;
        most = n_bytes;
        best = (int)c;
    }
    return best;
}

uint32_t pool_emptiest(const struct pool *pool)
{
    const int class = class_to_compact(pool);
    uint32_t best = POOL_NONE;
    for (int fill = POOL_N_FILLS - 1; class >= 0 && fill >= 0 && best == POOL_NONE; fill--) {
        for (uint32_t i = pool->room[class][fill]; i != POOL_NONE; i = pool->blocks[i].room_next) {
            const struct pool_block *block = &pool->blocks[i];
            /* what a fork shares would not come free; what leaves for the file does by itself */
            if (block->shared == 0 && block->n_leaving == 0 &&
                (best == POOL_NONE || block->n_used < pool->blocks[best].n_used))
                best = i;
        }
    }
    return best;
}

int pool_take_other(struct pool *pool, uint64_t from, size_t n_bytes, uint64_t *slot)
{
    const uint32_t block = (uint32_t)(from >> REF_SLOT_BITS);
    const unsigned class = pool->blocks[block].class, fitting = class_for(pool, n_bytes);
    uint32_t index = POOL_NONE;
    if (fitting != class)
        index = find_room(pool, fitting, 0, block);
    if (index == POOL_NONE)
        index = find_room(pool, class, 0, block);
    if (index == POOL_NONE)
        return -ENOSPC;
    *slot = take_in(pool, index);
    return 0;
}

void pool_share(struct pool *pool)
{
    size_t n_shared = 0;
    for (uint32_t i = 0; i < pool->n_opened; i++) {
        struct pool_block *block = &pool->blocks[i];
        block->shared = (uint16_t)((1u << block->n_touched) - 1);
        n_shared += block->n_touched;
    }
    atomic_store_explicit(&pool->n_shared, n_shared, memory_order_relaxed);
    pool->first_own = POOL_NONE;
}

void pool_unshare(struct pool *pool)
{
    for (uint32_t i = 0; i < pool->n_opened && pool_shared_pages(pool) > 0; i++)
        pool->blocks[i].shared = 0;
    atomic_store_explicit(&pool->n_shared, 0, memory_order_relaxed);
}

void pool_will_write(struct pool *pool, uint64_t slot, size_t n_bytes)
{
    if (pool_shared_pages(pool) == 0)
        return;
    struct pool_block *block = &pool->blocks[slot >> REF_SLOT_BITS];
    const size_t begin = (slot & (POOL_SLOTS - 1)) * pool->slot_bytes[block->class];
    const unsigned copied = block->shared & page_bits(begin, begin + n_bytes);
    block->shared = (uint16_t)(block->shared & ~copied);
    change_shared(pool, -(ssize_t)__builtin_popcount(copied));
}

uint32_t pool_oldest_own(const struct pool *pool)
{
    return pool_shared_pages(pool) > 0 && pool->first_own != POOL_NONE ? pool->first_own
                                                                       : pool->oldest;
}

bool pool_holds(const struct pool *pool, uint64_t slot)
{
    const unsigned at = (unsigned)slot & (POOL_SLOTS - 1);
    return slot >> REF_SLOT_BITS < pool->n_opened &&
           (pool->blocks[slot >> REF_SLOT_BITS].used[at / 64] >> at % 64 & 1) != 0;
}

int pool_next_used(const struct pool_block *block, unsigned index)
{
    for (unsigned word = index / 64; word < POOL_SLOTS / 64; word++, index = word * 64) {
        const uint64_t bits = block->used[word] >> index % 64;
        if (bits != 0)
            return (int)(index + (unsigned)__builtin_ctzll(bits));
    }
    return -1;
}
