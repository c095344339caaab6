/* SPDX-License-Identifier: Apache-2.0 */
/* internal: what the pager's files share. The big picture is in pager.h. */
#ifndef QUIRE_PAGER_INTERNAL_H
#define QUIRE_PAGER_INTERNAL_H

#include "base/control.h"
#include "base/lock.h"
#include "base/sys.h"
#include "pager/pager.h"
#include "pager/regions.h"
#include "pager/staging.h"
#include "pager/table.h"
#include "policy/drop_behind.h"
#include "policy/policy.h"
#include "policy/prefetch.h"
#include "policy/protection.h"
#include "policy/readahead.h"
#include "store/store.h"

#include <quire/buddy.h>

#define STACK_BELOW ((size_t)16 << 10) /* what the code under the lock may use of a stack, */
#define STACK_ABOVE ((size_t)8 << 10)  /* and where the frames and variables of its callers lie */

#define POLICY_LEAST_ROOM 4096 /* pages that may be resident over the budget */

#define PAGEMAP_PRESENT ((uint64_t)3 << 62)   /* or in the kernel's own swap */
#define PAGEMAP_EXCLUSIVE ((uint64_t)1 << 56) /* of /proc/PID/pagemap: mapped once */

#define PAGER_HEAP_ZONE 0 /* of the buddy system */
#define PAGER_MAP_ZONE 1

enum pager_state {
    PAGER_UNARMED, /* nothing is registered; what is handed out counts as resident */
    PAGER_ARMED,   /* absent pages fault to the handlers; what is resident is known by page */
};

/*
 * Invariants, while nobody holds the lock:
 *   P1  unarmed: charged == pages handed out + dead pages (entries are 0 or DEAD)
 *   P2  armed: charged == n_resident - self->shared, n_resident == RESIDENT entries
 *   P3  a RESIDENT entry's payload is its place in the policy's queues, where no other pages are
 *       but victims on their way out; what is among the freed ones there is DEAD
 *   P4  a STAGED entry's payload is a slot whose page is this one
 *   P5  n_busy == entries with PAGE_BUSY
 *   P6  see copies.h
 *   P7  a RESIDENT page is protected against writes if and only if it is SHARED or CLEAN
 */
struct pager {
    struct control *control;   /* NULL: no paging */
    struct control_slot *self; /* this process's slot */
    unsigned slot;
    pager_scrub scrub;

    char *base; /* of the arena */
    uint32_t n_pages;
    uint32_t heap_pages;       /* the arena's first part is the heap's, the rest the mappings' */
    uint32_t heap_committed;   /* L: heap pages below are readable and writable */
    uint32_t maps_end;         /* L: pages of the mappings' part below which some was used */
    struct quire_buddy *buddy; /* L */

    struct lock pass;
    struct lock lock;       /* L: guards what is marked so */
    _Atomic uint32_t state; /* enum pager_state; changed under L */
    bool can_protect;       /* this kernel can tell of writes */
    bool sees_writes;       /* L: since a fork, what is shared is protected */
    bool shares;            /* L: since the last fork it may share frames; see sharing.c */
    uint32_t n_unprotected; /* L: how often all protection was taken off, since sharing had ended */
    bool inherits;          /* a fork child; others may be charged for its frames */
    bool counts_in_full;    /* L: unarmed and forked; what may be shared is charged here, too */

    struct table table;           /* L */
    struct regions regions;       /* L: the mappings */
    struct policy policy;         /* L: resident pages, and which of them goes next */
    struct staging staging;       /* L, but see staging.h */
    struct readahead touch;       /* L: streams of first touches */
    struct prefetch prefetch;     /* L: what comes in along with a page from the store */
    struct drop_behind behind;    /* L: what streams read ahead, with kept copies */
    struct protection protection; /* L: whether what comes in to be read is protected */
    struct store *store;          /* L, but see store.h; exists once armed */
    uint32_t n_busy;              /* L */
    uint32_t n_busy_met;          /* L: faults on entries that were BUSY */
    bool reads_in_place;          /* L: pages that are BUSY to leave; see in_place.c */
    _Atomic uint32_t
        busy_waiters;           /* somebody waits for an entry to lose BUSY; see pager_wait_busy */
    _Atomic uint32_t busy_turn; /* futex */

    /* What is charged to the budget, pages; L. The atomic ones are read as figures without it. */
    _Atomic int64_t n_resident;  /* armed: RESIDENT entries; unarmed: handed out and dead */
    int64_t n_dead;              /* DEAD entries */
    _Atomic int64_t n_locked;    /* pages that the program locked */
    int64_t n_to_pass_over;      /* shared pages that are not evicted yet; evict.c */
    uint32_t n_raw_to_pass_over; /* L: pages that did not compress, likewise */
    _Atomic int64_t pool_shared; /* of the pool, what a fork's other side may have as well */
    _Atomic int64_t pool_charged, metadata_charged, file_charged;
};

extern struct pager pager;

static inline char *page_address(uint32_t page)
{
    return pager.base + ((size_t)page << SYS_PAGE_SHIFT);
}

static inline uint32_t page_of(const void *address)
{
    return (uint32_t)((size_t)((const char *)address - pager.base) >> SYS_PAGE_SHIFT);
}

static inline bool is_armed(void)
{
    return atomic_load_explicit(&pager.state, memory_order_acquire) == PAGER_ARMED;
}

/* The program's threads enter here: lock held, signals blocked while armed, stack resident. */
struct pager_guard {
    uint64_t signals;
    bool masked;
    unsigned standing; /* standing.h */
};
void pager_enter(struct pager_guard *guard);
void pager_leave(struct pager_guard *guard);

/* Lets go of the lock until some entry has lost BUSY. Look again at everything afterwards. */
void pager_wait_busy(void);
void pager_busy_done(uint32_t n_pages); /* L: entries have lost BUSY */

/* L: may n_pages more be handed out? Charges them, or arms the pager. Lets go of L in between;
 * false when memory is exhausted. */
bool pager_admit(struct pager_guard *guard, int64_t n_pages);

/* L: munlocks what of the range is locked. */
void pager_forget_locks(uint32_t page, uint32_t n_pages);

/* Who looks from outside finds this process's arena, and what was ever used of it, by its slot. */
void pager_tell_arena(void);
static inline void pager_tell_used(void) /* L: heap_committed or maps_end has gone up */
{
    if (!pager.self)
        return;
    atomic_store_explicit(&pager.self->zone_end[CONTROL_ZONE_HEAP], pager.heap_committed,
                          memory_order_relaxed);
    atomic_store_explicit(&pager.self->zone_end[CONTROL_ZONE_MAPPINGS], pager.maps_end,
                          memory_order_relaxed);
}

/* Moves the contents of pages to others, whose contents are worthless (runs.c, maps.c). */
void pager_move_contents(uint32_t from, uint32_t to, uint32_t n_pages);

/* L: waits until none of the pages is BUSY. */
void pager_wait_idle(uint32_t page, uint32_t end);
/* L: forgets the contents of pages [page, end) wherever they are; the caller drops the mapping. */
void pager_forget(uint32_t page, uint32_t end);

/* Ends the run: the message goes to the launcher, then everything is killed. */
_Noreturn void pager_end_run(enum control_verdict verdict, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* budget.c */
/*
 * Pages of free budget: below `low` handlers make some room before they serve a fault, below
 * `urgent` the service thread is woken, which stops at `high`.
 */
struct watermarks {
    int64_t urgent, low, high;
    int64_t pool_limit; /* pages of the RAM pool */
    uint32_t staging;   /* pages kept in staging as a second chance */
    int64_t n_pagers;   /* processes that divide what there is among them */
};
void budget_count_pagers(void);
void budget_watermarks(struct watermarks *marks);
int64_t budget_room(void); /* pages of free budget; a large number without a control block */
void budget_charge(enum control_kind kind, int64_t n_pages);
/*
 * L: pages of what is held are given back. As long as a part of that is shared with another
 * process, giving back frees a page only where it was not shared: self->shared goes down in
 * proportion.
 */
void budget_shed(enum control_kind kind, int64_t n_pages);
void budget_unshare(int64_t n_pages); /* L: so many shared pages were copied and are our own now */
void budget_charge_tables(void);      /* L: pool, file and metadata as they are now */
bool budget_has_room_to_copy(void);   /* L: all that this process holds, once more */
bool budget_is_tight(void);           /* allocations should fail */
/*
 * Called without L by a handler that serves `page`: waits until there is room for a page, or ends
 * the run. Where the service thread itself waits for that page nobody could make room: no wait
 * then. Each time that it looks in vain it calls `meanwhile`.
 */
void budget_wait_for_room(uint32_t page, void (*meanwhile)(void));
bool budget_has_room_for(uint32_t page);
/*
 * Nothing can be given up to make room. Where the budget was lowered as a trial, it is raised again
 * by what is missing; true if there is room for n_pages then.
 */
bool budget_retreat(int64_t n_pages);
void budget_announce_room(void);
/* The service thread got nothing out of a pass; asks the others, and counts it for waiters. */
void budget_no_progress(int64_t wanted);
/*
 * This process has less than half of what would be its part if all had the same: it should rather
 * have from the others than page itself to death while they are idle. Asks, and waits a little;
 * true if that was enough.
 */
bool budget_is_poor(void);
bool budget_ask_for_share(int64_t wanted);
/* Takes back what processes that are gone still hold; true if there was any. */
bool budget_reap(void);
void budget_collect(void); /* likewise, of those that said that they end: costs next to nothing */
void budget_sample_unmanaged(void);       /* how much RSS is not the pager's */
extern _Atomic uint32_t budget_fruitless; /* passes without progress since one had some */

/* accounts.c; service thread, without L */
#define ACCOUNTS_INTERVAL_NS 50000000ull /* between two looks, where something is done */
void accounts_expect_sharing(void);      /* after a fork: look soon. Any thread */
bool accounts_see_all(void);             /* every process that shares frames is armed */
/* Looks, if it is time. False: this process shares nothing any more. */
bool accounts_look_if_due(void);

/* service.c */
enum service_operation { SERVICE_ARM, SERVICE_MOVE, SERVICE_FETCH, SERVICE_EVICT, SERVICE_FORK };
int service_call(enum service_operation operation, uint32_t from, uint32_t to, uint32_t n_pages);
/* Starts the service thread, if it does not run yet. Called without L. */
int service_start(void);
/* The same, if this process holds so much that others may want some of it back. */
void service_start_if_large(void);
void service_wake(void);
bool service_runs(void);
/* After a fork the process shares pages with another: look now and then how many. */
void service_expect_sharing(void);
/*
 * Afterwards the caller holds call_lock, pager.pass and L, no page is BUSY, and where the pager is
 * armed what is resident is protected; but for what somebody stands on (standing.h).
 */
void service_fork_prepare(void);
void service_fork_parent(void);
/* Forgets the parent's threads and starts this process's own, if the parent had them. */
int service_fork_child(bool armed);
extern int service_uffd;                /* only meaningful in the pager's threads */
extern _Atomic uint32_t fork_thread;    /* it holds L and the pass, for a fork; 0: nobody */
extern struct lock fork_serving;        /* by who serves that thread under its L, one at a time */
extern _Atomic uint64_t service_awaits; /* the page that it may be faulting on itself, plus 1 */

/* arm.c; service thread */
int arm(void);
int arm_child(void); /* in a fork child of an armed parent */
/* L: calls `apply` for each part of the arena that is the pager's; ends with the first error. */
int arena_each_range(int (*apply)(uint32_t from, uint32_t to));

/* L: faults of the arena come to the userfaultfd, and writes to what is protected there. */
int arena_register(void);

/* sharing.c; pager threads, L */
/* Before a fork: what is resident is shared, but for what somebody stands on. */
void sharing_protect(void);
void sharing_protect_all(void); /* what has just been registered, where it may be shared */
void sharing_end(void);         /* nothing is shared any more */
/* They have no mark that says it: a program's thread with L may write to its stack (P7). */
void sharing_unprotect(uint32_t page, uint32_t n_pages);
/* Whether to write to this page, or to evict it, takes a copy of its frame. */
bool sharing_would_copy(const void *address);
void sharing_charge_copy(void);
void sharing_make_own(uint32_t page); /* it may be written to; charged if it was shared */

/* freed.c; L */
void freed_note(uint32_t page, uint32_t n_pages); /* they are DEAD now */
void freed_settle(void); /* those that are DEAD yet are the first to go from now on */

/* frames.c; pager threads */
uint64_t frames_look_up(const void *address); /* /proc/PID/pagemap's word on a page; 0 in doubt */
bool frames_is_there(const void *address);    /* present: to read it does not fault */
/*
 * L. Moves the frames of n_pages pages within the arena and the staging area. Returns how many
 * went, from the first on, or the error of the first.
 */
ssize_t frames_move(char *to, char *from, uint32_t n_pages);
/*
 * L. Copies n_pages pages, up to FRAMES_MOST_READ, of the staging area, all of them present, and
 * this process's alone. False: the kernel forbids it.
 */
#define FRAMES_MOST_READ 16
bool frames_read(unsigned char *copies, const char *const *addresses, uint32_t n_pages);
/*
 * The same for pages of the program, whatever their protection is; with the pass, while
 * pager.reads_in_place. Returns how many were copied, from the first on.
 */
uint32_t frames_read_in_place(unsigned char *copies, const char *const *addresses, uint32_t n_pages,
                              bool shared);
/*
 * Drops the frames of n_pages pages, up to FRAMES_MOST_DROPPED, in order of address, that are BUSY;
 * gone[i]: it was not locked.
 */
#define FRAMES_MOST_DROPPED 64
void frames_drop(char *const *addresses, uint32_t n_pages, bool *gone);
void frames_fork_child(void);

/* fault.c; handlers' threads */
struct fault { /* what a message of the userfaultfd tells */
    uintptr_t address;
    uint64_t flags; /* UFFD_PAGEFAULT_FLAG_... */
    uint32_t thread;
};
int fault_init(void);
/* Serves what a fault's message tells of. Takes L; the last thing it does is to wake who waits, and
 * before that it counts in n_served. */
void fault_serve(_Atomic uint32_t *n_served, const struct fault *fault);
/*
 * The thread that is about to fork holds L and the pass, and has hit upon an absent page itself: it
 * is served under its own lock. False: the fault is another thread's.
 */
bool fault_serve_forker(const struct fault *fault);
/* Service thread: brings pages [page, page + n) in, as far as there is room. */
void fault_fetch(uint32_t page, uint32_t n_pages);

/* fetch.c; service thread. The same in large windows, for pages that were evicted one after the
 * other. False: no room. */
bool fetch_evicted(uint32_t page, uint32_t n_pages);

/* handlers.c */
int handlers_start(void);
bool handlers_are_several(void); /* one may wait for another, if not for long */
void handlers_gather(void);      /* a handler is about to wait: all others are needed */
/* Reads a message, if there is one. Any pager thread. */
bool handlers_read(struct fault *fault);

/* reclaim.c; service thread, or with the pass */
#define RECLAIM_PASS_PAGES 2048 /* a pass that evicts nothing has looked at so many */
int reclaim_init(void);
int64_t reclaim_room(void); /* budget_room() when all has been released that only waits for it */
/* A handler makes some room, unless a pass or another handler is at it. */
void reclaim_step(void);
bool reclaim_pass(int64_t wanted); /* frees about `wanted` pages; false: nothing could be freed */
/* Nothing more can be stored but in place of something else. Any thread. */
bool reclaim_is_store_full(void);
void reclaim_range(uint32_t page, uint32_t n_pages); /* evicts what is resident there */

/* park.c; service thread, with the pass */
bool park_has_work(void);
bool park_wants_paging(void); /* and for that the pager should be armed */
void park_step(void);         /* goes on with what control->order says, for a while */
/* Without the pass. The order was to stop as well, and the rest of it is done: stops here. */
void park_stop_if_due(void);
void park_fork_child(void); /* what the parent noted is the parent's */

/* remap.c; service thread */
void move_pages(uint32_t from, uint32_t to, uint32_t n_pages);

/* L: a page came in, or stays: it gets a place in the policy's queues. Its flags are gone. */
void pager_make_resident(uint32_t page, enum policy_arrival arrival);
int pager_open_policy(uint64_t most_resident); /* pages. 0 or -ENOMEM */
/* L: a RESIDENT page is about to be evicted: the policy notes it. */
void pager_note_eviction(uint32_t page);

#endif
