/* SPDX-License-Identifier: Apache-2.0 */
/* heap_table: see heap_table.h. */
#include "share/heap_table.h"

#include "base/checked.h"
#include "base/log.h"
#include "base/process.h"

#include <errno.h>

static struct quire_extent_config extents_of(uint64_t n_bytes, uint32_t max_blocks)
{
    return (struct quire_extent_config){n_bytes / QUIRE_SHARED_HEAP_UNIT, max_blocks,
                                        QUIRE_EXTENT_TLSF};
}

static size_t extents_offset(uint32_t max_blocks)
{
    return round_up(sizeof(struct table) + max_blocks * sizeof(struct table_block),
                    QUIRE_EXTENT_ALIGNMENT);
}

static size_t extents_bytes(uint64_t n_bytes, uint32_t max_blocks)
{
    const struct quire_extent_config config = extents_of(n_bytes, max_blocks);
    return quire_extent_metadata_bytes(&config);
}

size_t table_bytes(const struct quire_shared_heap_config *config)
{
    if (config->n_bytes == 0 || config->n_bytes > INT64_MAX / 2 ||
        config->max_bytes > INT64_MAX / 2 || config->max_blocks == 0 ||
        config->max_blocks > QUIRE_SHARED_HEAP_MAX_BLOCKS)
        return 0;
    return extents_offset(config->max_blocks) + extents_bytes(config->n_bytes, config->max_blocks);
}

struct quire_extent_space *table_space(struct table *table)
{
    return (struct quire_extent_space *)(void *)((char *)table + table->extents_offset);
}

static int init_lock(pthread_mutex_t *lock)
{
    pthread_mutexattr_t attributes;
    int error = pthread_mutexattr_init(&attributes);

    if (error == 0)
        error = pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    if (error == 0)
        error = pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    if (error == 0)
        error = pthread_mutex_init(lock, &attributes);
    return -error;
}

/* What follows from the blocks, made anew. */
static int rebuild(struct table *table)
{
    const struct quire_extent_config config = extents_of(atomic_load(&table->n_bytes),
                                                         table->max_blocks);
    struct quire_extent_space *space;

    if (quire_extent_init(&config, table_space(table), table->extents_bytes, &space) != 0)
        return -EUCLEAN;
    table->first_free = TABLE_NO_BLOCK;
    table->n_blocks = 0;
    for (uint32_t i = table->max_blocks; i-- > 0;) {
        struct table_block *block = &table->block[i];
        if (atomic_load(&block->holders) == 0) {
            block->next_free = table->first_free;
            table->first_free = i;
            continue;
        }
        if (quire_extent_alloc_at(space, block->offset, block->length, &block->extent) != 0)
            return -EUCLEAN;
        table->n_blocks++;
    }
    return 0;
}

int table_init(const struct quire_shared_heap_config *config, struct table *table)
{
    table->version = TABLE_VERSION;
    table->word_bits = sizeof(void *) * 8;
    table->table_bytes = table_bytes(config);
    table->max_bytes = config->max_bytes;
    table->max_blocks = config->max_blocks;
    table->read_only = config->read_only;
    table->extents_offset = extents_offset(config->max_blocks);
    table->extents_bytes = extents_bytes(config->n_bytes, config->max_blocks);
    atomic_store(&table->n_bytes, config->n_bytes);
    int error = init_lock(&table->lock);
    if (error == 0)
        error = rebuild(table);
    atomic_thread_fence(memory_order_release);
    table->magic = TABLE_MAGIC;
    return error;
}

int table_check(const struct table *table, size_t n_bytes)
{
    if (n_bytes < sizeof *table || table->magic != TABLE_MAGIC || table->version != TABLE_VERSION ||
        table->word_bits != sizeof(void *) * 8)
        return -EPROTO;
    const struct quire_shared_heap_config config = {.n_bytes = atomic_load(&table->n_bytes),
                                                    .max_bytes = table->max_bytes,
                                                    .max_blocks = table->max_blocks};
    const size_t needed = table_bytes(&config);
    if (needed == 0 || needed != table->table_bytes || needed > n_bytes ||
        config.n_bytes > config.max_bytes ||
        table->extents_offset != extents_offset(config.max_blocks) ||
        table->extents_bytes != needed - table->extents_offset)
        return -EPROTO;
    return 0;
}

/* Whoever had the lock died: what it did last may be half done. */
static int recover(struct table *table)
{
    const int error = rebuild(table);

    if (error) {
        log_error("shared heap: a member died, and what it left can't be repaired");
        pthread_mutex_unlock(&table->lock); /* for ever: nobody can take it again */
        return error;
    }
    pthread_mutex_consistent(&table->lock);
    atomic_fetch_add(&table->n_recovered, 1);
    table_reap(table);
    return 0;
}

int table_lock(struct table *table)
{
    const int error = pthread_mutex_lock(&table->lock);

    if (error == EOWNERDEAD)
        return recover(table);
    return error ? -EUCLEAN : 0;
}

void table_unlock(struct table *table)
{
    pthread_mutex_unlock(&table->lock);
}

/* Members */

static void drop_all(struct table *table, unsigned member)
{
    const uint64_t bit = (uint64_t)1 << member;

    for (uint32_t i = 0; i < table->max_blocks; i++)
        if (atomic_load_explicit(&table->block[i].holders, memory_order_relaxed) & bit)
            table_drop(table, member, i);
}

void table_leave(struct table *table, unsigned member)
{
    drop_all(table, member);
    table->member[member] = (struct table_member){0, 0};
}

int table_reap(struct table *table)
{
    int n = 0;

    for (unsigned i = 0; i < QUIRE_SHARED_HEAP_MAX_MEMBERS; i++) {
        const struct table_member *member = &table->member[i];
        if (member->pid == 0 || process_is_alive(member->pid, member->start_time))
            continue;
        table_leave(table, i);
        n++;
    }
    return n;
}

static int free_member(const struct table *table)
{
    for (int i = 0; i < (int)QUIRE_SHARED_HEAP_MAX_MEMBERS; i++)
        if (table->member[i].pid == 0)
            return i;
    return -EUSERS;
}

int table_join(struct table *table)
{
    const uint32_t pid = process_own_pid();

    table_reap(table);
    const int member = free_member(table);
    if (member >= 0) {
        drop_all(table, (unsigned)member); /* of one who died while it left */
        table->member[member] = (struct table_member){pid, process_start_time(pid)};
    }
    return member;
}

/* Blocks */

int table_alloc(struct table *table, unsigned member, uint64_t length, uint64_t alignment,
                uint32_t *index)
{
    const uint32_t i = table->first_free;
    uint64_t offset;

    if (i == TABLE_NO_BLOCK)
        return -ENOSPC;
    struct table_block *block = &table->block[i];
    const int error = quire_extent_alloc(table_space(table), length, alignment, &block->extent,
                                         &offset);
    if (error)
        return error;
    table->first_free = block->next_free;
    table->n_blocks++;
    block->offset = offset;
    block->length = length;
    block->stamp++;
    /* release: from here on it is alive, and a rebuild finds all of it */
    atomic_store_explicit(&block->holders, (uint64_t)1 << member, memory_order_release);
    *index = i;
    return 0;
}

struct table_block *table_find(struct table *table, const struct quire_block *name)
{
    if (name->index >= table->max_blocks)
        return NULL;
    struct table_block *block = &table->block[name->index];
    return block->stamp == name->stamp && atomic_load(&block->holders) != 0 ? block : NULL;
}

void table_drop(struct table *table, unsigned member, uint32_t index)
{
    struct table_block *block = &table->block[index];
    const uint64_t left = atomic_load(&block->holders) & ~((uint64_t)1 << member);

    atomic_store_explicit(&block->holders, left, memory_order_release);
    if (left != 0)
        return;
    (void)!quire_extent_free(table_space(table), block->extent); /* it is there: 2 */
    block->next_free = table->first_free;
    table->first_free = index;
    table->n_blocks--;
}

/* Invariants */

static bool matches_extent(struct table *table, const struct table_block *block)
{
    struct quire_extent_piece piece;

    return quire_extent_find(table_space(table), block->extent, &piece) == 0 &&
           piece.offset == block->offset && piece.length == block->length;
}

static int invalid(const char *why, uint32_t index)
{
    log_error("shared heap: block %u: %s", index, why);
    return -EUCLEAN;
}

int table_validate(struct table *table)
{
    struct quire_extent_stats stats;
    uint32_t n_alive = 0, n_free = 0;
    uint64_t members = 0;

    for (unsigned i = 0; i < QUIRE_SHARED_HEAP_MAX_MEMBERS; i++)
        members |= (uint64_t)(table->member[i].pid != 0) << i;
    for (uint32_t i = 0; i < table->max_blocks; i++) {
        const uint64_t holders = atomic_load(&table->block[i].holders);
        n_alive += holders != 0;
        if ((holders & ~members) != 0)
            return invalid("it is held by nobody", i); /* 1 */
        if (holders != 0 && !matches_extent(table, &table->block[i]))
            return invalid("it has no place", i); /* 2 */
    }
    for (uint32_t i = table->first_free; i != TABLE_NO_BLOCK; i = table->block[i].next_free)
        if (i >= table->max_blocks || atomic_load(&table->block[i].holders) != 0 ||
            n_free++ == table->max_blocks)
            return invalid("it is in the free list", i); /* 2 */
    quire_extent_stats(table_space(table), &stats);
    if (n_alive != table->n_blocks || n_alive != stats.n_extents ||
        n_alive + n_free != table->max_blocks)
        return invalid("their numbers do not agree", n_alive); /* 2 */
    return quire_extent_validate(table_space(table));
}
