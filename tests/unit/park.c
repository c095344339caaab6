/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What commands from outside make of a process that pages: its budget changes, it is parked and
 * resumed. The pages' contents are compared each time.
 */
#include "pager_audit.h"
#include "pager_run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define PAGES 1536u /* 6 MiB: more than a process keeps to itself */
#define LOW_BYTES ((uint64_t)PAGES / 2 * SYS_PAGE_SIZE)
#define BUDGET_BYTES ((uint64_t)64 << 20)
#define SWAP_BYTES ((uint64_t)64 << 20)
#define SECONDS 300
#define MOST_LOOKS 200000 /* a millisecond apart or more */

#define REQUIRE(condition)                                     \
    do {                                                       \
        if (!(condition)) {                                    \
            fprintf(stderr, "%d: %s\n", __LINE__, #condition); \
            _exit(1);                                          \
        }                                                      \
    } while (0)

static size_t scrub_nothing(const void *page, void *copy)
{
    return 0;
}

static char *map_and_fill(uint32_t seed)
{
    char *memory = pager_map((size_t)PAGES * SYS_PAGE_SIZE, PROT_READ | PROT_WRITE);
    REQUIRE(memory != NULL);
    for (uint32_t i = 0; i < PAGES; i++)
        make_page((unsigned char *)memory + (size_t)i * SYS_PAGE_SIZE,
                  i % 8 == 0 ? PAGE_RANDOM : PAGE_TEXT, seed + i);
    return memory;
}

static void verify(const char *memory, uint32_t seed)
{
    static unsigned char expected[SYS_PAGE_SIZE];
    for (uint32_t i = 0; i < PAGES; i++) {
        make_page(expected, i % 8 == 0 ? PAGE_RANDOM : PAGE_TEXT, seed + i);
        REQUIRE(memcmp(memory + (size_t)i * SYS_PAGE_SIZE, expected, SYS_PAGE_SIZE) == 0);
    }
}

static uint32_t n_resident(const char *memory)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < PAGES; i++)
        n += page_state(table_get(&pager.table, page_of(memory) + i)) == PAGE_RESIDENT;
    return n;
}

static void carry_out(enum control_order_kind kind)
{
    uint32_t order = control_give_order(run_control, kind);
    for (unsigned i = 0; i < MOST_LOOKS && !control_has_done(pager.self, order); i++)
        usleep(1000);
    REQUIRE(control_has_done(pager.self, order));
}

static void start(void)
{
    REQUIRE(pager_init(run_control, scrub_nothing) == 0);
}

static void audit(void)
{
    const char *wrong = pager_audit();
    if (wrong)
        fprintf(stderr, "audit: %s\n", wrong);
    REQUIRE(!wrong);
}

static void park_and_resume(void *unused)
{
    start();
    char *memory = map_and_fill(1);
    REQUIRE(!pager_is_armed()); /* all of it fits */
    carry_out(CONTROL_PARK);
    REQUIRE(pager_is_armed());
    REQUIRE(n_resident(memory) == 0);
    REQUIRE(pager.staging.n_pages == 0);
    REQUIRE(pager.self->held[CONTROL_FILE] > 0);
    REQUIRE(control_held(run_control) < PAGES / 8);
    audit();
    carry_out(CONTROL_RESUME);
    REQUIRE(n_resident(memory) == PAGES);
    audit();
    verify(memory, 1);
    carry_out(CONTROL_PARK);
    carry_out(CONTROL_ON_DEMAND);
    REQUIRE(n_resident(memory) == 0);
    carry_out(CONTROL_RESUME); /* what it was is forgotten */
    REQUIRE(n_resident(memory) == 0);
    verify(memory, 1);
    audit();
}

/* With room for one of two mappings, it is the one used last that comes back. */
static void resume_in_order(void *unused)
{
    start();
    char *first = map_and_fill(1), *second = map_and_fill(100000);
    carry_out(CONTROL_PARK);
    verify(second, 100000);
    verify(first, 1);
    carry_out(CONTROL_PARK);
    control_set_budget(run_control, (uint64_t)(PAGES + PAGES / 4) << SYS_PAGE_SHIFT);
    carry_out(CONTROL_RESUME);
    REQUIRE(n_resident(first) == PAGES);
    REQUIRE(n_resident(second) < PAGES / 4);
    audit();
}

/* While pages move they may be counted twice. */
static void require_within_budget(void)
{
    for (unsigned i = 0; i < MOST_LOOKS && control_held(run_control) > control_budget(run_control);
         i++)
        usleep(1000);
    REQUIRE(control_held(run_control) <= control_budget(run_control));
}

static void change_the_budget(void *unused)
{
    start();
    char *memory = map_and_fill(1);
    control_set_budget(run_control, LOW_BYTES);
    require_within_budget();
    REQUIRE(pager_is_armed());
    verify(memory, 1);
    audit();
    require_within_budget();
    control_set_budget(run_control, BUDGET_BYTES);
    carry_out(CONTROL_ON_DEMAND); /* does nothing, once what it was evicting is evicted */
    verify(memory, 1);
    verify(memory, 1); /* by now all of it has come back, and nothing of it had to go */
    REQUIRE(n_resident(memory) == PAGES);
    audit();
}

/* Noise, and no file: less than all of it is not possible. */
static void lower_too_far(void *unused)
{
    static unsigned char expected[SYS_PAGE_SIZE];
    start();
    unsigned char *memory = pager_map((size_t)PAGES * SYS_PAGE_SIZE, PROT_READ | PROT_WRITE);
    for (uint32_t i = 0; i < PAGES; i++)
        make_page(memory + (size_t)i * SYS_PAGE_SIZE, PAGE_RANDOM, i);
    atomic_store(&run_control->retreat_bytes, BUDGET_BYTES);
    control_set_budget(run_control, LOW_BYTES);
    for (uint32_t round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < PAGES; i++) {
            make_page(expected, PAGE_RANDOM, i);
            REQUIRE(memcmp(memory + (size_t)i * SYS_PAGE_SIZE, expected, SYS_PAGE_SIZE) == 0);
        }
    }
    for (unsigned i = 0; i < MOST_LOOKS && control_held(run_control) > control_budget(run_control);
         i++)
        usleep(1000);
    REQUIRE(control_budget(run_control) > PAGES && control_budget(run_control) < 2 * PAGES);
    audit();
}

static void fork_while_parked(void *unused)
{
    int status;
    start();
    char *memory = map_and_fill(1);
    carry_out(CONTROL_PARK);
    pager_fork_prepare();
    pid_t child = fork();
    if (child == 0) {
        pager_fork_child();
        REQUIRE(control_has_done(pager.self, run_control->order)); /* nothing to do again */
        carry_out(CONTROL_RESUME);
        REQUIRE(n_resident(memory) == PAGES);
        verify(memory, 1);
        pager_exit();
        _exit(0);
    }
    pager_fork_parent();
    REQUIRE(child > 0 && waitpid(child, &status, 0) == child && status == 0);
    verify(memory, 1);
    audit();
}

static void in_a_run(void (*body)(void *argument), uint64_t swap_bytes)
{
    const struct run_config config = {
        .budget_bytes = BUDGET_BYTES, .swap_bytes = swap_bytes, .codec = STORE_CODEC_LZ4};
    int status;
    run_create(&config);
    enum run_end end = run_child(body, NULL, SECONDS, &status);
    if (end != RUN_DONE)
        fprintf(stderr, "%s, status %#x: %s\n", end == RUN_HUNG ? "hangs" : "fails", status,
                run_control->message);
    run_destroy();
    assert_int_equal(end, RUN_DONE);
}

static void parked_memory_is_gone_and_comes_back(void **state)
{
    in_a_run(park_and_resume, SWAP_BYTES);
}

static void the_last_used_comes_back_first(void **state)
{
    in_a_run(resume_in_order, SWAP_BYTES);
}

static void a_lower_budget_arms_and_a_higher_one_is_used(void **state)
{
    in_a_run(change_the_budget, SWAP_BYTES);
}

static void a_trial_that_goes_too_far_is_taken_back(void **state)
{
    in_a_run(lower_too_far, 0);
}

static void a_child_of_what_is_parked_brings_back_its_own(void **state)
{
    in_a_run(fork_while_parked, SWAP_BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parked_memory_is_gone_and_comes_back),
        cmocka_unit_test(the_last_used_comes_back_first),
        cmocka_unit_test(a_lower_budget_arms_and_a_higher_one_is_used),
        cmocka_unit_test(a_trial_that_goes_too_far_is_taken_back),
        cmocka_unit_test(a_child_of_what_is_parked_brings_back_its_own),
    };
    if (run_is_skipped())
        return RUN_SKIPPED;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
