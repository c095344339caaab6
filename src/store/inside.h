/* SPDX-License-Identifier: Apache-2.0 */
/* inside: the store's own structures; private to the store. Store S1 and B1 to B4: see batch.c. */
#ifndef QUIRE_STORE_INSIDE_H
#define QUIRE_STORE_INSIDE_H

#include "store/clusters.h"
#include "store/pool.h"

#define BATCH_ITEMS (STORE_BATCH_CLUSTERS * CLUSTER_GRANULES)
#define BATCH_SOURCES 8

struct batch_item { /* one object on its way to the file */
    store_ref old;
    uint64_t checksum;
    uint32_t page;
    uint16_t n_bytes; /* of data */
    uint8_t codec;
    uint8_t cluster; /* index within the batch */
    uint16_t unit;
    uint16_t n_units;
};

struct batch_source { /* a sparse cluster, pinned, whose living objects are gathered */
    uint32_t cluster;
    unsigned n_units; /* of its living objects together */
    uint64_t live[CLUSTER_GRANULES / 64];
    bool damaged; /* found by write */
};

enum batch_kind { BATCH_IDLE, BATCH_FROM_POOL, BATCH_FROM_FILE };

struct store_batch {
    struct store_batch *next; /* of those in flight */
    enum batch_kind kind;
    uint32_t first_cluster;
    unsigned n_clusters;
    unsigned at;       /* the cluster that is being filled */
    unsigned unit;     /* where its next object goes */
    unsigned end_unit; /* where its last object ends */
    unsigned n_sources;
    struct batch_source sources[BATCH_SOURCES];
    unsigned n_items;
    struct batch_item items[BATCH_ITEMS];
    bool charged; /* this struct's pages */
    unsigned most_clusters;
    struct scratch scratch; /* STORE_BATCH_CLUSTERS clusters */
    unsigned char *buffer;  /* there: what is written */
    unsigned char *source;  /* there, the second cluster: what is read back to gather from it */
};

/* Figures for any thread; written under the owner's lock, relaxed: they order nothing. */
struct store_figures {
    _Atomic size_t n_ram, ram_bytes, n_raw, n_file, file_units, n_clusters;
};

struct store {
    struct pool pool;
    struct clusters file;
    const struct seal *seal; /* of what is in the file */
    struct store_figures figures;
    struct store_batch *in_flight;
    unsigned n_fruitless;   /* batches in a row that gathered from the file and gained no cluster */
    uint64_t retry_ns;      /* collect refuses before, after the disk was full */
    _Atomic int file_error; /* the last write's; 0: it went well */
    _Atomic bool punching;  /* one thread at a time */
    bool direct;            /* the file is not cached by the kernel */
};

static inline void figure_add(_Atomic size_t *figure, ssize_t n)
{
    const size_t old = atomic_load_explicit(figure, memory_order_relaxed);
    atomic_store_explicit(figure, old + (size_t)n, memory_order_relaxed);
}

/* An object has come to the pool or the file (sign 1), or is gone from it (-1). */
void store_count_ram(struct store *store, const struct object_header *header, int sign);
void store_count_file(struct store *store, struct file_ref ref, int sign);
void store_count_clusters(struct store *store);

/* Reads until n_bytes or the end of the file; how many, or a negative errno. */
ssize_t store_read_file(const struct store *store, void *to, size_t n_bytes, off_t offset);

/* Undoes what collect did to the pool's objects. */
void batch_put_back(struct store *store, struct store_batch *batch);

#endif
