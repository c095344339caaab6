/* SPDX-License-Identifier: Apache-2.0 */
/* The control block that the processes of a run share. */
#include "base/control.h"
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define EXTRA_BYTES ((size_t)64 << 10)

static const struct control_options options = {
    .budget_bytes = (uint64_t)32 << 20, .codec = 2, .keeper_pid = 1234, .swap_fd = -1};

struct run {
    struct control *control;
    int fd;
    char path[64];
};

static void create(struct run *run, size_t extra_bytes)
{
    run->fd = control_create(&options, extra_bytes, &run->control);
    assert_true(run->fd >= 0);
    snprintf(run->path, sizeof run->path, "/proc/self/fd/%d", run->fd);
}

static void destroy(struct run *run)
{
    munmap(run->control, run->control->total_bytes);
    close(run->fd);
}

static void a_block_begins_with_its_options_and_nothing_held(void **state)
{
    struct run run;
    create(&run, 0);
    assert_int_equal(run.control->options.budget_bytes, options.budget_bytes);
    assert_int_equal(run.control->options.codec, 2);
    assert_int_equal(run.control->options.control_fd, run.fd);
    assert_int_equal(control_budget(run.control), 8192);
    assert_int_equal(control_held(run.control), 0);
    assert_int_equal(run.control->verdict, CONTROL_RUNNING);
    assert_null(control_swap_space(run.control));
    assert_true(fcntl(run.fd, F_GETFD) & FD_CLOEXEC);
    destroy(&run);
}

static void memory_behind_the_slots_is_zeroed_and_shared(void **state)
{
    struct run run;
    struct control *other;
    create(&run, EXTRA_BYTES);
    assert_int_equal(control_attach(run.path, &other), 0);
    assert_ptr_not_equal(other, run.control);
    unsigned char *here = control_swap_space(run.control), *there = control_swap_space(other);
    assert_true(here >= (unsigned char *)(run.control + 1));
    assert_int_equal((uintptr_t)here % 64, 0);
    assert_int_equal(here[0] | here[EXTRA_BYTES - 1], 0);
    here[EXTRA_BYTES - 1] = 7;
    assert_int_equal(there[EXTRA_BYTES - 1], 7);
    munmap(other, other->total_bytes);
    destroy(&run);
}

static void a_budget_may_change_up_to_the_most(void **state)
{
    struct run run;
    struct control_options larger = options;
    create(&run, 0);
    control_set_budget(run.control, (uint64_t)16 << 20);
    assert_int_equal(control_budget(run.control), 4096);
    control_set_budget(run.control, (uint64_t)64 << 20);
    assert_int_equal(control_budget(run.control), 8192); /* what it was at the start */
    destroy(&run);
    larger.budget_most_bytes = (uint64_t)48 << 20;
    run.fd = control_create(&larger, 0, &run.control);
    assert_int_equal(control_budget(run.control), 8192);
    control_set_budget(run.control, (uint64_t)64 << 20);
    assert_int_equal(control_budget(run.control), 12288);
    assert_int_equal(run.control->options.budget_bytes, options.budget_bytes);
    destroy(&run);
}

static void orders_are_numbered_and_new_processes_only_stop(void **state)
{
    struct run run;
    create(&run, 0);
    struct control *control = run.control;
    uint32_t park = control_give_order(control, CONTROL_PARK);
    unsigned first = (unsigned)control_join(control);
    assert_true(control_has_done(&control->slot[first], park)); /* it has nothing to park yet */
    uint32_t stop = control_give_order(control, CONTROL_PARK_AND_STOP);
    assert_false(control_has_done(&control->slot[first], stop));
    int child = control_reserve(control);
    control_adopt(control, (unsigned)child);
    assert_false(control_has_done(&control->slot[child], stop));
    control_end_order(control, park); /* not the one that holds */
    assert_int_equal(control->order, stop);
    control_end_order(control, stop);
    assert_int_equal(control_order_kind(control->order), CONTROL_NO_ORDER);
    atomic_store(&control->slot[first].order_done, control->order);
    assert_true(control_has_done(&control->slot[first], stop)); /* a later one */
    assert_int_equal(control_living_pid(control, first), getpid());
    control->slot[child].pid = 0;
    assert_int_equal(control_living_pid(control, (unsigned)child), 0);
    destroy(&run);
}

static void who_is_asked_is_asked_once(void **state)
{
    struct run run;
    create(&run, 0);
    struct control_slot *slot = &run.control->slot[0];
    control_ask(slot, 10);
    control_ask(slot, 20);
    assert_int_equal(slot->request, 10);
    assert_int_equal(slot->wake, 1);
    destroy(&run);
}

static void a_size_that_does_not_fit_is_refused(void **state)
{
    struct control *control;
    assert_int_equal(control_create(&options, SIZE_MAX - 100, &control), -EOVERFLOW);
}

/* Attaches to a file with these bytes. */
static int attach_to(const void *bytes, size_t n_bytes)
{
    struct control *control;
    char path[64];
    int fd = memfd_create("no block", MFD_CLOEXEC);
    assert_int_equal(write(fd, bytes, n_bytes), n_bytes);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int error = control_attach(path, &control);
    close(fd);
    return error;
}

static void what_is_no_block_is_refused(void **state)
{
    struct run run;
    struct control *control;
    struct {
        uint64_t magic;
        uint32_t version, swap_space_offset;
        uint64_t total_bytes;
    } header;
    create(&run, 0);
    memcpy(&header, run.control, sizeof header);
    assert_int_equal(attach_to("", 0), -EPROTO);
    assert_int_equal(attach_to(&header, sizeof header - 1), -EPROTO);
    header.magic++;
    assert_int_equal(attach_to(&header, sizeof header), -EPROTO);
    header.magic--;
    header.version++;
    assert_int_equal(attach_to(&header, sizeof header), -EPROTO);
    header.version--;
    header.total_bytes = sizeof(struct control) - 1;
    assert_int_equal(attach_to(&header, sizeof header), -EPROTO);
    assert_int_equal(control_attach("/nowhere/at/all", &control), -ENOENT);
    destroy(&run);
}

static void joining_again_finds_the_same_slot_emptied(void **state)
{
    struct run run;
    create(&run, 0);
    int slot = control_join(run.control);
    assert_true(slot >= 0);
    assert_int_equal(run.control->slot[slot].pid, getpid());
    assert_true(run.control->slot[slot].start_time > 0);
    control_charge(run.control, (unsigned)slot, CONTROL_POOL, 5);
    run.control->slot[slot].serves = run.control->slot[slot].armed = 1;
    assert_int_equal(control_join(run.control), slot); /* as after exec */
    assert_int_equal(control_held(run.control), 0);
    assert_int_equal(run.control->slot[slot].serves | run.control->slot[slot].armed, 0);
    assert_int_equal(run.control->n_processes, 1);
    destroy(&run);
}

static void charges_add_up_and_peaks_stay(void **state)
{
    struct run run;
    create(&run, 0);
    unsigned one = (unsigned)control_reserve(run.control);
    unsigned other = (unsigned)control_join(run.control);
    assert_int_not_equal(one, other);
    control_charge(run.control, one, CONTROL_RESIDENT, 100);
    control_charge(run.control, other, CONTROL_RESIDENT, 50);
    control_charge(run.control, other, CONTROL_STAGED, 7);
    control_charge(run.control, one, CONTROL_RESIDENT, -100);
    control_charge(run.control, one, CONTROL_METADATA, 3);
    control_charge(run.control, other, CONTROL_FILE, 1000);
    assert_int_equal(control_held(run.control), 60); /* the file is no RAM */
    assert_int_equal(run.control->held[CONTROL_FILE], 1000);
    assert_int_equal(run.control->peak[CONTROL_RESIDENT], 150);
    assert_int_equal(run.control->peak[CONTROL_FILE], 1000);
    assert_int_equal(run.control->peak_held, 157);
    assert_int_equal(run.control->slot[other].held[CONTROL_RESIDENT], 50);
    control_leave(run.control, one); /* not this process's: a vfork child would do that */
    assert_int_equal(control_held(run.control), 60);
    control_leave(run.control, other);
    assert_int_equal(control_held(run.control), 60); /* its memory is there as yet */
    assert_int_equal(control_join(run.control), other);
    assert_int_equal(control_held(run.control), 3);
    assert_int_equal(run.control->held[CONTROL_FILE], 0);
    assert_int_equal(run.control->peak_held, 157);
    destroy(&run);
}

/* A fork's child has its parent's compressed store, and is charged for none of it. */
static void what_others_are_charged_for_is_not_told_twice(void **state)
{
    struct run run;
    int64_t pages[CONTROL_N_KINDS];
    create(&run, 0);
    const unsigned parent = (unsigned)control_join(run.control);
    const unsigned child = (unsigned)control_reserve(run.control);
    control_charge(run.control, parent, CONTROL_RESIDENT, 20);
    control_charge(run.control, parent, CONTROL_POOL, 70);
    control_charge(run.control, parent, CONTROL_METADATA, 5);
    control_charge(run.control, child, CONTROL_RESIDENT, -80);
    control_charge(run.control, child, CONTROL_POOL, 70);
    control_charge(run.control, child, CONTROL_STAGED, 2);
    control_charge(run.control, child, CONTROL_FILE, 33);
    control_kinds(run.control->held, pages);
    assert_int_equal(pages[CONTROL_RESIDENT], 0);
    assert_int_equal(pages[CONTROL_POOL], 80);
    assert_int_equal(pages[CONTROL_STAGED], 2);
    assert_int_equal(pages[CONTROL_METADATA], 5);
    assert_int_equal(pages[CONTROL_FILE], 33);
    assert_int_equal(run.control->peak[CONTROL_POOL], 80);
    assert_int_equal(run.control->peak[CONTROL_RESIDENT], 20);
    control_kinds(run.control->slot[child].held, pages);
    assert_int_equal(pages[CONTROL_RESIDENT] + pages[CONTROL_POOL] + pages[CONTROL_STAGED], 0);
    destroy(&run);
}

static void what_is_not_managed_has_a_peak_of_the_sum(void **state)
{
    struct run run;
    create(&run, 0);
    unsigned one = (unsigned)control_reserve(run.control);
    unsigned other = (unsigned)control_reserve(run.control);
    control_set_unmanaged(run.control, one, 30);
    control_set_unmanaged(run.control, other, 40);
    control_set_unmanaged(run.control, one, 10);
    assert_int_equal(run.control->peak_unmanaged_pages, 70);
    destroy(&run);
}

/* A spawned child is known before it joins, and joins with the slot that it was given. */
static void who_is_enrolled_is_alive_and_joins_once(void **state)
{
    struct run run;
    unsigned n_coming;
    int go[2], joined[2], slot = -1;
    create(&run, 0);
    assert_int_equal(pipe(go), 0);
    assert_int_equal(pipe(joined), 0);
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        bool told = read(go[0], &slot, sizeof slot) == sizeof slot;
        slot = control_join(run.control);
        _exit(told && write(joined[1], &slot, sizeof slot) == sizeof slot ? 0 : 1);
    }
    control_enroll(run.control, (uint32_t)child);
    control_enroll(run.control, (uint32_t)child);
    assert_int_equal(control_n_alive(run.control, &n_coming), 1);
    assert_int_equal(run.control->slot[0].pid, child);
    assert_int_equal(write(go[1], &slot, sizeof slot), sizeof slot);
    assert_int_equal(read(joined[0], &slot, sizeof slot), sizeof slot);
    assert_int_equal(slot, 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    control_enroll(run.control, (uint32_t)child); /* nobody is there any more */
    assert_int_equal(control_n_alive(run.control, &n_coming), 0);
    assert_int_equal(run.control->n_processes, 1);
    control_enroll(run.control, 0);
    assert_int_equal(run.control->slot[1].pid, getpid());
    for (int i = 0; i < 2; i++) {
        close(go[i]);
        close(joined[i]);
    }
    destroy(&run);
}

static void slots_run_out_and_come_back(void **state)
{
    struct run run;
    create(&run, 0);
    for (unsigned i = 0; i < CONTROL_SLOTS; i++)
        assert_int_equal(control_reserve(run.control), i);
    assert_int_equal(control_reserve(run.control), -EAGAIN);
    assert_int_equal(control_join(run.control), -EAGAIN);
    control_unreserve(run.control, 77);
    assert_int_equal(control_join(run.control), 77);
    assert_int_equal(control_reap(run.control, NULL, NULL), 0); /* of reserved ones none is gone */
    destroy(&run);
}

static pid_t start_member(struct control *control, int64_t n_pages)
{
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nobody behind */
        int slot = control_join(control);
        control_charge(control, (unsigned)slot, CONTROL_RESIDENT, n_pages);
        control_charge(control, (unsigned)slot, CONTROL_FILE, 2 * n_pages);
        control_count(&control->slot[slot].stats.evictions, 11);
        control->slot[slot].stats.latency[3] = 4;
        if (slot < 0 || write(ready[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    return child;
}

static void end_member(pid_t child)
{
    int status;
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* Of what an ended process was charged for, others have as much as they share with anybody. */
static void what_others_share_is_held_until_somebody_looks(void **state)
{
    struct run run;
    create(&run, 0);
    unsigned heir = (unsigned)control_reserve(run.control);
    run.control->slot[heir].shares = CONTROL_SHARES;
    run.control->slot[heir].shared = 30;
    pid_t child = start_member(run.control, 50);
    run.control->slot[1].shares = CONTROL_SHARES;
    end_member(child);
    assert_int_equal(control_reap(run.control, NULL, NULL), 1);
    assert_int_equal(run.control->left_behind, 30);
    assert_int_equal(control_held(run.control), 30);

    child = start_member(run.control, 50); /* who shares nothing leaves nothing behind */
    end_member(child);
    assert_int_equal(control_reap(run.control, NULL, NULL), 1);
    assert_int_equal(control_held(run.control), 30);

    run.control->slot[heir].shares = CONTROL_ALONE; /* nobody would ever look */
    child = start_member(run.control, 50);
    run.control->slot[1].shares = CONTROL_SHARES;
    end_member(child);
    assert_int_equal(control_reap(run.control, NULL, NULL), 1);
    assert_int_equal(control_held(run.control), 0);
    destroy(&run);
}

static void note_gone(void *context, unsigned slot)
{
    *(int *)context = (int)slot;
}

/* What it shared is another's when it has ended, and its memory is there until then. */
static void who_shares_leaves_before_it_ends(void **state)
{
    struct run run;
    int gone = -1;
    create(&run, 0);
    const int self = control_join(run.control);
    const pid_t child = start_member(run.control, 50), other = start_member(run.control, 7);
    struct control_slot *own = &run.control->slot[self], *leaver = &run.control->slot[self + 1];
    own->shares = leaver->shares = CONTROL_SHARES;
    own->shared = 20;
    assert_false(control_somebody_leaves(run.control));
    leaver->leaves = 1; /* as control_leave() there */
    assert_true(control_somebody_leaves(run.control));
    assert_int_equal(control_collect(run.control, note_gone, &gone), 0);
    assert_int_equal(control_held(run.control), 57);
    end_member(child);
    end_member(other);
    assert_int_equal(control_collect(run.control, note_gone, &gone), 1);
    assert_int_equal(gone, self + 1);
    assert_int_equal(run.control->left_behind, 20);
    assert_int_equal(control_held(run.control), 27); /* of who was killed, too */
    assert_int_equal(run.control->n_left, 1);
    assert_int_equal(leaver->leaves | leaver->shares, 0);
    assert_int_equal(leaver->pid, child);
    assert_int_equal(leaver->stats.evictions, 11); /* as before */
    assert_false(control_somebody_leaves(run.control));
    assert_int_equal(control_reap(run.control, note_gone, &gone), 2);
    destroy(&run);
}

static void who_leaves_is_asked_for_nothing(void **state)
{
    struct run run;
    create(&run, 0);
    const int slot = control_join(run.control);
    struct control_slot *own = &run.control->slot[slot];
    own->serves = own->armed = own->request = 1;
    own->shares = CONTROL_SHARES;
    own->zone_base[1] = 4096;
    control_leave(run.control, (unsigned)slot);
    assert_int_equal(own->serves | own->armed | own->request, 0);
    assert_int_equal(own->zone_base[1], 0);
    assert_int_equal(own->shares, CONTROL_SHARES);
    assert_int_equal(control_join(run.control), slot); /* with a new image */
    assert_int_equal(own->shares | own->leaves, 0);
    destroy(&run);
}

/* Its parent's memory may be shared with it before it has run at all. */
static void a_child_shares_from_the_fork_on(void **state)
{
    struct run run;
    create(&run, 0);
    const unsigned slot = (unsigned)control_reserve(run.control);
    assert_int_equal(run.control->slot[slot].shares, CONTROL_SHARES);
    assert_true(control_is_coming(run.control, slot));
    run.control->slot[slot].reserved_ns -= 60000000000ull; /* it was killed before it came */
    assert_false(control_is_coming(run.control, slot));
    control_unreserve(run.control, slot);
    assert_int_equal(run.control->slot[slot].shares, CONTROL_ALONE);
    assert_int_equal(control_reserve(run.control), slot);
    assert_true(control_is_coming(run.control, slot));
    control_adopt(run.control, slot);
    assert_false(control_is_coming(run.control, slot));
    assert_int_equal(run.control->slot[slot].shares, CONTROL_SHARES);
    destroy(&run);
}

static void what_a_killed_process_held_is_taken_back(void **state)
{
    struct run run;
    struct control_stats totals;
    int gone = -1;
    create(&run, 0);
    int self = control_join(run.control);
    control_charge(run.control, (unsigned)self, CONTROL_RESIDENT, 9);
    pid_t child = start_member(run.control, 500);
    assert_int_equal(control_reap(run.control, note_gone, &gone), 0); /* it lives */
    assert_int_equal(control_held(run.control), 509);
    end_member(child);
    assert_int_equal(control_reap(run.control, note_gone, &gone), 1);
    assert_int_equal(gone, self + 1);
    assert_int_equal(control_held(run.control), 9);
    assert_int_equal(run.control->held[CONTROL_FILE], 0);
    assert_int_equal(run.control->slot[gone].pid, 0);
    assert_int_equal(control_reap(run.control, note_gone, &gone), 0);
    control_totals(run.control, &totals); /* its statistics outlive it */
    assert_int_equal(totals.evictions, 11);
    assert_int_equal(totals.latency[3], 4);
    destroy(&run);
}

static void what_is_charged_to_nobody_is_taken_back(void **state)
{
    struct run run;
    create(&run, 0);
    const unsigned slot = (unsigned)control_reserve(run.control);
    control_unreserve(run.control, slot);
    assert_int_equal(control_reap(run.control, NULL, NULL), 0);
    control_charge(run.control, slot, CONTROL_RESIDENT, -40); /* who looked was late for its end */
    assert_int_equal(control_held(run.control), -40);
    assert_int_equal(control_reap(run.control, NULL, NULL), 1);
    assert_int_equal(control_held(run.control), 0);
    assert_int_equal(run.control->slot[slot].pid, 0);
    destroy(&run);
}

/* Its memory is gone, though its parent may never ask how it ended. */
static void a_process_that_nobody_waited_for_is_gone(void **state)
{
    struct run run;
    siginfo_t info;
    create(&run, 0);
    pid_t child = start_member(run.control, 500);
    kill(child, SIGKILL);
    assert_int_equal(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
    assert_int_equal(control_reap(run.control, NULL, NULL), 1);
    assert_int_equal(control_held(run.control), 0);
    end_member(child);
    destroy(&run);
}

static void *pause_until_orphaned(void *unused)
{
    for (pid_t before = getppid(); getppid() == before;)
        usleep(10000);
    _exit(0);
}

/* A process lives as long as one of its threads does. */
static void a_process_whose_first_thread_ended_is_alive(void **state)
{
    struct run run;
    char path[64], text[256] = "";
    create(&run, 0);
    pid_t child = fork();
    if (child == 0) {
        pthread_t thread;
        control_join(run.control);
        pthread_create(&thread, NULL, pause_until_orphaned, NULL);
        pthread_exit(NULL);
    }
    snprintf(path, sizeof path, "/proc/%d/stat", (int)child);
    for (int i = 0; i < 60000 && !strstr(text, ") Z "); i++) {
        int fd = open(path, O_RDONLY);
        assert_true(fd >= 0 && read(fd, text, sizeof text - 1) > 0);
        close(fd);
        usleep(1000);
    }
    assert_non_null(strstr(text, ") Z "));
    assert_int_equal(control_reap(run.control, NULL, NULL), 0);
    end_member(child);
    destroy(&run);
}

static void a_full_block_reaps_before_it_refuses(void **state)
{
    struct run run;
    create(&run, 0);
    pid_t child = start_member(run.control, 1);
    while (control_reserve(run.control) >= 0)
        continue;
    end_member(child);
    assert_int_equal(control_join(run.control), 0);
    assert_int_equal(control_held(run.control), 0);
    destroy(&run);
}

/* A process id that is in use again does not keep the dead one's slot alive. */
static void a_reused_process_id_is_told_by_its_start(void **state)
{
    struct run run;
    create(&run, 0);
    int slot = control_join(run.control);
    control_charge(run.control, (unsigned)slot, CONTROL_RESIDENT, 5);
    run.control->slot[slot].start_time -= 1; /* as if another process had had the id */
    assert_int_equal(control_reap(run.control, NULL, NULL), 1);
    assert_int_equal(control_held(run.control), 0);
    destroy(&run);
}

static void the_first_verdict_stays(void **state)
{
    struct run run;
    create(&run, 0);
    control_set_verdict(run.control, CONTROL_OUT_OF_ROOM, "the first");
    control_set_verdict(run.control, CONTROL_FAILED, "the second");
    assert_int_equal(run.control->verdict, CONTROL_OUT_OF_ROOM);
    assert_string_equal(run.control->message, "the first");
    destroy(&run);
}

static void a_long_verdict_is_cut(void **state)
{
    struct run run;
    char text[400];
    create(&run, 0);
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    control_set_verdict(run.control, CONTROL_FAILED, text);
    assert_int_equal(strlen(run.control->message), sizeof run.control->message - 1);
    destroy(&run);
}

static void killing_all_spares_nobody_but_the_launcher(void **state)
{
    struct run run;
    int status;
    create(&run, 0);
    pid_t child = start_member(run.control, 1);
    pid_t killer = fork();
    if (killer == 0)
        control_kill_all(run.control);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_int_equal(waitpid(killer, &status, 0), killer);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    destroy(&run);
}

static void each_duration_lies_in_its_bucket(void **state)
{
    assert_int_equal(control_latency_bucket(0), 0);
    assert_int_equal(control_latency_bucket(63), 0);
    for (unsigned bucket = 0; bucket + 1 < CONTROL_N_LATENCY_BUCKETS; bucket++) {
        uint64_t bound = control_latency_bound_ns(bucket);
        assert_int_equal(control_latency_bucket(bound - 1), bucket);
        assert_int_equal(control_latency_bucket(bound), bucket + 1);
    }
    assert_int_equal(control_latency_bucket(UINT64_MAX), CONTROL_N_LATENCY_BUCKETS - 1);
}

static void four_buckets_make_a_power_of_two(void **state)
{
    for (unsigned bucket = 0; bucket + 4 < CONTROL_N_LATENCY_BUCKETS; bucket++)
        assert_int_equal(control_latency_bound_ns(bucket + 4),
                         2 * control_latency_bound_ns(bucket));
    assert_int_equal(control_latency_bound_ns(0), 80);
    assert_int_equal(control_latency_bound_ns(3), 128);
}

static void quantiles_are_the_buckets_upper_ends(void **state)
{
    static struct control_stats stats;
    assert_int_equal(control_latency_quantile_ns(&stats, 500), 0);
    stats.latency[10] = 990;
    stats.latency[40] = 9;
    stats.latency[80] = 1;
    assert_int_equal(control_latency_quantile_ns(&stats, 500), control_latency_bound_ns(10));
    assert_int_equal(control_latency_quantile_ns(&stats, 990), control_latency_bound_ns(10));
    assert_int_equal(control_latency_quantile_ns(&stats, 991), control_latency_bound_ns(40));
    assert_int_equal(control_latency_quantile_ns(&stats, 999), control_latency_bound_ns(40));
    assert_int_equal(control_latency_quantile_ns(&stats, 1000), control_latency_bound_ns(80));
}

static void *rest(void *control)
{
    control_rest_begins(control);
    control_rest(control, UINT64_C(3600000000000));
    return NULL;
}

/* A fault ends the rest; where nobody rests, and after it, there is nothing to be done. */
static void who_rests_is_roused(void **state)
{
    struct run run;
    pthread_t thread;
    create(&run, 0);
    control_rouse(run.control);
    assert_int_equal(run.control->keeper_rests, 0);
    assert_int_equal(pthread_create(&thread, NULL, rest, run.control), 0);
    while (run.control->keeper_rests == 0)
        usleep(1000);
    control_rouse(run.control); /* before it sleeps, or then */
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(run.control->keeper_rests, 0);
    destroy(&run);
}

static void heat_counts_faults_by_place(void **state)
{
    struct run run;
    create(&run, 0);
    struct control *control = run.control;
    control_heat(control, CONTROL_ZONE_HEAP, 0);
    control_heat(control, CONTROL_ZONE_HEAP, CONTROL_HEAT_PAGES - 1);
    assert_int_equal(control->heat_end[CONTROL_ZONE_HEAP], 1);
    control_heat(control, CONTROL_ZONE_HEAP, 5 * CONTROL_HEAT_PAGES);
    control_heat(control, CONTROL_ZONE_HEAP, 3 * CONTROL_HEAT_PAGES);
    assert_int_equal(control->heat[CONTROL_ZONE_HEAP][0], 2);
    assert_int_equal(control->heat[CONTROL_ZONE_HEAP][5], 1);
    assert_int_equal(control->heat_end[CONTROL_ZONE_HEAP], 6);
    assert_int_equal(control->heat_end[CONTROL_ZONE_MAPPINGS], 0);
    control_heat(control, CONTROL_ZONE_MAPPINGS, UINT32_MAX); /* beyond: the last counter */
    assert_int_equal(control->heat[CONTROL_ZONE_MAPPINGS][CONTROL_HEAT_COUNTERS - 1], 1);
    assert_int_equal(control->heat_end[CONTROL_ZONE_MAPPINGS], CONTROL_HEAT_COUNTERS);
    destroy(&run);
}

static void what_a_kill_left_half_done_is_mended(void **state)
{
    struct run run;
    struct control_mending mending = {0};
    create(&run, 0);
    unsigned slot = (unsigned)control_join(run.control);
    control_charge(run.control, slot, CONTROL_RESIDENT, 100);
    assert_int_equal(control_mend(run.control, &mending), 0);
    run.control->held[CONTROL_RESIDENT] += 7; /* taken from the slot, and not from the sum */
    for (unsigned i = 1; i < CONTROL_MEND_LOOKS; i++)
        assert_int_equal(control_mend(run.control, &mending), 0);
    run.control->held[CONTROL_RESIDENT] += 1; /* it changes: updates are under way */
    for (unsigned i = 1; i < CONTROL_MEND_LOOKS; i++)
        assert_int_equal(control_mend(run.control, &mending), 0);
    assert_int_equal(run.control->held[CONTROL_RESIDENT], 108);
    assert_int_equal(control_mend(run.control, &mending), 1);
    assert_int_equal(run.control->held[CONTROL_RESIDENT], 100);
    run.control->slot[slot].held[CONTROL_FILE] = 5; /* and the other way round */
    for (unsigned i = 1; i < CONTROL_MEND_LOOKS; i++)
        assert_int_equal(control_mend(run.control, &mending), 0);
    assert_int_equal(control_mend(run.control, &mending), 1);
    assert_int_equal(run.control->held[CONTROL_FILE], 5);
    for (unsigned i = 0; i < 2 * CONTROL_MEND_LOOKS; i++)
        assert_int_equal(control_mend(run.control, &mending), 0);
    destroy(&run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_block_begins_with_its_options_and_nothing_held),
        cmocka_unit_test(memory_behind_the_slots_is_zeroed_and_shared),
        cmocka_unit_test(a_budget_may_change_up_to_the_most),
        cmocka_unit_test(orders_are_numbered_and_new_processes_only_stop),
        cmocka_unit_test(who_is_asked_is_asked_once),
        cmocka_unit_test(a_size_that_does_not_fit_is_refused),
        cmocka_unit_test(what_is_no_block_is_refused),
        cmocka_unit_test(joining_again_finds_the_same_slot_emptied),
        cmocka_unit_test(charges_add_up_and_peaks_stay),
        cmocka_unit_test(what_others_are_charged_for_is_not_told_twice),
        cmocka_unit_test(what_is_not_managed_has_a_peak_of_the_sum),
        cmocka_unit_test(who_is_enrolled_is_alive_and_joins_once),
        cmocka_unit_test(slots_run_out_and_come_back),
        cmocka_unit_test(what_a_killed_process_held_is_taken_back),
        cmocka_unit_test(what_others_share_is_held_until_somebody_looks),
        cmocka_unit_test(who_shares_leaves_before_it_ends),
        cmocka_unit_test(who_leaves_is_asked_for_nothing),
        cmocka_unit_test(a_child_shares_from_the_fork_on),
        cmocka_unit_test(what_is_charged_to_nobody_is_taken_back),
        cmocka_unit_test(a_process_that_nobody_waited_for_is_gone),
        cmocka_unit_test(a_process_whose_first_thread_ended_is_alive),
        cmocka_unit_test(a_full_block_reaps_before_it_refuses),
        cmocka_unit_test(a_reused_process_id_is_told_by_its_start),
        cmocka_unit_test(the_first_verdict_stays),
        cmocka_unit_test(a_long_verdict_is_cut),
        cmocka_unit_test(killing_all_spares_nobody_but_the_launcher),
        cmocka_unit_test(each_duration_lies_in_its_bucket),
        cmocka_unit_test(four_buckets_make_a_power_of_two),
        cmocka_unit_test(quantiles_are_the_buckets_upper_ends),
        cmocka_unit_test(what_a_kill_left_half_done_is_mended),
        cmocka_unit_test(who_rests_is_roused),
        cmocka_unit_test(heat_counts_faults_by_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
