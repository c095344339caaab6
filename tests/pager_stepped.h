/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pager_stepped: what the actors of model/pager_stepping.c do with two pages, and what these may
 * hold then.
 *
 * A page's contents: in each of its first words 0, or 1 when the actor of that number has written
 * there; in all others a pattern of its own, or zeros where it is empty or was dropped. Each task
 * notes when it wrote, and when a drop began and ended, so that what must be there and what must
 * not is known at any time.
 */
#ifndef QUIRE_TESTS_PAGER_STEPPED_H
#define QUIRE_TESTS_PAGER_STEPPED_H

#include "pager_run.h"
#include "pager_stand_in.h"
#include "stepping.h"

#include "base/checked.h"
#include "pager/copies.h"
#include "pager/reclaim.h"

#include <sys/mman.h>

#define POOL_LIMIT ((size_t)16 << 20)
#define N_PAGES 2u     /* that are worked on */
#define N_MAPPED 4u    /* and as many to move them to */
#define WRITE_WORDS 4u /* of a page: one for each actor that writes */
#define PAGE_WORDS (SYS_PAGE_SIZE / sizeof(uint64_t))
#define MOST_OPERATIONS 3u
#define PAGEMAP_PROTECTED ((uint64_t)1 << 57) /* by a userfaultfd */
#define PAGEMAP_THERE ((uint64_t)3 << 62)     /* or the kernel is at moving it to another frame */

/*
 * SHARED: marked, as at a fork; HELD: the fork's other side is there, too. FORKED: it was there,
 * and nothing has a mark, but the kernel refuses to move what it once had.
 */
enum state {
    EMPTY,
    DIRTY,
    CLEAN,
    KEPT,
    SHARED,
    HELD,
    FORKED,
    STAGED,
    RAM,
    IN_FILE,
    DEAD,
    N_STATES
};
static const char *const state_names[N_STATES] = {
    "empty", "dirty", "clean", "kept", "shared", "held", "forked", "staged", "ram", "file", "dead"};

struct operation {
    const char *name;
    void (*run)(struct actor *self);
    bool has_page;  /* it is about one of the two pages */
    bool has_pass;  /* from its beginning to its end */
    bool faults;    /* the program's thread: it needs a handler */
    bool populates; /* so does this, where it can't move a page */
    bool repeats;   /* two of it can meet */
};

struct task { /* of an actor */
    const struct operation *operation;
    uint32_t at; /* which of the pages */
    /* What it did, on the schedule's clock; 0: not yet. */
    uint64_t written, drop_begins, drop_ends;
    bool moves;       /* it dropped the page's contents by moving them */
    uint64_t *reused; /* what it got from the heap, and wrote to */
};

struct scenario {
    char name[sizeof((struct schedule *)NULL)->scenario];
    enum state state;
    bool is_heap;
    unsigned n, bound;
    struct task tasks[MOST_OPERATIONS];
};

static struct {
    struct schedule schedule;
    uint64_t n_scenarios, n_schedules;
    uint64_t n_astray; /* schedules that exist no more */
} * shared;

static struct { /* the execution under way */
    struct scenario scenario;
    char *base;
    uint32_t page;
    uint64_t base_word[N_PAGES]; /* 0: the page was empty, or dead */
    bool is_gone[N_PAGES];       /* unmapped or freed, or about to be */
    bool is_barred[N_PAGES];     /* without access, for a while */
    pid_t holder;                /* of the pages' frames; 0: nobody */
} now;

static int pagemap;

/* What the program sees */

static void require(bool condition, const char *why)
{
    if (!condition && stepping.schedule)
        stepping_fail(why);
    else if (!condition)
        snprintf(shared->schedule.why, sizeof shared->schedule.why, "%s", why);
    if (!condition && !stepping_self())
        _exit(1);
}

/* Whether an access would fault, and by which flags; nothing else runs meanwhile. */
static bool would_fault(const char *address, bool write, uint64_t *flags)
{
    uint64_t map;
    off_t offset = (off_t)((uintptr_t)address >> SYS_PAGE_SHIFT) * 8;
    if (pread(pagemap, &map, sizeof map, offset) != sizeof map)
        abort();
    *flags = write ? UFFD_PAGEFAULT_FLAG_WRITE : 0;
    if (!(map & PAGEMAP_THERE))
        return true;
    *flags |= UFFD_PAGEFAULT_FLAG_WP;
    return write && map & PAGEMAP_PROTECTED;
}

static void serve(const char *address, uint64_t flags)
{
    static _Atomic uint32_t n_served;
    const struct fault fault = {(uintptr_t)address, flags, 1};
    fault_serve(&n_served, &fault);
}

/* Outside of an execution. */
static void bring(const char *address, bool write)
{
    uint64_t flags;
    for (int i = 0; would_fault(address, write, &flags); i++) {
        require(i < 10, "a page does not come in");
        serve(address, flags);
    }
}

static char *address_at(uint32_t at)
{
    return now.base + (size_t)at * SYS_PAGE_SIZE;
}

static bool drops(const struct task *task, uint32_t at)
{
    return task->drop_begins > 0 && task->at == at;
}

/* Whether all but the words that are written to are `word`. */
static bool is_filled(const uint64_t *words, uint64_t word)
{
    for (unsigned i = WRITE_WORDS; i < PAGE_WORDS; i++)
        if (words[i] != word + (word ? i % 8 : 0))
            return false;
    return true;
}

/* The word of actor i on the page `at`: must it be there, and must it not? */
static void check_write(const uint64_t *words, uint32_t at, unsigned i)
{
    const struct task *writer = &now.scenario.tasks[i];
    const bool is_there = words[i] != 0;
    bool must = writer->written > 0 && writer->at == at, may = must;
    for (unsigned k = 0; k < now.scenario.n; k++) {
        const struct task *task = &now.scenario.tasks[k];
        if (!drops(task, at))
            continue;
        if (task->drop_ends == 0 || task->drop_ends > writer->written)
            must = false;
        if (task->drop_ends > 0 && task->drop_begins > writer->written)
            may = false;
    }
    require(is_there || !must, "what was written is lost");
    require(!is_there || may, "what was dropped came back");
}

static void check_page(const char *address, uint32_t at)
{
    const uint64_t *words = (const uint64_t *)(const void *)address;
    const uint64_t base = now.base_word[at];
    bool must = base != 0, may = must;
    for (unsigned i = 0; i < now.scenario.n; i++) {
        must &= !drops(&now.scenario.tasks[i], at);
        may &= !drops(&now.scenario.tasks[i], at) || now.scenario.tasks[i].drop_ends == 0;
        check_write(words, at, i);
    }
    const bool is_there = base && is_filled(words, base);
    require(is_there || is_filled(words, 0), "a page of mixed contents");
    require(is_there || !must, "contents are lost");
    require(!is_there || may, "contents that were dropped came back");
}

/* A program's thread gets at the page, if it is mapped. */
static bool touch(struct actor *self, uint32_t at, bool write)
{
    uint64_t flags;
    for (;;) {
        stepping_touch(self);
        if (now.is_gone[at] || now.is_barred[at])
            return false;
        if (!would_fault(address_at(at), write, &flags))
            break;
        stepping_fault(self, address_at(at), flags);
    }
    check_page(address_at(at), at);
    return true;
}

/* Actors */

static struct task *task_of(const struct actor *self)
{
    return self->context;
}

static void do_read(struct actor *self)
{
    touch(self, task_of(self)->at, false);
}

static void do_write(struct actor *self)
{
    struct task *task = task_of(self);
    if (!touch(self, task->at, true))
        return;
    ((uint64_t *)(void *)address_at(task->at))[task - now.scenario.tasks] = 1;
    task->written = stepping.clock;
}

static void handle(struct actor *self)
{
    for (;;) {
        const struct actor *who = stepping_next_fault(self);
        serve(who->on, who->fault_flags);
    }
}

static bool starts_resident(enum state state)
{
    return state != EMPTY && state != STAGED && state != RAM && state != IN_FILE;
}

static void evict_now(void)
{
    const struct eviction eviction = {.most_pages = N_PAGES,
                                      .most_runs = N_PAGES,
                                      .may_fault = true,
                                      .pool_limit_bytes = POOL_LIMIT};
    bool tried;
    if (starts_resident(now.scenario.state))
        evict_oldest(&eviction, &tried);
    else
        reclaim_range(now.page, N_PAGES);
}

static void do_evict(struct actor *self)
{
    lock_take(&pager.pass);
    evict_now();
    lock_release(&pager.pass);
}

static void do_pack(struct actor *self)
{
    lock_take(&pager.pass);
    pack_oldest(POOL_LIMIT);
    pack_release(true);
    lock_release(&pager.pass);
}

static void do_file(struct actor *self)
{
    lock_take(&pager.pass);
    writeback_cluster();
    lock_release(&pager.pass);
}

/* All the way, as a pass that is short of room. */
static void do_reclaim(struct actor *self)
{
    lock_take(&pager.pass);
    evict_now();
    pack_oldest(POOL_LIMIT);
    pack_release(true);
    writeback_cluster();
    lock_release(&pager.pass);
}

static void do_step(struct actor *self)
{
    reclaim_step();
}

static void do_fetch(struct actor *self)
{
    int error = pager_advise(now.base, N_PAGES * SYS_PAGE_SIZE, MADV_WILLNEED);
    require(error == 0, "WILLNEED failed");
}

static void do_drop(struct actor *self)
{
    struct task *task = task_of(self);
    task->drop_begins = stepping.clock;
    int error = pager_advise(address_at(task->at), SYS_PAGE_SIZE, MADV_DONTNEED);
    require(error == 0 || (error == -ENOMEM && now.is_gone[task->at]), "DONTNEED failed");
    task->drop_ends = stepping.clock;
}

static void do_unmap(struct actor *self)
{
    const uint32_t at = task_of(self)->at;
    now.is_gone[at] = true;
    require(pager_unmap(address_at(at), SYS_PAGE_SIZE) == 0, "unmap failed");
}

static void do_move(struct actor *self)
{
    struct task *task = task_of(self);
    task->drop_begins = stepping.clock;
    pager_move_contents(now.page + task->at, now.page + N_PAGES + task->at, 1);
    task->drop_ends = stepping.clock;
    task->moves = true;
}

/* Fresh memory below where a page may just be moved to: what comes in ahead must not get there. */
static void do_fresh(struct actor *self)
{
    uint64_t flags;
    for (stepping_touch(self); would_fault(address_at(N_PAGES), true, &flags); stepping_touch(self))
        stepping_fault(self, address_at(N_PAGES), flags);
}

/* For a while without access: nobody gets at it, but the pager. */
static void do_protect(struct actor *self)
{
    const uint32_t at = task_of(self)->at;
    now.is_barred[at] = true;
    int error = pager_protect(address_at(at), SYS_PAGE_SIZE, PROT_NONE);
    require(error == 0 || now.is_gone[at], "protect failed");
    stepping_touch(self);
    error = pager_protect(address_at(at), SYS_PAGE_SIZE, PROT_READ | PROT_WRITE);
    require(error == 0 || now.is_gone[at], "protect failed");
    now.is_barred[at] = false;
}

static void carry_out(enum control_order_kind kind)
{
    control_give_order(run_control, kind);
    for (bool more = true; more;) {
        lock_take(&pager.pass);
        if (park_has_work())
            park_step();
        more = park_has_work();
        lock_release(&pager.pass);
    }
}

/* As the service thread does it, in portions. */
static void do_park(struct actor *self)
{
    carry_out(CONTROL_PARK);
    carry_out(CONTROL_RESUME);
}

/* L. What the store has of the page gets another place there, as by store_compact(). */
static void relocate(uint32_t page)
{
    static struct store_packed packed;
    static struct store_packer *packer;
    static unsigned char contents[SYS_PAGE_SIZE],
        scratch[2 * SYS_PAGE_SIZE] __attribute__((aligned(SYS_PAGE_SIZE)));
    const page_entry entry = table_get(&pager.table, page);
    const store_ref old = page_state(entry) == PAGE_STORED ? page_payload(entry) : copies_of(page);
    store_ref new;
    if (!old)
        return;
    if (!packer)
        packer = store_packer_init(
            aligned_alloc(SYS_PAGE_SIZE,
                          round_up(store_packer_bytes(STORE_CODEC_LZ4), SYS_PAGE_SIZE)),
            STORE_CODEC_LZ4);
    require(store_load(pager.store, packer, old, page, contents, scratch) == 0, "a bad copy");
    store_pack(packer, contents, &packed);
    require(store_insert(pager.store, page, &packed, POOL_LIMIT, &new) == 0, "no room");
    store_drop(pager.store, writeback_relocate(NULL, page, old, new) ? old : new);
    /* Its place is used again at once, for another page. */
    require(store_insert(pager.store, page + N_MAPPED, &packed, POOL_LIMIT, &new) == 0, "no room");
    store_drop(pager.store, new);
    budget_charge_tables();
}

static void do_relocate(struct actor *self)
{
    lock_take(&pager.pass);
    for (uint32_t at = 0; at < N_PAGES; at++) {
        lock_take(&pager.lock);
        relocate(now.page + at);
        lock_release(&pager.lock);
    }
    lock_release(&pager.pass);
}

static void do_fork(struct actor *self)
{
    uint64_t flags;
    pager_fork_prepare();
    require(pager.n_busy == 0, "a page is busy at a fork");
    for (uint32_t at = 0; at < N_PAGES; at++)
        require(would_fault(address_at(at), true, &flags), "a page can be written to at a fork");
    stepping_call(); /* the fork */
    pager_fork_cancel();
}

/* The fork's other side has gone: see shares(). */
static void do_end(struct actor *self)
{
    lock_take(&pager.pass);
    lock_take(&pager.lock);
    sharing_end();
    lock_release(&pager.lock);
    lock_release(&pager.pass);
}

static void do_free(struct actor *self)
{
    const uint32_t at = task_of(self)->at;
    now.is_gone[at] = true;
    pager_heap_free(address_at(at), 1);
}

/* Fresh memory is written to. */
static void write_anew(struct actor *self, uint64_t *words, bool zeroed)
{
    uint64_t flags;
    require(words != NULL, "no memory");
    for (stepping_touch(self); would_fault((char *)words, true, &flags); stepping_touch(self))
        stepping_fault(self, words, flags);
    require(!zeroed || (is_filled(words, 0) && !words[0]), "fresh memory is not zero");
    memset(words, 0, SYS_PAGE_SIZE);
    words[0] = 1;
    task_of(self)->reused = words;
}

/* Free memory is handed out again, as a rule the same, and written to. */
static void do_reuse(struct actor *self)
{
    bool zeroed;
    if (now.scenario.state != DEAD)
        do_free(self);
    uint64_t *words = pager_heap_alloc(1, 1, &zeroed);
    write_anew(self, words, zeroed);
}

/* The same with a mapping. */
static void do_renew(struct actor *self)
{
    do_unmap(self);
    write_anew(self, pager_map(SYS_PAGE_SIZE, PROT_READ | PROT_WRITE), true);
}

/* Those before FRESH meet each other; of the others the scenarios are listed. */
enum {
    READ,
    WRITE,
    EVICT,
    PACK,
    TO_FILE,
    RECLAIM,
    STEP,
    FETCH,
    DROP,
    UNMAP,
    MOVE,
    FORK,
    END,
    PROTECT,
    PARK,
    RELOCATE,
    FRESH,
    RENEW,
    FREE,
    REUSE,
    N_OPERATIONS
};

/* clang-format off */
static const struct operation operations[N_OPERATIONS] = {
    /*             name, function,             page,  pass,  faults, populates, repeats */
    [READ]     = {"read", do_read,             true,  false, true,  false, true},
    [WRITE]    = {"write", do_write,           true,  false, true,  false, true},
    [EVICT]    = {"evict", do_evict,           false, true,  false, true,  false},
    [PACK]     = {"pack", do_pack,             false, true,  false, false, false},
    [TO_FILE]  = {"file", do_file,             false, true,  false, false, false},
    [RECLAIM]  = {"reclaim", do_reclaim,       false, true,  false, true,  false},
    [STEP]     = {"step", do_step,             false, false, false, false, true},
    [FETCH]    = {"fetch", do_fetch,           false, true,  false, false, false},
    [DROP]     = {"drop", do_drop,             true,  false, false, false, true},
    [UNMAP]    = {"unmap", do_unmap,           true,  false, false, false, true},
    [MOVE]     = {"move", do_move,             true,  false, false, false, true},
    [FORK]     = {"fork", do_fork,             false, true,  false, false, false},
    [END]      = {"end", do_end,               false, true,  false, false, false},
    [PROTECT]  = {"protect", do_protect,       true,  false, false, false, false},
    [PARK]     = {"park", do_park,             false, true,  false, true,  false},
    [RELOCATE] = {"relocate", do_relocate,     false, true,  false, false, false},
    [FRESH]    = {"fresh", do_fresh,           false, false, true,  false, false},
    [RENEW]    = {"renew", do_renew,           true,  false, true,  false, false},
    [FREE]     = {"free", do_free,             true,  false, false, false, true},
    [REUSE]    = {"reuse", do_reuse,           true,  false, true,  false, true},
};
/* clang-format on */

#endif
