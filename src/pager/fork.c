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
 * fork and first after it, and libc's own work in between touches only stdio's streams, which the
 * caller (src/preload) makes resident. A child that Quire does not see (a raw clone) does not even
 * get the memory: the arena is MADV_DONTFORK in between, so it ends with a signal instead.
 *
 * What child and parent hold together is charged to the parent, until each of them has looked at
 * its share (budget.c).
 */
#include "base/meta.h"
#include "pager/internal.h"
#include "store/swap.h"

#include <signal.h>
#include <sys/mman.h>

static struct {
    uint64_t signals;
    int child_slot;
} forking;

static void set_inheritance(int advice)
{
    if (!is_armed())
        return;
    sys_madvise(pager.base, (size_t)pager.n_pages << SYS_PAGE_SHIFT, advice);
    sys_madvise(pager.staging.base, (size_t)pager.staging.n_slots << SYS_PAGE_SHIFT, advice);
}

/* A fault on this thread's own stack needs the service thread, so not while that is locked out. */
static void take_locks(void)
{
    char *absent;
    service_fork_prepare();
    while ((absent = pager_lock_or_absent())) {
        service_fork_parent();
        *(volatile char *)absent;
        service_fork_prepare();
    }
}

void pager_fork_prepare(void)
{
    const uint64_t all = ~(uint64_t)0;
    uint64_t signals;
    sys_sigprocmask(SIG_SETMASK, &all, &signals);
    take_locks();
    forking.signals = signals;
    while (pager.n_busy > 0)
        pager_wait_busy();
    quire_buddy_lock_all(pager.buddy);
    meta_fork_prepare();
    forking.child_slot = pager.control ? control_reserve(pager.control) : -1;
    if (pager.control && forking.child_slot < 0 && budget_reap())
        forking.child_slot = control_reserve(pager.control);
    if (pager.store && forking.child_slot >= 0)
        store_fork_prepare(pager.store, (unsigned)forking.child_slot);
    set_inheritance(MADV_DOFORK);
}

static void release_all(void)
{
    meta_fork_done();
    quire_buddy_unlock_all(pager.buddy);
    lock_release(&pager.lock);
    service_fork_parent();
}

void pager_fork_parent(void)
{
    uint64_t signals = forking.signals;
    set_inheritance(MADV_DONTFORK);
    release_all();
    if (service_runs())
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

/* Everything is the parent's as yet: the child's charges add up to nothing. */
static void charge_inherited(void)
{
    int64_t pool = pager.pool_charged, metadata = pager.metadata_charged;
    int64_t staged = pager.staging.n_pages;
    pager.pool_inherited = pool;
    pager.n_shared = pager.n_resident + pool + metadata + staged;
    budget_charge(CONTROL_RESIDENT, pager.n_resident - pager.n_shared);
    budget_charge(CONTROL_STAGED, staged);
    budget_charge(CONTROL_POOL, pool);
    budget_charge(CONTROL_METADATA, metadata);
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
    charge_inherited();
}

void pager_fork_child(void)
{
    uint64_t signals = forking.signals;
    bool armed = is_armed();
    meta_fork_done();
    quire_buddy_unlock_all(pager.buddy);
    lock_reset(&pager.lock);
    pager.busy_waiters = 0;
    if (pager.control) {
        adopt_slot();
        wipe_marked();
    }
    service_fork_child(armed);
    set_inheritance(MADV_DONTFORK);
    if (service_runs())
        service_expect_sharing();
    sys_sigprocmask(SIG_SETMASK, &signals, NULL);
}
