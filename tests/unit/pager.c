/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pager in particular situations, each in a child with a run of its own. Cases that are named
 * after what once went wrong stay here; pager_model looks for the next ones.
 */
#include "pager_audit.h"
#include "pager_run.h"

#include <pthread.h>

#define BUDGET_BYTES ((uint64_t)16 << 20)
#define BUDGET_PAGES ((uint32_t)(BUDGET_BYTES / SYS_PAGE_SIZE))
#define FILE_BYTES ((uint64_t)96 << 20)
#define SECONDS 300 /* until a case has hung; where it gets little of a processor, it takes 100 */
#define READ_WRITE (PROT_READ | PROT_WRITE)

#define REQUIRE(condition)                                                          \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: %s: not so\n", __FILE__, __LINE__, #condition); \
            _exit(1);                                                               \
        }                                                                           \
    } while (0)

static size_t bytes_of(uint32_t n_pages)
{
    return (size_t)n_pages * SYS_PAGE_SIZE;
}

static char *map(uint32_t n_pages)
{
    char *address = pager_map(bytes_of(n_pages), READ_WRITE);
    REQUIRE(address != NULL);
    return address;
}

static void fill(char *address, uint32_t n_pages, enum page_kind kind, uint64_t seed)
{
    unsigned char page[SYS_PAGE_SIZE];
    for (uint32_t i = 0; i < n_pages; i++) {
        make_page(page, kind, seed + i);
        memcpy(address + bytes_of(i), page, SYS_PAGE_SIZE);
    }
}

static void verify(const char *address, uint32_t n_pages, enum page_kind kind, uint64_t seed)
{
    unsigned char page[SYS_PAGE_SIZE];
    for (uint32_t i = 0; i < n_pages; i++) {
        make_page(page, kind, seed + i);
        REQUIRE(memcmp(address + bytes_of(i), page, SYS_PAGE_SIZE) == 0);
    }
}

static uint32_t n_resident(const char *address, uint32_t n_pages)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < n_pages; i++)
        n += pager_is_resident(address + bytes_of(i));
    return n;
}

/* More compressible pages than fit come by, so that all others that can be are evicted. */
static void press(void)
{
    char *address = map(2 * BUDGET_PAGES);
    fill(address, 2 * BUDGET_PAGES, PAGE_TINY, 77);
    verify(address, 2 * BUDGET_PAGES, PAGE_TINY, 77);
    REQUIRE(pager_unmap(address, bytes_of(2 * BUDGET_PAGES)) == 0);
    REQUIRE(pager_is_armed());
}

static void a_program_within_its_budget_is_not_paged(void)
{
    char *address = map(BUDGET_PAGES / 2);
    fill(address, BUDGET_PAGES / 2, PAGE_RANDOM, 1);
    verify(address, BUDGET_PAGES / 2, PAGE_RANDOM, 1);
    REQUIRE(!pager_is_armed());
    REQUIRE(run_control->held[CONTROL_RESIDENT] == BUDGET_PAGES / 2);
    REQUIRE(pager_unmap(address, bytes_of(BUDGET_PAGES / 2)) == 0);
    REQUIRE(run_control->held[CONTROL_RESIDENT] == 0);
}

static void pages_come_back_after_pressure(void)
{
    char *address = map(1000);
    fill(address, 1000, PAGE_TEXT, 5);
    press();
    verify(address, 1000, PAGE_TEXT, 5);
    REQUIRE(pager_audit() == NULL);
}

/* Protections that alternate: no run of pages lies in one mapping of the kernel's. */
static void runs_that_cross_mappings_are_evicted(void)
{
    const uint32_t n_pages = BUDGET_PAGES / 2;
    char *address = map(n_pages);
    fill(address, n_pages, PAGE_TINY, 9);
    for (uint32_t i = 0; i < n_pages; i += 32)
        REQUIRE(pager_protect(address + bytes_of(i), SYS_PAGE_SIZE, PROT_READ) == 0);
    press();
    REQUIRE(n_resident(address, n_pages) < n_pages / 8);
    verify(address, n_pages, PAGE_TINY, 9);
}

/* Every second run of 8 pages, from the first or the second on. */
static char *striped;

static void *verify_stripes(void *second)
{
    for (uint32_t i = second ? 8 : 0; i < BUDGET_PAGES; i += 16)
        verify(striped + bytes_of(i), 8, PAGE_TINY, i);
    return NULL;
}

/*
 * Every 8 pages another mapping of the kernel's, though one region: a window that is read ahead is
 * cut there, and another thread that faulted on the part behind it must be woken all the same.
 */
static void a_window_that_is_cut_wakes_who_waits(void)
{
    striped = pager_map(bytes_of(BUDGET_PAGES), PROT_NONE);
    REQUIRE(striped != NULL);
    for (uint32_t odd = 0; odd < 2; odd++)
        for (uint32_t i = 8 * odd; i < BUDGET_PAGES; i += 16) { /* each has its own anon_vma */
            REQUIRE(pager_protect(striped + bytes_of(i), bytes_of(8), READ_WRITE) == 0);
            fill(striped + bytes_of(i), 8, PAGE_TINY, i);
        }
    for (unsigned round = 0; round < 4; round++) {
        pthread_t other;
        REQUIRE(pager_advise(striped, bytes_of(BUDGET_PAGES), MADV_PAGEOUT) == 0);
        REQUIRE(pthread_create(&other, NULL, verify_stripes, striped) == 0);
        verify_stripes(NULL);
        REQUIRE(pthread_join(other, NULL) == 0);
        press();
    }
}

static void what_has_no_access_keeps_its_contents_when_it_moves(void)
{
    const int prots[] = {PROT_NONE, PROT_READ, READ_WRITE};
    for (unsigned i = 0; i < 3; i++) {
        char *address = map(200), *barrier = map(16);
        fill(address, 200, PAGE_TEXT, i);
        if (i % 2 == 0)
            press();
        verify(address, 100, PAGE_TEXT, i); /* a half is resident now */
        REQUIRE(pager_protect(address, bytes_of(200), prots[i]) == 0);
        char *moved = pager_remap(address, bytes_of(200), bytes_of(5000), true);
        REQUIRE(!sys_is_error(moved));
        REQUIRE(pager_protect(moved, bytes_of(200), PROT_READ) == 0);
        verify(moved, 200, PAGE_TEXT, i);
        REQUIRE(pager_unmap(moved, bytes_of(5000)) == 0);
        REQUIRE(pager_unmap(barrier, bytes_of(16)) == 0);
    }
}

static void a_size_beyond_the_arena_is_refused(void)
{
    char *address = map(64);
    fill(address, 64, PAGE_TEXT, 3);
    static const size_t sizes[] = {((size_t)1 << 44) + SYS_PAGE_SIZE, (size_t)1 << 45,
                                   SIZE_MAX - 10};
    for (unsigned i = 0; i < 3; i++) {
        void *moved = pager_remap(address, bytes_of(64), sizes[i], true);
        REQUIRE(sys_is_error(moved) && sys_error(moved) == -ENOMEM);
        REQUIRE(pager_map(sizes[i], READ_WRITE) == NULL);
    }
    verify(address, 64, PAGE_TEXT, 3);
}

static void a_locked_mapping_that_grows_is_counted_rightly(void)
{
    char *address = map(64);
    int error = pager_lock_range(address, bytes_of(64));
    if (error == -ENOMEM || error == -EPERM)
        return; /* the kernel does not let us */
    REQUIRE(error == 0 && pager.n_locked == 64);
    char *grown = pager_remap(address, bytes_of(64), bytes_of(96), false);
    size_t n_bytes = sys_is_error(grown) ? bytes_of(64) : bytes_of(96);
    REQUIRE(pager_unlock_range(address, n_bytes) == 0);
    REQUIRE(pager.n_locked == 0);
}

/* Allocations fail while reclaim finds nothing to give; no longer than that. */
static void memory_given_back_can_be_had_again(void)
{
    press();
    char *address = map(BUDGET_PAGES / 2);
    fill(address, BUDGET_PAGES / 2, PAGE_RANDOM, 6);
    atomic_store(&run_control->tight, 1); /* as after a pass that brought nothing */
    REQUIRE(pager_unmap(address, bytes_of(BUDGET_PAGES / 2)) == 0);
    address = map(BUDGET_PAGES / 4);
    fill(address, BUDGET_PAGES / 4, PAGE_RANDOM, 7);
    verify(address, BUDGET_PAGES / 4, PAGE_RANDOM, 7);
}

static void dropped_memory_reads_as_zeros(void)
{
    char *address = map(600);
    fill(address, 600, PAGE_TEXT, 8);
    press();
    verify(address, 200, PAGE_TEXT, 8);
    REQUIRE(pager_advise(address, bytes_of(600), MADV_DONTNEED) == 0);
    verify(address, 600, PAGE_ZERO, 0);
    REQUIRE(pager_audit() == NULL);
}

#define ADVICE_DONTNEED_LOCKED 24 /* Linux 5.18 */

static void dropped_memory_reads_as_zeros_though_it_is_locked(void)
{
    char *address = map(600);
    fill(address, 600, PAGE_TEXT, 24);
    press();
    REQUIRE(pager_lock_range(address, bytes_of(20)) == 0);
    REQUIRE(pager_advise(address, bytes_of(600), MADV_DONTNEED) == -EINVAL);
    verify(address, 600, PAGE_TEXT, 24);
    press();
    REQUIRE(pager_advise(address, bytes_of(600), ADVICE_DONTNEED_LOCKED) == 0);
    verify(address, 600, PAGE_ZERO, 0);
    REQUIRE(pager_unlock_range(address, bytes_of(20)) == 0);
    REQUIRE(pager_audit() == NULL);
}

static void a_mapping_that_fails_leaves_what_is_there(void)
{
    char *address = map(600);
    fill(address, 600, PAGE_TEXT, 25);
    press();
    void *result = pager_map_foreign(address, bytes_of(600), PROT_READ, MAP_PRIVATE | MAP_FIXED, -1,
                                     0);
    REQUIRE(sys_is_error(result));
    verify(address, 600, PAGE_TEXT, 25);
    REQUIRE(pager_audit() == NULL);
}

static void *touch(void *address)
{
    *(volatile char *)address = 1;
    return NULL;
}

/*
 * As when the service thread, which makes room, hits upon a page that somebody has dropped, while
 * each handler waits for that room: here it is this thread, and nobody makes room.
 */
static void what_the_service_awaits_comes_though_all_handlers_wait(void)
{
    enum { N_THREADS = 6 }; /* more than there are handlers */
    pthread_t threads[N_THREADS];
    char *fresh = map(N_THREADS * 64), *evicted = map(600);
    fill(evicted, 600, PAGE_TEXT, 26);
    press();
    lock_take(&pager.pass);
    control_set_budget(run_control, (uint64_t)control_held(run_control) << SYS_PAGE_SHIFT);
    uint32_t at = 0;
    while (at < 600 && pager_is_resident(evicted + bytes_of(at)))
        at++;
    REQUIRE(at < 600);
    const uint64_t n_waits = pager.self->stats.waits_for_room;
    for (unsigned i = 0; i < N_THREADS; i++)
        REQUIRE(pthread_create(&threads[i], NULL, touch, fresh + bytes_of(i * 64)) == 0);
    while (pager.self->stats.waits_for_room == n_waits)
        usleep(1000);
    usleep(100000); /* for the others */
    atomic_store(&service_awaits, (uint64_t)page_of(evicted) + at + 1);
    verify(evicted + bytes_of(at), 1, PAGE_TEXT, 26 + at);
    atomic_store(&service_awaits, 0);
    control_set_budget(run_control, BUDGET_BYTES);
    lock_release(&pager.pass);
    for (unsigned i = 0; i < N_THREADS; i++)
        REQUIRE(pthread_join(threads[i], NULL) == 0);
    REQUIRE(pager_audit() == NULL);
}

static void a_heap_run_says_truly_whether_it_is_zeroed(void)
{
    bool zeroed;
    char *run = pager_heap_alloc(500, 1, &zeroed);
    REQUIRE(run && zeroed);
    verify(run, 500, PAGE_ZERO, 0);
    fill(run, 500, PAGE_RANDOM, 2);
    pager_heap_free(run, 500);
    run = pager_heap_alloc(500, 1, &zeroed);
    REQUIRE(run != NULL);
    if (zeroed)
        verify(run, 500, PAGE_ZERO, 0);
    pager_heap_free(run, 500);
    REQUIRE(pager_heap_purge());
    run = pager_heap_alloc(500, 1, &zeroed);
    REQUIRE(run && zeroed);
    verify(run, 500, PAGE_ZERO, 0);
}

static uint32_t n_clean(const char *address, uint32_t n_pages)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < n_pages; i++)
        n += (table_get(&pager.table, page_of(address) + i) & PAGE_CLEAN) != 0;
    return n;
}

/* Pages that are in the store, read again: clean, where this kernel can tell. */
static char *map_clean(uint32_t n_pages, uint64_t seed)
{
    char *address = map(n_pages);
    fill(address, n_pages, PAGE_TEXT, seed);
    press();
    verify(address, n_pages, PAGE_TEXT, seed);
    REQUIRE(!pager.can_protect || n_clean(address, n_pages) > n_pages / 2);
    return address;
}

static void what_came_in_to_be_read_is_clean_until_it_is_written_to(void)
{
    char *address = map_clean(500, 11);
    uint32_t before = n_clean(address, 500);
    for (uint32_t i = 0; i < 500; i += 2)
        address[bytes_of(i)]++;
    REQUIRE(before == 0 || n_clean(address, 500) < before);
    REQUIRE(before == 0 || pager.self->stats.faults[CONTROL_FAULT_WRITE] > 0);
    for (uint32_t i = 0; i < 500; i += 2)
        REQUIRE(!(table_get(&pager.table, page_of(address) + i) & PAGE_CLEAN));
    press();
    REQUIRE(n_resident(address, 500) < 100);
    for (uint32_t i = 0; i < 500; i += 2)
        address[bytes_of(i)]--;
    verify(address, 500, PAGE_TEXT, 11);
    REQUIRE(pager_audit() == NULL);
}

static void clean_pages_that_were_dropped_unseen_hold_up_nobody(void)
{
    char *address = map_clean(500, 12);
    REQUIRE(sys_madvise(address, bytes_of(250), MADV_DONTNEED) == 0);
    press();
    verify(address + bytes_of(250), 250, PAGE_TEXT, 12 + 250);
    REQUIRE(pager_unmap(address, bytes_of(500)) == 0);
}

/* The kernel drops those before them, and then refuses. */
static void clean_pages_beside_locked_ones_are_not_lost(void)
{
    char *address = map_clean(500, 16);
    REQUIRE(pager_protect(address, bytes_of(500), PROT_READ) == 0); /* else locking writes to it */
    for (uint32_t i = 40; i < 500; i += 100)
        REQUIRE(mlock(address + bytes_of(i), SYS_PAGE_SIZE) == 0);
    press();
    verify(address, 500, PAGE_TEXT, 16);
    REQUIRE(munlock(address, bytes_of(500)) == 0);
    REQUIRE(pager_audit() == NULL);
    REQUIRE(pager_unmap(address, bytes_of(500)) == 0);
}

static void clean_pages_are_evicted_whatever_their_protection(void)
{
    const int prots[] = {PROT_READ, PROT_NONE};
    for (unsigned i = 0; i < 2; i++) {
        char *address = map_clean(500, 13);
        uint32_t n_others = 500 - n_clean(address, 500);
        REQUIRE(pager_protect(address, bytes_of(500), prots[i]) == 0);
        press();
        REQUIRE(!pager.can_protect || n_resident(address, 500) <= n_others);
        REQUIRE(pager_protect(address, bytes_of(500), PROT_READ) == 0);
        verify(address, 500, PAGE_TEXT, 13);
        REQUIRE(pager_unmap(address, bytes_of(500)) == 0);
    }
}

static void what_will_be_needed_comes_in_while_there_is_room(void)
{
    char *address = map(500);
    fill(address, 500, PAGE_TEXT, 14);
    press();
    const uint32_t before = n_resident(address, 500);
    REQUIRE(pager_advise(address, bytes_of(500), MADV_WILLNEED) == 0);
    REQUIRE(n_resident(address, 500) > before + 250);
    verify(address, 500, PAGE_TEXT, 14);
    REQUIRE(pager_audit() == NULL);
}

/* Who brings it in is who makes room: it must not wait for itself. */
static void what_will_be_needed_and_does_not_fit_stays_out(void)
{
    char *address = map(2 * BUDGET_PAGES);
    fill(address, 2 * BUDGET_PAGES, PAGE_TINY, 15);
    for (unsigned i = 0; i < 3; i++)
        REQUIRE(pager_advise(address, bytes_of(2 * BUDGET_PAGES), MADV_WILLNEED) == 0);
    REQUIRE(n_resident(address, 2 * BUDGET_PAGES) < BUDGET_PAGES);
    verify(address, 2 * BUDGET_PAGES, PAGE_TINY, 15);
    REQUIRE(pager_audit() == NULL);
}

/* What it packs and loads with: 132 KiB, and what it loaded at once. */
static void a_process_that_rests_gives_its_buffers_back(void)
{
    char *address = map(BUDGET_PAGES);
    fill(address, BUDGET_PAGES, PAGE_TEXT, 5);
    press();
    const _Atomic int64_t *held = &run_control->held[CONTROL_METADATA];
    const int64_t goal = run_control->peak[CONTROL_METADATA] - 32;
    for (unsigned i = 0; i < SECONDS * 900 && *held > goal; i++)
        usleep(1000);
    REQUIRE(*held <= goal);
    verify(address, BUDGET_PAGES, PAGE_TEXT, 5);
    REQUIRE(pager_audit() == NULL);
}

/* More than half of it in the swap file, all of it read, so that what is resident came from there.
 */
static char *map_filed(uint32_t n_pages, uint64_t seed)
{
    char *address = map(n_pages);
    fill(address, n_pages, PAGE_RANDOM, seed);
    for (unsigned round = 0; round < 2; round++)
        verify(address, n_pages, PAGE_RANDOM, seed);
    return address;
}

/* Pages whose copies are kept in the file. */
static uint32_t n_kept(const char *address, uint32_t n_pages)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < n_pages; i++) {
        store_ref ref = copies_of(page_of(address) + i);
        n += ref != 0 && store_tier(ref) == STORE_FILE;
    }
    return n;
}

static void what_is_unchanged_is_not_written_again(void)
{
    const uint32_t n_pages = 3 * BUDGET_PAGES;
    char *address = map_filed(n_pages, 21);
    uint64_t before = pager.self->stats.written_pages;
    REQUIRE(!pager.can_protect || n_kept(address, n_pages) > BUDGET_PAGES / 16);
    verify(address, n_pages, PAGE_RANDOM, 21);
    REQUIRE(!pager.can_protect || pager.self->stats.written_pages - before < n_pages / 4);
    REQUIRE(pager_audit() == NULL);
}

static void what_is_written_to_is_not_what_the_file_has(void)
{
    const uint32_t n_pages = 3 * BUDGET_PAGES;
    char *address = map_filed(n_pages, 22);
    for (uint32_t i = n_pages; i-- > 0;) /* from the end, where the resident ones are */
        address[bytes_of(i)]++;
    REQUIRE(n_kept(address, n_pages) < BUDGET_PAGES / 16);
    for (uint32_t i = 0; i < n_pages; i++)
        address[bytes_of(i)]--;
    verify(address, n_pages, PAGE_RANDOM, 22);
    REQUIRE(pager_audit() == NULL);
}

/* What is read in no order is in use; what is read in order may go when it has been read. */
static void a_scan_leaves_most_of_the_rest(void)
{
    const uint32_t n_pages = BUDGET_PAGES / 8, n_scanned = 2 * BUDGET_PAGES, stride = 7;
    char *used = map(n_pages), *scanned = map(n_scanned);
    fill(used, n_pages, PAGE_TINY, 31);
    fill(scanned, n_scanned, PAGE_TINY, 32);
    for (uint32_t i = 0; i < stride; i++)
        for (uint32_t j = i; j < n_pages; j += stride)
            verify(used + bytes_of(j), 1, PAGE_TINY, 31 + j);
    verify(scanned, n_scanned, PAGE_TINY, 32);
    REQUIRE(!pager.can_protect || n_resident(used, n_pages) > n_pages / 2);
    REQUIRE(pager_audit() == NULL);
    verify(scanned, n_scanned, PAGE_TINY, 32);
    REQUIRE(pager_audit() == NULL);
}

/* As when the file is full: what is kept there makes room, and nothing but that is lost. */
static void what_is_kept_can_be_given_up(void)
{
    const uint32_t n_pages = 3 * BUDGET_PAGES;
    char *address = map_filed(n_pages, 23);
    struct pager_guard guard;
    pager_enter(&guard);
    uint32_t n_before = n_kept(address, n_pages), n_dropped = copies_drop_file();
    uint32_t n_after = n_kept(address, n_pages);
    pager_leave(&guard);
    REQUIRE(n_dropped == n_before && n_after == 0);
    REQUIRE(pager_audit() == NULL);
    verify(address, n_pages, PAGE_RANDOM, 23);
}

static const struct {
    void (*run)(void);
    const char *name;
    uint64_t swap_bytes;
} cases[] = {
#define CASE(name)     \
    {                  \
        name, #name, 0 \
    }
#define CASE_WITH_FILE(name)    \
    {                           \
        name, #name, FILE_BYTES \
    }
    CASE(a_program_within_its_budget_is_not_paged),
    CASE(pages_come_back_after_pressure),
    CASE(runs_that_cross_mappings_are_evicted),
    CASE(a_window_that_is_cut_wakes_who_waits),
    CASE(what_has_no_access_keeps_its_contents_when_it_moves),
    CASE(a_size_beyond_the_arena_is_refused),
    CASE(a_locked_mapping_that_grows_is_counted_rightly),
    CASE(memory_given_back_can_be_had_again),
    CASE(dropped_memory_reads_as_zeros),
    CASE(dropped_memory_reads_as_zeros_though_it_is_locked),
    CASE(a_mapping_that_fails_leaves_what_is_there),
    CASE(what_the_service_awaits_comes_though_all_handlers_wait),
    CASE(a_heap_run_says_truly_whether_it_is_zeroed),
    CASE(what_will_be_needed_comes_in_while_there_is_room),
    CASE(what_will_be_needed_and_does_not_fit_stays_out),
    CASE(a_process_that_rests_gives_its_buffers_back),
    CASE(what_came_in_to_be_read_is_clean_until_it_is_written_to),
    CASE(clean_pages_that_were_dropped_unseen_hold_up_nobody),
    CASE(clean_pages_beside_locked_ones_are_not_lost),
    CASE(clean_pages_are_evicted_whatever_their_protection),
    CASE(a_scan_leaves_most_of_the_rest),
    CASE_WITH_FILE(what_is_unchanged_is_not_written_again),
    CASE_WITH_FILE(what_is_written_to_is_not_what_the_file_has),
    CASE_WITH_FILE(what_is_kept_can_be_given_up),
};
#define N_CASES (sizeof cases / sizeof cases[0])

static void body(void *argument)
{
    REQUIRE(pager_init(run_control, NULL) == 0);
    cases[*(unsigned *)argument].run();
    pager_exit();
}

static bool run_case(unsigned i)
{
    const struct run_config config = {
        .budget_bytes = BUDGET_BYTES, .swap_bytes = cases[i].swap_bytes, .codec = STORE_CODEC_LZ4};
    int status;
    run_create(&config);
    enum run_end end = run_child(body, &i, SECONDS, &status);
    printf("%s %s\n", end == RUN_DONE ? "    good" : "NOT GOOD", cases[i].name);
    if (end != RUN_DONE)
        printf("         %s, status %#x %s\n", end == RUN_HUNG ? "hangs" : "ended",
               (unsigned)status, run_control->message);
    run_destroy();
    return end == RUN_DONE;
}

int main(int argc, char **argv)
{
    bool good = true;
    if (run_is_skipped())
        return RUN_SKIPPED;
    for (unsigned i = 0; i < N_CASES; i++)
        if (argc < 2 || strcmp(argv[1], cases[i].name) == 0)
            good &= run_case(i);
    return good ? 0 : 1;
}
