/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store: where evicted pages live; what the contract in store.h promises, but for the batches
 * (batch.c).
 *
 *   store_ref -> pattern, in itself
 *             -> slot of the pool (pool.c)     -> header, data -> codec.c -> page
 *             -> place in the file (clusters.c, swap.c) -> seal.c -> header, data -> codec.c
 *                -> page
 *
 * Bringing a page back trusts nothing that it reads: the reference says how long the object is at
 * most, the header must name the page and a length within, decoding is bounded on both sides, and
 * the checksum of what comes out decides. Damage anywhere in the object is -EBADMSG or has no
 * effect (the state byte, padding); never other bytes.
 *
 * Using a reference that does not name a living object is a bug of the owner's and would sooner or
 * later free somebody's page: it ends the process at once.
 */
#include "store/store.h"

#include "base/checked.h"
#include "base/log.h"
#include "base/meta.h"
#include "store/codec.h"
#include "store/inside.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define READ_TRIES 200 /* where memory is short: for two seconds */
#define READ_PAUSE_NS 10000000

enum store_tier store_tier(store_ref ref)
{
    return (enum store_tier)((ref & 3) - 1);
}

void store_count_ram(struct store *store, const struct object_header *header, int sign)
{
    struct store_figures *f = &store->figures;
    figure_add(&f->n_ram, sign);
    figure_add(&f->ram_bytes, sign * (ssize_t)(OBJECT_HEADER_BYTES + header->n_bytes));
    if (header->codec == STORE_CODEC_NONE)
        figure_add(&f->n_raw, sign);
}

void store_count_file(struct store *store, struct file_ref ref, int sign)
{
    figure_add(&store->figures.n_file, sign);
    figure_add(&store->figures.file_units,
               sign * (ssize_t)object_taken_units(ref.unit, ref.n_units));
}

void store_count_clusters(struct store *store)
{
    atomic_store_explicit(&store->figures.n_clusters, store->file.n_held, memory_order_relaxed);
}

/* How the descriptor was opened decides whether the kernel keeps copies of what goes through it. */
static void look_at_file(struct store *store)
{
    if (store->file.space == NULL)
        return;
    const int flags = sys_fcntl(store->file.fd, F_GETFL, 0);
    store->direct = flags >= 0 && (flags & O_DIRECT) != 0;
    if (!store->direct) /* reading ahead would fill the cache with other pages' objects */
        (void)sys_fadvise(store->file.fd, 0, 0, POSIX_FADV_RANDOM);
}

int store_init(const struct store_config *config, struct store **store)
{
    const size_t n_bytes = round_up(sizeof(struct store), SYS_PAGE_SIZE);
    if (config->swap != NULL && config->seal == NULL)
        return -EINVAL;
    struct store *s = meta_map(n_bytes);
    if (s == NULL)
        return -ENOMEM;
    s->seal = config->seal;
    int error = pool_init(&s->pool, config->pool_max_bytes);
    if (error != 0)
        goto unmap;
    error = clusters_init(&s->file, config->swap, config->swap_fd, config->swap_owner);
    if (error != 0)
        goto deinit_pool;
    meta_charge((long)n_bytes);
    look_at_file(s);
    *store = s;
    return 0;

deinit_pool:
    pool_deinit(&s->pool);
unmap:
    meta_unmap(s, n_bytes);
    return error;
}

void store_deinit(struct store *store)
{
    const size_t n_bytes = round_up(sizeof(struct store), SYS_PAGE_SIZE);
    clusters_deinit(&store->file);
    pool_deinit(&store->pool);
    meta_unmap(store, n_bytes);
    meta_charge(-(long)n_bytes);
}

int store_insert(struct store *store, uint32_t page, const struct store_packed *packed,
                 size_t pool_limit_bytes, store_ref *ref)
{
    if (packed->same) {
        *ref = ref_of_pattern(packed->pattern);
        return 0;
    }
    uint64_t slot;
    const int error = pool_take(&store->pool, OBJECT_HEADER_BYTES + packed->n_bytes,
                                pool_limit_bytes >> SYS_PAGE_SHIFT, &slot);
    if (error != 0)
        return error;
    size_t capacity;
    struct object_header *header = pool_object(&store->pool, slot, &capacity);
    pool_will_write(&store->pool, slot, OBJECT_HEADER_BYTES + packed->n_bytes);
    *header = (struct object_header){.checksum = packed->checksum,
                                     .page = page,
                                     .n_bytes = packed->n_bytes,
                                     .codec = packed->codec,
                                     .state = OBJECT_KEPT};
    memcpy(header + 1, packed->data, packed->n_bytes);
    store_count_ram(store, header, 1);
    *ref = ref_of_slot(slot);
    return 0;
}

static void fill_pattern(void *out, uint32_t pattern)
{
    uint64_t *words = out;
    for (size_t i = 0; i < SYS_PAGE_SIZE / sizeof(*words); i++)
        words[i] = (uint64_t)pattern << 32 | pattern;
}

static int load_ram(const struct store *store, struct store_packer *packer, uint64_t slot,
                    uint32_t page, void *out)
{
    const struct pool *pool = &store->pool;
    if (slot >> REF_SLOT_BITS >= pool->n_blocks)
        return -EBADMSG;
    size_t capacity;
    const struct object_header *at = pool_object(pool, slot, &capacity);
    if (capacity == 0 || ((slot & (POOL_SLOTS - 1)) + 1) * capacity > POOL_BLOCK_BYTES)
        return -EBADMSG;
    /* All but the state, which collecting may change at the same time. */
    const struct object_header header = {
        .checksum = at->checksum, .page = at->page, .n_bytes = at->n_bytes, .codec = at->codec};
    if (header.page != page)
        return -EBADMSG;
    return codec_decode(packer, &header, at + 1, capacity - OBJECT_HEADER_BYTES, out);
}

/* A kernel that has no memory for the reading may have it a moment later; the program waits. */
static bool read_again(ssize_t n, unsigned *n_tries)
{
    if (n == -EINTR)
        return true;
    if ((n != -ENOMEM && n != -EAGAIN) || ++*n_tries == READ_TRIES)
        return false;
    sys_sleep_ns(READ_PAUSE_NS);
    return true;
}

ssize_t store_read_file(const struct store *store, void *to, size_t n_bytes, off_t offset)
{
    size_t done = 0;
    unsigned n_tries = 0;
    while (done < n_bytes) {
        const ssize_t n = sys_pread(store->file.fd, (char *)to + done, n_bytes - done,
                                    offset + (off_t)done);
        if (n < 0 && read_again(n, &n_tries))
            continue;
        if (n < 0)
            return n;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    if (!store->direct)
        (void)sys_fadvise(store->file.fd, offset, (off_t)n_bytes, POSIX_FADV_DONTNEED);
    return (ssize_t)done;
}

/* Reads the one or two pages of the file in which the object lies. */
static bool is_file_ref(const struct store *store, struct file_ref ref)
{
    return ref.cluster < store->file.n && ref.n_units > 0 &&
           ref.unit + ref.n_units <= CLUSTER_UNITS && ref.n_units <= object_units(SYS_PAGE_SIZE);
}

/* Takes the page out of the object at `at`, a copy of what the file holds there; once. */
static int open_object(const struct store *store, struct store_packer *packer, struct file_ref ref,
                       uint32_t page, unsigned char *at, void *out)
{
    struct object_header header;
    const struct seal_place place = cluster_place(&store->file, ref);
    if (seal_decrypt(store->seal, &place, at, object_sealed_bytes(ref.unit, ref.n_units)) < 0)
        return -EBADMSG;
    at += SEAL_PREFIX_BYTES;
    memcpy(&header, at, sizeof(header));
    if (header.page != page && !cluster_is_settled(&store->file, ref.cluster))
        return -EBADMSG;
    if (object_units(header.n_bytes) != ref.n_units)
        return -EBADMSG;
    return codec_decode(packer, &header, at + sizeof(header),
                        ref.n_units * OBJECT_UNIT_BYTES - SEAL_PREFIX_BYTES - sizeof(header), out);
}

static off_t cluster_offset(uint32_t cluster)
{
    return (off_t)cluster * (off_t)SWAP_CLUSTER_BYTES;
}

static int load_file(const struct store *store, struct store_packer *packer, struct file_ref ref,
                     uint32_t page, void *out, void *scratch)
{
    if (!is_file_ref(store, ref))
        return -EBADMSG;
    const size_t begin = ref.unit * OBJECT_UNIT_BYTES;
    const size_t end = begin + object_sealed_bytes(ref.unit, ref.n_units);
    const size_t window = round_down(begin, SYS_PAGE_SIZE);
    const size_t n_bytes = round_up(end, SYS_PAGE_SIZE) - window;
    const off_t offset = cluster_offset(ref.cluster) + (off_t)window;
    if (store_read_file(store, scratch, n_bytes, offset) != (ssize_t)n_bytes)
        return -EIO;
    return open_object(store, packer, ref, page, (unsigned char *)scratch + (begin - window), out);
}

/* Bytes [begin, end) of its cluster are what is to be read for an object. */
static size_t object_begin(struct file_ref ref)
{
    return ref.unit * OBJECT_UNIT_BYTES;
}

static size_t object_end(struct file_ref ref)
{
    return object_begin(ref) + object_sealed_bytes(ref.unit, ref.n_units);
}

/* Fills the reader with bytes [begin, end) of a cluster, or what the file has of them. */
static void fill(const struct store *store, struct store_reader *reader, uint32_t cluster,
                 size_t begin, size_t end)
{
    begin = round_down(begin, SYS_PAGE_SIZE);
    const size_t n_bytes = round_up(end, SYS_PAGE_SIZE) - begin;
    const ssize_t n = store_read_file(store, reader->buffer, n_bytes,
                                      cluster_offset(cluster) + (off_t)begin);
    reader->cluster = cluster;
    reader->begin = begin;
    reader->n_bytes = n > 0 ? (size_t)n : 0;
}

/* The object within the reader; NULL: it holds something else. */
static unsigned char *object_in(const struct store_reader *reader, struct file_ref ref)
{
    const bool is_there = reader->n_bytes > 0 && reader->cluster == ref.cluster &&
                          object_begin(ref) >= reader->begin &&
                          object_end(ref) <= reader->begin + reader->n_bytes;
    return is_there ? reader->buffer + (object_begin(ref) - reader->begin) : NULL;
}

/*
 * What the reader holds may be of an earlier use of the cluster, or opened before: then the object
 * does not open, and the cluster is read anew.
 */
static int load_through(const struct store *store, struct store_packer *packer, struct file_ref ref,
                        uint32_t page, void *out, struct store_reader *reader)
{
    if (!is_file_ref(store, ref))
        return -EBADMSG;
    unsigned char *object = object_in(reader, ref);
    if (object && open_object(store, packer, ref, page, object, out) == 0)
        return 0;
    fill(store, reader, ref.cluster, 0, SWAP_CLUSTER_BYTES);
    object = object_in(reader, ref);
    if (!object)
        return -EIO;
    return open_object(store, packer, ref, page, object, out);
}

void store_read_ahead(const struct store *store, store_ref first, store_ref last,
                      struct store_reader *reader)
{
    const struct file_ref from = ref_file(first), to = ref_file(last);
    if (is_file_ref(store, from) && is_file_ref(store, to) && from.cluster == to.cluster)
        fill(store, reader, from.cluster, object_begin(from), object_end(to));
}

bool store_are_together(store_ref one, store_ref other)
{
    return store_tier(one) == STORE_FILE && store_tier(other) == STORE_FILE &&
           ref_file(one).cluster == ref_file(other).cluster;
}

int store_load_through(struct store *store, struct store_packer *packer, store_ref ref,
                       uint32_t page, void *out, struct store_reader *reader)
{
    if (store_tier(ref) == STORE_FILE)
        return load_through(store, packer, ref_file(ref), page, out, reader);
    return store_load(store, packer, ref, page, out, reader->buffer);
}

int store_load(struct store *store, struct store_packer *packer, store_ref ref, uint32_t page,
               void *out, void *scratch)
{
    switch (store_tier(ref)) {
    case STORE_SAME_FILLED:
        fill_pattern(out, ref_pattern(ref));
        return 0;
    case STORE_RAM:
        return load_ram(store, packer, ref_slot(ref), page, out);
    case STORE_FILE:
        return load_file(store, packer, ref_file(ref), page, out, scratch);
    }
    return -EBADMSG;
}

_Noreturn static void misused(store_ref ref)
{
    log_error("store: reference %lx names no stored page; this is a bug in Quire",
              (unsigned long)ref);
    __builtin_trap();
}

static void drop_ram(struct store *store, store_ref ref)
{
    const uint64_t slot = ref_slot(ref);
    if (!pool_holds(&store->pool, slot))
        misused(ref);
    size_t capacity;
    struct object_header *header = pool_object(&store->pool, slot, &capacity);
    if (header->state == OBJECT_DEAD)
        misused(ref);
    store_count_ram(store, header, -1);
    if (header->state == OBJECT_LEAVING)
        pool_set_state(&store->pool, slot, OBJECT_DEAD); /* B2: commit frees the slot */
    else
        pool_give(&store->pool, slot);
}

static void drop_file(struct store *store, store_ref ref)
{
    const struct file_ref f = ref_file(ref);
    if (!cluster_holds(&store->file, f))
        misused(ref);
    store_count_file(store, f, -1);
    cluster_remove(&store->file, f);
    store_count_clusters(store);
}

void store_drop(struct store *store, store_ref ref)
{
    switch (store_tier(ref)) {
    case STORE_SAME_FILLED:
        return;
    case STORE_RAM:
        drop_ram(store, ref);
        return;
    case STORE_FILE:
        drop_file(store, ref);
        store->n_fruitless = 0;
        return;
    }
    misused(ref);
}

store_ref store_rename(struct store *store, store_ref ref, uint32_t from, uint32_t to)
{
    size_t capacity;
    switch (store_tier(ref)) {
    case STORE_SAME_FILLED:
        return ref;
    case STORE_RAM:
        if (!pool_holds(&store->pool, ref_slot(ref)) ||
            pool_object(&store->pool, ref_slot(ref), &capacity)->page != from)
            misused(ref);
        pool_will_write(&store->pool, ref_slot(ref), OBJECT_HEADER_BYTES);
        pool_object(&store->pool, ref_slot(ref), &capacity)->page = to;
        return ref;
    case STORE_FILE: /* its header is on the disk and keeps the old number */
        if (!cluster_holds(&store->file, ref_file(ref)))
            misused(ref);
        cluster_settle(&store->file, ref_file(ref).cluster);
        return ref;
    }
    misused(ref);
}

void store_fork_prepare(struct store *store, unsigned child_owner)
{
    if (store->file.space != NULL)
        swap_share(store->file.space, store->file.owner, child_owner);
}

void store_share(struct store *store, bool shared)
{
    if (shared)
        pool_share(&store->pool);
    else
        pool_unshare(&store->pool);
}

void store_fork_child(struct store *store, unsigned child_owner, int swap_fd)
{
    /* The threads that had these batches in hand are the parent's. */
    for (struct store_batch *b = store->in_flight; b != NULL; b = b->next) {
        batch_put_back(store, b);
        b->kind = BATCH_IDLE;
    }
    store->in_flight = NULL;
    atomic_store_explicit(&store->punching, false, memory_order_relaxed);
    clusters_adopt(&store->file, child_owner, swap_fd);
    store_count_clusters(store);
    look_at_file(store);
}

int store_file_error(const struct store *store)
{
    return atomic_load_explicit(&store->file_error, memory_order_relaxed);
}

bool store_is_sparse(const struct store *store)
{
    return store->file.space != NULL && store_file_error(store) == 0 &&
           clusters_are_sparse(&store->file);
}

size_t store_trim(struct store *store)
{
    const struct clusters *file = &store->file;
    /* acquire and release: the next thread to punch finds this one's claims undone */
    if (file->space == NULL ||
        atomic_exchange_explicit(&store->punching, true, memory_order_acquire))
        return 0;
    const size_t n = swap_punch(file->space, file->owner, file->fd, 256);
    atomic_store_explicit(&store->punching, false, memory_order_release);
    return n * SWAP_CLUSTER_BYTES;
}

void store_counts(const struct store *store, struct store_counts *counts)
{
    const struct store_figures *f = &store->figures;
    *counts = (struct store_counts){
        .pool_pages = pool_pages(&store->pool),
        .pool_shared_pages = pool_shared_pages(&store->pool),
        .n_ram = atomic_load_explicit(&f->n_ram, memory_order_relaxed),
        .ram_bytes = atomic_load_explicit(&f->ram_bytes, memory_order_relaxed),
        .n_raw = atomic_load_explicit(&f->n_raw, memory_order_relaxed),
        .n_file = atomic_load_explicit(&f->n_file, memory_order_relaxed),
        .file_bytes = atomic_load_explicit(&f->file_units, memory_order_relaxed) *
                      OBJECT_UNIT_BYTES,
        .file_held_bytes = atomic_load_explicit(&f->n_clusters, memory_order_relaxed) *
                           SWAP_CLUSTER_BYTES,
    };
}

static int unclean(const char *what, size_t found, size_t expected)
{
    log_error("store: %s: %zu, counted %zu", what, found, expected);
    return -EUCLEAN;
}

static int check(const char *what, size_t found, size_t expected)
{
    return found == expected ? 0 : unclean(what, found, expected);
}

/* Adds one block's living objects to the counts and checks how many are leaving. */
static int recount_block(const struct store *store, uint32_t index, struct store_counts *counts)
{
    const struct pool_block *block = &store->pool.blocks[index];
    size_t n_leaving = 0;
    for (int at = pool_next_used(block, 0); at >= 0;
         at = (unsigned)at + 1 < POOL_SLOTS ? pool_next_used(block, (unsigned)at + 1) : -1) {
        size_t capacity;
        const struct object_header *header = pool_object(
            &store->pool, (uint64_t)index << REF_SLOT_BITS | (unsigned)at, &capacity);
        if (header->state > OBJECT_DEAD || OBJECT_HEADER_BYTES + header->n_bytes > capacity)
            return unclean("an object does not fit its slot", header->n_bytes, capacity);
        n_leaving += header->state != OBJECT_KEPT;
        if (header->state == OBJECT_DEAD)
            continue;
        counts->n_ram++;
        counts->ram_bytes += OBJECT_HEADER_BYTES + header->n_bytes;
        counts->n_raw += header->codec == STORE_CODEC_NONE;
    }
    return check("B1: objects leaving a block", block->n_leaving, n_leaving);
}

int store_validate(const struct store *store)
{
    struct store_counts now, counted = {0};
    store_counts(store, &now);
    if (pool_validate(&store->pool) != 0)
        return -EUCLEAN;
    for (uint32_t i = store->pool.oldest; i != POOL_NONE; i = store->pool.blocks[i].age_next)
        if (recount_block(store, i, &counted) != 0)
            return -EUCLEAN;
    size_t n_units = 0;
    if (clusters_validate(&store->file, &counted.n_file, &n_units) != 0)
        return -EUCLEAN;
    if (check("objects in RAM", now.n_ram, counted.n_ram) != 0 ||
        check("bytes in RAM", now.ram_bytes, counted.ram_bytes) != 0 ||
        check("raw objects", now.n_raw, counted.n_raw) != 0 ||
        check("objects in the file", now.n_file, counted.n_file) != 0 ||
        check("bytes in the file", now.file_bytes, n_units * OBJECT_UNIT_BYTES) != 0 ||
        check("bytes held of the file", now.file_held_bytes,
              store->file.n_held * SWAP_CLUSTER_BYTES) != 0)
        return -EUCLEAN;
    return 0;
}
