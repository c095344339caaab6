/* SPDX-License-Identifier: Apache-2.0 */
/*
 * heap_table: what the members of a shared heap share beside the data.
 *
 *     | header, lock, members | block[max_blocks] | metadata of the extents |
 *
 * The blocks are what counts: one is alive while `holders` is not 0, which is the last store of an
 * allocation and the first of a release. All else (extents, free list) follows from them, and is
 * made anew by whoever finds that the holder of the lock has died (table_lock).
 *
 * 1. Bit m of holders is set only while member m has a pid.
 * 2. The extents are exactly the living blocks; the free list has exactly the others.
 * 3. A block's stamp changes whenever its place is used again.
 *
 * Everything but n_bytes and holders is read and written under the lock.
 */
#ifndef QUIRE_SHARE_HEAP_TABLE_H
#define QUIRE_SHARE_HEAP_TABLE_H

#include <quire/extent.h>
#include <quire/shared_heap.h>

#include <pthread.h>
#include <stdatomic.h>

#define TABLE_MAGIC 0x5041454852485351ull /* "QSHRHEAP" as the bytes of a little-endian word */
#define TABLE_VERSION 1u
#define TABLE_NO_BLOCK UINT32_MAX

struct table_member {
    uint32_t pid; /* 0: free */
    uint64_t start_time;
};

struct table_block {
    _Atomic uint64_t holders; /* a bit a member */
    uint64_t offset, length;  /* units */
    quire_extent extent;
    uint32_t stamp, next_free;
};

struct table {
    uint64_t magic;
    uint32_t version, word_bits;
    uint64_t table_bytes, max_bytes;
    uint32_t max_blocks, read_only;
    uint64_t extents_offset, extents_bytes;
    _Atomic uint64_t n_bytes;
    _Atomic uint64_t n_recovered;
    pthread_mutex_t lock; /* robust, shared */
    uint32_t first_free, n_blocks;
    struct table_member member[QUIRE_SHARED_HEAP_MAX_MEMBERS];
    _Alignas(64) struct table_block block[];
};

/* 0: no heap can be like this. */
size_t table_bytes(const struct quire_shared_heap_config *config);

/* In zeroed memory. */
int table_init(const struct quire_shared_heap_config *config, struct table *table);

/* Whether the sizes that it names fit into n_bytes and each other. 0 or -EPROTO. */
int table_check(const struct table *table, size_t n_bytes);

struct quire_extent_space *table_space(struct table *table);

/* 0, with the lock held; -EUCLEAN: a member died with it, and what it left can't be repaired. */
int table_lock(struct table *table);
void table_unlock(struct table *table);

/* Under the lock: */

/* Drops what the dead hold; how many there were. */
int table_reap(struct table *table);
int table_join(struct table *table); /* the member's number, or -EUSERS */
void table_leave(struct table *table, unsigned member);
int table_alloc(struct table *table, unsigned member, uint64_t length, uint64_t alignment,
                uint32_t *index); /* units */
/* The living block of that name, or NULL. */
struct table_block *table_find(struct table *table, const struct quire_block *name);
void table_drop(struct table *table, unsigned member, uint32_t index);
int table_validate(struct table *table);

#endif
