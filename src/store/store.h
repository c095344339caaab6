/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store: where evicted pages live, from warm to cold.
 *
 *      store_pack()      store_insert()          store_collect/write/commit()
 *   page ------> packed ---------------> RAM pool ---------------------------> swap file
 *      same-filled: the pattern stays in the reference itself, no memory at all
 *
 * A stored page is named by a store_ref of 48 bits that its owner (the pager) keeps; the store
 * keeps the owner's page number in each object's header, so that it can say which page an object
 * belongs to when it moves it to the file. Each object carries a checksum of the page (XXH3, 64
 * bits) that is verified on the way back. In the file it is encrypted and authenticated (seal.h).
 *
 * Locking: the store has no lock. insert, drop, collect, commit and the fork functions want their
 * caller's one lock ("the owner's lock"). pack and write want none and may run beside anything.
 * load wants none either, but the reference must stay alive during the call: its owner marks the
 * page busy, then neither drops it nor lets commit relocate it.
 *
 * Nothing here allocates, prints, or touches errno after store_init().
 */
#ifndef QUIRE_STORE_STORE_H
#define QUIRE_STORE_STORE_H

#include "base/scratch.h"
#include "base/sys.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint64_t store_ref; /* 48 bits used; 0 names nothing */
#define STORE_REF_BITS 48

enum store_codec { STORE_CODEC_NONE, STORE_CODEC_LZ4, STORE_CODEC_ZSTD };
enum store_tier { STORE_SAME_FILLED, STORE_RAM, STORE_FILE };

/* Where a reference points; a pure function of its bits. */
enum store_tier store_tier(store_ref ref);

/* One page on its way into the store, outside of any lock. */
struct store_packed {
    uint64_t checksum; /* of the page as it was before packing */
    uint32_t pattern;  /* same-filled: the word that repeats */
    uint16_t n_bytes;  /* of data; SYS_PAGE_SIZE when it did not compress */
    uint8_t codec;     /* enum store_codec: how data is coded; NONE means raw */
    uint8_t same;      /* the page is one 32-bit word over and over; data is unused */
    unsigned char data[SYS_PAGE_SIZE];
};

/*
 * Working memory for a codec and the cheaper ones (enum store_codec is in that order); one for each
 * thread that packs or loads.
 */
struct store_packer;
size_t store_packer_bytes(enum store_codec codec);
size_t store_packing_bytes(enum store_codec codec); /* of these, from the start: all but loading */
struct store_packer *store_packer_init(void *memory, enum store_codec codec);
enum store_codec store_packer_codec(const struct store_packer *packer); /* its dearest */
/* Runs all that packing and loading may run, once, where the dynamic linker may bind functions. */
void store_packer_warm_up(struct store_packer *packer);

/* The same for a thread that only loads, which takes much less. */
size_t store_loader_bytes(enum store_codec codec);
struct store_packer *store_loader_init(void *memory, enum store_codec codec);

/*
 * Packs a page of SYS_PAGE_SIZE bytes, by the packer's codec or a cheaper one. Over 7/8 of a page
 * after coding it is kept raw.
 */
void store_pack(struct store_packer *packer, const void *page, struct store_packed *packed);
void store_pack_by(struct store_packer *packer, enum store_codec codec, const void *page,
                   struct store_packed *packed);

struct swap_space; /* the swap file's clusters, shared by the tree: store/swap.h */
struct seal;       /* the key of what is in the file: store/seal.h */

struct store_config {
    size_t pool_max_bytes;   /* the most that the RAM pool may ever hold; address space */
    struct swap_space *swap; /* in memory shared by the processes of a run; NULL: no file */
    int swap_fd;             /* this process's descriptor of the file */
    const struct seal *seal; /* of this run; with a file it has to be there */
    unsigned swap_owner;     /* this process's number in the swap space, 0 to SWAP_OWNERS-1 */
};

struct store;
/* Metadata comes from base/meta.h. Returns 0 or -ENOMEM, -EINVAL. */
int store_init(const struct store_config *config, struct store **store);
void store_deinit(struct store *store); /* gives back all; references die */

/* Keeps a packed page. -ENOSPC: the pool has no room for it within `pool_limit_bytes`. */
int store_insert(struct store *store, uint32_t page, const struct store_packed *packed,
                 size_t pool_limit_bytes, store_ref *ref);

/*
 * Brings a page back: SYS_PAGE_SIZE bytes into `out`, through `packer`'s working memory. `scratch`
 * is 2 * SYS_PAGE_SIZE bytes aligned to a page, for the file. 0; -EIO the file could not be
 * read; -EBADMSG it is not what was stored (it does not open, the checksum or the owner's page
 * number does not fit). The object stays stored.
 */
int store_load(struct store *store, struct store_packer *packer, store_ref ref, uint32_t page,
               void *out, void *scratch);

/*
 * The same for pages that are wanted in a row: the file is read by whole clusters, and the last one
 * stays in `reader` for the next call. One reader a thread; n_bytes is 0 at first.
 */
struct store_reader {
    unsigned char *buffer; /* SWAP_CLUSTER_BYTES (store/swap.h), aligned to a page */
    size_t begin, n_bytes; /* of `cluster`, in the buffer */
    uint32_t cluster;
};
int store_load_through(struct store *store, struct store_packer *packer, store_ref ref,
                       uint32_t page, void *out, struct store_reader *reader);

/* Whether both lie in the file, in one cluster. Pure. */
bool store_are_together(store_ref one, store_ref other);
/*
 * For loads that are about to follow: reads that part of the file in which objects from `first` to
 * `last` of one cluster lie, instead of all of it. What can't be read the loads will say.
 */
void store_read_ahead(const struct store *store, store_ref first, store_ref last,
                      struct store_reader *reader);

/* Forgets a page. Pool blocks and clusters that fall empty are given back. */
void store_drop(struct store *store, store_ref ref);

/*
 * Locked: the page moved in its owner's numbering (mremap); `from` is the number it had. Returns
 * the reference to go on with. Nobody may be loading it. A batch that has it in hand leaves it.
 */
store_ref store_rename(struct store *store, store_ref ref, uint32_t from, uint32_t to);

/*
 * Moving the oldest objects of the pool on to the file, in three steps so that no lock is held
 * while the disk works. A batch is up to STORE_BATCH_CLUSTERS neighbouring clusters, one write.
 * Several batches may be in flight, each in the hands of one thread. Every collect that returned
 * more than 0 wants its commit.
 *
 * When this process's part of the file is sparse, or the file is full, a batch takes objects from
 * there instead and packs them closer, for the same three calls: the caller need not know, but for
 * the pool not becoming smaller by it. Such batches come to an end by themselves. So the part is
 * about twice what lives in it at most, and 1 MiB, as long as nothing of it is shared or damaged.
 */
#define STORE_BATCH_CLUSTERS 4
struct store_batch;
struct store_batch *store_batch_new(void); /* from base/meta.h; NULL: no memory */
/*
 * The batch's buffer, STORE_BATCH_CLUSTERS clusters long. Between a commit, or a collect that
 * returned no objects, and the next collect it is free for other use, and may be dropped.
 */
struct scratch *store_batch_scratch(struct store_batch *batch);
/* From the next collect on, at most so many clusters at once, 1 to STORE_BATCH_CLUSTERS. */
void store_batch_limit(struct store_batch *batch, unsigned n_clusters);
/*
 * Locked: fills the batch from the oldest pool blocks; their objects stay readable and stored.
 * Returns the number of objects; 0 when there is nothing to move; -ENOSPC when the file is full
 * (--swap-max or the disk; a full disk is tried again after some seconds); -ENODEV when there is no
 * file; what a write failed with before (-EIO …), after which the file is only read.
 */
int store_collect(struct store *store, struct store_batch *batch);
/* Locked: the next collect would pack this process's part of the file closer. */
bool store_is_sparse(const struct store *store);
/* Unlocked: writes the cluster. 0 or -EIO, -ENOSPC …; after an error commit gives up the batch. */
int store_write(struct store *store, struct store_batch *batch);
/*
 * Locked: for each object that was not dropped since it was collected, asks relocate(context, page,
 * old, new) to swap the reference; where it says true the pool's copy is freed, else the file's.
 * `result` is what store_write returned; when not 0 nothing is relocated. Returns the number
 * relocated. `page` may be any number where the disk damaged what is moved within the file: check
 * it.
 */
typedef bool store_relocate_fn(void *context, uint32_t page, store_ref old, store_ref new);
size_t store_commit(struct store *store, struct store_batch *batch, int result,
                    store_relocate_fn *relocate, void *context);

/*
 * Locked: where sizes have changed and a block of the pool's worth of memory lies in free slots of
 * one size, moves a block's objects (64 KiB at most) into others; relocate as above. False: there
 * is nothing of the kind, or it could not be emptied now.
 */
bool store_compact(struct store *store, store_relocate_fn *relocate, void *context);

/*
 * fork. In the parent, locked, before: every cluster that this process uses is marked as used by
 * `child_owner` as well, so it is read-only until one of both gives it up. The child calls _child
 * with its own descriptor; pool memory is its own by copy on write. If the fork fails, the parent
 * releases `child_owner` with swap_release_owner().
 */
void store_fork_prepare(struct store *store, unsigned child_owner);
void store_fork_child(struct store *store, unsigned child_owner, int swap_fd);
/*
 * Locked. In both, after the fork: what the pool holds now is the other side's as well, as long as
 * neither writes to it. Or nobody else has any of it any more.
 */
void store_share(struct store *store, bool shared);

/* 0, or what the last write failed with: to be told once. Any thread. */
int store_file_error(const struct store *store);

/*
 * Unlocked, for idle moments: gives the disk back what lies free in the file, in portions. Writing
 * does it too. Returns the bytes; 0 when there is nothing much to give.
 */
size_t store_trim(struct store *store);

struct store_counts {
    size_t pool_pages;         /* RAM held by the pool now, pages of 4 KiB */
    size_t pool_shared_pages;  /* of these, not written to since a fork: the other side's, too */
    size_t n_ram, ram_bytes;   /* objects in the pool and their packed bytes, headers included */
    size_t n_file, file_bytes; /* objects in the file that are alive, in units of 64 bytes */
    size_t file_held_bytes;    /* clusters of the file in use by this process, bytes */
    size_t n_raw;              /* objects in the pool that did not compress */
};
/* Same-filled pages leave no trace here: their owner counts them. Cheap; any thread. */
void store_counts(const struct store *store, struct store_counts *counts);

/* Recomputes every count and checks every invariant; 0 or -EUCLEAN with the reason logged. */
int store_validate(const struct store *store);

#endif
