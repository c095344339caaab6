/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pager_stand_in: a pager without threads of its own, for a test that steps through it.
 *
 * In place of src/pager/service.c and handlers.c. What the service thread does on request its
 * caller does, with the pass: all that the caller would do meanwhile is to wait. Who serves faults
 * is the test's business.
 */
#ifndef QUIRE_TESTS_PAGER_STAND_IN_H
#define QUIRE_TESTS_PAGER_STAND_IN_H

#include "pager/internal.h"

#include <errno.h>

int service_uffd = -1;
_Atomic uint32_t fork_thread;
struct lock fork_serving;
_Atomic uint64_t service_awaits;

int handlers_start(void)
{
    return fault_init();
}

void handlers_gather(void)
{
}

bool handlers_are_several(void)
{
    return true;
}

bool handlers_read(struct fault *fault)
{
    return false;
}

int service_call(enum service_operation operation, uint32_t from, uint32_t to, uint32_t n_pages)
{
    lock_take(&pager.pass);
    if (operation == SERVICE_MOVE)
        move_pages(from, to, n_pages);
    if (operation == SERVICE_FETCH)
        fault_fetch(from, n_pages);
    if (operation == SERVICE_EVICT)
        reclaim_range(from, n_pages);
    lock_release(&pager.pass);
    return 0;
}

int service_start(void)
{
    return 0;
}

void service_start_if_large(void)
{
}

void service_wake(void)
{
}

bool service_runs(void)
{
    return true;
}

void service_expect_sharing(void)
{
}

void service_fork_prepare(void)
{
    lock_take(&pager.pass);
    lock_take(&pager.lock);
    while (pager.n_busy > 0)
        pager_wait_busy();
    sharing_protect();
}

void service_fork_parent(void)
{
    lock_release(&pager.pass);
}

int service_fork_child(bool armed)
{
    return -ENOSYS;
}

#endif
