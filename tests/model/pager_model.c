/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pager against an oracle in ordinary memory that knows what each page was made of.
 *
 * Workers, each with mappings and heap runs of its own, map, unmap, move, protect, advise, write
 * and read at random, several times more memory than the budget, for each kind of store and each
 * policy. Every page that is read is compared to the byte. Now and then the budget changes, the run
 * is parked and resumed, or the process forks, and the child verifies all that the forking worker
 * has. pager_audit() recomputes the pager's own figures on the way. QUIRE_TEST_SEED replays a run
 * with one worker; with several, the operations but not their interleaving. A hang is a failure.
 */
#include "pager_audit.h"
#include "pager_run.h"

#include <pthread.h>

#define BUDGET_BYTES ((uint64_t)16 << 20)
#define LEAST_BUDGET_BYTES ((uint64_t)10 << 20)
#define SWAP_BYTES ((uint64_t)192 << 20)
#define TOTAL_PAGES 12288u /* of all workers: three times the budget */
#define MOST_PAGES 1500u   /* of one object */
#define MOST_PROTECTED                                                           \
    400u /* of all workers: pages that are not readable and writable, where they \
            can't be evicted */
#define N_OBJECTS 40u
#define MOST_WORKERS 3u
#define WORK_NS 1500000000u /* a variant works for so long */
#define SECONDS 300         /* and has hung after so long: forks wait for disks */
#define MOST_LOOKS 60000    /* a millisecond apart or more, until all is given back */
#define SLACK_PAGES 192     /* that the budget may be exceeded by: buffers count when first used */

#define UNKNOWN PAGE_KINDS /* the kind of a page whose contents are undefined */

struct content {
    uint32_t seed;
    uint8_t kind; /* enum page_kind or UNKNOWN */
    uint8_t prot;
    bool half_dead; /* heap: scrub may zero the upper half */
};

struct object {
    char *address; /* NULL: none */
    uint32_t n_pages;
    bool heap;
    struct content *pages;
};

struct worker {
    uint64_t random;
    unsigned number, step;
    uint32_t n_pages;
    struct object objects[N_OBJECTS];
    unsigned char expected[SYS_PAGE_SIZE];
};

static const struct variant {
    const char *name;
    struct run_config run;
    unsigned n_workers;
    bool forks;
    uint8_t weights[PAGE_KINDS]; /* zero, pattern, tiny, text, half, random; of 100 */
} variants[] = {
    {"lz4 in RAM",
     {BUDGET_BYTES, 0, STORE_CODEC_LZ4, false, POLICY_ADAPTIVE, PREFETCH_ADAPTIVE},
     1,
     false,
     {10, 40, 41, 6, 2, 1}},
    {"lz4 and a file",
     {BUDGET_BYTES, SWAP_BYTES, STORE_CODEC_LZ4, false, POLICY_GCLOCK, PREFETCH_CLUSTERS},
     1,
     true,
     {8, 10, 16, 22, 22, 22}},
    {"zstd and a file",
     {BUDGET_BYTES, SWAP_BYTES, STORE_CODEC_ZSTD, false, POLICY_S3_FIFO, PREFETCH_STRIDES},
     1,
     false,
     {8, 10, 16, 22, 22, 22}},
    {"lz4 or zstd, and a file",
     {BUDGET_BYTES, SWAP_BYTES, STORE_CODEC_ZSTD, true, POLICY_SIEVE, PREFETCH_CLUSTERS},
     1,
     true,
     {8, 10, 16, 22, 22, 22}},
    {"raw in RAM",
     {BUDGET_BYTES, 0, STORE_CODEC_NONE, false, POLICY_FIFO, PREFETCH_NONE},
     1,
     false,
     {20, 76, 1, 1, 1, 1}},
    {"raw and a file",
     {BUDGET_BYTES, SWAP_BYTES, STORE_CODEC_NONE, false, POLICY_2Q, PREFETCH_ADAPTIVE},
     1,
     true,
     {8, 10, 16, 22, 22, 22}},
    /* No forks: in RAM alone copies may leave no room, and that takes long to tell. */
    {"lz4 in RAM, two workers",
     {BUDGET_BYTES, 0, STORE_CODEC_LZ4, false, POLICY_WORKING_SET, PREFETCH_STRIDES},
     2,
     false,
     {10, 40, 41, 6, 2, 1}},
    {"lz4 and a file, three workers",
     {BUDGET_BYTES, SWAP_BYTES, STORE_CODEC_LZ4, false, POLICY_CLOCK, PREFETCH_CLUSTERS},
     3,
     false,
     {8, 10, 16, 22, 22, 22}},
};
#define N_VARIANTS (sizeof variants / sizeof variants[0])

static const struct variant *variant;
static uint64_t seed;
static uint8_t *liveness; /* of each heap page: what the scrub callback says of it */
static int kernel_file;   /* the kernel reads from it and writes to it */
static struct worker workers[MOST_WORKERS];

enum { DEAD_PAGE, LIVE_PAGE, HALF_DEAD_PAGE };

/* What the watchdog can tell, and what was seen; shared with the children. */
static struct seen {
    char doing[MOST_WORKERS][32];
    char left[128]; /* held when all was given back */
    _Atomic unsigned verified, refused, forks, moved, audits, limits, orders;
} * seen;

static _Noreturn void fail(const struct worker *worker, const char *what, const char *detail)
{
    fprintf(stderr, "%s: worker %u, step %u, %s: %s %s; QUIRE_TEST_SEED=%llu\n", variant->name,
            worker->number, worker->step, seen->doing[worker->number], what, detail,
            (unsigned long long)seed);
    _exit(1);
}

#define REQUIRE(worker, condition)                 \
    do {                                           \
        if (!(condition))                          \
            fail((worker), "not so:", #condition); \
    } while (0)

static uint32_t draw(struct worker *worker, uint32_t below)
{
    return (uint32_t)(next_random(&worker->random) >> 32) % below;
}

/* Small numbers are as likely as large ones. */
static uint32_t draw_length(struct worker *worker, uint32_t most)
{
    uint32_t scale = 1u << (3 + draw(worker, 9));
    uint32_t n = 1 + draw(worker, scale);
    return n < most ? n : most;
}

static uint8_t draw_kind(struct worker *worker)
{
    uint32_t at = draw(worker, 100);
    for (uint8_t kind = 0; kind < PAGE_KINDS; kind++) {
        if (at < variant->weights[kind])
            return kind;
        at -= variant->weights[kind];
    }
    return PAGE_ZERO;
}

static char *address_of(const struct object *object, uint32_t at)
{
    return object->address + (size_t)at * SYS_PAGE_SIZE;
}

/* What the pager asks of a page before it packs it. */
static size_t scrub(const void *page, void *copy)
{
    size_t at = (size_t)((const char *)page - (const char *)pager_heap_base()) / SYS_PAGE_SIZE;
    switch (__atomic_load_n(&liveness[at], __ATOMIC_ACQUIRE)) {
    case DEAD_PAGE:
        return SYS_PAGE_SIZE;
    case HALF_DEAD_PAGE:
        memset((char *)copy + SYS_PAGE_SIZE / 2, 0, SYS_PAGE_SIZE / 2);
        return SYS_PAGE_SIZE / 2;
    default:
        return 0;
    }
}

static void set_liveness(const struct object *object, uint32_t at, uint8_t value)
{
    size_t page = (size_t)(address_of(object, at) - (char *)pager_heap_base()) / SYS_PAGE_SIZE;
    __atomic_store_n(&liveness[page], value, __ATOMIC_RELEASE);
}

static void verify_page(struct worker *worker, const struct object *object, uint32_t at)
{
    const struct content *content = &object->pages[at];
    size_t n_bytes = content->half_dead ? SYS_PAGE_SIZE / 2 : SYS_PAGE_SIZE;
    if (content->kind == UNKNOWN || !(content->prot & PROT_READ))
        return;
    make_page(worker->expected, content->kind, content->seed);
    if (memcmp(address_of(object, at), worker->expected, n_bytes) != 0) {
        fprintf(stderr, "page %u of %u at %p (%s), kind %u: first bytes %016lx, not %016lx\n", at,
                object->n_pages, (void *)address_of(object, at), object->heap ? "heap" : "mapping",
                content->kind, *(unsigned long *)(void *)address_of(object, at),
                *(unsigned long *)(void *)worker->expected);
        fail(worker, "wrong contents", "");
    }
    atomic_fetch_add_explicit(&seen->verified, 1, memory_order_relaxed);
}

static void verify_range(struct worker *worker, const struct object *object, uint32_t from,
                         uint32_t to)
{
    for (uint32_t at = from; at < to; at++)
        verify_page(worker, object, at);
}

static void verify_all(struct worker *worker)
{
    for (unsigned i = 0; i < N_OBJECTS; i++)
        if (worker->objects[i].address)
            verify_range(worker, &worker->objects[i], 0, worker->objects[i].n_pages);
}

/* By the program itself, or by the kernel on its behalf. */
static void fill_page(struct worker *worker, char *to)
{
    off_t offset = (off_t)(worker->number * SYS_PAGE_SIZE);
    if (draw(worker, 8) > 0) {
        memcpy(to, worker->expected, SYS_PAGE_SIZE);
        return;
    }
    REQUIRE(worker, pwrite(kernel_file, worker->expected, SYS_PAGE_SIZE, offset) == SYS_PAGE_SIZE);
    REQUIRE(worker, pread(kernel_file, to, SYS_PAGE_SIZE, offset) == SYS_PAGE_SIZE);
}

static void write_page(struct worker *worker, struct object *object, uint32_t at)
{
    struct content *content = &object->pages[at];
    if (!(content->prot & PROT_WRITE))
        return;
    content->seed = (uint32_t)next_random(&worker->random);
    content->kind = draw_kind(worker);
    make_page(worker->expected, content->kind, content->seed);
    content->half_dead = false;
    if (object->heap)
        set_liveness(object, at, LIVE_PAGE);
    fill_page(worker, address_of(object, at));
    if (object->heap && draw(worker, 4) == 0) {
        content->half_dead = true;
        set_liveness(object, at, HALF_DEAD_PAGE);
    }
}

static struct object *any_object(struct worker *worker)
{
    struct object *object = &worker->objects[draw(worker, N_OBJECTS)];
    return object->address ? object : NULL;
}

static struct object *free_object(struct worker *worker)
{
    for (unsigned i = 0; i < N_OBJECTS; i++)
        if (!worker->objects[i].address)
            return &worker->objects[i];
    return NULL;
}

static uint32_t allowance(const struct worker *worker)
{
    uint32_t share = TOTAL_PAGES / variant->n_workers;
    return worker->n_pages < share ? share - worker->n_pages : 0;
}

static uint32_t count_protected(const struct worker *worker)
{
    uint32_t n_pages = 0;
    for (unsigned i = 0; i < N_OBJECTS; i++)
        for (uint32_t at = 0; worker->objects[i].address && at < worker->objects[i].n_pages; at++)
            n_pages += worker->objects[i].pages[at].prot != (PROT_READ | PROT_WRITE);
    return n_pages;
}

/* The protection of n_pages pages to come. */
static uint8_t draw_prot(struct worker *worker, uint32_t n_pages)
{
    static const uint8_t prots[] = {PROT_NONE, PROT_READ};
    if (draw(worker, 6) > 0 || (!pager.can_protect && count_protected(worker) + n_pages >
                                                          MOST_PROTECTED / variant->n_workers))
        return PROT_READ | PROT_WRITE;
    return prots[draw(worker, 2)];
}

static void set_contents(struct object *object, uint32_t from, uint32_t to, uint8_t kind,
                         uint8_t prot)
{
    for (uint32_t at = from; at < to; at++)
        object->pages[at] = (struct content){.kind = kind, .prot = prot};
}

static void adopt(struct worker *worker, struct object *object, char *address, uint32_t n_pages,
                  bool heap)
{
    *object = (struct object){.address = address, .n_pages = n_pages, .heap = heap};
    object->pages = malloc(n_pages * sizeof object->pages[0]);
    REQUIRE(worker, object->pages != NULL);
    worker->n_pages += n_pages;
}

static void abandon(struct worker *worker, struct object *object)
{
    worker->n_pages -= object->n_pages;
    free(object->pages);
    object->pages = NULL;
    object->address = NULL;
}

static void do_map(struct worker *worker)
{
    uint32_t most = allowance(worker), n_pages = draw_length(worker, MOST_PAGES);
    struct object *object = free_object(worker);
    uint8_t prot = draw_prot(worker, n_pages);
    if (!object || n_pages > most)
        return;
    char *address = pager_map((size_t)n_pages * SYS_PAGE_SIZE - draw(worker, 100), prot);
    if (!address) {
        atomic_fetch_add(&seen->refused, 1);
        return;
    }
    REQUIRE(worker, pager_owns(address, (size_t)n_pages * SYS_PAGE_SIZE));
    adopt(worker, object, address, n_pages, false);
    set_contents(object, 0, n_pages, PAGE_ZERO, prot);
}

/* What lies behind `at` becomes an object of its own. */
static bool cut(struct worker *worker, struct object *object, uint32_t at)
{
    struct object *tail = free_object(worker);
    if (!tail)
        return false;
    uint32_t n_tail = object->n_pages - at;
    adopt(worker, tail, address_of(object, at), n_tail, object->heap);
    memcpy(tail->pages, object->pages + at, n_tail * sizeof tail->pages[0]);
    object->n_pages = at;
    worker->n_pages -= n_tail;
    return true;
}

static void release(struct worker *worker, struct object *object)
{
    if (object->heap) {
        for (uint32_t at = 0; at < object->n_pages; at++)
            set_liveness(object, at, DEAD_PAGE);
        pager_heap_free(object->address, object->n_pages);
    } else {
        REQUIRE(worker, pager_unmap(object->address, (size_t)object->n_pages * SYS_PAGE_SIZE) == 0);
    }
    abandon(worker, object);
}

/* A part of an object is given back: its beginning, its end or its middle. Heap runs: the end. */
static void do_release(struct worker *worker)
{
    struct object *object = any_object(worker);
    if (!object)
        return;
    if (object->n_pages > 2 && draw(worker, 2) == 0) {
        uint32_t from = draw(worker, object->n_pages - 1);
        uint32_t to = from + 1 + draw(worker, object->n_pages - from);
        if (!object->heap && to < object->n_pages && !cut(worker, object, to))
            return;
        if (from > 0) {
            uint32_t before = object->n_pages;
            if (!cut(worker, object, from))
                return;
            char *tail = address_of(object, from);
            for (object = worker->objects; object->address != tail; object++)
                continue;
            REQUIRE(worker, object->n_pages == before - from);
        }
    }
    release(worker, object);
}

static bool is_uniform(const struct object *object)
{
    for (uint32_t at = 1; at < object->n_pages; at++)
        if (object->pages[at].prot != object->pages[0].prot)
            return false;
    return true;
}

static void resize(struct worker *worker, struct object *object, char *address, uint32_t n_pages,
                   uint8_t kind, uint8_t prot)
{
    uint32_t before = object->n_pages;
    struct content *pages = realloc(object->pages, n_pages * sizeof *pages);
    REQUIRE(worker, pages != NULL);
    *object = (struct object){address, n_pages, object->heap, pages};
    worker->n_pages += n_pages - before;
    if (n_pages > before)
        set_contents(object, before, n_pages, kind, prot);
}

static void do_remap(struct worker *worker)
{
    struct object *object = any_object(worker);
    if (!object || object->heap)
        return;
    uint32_t n_pages = draw(worker, 2) ? draw_length(worker, MOST_PAGES)
                                       : object->n_pages + draw_length(worker, 64);
    if (n_pages > object->n_pages && n_pages - object->n_pages > allowance(worker))
        return;
    bool may_move = draw(worker, 3) > 0, uniform = is_uniform(object);
    uint8_t prot = object->pages[0].prot;
    char *result = pager_remap(object->address, (size_t)object->n_pages * SYS_PAGE_SIZE,
                               (size_t)n_pages * SYS_PAGE_SIZE, may_move);
    REQUIRE(worker, uniform || (sys_is_error(result) && sys_error(result) == -EFAULT));
    if (sys_is_error(result) && (!uniform || prot == PROT_NONE))
        return; /* what was never accessible is no part of what was */
    if (sys_is_error(result)) {
        REQUIRE(worker, sys_error(result) == -ENOMEM && n_pages > object->n_pages);
        atomic_fetch_add(&seen->refused, may_move);
        return;
    }
    REQUIRE(worker, may_move || result == object->address);
    if (result != object->address)
        atomic_fetch_add(&seen->moved, 1);
    resize(worker, object, result, n_pages, PAGE_ZERO, prot);
}

/* Picks a range of a mapping. */
static struct object *any_range(struct worker *worker, uint32_t *from, uint32_t *n_pages)
{
    struct object *object = any_object(worker);
    if (!object || object->heap)
        return NULL;
    *from = draw(worker, object->n_pages);
    *n_pages = draw_length(worker, object->n_pages - *from);
    return object;
}

static void do_protect(struct worker *worker)
{
    uint32_t from, n_pages;
    struct object *object = any_range(worker, &from, &n_pages);
    if (!object)
        return;
    uint8_t prot = draw_prot(worker, n_pages);
    int error = pager_protect(address_of(object, from), (size_t)n_pages * SYS_PAGE_SIZE, prot);
    REQUIRE(worker, error == 0 || error == -ENOMEM);
    for (uint32_t at = from; at < from + n_pages && error == 0; at++)
        object->pages[at].prot = prot;
    atomic_fetch_add(&seen->refused, error != 0);
}

static void do_map_over(struct worker *worker)
{
    uint32_t from, n_pages;
    struct object *object = any_range(worker, &from, &n_pages);
    if (!object)
        return;
    uint8_t prot = draw_prot(worker, n_pages);
    int error = pager_map_over(address_of(object, from), (size_t)n_pages * SYS_PAGE_SIZE, prot);
    REQUIRE(worker, error == 0 || error == -ENOMEM);
    if (error == 0)
        set_contents(object, from, from + n_pages, PAGE_ZERO, prot);
    atomic_fetch_add(&seen->refused, error != 0);
}

static void do_advise(struct worker *worker)
{
    static const int advices[] = {MADV_DONTNEED, MADV_WILLNEED, MADV_PAGEOUT, MADV_COLD};
    uint32_t from, n_pages;
    struct object *object = any_range(worker, &from, &n_pages);
    if (!object)
        return;
    int advice = advices[draw(worker, 4)];
    int error = pager_advise(address_of(object, from), (size_t)n_pages * SYS_PAGE_SIZE, advice);
    REQUIRE(worker, error == 0);
    for (uint32_t at = from; at < from + n_pages && advice == MADV_DONTNEED; at++) {
        uint8_t prot = object->pages[at].prot;
        object->pages[at] = (struct content){.kind = PAGE_ZERO, .prot = prot};
    }
}

static void do_heap_alloc(struct worker *worker)
{
    uint32_t n_pages = draw_length(worker, MOST_PAGES), align = 1u << draw(worker, 5);
    struct object *object = free_object(worker);
    bool zeroed;
    if (!object || n_pages > allowance(worker))
        return;
    char *address = pager_heap_alloc(n_pages, align, &zeroed);
    if (!address) {
        atomic_fetch_add(&seen->refused, 1);
        return;
    }
    REQUIRE(worker, (uintptr_t)address % (align * SYS_PAGE_SIZE) == 0);
    adopt(worker, object, address, n_pages, true);
    set_contents(object, 0, n_pages, zeroed ? PAGE_ZERO : UNKNOWN, PROT_READ | PROT_WRITE);
    for (uint32_t at = 0; at < n_pages; at++)
        set_liveness(object, at, LIVE_PAGE);
}

static void do_heap_extend(struct worker *worker)
{
    struct object *object = any_object(worker);
    uint32_t n_more = draw_length(worker, 200);
    bool zeroed;
    if (!object || !object->heap || n_more > allowance(worker))
        return;
    uint32_t before = object->n_pages;
    if (!pager_heap_extend(object->address, before, before + n_more, &zeroed))
        return;
    resize(worker, object, object->address, before + n_more, zeroed ? PAGE_ZERO : UNKNOWN,
           PROT_READ | PROT_WRITE);
    for (uint32_t at = before; at < before + n_more; at++)
        set_liveness(object, at, LIVE_PAGE);
}

/* The contents of a run move to another one that takes its place, as heap_realloc does it. */
static void do_heap_move(struct worker *worker)
{
    struct object *object = any_object(worker);
    bool zeroed;
    if (!object || !object->heap || object->n_pages > allowance(worker))
        return;
    struct object old = *object;
    char *address = pager_heap_alloc(old.n_pages, 1, &zeroed);
    if (!address) {
        atomic_fetch_add(&seen->refused, 1);
        return;
    }
    object->address = address;
    for (uint32_t at = 0; at < old.n_pages; at++)
        set_liveness(object, at, old.pages[at].half_dead ? HALF_DEAD_PAGE : LIVE_PAGE);
    pager_heap_move(old.address, address, old.n_pages);
    for (uint32_t at = 0; at < old.n_pages; at++)
        set_liveness(&old, at, DEAD_PAGE);
    pager_heap_free(old.address, old.n_pages);
    atomic_fetch_add(&seen->moved, 1);
}

static void do_write(struct worker *worker)
{
    struct object *object = any_object(worker);
    if (!object)
        return;
    uint32_t from = draw(worker, object->n_pages);
    uint32_t n_pages = draw_length(worker, object->n_pages - from);
    for (uint32_t at = from; at < from + n_pages; at++)
        write_page(worker, object, at);
}

static void do_read(struct worker *worker)
{
    struct object *object = any_object(worker);
    if (!object)
        return;
    uint32_t from = draw(worker, object->n_pages);
    verify_range(worker, object, from, from + draw_length(worker, object->n_pages - from));
}

static void do_read_scattered(struct worker *worker)
{
    for (unsigned i = 0; i < 50; i++) {
        struct object *object = any_object(worker);
        if (object)
            verify_page(worker, object, draw(worker, object->n_pages));
    }
}

static void do_audit(struct worker *worker)
{
    const char *wrong = pager_audit();
    if (wrong)
        fail(worker, "audit:", wrong);
    /* What a fork makes both sides' own is looked at now and then only. */
    REQUIRE(worker, variant->forks ||
                        run_control->peak_held <= (int64_t)(BUDGET_BYTES >> 12) + SLACK_PAGES);
    atomic_fetch_add(&seen->audits, 1);
}

/* As `quire limit` and `quire run --ram auto` do it: what turns out to be too little is raised. */
static void do_limit(struct worker *worker)
{
    uint64_t range = BUDGET_BYTES - LEAST_BUDGET_BYTES;
    atomic_store(&run_control->retreat_bytes, BUDGET_BYTES);
    control_set_budget(run_control, LEAST_BUDGET_BYTES + range / 8 * draw(worker, 9));
    atomic_fetch_add(&seen->limits, 1);
}

/* Whatever is under way is left unfinished by what comes next. */
static void do_order(struct worker *worker)
{
    static const enum control_order_kind kinds[] = {CONTROL_PARK, CONTROL_RESUME, CONTROL_PARK,
                                                    CONTROL_ON_DEMAND, CONTROL_NO_ORDER};
    control_give_order(run_control, kinds[draw(worker, 5)]);
    atomic_fetch_add(&seen->orders, 1);
}

/* The child owns what the parent had, and goes on with it by itself. */
static void live_on(struct worker *worker)
{
    kernel_file = memfd_create("pages of a child", MFD_CLOEXEC);
    if (draw(worker, 2) == 0)
        verify_all(worker);
    for (unsigned i = 0; i < 8; i++)
        do_write(worker);
    for (unsigned i = 0; i < 4; i++)
        do_remap(worker);
    verify_all(worker);
    pager_exit();
}

static void do_fork(struct worker *worker)
{
    int status;
    if (!variant->forks)
        return;
    pager_fork_prepare();
    pid_t child = fork();
    if (child == 0) {
        pager_fork_child();
        live_on(worker);
        _exit(0);
    }
    if (child < 0)
        pager_fork_cancel();
    else
        pager_fork_parent();
    REQUIRE(worker, child > 0);
    for (unsigned i = 0; i < 5; i++) /* beside the child */
        do_write(worker);
    REQUIRE(worker, waitpid(child, &status, 0) == child && status == 0);
    atomic_fetch_add(&seen->forks, 1);
}

static const struct operation {
    void (*run)(struct worker *worker);
    const char *name;
    unsigned weight; /* of 1000 */
} operations[] = {
    {do_map, "map", 70},
    {do_release, "release", 60},
    {do_remap, "remap", 40},
    {do_protect, "protect", 30},
    {do_map_over, "map over", 10},
    {do_advise, "advise", 60},
    {do_heap_alloc, "heap alloc", 50},
    {do_heap_extend, "heap extend", 30},
    {do_heap_move, "heap move", 20},
    {do_limit, "limit", 20},
    {do_order, "order", 20},
    {do_write, "write", 321},
    {do_read, "read", 210},
    {do_read_scattered, "read scattered", 55},
    {do_audit, "audit", 3},
    {do_fork, "fork", 1},
};

static void perform(struct worker *worker, void (*run)(struct worker *worker), const char *name)
{
    snprintf(seen->doing[worker->number], sizeof seen->doing[0], "%s", name);
    run(worker);
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    uint64_t end = sys_now_ns() + WORK_NS;
    for (worker->step = 0; sys_now_ns() < end; worker->step++) {
        uint32_t at = draw(worker, 1000);
        const struct operation *operation = operations;
        while (at >= operation->weight)
            at -= operation++->weight;
        perform(worker, operation->run, operation->name);
    }
    perform(worker, verify_all, "verify all");
    return NULL;
}

static void release_all(struct worker *worker)
{
    for (unsigned i = 0; i < N_OBJECTS; i++)
        if (worker->objects[i].address)
            release(worker, &worker->objects[i]);
}

/* First touches ahead of a heap run's end stay; staged orphans go when the ring's tail comes by. */
static bool is_given_back(void)
{
    static const int64_t most[CONTROL_N_KINDS] = {
        [CONTROL_RESIDENT] = 512,  [CONTROL_STAGED] = 1024, [CONTROL_POOL] = 64,
        [CONTROL_METADATA] = 1024, [CONTROL_FILE] = 64,
    };
    for (int kind = 0; kind < CONTROL_N_KINDS; kind++)
        /* A little less than 0: this process shares memory with the one that tests it. */
        if (run_control->held[kind] < -SLACK_PAGES || run_control->held[kind] > most[kind])
            return false;
    return true;
}

/* All is given back: then nothing is held but what is kept on purpose. */
static void check_end(struct worker *worker)
{
    const _Atomic int64_t *held = run_control->held;
    pager_heap_purge();
    do_audit(worker);
    for (unsigned i = 0; i < MOST_LOOKS && !is_given_back(); i++)
        usleep(1000); /* the share of a fork's pages is looked at now and then */
    snprintf(seen->left, sizeof seen->left, "resident %lld, staged %lld, pool %lld, file %lld",
             (long long)held[CONTROL_RESIDENT], (long long)held[CONTROL_STAGED],
             (long long)held[CONTROL_POOL], (long long)held[CONTROL_FILE]);
    REQUIRE(worker, is_given_back());
    pager_exit();
}

static void body(void *unused)
{
    pthread_t threads[MOST_WORKERS];
    if (pager_init(run_control, scrub) != 0)
        fail(&workers[0], "pager_init", "");
    liveness = mmap(NULL, pager_heap_pages(), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    kernel_file = memfd_create("pages", MFD_CLOEXEC);
    for (unsigned i = 0; i < variant->n_workers; i++) {
        workers[i] = (struct worker){.number = i, .random = seed * 31 + i + 1};
        if (pthread_create(&threads[i], NULL, work, &workers[i]) != 0)
            fail(&workers[i], "pthread_create", "");
    }
    for (unsigned i = 0; i < variant->n_workers; i++)
        pthread_join(threads[i], NULL);
    for (unsigned i = 0; i < variant->n_workers; i++)
        perform(&workers[i], release_all, "release all");
    perform(&workers[0], check_end, "end");
}

static const char *explain(enum run_end end, int status)
{
    static char text[400];
    if (end == RUN_HUNG)
        return "hangs";
    if (end == RUN_VERDICT)
        snprintf(text, sizeof text, "ended by the pager: %s", run_control->message);
    else
        snprintf(text, sizeof text, "status %#x", (unsigned)status);
    return text;
}

static bool run_variant(void)
{
    struct control_stats totals;
    int status;
    memset(seen, 0, sizeof *seen);
    run_create(&variant->run);
    enum run_end end = run_child(body, NULL, SECONDS, &status);
    control_totals(run_control, &totals);
    printf("%s, %s, prefetch %s: %u pages verified, %llu evicted, %llu stored, %llu written, "
           "faults %llu %llu %llu %llu %llu, peak %lld of %lld, %u forks, %u moved, %u audits, "
           "%u limits, %u orders, %u refused; left: %s\n",
           variant->name, policy_name(variant->run.policy), prefetch_name(variant->run.prefetch),
           seen->verified, (unsigned long long)totals.evictions,
           (unsigned long long)totals.stored_pages, (unsigned long long)totals.written_pages,
           (unsigned long long)totals.faults[0], (unsigned long long)totals.faults[1],
           (unsigned long long)totals.faults[2], (unsigned long long)totals.faults[3],
           (unsigned long long)totals.faults[4], (long long)run_control->peak_held,
           (long long)control_budget(run_control), seen->forks, seen->moved, seen->audits,
           seen->limits, seen->orders, seen->refused, seen->left);
    if (end != RUN_DONE)
        printf("%s: %s, while doing \"%s\" \"%s\" \"%s\"; QUIRE_TEST_SEED=%llu\n", variant->name,
               explain(end, status), seen->doing[0], seen->doing[1], seen->doing[2],
               (unsigned long long)seed);
    control_reap(run_control, NULL, NULL);
    const long long held = control_held(run_control);
    if (held != 0)
        printf("%s: %lld pages are charged to nobody\n", variant->name, held);
    run_destroy();
    return end == RUN_DONE && held == 0;
}

int main(int argc, char **argv)
{
    bool good = true;
    if (run_is_skipped())
        return RUN_SKIPPED;
    seed = test_seed();
    printf("QUIRE_TEST_SEED=%llu\n", (unsigned long long)seed);
    seen = mmap(NULL, sizeof *seen, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (unsigned i = 0; i < N_VARIANTS; i++) {
        if (argc > 1 && (unsigned)atoi(argv[1]) != i)
            continue;
        variant = &variants[i];
        good &= run_variant();
    }
    return good ? 0 : 1;
}
