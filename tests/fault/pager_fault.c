/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pager when the kernel refuses: the Nth mapping, userfaultfd call, read or write fails.
 *
 * For each class of calls and each error a child runs the same paging workload over and over, with
 * the failure at a later call each time, until it finishes without having met it, or time is up; a
 * number as argument runs one class for as long as all have. A child either finishes, whatever it
 * was refused, with all of its pages intact and the pager's own figures right; or the pager ends
 * the run by a verdict that says why. Never wrong contents, never a hang.
 */
#include "base/uffd.h"
#include "pager_audit.h"
#include "pager_run.h"

#include <pthread.h>

#define BUDGET_BYTES ((uint64_t)8 << 20)
#define SWAP_BYTES ((uint64_t)64 << 20)
#define N_OBJECTS 12u
#define OBJECT_PAGES 400u /* all objects: more than twice the budget */
#define SECONDS 300       /* until a run has hung */
#define LEAST_RUNS 2      /* of a class, however slow the machine */
#define SECONDS_IN_ALL 18

/* Each of the userfaultfd's requests, as when somebody holds or changes what it is about. */
#define IN_A_ROW 20
#define FOR_EVER 1000000
#define REFUSED(request)                                                                    \
    {SYS_CLASS_IOCTL, EAGAIN, false, #request ": EAGAIN, often", request, IN_A_ROW, false}, \
    {                                                                                       \
        SYS_CLASS_IOCTL, EBUSY, false, #request ": EBUSY, often", request, IN_A_ROW, false  \
    }

static const struct failure {
    enum sys_class class;
    int error;
    bool file; /* the workload needs the swap file */
    const char *name;
    unsigned long request; /* of ioctls only these; 0: all */
    unsigned n_times;      /* in a row */
    bool outlives_main;    /* main's thread has ended, and there is no reason to end the run */
} failures[] = {
    {SYS_CLASS_MAP, ENOMEM, false, "mmap, mprotect, mremap: ENOMEM", 0, 1, false},
    {SYS_CLASS_IOCTL, ENOMEM, false, "ioctl: ENOMEM", 0, 1, false},
    {SYS_CLASS_IOCTL, EAGAIN, false, "ioctl: EAGAIN", 0, 1, false},
    {SYS_CLASS_IOCTL, EBUSY, false, "ioctl: EBUSY", 0, 1, false},
    {SYS_CLASS_IOCTL, EIO, false, "ioctl: EIO", 0, 1, false},
    {SYS_CLASS_IOCTL, EEXIST, false, "ioctl: done, and denied", 0, 1, false},
    REFUSED(UFFDIO_API),
    REFUSED(UFFDIO_REGISTER),
    REFUSED(UFFDIO_UNREGISTER),
    REFUSED(UFFDIO_COPY),
    REFUSED(UFFDIO_MOVE),
    REFUSED(UFFDIO_WRITEPROTECT),
    REFUSED(UFFDIO_WAKE),
    {SYS_CLASS_IOCTL, EEXIST, false, "MOVE done, and denied; main's thread has ended", UFFDIO_MOVE,
     1, true},
    {SYS_CLASS_OPEN, EMFILE, true, "openat, memfd_create, userfaultfd, fcntl: EMFILE", 0, 1, false},
    {SYS_CLASS_OPEN, ENOENT, true, "the same: ENOENT, from then on", 0, FOR_EVER, false},
    {SYS_CLASS_LOCK, EAGAIN, true, "mlock: EAGAIN", 0, 1, false},
    {SYS_CLASS_LOCK, ENOMEM, true, "mlock: ENOMEM, from then on", 0, FOR_EVER, false},
    {SYS_CLASS_PEEK, EPERM, false, "process_vm_readv, mincore: EPERM, from then on", 0, FOR_EVER,
     false},
    {SYS_CLASS_TASK, EPERM, false, "unshare, sched_*: EPERM", 0, 1, false},
    {SYS_CLASS_READ, EAGAIN, false, "read: EAGAIN", 0, 1, false},
    {SYS_CLASS_READ, EIO, true, "read: EIO", 0, 1, false},
    {SYS_CLASS_WRITE, ENOSPC, true, "write: ENOSPC", 0, 1, false},
    {SYS_CLASS_WRITE, EIO, true, "write: EIO", 0, 1, false},
};
#define N_FAILURES (sizeof failures / sizeof failures[0])

static uint64_t random_state;

static struct attempt {
    const struct failure *failure;
    unsigned long nth;
} attempt;

static struct shared {
    _Atomic unsigned long fired;
    char why[200];
} * shared;

struct object {
    unsigned char *address;
    uint32_t n_pages, seed;
    bool heap;
};
static struct object objects[N_OBJECTS];

static void require(bool condition, const char *what)
{
    if (condition)
        return;
    snprintf(shared->why, sizeof shared->why, "%s", what);
    _exit(1);
}

static void make_content(unsigned char *page, const struct object *object, uint32_t at)
{
    static const enum page_kind kinds[] = {PAGE_TINY, PAGE_PATTERN, PAGE_TINY, PAGE_TEXT,
                                           PAGE_TINY, PAGE_PATTERN, PAGE_TINY, PAGE_RANDOM};
    static const enum page_kind bulky_kinds[] = {PAGE_TEXT, PAGE_RANDOM,  PAGE_TINY, PAGE_RANDOM,
                                                 PAGE_ZERO, PAGE_PATTERN, PAGE_TINY, PAGE_TINY};
    make_page(page, attempt.failure->file ? bulky_kinds[at % 8] : kinds[at % 8],
              object->seed * 1000 + at);
}

static void fill(const struct object *object, uint32_t from)
{
    unsigned char page[SYS_PAGE_SIZE];
    for (uint32_t at = from; at < object->n_pages; at++) {
        make_content(page, object, at);
        memcpy(object->address + (size_t)at * SYS_PAGE_SIZE, page, SYS_PAGE_SIZE);
    }
}

static void verify(const struct object *object)
{
    unsigned char page[SYS_PAGE_SIZE];
    for (uint32_t at = 0; object->address && at < object->n_pages; at++) {
        make_content(page, object, at);
        require(memcmp(object->address + (size_t)at * SYS_PAGE_SIZE, page, SYS_PAGE_SIZE) == 0,
                "wrong contents");
    }
}

static void allocate(unsigned i)
{
    const size_t n_bytes = OBJECT_PAGES * SYS_PAGE_SIZE;
    struct object *object = &objects[i];
    bool zeroed;
    *object = (struct object){.n_pages = OBJECT_PAGES, .seed = i + 1, .heap = i % 3 == 0};
    object->address = object->heap ? pager_heap_alloc(OBJECT_PAGES, 1, &zeroed)
                                   : pager_map(n_bytes, PROT_READ | PROT_WRITE);
    if (object->address)
        fill(object, 0);
}

/* Grows a mapping, as a rule by moving it. */
static void grow(struct object *object)
{
    const uint32_t n_pages = object->n_pages + 32;
    void *moved = pager_remap(object->address, object->n_pages * SYS_PAGE_SIZE,
                              n_pages * SYS_PAGE_SIZE, true);
    if (sys_is_error(moved)) {
        require(sys_error(moved) == -ENOMEM, "a remap failed with another error");
        return;
    }
    const uint32_t before = object->n_pages;
    object->address = moved;
    object->n_pages = n_pages;
    fill(object, before);
}

/* Takes access away and gives it again; what is refused stays as it was. */
static void protect(const struct object *object)
{
    const size_t n_bytes = OBJECT_PAGES / 2 * SYS_PAGE_SIZE;
    int error = pager_protect(object->address, n_bytes, PROT_READ);
    require(error == 0 || error == -ENOMEM, "protect failed with another error");
    for (int tries = 0; tries < 3; tries++)
        if ((error = pager_protect(object->address, n_bytes, PROT_READ | PROT_WRITE)) == 0)
            return;
    require(false, "protect failed three times");
}

/* What is locked is there; what could not be locked is not, and no error. */
static void hold(const struct object *object)
{
    const size_t n_bytes = 16 * SYS_PAGE_SIZE;
    int error = pager_lock_range(object->address, n_bytes);
    require(error == 0 || error == -ENOMEM || error == -EAGAIN, "lock failed with another error");
    verify(object);
    require(pager_unlock_range(object->address, n_bytes) == 0, "unlock failed");
}

static void change(unsigned i)
{
    struct object *object = &objects[i];
    if (!object->address || object->heap)
        return;
    verify(object);
    hold(object);
    if (i % 2)
        grow(object);
    else
        protect(object);
    int error = pager_advise(object->address, 64 * SYS_PAGE_SIZE, MADV_PAGEOUT);
    require(error == 0, "PAGEOUT failed");
}

static void release(struct object *object)
{
    if (!object->address)
        return;
    if (object->heap)
        pager_heap_free(object->address, object->n_pages);
    else
        require(pager_unmap(object->address, object->n_pages * SYS_PAGE_SIZE) == 0, "unmap");
}

static void check_figures(void)
{
    const char *wrong = pager_audit();
    require(wrong == NULL, wrong);
}

static void workload(void)
{
    for (unsigned i = 0; i < N_OBJECTS; i++)
        allocate(i);
    for (unsigned i = 0; i < N_OBJECTS; i++)
        change(i);
    for (unsigned i = 0; i < N_OBJECTS; i++)
        verify(&objects[i]);
    shared->fired = sys_injected(attempt.failure->class);
    sys_inject(attempt.failure->class, 0, 0);
    check_figures();
    for (unsigned i = 0; i < N_OBJECTS; i++)
        release(&objects[i]);
    pager_heap_purge();
    check_figures();
    require(run_control->held[CONTROL_RESIDENT] >= 0, "less than nothing is held");
    require(run_control->held[CONTROL_RESIDENT] <= 512, "memory was lost");
}

static void *outlive_main(void *main_thread)
{
    pthread_join(*(pthread_t *)main_thread, NULL);
    workload();
    _exit(0);
}

/* The workload in another thread, once main's has ended: for the kernel, too. */
static void run_without_main(void)
{
    static pthread_t main_thread;
    pthread_t thread;
    main_thread = pthread_self();
    require(pthread_create(&thread, NULL, outlive_main, &main_thread) == 0, "pthread_create");
    pthread_exit(NULL);
}

static void body(void *unused)
{
    const struct failure *failure = attempt.failure;
    const struct sys_fault fault = {.nth = attempt.nth,
                                    .n_times = failure->n_times,
                                    .error = failure->error,
                                    .request = failure->request};
    sys_inject_fault(failure->class, &fault);
    int error = pager_init(run_control, NULL);
    if (error == 0 && failure->outlives_main)
        run_without_main();
    if (error == 0) {
        workload();
        return;
    }
    shared->fired = sys_injected(attempt.failure->class);
    require(error == -attempt.failure->error || error == -ENOMEM, "pager_init's error");
}

/* Before paging, access is what is charged: what the kernel refused must not stay so. */
static void refused_access(void *unused)
{
    const size_t n_bytes = OBJECT_PAGES * SYS_PAGE_SIZE;
    require(pager_init(run_control, NULL) == 0, "pager_init");
    char *address = pager_map(n_bytes, PROT_NONE);
    const int64_t held = run_control->held[CONTROL_RESIDENT];
    sys_inject(SYS_CLASS_MAP, 1, ENOMEM);
    require(pager_protect(address, n_bytes, PROT_READ | PROT_WRITE) == -ENOMEM, "it was refused");
    require(run_control->held[CONTROL_RESIDENT] == held, "what was refused is charged");
    require(pager_protect(address, n_bytes, PROT_READ | PROT_WRITE) == 0, "it is not refused");
    require(run_control->held[CONTROL_RESIDENT] == held + OBJECT_PAGES, "access is not charged");
}

static bool run_refused_access(void)
{
    const struct run_config config = {.budget_bytes = BUDGET_BYTES, .codec = STORE_CODEC_LZ4};
    int status;
    run_create(&config);
    bool good = run_child(refused_access, NULL, SECONDS, &status) == RUN_DONE;
    if (!good)
        printf("refused access: status %#x %s\n", (unsigned)status, shared->why);
    run_destroy();
    return good;
}

static struct {
    unsigned runs, verdicts;
} seen;

/* Runs with the failure at one call; false when something is wrong. *met: there was such a call. */
static bool run_one(bool *met)
{
    const uint64_t swap_bytes = attempt.failure->file ? SWAP_BYTES : 0;
    const struct run_config config = {
        .budget_bytes = BUDGET_BYTES, .swap_bytes = swap_bytes, .codec = STORE_CODEC_LZ4};
    int status;
    *shared = (struct shared){0};
    run_create(&config);
    enum run_end end = run_child(body, NULL, SECONDS, &status);
    bool told = run_control->message[0] != '\0';
    *met = end == RUN_VERDICT || shared->fired > 0;
    seen.runs++;
    seen.verdicts += end == RUN_VERDICT;
    bool good = end == RUN_DONE || (end == RUN_VERDICT && told && !attempt.failure->outlives_main);
    if (!good)
        printf("%s, call %lu: %s (status %#x) %s %s\n", attempt.failure->name, attempt.nth,
               end == RUN_HUNG ? "hangs" : "failed", (unsigned)status, shared->why,
               run_control->message);
    else if (end == RUN_VERDICT && getenv("QUIRE_TEST_VERBOSE"))
        printf("%s, call %lu: %s\n", attempt.failure->name, attempt.nth, run_control->message);
    run_destroy();
    return good;
}

static bool run_failure(const struct failure *failure, uint64_t end_ns)
{
    bool good = true, met = true;
    attempt = (struct attempt){failure, 1};
    for (unsigned n = 0; met && good && (n < LEAST_RUNS || sys_now_ns() < end_ns); n++) {
        good = run_one(&met);
        uint64_t step = 1 + attempt.nth / 2; /* closely at first, then further each time */
        attempt.nth += step / 2 + next_random(&random_state) % (step + 1) + (step == 1);
    }
    return good;
}

int main(int argc, char **argv)
{
    bool good = true;
    if (run_is_skipped())
        return RUN_SKIPPED;
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    random_state = test_seed() * 2 + 1;
    printf("QUIRE_TEST_SEED=%llu\n", (unsigned long long)(random_state / 2));
    good &= run_refused_access();
    uint64_t start = sys_now_ns(), share = (uint64_t)SECONDS_IN_ALL * 1000000000u / N_FAILURES;
    for (unsigned i = 0; i < N_FAILURES; i++) {
        if (argc > 1 && (unsigned)atoi(argv[1]) != i)
            continue;
        good &= run_failure(&failures[i], start + share * (i + 1));
        printf("%s: up to call %lu; %u runs, %u verdicts so far\n", failures[i].name, attempt.nth,
               seen.runs, seen.verdicts);
    }
    return good ? 0 : 1;
}
