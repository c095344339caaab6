/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy: which page goes when room is needed. One interface for the pager and for whoever
 * simulates it; a policy is a file of its own that fills in struct policy_rules (rules.h).
 *
 *        policy_insert()                            policy_next()
 *   ----------------------->  queues of pages  ------------------------> victim
 *    why: first touch,             |     ^                                |   |
 *    taken back, fetched,          '-----' policy_touch()   policy_evicted()  policy_insert(AGAIN)
 *    ahead, again             policy_remove(): unmapped                   '-> absent, with a mark
 *
 * A page that is freed stays in memory, since its heap may hand it out again; but it is the first
 * to go, and goes for nothing: policy_free() puts it into a queue of the dead, by when they died,
 * and policy_reuse() takes it back. A heap hands out again what it was given last, so those that
 * died just now are likely to be used in a moment: policy_next() names the oldest where they are
 * more than a share of those in use, or where it has been dead for some victims (docs/adr/0059).
 *
 * What is known of a page's use is little. User space sees no accessed bits, so a page that is used
 * all the time looks like one that is not, until it has been taken away: then it comes back at
 * once. The policies are the published ones with that for their hits: a page that is taken back
 * from staging, or fetched again soon after it went, was in use. The first write to a page that
 * came in to be read is seen as well.
 *
 * The owner keeps for each page a place (POLICY_PLACE_BITS) as long as it is in a queue, and a mark
 * (POLICY_MARK_BITS) also while it is absent; the pager has both in the page's table entry, so they
 * cost it no memory. What a policy remembers of an absent page is its mark: there is no queue of
 * ghosts, which would cost 4 bytes a page or more and a look-up, and would end somewhere. A time in
 * a mark is in steps of a part of a round and wraps around: a page that went very long ago may be
 * taken for one that went lately, one in eight or so; that is a worse guess and no error.
 *
 * Invariants; policy_validate() checks them by number
 *   Y1  each queue is valid (fifo.h), and n_held == the sum of their n_live
 *   Y2  a page stands in one queue at most, at the place that its owner keeps for it
 *   Y3  policy_free()d pages stand in the last queue, which no rules know, and no others do
 * Metadata: 4 bytes a slot, of which at most half are holes when they are many: 4 to 8 bytes a
 * page. All of it from base/meta; nothing but policy_open() can fail. Every call is O(1) amortised;
 * one call passes over POLICY_MOST_PASSED pages at most. A fork's child has a copy that works on.
 * Not thread-safe: in the pager all of it is under its lock.
 */
#ifndef QUIRE_POLICY_POLICY_H
#define QUIRE_POLICY_POLICY_H

#include "policy/fifo.h"

#define POLICY_PLACE_BITS 48
#define POLICY_MARK_BITS 6
#define POLICY_MOST_PASSED 16u
#define POLICY_SAME_USE 16u   /* a part of a round in so many */
#define POLICY_YOUNGEST 32u   /* pages that came in last: not taken while there are others */
#define POLICY_SPARED 2u      /* dead pages: a part of the living in so many is spared, */
#define POLICY_DEAD_PARTS 16u /* for a part of a round in so many, or two */

enum policy_kind {
    POLICY_ADAPTIVE, /* 0: the default */
    POLICY_FIFO,
    POLICY_CLOCK,
    POLICY_GCLOCK,
    POLICY_2Q,
    POLICY_S3_FIFO,
    POLICY_SIEVE,
    POLICY_WORKING_SET,
    POLICY_N_KINDS,
};

enum policy_arrival {
    POLICY_FIRST,      /* it was touched for the first time, or found in memory */
    POLICY_TAKEN_BACK, /* it was touched soon after it had been evicted, in staging */
    POLICY_FETCHED,    /* it was touched, and came from the store */
    POLICY_BESIDE,     /* it came along with another: nobody has asked for it */
    POLICY_AGAIN,      /* it was a victim, and can't go: it is as young as can be */
};

typedef uint64_t policy_place; /* a queue and a position in it; below POLICY_PLACE_BITS */
typedef uint8_t policy_mark;   /* below POLICY_MARK_BITS; 0 for a page that was never seen */

struct policy_owner {
    policy_mark (*mark)(void *context, uint32_t page);
    void (*set_mark)(void *context, uint32_t page, policy_mark mark);
    /* The page is, or stays, resident; this is its place from now on. */
    void (*set_place)(void *context, uint32_t page, policy_place place);
    void *context;
};

struct policy_clock { /* of what a mark can hold: n_steps, then it starts again */
    uint32_t now, n_since;
};

#define POLICY_QUEUES 5u
#define POLICY_DUEL_PAIRS 32u
#define POLICY_DUEL_LEAST 8192u /* pages: with less a sample says too little */

struct policy {
    const struct policy_rules *rules; /* NULL: not open */
    struct policy_owner owner;
    struct fifo queue[POLICY_QUEUES + 1];
    uint64_t n_held; /* pages in queues, but for the dead */
    struct policy_clock deaths;
    struct policy_clock clock;
    uint64_t hand;      /* SIEVE: a position */
    uint64_t n_again;   /* 2Q, S3-FIFO: see policy_all_came_again() */
    struct {            /* ADAPTIVE: see there */
        uint64_t least; /* pages held, to duel; policy_open() sets it to POLICY_DUEL_LEAST */
        bool is_on;
        uint32_t pairs; /* of pages; one in so many is a sample; and that to POLICY_DUEL_PAIRS */
        int32_t lead;
        uint32_t winner;
        uint32_t random, last_block;
        bool is_lucky;
    } duel;
};

/*
 * For up to most_pages at a time, rounded up to what fills a page of metadata. 0; -ENOMEM: no
 * address space; -EINVAL: no such kind.
 */
int policy_open(struct policy *policy, enum policy_kind kind, uint64_t most_pages,
                const struct policy_owner *owner);
void policy_close(struct policy *policy);

/* The page, in no queue, has come in: it gets a place. */
void policy_insert(struct policy *policy, uint32_t page, enum policy_arrival arrival);

/*
 * The page, which stands there, has been seen in use. Soon after it came in that tells nothing new:
 * it is the same use, and is passed over in silence.
 */
void policy_touch(struct policy *policy, uint32_t page, policy_place place);

/*
 * Takes the next victim out of its queue; its owner still has the place it had. False: there is
 * none. Afterwards it is either policy_evicted(), or policy_insert()ed AGAIN, or it is forgotten,
 * as a dead one is.
 */
bool policy_next(struct policy *policy, uint32_t *page, policy_place *place);

/* The page, which had this place, is absent now: what it leaves behind is its mark. */
void policy_evicted(struct policy *policy, uint32_t page, policy_place place);

/* The page, which had this place, is nobody's any more. Nothing, if it is in no queue. */
void policy_remove(struct policy *policy, uint32_t page, policy_place place);

/* The page, which had this place if in any queue, was freed: its contents are nothing to anybody.
 */
void policy_free(struct policy *policy, uint32_t page, policy_place place);

/* It is in use again, and new. */
void policy_reuse(struct policy *policy, uint32_t page, policy_place place);
bool policy_is_freed(policy_place place);
uint64_t policy_n_freed(const struct policy *policy); /* pages that were, and are there */

/* Whether the page stands there. */
bool policy_has(const struct policy *policy, uint32_t page, policy_place place);

/* 0, or -EUCLEAN with the reason logged. */
int policy_validate(const struct policy *policy);

/* Names as on the command line. -1: there is no such policy. */
int policy_find(const char *name);
const char *policy_name(enum policy_kind kind);

#endif
