/* SPDX-License-Identifier: Apache-2.0 */
/* PSS and USS are read again of whom they may have changed, at once or soon (observe/shares.h). */
#include <quire/observe.h>

#include "root.h"

#define KEPT (QUIRE_OBSERVE_SHARES | QUIRE_OBSERVE_KEEP_SHARES)
#define EVERY 4 /* a sample of so many reads them in any case */
#define KIB 1024

static void put(int pid, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void put(int pid, const char *name, const char *format, ...)
{
    char path[64], text[256];
    va_list arguments;

    snprintf(path, sizeof path, "proc/%d/%s", pid, name);
    va_start(arguments, format);
    assert_in_range(vsnprintf(text, sizeof text, format, arguments), 1, sizeof text - 1);
    va_end(arguments);
    root_put(path, text);
}

static void remove_file(int pid, const char *name)
{
    char path[64];

    snprintf(path, sizeof path, "proc/%d/%s", pid, name);
    root_remove(path);
}

static void remove_process(int pid)
{
    char path[64];

    snprintf(path, sizeof path, "proc/%d", pid);
    root_remove(path);
}

static void put_stat(int pid, const char *name, int parent, unsigned minor)
{
    put(pid, "stat", "%d (%s) S %d 7 7 0 -1 4194304 %u 0 0 0 5 5 0 0 20 0 1 0 100 81920 10 0\n",
        pid, name, parent, minor);
}

static void put_pss(int pid, unsigned pss_kib)
{
    put(pid, "smaps_rollup",
        "1000-2000 ---p 0 00:00 0 [rollup]\nRss: 96 kB\nPss: %u kB\nPrivate_Dirty: 8 kB\n",
        pss_kib);
}

static void put_process(int pid, const char *name, int parent)
{
    put_stat(pid, name, parent, 100);
    put_pss(pid, 40);
}

static struct quire_observe *opened(void)
{
    struct quire_observe *observe;

    assert_int_equal(quire_observe_open(root, &observe), 0);
    return observe;
}

/* The PSS of a process by a new sample, KiB. */
static uint64_t pss_of(struct quire_observe *observe, unsigned parts, int pid)
{
    struct quire_observe_processes processes;

    assert_int_equal(quire_observe_processes(observe, parts, &processes), 0);
    for (size_t i = 0; i < processes.n; i++)
        if (processes.list[i].pid == pid)
            return processes.list[i].pss / KIB;
    fail_msg("process %d is not there", pid);
    return 0;
}

/* Samples until the next in which process 8 is read whatever is seen of it: one of EVERY. */
static void await_the_turn_of_8(struct quire_observe *observe)
{
    for (unsigned pss = 1000; pss_of(observe, KEPT, 8) < 1000; pss++)
        put_pss(8, pss);
    put_pss(8, 40);
    for (unsigned i = 0; i < EVERY; i++)
        pss_of(observe, KEPT, 8);
    assert_int_equal(pss_of(observe, KEPT, 8), 40);
}

/* An observer that will not read process 8 in the next samples, which has other shares by now. */
static struct quire_observe *watching(void)
{
    struct quire_observe *observe = opened();

    put_process(8, "job", 1);
    for (int i = 0; i < 3; i++)
        pss_of(observe, KEPT, 8);
    await_the_turn_of_8(observe);
    put_pss(8, 50);
    return observe;
}

static void what_strangers_do_is_seen_soon(void **state)
{
    struct quire_observe *observe = opened();
    unsigned n_late = 0;

    put_process(8, "job", 1);
    put_process(9, "other", 1);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pss_of(observe, KEPT, 8), 40);
    for (unsigned pss = 50; pss < 60; pss++) {
        unsigned n_samples = 1;
        put_pss(8, pss);
        while (pss_of(observe, KEPT, 8) != pss)
            n_samples++;
        assert_true(n_samples <= EVERY);
        n_late += n_samples > 1;
    }
    assert_true(n_late > 0); /* something is saved */
    put_pss(8, 70);
    assert_int_equal(pss_of(observe, QUIRE_OBSERVE_SHARES, 8), 70); /* who does not ask for it */
    quire_observe_close(observe);
}

enum change {
    NOTHING,
    ITSELF,
    PARENT,
    CHILD,
    NEW_CHILD,
    NAMESAKE,
    NEW_NAMESAKE,
    END_OF_CHILD,
    END_OF_NAMESAKE,
    STRANGER,
    N_CHANGES
};

static void make(enum change change)
{
    static const struct {
        int pid, parent;
        const char *name;
    } who[N_CHANGES] = {[ITSELF] = {8, 1, "job"},        [PARENT] = {1, 0, "init"},
                        [CHILD] = {10, 8, "child"},      [NEW_CHILD] = {20, 8, "new"},
                        [NAMESAKE] = {11, 2, "job"},     [NEW_NAMESAKE] = {21, 2, "job"},
                        [STRANGER] = {12, 3, "stranger"}};

    if (change == NEW_CHILD || change == NEW_NAMESAKE)
        put_process(who[change].pid, who[change].name, who[change].parent);
    else if (change == END_OF_CHILD || change == END_OF_NAMESAKE)
        remove_process(change == END_OF_CHILD ? 10 : 11);
    else if (change != NOTHING)
        put_stat(who[change].pid, who[change].name, who[change].parent, 101);
}

static void what_kin_does_is_seen_at_once(void **state)
{
    for (enum change change = NOTHING; change < N_CHANGES; change++) {
        put_process(1, "init", 0);
        put_process(10, "child", 8);
        put_process(11, "job", 2);
        put_process(12, "stranger", 3);
        struct quire_observe *observe = watching();
        make(change);
        const bool is_kin = change != NOTHING && change != STRANGER;
        assert_int_equal(pss_of(observe, KEPT, 8), is_kin ? 50 : 40);
        quire_observe_close(observe);
        root_tear_down(state);
        root_set_up(state);
    }
}

static void few_of_many_of_a_name(void **state)
{
    for (int pid = 100; pid < 164; pid++)
        put_process(pid, "job", 2);
    struct quire_observe *observe = watching();
    put_stat(100, "job", 2, 101);
    assert_int_equal(pss_of(observe, KEPT, 8), 40);
    for (int pid = 100; pid < 110; pid++)
        put_stat(pid, "job", 2, 102);
    assert_int_equal(pss_of(observe, KEPT, 8), 50);
    quire_observe_close(observe);
}

static void a_parent_of_many(void **state)
{
    char name[16];

    for (int n_more = 5; n_more < 50; n_more += 30) {
        put_process(1, "init", 0);
        for (int pid = 100; pid < 100 + n_more; pid++) {
            snprintf(name, sizeof name, "job-%d", pid);
            put_process(pid, name, 1);
        }
        struct quire_observe *observe = watching();
        put_stat(1, "init", 0, 101);
        assert_int_equal(pss_of(observe, KEPT, 8), n_more < 16 ? 50 : 40);
        quire_observe_close(observe);
    }
}

static void who_ends_in_between_is_left_out(void **state)
{
    struct quire_observe *observe = opened();
    struct quire_observe_processes processes;

    for (int pid = 7; pid < 10; pid++)
        put_process(pid, "job", 1);
    remove_file(8, "smaps_rollup");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(quire_observe_processes(observe, KEPT, &processes), 0);
        assert_int_equal(processes.n, 2);
        assert_int_equal(processes.n_vanished, 1);
        assert_int_equal(processes.list[0].pid, 7);
        assert_int_equal(processes.list[1].pid, 9);
        assert_int_equal(processes.list[1].pss, 40 * KIB);
        assert_int_equal(processes.list[1].uss, 8 * KIB);
    }
    assert_int_equal(quire_observe_processes(observe, QUIRE_OBSERVE_SHARES, &processes), 0);
    assert_int_equal(processes.list[1].rss, 96 * KIB); /* of the same moment, not of stat */
    quire_observe_close(observe);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_strangers_do_is_seen_soon, root_set_up,
                                        root_tear_down),
        cmocka_unit_test_setup_teardown(what_kin_does_is_seen_at_once, root_set_up, root_tear_down),
        cmocka_unit_test_setup_teardown(few_of_many_of_a_name, root_set_up, root_tear_down),
        cmocka_unit_test_setup_teardown(a_parent_of_many, root_set_up, root_tear_down),
        cmocka_unit_test_setup_teardown(who_ends_in_between_is_left_out, root_set_up,
                                        root_tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
