/* SPDX-License-Identifier: Apache-2.0 */
/*
 * service: the one thread of the pager that makes room, and does on request what needs the
 * userfaultfd's descriptor, which only the pager's threads have.
 *
 *            wake (shared futex in the process's slot)
 *   sleep <---------------------------------------------- a fault that finds little room,
 *     |                                                   another process of the run,
 *     v                                                   a call of this process
 *   calls -> requests of others -> room between the watermarks -> sleep
 *
 * A call is synchronous: the caller waits with its signals blocked and holds no lock but call_lock.
 */
#include "base/thread.h"
#include "base/uffd.h"
#include "pager/internal.h"

#include <errno.h>
#include <signal.h>

#define SERVICE_SHARE                                                                             \
    16                          /* a process that was handed more than a part of the budget in so \
                                   many can be asked to give back */
#define FIRST_SAMPLE_NS 5000000 /* after a fork */
#define MOST_SAMPLE_NS 250000000
#define LOOK_NS 500000000 /* between looks at what is not managed, while there is work */

enum { NOT_STARTED, STARTING, RUNNING };

int service_uffd = -1;
_Atomic uint64_t service_awaits;

static struct {
    _Atomic uint32_t state;
    _Atomic uint32_t asleep; /* it waits, or is about to: worth a wake-up */
    struct lock call_lock;
    struct { /* the call under way; call_lock, then handed to the service thread */
        enum service_operation operation;
        uint32_t from, to, n_pages;
        int result;
    } call;
    _Atomic uint32_t call_turn; /* futex: odd while a call is pending */
    uint64_t next_sample_ns, sample_interval_ns;
    uint64_t next_look_ns;
    uint32_t n_left_seen;
} service;

static int run_call(void)
{
    switch (service.call.operation) {
    case SERVICE_ARM:
        return is_armed() ? 0 : arm();
    case SERVICE_MOVE:
        move_pages(service.call.from, service.call.to, service.call.n_pages);
        return 0;
    case SERVICE_FETCH:
        fault_fetch(service.call.from, service.call.n_pages);
        return 0;
    case SERVICE_EVICT:
        reclaim_range(service.call.from, service.call.n_pages);
        return 0;
    }
    return -EINVAL;
}

static void answer_call(void)
{
    if (!(atomic_load(&service.call_turn) & 1))
        return;
    service.call.result = run_call();
    atomic_fetch_add(&service.call_turn, 1);
    sys_futex_wake(&service.call_turn, 1, false);
}

/* What others ask for, they get on top of what this process needs for itself. */
static void answer_request(void)
{
    uint32_t wanted = atomic_exchange(&pager.self->request, 0);
    if (wanted == 0)
        return;
    if (!is_armed() && arm() < 0)
        return;
    if (reclaim_pass(wanted))
        budget_announce_room();
}

static void keep_room(void)
{
    struct watermarks marks;
    budget_watermarks(&marks);
    if (budget_room() >= marks.low)
        return;
    budget_reap();
    /* What was shared with a fork's other side may have become this process's own. */
    if (!is_armed() && (budget_room() >= 0 || arm() < 0))
        return;
    int64_t room = budget_room();
    if (room >= marks.low)
        return;
    if (reclaim_pass(marks.high - room))
        budget_announce_room();
    else
        budget_no_progress(marks.high - room);
}

static bool wants_room(void)
{
    struct watermarks marks;
    if (!is_armed())
        return false;
    budget_watermarks(&marks);
    return budget_room() < marks.low;
}

static void look_if_due(void)
{
    uint64_t now = sys_now_ns();
    if (now < service.next_look_ns)
        return;
    service.next_look_ns = now + LOOK_NS;
    budget_sample_unmanaged();
}

static void sample_if_due(void)
{
    uint32_t n_left = atomic_load(&pager.control->n_left);
    if (pager.n_shared > 0 && n_left != service.n_left_seen)
        service.next_sample_ns = 1; /* who ended may have been the one that shared with us */
    service.n_left_seen = n_left;
    if (service.next_sample_ns == 0 || sys_now_ns() < service.next_sample_ns)
        return;
    uint64_t start = sys_now_ns();
    budget_sample_sharing();
    uint64_t end = sys_now_ns();
    /* A look costs time in proportion to what is held: at most a twentieth goes there. */
    uint64_t interval = service.sample_interval_ns * 2;
    if (interval > MOST_SAMPLE_NS)
        interval = MOST_SAMPLE_NS;
    if (pager.n_shared >
        budget_room()) /* more could become this process's own than there is room */
        interval = FIRST_SAMPLE_NS;
    if (interval < 20 * (end - start))
        interval = 20 * (end - start);
    service.sample_interval_ns = interval;
    service.next_sample_ns = pager.n_shared > 0 ? end + interval : 0;
}

void service_expect_sharing(void)
{
    service.sample_interval_ns = FIRST_SAMPLE_NS;
    service.next_sample_ns = sys_now_ns() + FIRST_SAMPLE_NS;
    service_wake();
}

static bool has_work(void)
{
    return (atomic_load(&service.call_turn) & 1) || atomic_load(&pager.self->request) > 0 ||
           wants_room();
}

static void wait_for_work(void)
{
    uint32_t turn = atomic_load(&pager.self->wake);
    atomic_store(&service.asleep, 1);
    if (!has_work()) {
        uint64_t timeout = 0;
        if (service.next_sample_ns > 0) {
            uint64_t now = sys_now_ns();
            timeout = service.next_sample_ns > now ? service.next_sample_ns - now : 1;
        }
        sys_futex_wait(&pager.self->wake, turn, timeout, true);
    }
    atomic_store(&service.asleep, 0);
}

static void serve(void *first_task)
{
    int (*first)(void) = (int (*)(void))first_task;
    if (first && first() < 0)
        pager_end_run(CONTROL_FAILED, "the pager could not start in a child process after fork; "
                                      "`quire doctor` tells what this machine allows");
    atomic_store(&pager.self->serves, 1);
    atomic_store(&service.state, RUNNING);
    sys_futex_wake(&service.state, INT32_MAX, false);
    for (;;) {
        lock_take(&pager.pass);
        answer_call();
        answer_request();
        keep_room();
        sample_if_due();
        look_if_due();
        lock_release(&pager.pass);
        wait_for_work();
    }
}

static int start_with(int (*first)(void))
{
    uint32_t none = NOT_STARTED;
    if (atomic_compare_exchange_strong(&service.state, &none, STARTING)) {
        int tid = thread_start(serve, (void *)first, true);
        if (tid < 0) {
            atomic_store(&service.state, NOT_STARTED);
            return tid;
        }
    }
    while (atomic_load(&service.state) == STARTING)
        sys_futex_wait(&service.state, STARTING, 0, false);
    return atomic_load(&service.state) == RUNNING ? 0 : -EAGAIN;
}

int service_start(void)
{
    return atomic_load_explicit(&service.state, memory_order_acquire) == RUNNING ? 0
                                                                                 : start_with(NULL);
}

void service_start_if_large(void)
{
    if (!pager.control || atomic_load_explicit(&service.state, memory_order_relaxed) == RUNNING)
        return;
    if (pager.n_resident > control_budget(pager.control) / SERVICE_SHARE)
        service_start();
}

void service_wake(void)
{
    if (!pager.self)
        return;
    atomic_fetch_add(&pager.self->wake, 1);
    if (atomic_load(&service.asleep))
        sys_futex_wake(&pager.self->wake, 1, true);
}

int service_call(enum service_operation operation, uint32_t from, uint32_t to, uint32_t n_pages)
{
    const uint64_t all = ~(uint64_t)0;
    uint64_t signals;
    if (!pager.control)
        return -ENOSYS;
    int error = service_start();
    if (error)
        return error;
    sys_sigprocmask(SIG_SETMASK, &all, &signals);
    lock_take(&service.call_lock);
    service.call.operation = operation;
    service.call.from = from;
    service.call.to = to;
    service.call.n_pages = n_pages;
    uint32_t pending = atomic_fetch_add(&service.call_turn, 1) + 1;
    service_wake();
    while (atomic_load(&service.call_turn) == pending)
        sys_futex_wait(&service.call_turn, pending, 0, false);
    error = service.call.result;
    lock_release(&service.call_lock);
    sys_sigprocmask(SIG_SETMASK, &signals, NULL);
    return error;
}

void service_fork_prepare(void)
{
    lock_take(&service.call_lock);
    lock_take(&pager.pass);
}

void service_fork_parent(void)
{
    lock_release(&pager.pass);
    lock_release(&service.call_lock);
}

bool service_runs(void)
{
    return atomic_load(&service.state) == RUNNING;
}

int service_fork_child(bool armed)
{
    bool ran = service_runs();
    lock_reset(&pager.pass);
    lock_reset(&service.call_lock);
    atomic_store(&service.state, NOT_STARTED);
    atomic_store(&service.asleep, 0);
    atomic_store(&service.call_turn, 0);
    atomic_store(&service_awaits, 0);
    service.next_sample_ns = 0;
    service_uffd = -1;
    return ran ? start_with(armed ? arm_child : NULL) : 0;
}
