/* SPDX-License-Identifier: Apache-2.0 */
/*
 * heap: a process's view of a shared heap: two mappings, a member's number, and how often this
 * process holds each block.
 *
 * Errors unwind in reverse; what the table needs is reserved before it changes (heap_table.h).
 */
#include "base/checked.h"
#include "base/sys.h"
#include "share/hand.h"
#include "share/heap_table.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAX_ALIGNMENT ((uint64_t)1 << 30)

struct quire_shared_heap {
    struct table *table;
    unsigned char *data;
    size_t table_bytes, data_bytes; /* mapped */
    int fds[QUIRE_SHARED_HEAP_FDS];
    unsigned member;
    _Atomic uint32_t holds[]; /* of this process, by block; written under the table's lock */
};

static struct quire_shared_heap *new_view(uint32_t max_blocks)
{
    struct quire_shared_heap *heap = calloc(1, sizeof *heap + max_blocks * sizeof heap->holds[0]);

    if (heap != NULL)
        heap->fds[0] = heap->fds[1] = -1;
    return heap;
}

void quire_shared_heap_forget(struct quire_shared_heap *heap)
{
    if (heap == NULL)
        return;
    if (heap->data != NULL)
        sys_munmap(heap->data, heap->data_bytes);
    if (heap->table != NULL)
        sys_munmap(heap->table, heap->table_bytes);
    for (unsigned i = 0; i < QUIRE_SHARED_HEAP_FDS; i++)
        if (heap->fds[i] >= 0)
            sys_close(heap->fds[i]);
    free(heap);
}

/* Becomes a member of the table that is mapped. */
static int join_table(struct quire_shared_heap *heap)
{
    int error = table_lock(heap->table);

    if (error)
        return error;
    const int member = table_join(heap->table);
    table_unlock(heap->table);
    if (member >= 0)
        heap->member = (unsigned)member;
    return member < 0 ? member : 0;
}

static int make_memory(struct quire_shared_heap *heap,
                       const struct quire_shared_heap_config *config)
{
    const unsigned flags = (config->max_bytes > config->n_bytes ? QUIRE_SHARE_GROWS : 0) |
                           (config->read_only ? QUIRE_SHARE_READ_ONLY : 0);
    void *memory;
    int fd = hand_memory("quire-heap", config->n_bytes, config->max_bytes, flags, &memory);

    if (fd < 0)
        return fd;
    heap->fds[QUIRE_SHARED_HEAP_DATA] = fd;
    heap->data = memory;
    heap->data_bytes = config->max_bytes;
    heap->table_bytes = table_bytes(config);
    fd = hand_memory("quire-heap-table", heap->table_bytes, heap->table_bytes, 0, &memory);
    if (fd < 0)
        return fd;
    heap->fds[QUIRE_SHARED_HEAP_TABLE] = fd;
    heap->table = memory;
    return 0;
}

int quire_shared_heap_create(const struct quire_shared_heap_config *wanted,
                             struct quire_shared_heap **result)
{
    struct quire_shared_heap_config config = *wanted;

    if (table_bytes(&config) == 0)
        return -EINVAL;
    config.n_bytes = round_up(config.n_bytes, SYS_PAGE_SIZE);
    config.max_bytes = round_up(config.max_bytes, SYS_PAGE_SIZE);
    if (config.max_bytes < config.n_bytes)
        config.max_bytes = config.n_bytes;
    struct quire_shared_heap *heap = new_view(config.max_blocks);
    if (heap == NULL)
        return -ENOMEM;
    int error = make_memory(heap, &config);
    if (error == 0)
        error = table_init(&config, heap->table);
    if (error == 0)
        error = join_table(heap);
    if (error == 0)
        *result = heap;
    else
        quire_shared_heap_forget(heap);
    return error;
}

void quire_shared_heap_fds(const struct quire_shared_heap *heap, int fds[QUIRE_SHARED_HEAP_FDS])
{
    memcpy(fds, heap->fds, sizeof heap->fds);
}

/* The data, as much of the address space as it may grow to. */
static int map_data(struct quire_shared_heap *heap, int fd)
{
    const int seals = sys_fcntl(fd, F_GET_SEALS, 0);
    const int prot = PROT_READ | (heap->table->read_only ? 0 : PROT_WRITE);

    if (seals < 0)
        return -EPROTO;
    if (!(seals & F_SEAL_SHRINK))
        return -EPERM;
    if (lseek(fd, 0, SEEK_END) < (off_t)atomic_load(&heap->table->n_bytes))
        return -EPROTO;
    void *data = sys_mmap(NULL, heap->table->max_bytes, prot, MAP_SHARED, fd, 0);
    if (sys_is_error(data))
        return sys_error(data);
    heap->data = data;
    heap->data_bytes = heap->table->max_bytes;
    return 0;
}

static int copy_fds(struct quire_shared_heap *heap, const int fds[QUIRE_SHARED_HEAP_FDS])
{
    for (unsigned i = 0; i < QUIRE_SHARED_HEAP_FDS; i++)
        if ((heap->fds[i] = sys_fcntl(fds[i], F_DUPFD_CLOEXEC, 3)) < 0)
            return heap->fds[i];
    return 0;
}

/* Who joins has not seen the table before. */
static int validate_all(struct quire_shared_heap *heap)
{
    struct quire_extent_space *space;
    int error = table_lock(heap->table);

    if (error)
        return error;
    error = quire_extent_open(table_space(heap->table), heap->table->extents_bytes, &space);
    if (error == 0)
        error = table_validate(heap->table);
    table_unlock(heap->table);
    return error ? -EUCLEAN : 0;
}

int quire_shared_heap_join(const int fds[QUIRE_SHARED_HEAP_FDS], struct quire_shared_heap **result)
{
    void *memory;
    size_t n_bytes;
    bool writable;
    int error = quire_share_map(fds[QUIRE_SHARED_HEAP_TABLE], &memory, &n_bytes, &writable);

    if (error)
        return error == -EINVAL ? -EPROTO : error;
    struct table *table = memory;
    error = writable ? table_check(table, n_bytes) : -EPROTO;
    struct quire_shared_heap *heap = error ? NULL : new_view(table->max_blocks);
    if (heap == NULL) {
        sys_munmap(memory, n_bytes);
        return error ? error : -ENOMEM;
    }
    heap->table = table;
    heap->table_bytes = n_bytes;
    if ((error = copy_fds(heap, fds)) == 0 &&
        (error = map_data(heap, fds[QUIRE_SHARED_HEAP_DATA])) == 0 &&
        (error = validate_all(heap)) == 0 && (error = join_table(heap)) == 0) {
        *result = heap;
        return 0;
    }
    quire_shared_heap_forget(heap);
    return error;
}

void quire_shared_heap_leave(struct quire_shared_heap *heap)
{
    if (heap != NULL && table_lock(heap->table) == 0) {
        table_leave(heap->table, heap->member);
        table_unlock(heap->table);
    }
    quire_shared_heap_forget(heap);
}

/* Blocks */

static void name_block(const struct table_block *block, uint32_t index, struct quire_block *name)
{
    *name = (struct quire_block){index, block->stamp, block->offset * QUIRE_SHARED_HEAP_UNIT,
                                 block->length * QUIRE_SHARED_HEAP_UNIT};
}

/* Once more if somebody who is gone had something. */
static int alloc_locked(struct quire_shared_heap *heap, uint64_t length, uint64_t alignment,
                        uint32_t *index)
{
    int error = table_alloc(heap->table, heap->member, length, alignment, index);

    if ((error == -ENOMEM || error == -ENOSPC) && table_reap(heap->table) > 0)
        error = table_alloc(heap->table, heap->member, length, alignment, index);
    return error;
}

int quire_shared_heap_alloc(struct quire_shared_heap *heap, uint64_t length, uint64_t alignment,
                            struct quire_block *block)
{
    uint32_t index;

    if (length == 0 || length > heap->data_bytes || !is_power_of_two(alignment) ||
        alignment > MAX_ALIGNMENT)
        return length > heap->data_bytes ? -ENOMEM : -EINVAL;
    const uint64_t units = (length + QUIRE_SHARED_HEAP_UNIT - 1) / QUIRE_SHARED_HEAP_UNIT;
    const uint64_t unit_alignment = alignment > QUIRE_SHARED_HEAP_UNIT
                                        ? alignment / QUIRE_SHARED_HEAP_UNIT
                                        : 1;
    int error = table_lock(heap->table);
    if (error)
        return error;
    error = alloc_locked(heap, units, unit_alignment, &index);
    if (error == 0) {
        atomic_store(&heap->holds[index], 1);
        name_block(&heap->table->block[index], index, block);
    }
    table_unlock(heap->table);
    return error;
}

static int hold_locked(struct quire_shared_heap *heap, struct quire_block *name)
{
    struct table_block *block = table_find(heap->table, name);

    if (block == NULL)
        return -ENOENT;
    const uint32_t n = atomic_load(&heap->holds[name->index]);
    if (n == UINT32_MAX)
        return -EOVERFLOW;
    atomic_fetch_or(&block->holders, (uint64_t)1 << heap->member);
    atomic_store(&heap->holds[name->index], n + 1);
    name_block(block, name->index, name);
    return 0;
}

int quire_shared_heap_hold(struct quire_shared_heap *heap, struct quire_block *block)
{
    int error = table_lock(heap->table);

    if (error)
        return error;
    error = hold_locked(heap, block);
    table_unlock(heap->table);
    return error;
}

int quire_shared_heap_drop(struct quire_shared_heap *heap, const struct quire_block *block)
{
    int error = table_lock(heap->table);

    if (error)
        return error;
    if (table_find(heap->table, block) == NULL || atomic_load(&heap->holds[block->index]) == 0)
        error = -ENOENT;
    else if (atomic_fetch_sub(&heap->holds[block->index], 1) == 1)
        table_drop(heap->table, heap->member, block->index);
    table_unlock(heap->table);
    return error;
}

void *quire_shared_heap_address(const struct quire_shared_heap *heap,
                                const struct quire_block *block)
{
    if (block->index >= heap->table->max_blocks || atomic_load(&heap->holds[block->index]) == 0 ||
        heap->table->block[block->index].stamp != block->stamp) /* ours: it does not change */
        return NULL;
    return quire_shared_heap_at(heap->data, heap->data_bytes,
                                heap->table->block[block->index].offset * QUIRE_SHARED_HEAP_UNIT,
                                heap->table->block[block->index].length * QUIRE_SHARED_HEAP_UNIT);
}

void *quire_shared_heap_at(void *data, size_t n_bytes, uint64_t offset, uint64_t length)
{
    if (length == 0 || length > n_bytes || offset > n_bytes - length)
        return NULL;
    return (unsigned char *)data + offset;
}

int quire_shared_heap_grow(struct quire_shared_heap *heap, uint64_t n_bytes)
{
    n_bytes = round_up(n_bytes, SYS_PAGE_SIZE);
    int error = table_lock(heap->table);
    if (error)
        return error;
    if (n_bytes < atomic_load(&heap->table->n_bytes) || n_bytes > heap->data_bytes)
        error = -EINVAL;
    else
        error = sys_ftruncate(heap->fds[QUIRE_SHARED_HEAP_DATA], (off_t)n_bytes);
    if (error == 0) {
        atomic_store(&heap->table->n_bytes, n_bytes);
        error = quire_extent_set_length(table_space(heap->table), n_bytes / QUIRE_SHARED_HEAP_UNIT);
    }
    table_unlock(heap->table);
    return error;
}

int quire_shared_heap_reap(struct quire_shared_heap *heap)
{
    int n = table_lock(heap->table);

    if (n)
        return n;
    n = table_reap(heap->table);
    table_unlock(heap->table);
    return n;
}

int quire_shared_heap_stats(struct quire_shared_heap *heap, struct quire_shared_heap_stats *stats)
{
    struct table *table = heap->table;
    struct quire_extent_stats extents;
    const int error = table_lock(table);

    if (error)
        return error;
    quire_extent_stats(table_space(table), &extents);
    *stats = (struct quire_shared_heap_stats){
        .n_bytes = atomic_load(&table->n_bytes),
        .max_bytes = table->max_bytes,
        .used_bytes = extents.n_used * QUIRE_SHARED_HEAP_UNIT,
        .free_bytes = extents.n_free * QUIRE_SHARED_HEAP_UNIT,
        .largest_free_bytes = extents.largest * QUIRE_SHARED_HEAP_UNIT,
        .n_blocks = table->n_blocks,
        .max_blocks = table->max_blocks,
        .n_recovered = atomic_load(&table->n_recovered),
    };
    for (unsigned i = 0; i < QUIRE_SHARED_HEAP_MAX_MEMBERS; i++)
        stats->n_members += table->member[i].pid != 0;
    table_unlock(table);
    return 0;
}

int quire_shared_heap_validate(struct quire_shared_heap *heap)
{
    int error = table_lock(heap->table);

    if (error)
        return error;
    error = table_validate(heap->table);
    table_unlock(heap->table);
    return error;
}
