/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stepping: runs a few actors in every order, one step at a time.
 *
 *   actor A  --|take L|--work--|release|--move--|...     | a point: another actor may go on here
 *   actor B  --------|take L ... waits                   (base/stepping.h names the points)
 *
 * Actors are coroutines of one thread, so what runs between two points runs alone, and the same
 * choices make the same execution. A schedule is the list of choices, one for each point at which
 * more than one actor can go on: 0 goes on with the one that runs, or else with the first that can.
 * Schedules are tried depth first, each execution from a fresh start, up to a bound of choices that
 * are not 0 (M. Emmi, S. Qadeer, Z. Rakamaric, "Delay-Bounded Scheduling", POPL 2011; as in CHESS,
 * PLDI 2007, most errors need very few).
 *
 * Fewer points, and the same executions: between a release and the next lock that is wanted there
 * is no second point, if no system call lies in between. While L is held nobody can do anything but
 * what needs no lock: then only who touches memory (stepping_touch) may come in between.
 *
 * A program's thread that faults sleeps until a wake-up of its page, and only that: one that is
 * lost is a deadlock here. When nobody can go on, an actor that sleeps with a time-out wakes up; if
 * there is none the schedule has failed.
 *
 * For tests that link the core built with QUIRE_STEPPING. Outside of stepping_run() the points do
 * nothing.
 */
#ifndef QUIRE_TESTS_STEPPING_H
#define QUIRE_TESTS_STEPPING_H

#include "base/lock.h"
#include "base/stepping.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#define STEPPING_ACTORS 6
#define STEPPING_STACK ((size_t)256 << 10)
#define STEPPING_CHOICES 512  /* of a schedule */
#define STEPPING_POINTS 20000 /* of an execution: beyond that it goes on for ever */

enum actor_status {
    ACTOR_READY,
    ACTOR_ON_LOCK,  /* on->state */
    ACTOR_ON_FUTEX, /* until it is woken */
    ACTOR_ON_FAULT, /* until its page is woken */
    ACTOR_IDLE,     /* a handler without a fault to serve */
    ACTOR_DONE,
};

struct actor {
    const char *name;
    void (*run)(struct actor *self);
    void *context;
    bool serves; /* a handler: it need not end */

    enum actor_status status;
    const void *on; /* lock, futex word, or address of the fault */
    bool has_timeout, timed_out;
    bool touches; /* its next step needs no lock */
    bool is_read; /* its fault's message is with a handler */
    bool quiet;   /* nothing happened since its last point that another could see */
    unsigned n_held;
    uint64_t fault_flags;
    ucontext_t at;
    char *stack;
};

/* What has been chosen, where a parent can see it if this process ends badly. */
struct schedule {
    char scenario[80];
    uint32_t n, n_prefix; /* choices made, and how many of these were given */
    uint8_t choice[STEPPING_CHOICES], n_options[STEPPING_CHOICES];
    uint8_t chosen[STEPPING_CHOICES]; /* the actor */
    bool knows_chosen;                /* of the choices that are given */
    char why[200];                    /* it failed */
};

static struct {
    struct actor *actors; /* NULL: no execution is under way */
    unsigned n_actors, n_delays, most_delays;
    uint32_t n_points;
    uint64_t clock; /* goes up with each point */
    struct actor *current;
    const struct lock *outer; /* a lock under which others can go on */
    struct schedule *schedule;
    /* Whether an access would fault, and by which flags; NULL: nobody's does. */
    bool (*would_fault)(const char *address, bool write, uint64_t *flags);
    bool prints;
    bool diverged; /* the choices given did not fit: something differed from the last time */
    ucontext_t main;
} stepping;

static inline void stepping_fail(const char *why)
{
    if (!stepping.schedule->why[0])
        snprintf(stepping.schedule->why, sizeof stepping.schedule->why, "%s", why);
}

static inline bool actor_is_first_idle(const struct actor *actor)
{
    const struct actor *end = stepping.actors + stepping.n_actors;
    bool any = false;
    for (const struct actor *other = stepping.actors; other < end; other++) {
        if (other < actor && other->status == ACTOR_IDLE)
            return false; /* idle handlers are all alike */
        any |= other->status == ACTOR_ON_FAULT && !other->is_read;
    }
    return any;
}

static inline bool actor_can_run(const struct actor *actor)
{
    const struct actor *current = stepping.current;
    bool in_lock = current && current != actor && current->n_held > 0 &&
                   current->status == ACTOR_READY;
    switch (actor->status) {
    case ACTOR_READY:
        return !in_lock || actor->touches;
    case ACTOR_ON_LOCK:
        return !in_lock && atomic_load(&((const struct lock *)actor->on)->state) == 0;
    case ACTOR_IDLE:
        return !in_lock && actor_is_first_idle(actor);
    case ACTOR_ON_FUTEX:
    case ACTOR_ON_FAULT:
    case ACTOR_DONE:
        break;
    }
    return false;
}

/* Who may go on, the running one first. */
static inline unsigned stepping_options(struct actor **options)
{
    unsigned n = 0;
    struct actor *current = stepping.current;
    if (current && actor_can_run(current))
        options[n++] = current;
    for (unsigned i = 0; i < stepping.n_actors; i++)
        if (&stepping.actors[i] != current && actor_can_run(&stepping.actors[i]))
            options[n++] = &stepping.actors[i];
    return n;
}

static inline struct actor *stepping_timed_out(void)
{
    for (unsigned i = 0; i < stepping.n_actors; i++) {
        struct actor *actor = &stepping.actors[i];
        if (actor->status == ACTOR_ON_FUTEX && actor->has_timeout) {
            actor->timed_out = true;
            actor->status = ACTOR_READY;
            return actor;
        }
    }
    return NULL;
}

/* One of n_options actors; the same as the last time, if the choice is given. */
static inline struct actor *stepping_choose(struct actor **options, unsigned n_options)
{
    struct schedule *schedule = stepping.schedule;
    const uint32_t i = schedule->n;
    if (i == STEPPING_CHOICES) {
        stepping_fail("too many choices");
        return options[0];
    }
    const unsigned choice = i < schedule->n_prefix ? schedule->choice[i] : 0;
    const bool fits = choice < n_options;
    const uint8_t chosen = (uint8_t)(options[fits ? choice : 0] - stepping.actors);
    stepping.diverged |= !fits || (i + 1 < schedule->n_prefix && schedule->chosen[i] != chosen &&
                                   schedule->knows_chosen);
    if (stepping.diverged)
        return options[0];
    schedule->chosen[i] = chosen;
    schedule->choice[i] = (uint8_t)choice;
    schedule->n_options[i] = (uint8_t)n_options;
    schedule->n++;
    return options[choice];
}

/* NULL: all is done, or nobody can go on. */
static inline struct actor *stepping_next(void)
{
    struct actor *options[STEPPING_ACTORS];
    unsigned n = stepping_options(options);
    if (n == 0)
        return stepping_timed_out();
    if (n == 1 || stepping.n_delays >= stepping.most_delays)
        return options[0];
    struct actor *next = stepping_choose(options, n);
    stepping.n_delays += next != options[0];
    return next;
}

static inline void stepping_judge_end(void)
{
    for (unsigned i = 0; i < stepping.n_actors; i++) {
        const struct actor *actor = &stepping.actors[i];
        char why[100];
        if (actor->status == ACTOR_DONE || (actor->status == ACTOR_IDLE && actor->serves))
            continue;
        snprintf(why, sizeof why, "deadlock: %s waits for %s for ever", actor->name,
                 actor->status == ACTOR_ON_LOCK    ? "a lock"
                 : actor->status == ACTOR_ON_FAULT ? "its fault to be served"
                                                   : "a futex");
        stepping_fail(why);
    }
}

/* Another may go on; comes back when this one is chosen again. */
static inline void stepping_switch(const char *where)
{
    struct actor *self = stepping.current;
    ucontext_t *here = self ? &self->at : &stepping.main;
    stepping.clock++;
    if (++stepping.n_points > STEPPING_POINTS)
        stepping_fail("it goes on for ever");
    struct actor *next = stepping.schedule->why[0] ? NULL : stepping_next();
    if (stepping.prints && next)
        printf("  %-10s %-12s -> %s\n", self ? self->name : "-", where, next->name);
    if (next == self && next)
        return;
    stepping.current = next;
    if (!next)
        stepping_judge_end();
    else
        next->status = ACTOR_READY;
    swapcontext(here, next ? &next->at : &stepping.main);
}

static inline void actor_main(unsigned i)
{
    struct actor *self = &stepping.actors[i];
    self->run(self);
    self->status = ACTOR_DONE;
    stepping_switch("ends");
    abort();
}

static inline void actor_start(unsigned i)
{
    struct actor *actor = &stepping.actors[i];
    static char *stacks[STEPPING_ACTORS];
    if (!stacks[i] && !(stacks[i] = malloc(STEPPING_STACK)))
        abort();
    actor->status = actor->serves ? ACTOR_IDLE : ACTOR_READY;
    actor->stack = stacks[i];
    getcontext(&actor->at);
    actor->at.uc_stack.ss_sp = actor->stack;
    actor->at.uc_stack.ss_size = STEPPING_STACK;
    actor->at.uc_link = NULL;
    makecontext(&actor->at, (void (*)(void))actor_main, 1, i);
}

/*
 * One execution: the schedule's first n_prefix choices are given; where they did not fit,
 * `diverged` is set and the rest was not chosen. False: it failed, and says why. Actors that could
 * not go on are left as they are, and so is what they hold.
 */
static inline bool stepping_run(struct actor *actors, unsigned n_actors, unsigned most_delays,
                                struct schedule *schedule)
{
    stepping.actors = actors;
    stepping.n_actors = n_actors;
    stepping.n_delays = 0;
    stepping.most_delays = most_delays;
    stepping.n_points = 0;
    stepping.diverged = false;
    stepping.current = NULL;
    stepping.schedule = schedule;
    schedule->n = 0;
    schedule->why[0] = 0;
    for (unsigned i = 0; i < n_actors; i++)
        actor_start(i);
    stepping_switch("starts");
    stepping.actors = NULL;
    return !schedule->why[0];
}

/* The next schedule to try; false: all have been. */
static inline bool schedule_advance(struct schedule *schedule)
{
    while (schedule->n > 0) {
        const uint32_t last = schedule->n - 1;
        if (schedule->choice[last] + 1 < schedule->n_options[last]) {
            schedule->choice[last]++;
            schedule->n_prefix = schedule->n;
            schedule->knows_chosen = true;
            return true;
        }
        schedule->n--;
    }
    return false;
}

/* The calling actor; NULL outside of an execution. */
static inline struct actor *stepping_self(void)
{
    return stepping.actors ? stepping.current : NULL;
}

/* The actor is about to touch memory, which needs no lock. */
static inline void stepping_touch(struct actor *self)
{
    self->touches = true;
    stepping_switch("touches");
    self->touches = false;
    self->quiet = false;
}

/* It faulted: sleeps until its page is woken. */
static inline void stepping_fault(struct actor *self, const void *address, uint64_t flags)
{
    self->on = address;
    self->fault_flags = flags;
    self->is_read = false;
    self->status = ACTOR_ON_FAULT;
    stepping_switch("faults");
}

/* A handler waits for a fault; whose it is. */
static inline struct actor *stepping_next_fault(struct actor *self)
{
    for (;;) {
        for (unsigned i = 0; i < stepping.n_actors; i++) {
            struct actor *actor = &stepping.actors[i];
            if (actor->status != ACTOR_ON_FAULT || actor->is_read)
                continue;
            actor->is_read = true;
            self->quiet = false;
            return actor;
        }
        self->status = ACTOR_IDLE;
        stepping_switch("is idle");
    }
}

/* base/stepping.h */

void stepping_lock_wanted(const struct lock *lock)
{
    struct actor *self = stepping_self();
    if (!self || self->n_held > 0 || self->quiet)
        return;
    self->quiet = true;
    stepping_switch("wants a lock");
}

void stepping_lock_taken(const struct lock *lock)
{
    struct actor *self = stepping_self();
    if (!self)
        return;
    self->n_held += lock != stepping.outer;
    self->quiet = false;
}

bool stepping_lock_wait(const struct lock *lock)
{
    struct actor *self = stepping_self();
    if (!self)
        return false;
    self->on = lock;
    self->status = ACTOR_ON_LOCK;
    stepping_switch("waits (lock)");
    self->quiet = true;
    return true;
}

void stepping_lock_released(const struct lock *lock)
{
    struct actor *self = stepping_self();
    if (!self)
        return;
    self->n_held -= lock != stepping.outer;
    if (self->n_held > 0)
        return;
    self->quiet = true;
    stepping_switch("released");
}

void stepping_call(void)
{
    struct actor *self = stepping_self();
    if (!self)
        return;
    stepping_switch("system call");
    self->quiet = false;
}

void stepping_populate(const void *address)
{
    struct actor *self = stepping_self();
    uint64_t flags;
    while (self && stepping.would_fault && stepping.would_fault(address, true, &flags))
        stepping_fault(self, address, flags);
}

bool stepping_futex_wait(const void *word, uint32_t expected, uint64_t timeout_ns, int *result)
{
    struct actor *self = stepping_self();
    if (!self)
        return false;
    self->quiet = false;
    stepping_switch("futex");
    *result = -EAGAIN;
    if (atomic_load((const _Atomic uint32_t *)word) != expected)
        return true;
    self->on = word;
    self->has_timeout = timeout_ns != 0;
    self->timed_out = false;
    self->status = ACTOR_ON_FUTEX;
    stepping_switch("waits (futex)");
    *result = self->timed_out ? -ETIMEDOUT : 0;
    return true;
}

void stepping_futex_wake(const void *word, int n_waiters)
{
    for (unsigned i = 0; stepping.actors && i < stepping.n_actors && n_waiters > 0; i++) {
        struct actor *actor = &stepping.actors[i];
        if (actor->status != ACTOR_ON_FUTEX || actor->on != word)
            continue;
        actor->status = ACTOR_READY;
        n_waiters--;
    }
}

void stepping_fault_wake(const void *address, size_t n_bytes)
{
    const char *from = address;
    for (unsigned i = 0; stepping.actors && i < stepping.n_actors; i++) {
        struct actor *actor = &stepping.actors[i];
        const char *at = actor->on;
        if (actor->status == ACTOR_ON_FAULT && at >= from && at < from + n_bytes)
            actor->status = ACTOR_READY;
    }
}

/* Every order of the steps of what prepare() sets up, which returns how many of `actors` there are.
 * check_end() looks at what has come of each. Ends the program, with the schedule, where something
 * fails. Returns how many schedules there were. */
static inline unsigned long stepping_explore(const char *name, struct actor *actors,
                                             unsigned n_delays, unsigned (*prepare)(void),
                                             void (*check_end)(void))
{
    static struct schedule schedule;
    unsigned long n = 0;
    schedule.n_prefix = 0;
    schedule.knows_chosen = false;
    do {
        const unsigned n_actors = prepare();
        if (stepping_run(actors, n_actors, n_delays, &schedule))
            check_end();
        n++;
        if (schedule.why[0] || stepping.diverged) {
            fprintf(stderr, "%s: %s; schedule", name,
                    schedule.why[0] ? schedule.why : "an execution differs from the last");
            for (uint32_t i = 0; i < schedule.n; i++)
                fprintf(stderr, " %u", schedule.choice[i]);
            fputc('\n', stderr);
            exit(1);
        }
    } while (schedule_advance(&schedule));
    return n;
}

#endif
