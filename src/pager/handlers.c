/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handlers: the threads that wait for faults, and where they run.
 *
 * A wake-up that crosses processors costs several times what a fault costs otherwise
 * (docs/adr/0003-where-handlers-run.md). So as long as one thread of the program faults, one
 * handler answers, alone, on the processor where that thread runs; when several do, one handler on
 * each processor.
 *
 *                128 faults of one thread in a row
 *        CROWD ------------------------------------> ALONE
 *          ^                                           |
 *          '-------------------------------------------'
 *            several threads fault; the lone handler is about to wait for
 *            room; or it does not get its share of the processor
 *
 * The crowd: a thread bound to each processor, up to MOST_CROWD; all are woken by each fault, and
 * the one that runs next to the faulting thread is the first to read it. They are ordinary threads,
 * which get their turn at once where others compute (docs/adr/0028-handlers-on-busy-machines.md).
 *
 * The lone handler is SCHED_IDLE: a processor that runs only such threads counts as idle, so the
 * thread that it wakes stays where it was, instead of being drawn to the other, idle processor.
 * But it starves where others compute. The crowd's first watches over that meanwhile, and calls the
 * crowd when a fault has been waiting, or when the handler waits for the processor longer than the
 * program's thread has it.
 */
#include "base/log.h"
#include "base/proc.h"
#include "base/thread.h"
#include "base/uffd.h"
#include "pager/internal.h"
#include "policy/starvation.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

#define MOST_CROWD 4
#define SAME_FAULTS 128    /* of one thread in a row, until one handler is enough */
#define OTHER_FAULTS 16    /* of others, not long one after the other, until it is not */
#define WATCH_NS 20000000u /* while faults come: each look makes the processor less quiet */
#define WATCH_IDLE_NS 50000000u
#define IDLE_LOOKS 20u /* without a fault, until the watch rests: */
#define REST_MS 1000   /* it looks no more unless a fault is waiting, or so much has passed */
#define PENALTY_NS 1000000000ull          /* so long the crowd stays at least after that, */
#define MOST_PENALTY_NS (16 * PENALTY_NS) /* longer each time it happens again soon */

#define MASK_WORDS 16

enum { CROWD, ALONE };

struct thread {
    _Atomic uint32_t n_read, n_served; /* faults */
    int processor;                     /* of the crowd; -1: any */
    uint32_t last_thread, n_others;    /* of the lone one: whose faults it answers */
};

static struct thread crowd[MOST_CROWD], lone;
static _Atomic uint32_t mode; /* futex: who has no part in it waits for a change */
static _Atomic uint32_t last_thread, n_same;
static _Atomic uint64_t crowd_until_ns;
static int lone_tid;
static bool several;
static _Atomic int lone_processor = -1;  /* to which it is bound; -1: to none yet */
static unsigned long usable[MASK_WORDS]; /* a bit a processor */

static void set_mode(uint32_t new)
{
    atomic_store(&mode, new);
    sys_futex_wake(&mode, INT32_MAX, false);
}

/* To a processor, or, where that is -1, to all that the process could use at its start. */
static void bind(int tid, int processor)
{
    unsigned long mask[MASK_WORDS] = {0};
    if (processor >= 0)
        mask[processor / 64] = 1ul << (processor % 64);
    sys_sched_setaffinity(tid, sizeof mask, processor >= 0 ? mask : usable);
}

void handlers_gather(void)
{
    if (atomic_load_explicit(&mode, memory_order_relaxed) == CROWD)
        return;
    atomic_store(&n_same, 0);
    set_mode(CROWD);
    lone_processor = -1;
}

static struct fault fault_of(const struct uffd_msg *message)
{
    return (struct fault){message->arg.pagefault.address, message->arg.pagefault.flags,
                          message->arg.pagefault.feat.ptid};
}

/* Answers one fault, if there is one. */
static bool answer(struct thread *self, struct uffd_msg *message)
{
    ssize_t n = sys_read(service_uffd, message, sizeof *message);
    if (n == sizeof *message && message->event == UFFD_EVENT_PAGEFAULT) {
        atomic_fetch_add(&self->n_read, 1);
        const struct fault fault = fault_of(message);
        fault_serve(&self->n_served, &fault);
        return true;
    }
    if (n < 0 && n != -EAGAIN && n != -EINTR)
        pager_end_run(CONTROL_FAILED, "the userfaultfd can't be read (error %d)", (int)-n);
    return false;
}

/* The crowd has answered a fault of this thread: would one handler be enough? */
static void note_in_crowd(uint32_t thread)
{
    if (atomic_exchange_explicit(&last_thread, thread, memory_order_relaxed) != thread) {
        atomic_store_explicit(&n_same, 0, memory_order_relaxed);
    } else if (atomic_fetch_add_explicit(&n_same, 1, memory_order_relaxed) >= SAME_FAULTS &&
               lone_tid > 0 && sys_now_ns() > atomic_load(&crowd_until_ns)) {
        set_mode(ALONE);
    }
}

/* The lone handler, alone since `began`, got no processor: other things compute here. */
static void note_starvation(uint64_t began)
{
    static uint64_t penalty = PENALTY_NS; /* the one thread's that watches */
    uint64_t now = sys_now_ns();
    penalty = now - began < penalty ? penalty * 2 : PENALTY_NS;
    if (penalty > MOST_PENALTY_NS)
        penalty = MOST_PENALTY_NS;
    atomic_store(&crowd_until_ns, now + penalty);
}

/* The n-th number of a thread's schedstat: 0 the time it ran, 1 the time it waited for its turn. */
static uint64_t schedstat(uint32_t tid, int n)
{
    char path[64], text[128];
    log_format(path, sizeof path, "/proc/self/task/%u/schedstat", tid);
    const char *at = proc_read(path, text, sizeof text) ? text : NULL;
    for (; at && n > 0; n--) {
        at = strchr(at, ' ');
        at = at ? at + 1 : NULL;
    }
    return at ? proc_number(at) : 0;
}

static struct turns turns_now(void)
{
    uint32_t thread = lone.last_thread;
    return (struct turns){.at_ns = sys_now_ns(),
                          .ran_ns = schedstat(thread, 0),
                          .waited_ns = schedstat((uint32_t)lone_tid, 1),
                          .thread = thread};
}

/* The crowd takes over from the lone handler, which may have stopped in the middle of something. */
static void relieve(uint64_t began)
{
    note_starvation(began);
    handlers_gather();
    bind(lone_tid, -1);
}

/*
 * Until the watch's next look. While it rests it is woken by each fault, and sleeps on where that
 * one is answered at once.
 */
static void await_look(unsigned n_idle)
{
    if (n_idle >= IDLE_LOOKS)
        sys_poll_in(service_uffd, REST_MS);
    else
        sys_futex_wait(&mode, ALONE, n_idle == 0 ? WATCH_NS : WATCH_IDLE_NS, false);
}

/*
 * The crowd's first, while one handler is alone. It watches from the same processor: on another one
 * it would put this address space there, to be flushed over there too from then on.
 */
static void watch(struct thread *self)
{
    uint32_t served = lone.n_served;
    int processor = -1;
    uint64_t began = sys_now_ns();
    unsigned n_idle = 0; /* looks since the last fault */
    bool had_work = false, was_starved = false;
    struct turns turns = turns_now();
    while (atomic_load(&mode) == ALONE) {
        const bool rested = n_idle >= IDLE_LOOKS;
        await_look(n_idle);
        if (processor != lone_processor) {
            processor = lone_processor;
            bind(0, processor);
        }
        uint32_t now_served = lone.n_served;
        struct turns before = turns;
        turns = turns_now();
        bool has_work = lone.n_read != now_served || sys_poll_in(service_uffd, 0) > 0;
        bool starved = !rested && starvation_between(&before, &turns);
        if ((has_work && had_work && now_served == served) || (starved && was_starved)) {
            relieve(began);
            break;
        }
        n_idle = has_work || now_served != served ? 0 : n_idle + 1;
        had_work = has_work;
        was_starved = starved;
        served = now_served;
    }
    bind(0, self->processor);
}

static void handle_in_crowd(void *argument)
{
    struct thread *self = argument;
    struct uffd_msg message;
    if (self->processor >= 0)
        bind(0, self->processor);
    for (;;) {
        if (atomic_load(&mode) == ALONE) {
            if (self == crowd)
                watch(self);
            else
                sys_futex_wait(&mode, ALONE, 0, false);
        } else if (sys_poll_in(service_uffd, -1) > 0 && answer(self, &message)) {
            note_in_crowd(message.arg.pagefault.feat.ptid);
        }
    }
}

/* The processor on which a thread of this process ran last, or -1. */
static int processor_of(uint32_t tid)
{
    char text[512];
    log_format(text, sizeof text, "/proc/self/task/%u/stat", tid);
    const char *at = proc_read(text, text, sizeof text) ? proc_stat_field(text, 39) : NULL;
    uint64_t processor = at ? proc_number(at) : UINT64_MAX;
    return processor < 1024 ? (int)processor : -1;
}

bool handlers_read(struct fault *fault)
{
    struct uffd_msg message;
    if (sys_read(service_uffd, &message, sizeof message) != sizeof message ||
        message.event != UFFD_EVENT_PAGEFAULT)
        return false;
    *fault = fault_of(&message);
    return true;
}

/* Goes where the thread is that faulted last. */
static void follow(uint32_t thread)
{
    int processor = processor_of(thread);
    if (processor < 0 || processor == lone_processor)
        return;
    lone_processor = processor;
    bind(0, processor);
}

/* Notes whose fault it was; where too many are others' the crowd is called. */
static void note_alone(struct thread *self, uint32_t thread)
{
    bool other = thread != self->last_thread;
    self->last_thread = thread;
    if (self->n_others > 0 || other)
        self->n_others = other ? self->n_others + 4 : self->n_others - 1;
    if (self->n_others > 4 * OTHER_FAULTS) {
        self->n_others = 0;
        handlers_gather();
    }
}

/*
 * On the faulting thread's processor this one runs only when that thread sleeps, and that is when
 * the next fault is there already. If none is, the other has most likely been moved elsewhere.
 */
static void handle_alone(void *argument)
{
    struct thread *self = argument;
    struct uffd_msg message;
    lone_tid = sys_gettid();
    sys_sched_setscheduler(0, SCHED_IDLE);
    for (bool answered = false;;) {
        while (atomic_load(&mode) == CROWD)
            sys_futex_wait(&mode, CROWD, 0, false);
        if (answer(self, &message)) {
            note_alone(self, message.arg.pagefault.feat.ptid);
            answered = true;
            continue;
        }
        if (answered)
            follow(self->last_thread);
        answered = false;
        sys_poll_in(service_uffd, -1);
    }
}

/* The processors that this process may use, up to `most`; all if there are more: -1. */
static int usable_processors(int *processors, int most)
{
    int n = 0;
    memset(usable, 0, sizeof usable);
    sys_sched_getaffinity(0, sizeof usable, usable);
    for (int i = 0; i < MASK_WORDS * 64; i++) {
        if (!(usable[i / 64] >> (i % 64) & 1))
            continue;
        if (n == most)
            return -1;
        processors[n++] = i;
    }
    return n;
}

static int start(struct thread *thread, void (*run)(void *), int processor)
{
    thread->processor = processor;
    thread->n_read = thread->n_served = 0;
    int tid = thread_start(run, thread, false);
    return tid < 0 ? tid : 0;
}

bool handlers_are_several(void)
{
    return several;
}

int handlers_start(void)
{
    int processors[MOST_CROWD];
    int n = usable_processors(processors, MOST_CROWD), error = fault_init();
    bool bound = n > 0;
    unsigned n_crowd = bound ? (unsigned)n
                             : 2; /* too many to have one each: the scheduler places two */
    lone_tid = 0;
    atomic_store(&mode, CROWD);
    atomic_store(&n_same, 0);
    for (unsigned i = 0; i < n_crowd && !error; i++)
        error = start(&crowd[i], handle_in_crowd, bound ? processors[i] : -1);
    if (!error && n != 1)
        error = start(&lone, handle_alone, -1);
    several = !error && n != 1;
    return error;
}
