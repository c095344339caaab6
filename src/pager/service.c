/* SPDX-License-Identifier: Apache-2.0 */
/*
 * service: the one thread of the pager that makes room, and does on request what needs the
 * userfaultfd's descriptor, which only the pager's threads have.
 *
 *            wake (shared futex in the process's slot)
 *   sleep <---------------------------------------------- a fault that finds little room,
 *     |                                                   another process of the run,
 *     v                                                   a call of this process
 *   calls -> requests of others -> orders -> room between the watermarks -> sleep
 *
 * A call is synchronous: the caller waits with its signals blocked and holds no lock but call_lock.
 */
#include "base/checked.h"
#include "base/thread.h"
#include "base/uffd.h"
#include "pager/reclaim.h"
#include "pager/window.h"
#include "store/seal.h"

#include <errno.h>
#include <signal.h>

/*
 * A process that was handed more than a part of the budget in so many, and SERVICE_LEAST pages, can
 * be asked to give back. What all the others hold together is out of reach, so it must be little.
 */
#define SERVICE_SHARE 128
#define SERVICE_LEAST 64
/* And one with so many in any case: commands from outside reach its memory through that thread. */
#define SERVICE_ALWAYS 1024
#define FIRST_SAMPLE_NS 5000000  /* from a fork to the first look at what is shared; */
#define SAMPLE_MOST_NS 800000000 /* between two, where nothing is done, at most */
#define REST_NS 200000000        /* without work, until what is used for it is given back */
#define MOST_TIDIED 4            /* batches at once */
#define STAND_BY_MOST 128
#define STAND_BY_NS 2000000 /* between looks at whether the forking thread needs something */
#define LOOK_NS 500000000   /* between looks at what is not managed, while there is work */

enum { NOT_STARTED, STARTING, RUNNING };

int service_uffd = -1;
_Atomic uint64_t service_awaits;
_Atomic uint32_t fork_thread;
struct lock fork_serving;

static struct {
    _Atomic uint32_t state;
    _Atomic uint32_t asleep;  /* it waits, or is about to: worth a wake-up */
    _Atomic uint32_t n_forks; /* that are done; a flag could be set again before it is looked at */
    struct lock call_lock;
    struct { /* the call under way; call_lock, then handed to the service thread */
        enum service_operation operation;
        uint32_t from, to, n_pages;
        int result;
    } call;
    _Atomic uint32_t call_turn;       /* futex: odd while a call is pending */
    uint64_t next_sample_ns;          /* when to look at what is shared; 0: nothing is */
    uint64_t sample_ns, work_sampled; /* between two of them; what was done at the last */
    uint64_t next_look_ns;
    uint64_t work_seen, rest_at_ns; /* when to rest, if there is no work until then; 0: it does */
} service;

/* What the caller gets, it gets with L and the pass. */
static void prepare_fork(void)
{
    lock_take(&pager.lock);
    while (pager.n_busy > 0)
        pager_wait_busy();
    sharing_protect();
}

/* Whoever shares frames keeps the accounts, too. */
static int arm_now(void)
{
    int error = arm();
    if (!error && pager.self->shares == CONTROL_SHARES && service.next_sample_ns == 0)
        service.next_sample_ns = sys_now_ns();
    return error;
}

static int run_call(void)
{
    switch (service.call.operation) {
    case SERVICE_ARM:
        return is_armed() ? 0 : arm_now();
    case SERVICE_MOVE:
        move_pages(service.call.from, service.call.to, service.call.n_pages);
        return 0;
    case SERVICE_FETCH:
        fault_fetch(service.call.from, service.call.n_pages);
        return 0;
    case SERVICE_EVICT:
        reclaim_range(service.call.from, service.call.n_pages);
        return 0;
    case SERVICE_FORK:
        prepare_fork();
        return 0;
    }
    return -EINVAL;
}

/*
 * Until a fork is done the forking thread holds all locks. If it hits upon an absent page meanwhile
 * (libc looks at memory of its own on the way), a handler may be there to serve it, or all may be
 * waiting for L with another thread's fault. This thread is free. Whose fault it reads and can't
 * serve is woken afterwards, and faults again.
 */
static void stand_by_forker(uint32_t n_forks)
{
    uintptr_t others[STAND_BY_MOST];
    unsigned n_others = 0;
    struct fault fault;
    while (atomic_load(&service.n_forks) == n_forks) {
        if (n_others == STAND_BY_MOST || !handlers_read(&fault))
            sys_futex_wait(&service.n_forks, n_forks, STAND_BY_NS, false);
        else if (!fault_serve_forker(&fault))
            others[n_others++] = fault.address;
    }
    for (unsigned i = 0; i < n_others; i++)
        uffd_wake(service_uffd, (void *)round_down(others[i], SYS_PAGE_SIZE), SYS_PAGE_SIZE);
}

static void answer_call(void)
{
    if (!(atomic_load(&service.call_turn) & 1))
        return;
    bool is_fork = service.call.operation == SERVICE_FORK;
    uint32_t n_forks = atomic_load(&service.n_forks);
    service.call.result = run_call();
    atomic_fetch_add(&service.call_turn, 1);
    sys_futex_wake(&service.call_turn, 1, false);
    if (is_fork) { /* the caller has the pass now */
        stand_by_forker(n_forks);
        lock_take(&pager.pass);
    }
}

/* What others ask for, they get on top of what this process needs for itself. */
static void answer_request(void)
{
    int64_t wanted = atomic_exchange(&pager.self->request, 0), held = control_held(pager.control);
    if (wanted == 0)
        return;
    if (!is_armed() && arm_now() < 0)
        return;
    budget_count_pagers();
    wanted -= held - control_held(pager.control); /* memory that was never touched counts no more */
    if (wanted <= 0 || reclaim_pass(wanted))
        budget_announce_room();
    atomic_fetch_add(&pager.self->n_answered, 1);
}

/* Whether there is anything to page does not matter: it will not be used for a while. */
static void obey_order(void)
{
    if (park_wants_paging() && !is_armed())
        (void)arm_now(); /* where it can't be, there is that much less to do */
    if (park_has_work())
        park_step();
}

static void keep_room(void)
{
    struct watermarks marks;
    budget_watermarks(&marks);
    if (budget_room() >= marks.urgent)
        return;
    if (reclaim_room() >= marks.urgent) { /* some only waits for being released */
        pack_release(true);
        budget_announce_room();
        return;
    }
    budget_reap();
    /* What was shared with a fork's other side may have become this process's own. */
    if (!is_armed() && ((budget_room() >= 0 && !pager.counts_in_full) || arm_now() < 0))
        return;
    int64_t room = budget_room();
    if (room >= marks.low)
        return;
    budget_count_pagers();
    if (budget_is_poor() && budget_ask_for_share(marks.high - room))
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
    return budget_room() < marks.urgent;
}

static void look_if_due(void)
{
    uint64_t now = sys_now_ns();
    if (now < service.next_look_ns)
        return;
    service.next_look_ns = now + LOOK_NS;
    budget_sample_unmanaged();
}

/* Goes up with each fault and each page evicted. */
static uint64_t work_done(void)
{
    uint64_t n = pager.self->stats.evictions;
    for (unsigned kind = 0; kind < CONTROL_N_FAULTS; kind++)
        n += pager.self->stats.faults[kind];
    return n;
}

/*
 * Who does nothing copies nothing: it comes back more and more seldom. Where writes are not seen
 * nobody knows who does something.
 */
static uint64_t until_next_sample_ns(void)
{
    const uint64_t done = work_done();
    if (service.sample_ns == 0 || done != service.work_sampled || !pager.sees_writes)
        service.sample_ns = ACCOUNTS_INTERVAL_NS;
    else if (service.sample_ns < SAMPLE_MOST_NS)
        service.sample_ns *= 2;
    service.work_sampled = done;
    return service.sample_ns;
}

/* A process that shares frames arms, so that copies are seen; and keeps the accounts in order. */
static void look_at_sharing(void)
{
    if (service.next_sample_ns == 0)
        return;
    uint64_t now = sys_now_ns();
    if (!is_armed() && (now < service.next_sample_ns || arm_now() < 0))
        return;
    if (!accounts_look_if_due())
        service.next_sample_ns = 0;
    else if (now >= service.next_sample_ns)
        service.next_sample_ns = sys_now_ns() + until_next_sample_ns();
}

void service_expect_sharing(void)
{
    service.sample_ns = 0;
    service.next_sample_ns = sys_now_ns() + FIRST_SAMPLE_NS;
    if (service_start() == 0)
        accounts_expect_sharing();
}

/*
 * A process that has not paged for a while holds no memory to do it in, and of the swap file little
 * more than what it has there.
 */
static void rest_if_due(void)
{
    uint64_t now = sys_now_ns(), done = work_done();
    if (!is_armed())
        return;
    if (done != service.work_seen) {
        service.work_seen = done;
        service.rest_at_ns = now + REST_NS;
    } else if (service.rest_at_ns != 0 && now >= service.rest_at_ns) {
        unsigned n_tidied = 0;
        while (n_tidied < MOST_TIDIED && writeback_tidy())
            n_tidied++;
        if (n_tidied == MOST_TIDIED)
            return; /* others may want the pass in between */
        service.rest_at_ns = 0;
        packing_rest();
        windows_drop();
        lock_take(&pager.lock);
        budget_charge_tables();
        lock_release(&pager.lock);
    }
}

static bool has_work(void)
{
    return (atomic_load(&service.call_turn) & 1) || atomic_load(&pager.self->request) > 0 ||
           park_has_work() || wants_room();
}

/* When there is something to do even if nobody asks; 0: never. */
static uint64_t next_date_ns(void)
{
    uint64_t sample = service.next_sample_ns, rest = service.rest_at_ns;
    return sample == 0 || (rest != 0 && rest < sample) ? rest : sample;
}

static void wait_for_work(void)
{
    uint32_t turn = atomic_load(&pager.self->wake);
    atomic_store(&service.asleep, 1);
    if (!has_work()) {
        uint64_t timeout = 0, next_ns = next_date_ns();
        if (next_ns > 0) {
            uint64_t now = sys_now_ns();
            timeout = next_ns > now ? next_ns - now : 1;
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
        obey_order();
        keep_room();
        look_at_sharing();
        look_if_due();
        rest_if_due();
        lock_release(&pager.pass);
        park_stop_if_due();
        wait_for_work();
    }
}

/* What libraries want done in a thread that libc knows is done before there is another one. */
static int start_thread(int (*first)(void))
{
    int error = pager.control->options.swap_max_bytes > 0 ? seal_prepare() : 0;
    return error ? error : thread_start(serve, (void *)first, true);
}

static int start_with(int (*first)(void))
{
    uint32_t none = NOT_STARTED;
    if (atomic_compare_exchange_strong(&service.state, &none, STARTING)) {
        int tid = start_thread(first);
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
    int64_t share = control_budget(pager.control) / SERVICE_SHARE;
    if (pager.n_resident > SERVICE_LEAST &&
        (pager.n_resident > SERVICE_ALWAYS || pager.n_resident > share))
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

/* With call_lock. */
static int call(enum service_operation operation, uint32_t from, uint32_t to, uint32_t n_pages)
{
    service.call.operation = operation;
    service.call.from = from;
    service.call.to = to;
    service.call.n_pages = n_pages;
    uint32_t pending = atomic_fetch_add(&service.call_turn, 1) + 1;
    service_wake();
    while (atomic_load(&service.call_turn) == pending)
        sys_futex_wait(&service.call_turn, pending, 0, false);
    return service.call.result;
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
    error = call(operation, from, to, n_pages);
    lock_release(&service.call_lock);
    sys_sigprocmask(SIG_SETMASK, &signals, NULL);
    return error;
}

/* Arming needs the pass, so whoever has that knows. */
static bool lock_all_if_unarmed(void)
{
    lock_take(&pager.pass);
    lock_take(&pager.lock);
    if (!is_armed())
        return true;
    lock_release(&pager.lock);
    lock_release(&pager.pass);
    return false;
}

void service_fork_prepare(void)
{
    lock_take(&service.call_lock);
    if (!lock_all_if_unarmed())
        call(SERVICE_FORK, 0, 0, 0);
}

void service_fork_parent(void)
{
    atomic_fetch_add(&service.n_forks, 1);
    sys_futex_wake(&service.n_forks, 1, false);
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
    thread_forget_all();
    lock_reset(&pager.pass);
    lock_reset(&service.call_lock);
    lock_reset(&fork_serving);
    atomic_store(&service.state, NOT_STARTED);
    atomic_store(&service.asleep, 0);
    atomic_store(&service.call_turn, 0);
    atomic_store(&service_awaits, 0);
    atomic_store(&fork_thread, 0);
    service.next_sample_ns = 0;
    service.work_seen = 0;
    service.rest_at_ns = 1; /* at once: its parent's work is nothing to it */
    service_uffd = -1;
    park_fork_child();
    return ran ? start_with(armed ? arm_child : NULL) : 0;
}
