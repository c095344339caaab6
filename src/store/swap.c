/* SPDX-License-Identifier: Apache-2.0 */
/*
 * swap: who uses which cluster of the swap file.
 *
 *   space | header, busy[owner], extent[owner] | word[cluster] | bits[owner 0] | bits[owner 1] ...
 *
 * An owner's bits say which clusters it uses: they are the truth. A cluster's word is one atomic:
 *
 *   | version 15 | suspect 1 | written 1 | count 15 |
 *
 * `count` is the number of owners that have the bit, kept so that "is it free?" takes one load;
 * `version` changes with every change of the word; `written` says that the file may have blocks
 * there, for swap_punch(); `suspect` that the count has to be looked at again.
 *
 * A process may be killed between any two instructions, so there is no lock. The order of the steps
 * makes every interruption harmless: raising changes the count first and then the bit, releasing
 * the bit first and then the count. What can be left over is a count that is too high, never one
 * that is too low. An owner announces the cluster it is at work on in busy[], so whoever reaps it
 * knows the one cluster to recount.
 *
 * Recounting while others go on: read the word, check that nobody is busy with the cluster, count
 * the bits, check again, and swap the word for the one with the right count. Whoever raises or
 * releases in between is seen as busy, or has changed the version and the swap fails:
 *   - its count changed before the word was read: its bit is set or cleared before it stops being
 *     busy, so the first check sees it busy or the counting sees the bit as it has to be;
 *   - its count changes later: then the version differs, or it is still busy at the second check,
 *     unless its bit had not changed either when it was counted.
 * Where somebody is busy with the cluster, the count can't be mended, and that one's end does not
 * do it either (a claim that fails changes nothing): so the word is marked as suspect first, then
 * looked at once more, and whoever stops being busy with a suspect cluster recounts it. Meanwhile
 * its busy[] says DONE: not busy, but whoever reaps it has to recount for it. All of this is
 * sequentially consistent; nothing here is hot: a cluster is 40 pages.
 *
 * Invariants
 *   S1  count >= the owners that have the bit; equal when nobody is busy with the cluster
 *   S2  no free cluster lies below the hint, but for the moment in which it falls free
 *   S3  an owner's bits lie in words below extent[owner]; so untouched memory stays untouched
 */
#include "store/swap.h"

#include "base/checked.h"
#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>

#define COUNT_MASK 0x7fffu
#define WRITTEN 0x8000u
#define SUSPECT 0x10000u
#define VERSION_ONE 0x20000u
static_assert(SWAP_OWNERS <= COUNT_MASK, "a count holds all owners");

#define MAX_CLUSTERS ((uint64_t)1 << 29) /* what a reference can name */
#define IDLE_CLUSTERS 64                 /* that many written free clusters are kept unpunched */
#define PUNCH_RUN 64                     /* clusters punched in one call */

#define DONE (1u << 31) /* in busy[]: what it did is done, a suspect count is not yet mended */
static_assert(MAX_CLUSTERS < DONE, "a cluster and DONE fit in one word");

enum busy { BUSY_OWNER, BUSY_PUNCH, BUSY_N }; /* two threads of one owner may be at work */

struct swap_space {
    uint32_t n_clusters;
    _Atomic uint32_t top;    /* clusters from the start that were ever claimed */
    _Atomic uint64_t hint;   /* version 32, cluster 32: S2 */
    _Atomic int64_t n_idle;  /* free and written; a hint, may drift when processes are killed */
    _Atomic uint64_t n_uses; /* of clusters, numbered */
    _Atomic uint32_t closed; /* holes can't be punched in this file */
    _Atomic uint32_t busy[SWAP_OWNERS][BUSY_N]; /* cluster + 1, with or without DONE; 0: idle */
    _Atomic uint32_t extent[SWAP_OWNERS];       /* words of bits that may be set: S3 */
};

static size_t words_offset(void)
{
    return round_up(sizeof(struct swap_space), SYS_PAGE_SIZE);
}

static size_t n_bit_words(uint64_t n_clusters)
{
    return (size_t)(n_clusters + 63) / 64;
}

static size_t bits_offset(uint64_t n_clusters)
{
    return round_up(words_offset() + (size_t)n_clusters * sizeof(uint32_t), SYS_PAGE_SIZE);
}

/* Each owner's bits start on a page of their own, so that an idle owner costs none. */
static size_t owner_bytes(uint64_t n_clusters)
{
    return round_up(n_bit_words(n_clusters) * sizeof(uint64_t), SYS_PAGE_SIZE);
}

static _Atomic uint32_t *word_of(const struct swap_space *space, uint32_t cluster)
{
    return (_Atomic uint32_t *)(void *)((char *)space + words_offset()) + cluster;
}

static _Atomic uint64_t *bits_of(const struct swap_space *space, unsigned owner)
{
    return (_Atomic uint64_t *)(void *)((char *)space + bits_offset(space->n_clusters) +
                                        owner * owner_bytes(space->n_clusters));
}

size_t swap_space_bytes(uint64_t max_file_bytes)
{
    const uint64_t n = max_file_bytes / SWAP_CLUSTER_BYTES;
    return n > MAX_CLUSTERS ? 0 : bits_offset(n) + SWAP_OWNERS * owner_bytes(n);
}

void swap_space_init(struct swap_space *space, uint64_t max_file_bytes)
{
    space->n_clusters = (uint32_t)(max_file_bytes / SWAP_CLUSTER_BYTES);
}

uint32_t swap_n_clusters(const struct swap_space *space)
{
    return space->n_clusters;
}

uint32_t swap_top(const struct swap_space *space)
{
    return space->top;
}

uint64_t swap_new_use(struct swap_space *space)
{
    return atomic_fetch_add(&space->n_uses, 1) + 1;
}

static void set_bit(struct swap_space *space, unsigned owner, uint32_t cluster)
{
    uint32_t extent = space->extent[owner];
    while (extent <= cluster / 64 &&
           !atomic_compare_exchange_weak(&space->extent[owner], &extent, cluster / 64 + 1)) {
    }
    atomic_fetch_or(&bits_of(space, owner)[cluster / 64], 1ull << cluster % 64);
}

static bool clear_bit(struct swap_space *space, unsigned owner, uint32_t cluster)
{
    const uint64_t bit = 1ull << cluster % 64;
    return (atomic_fetch_and(&bits_of(space, owner)[cluster / 64], ~bit) & bit) != 0;
}

/* S2: looks from `cluster` on again. */
static void lower_hint(struct swap_space *space, uint32_t cluster)
{
    uint64_t hint = space->hint, lower;
    do {
        const uint64_t at = (uint32_t)hint < cluster ? (uint32_t)hint : cluster;
        lower = ((hint >> 32) + 1) << 32 | at;
    } while (!atomic_compare_exchange_weak(&space->hint, &hint, lower));
}

static bool anyone_busy(const struct swap_space *space, uint32_t cluster)
{
    for (unsigned o = 0; o < SWAP_OWNERS; o++)
        for (unsigned b = 0; b < BUSY_N; b++)
            if (space->busy[o][b] == cluster + 1)
                return true;
    return false;
}

static uint32_t count_users(const struct swap_space *space, uint32_t cluster)
{
    uint32_t n = 0;
    for (unsigned o = 0; o < SWAP_OWNERS; o++)
        n += swap_uses(space, o, cluster);
    return n;
}

/* Mends a count that a killed process left too high; see above why this is right. */
static void recount(struct swap_space *space, uint32_t cluster)
{
    _Atomic uint32_t *word = word_of(space, cluster);
    for (;;) {
        uint32_t old = *word, n = 0;
        bool busy = anyone_busy(space, cluster);
        if (!busy) {
            n = count_users(space, cluster);
            busy = anyone_busy(space, cluster);
        }
        if (busy && (old & SUSPECT) != 0)
            return; /* marked before that one was seen busy: it, or its reaper, comes back to it */
        if (!busy && n == (old & (COUNT_MASK | SUSPECT)))
            return;
        const uint32_t new = busy ? old | SUSPECT
                                  : ((old & ~(COUNT_MASK | SUSPECT)) + VERSION_ONE) | n;
        if (atomic_compare_exchange_strong(word, &old, new) && !busy) {
            if (n == 0)
                lower_hint(space, cluster);
            return;
        }
    }
}

/* The owner announces that it changes the cluster's word and its own bit, and that it is done. */
static void begin_work(struct swap_space *space, unsigned owner, enum busy busy, uint32_t cluster)
{
    space->busy[owner][busy] = cluster + 1;
}

static void end_work(struct swap_space *space, unsigned owner, enum busy busy, uint32_t cluster)
{
    space->busy[owner][busy] = (cluster + 1) | DONE;
    if ((*word_of(space, cluster) & SUSPECT) != 0)
        recount(space, cluster);
    space->busy[owner][busy] = 0;
}

/* Free to claimed, if it is free. */
static bool try_claim(struct swap_space *space, unsigned owner, uint32_t cluster, enum busy busy)
{
    _Atomic uint32_t *word = word_of(space, cluster);
    uint32_t old = *word;
    if ((old & COUNT_MASK) != 0)
        return false;
    begin_work(space, owner, busy, cluster);
    const uint32_t new = ((old & ~COUNT_MASK) + VERSION_ONE) | WRITTEN | 1;
    const bool claimed = atomic_compare_exchange_strong(word, &old, new);
    if (claimed) {
        if ((old & WRITTEN) != 0)
            atomic_fetch_sub(&space->n_idle, 1);
        set_bit(space, owner, cluster);
    }
    end_work(space, owner, busy, cluster);
    return claimed;
}

/* One user less, whose bit is cleared already. `written` is what the word then says if free. */
static void lower_count(struct swap_space *space, uint32_t cluster, uint32_t written)
{
    _Atomic uint32_t *word = word_of(space, cluster);
    uint32_t old = *word, new;
    do {
        if ((old & COUNT_MASK) == 0)
            return; /* S1 forbids it; never go below */
        new = old - 1 + VERSION_ONE;
        if ((new &COUNT_MASK) == 0)
            new = (new & ~WRITTEN) | written;
    } while (!atomic_compare_exchange_weak(word, &old, new));
    if ((new &COUNT_MASK) == 0) {
        if (written != 0)
            atomic_fetch_add(&space->n_idle, 1);
        lower_hint(space, cluster);
    }
}

static void release(struct swap_space *space, unsigned owner, uint32_t cluster, enum busy busy,
                    uint32_t written)
{
    begin_work(space, owner, busy, cluster);
    if (clear_bit(space, owner, cluster))
        lower_count(space, cluster, written);
    end_work(space, owner, busy, cluster);
}

/*
 * What an owner was killed in, as busy[] says: suspect, so that it is recounted when its release is
 * done. Until then busy[] goes on to say so, since who mends may be killed, too.
 */
static void mend(struct swap_space *space, unsigned owner, enum busy busy)
{
    const uint32_t cluster = (space->busy[owner][busy] & ~DONE) - 1;
    if (cluster >= space->n_clusters)
        return;
    atomic_fetch_or(word_of(space, cluster), SUSPECT);
    release(space, owner, cluster, busy, WRITTEN);
}

static void raise_top(struct swap_space *space, uint32_t top)
{
    uint32_t old = space->top;
    while (old < top && !atomic_compare_exchange_weak(&space->top, &old, top)) {
    }
}

int swap_claim(struct swap_space *space, unsigned owner, unsigned n_wanted, uint32_t *cluster)
{
    uint64_t hint = space->hint;
    uint32_t at = (uint32_t)hint;
    while (at < space->n_clusters && !try_claim(space, owner, at, BUSY_OWNER))
        at++;
    unsigned n = at < space->n_clusters;
    while (n != 0 && n < n_wanted && at + n < space->n_clusters &&
           try_claim(space, owner, at + n, BUSY_OWNER))
        n++;
    /* S2: all below was seen taken; if one fell free since, the version differs and this fails. */
    atomic_compare_exchange_strong(&space->hint, &hint, ((hint >> 32) + 1) << 32 | (at + n));
    if (n == 0)
        return -ENOSPC;
    raise_top(space, at + n);
    *cluster = at;
    return (int)n;
}

void swap_release(struct swap_space *space, unsigned owner, uint32_t cluster)
{
    release(space, owner, cluster, BUSY_OWNER, WRITTEN);
}

void swap_share(struct swap_space *space, unsigned from, unsigned to)
{
    for (uint32_t c = swap_next_used(space, from, 0); c != SWAP_NONE;
         c = swap_next_used(space, from, c + 1)) {
        begin_work(space, to, BUSY_OWNER, c);
        _Atomic uint32_t *word = word_of(space, c);
        uint32_t old = *word;
        while (!atomic_compare_exchange_weak(word, &old, old + 1 + VERSION_ONE)) {
        }
        set_bit(space, to, c);
        end_work(space, to, BUSY_OWNER, c);
    }
}

void swap_release_owner(struct swap_space *space, unsigned owner)
{
    for (unsigned b = 0; b < BUSY_N; b++)
        mend(space, owner, (enum busy)b);
    for (uint32_t c = swap_next_used(space, owner, 0); c != SWAP_NONE;
         c = swap_next_used(space, owner, c + 1))
        swap_release(space, owner, c);
    lower_hint(space, 0); /* it may have been killed between freeing a cluster and saying so */
}

bool swap_uses(const struct swap_space *space, unsigned owner, uint32_t cluster)
{
    return cluster / 64 < space->extent[owner] &&
           (bits_of(space, owner)[cluster / 64] >> cluster % 64 & 1) != 0;
}

bool swap_is_shared(const struct swap_space *space, uint32_t cluster)
{
    return (*word_of(space, cluster) & COUNT_MASK) > 1;
}

uint32_t swap_next_used(const struct swap_space *space, unsigned owner, uint32_t cluster)
{
    const uint32_t extent = space->extent[owner];
    for (uint32_t w = cluster / 64; w < extent; w++, cluster = w * 64) {
        const uint64_t bits = bits_of(space, owner)[w] >> cluster % 64;
        if (bits != 0)
            return cluster + (uint32_t)__builtin_ctzll(bits);
    }
    return SWAP_NONE;
}

uint64_t swap_used_bytes(const struct swap_space *space)
{
    const uint32_t top = space->top;
    uint64_t n = 0;
    for (uint32_t c = 0; c < top; c++)
        n += (*word_of(space, c) & COUNT_MASK) != 0;
    return n * SWAP_CLUSTER_BYTES;
}

/* Claims the idle clusters that end before `end`, at most n_max, and returns how many. */
static uint32_t claim_idle(struct swap_space *space, unsigned owner, uint32_t end, size_t n_max)
{
    uint32_t n = 0;
    while (n < n_max && n < end) {
        const uint32_t c = end - 1 - n, word = *word_of(space, c);
        if ((word & (COUNT_MASK | WRITTEN)) != WRITTEN || !try_claim(space, owner, c, BUSY_PUNCH))
            break;
        n++;
    }
    return n;
}

size_t swap_punch(struct swap_space *space, unsigned owner, int fd, size_t n_max)
{
    size_t n_punched = 0;
    if (space->n_idle <= 2 * IDLE_CLUSTERS || space->closed != 0)
        return 0;
    for (uint32_t end = space->top; end > 0 && n_punched < n_max;) {
        if (space->n_idle <= IDLE_CLUSTERS)
            break;
        const uint32_t n = claim_idle(space, owner, end, PUNCH_RUN);
        end -= n;
        if (n == 0) {
            end--;
            continue;
        }
        const int error = sys_fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                        (off_t)end * (off_t)SWAP_CLUSTER_BYTES,
                                        (off_t)n * (off_t)SWAP_CLUSTER_BYTES);
        for (uint32_t c = end; c < end + n; c++)
            release(space, owner, c, BUSY_PUNCH, error < 0 ? WRITTEN : 0);
        if (error < 0) {
            space->closed = error == -EOPNOTSUPP;
            break;
        }
        n_punched += n;
    }
    return n_punched;
}

int swap_validate(const struct swap_space *space)
{
    for (uint32_t c = 0; c < space->n_clusters; c++) {
        const uint32_t n = *word_of(space, c) & COUNT_MASK;
        if (n != count_users(space, c)) {
            log_error("swap: S1: cluster %u counts %u users but has %u", c, n,
                      count_users(space, c));
            return -EUCLEAN;
        }
        if (n == 0 && c < (uint32_t)space->hint) {
            log_error("swap: S2: free cluster %u lies below the hint", c);
            return -EUCLEAN;
        }
    }
    return 0;
}
