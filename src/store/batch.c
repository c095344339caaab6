/* SPDX-License-Identifier: Apache-2.0 */
/*
 * batch: objects on their way to the file, in three steps.
 *
 *   collect (locked)   lists the oldest objects of the pool, says where each will lie in clusters
 *                      claimed for it, and marks them leaving. Nothing is copied yet.
 *   write (unlocked)   seals copies in the batch's buffer and writes it with one pwrite.
 *   commit (locked)    hands over each page whose owner still wants it; frees the pool's copy.
 *
 * When our clusters are sparse (clusters_are_sparse()), or the file is full, a batch gathers
 * instead: collect pins sparse clusters, write reads them back and packs their living objects into
 * the cluster held in reserve, and commit hands those over; the emptied clusters are free, the
 * first becomes the reserve. Each such batch is to leave fewer clusters than there were; where a
 * few in a row do not, gathering is put off; in a full file until something there is dropped. So it
 * comes to an end.
 *
 * Invariants
 *   B1  the objects in state LEAVING or DEAD are those listed in batches in flight, each once;
 *       a block's n_leaving counts its share
 *   B2  the slot of a listed object is not freed before its batch commits, even if the page is
 *       dropped, and a pinned cluster is not released. So a listed reference can't come to name
 *       another object: what commit relocates is what was collected, and write may read it
 *       without the lock
 *   B3  a batch in flight pins its clusters and its sources
 *   B4  after any error all objects are where they were before; the claimed clusters are free
 *   B5  nothing is written but what is sealed, and zeros
 *
 * Errors of the file are remembered: what may pass (a full disk, a kernel short of memory) is tried
 * again after a while, a broken file is written to no more, and what is in it can still be read.
 */
#include "base/checked.h"
#include "base/meta.h"
#include "store/inside.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define MOST_FRUITLESS 4 /* then gathering waits until something in the file is dropped */
/* With no more units than this a cluster is emptied: two of them fit into one. */
#define SPARSE_UNITS (CLUSTER_UNITS / 2)
#define FULL_FILE_SPARSE_UNITS (CLUSTER_UNITS / 4 * 3) /* the same where there is no other way */
#define RETRY_NS ((uint64_t)5 * 1000 * 1000 * 1000)    /* a full disk */
#define RETRY_SOON_NS ((uint64_t)50 * 1000 * 1000)     /* what the kernel may have in a moment */
#define BATCH_BYTES round_up(sizeof(struct store_batch), SYS_PAGE_SIZE)

struct store_batch *store_batch_new(void)
{
    struct store_batch *batch = meta_map(BATCH_BYTES);
    if (batch == NULL)
        return NULL;
    if (scratch_open(&batch->scratch, STORE_BATCH_CLUSTERS * SWAP_CLUSTER_BYTES) != 0) {
        meta_unmap(batch, BATCH_BYTES);
        return NULL;
    }
    batch->most_clusters = STORE_BATCH_CLUSTERS;
    batch->buffer = batch->scratch.memory;
    batch->source = batch->buffer + SWAP_CLUSTER_BYTES; /* gathering fills one cluster only */
    return batch;
}

struct scratch *store_batch_scratch(struct store_batch *batch)
{
    return &batch->scratch;
}

void store_batch_limit(struct store_batch *batch, unsigned n_clusters)
{
    batch->most_clusters = n_clusters;
}

static void begin(struct store *store, struct store_batch *batch, enum batch_kind kind,
                  uint32_t first_cluster, unsigned n_clusters)
{
    if (!batch->charged) /* its pages come into being now */
        meta_charge((long)BATCH_BYTES);
    batch->charged = true;
    batch->kind = kind;
    batch->first_cluster = first_cluster;
    batch->n_clusters = n_clusters;
    batch->at = batch->unit = batch->end_unit = 0;
    batch->n_items = batch->n_sources = 0;
    batch->next = store->in_flight;
    store->in_flight = batch;
}

static void end(struct store *store, struct store_batch *batch)
{
    struct store_batch **link = &store->in_flight;
    while (*link != batch)
        link = &(*link)->next;
    *link = batch->next;
    batch->kind = BATCH_IDLE;
    store_count_clusters(store);
}

/* Says where an object will lie; false: the batch is full. */
static bool put(struct store_batch *batch, struct batch_item *item)
{
    if (batch->unit + item->n_units > CLUSTER_UNITS) {
        if (batch->at + 1 == batch->n_clusters)
            return false;
        batch->at++;
        batch->unit = 0;
    }
    item->cluster = (uint8_t)batch->at;
    item->unit = (uint16_t)batch->unit;
    batch->unit = batch->end_unit = object_next_start(batch->unit, item->n_units);
    return true;
}

/* Appends an object and says where it will lie; NULL: the batch is full. */
static struct batch_item *place(struct store_batch *batch, const struct object_header *header)
{
    struct batch_item item = {.checksum = header->checksum,
                              .page = header->page,
                              .n_bytes = header->n_bytes,
                              .codec = header->codec,
                              .n_units = (uint16_t)object_units(header->n_bytes)};
    if (!put(batch, &item))
        return NULL;
    assert(batch->n_items < BATCH_ITEMS); /* each takes a granule at least */
    batch->items[batch->n_items] = item;
    return &batch->items[batch->n_items++];
}

/* Lists what is kept in a block; false when the batch is full. */
static bool list_block(struct store *store, struct store_batch *batch, uint32_t index)
{
    struct pool_block *block = &store->pool.blocks[index];
    if (block->n_leaving == block->n_used)
        return true;
    for (int at = pool_next_used(block, 0); at >= 0;
         at = (unsigned)at + 1 < POOL_SLOTS ? pool_next_used(block, (unsigned)at + 1) : -1) {
        const uint64_t slot = (uint64_t)index << REF_SLOT_BITS | (unsigned)at;
        size_t capacity;
        const struct object_header *header = pool_object(&store->pool, slot, &capacity);
        if (header->state != OBJECT_KEPT)
            continue;
        struct batch_item *item = place(batch, header);
        if (item == NULL)
            return false;
        item->old = ref_of_slot(slot);
        pool_set_state(&store->pool, slot, OBJECT_LEAVING);
        block->n_leaving++;
    }
    return true;
}

/* Unpins what the batch did not come to fill. */
static void trim_clusters(struct store *store, struct store_batch *batch)
{
    const unsigned n = batch->n_items == 0 ? 0 : batch->at + 1;
    while (batch->n_clusters > n)
        cluster_unpin(&store->file, batch->first_cluster + --batch->n_clusters);
}

static void list_from(struct store *store, struct store_batch *batch, uint32_t index)
{
    for (; index != POOL_NONE; index = store->pool.blocks[index].age_next)
        if (!list_block(store, batch, index))
            break;
}

/* B1: the object is in the batch no more. False when its page was dropped meanwhile. */
static bool delist(struct store *store, const struct batch_item *item)
{
    const uint64_t slot = ref_slot(item->old);
    size_t capacity;
    const struct object_header *header = pool_object(&store->pool, slot, &capacity);
    store->pool.blocks[slot >> REF_SLOT_BITS].n_leaving--;
    if (header->state == OBJECT_DEAD) {
        pool_give(&store->pool, slot);
        return false;
    }
    pool_set_state(&store->pool, slot, OBJECT_KEPT);
    return true;
}

/* D. L. Shell, CACM 2 (1959): no memory, and a batch is a few hundred. */
static void sort_by_page(struct batch_item *items, unsigned n)
{
    for (unsigned gap = n / 2; gap > 0; gap /= 2) {
        for (unsigned i = gap; i < n; i++) {
            const struct batch_item item = items[i];
            unsigned at = i;
            for (; at >= gap && items[at - gap].page > item.page; at -= gap)
                items[at] = items[at - gap];
            items[at] = item;
        }
    }
}

/*
 * A block holds objects of like size, so neighbours lie in several blocks; they should lie in one
 * cluster, since whoever wants one wants the next. What no longer fits stays in the pool.
 */
static void put_in_order(struct store *store, struct store_batch *batch)
{
    const unsigned n = batch->n_items;
    sort_by_page(batch->items, n);
    batch->at = batch->unit = batch->end_unit = 0;
    for (batch->n_items = 0; batch->n_items < n; batch->n_items++)
        if (!put(batch, &batch->items[batch->n_items]))
            break;
    for (unsigned i = batch->n_items; i < n; i++)
        (void)delist(store, &batch->items[i]);
}

static int collect_from_pool(struct store *store, struct store_batch *batch, uint32_t first,
                             unsigned n_clusters)
{
    begin(store, batch, BATCH_FROM_POOL, first, n_clusters);
    list_from(store, batch, pool_oldest_own(&store->pool));
    if (batch->n_items == 0)
        list_from(store, batch, store->pool.oldest);
    put_in_order(store, batch);
    trim_clusters(store, batch);
    store_count_clusters(store);
    if (batch->n_items == 0)
        end(store, batch);
    return (int)batch->n_items;
}

/* Gathers from sparse clusters of our own, of at most so many units each, until one is filled. */
static int collect_from_file(struct store *store, struct store_batch *batch, unsigned most_units)
{
    if (store->file.reserve == SWAP_NONE)
        return -ENOSPC;
    struct batch_source sources[BATCH_SOURCES];
    unsigned n = 0, n_units = 0;
    int n_objects = 0;
    while (n < BATCH_SOURCES && n_units < CLUSTER_UNITS) {
        const uint32_t cluster = cluster_pin_sparse(&store->file, most_units);
        if (cluster == SWAP_NONE)
            break;
        const struct cluster *entry = &store->file.table[cluster];
        sources[n] = (struct batch_source){.cluster = cluster, .n_units = entry->n_units};
        memcpy(sources[n++].live, entry->live, sizeof(entry->live));
        n_units += entry->n_units;
        for (unsigned w = 0; w < CLUSTER_GRANULES / 64; w++)
            n_objects += __builtin_popcountll(entry->live[w]);
    }
    if (n < 2) { /* one alone would only move */
        if (n == 1)
            cluster_unpin(&store->file, sources[0].cluster);
        return -ENOSPC;
    }
    begin(store, batch, BATCH_FROM_FILE, cluster_take_reserve(&store->file), 1);
    memcpy(batch->sources, sources, sizeof(sources[0]) * n);
    batch->n_sources = n;
    return n_objects;
}

static bool may_pass(int error)
{
    return error == -ENOSPC || error == -ENOMEM || error == -EAGAIN;
}

int store_collect(struct store *store, struct store_batch *batch)
{
    if (store->file.space == NULL)
        return -ENODEV;
    const int error = store_file_error(store);
    if (error != 0 && (!may_pass(error) || sys_now_ns() < store->retry_ns))
        return error;
    if (clusters_are_sparse(&store->file)) {
        const int n = collect_from_file(store, batch, SPARSE_UNITS);
        if (n > 0)
            return n;
        clusters_put_off(&store->file);
    }
    if (store->pool.oldest == POOL_NONE)
        return 0;
    uint32_t first;
    const int n = cluster_claim(&store->file, batch->most_clusters, &first);
    store_count_clusters(store);
    if (n > 0)
        return collect_from_pool(store, batch, first, (unsigned)n);
    if (store->n_fruitless >= MOST_FRUITLESS)
        return -ENOSPC;
    return collect_from_file(store, batch, FULL_FILE_SPARSE_UNITS);
}

static unsigned char *place_of(const struct store_batch *batch, const struct batch_item *item)
{
    return batch->buffer + item->cluster * SWAP_CLUSTER_BYTES + item->unit * OBJECT_UNIT_BYTES;
}

static struct file_ref new_place(const struct store_batch *batch, const struct batch_item *item)
{
    return (struct file_ref){batch->first_cluster + item->cluster, item->unit, item->n_units};
}

/* Copies an object to its place in the buffer and seals it to its new cluster. */
static void fill_in(const struct store *store, struct store_batch *batch,
                    const struct batch_item *item, const void *data)
{
    const struct object_header header = {.checksum = item->checksum,
                                         .page = item->page,
                                         .n_bytes = item->n_bytes,
                                         .codec = item->codec};
    const struct seal_place place = cluster_place(&store->file, new_place(batch, item));
    const size_t n_bytes = object_sealed_bytes(item->unit, item->n_units);
    unsigned char *object = place_of(batch, item), *at = object + SEAL_PREFIX_BYTES;
    memcpy(at, &header, sizeof(header));
    memcpy(at + sizeof(header), data, item->n_bytes);
    at += sizeof(header) + item->n_bytes;
    memset(at, 0, (size_t)(object + n_bytes - at));
    seal_encrypt(store->seal, &place, object, n_bytes);
}

static size_t bytes_to_write(const struct store_batch *batch)
{
    return batch->at * SWAP_CLUSTER_BYTES +
           round_up(batch->end_unit * OBJECT_UNIT_BYTES, SYS_PAGE_SIZE);
}

/* B5: zeros where a cluster is not filled: the buffer has held pages in clear. */
static void clear_rests(struct store_batch *batch)
{
    const unsigned char *end = batch->buffer + bytes_to_write(batch);
    for (unsigned i = 0; i < batch->n_items; i++) {
        const struct batch_item *item = &batch->items[i];
        if (i + 1 < batch->n_items && item[1].cluster == item->cluster)
            continue;
        unsigned char *rest = place_of(batch, item) +
                              object_sealed_bytes(item->unit, item->n_units);
        const unsigned char *cluster_end = batch->buffer +
                                           (item->cluster + (size_t)1) * SWAP_CLUSTER_BYTES;
        memset(rest, 0, (size_t)((cluster_end < end ? cluster_end : end) - rest));
    }
}

static void fill_from_pool(const struct store *store, struct store_batch *batch)
{
    for (unsigned i = 0; i < batch->n_items; i++) {
        const struct batch_item *item = &batch->items[i];
        size_t capacity;
        fill_in(store, batch, item, pool_object(&store->pool, ref_slot(item->old), &capacity) + 1);
    }
}

static unsigned n_live(const struct batch_source *source)
{
    unsigned n = 0;
    for (unsigned w = 0; w < CLUSTER_GRANULES / 64; w++)
        n += (unsigned)__builtin_popcountll(source->live[w]);
    return n;
}

/* How long the object at `unit` says it is; 0: it can't be. */
static unsigned claimed_units(const struct store *store, uint32_t cluster, unsigned unit,
                              const unsigned char *at)
{
    const struct seal_place place = cluster_place(&store->file,
                                                  (struct file_ref){cluster, unit, 0});
    const unsigned n_units = seal_units(store->seal, &place, at);
    return n_units > object_units(SYS_PAGE_SIZE) || unit + n_units > CLUSTER_UNITS ? 0 : n_units;
}

/* Opens an object and seals it to its new place. -ENOSPC: the batch is full; -EBADMSG: damage. */
static int move_over(const struct store *store, struct store_batch *batch, struct file_ref ref,
                     unsigned char *at)
{
    const struct seal_place place_now = cluster_place(&store->file, ref);
    struct object_header header;
    if (seal_decrypt(store->seal, &place_now, at, object_sealed_bytes(ref.unit, ref.n_units)) < 0)
        return -EBADMSG;
    memcpy(&header, at + SEAL_PREFIX_BYTES, sizeof(header));
    struct batch_item *item = place(batch, &header);
    if (item == NULL)
        return -ENOSPC;
    item->old = ref_of_file(ref);
    fill_in(store, batch, item, at + SEAL_PREFIX_BYTES + sizeof(header));
    return 0;
}

/*
 * Packs the living objects of one source; false when the batch is full. A length that can't be one,
 * or an object that does not open, ends the walk: what lies behind it stays where it is, and
 * loading it will tell.
 */
static bool gather(const struct store *store, struct store_batch *batch,
                   struct batch_source *source)
{
    unsigned left = n_live(source);
    for (unsigned unit = 0; left > 0 && unit < CLUSTER_UNITS;) {
        unsigned char *at = batch->source + unit * OBJECT_UNIT_BYTES;
        const struct file_ref ref = {source->cluster, unit,
                                     claimed_units(store, source->cluster, unit, at)};
        if (ref.n_units == 0)
            break;
        const unsigned granule = unit / GRANULE_UNITS;
        if ((source->live[granule / 64] >> granule % 64 & 1) != 0) {
            const int result = move_over(store, batch, ref, at);
            if (result == -ENOSPC)
                return false;
            if (result < 0)
                break;
            left--;
        }
        unit = object_next_start(unit, ref.n_units);
    }
    source->damaged = left > 0;
    return true;
}

/* 0, or -ENOSPC when none of the sources gave anything: the file stays as full as it was. */
static int fill_from_file(const struct store *store, struct store_batch *batch)
{
    for (unsigned i = 0; i < batch->n_sources; i++) {
        struct batch_source *source = &batch->sources[i];
        const ssize_t n = store_read_file(store, batch->source, SWAP_CLUSTER_BYTES,
                                          (off_t)source->cluster * (off_t)SWAP_CLUSTER_BYTES);
        if (n < 0) {
            source->damaged = true;
            continue;
        }
        memset(batch->source + n, 0, SWAP_CLUSTER_BYTES - (size_t)n); /* the file may end here */
        if (!gather(store, batch, source))
            break;
    }
    return batch->n_items > 0 ? 0 : -ENOSPC;
}

static int write_all(const struct store *store, const unsigned char *data, size_t n_bytes,
                     off_t offset)
{
    while (n_bytes > 0) {
        const ssize_t n = sys_pwrite(store->file.fd, data, n_bytes, offset);
        if (n == -EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? (int)n : -EIO;
        data += n;
        n_bytes -= (size_t)n;
        offset += n;
    }
    return 0;
}

int store_write(struct store *store, struct store_batch *batch)
{
    scratch_use(&batch->scratch, (batch->n_clusters + (batch->n_sources > 0)) * SWAP_CLUSTER_BYTES);
    if (batch->kind == BATCH_FROM_POOL) {
        fill_from_pool(store, batch);
    } else {
        const int error = fill_from_file(store, batch);
        if (error != 0)
            return error;
    }
    clear_rests(batch);
    const off_t offset = (off_t)batch->first_cluster * (off_t)SWAP_CLUSTER_BYTES;
    const size_t n_bytes = bytes_to_write(batch);
    const int error = write_all(store, batch->buffer, n_bytes, offset);
    if (error == 0 && !store->direct) /* starts writing back; what is clean by then is dropped */
        (void)sys_fadvise(store->file.fd, 0, offset + (off_t)n_bytes, POSIX_FADV_DONTNEED);
    (void)store_trim(store);
    return error;
}

void batch_put_back(struct store *store, struct store_batch *batch)
{
    if (batch->kind == BATCH_FROM_POOL)
        for (unsigned i = 0; i < batch->n_items; i++)
            (void)delist(store, &batch->items[i]);
}

static bool move_from_pool(struct store *store, const struct store_batch *batch,
                           const struct batch_item *item, store_relocate_fn *relocate,
                           void *context)
{
    const struct file_ref to = new_place(batch, item);
    if (!delist(store, item) || !relocate(context, item->page, item->old, ref_of_file(to)))
        return false;
    size_t capacity;
    store_count_ram(store, pool_object(&store->pool, ref_slot(item->old), &capacity), -1);
    pool_give(&store->pool, ref_slot(item->old));
    store_count_file(store, to, 1);
    cluster_add(&store->file, to);
    return true;
}

static bool move_within_file(struct store *store, const struct store_batch *batch,
                             const struct batch_item *item, store_relocate_fn *relocate,
                             void *context)
{
    const struct file_ref from = ref_file(item->old), to = new_place(batch, item);
    const struct file_ref start = {from.cluster, from.unit, 0};
    if (!cluster_holds(&store->file, start))
        return false; /* dropped meanwhile */
    if (!cluster_holds(&store->file, from) ||
        !relocate(context, item->page, item->old, ref_of_file(to)))
        return false; /* the page is being loaded: it stays where it is */
    store_count_file(store, from, -1);
    cluster_remove(&store->file, from);
    store_count_file(store, to, 1);
    cluster_add(&store->file, to);
    return true;
}

static void remember(struct store *store, int result)
{
    const int before = store_file_error(store);
    if (before != 0 && !may_pass(before))
        return; /* broken for good, whatever a batch that was under way then says */
    if (result == -EDQUOT || result == -EFBIG)
        result = -ENOSPC;
    if (may_pass(result))
        store->retry_ns = sys_now_ns() + (result == -ENOSPC ? RETRY_NS : RETRY_SOON_NS);
    atomic_store_explicit(&store->file_error, result, memory_order_relaxed); /* a figure */
}

/*
 * One cluster is filled, so two must have been emptied for a gain. Where rounding or damage leaves
 * no pair that fits into one, gathering would go round for ever.
 */
static void judge_gathering(struct store *store, const struct store_batch *batch)
{
    unsigned n_emptied = 0;
    for (unsigned i = 0; i < batch->n_sources; i++)
        n_emptied += store->file.table[batch->sources[i].cluster].n_units == 0;
    if (n_emptied >= 2) {
        store->n_fruitless = 0;
        clusters_resume(&store->file);
    } else if (++store->n_fruitless % MOST_FRUITLESS == 0) {
        clusters_put_off(&store->file);
    }
}

static void end_source(struct store *store, const struct batch_source *source)
{
    if (source->damaged)
        cluster_settle(&store->file, source->cluster);
    cluster_unpin(&store->file, source->cluster);
}

size_t store_commit(struct store *store, struct store_batch *batch, int result,
                    store_relocate_fn *relocate, void *context)
{
    size_t n = 0;
    if (result != 0)
        batch_put_back(store, batch);
    for (unsigned i = 0; result == 0 && i < batch->n_items; i++) {
        const struct batch_item *item = &batch->items[i];
        n += batch->kind == BATCH_FROM_POOL
                 ? move_from_pool(store, batch, item, relocate, context)
                 : move_within_file(store, batch, item, relocate, context);
    }
    if (batch->kind == BATCH_FROM_FILE)
        judge_gathering(store, batch);
    for (unsigned i = 0; i < batch->n_sources; i++)
        end_source(store, &batch->sources[i]);
    for (unsigned i = 0; i < batch->n_clusters; i++)
        cluster_unpin(&store->file, batch->first_cluster + i);
    remember(store, result);
    end(store, batch);
    return n;
}
