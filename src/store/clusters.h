/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clusters: what this process has in the swap file; private to the store. All functions want the
 * owner's lock, but cluster_place() and cluster_is_settled().
 */
#ifndef QUIRE_STORE_CLUSTERS_H
#define QUIRE_STORE_CLUSTERS_H

#include "store/object.h"
#include "store/seal.h"

struct cluster {
    uint64_t live[CLUSTER_GRANULES / 64]; /* granules in which a living object starts */
    uint64_t use;                         /* see swap_new_use() */
    uint16_t n_units;                     /* that the living objects take */
    uint8_t n_pins;       /* batches that read or write it; it is not released before they end */
    _Atomic bool settled; /* see cluster_settle() */
};
static_assert(sizeof(struct cluster) == 32, "0.05 % of the file's size, in RAM");

struct clusters {
    struct swap_space *space; /* NULL: no file, all else is unused */
    int fd;
    unsigned owner;
    uint32_t n;             /* entries of table[] */
    uint32_t n_held;        /* clusters that the space says are ours */
    uint64_t n_units;       /* of all living objects: F4 */
    uint64_t put_off_units; /* gathering waits until no more than that are alive, */
    uint32_t put_off;       /* or more clusters than that are held */
    uint32_t reserve;       /* held, empty: what gathering writes to */
    uint32_t cursor;        /* where the search for sparse clusters goes on */
    struct cluster *table;  /* sparse */
    uint64_t *charged;      /* a bit a page of table[]: counted as metadata */
    size_t charged_pages;
};

/* 0, -EINVAL or -ENOMEM. What `owner` still held in the space, from before an exec, is released. */
int clusters_init(struct clusters *clusters, struct swap_space *space, int fd, unsigned owner);
void clusters_deinit(struct clusters *clusters);

/* Claims up to n_wanted neighbours and pins each once. Their number, or -ENOSPC. */
int cluster_claim(struct clusters *clusters, unsigned n_wanted, uint32_t *first);

/* Takes the reserve, pinned, for a new use; SWAP_NONE: there is none. */
uint32_t cluster_take_reserve(struct clusters *clusters);

/* Undoes one pin. A cluster that nothing lives in then is kept as the reserve or released. */
void cluster_unpin(struct clusters *clusters, uint32_t cluster);

void cluster_add(struct clusters *clusters, struct file_ref ref);
void cluster_remove(struct clusters *clusters, struct file_ref ref); /* may release the cluster */
bool cluster_holds(const struct clusters *clusters, struct file_ref ref);

/* Finds a cluster with at most so many units alive, pins it and returns it, or SWAP_NONE. */
uint32_t cluster_pin_sparse(struct clusters *clusters, unsigned most_units);

/*
 * More of the file is held than half as much again as lives in it, and CLUSTERS_SLACK: it is time
 * to gather what lives in sparse clusters.
 */
#define CLUSTERS_SLACK 16
bool clusters_are_sparse(const struct clusters *clusters);
/* To gather gained nothing: it is not time again before a little more is held, or less lives. */
void clusters_put_off(struct clusters *clusters);
void clusters_resume(struct clusters *clusters); /* it gained something */

/*
 * What the headers in the cluster say does not hold for all its objects, because pages were renamed
 * or the disk damaged it. So it is not gathered from, and page numbers in it are not checked.
 */
void cluster_settle(struct clusters *clusters, uint32_t cluster);
bool cluster_is_settled(const struct clusters *clusters, uint32_t cluster); /* as cluster_place() */

/*
 * What an object is sealed to in this use of the cluster. Any thread while the cluster is pinned or
 * the object is alive.
 */
struct seal_place cluster_place(const struct clusters *clusters, struct file_ref ref);

/* In a fork child: owner and descriptor are its own now; pins and reserve were the parent's. */
void clusters_adopt(struct clusters *clusters, unsigned owner, int fd);

/* Adds up the living objects; 0 or -EUCLEAN with the reason logged. */
int clusters_validate(const struct clusters *clusters, size_t *n_objects, size_t *n_units);

#endif
