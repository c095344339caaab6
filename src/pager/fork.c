/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fork: the child gets a pager of its own before any of its code runs.
 *
 *   parent                                   child
 *   prepare: every thread of the pager
 *     is between two steps, no page is
 *     BUSY, all locks are held
 *   fork ---------------------------------->  memory, staging and pool are its own by copy on
 *   parent: locks released                    write; the swap file's clusters are marked as used
 *                                             by both
 *                                             child: locks reset, service thread, userfaultfd,
 *                                             registration, handlers, then the program's code
 *
 * The kernel drops a child's registrations (UFFD_EVENT_FORK would need CAP_SYS_PTRACE), so until
 * the child has registered anew an absent page would read as zeros. Nothing of the program's runs
 * in that time: the handlers here are registered before all others, so they run last before the
 * fork and first after it. libc's own work in between touches stdio's streams, which the caller
 * (src/preload) makes resident, and the state of its name service, before the fork and after it; if
 * that is absent the parent faults under its own locks, and is served all the same
 * (fault_serve_forker), so that the child finds it. A child that Quire does not see (a raw clone)
 * does not even get the memory: the arena is MADV_DONTFORK in between, so it ends with a signal
 * instead.
 *
 * What child and parent hold together is charged to the parent; copies are charged to whom they are
 * made for (sharing.c). A process that is not armed sees nothing of that, so there the child is
 * charged in full if there is room; if not, the parent is armed first.
 */
#include "base/meta.h"
#include "pager/internal.h"
#include "pager/standing.h"
#include "store/swap.h"

#include <signal.h>
#include <sys/mman.h>

#define FORK_BELOW ((size_t)32 << 10)
#define FORK_ABOVE ((size_t)16 << 10)

static struct {
    uint64_t signals;
    int child_slot;
    unsigned standing;
    bool in_full; /* there is room to charge the child for everything as if it were a copy */
} forking;

static void set_inheritance(int advice)
{
    if (!is_armed())
        return;
    sys_madvise(pager.base, (size_t)pager.n_pages << SYS_PAGE_SHIFT, advice);
    sys_madvise(pager.staging.base, (size_t)pager.staging.n_slots << SYS_PAGE_SHIFT, advice);
}

static void arm_if_short(void)
{
    if (pager.control)
        budget_collect();
    if (pager.control && !is_armed() && !budget_has_room_to_copy())
        (void)service_call(SERVICE_ARM, 0, 0, 0); /* else both try again after the fork */
}

void pager_fork_prepare(void)
{
    const uint64_t all = ~(uint64_t)0;
    uint64_t signals;
    sys_sigprocmask(SIG_SETMASK, &all, &signals);
    arm_if_short();
    /* Until the fork is done: what this thread, and who called it, may use of its stack. */
    const unsigned standing = standing_begin(FORK_BELOW, FORK_ABOVE);
    service_fork_prepare();
    forking.standing = standing;
    atomic_store(&fork_thread, is_armed() ? (uint32_t)sys_gettid() : 0);
    forking.signals = signals;
    quire_buddy_lock_all(pager.buddy);
    meta_fork_prepare();
    forking.child_slot = pager.control ? control_reserve(pager.control) : -1;
    if (pager.control && forking.child_slot < 0 && budget_reap())
        forking.child_slot = control_reserve(pager.control);
    if (pager.store && forking.child_slot >= 0)
        store_fork_prepare(pager.store, (unsigned)forking.child_slot);
    set_inheritance(MADV_DOFORK);
    forking.in_full = !is_armed() && budget_has_room_to_copy();
}

static void release_all(void)
{
    const unsigned standing = forking.standing;
    lock_take(&fork_serving); /* an old message of this thread's may just be looked at, under L */
    atomic_store(&fork_thread, 0);
    lock_release(&fork_serving);
    meta_fork_done();
    quire_buddy_unlock_all(pager.buddy);
    lock_release(&pager.lock);
    service_fork_parent();
    standing_end(standing);
}

/* L. In both, after the fork. */
static void expect_sharing(void)
{
    if (!pager.control)
        return;
    pager.shares = true;
    atomic_store(&pager.self->shares, CONTROL_SHARES);
    pager.counts_in_full = forking.in_full;
    pager.staging.shared_head = pager.staging.head;
    if (pager.store) {
        struct store_counts counts;
        store_share(pager.store, true);
        store_counts(pager.store, &counts);
        pager.pool_shared = (int64_t)counts.pool_shared_pages;
    }
    pager.n_to_pass_over = pager.n_resident;
}

void pager_fork_parent(void)
{
    uint64_t signals = forking.signals;
    set_inheritance(MADV_DONTFORK);
    expect_sharing();
    release_all();
    if (!forking.in_full && pager.control)
        service_expect_sharing();
    sys_sigprocmask(SIG_SETMASK, &signals, NULL);
}

void pager_fork_cancel(void)
{
    uint64_t signals = forking.signals;
    set_inheritance(MADV_DONTFORK);
    if (pager.control && forking.child_slot >= 0) {
        struct swap_space *space = control_swap_space(pager.control);
        if (pager.store && space)
            swap_release_owner(space, (unsigned)forking.child_slot);
        control_unreserve(pager.control, (unsigned)forking.child_slot);
    }
    release_all();
    sys_sigprocmask(SIG_SETMASK, &signals, NULL);
}

/*
 * Everything is the parent's as yet: the child's charges add up to nothing. But where nobody would
 * see what becomes of it, and there is room, the child is charged as if all were copied.
 */
static void charge_inherited(void)
{
    int64_t pool = pager.pool_charged, staged = pager.staging.n_pages;
    pager.self->shared = forking.in_full ? 0 : pager.n_resident + pool + staged;
    budget_charge(CONTROL_RESIDENT, pager.n_resident - pager.self->shared);
    budget_charge(CONTROL_STAGED, staged);
    budget_charge(CONTROL_POOL, pool);
    budget_charge(CONTROL_METADATA, pager.metadata_charged); /* written to before long */
    budget_charge(CONTROL_FILE, pager.file_charged);
}

/* L. Mappings that the program wants to be empty in the child: the kernel has emptied them. */
static void wipe_marked(void)
{
    for (uint32_t i = 0; i < pager.regions.count; i++) {
        const struct region *region = &pager.regions.array[i];
        if (region->flags & REGION_WIPEONFORK)
            pager_forget(region->first, region->first + region->n_pages);
    }
}

static void adopt_slot(void)
{
    if (forking.child_slot < 0)
        pager_end_run(CONTROL_FAILED, "the run has more than %d processes", CONTROL_SLOTS);
    pager.slot = (unsigned)forking.child_slot;
    pager.self = &pager.control->slot[pager.slot];
    control_adopt(pager.control, pager.slot);
    pager_tell_arena();
    charge_inherited();
}

void pager_fork_child(void)
{
    uint64_t signals = forking.signals;
    bool armed = is_armed();
    meta_fork_done();
    quire_buddy_unlock_all(pager.buddy);
    lock_reset(&pager.lock);
    standing_fork_child();
    pager.busy_waiters = 0;
    if (pager.control) {
        adopt_slot();
        wipe_marked();
        expect_sharing();
        pager.inherits = true;
    }
    service_fork_child(armed);
    set_inheritance(MADV_DONTFORK);
    if (!forking.in_full && pager.control)
        service_expect_sharing();
    sys_sigprocmask(SIG_SETMASK, &signals, NULL);
}
