/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control: the block of memory that all processes of one run share.
 *
 * The launcher creates it as a memfd, of which the run's keeper has a descriptor; the environment
 * names it as /proc/KEEPER/fd/N, so no file ever needs a name. It holds the options, the budget,
 * what each process holds against it, and the statistics. Layout: this header, CONTROL_SLOTS slots
 * of one process each, then the swap space (src/store/swap.h) at swap_space_offset.
 *
 *   control ── options (written once by the launcher, read-only afterwards)
 *           ── budget_bytes, order          changed by commands while the run goes on
 *           ── held[kind], peak[kind]        pages, sums over all slots
 *           ── slot[i]: pid, held[kind], statistics, the word its service thread sleeps on
 *           ── heat[]: faults by where in the arena they were
 *
 * A process may be killed at any instruction, so nothing here is locked; every field is an atomic
 * of its own. Invariant C1: for each kind, held[kind] of the run equals the sum over the slots,
 * give or take the updates under way; left_behind is nobody's. Who is killed between the two halves
 * of an update leaves a difference, until the keeper mends it (control_mend). A slot whose process
 * is gone keeps its figures until somebody reaps it (control_reap), which takes its holdings back
 * and adds up its statistics. That holds for one that ends by itself as well: the kernel takes its
 * memory apart when it gets to it, on a busy machine a second later.
 */
#ifndef QUIRE_BASE_CONTROL_H
#define QUIRE_BASE_CONTROL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONTROL_SLOTS 512
#define CONTROL_ENVIRONMENT "QUIRE_CONTROL" /* holds the path of the block */
#define CONTROL_MIN_BUDGET_BYTES ((uint64_t)8 << 20)

/* What a process holds, in pages of 4 KiB. All but FILE count against the budget. */
enum control_kind {
    CONTROL_RESIDENT, /* mapped in the program, in managed ranges; before paging: handed out */
    CONTROL_STAGED,   /* evicted, not yet compressed */
    CONTROL_POOL,     /* the compressed store in RAM */
    CONTROL_METADATA, /* Quire's own tables */
    CONTROL_FILE,     /* in the swap file: not RAM */
    CONTROL_N_KINDS,
};

enum control_fault { /* what a fault found */
                     CONTROL_FAULT_FIRST_TOUCH,
                     CONTROL_FAULT_STAGING,
                     CONTROL_FAULT_SAME_FILLED,
                     CONTROL_FAULT_RAM,
                     CONTROL_FAULT_FILE,
                     CONTROL_FAULT_COPY,  /* a write to what a fork left shared */
                     CONTROL_FAULT_WRITE, /* the first write to a page that came in to be read */
                     CONTROL_N_FAULTS,
};

enum control_sharing {
    CONTROL_ALONE,
    CONTROL_SHARES,
    CONTROL_WAS_LEFT, /* nobody has anything in common with it any more; it has not noticed yet */
};

#define CONTROL_N_LATENCY_BUCKETS 160 /* of 4 a power of two: see control_latency_bucket */

struct control_stats { /* monotonic counters; atomics, relaxed */
    _Atomic uint64_t faults[CONTROL_N_FAULTS];
    _Atomic uint64_t prefetched;     /* pages brought in beside a fault, unasked */
    _Atomic uint64_t prefetch_hits;  /* of these, so many were used, as far as can be told */
    _Atomic uint64_t resumed;        /* pages that an order to resume brought back */
    _Atomic uint64_t evictions;      /* pages moved to staging */
    _Atomic uint64_t dropped_dead;   /* pages that were free memory when their turn came */
    _Atomic uint64_t scrubbed_bytes; /* dead bytes that read as zeros before compression */
    _Atomic uint64_t same_filled;    /* pages stored as a pattern */
    _Atomic uint64_t stored_pages;   /* pages packed into the RAM pool */
    _Atomic uint64_t stored_bytes;   /* what they became */
    _Atomic uint64_t written_pages;  /* moved on to the file */
    _Atomic uint64_t waits_for_room; /* faults that found no room and waited for reclaim */
    _Atomic uint64_t fault_ns;       /* sum over faults, from notice to wake-up */
    _Atomic uint64_t stall_ns;       /* of it, what more RAM would have spared: all but the plain
                                        part of first touches */
    _Atomic uint64_t latency[CONTROL_N_LATENCY_BUCKETS]; /* faults by duration */
};

/*
 * Heat: faults, counted by place. The heap's part of every process's arena and the mappings' part
 * have half of the counters each, one for CONTROL_HEAT_PAGES pages from the part's start on, so
 * that processes of one run add up. Relaxed, and they wrap: what counts is the difference from one
 * look to the next. Memory nobody faults on costs nothing, since what no counter was touched of is
 * a hole of the memfd: who reads stays below heat_end.
 */
enum control_zone { CONTROL_ZONE_HEAP, CONTROL_ZONE_MAPPINGS, CONTROL_N_ZONES };
#define CONTROL_HEAT_SHIFT 6 /* 256 KiB a counter: 16 KiB of counters for a GiB that is paged */
#define CONTROL_HEAT_PAGES (1u << CONTROL_HEAT_SHIFT)
#define CONTROL_HEAT_COUNTERS (1u << 21) /* a zone; 512 GiB. What lies beyond goes to the last */

struct control_slot {
    _Atomic uint32_t pid;         /* 0: free */
    _Atomic uint32_t wake;        /* futex (shared): bumped to wake the service thread */
    _Atomic uint32_t request;     /* pages that others ask this process to give back */
    _Atomic uint32_t n_answered;  /* such requests: it has done what it could */
    _Atomic uint32_t serves;      /* it has a service thread that answers requests */
    _Atomic uint32_t armed;       /* its pager runs */
    _Atomic uint32_t leaves;      /* it is about to end */
    _Atomic uint32_t shares;      /* enum control_sharing: frames, with another since a fork */
    _Atomic uint64_t start_time;  /* of the process, clock ticks since boot: tells a reused pid */
    _Atomic uint64_t reserved_ns; /* when the slot was last taken, CLOCK_MONOTONIC */
    _Atomic int64_t held[CONTROL_N_KINDS];
    /*
     * Pages of what it holds that are charged to others, less those that it is charged for and does
     * not have any more, since others may: taken off in RESIDENT.
     */
    _Atomic int64_t shared;
    _Atomic uint64_t unmanaged_pages; /* RSS that Quire does not manage, when last looked at */
    _Atomic uint64_t stored_pages;    /* of the program, in the store now, the same-filled too */
    _Atomic uint64_t zone_base[CONTROL_N_ZONES]; /* addresses in this process; 0: not yet known */
    _Atomic uint32_t zone_end[CONTROL_N_ZONES];  /* pages; at and above it nothing was ever used */
    _Atomic uint32_t order_done;   /* the last of control->order that it has carried out */
    _Atomic uint32_t locked_pages; /* that the program locked, when it was parked last */
    struct control_stats stats;
};

struct control_options {
    uint64_t budget_bytes;      /* at the start; control_budget() is what holds now */
    uint64_t budget_most_bytes; /* it may be raised to that; 0: to what it is at the start */
    uint32_t max_stall_ppm;  /* of the time; the budget follows the working set. 0: it is fixed */
    uint64_t swap_max_bytes; /* 0: no swap file */
    uint32_t codec;          /* enum store_codec: the densest that is used */
    uint32_t codec_adapts;   /* pages are packed by that or by LZ4, as it pays */
    uint32_t policy;         /* enum policy_kind */
    uint32_t prefetch;       /* enum prefetch_kind */
    uint32_t n_touches;      /* a recorded run (touches.h): slots of the ring; 0: it is none */
    int32_t keeper_pid;      /* of the process that has the descriptors (the command's keeper.h) */
    int32_t control_fd;      /* there: /proc/<keeper_pid>/fd/<control_fd> is this block */
    int32_t swap_fd;         /* there, likewise; -1: none */
    int32_t key_fd;          /* there, likewise, of what seals the swap file; -1: none */
};

/* What all processes of the run are to do, once. */
enum control_order_kind {
    CONTROL_NO_ORDER,
    CONTROL_PARK,          /* evict everything, to the file where there is one */
    CONTROL_PARK_AND_STOP, /* and then stop yourself */
    CONTROL_RESUME,        /* bring back what was evicted then, the last used first */
    CONTROL_ON_DEMAND,     /* forget what that was */
};
#define CONTROL_ORDER_BITS 3 /* an order: its number in the run, then its kind */

static inline enum control_order_kind control_order_kind(uint32_t order)
{
    return (enum control_order_kind)(order & ((1u << CONTROL_ORDER_BITS) - 1));
}

/* The budget over time, where it follows the working set; written by the keeper. */
#define CONTROL_N_SIZES 256
struct control_size {
    _Atomic uint32_t at_ms, stall_ppm; /* since the start of the run; in the time before it */
    _Atomic uint64_t budget_bytes, held_bytes;
};
struct control_sizing {
    _Atomic uint64_t most_bytes; /* the budget does not go beyond that */
    /* What was held since the budget was lowered first; 0: it was not, yet. */
    _Atomic uint64_t least_seen_bytes, most_seen_bytes, last_seen_bytes;
    _Atomic uint64_t stall_ns, busy_ns; /* in all; see policy/sizing.h */
    _Atomic uint32_t n_sizes, interval_ms;
    struct control_size size[CONTROL_N_SIZES];
};

enum control_verdict { /* why Quire itself ended the run */
                       CONTROL_RUNNING,
                       CONTROL_OUT_OF_ROOM,
                       CONTROL_BAD_COPY, /* a stored page did not come back intact */
                       CONTROL_FAILED,   /* the pager could not start or go on */
};

struct control {
    uint64_t magic;
    uint32_t version;
    uint32_t swap_space_offset; /* bytes from the start of the block; 0: none */
    uint64_t total_bytes;       /* of the mapping */
    struct control_options options;

    _Atomic uint32_t verdict;        /* enum control_verdict; the first one stays */
    _Atomic uint32_t warned;         /* bits: what has been told once */
    _Atomic uint32_t launcher_ended; /* nobody is left to tell the user anything */
    char message[256];               /* belongs to the verdict */

    _Atomic uint64_t budget_bytes;      /* now: control_budget() */
    _Atomic uint64_t budget_most_bytes; /* all processes have address space for that */
    /*
     * While the budget is below this, a process that is out of room raises it instead of ending the
     * run: who lowered it does not know yet whether it can be reached. 0: it is meant.
     */
    _Atomic uint64_t retreat_bytes;
    _Atomic uint32_t order;        /* control_give_order() */
    _Atomic uint32_t keeper_rests; /* futex (shared): 1 until there is a fault; control_rest() */
    struct control_sizing sizing;

    _Atomic int64_t held[CONTROL_N_KINDS];
    _Atomic int64_t peak[CONTROL_N_KINDS]; /* each kind's own highest */
    _Atomic int64_t peak_held;             /* highest sum of the kinds that count */
    _Atomic uint32_t room;                 /* futex (shared): bumped when room was made */
    _Atomic uint32_t tight;                /* reclaim found nothing to give: allocations may fail */
    _Atomic uint32_t n_left;       /* processes that ended: what they shared is others' now */
    _Atomic int64_t left_behind;   /* so much of it at most, in pages: held until somebody looks */
    _Atomic uint64_t left_ns;      /* when that grew last, CLOCK_MONOTONIC */
    _Atomic uint64_t next_look_ns; /* at who shares what; see the pager's accounts.c */
    _Atomic uint64_t n_processes;  /* ever attached */
    _Atomic uint32_t slots_end;    /* no slot at or above it was ever taken */
    _Atomic uint64_t peak_unmanaged_pages; /* the highest sum over the slots */
    struct control_stats ended;            /* of reaped processes */
    struct control_slot slot[CONTROL_SLOTS];
    _Atomic uint32_t heat_end[CONTROL_N_ZONES]; /* no counter at or above it was ever touched */
    _Atomic uint32_t heat[CONTROL_N_ZONES][CONTROL_HEAT_COUNTERS];
};

/*
 * Creates the block with `extra_bytes` of zeroed shared memory behind it (the swap space's).
 * Returns its descriptor (close-on-exec) and sets *control, or a negative errno.
 * options->control_fd is filled in.
 */
int control_create(const struct control_options *options, size_t extra_bytes,
                   struct control **control);

/* Maps the block named by `path`. 0 or a negative errno; -EPROTO: it is no block of this version.
 */
int control_attach(const char *path, struct control **control);

/*
 * Maps the block read-only, without what lies behind the slots, for who is outside of the run. Undo
 * it by control_unview(). Errors as above.
 */
int control_view(const char *path, const struct control **control);
void control_unview(const struct control *control);

/* The memory behind the slots, or NULL. In a recorded run, which has no swap space, it is the ring
 * of touches. */
void *control_swap_space(const struct control *control);
struct touches;
struct touches *control_touches(const struct control *control);

/*
 * Takes a slot for this process; finds the one it had before exec and clears its holdings. The
 * index or -EAGAIN: all slots are taken by living processes. What a process that had the slot
 * before left in the swap space is for store_init() to release.
 */
int control_join(struct control *control);

/*
 * fork: the parent takes a slot for the child, which then adopts it; when the fork fails, the
 * parent frees it again. control_reserve returns the index or -EAGAIN; from then on the slot is one
 * that shares.
 */
int control_reserve(struct control *control);
/* A child has yet to adopt the slot, and is to be expected: it may have been killed before. */
bool control_is_coming(const struct control *control, unsigned slot);
void control_adopt(struct control *control, unsigned slot);
void control_unreserve(struct control *control, unsigned slot);

/*
 * Gives a process that was made without a fork (posix_spawn, vfork and exec) a slot, unless it has
 * one, so that the run does not count as ended before its new image has joined. 0: this process.
 * Async-signal-safe.
 */
void control_enroll(struct control *control, uint32_t pid);

/* Adds pages (negative: takes) to what `slot` holds of `kind`, and keeps sums and peaks. */
void control_charge(struct control *control, unsigned slot, enum control_kind kind, int64_t pages);

/*
 * The process of the slot is about to end, and serves nobody any more. What it holds stays charged
 * until it is gone, and that was collected. Does nothing in a vfork child of it.
 */
void control_leave(struct control *control, unsigned slot);
/* Some process has said so, and has yet to be collected. */
bool control_somebody_leaves(const struct control *control);

/*
 * What is held, of a run or a slot, as it is to be told, in pages: what others are charged for is
 * taken off in RESIDENT, and where that is less than nothing, off the other kinds.
 */
void control_kinds(const _Atomic int64_t held[CONTROL_N_KINDS], int64_t pages[CONTROL_N_KINDS]);

/* RSS that Quire does not manage, in pages, as `slot` sees it now; keeps the sum's peak. */
void control_set_unmanaged(struct control *control, unsigned slot, uint64_t n_pages);

/* A fault was served, of the zone's page `page`. On the fault path: one addition as a rule. */
void control_heat(struct control *control, enum control_zone zone, uint32_t page);

/* Pages that count against the budget; in a recorded run, what is resident and staged alone. */
int64_t control_held(const struct control *control);
static inline int64_t control_budget(const struct control *control)
{
    return (int64_t)(atomic_load_explicit(&control->budget_bytes, memory_order_relaxed) >> 12);
}

/*
 * Sets the budget, up to budget_most_bytes, and wakes whoever has to give back, or waits for room.
 * What is held falls below it by and by. Any process.
 */
void control_set_budget(struct control *control, uint64_t bytes);

/* Asks a process to give back so many pages, unless it is at that already. Any process. */
void control_ask(struct control_slot *slot, uint32_t n_pages);

/* Tells all processes of the run what to do; the order's number and kind, as in control->order. */
uint32_t control_give_order(struct control *control, enum control_order_kind kind);
/* Whether a process has carried out this order, or a later one. */
bool control_has_done(const struct control_slot *slot, uint32_t order);
/* The order is over, unless it was followed by another. */
void control_end_order(struct control *control, uint32_t order);
/* The pid of the slot's process, if it has one and that lives; else 0. */
uint32_t control_living_pid(const struct control *control, unsigned slot);

/*
 * Takes back what processes that are gone still hold. Returns the number of slots freed. `gone` is
 * called for each, so that its swap clusters can be released too. Slots of the living are left.
 */
unsigned control_reap(struct control *control, void (*gone)(void *context, unsigned slot),
                      void *context);
/*
 * Takes back what those hold that said that they end, and have. Their slots, with their statistics,
 * stay for control_reap(). Costs next to nothing while there are none. Returns how many there were.
 */
unsigned control_collect(struct control *control, void (*gone)(void *context, unsigned slot),
                         void *context);

/*
 * Puts the sums right (C1) where what the slots say has differed from them by the same, not
 * nothing, in CONTROL_MEND_LOOKS calls in a row: then no update is under way, but one was cut off
 * by a kill. For one process of the run, at intervals. Returns how many kinds it has put right.
 */
#define CONTROL_MEND_LOOKS 3
struct control_mending { /* zeroed at first */
    int64_t difference[CONTROL_N_KINDS];
    unsigned n_looks[CONTROL_N_KINDS];
};
unsigned control_mend(struct control *control, struct control_mending *mending);

/* Records why Quire ends the run; the first caller's message stays. */
void control_set_verdict(struct control *control, enum control_verdict verdict,
                         const char *message);

/* Processes of the run that live; *n_coming: children of a fork that are not there yet. */
unsigned control_n_alive(const struct control *control, unsigned *n_coming);

/* Ends every process of the run but the launcher with SIGKILL. The caller's own last. */
void control_kill_all(struct control *control);

/*
 * The keeper, which else looks often, sleeps until something happens, or the time is over: first it
 * says so, then it looks once more, then it rests. A fault rouses it.
 */
void control_rest_begins(struct control *control);
void control_rest(struct control *control, uint64_t timeout_ns);
void control_rouse_keeper(struct control *control);
static inline void control_rouse(struct control *control)
{
    /* relaxed: the fault has been counted by an atomic addition; at worst the rest is a long one */
    if (atomic_load_explicit(&control->keeper_rests, memory_order_relaxed) != 0)
        control_rouse_keeper(control);
}

/* Sums the statistics of all processes, living and gone. */
void control_totals(const struct control *control, struct control_stats *totals);

/* Latency buckets: four a power of two from 64 ns on. */
unsigned control_latency_bucket(uint64_t ns);
uint64_t control_latency_bound_ns(unsigned bucket); /* the bucket's upper end */
/* The duration below which `permille` of the recorded faults lie; 0 without faults. */
uint64_t control_latency_quantile_ns(const struct control_stats *stats, unsigned permille);

static inline void control_count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

#endif
