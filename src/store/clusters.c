/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clusters: what this process has in the swap file, and which of it lives.
 *
 * The swap space says which clusters are ours; the table says, for each of these, which objects are
 * still somebody's page. When the last one dies the cluster is released.
 *
 * States of a cluster, for this process
 *   not ours -> cluster_claim() -> pinned, empty -> cluster_add() -> live
 *   live, or pinned -> cluster_remove(), cluster_unpin() of the last -> not ours, or the reserve
 *   reserve -> cluster_take_reserve() -> pinned, empty
 *
 * One empty cluster is kept in reserve for as long as any other is held: without it a full file
 * could not be tidied, since gathering the living objects of sparse clusters needs a place to
 * write.
 *
 * Invariants
 *   F1  a cluster of ours has a live object, a pin, or is the reserve; n_held counts them
 *   F2  n_units = what its live objects take (object_taken_units()); they start in distinct
 *       granules
 *   F3  a cluster's contents do not change while it is ours, so a reference names one object
 *   F4  clusters->n_units = the sum of n_units over the table
 */
#include "store/clusters.h"

#include "base/checked.h"
#include "base/log.h"
#include "base/meta.h"

#include <errno.h>

#define PUT_OFF_SHARE 32
#define SEARCH_CLUSTERS 16384 /* looked at in one search, under the lock */

static size_t table_bytes(const struct clusters *clusters)
{
    return clusters->n * sizeof(struct cluster);
}

static size_t charged_bytes(const struct clusters *clusters)
{
    return (table_bytes(clusters) / SYS_PAGE_SIZE / 64 + 2) * sizeof(uint64_t);
}

int clusters_init(struct clusters *clusters, struct swap_space *space, int fd, unsigned owner)
{
    *clusters = (struct clusters){.space = space, .fd = fd, .owner = owner, .reserve = SWAP_NONE};
    if (space == NULL)
        return 0;
    if (owner >= SWAP_OWNERS)
        return -EINVAL;
    swap_release_owner(space, owner);
    clusters->n = swap_n_clusters(space);
    clusters->table = meta_map(table_bytes(clusters) + SYS_PAGE_SIZE);
    if (clusters->table == NULL)
        return -ENOMEM;
    clusters->charged = meta_map(charged_bytes(clusters));
    if (clusters->charged == NULL) {
        meta_unmap(clusters->table, table_bytes(clusters) + SYS_PAGE_SIZE);
        return -ENOMEM;
    }
    return 0;
}

void clusters_deinit(struct clusters *clusters)
{
    if (clusters->space == NULL)
        return;
    swap_release_owner(clusters->space, clusters->owner);
    meta_charge(-(long)(clusters->charged_pages * SYS_PAGE_SIZE));
    meta_unmap(clusters->charged, charged_bytes(clusters));
    meta_unmap(clusters->table, table_bytes(clusters) + SYS_PAGE_SIZE);
}

/* Metadata counts from the page on that it is touched; an entry may lie in two. */
static void charge_entry(struct clusters *clusters, uint32_t cluster)
{
    const size_t first = cluster * sizeof(struct cluster) / SYS_PAGE_SIZE;
    const size_t last = ((cluster + (size_t)1) * sizeof(struct cluster) - 1) / SYS_PAGE_SIZE;
    for (size_t page = first; page <= last; page++) {
        const uint64_t bit = 1ull << page % 64;
        if ((clusters->charged[page / 64] & bit) != 0)
            continue;
        clusters->charged[page / 64] |= bit;
        clusters->charged_pages++;
        meta_charge((long)SYS_PAGE_SIZE);
    }
}

/* A use of the cluster begins: nothing lives in it, and what it held before does not verify. */
static void begin_use(struct clusters *clusters, uint32_t cluster)
{
    charge_entry(clusters, cluster);
    clusters->table[cluster] = (struct cluster){.use = swap_new_use(clusters->space), .n_pins = 1};
}

struct seal_place cluster_place(const struct clusters *clusters, struct file_ref ref)
{
    return (struct seal_place){.use = clusters->table[ref.cluster].use,
                               .cluster = ref.cluster,
                               .unit = (uint16_t)ref.unit,
                               .n_units = (uint16_t)ref.n_units};
}

static void fill_reserve(struct clusters *clusters)
{
    uint32_t cluster;
    if (clusters->reserve == SWAP_NONE &&
        swap_claim(clusters->space, clusters->owner, 1, &cluster) == 1) {
        charge_entry(clusters, cluster);
        clusters->table[cluster] = (struct cluster){0};
        clusters->reserve = cluster;
        clusters->n_held++;
    }
}

int cluster_claim(struct clusters *clusters, unsigned n_wanted, uint32_t *first)
{
    fill_reserve(clusters);
    const int n = swap_claim(clusters->space, clusters->owner, n_wanted, first);
    if (n < 0 && clusters->n_held == 1 && clusters->reserve != SWAP_NONE) {
        *first = cluster_take_reserve(clusters); /* nothing that could be tidied: no need for it */
        return 1;
    }
    if (n < 0)
        return n;
    clusters->n_held += (uint32_t)n;
    for (uint32_t c = *first; c < *first + (uint32_t)n; c++)
        begin_use(clusters, c);
    return n;
}

uint32_t cluster_take_reserve(struct clusters *clusters)
{
    const uint32_t cluster = clusters->reserve;
    clusters->reserve = SWAP_NONE;
    if (cluster != SWAP_NONE)
        begin_use(clusters, cluster);
    return cluster;
}

static void release(struct clusters *clusters, uint32_t cluster)
{
    clusters->n_held--;
    swap_release(clusters->space, clusters->owner, cluster);
}

static bool is_empty(const struct cluster *entry)
{
    return entry->n_units == 0 && entry->n_pins == 0;
}

/* F1: nothing lives in the cluster and nobody works on it. */
static void end_use(struct clusters *clusters, uint32_t cluster)
{
    /* A shared one is no use as the reserve: others may still read it. */
    if (clusters->reserve == SWAP_NONE && !swap_is_shared(clusters->space, cluster))
        clusters->reserve = cluster;
    else
        release(clusters, cluster);
    if (clusters->n_held == 1 && clusters->reserve != SWAP_NONE) {
        release(clusters, clusters->reserve);
        clusters->reserve = SWAP_NONE;
    }
}

void cluster_unpin(struct clusters *clusters, uint32_t cluster)
{
    struct cluster *entry = &clusters->table[cluster];
    entry->n_pins--;
    if (is_empty(entry))
        end_use(clusters, cluster);
}

void cluster_add(struct clusters *clusters, struct file_ref ref)
{
    struct cluster *entry = &clusters->table[ref.cluster];
    const uint32_t granule = ref.unit / GRANULE_UNITS;
    entry->live[granule / 64] |= 1ull << granule % 64;
    const uint32_t n_units = object_taken_units(ref.unit, ref.n_units);
    entry->n_units = (uint16_t)(entry->n_units + n_units);
    clusters->n_units += n_units;
}

void cluster_remove(struct clusters *clusters, struct file_ref ref)
{
    struct cluster *entry = &clusters->table[ref.cluster];
    const uint32_t granule = ref.unit / GRANULE_UNITS;
    entry->live[granule / 64] &= ~(1ull << granule % 64);
    const uint32_t n_units = object_taken_units(ref.unit, ref.n_units);
    entry->n_units = (uint16_t)(entry->n_units - n_units);
    clusters->n_units -= n_units;
    if (is_empty(entry))
        end_use(clusters, ref.cluster);
}

bool cluster_holds(const struct clusters *clusters, struct file_ref ref)
{
    const uint32_t granule = ref.unit / GRANULE_UNITS;
    return ref.cluster < clusters->n &&
           (clusters->table[ref.cluster].live[granule / 64] >> granule % 64 & 1) != 0 &&
           ref.n_units <= clusters->table[ref.cluster].n_units;
}

/* Entries of clusters that are not ours are empty, so the table alone tells (F1). */
uint32_t cluster_pin_sparse(struct clusters *clusters, unsigned most_units)
{
    const uint32_t top = swap_top(clusters->space);
    for (uint32_t i = 0; i < top && i < SEARCH_CLUSTERS; i++) {
        const uint32_t c = clusters->cursor < top ? clusters->cursor : 0;
        clusters->cursor = c + 1;
        struct cluster *entry = &clusters->table[c];
        if (entry->n_units == 0 || entry->n_units > most_units || entry->n_pins != 0 ||
            entry->settled || swap_is_shared(clusters->space, c))
            continue;
        entry->n_pins++;
        return c;
    }
    return SWAP_NONE;
}

bool clusters_are_sparse(const struct clusters *clusters)
{
    const uint64_t n_full = clusters->n_units / CLUSTER_UNITS;
    return clusters->n_held > n_full + n_full / 2 + CLUSTERS_SLACK &&
           (clusters->n_held > clusters->put_off || clusters->n_units < clusters->put_off_units);
}

void clusters_put_off(struct clusters *clusters)
{
    clusters->put_off = clusters->n_held + clusters->n_held / PUT_OFF_SHARE;
    clusters->put_off_units = clusters->n_units - clusters->n_units / PUT_OFF_SHARE;
}

void clusters_resume(struct clusters *clusters)
{
    clusters->put_off = 0;
    clusters->put_off_units = 0;
}

void cluster_settle(struct clusters *clusters, uint32_t cluster)
{
    /* relaxed: who loads an object after its page was renamed has taken the lock in between */
    atomic_store_explicit(&clusters->table[cluster].settled, true, memory_order_relaxed);
}

bool cluster_is_settled(const struct clusters *clusters, uint32_t cluster)
{
    return atomic_load_explicit(&clusters->table[cluster].settled, memory_order_relaxed);
}

void clusters_adopt(struct clusters *clusters, unsigned owner, int fd)
{
    clusters->owner = owner;
    clusters->fd = fd;
    clusters->reserve = SWAP_NONE;
    clusters->n_held = clusters->put_off = 0;
    if (clusters->space == NULL)
        return;
    for (uint32_t c = swap_next_used(clusters->space, owner, 0); c != SWAP_NONE;
         c = swap_next_used(clusters->space, owner, c + 1)) {
        clusters->n_held++;
        if (clusters->table[c].n_pins != 0)
            clusters->table[c].n_pins = 0;
        if (clusters->table[c].n_units == 0)
            release(clusters, c);
    }
}

static int unclean(const char *what, uint32_t cluster)
{
    log_error("clusters: cluster %u: %s", cluster, what);
    return -EUCLEAN;
}

int clusters_validate(const struct clusters *clusters, size_t *n_objects, size_t *n_units)
{
    uint32_t n_held = 0;
    *n_objects = *n_units = 0;
    for (uint32_t c = 0; c < clusters->n; c++) {
        const bool ours = swap_uses(clusters->space, clusters->owner, c);
        if (!ours && clusters->reserve == c)
            return unclean("F1: the reserve is not ours", c);
        /* Ours without a mark here is what swap_punch() has in its hands. */
        const struct cluster *entry = &clusters->table[c];
        size_t n = 0;
        for (unsigned w = 0; w < CLUSTER_GRANULES / 64; w++)
            n += (size_t)__builtin_popcountll(entry->live[w]);
        if (n > entry->n_units || (n == 0) != (entry->n_units == 0))
            return unclean("F2: units do not add up", c);
        if (!ours && (n != 0 || entry->n_pins != 0))
            return unclean("F1: it is in use and not ours", c);
        n_held += n != 0 || entry->n_pins != 0 || clusters->reserve == c;
        *n_objects += n;
        *n_units += entry->n_units;
    }
    if (*n_units != clusters->n_units)
        return unclean("F4: units of all clusters do not add up", 0);
    return n_held == clusters->n_held ? 0 : unclean("F1: clusters held do not add up", n_held);
}
