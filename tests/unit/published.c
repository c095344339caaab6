/* SPDX-License-Identifier: Apache-2.0 */
/* What a run publishes: written by one, read by another, and what is left of the dead. */
#include "observe/published.h"

#include "root.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define N_UPDATES 20000
#define N_LEAVES 500

static int set_up(void **state)
{
    return root_set_up(state) == 0 ? setenv("XDG_RUNTIME_DIR", root, 1) : -1;
}

static void look(struct quire_observe *observe, struct quire_observe_runs *runs)
{
    assert_int_equal(quire_observe_runs(observe, runs), 0);
}

/* Of this test's directory: other runs of this user may be there, too. */
static const struct quire_observe_run *own(const struct quire_observe_runs *runs, uint64_t keeper)
{
    for (size_t i = 0; i < runs->n; i++)
        if (runs->list[i].keeper == keeper)
            return &runs->list[i];
    return NULL;
}

static struct quire_observe *opened(void)
{
    struct quire_observe *observe;

    assert_int_equal(quire_observe_open(NULL, &observe), 0);
    return observe;
}

static void publish(struct publication *publication, uint64_t value, unsigned n_processes)
{
    struct quire_observe_run run;
    struct quire_observe_run_process processes[PUBLISHED_MAX_PROCESSES];

    memset(&run, 0, sizeof run);
    run.budget = run.held = run.stored = run.stall_ns = value;
    for (unsigned i = 0; i < QUIRE_OBSERVE_N_LATENCIES; i++)
        run.latency[i] = value;
    snprintf(run.command, sizeof run.command, "job %u", (unsigned)value % 10);
    run.n_alive = n_processes;
    memset(processes, 0, sizeof processes);
    for (unsigned i = 0; i < n_processes; i++)
        processes[i] = (struct quire_observe_run_process){.pid = 1000 - i, .resident = value};
    publication_update(publication, &run, processes);
}

static void is_read_as_it_was_written(void **state)
{
    struct publication publication;
    struct quire_observe_runs runs;
    struct quire_observe *observe = opened();
    struct stat info;

    assert_true(publication_open(&publication));
    publish(&publication, 7, 3);
    look(observe, &runs);
    assert_null(own(&runs, (uint64_t)getpid())); /* P1: no name yet */
    publication_name(&publication, getpid());
    assert_string_equal(publication.problem, "");
    assert_int_equal(stat(publication.path, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
    publish(&publication, 8, 2);
    look(observe, &runs);
    const struct quire_observe_run *run = own(&runs, (uint64_t)getpid());
    assert_non_null(run);
    assert_int_equal(run->budget, 8);
    assert_int_equal(run->n_updates, 2);
    assert_int_equal(run->user, geteuid());
    assert_string_equal(run->command, "job 8");
    size_t n = 0;
    for (size_t i = 0; i < runs.n_processes; i++) { /* by pid */
        assert_true(i == 0 || runs.processes[i - 1].pid <= runs.processes[i].pid);
        n += runs.processes[i].keeper == run->keeper && runs.processes[i].resident == 8;
    }
    assert_int_equal(n, 2);
    publication_remove(&publication);
    assert_int_equal(stat(publication.path, &info), -1);
    look(observe, &runs);
    assert_null(own(&runs, (uint64_t)getpid()));
    quire_observe_close(observe);
}

/* A child writes as fast as it can; whatever is read is of one update. */
static void is_of_one_moment(void **state)
{
    struct publication publication;
    struct quire_observe_runs runs;
    struct quire_observe *observe = opened();
    unsigned n_read = 0;
    uint64_t last = 0;

    assert_true(publication_open(&publication));
    publish(&publication, 0, 8);
    publication_name(&publication, getpid());
    pid_t writer = fork();
    if (writer == 0) {
        for (uint64_t i = 1; i <= N_UPDATES; i++)
            publish(&publication, i, 1 + i % 64);
        _exit(0);
    }
    for (int status; last < N_UPDATES;) {
        look(observe, &runs);
        const struct quire_observe_run *run = own(&runs, (uint64_t)getpid());
        if (run != NULL) {
            n_read++;
            assert_true(run->budget >= last);
            last = run->budget;
            assert_int_equal(run->held, last);
            assert_int_equal(run->stall_ns, last);
            for (unsigned i = 0; i < QUIRE_OBSERVE_N_LATENCIES; i++)
                assert_int_equal(run->latency[i], last);
            if (last > 0)
                assert_int_equal(run->n_alive, 1 + last % 64);
            size_t n = 0;
            for (size_t i = 0; i < runs.n_processes; i++)
                n += runs.processes[i].keeper == run->keeper && runs.processes[i].resident == last;
            assert_int_equal(n, run->n_alive);
        }
        if (waitpid(writer, &status, WNOHANG) == writer)
            writer = -1;
    }
    assert_true(n_read > 0);
    if (writer > 0)
        waitpid(writer, NULL, 0);
    publication_remove(&publication);
    quire_observe_close(observe);
}

/* A keeper without a processor in the middle of an update, or of a moment: nobody waits for it. */
static void half_an_update_is_not_seen(void **state)
{
    struct quire_observe_run_moment moments[QUIRE_OBSERVE_N_MOMENTS];
    struct publication publication;
    struct quire_observe_runs runs;
    struct quire_observe *observe = opened();
    size_t n;

    assert_true(publication_open(&publication));
    publication_name(&publication, getpid());
    for (uint64_t i = 1; i < 2 * PUBLISHED_N_SLOTS; i++) {
        publish(&publication, i, 3);
        publication_add_moment(&publication, &(struct quire_observe_run_moment){.at_ns = i});
        memset(&publication.file->copies[(i + 1) % 2], 0xff, 1000);
        memset(&publication.file->history[i % PUBLISHED_N_SLOTS], 0xff, 16);
        look(observe, &runs);
        assert_non_null(own(&runs, (uint64_t)getpid()));
        assert_int_equal(own(&runs, (uint64_t)getpid())->budget, i);
        assert_int_equal(quire_observe_run_history(observe, (uint64_t)getpid(), moments, &n), 0);
        for (size_t k = 0; k < n; k++)
            assert_int_equal(moments[k].at_ns, i + 1 - n + k);
    }
    publication_remove(&publication);
    quire_observe_close(observe);
}

static pid_t idle_child(void)
{
    pid_t child = fork();

    if (child == 0)
        for (;;)
            pause();
    return child;
}

static void what_the_dead_left_is_removed(void **state)
{
    struct publication publication;
    struct quire_observe_runs runs;
    struct quire_observe *observe = opened();
    struct stat info;
    pid_t keeper = idle_child();

    assert_true(publication_open(&publication));
    publish(&publication, 1, 1);
    publication_name(&publication, keeper);
    look(observe, &runs);
    assert_non_null(own(&runs, (uint64_t)keeper));
    kill(keeper, SIGKILL);
    assert_int_equal(waitid(P_PID, (id_t)keeper, &(siginfo_t){0}, WEXITED | WNOWAIT), 0);
    look(observe, &runs); /* a zombie is as dead */
    assert_null(own(&runs, (uint64_t)keeper));
    assert_true(runs.n_removed >= 1);
    assert_int_equal(stat(publication.path, &info), -1);
    assert_int_equal(waitpid(keeper, NULL, 0), keeper);
    publication_remove(&publication);
    quire_observe_close(observe);
}

/* Overwrites a field of the file's header. */
static void forge(const char *path, size_t at, uint64_t value, size_t n_bytes)
{
    int fd = open(path, O_WRONLY);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, &value, n_bytes, (off_t)at), n_bytes);
    close(fd);
}

/* A run of a user who never looks sweeps before it begins; what may be alive stays. */
static void the_next_run_removes_it_too(void **state)
{
    struct publication dead, living, elsewhere, next;
    char other[64];
    pid_t keeper = idle_child(), reused = idle_child();

    assert_true(publication_open(&dead) && publication_open(&living) &&
                publication_open(&elsewhere));
    publication_name(&dead, keeper);
    publication_name(&living, getpid());
    publication_name(&elsewhere, reused);
    assert_int_equal(kill(keeper, SIGKILL) | kill(reused, SIGKILL), 0);
    assert_int_equal(waitpid(keeper, NULL, 0), keeper);
    assert_int_equal(waitpid(reused, NULL, 0), reused);
    forge(elsewhere.path, offsetof(struct published, header.pid_namespace), 5, 8); /* P3 */
    snprintf(other, sizeof other, "%s/quire/run-x", root);
    close(open(other, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    assert_true(publication_open(&next));
    assert_int_equal(access(dead.path, F_OK), -1);
    assert_int_equal(access(living.path, F_OK), 0);
    assert_int_equal(access(elsewhere.path, F_OK), 0);
    assert_int_equal(access(other, F_OK), 0);
    close(next.fd);
    publication_remove(&dead);
    publication_remove(&living);
    publication_remove(&elsewhere);
}

/* Publishes and leaves, all the time, and takes the directory along when it leaves it empty. */
static _Noreturn void come_and_go(void)
{
    struct publication publication;

    for (;;) {
        if (publication_open(&publication))
            publication_name(&publication, getpid());
        publication_remove(&publication);
    }
}

static void the_directory_comes_and_goes(void **state)
{
    char path[sizeof root + sizeof "/quire"];
    struct publication publication;

    snprintf(path, sizeof path, "%s/quire", root);
    pid_t other = fork();
    if (other == 0)
        come_and_go();
    for (unsigned i = 0; i < N_LEAVES; i++) {
        bool opened = publication_open(&publication);
        if (opened)
            publication_name(&publication, getpid());
        if (!opened || publication.problem[0] != '\0' ||
            strncmp(publication.path, path, strlen(path)) != 0) {
            kill(other, SIGKILL);
            fail_msg("time %u: %s %s", i, publication.path, publication.problem);
        }
        publication_remove(&publication);
    }
    kill(other, SIGKILL);
    assert_int_equal(waitpid(other, NULL, 0), other);
}

static void strange_files_are_left_alone(void **state)
{
    static const struct {
        size_t at, n_bytes;
        uint64_t value;
        bool is_removed, is_unreadable;
    } cases[] = {
        {offsetof(struct published, header.magic), 1, 'x', false, true},
        {offsetof(struct published, header.version), 4, 99, false, true},
        {offsetof(struct published, header.n_bytes), 4, 64, false, true},
        {offsetof(struct published, header.start_ticks), 8, 1, true,
         false}, /* its number, reused */
        {offsetof(struct published, header.pid_namespace), 8, 5, false, false},
        {offsetof(struct published, copies[1].run.n_alive), 8, 100000, false, true},
    };
    struct quire_observe *observe = opened();

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct publication publication;
        struct quire_observe_runs runs;
        struct stat info;
        assert_true(publication_open(&publication));
        publish(&publication, 1, 1);
        publication_name(&publication, getpid());
        forge(publication.path, cases[i].at, cases[i].value, cases[i].n_bytes);
        look(observe, &runs);
        assert_null(own(&runs, (uint64_t)getpid()));
        assert_int_equal(stat(publication.path, &info), cases[i].is_removed ? -1 : 0);
        assert_true(runs.n_removed >= cases[i].is_removed); /* others' runs come and go meanwhile */
        assert_true(runs.n_unreadable >= cases[i].is_unreadable);
        unlink(publication.path);
        publication_remove(&publication);
    }
    quire_observe_close(observe);
}

static void files_cut_short(void **state)
{
    struct publication publication;
    struct quire_observe_runs runs;
    struct quire_observe *observe = opened();
    const size_t lengths[] = {0, 7, 40, offsetof(struct published, copies) + 100,
                              offsetof(struct published, copies[1].processes) + 10};

    assert_true(publication_open(&publication));
    publish(&publication, 1, 4);
    publication_name(&publication, getpid());
    for (size_t i = sizeof lengths / sizeof lengths[0]; i-- > 0;) {
        assert_int_equal(truncate(publication.path, (off_t)lengths[i]), 0);
        look(observe, &runs);
        assert_null(own(&runs, (uint64_t)getpid()));
        assert_true(runs.n_unreadable >= 1); /* others' files may be in flux */
    }
    unlink(publication.path);
    quire_observe_close(observe);
}

/* Somebody else's directory, or one that others may write to, is not used, and not read. */
static void directories_must_be_ones_own(void **state)
{
    struct publication publication;
    char path[64], problem[640], directory[512];

    snprintf(path, sizeof path, "%s/quire", root);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(chmod(path, 0777), 0);
    assert_true(publication_open(&publication)); /* in /dev/shm */
    assert_null(strstr(publication.path, root));
    close(publication.fd);
    rmdir(publication.path); /* unless there are others' runs */
    assert_int_equal(chmod(path, 0700), 0);
    assert_true(publication_directory(directory, problem));
    assert_string_equal(directory, path);
    assert_true(access(path, F_OK) != 0); /* an empty one does not stay */
}

static void the_past_is_a_ring(void **state)
{
    struct publication publication;
    struct quire_observe *observe = opened();
    struct quire_observe_run_moment moments[QUIRE_OBSERVE_N_MOMENTS];
    size_t n;

    assert_true(publication_open(&publication));
    publish(&publication, 1, 0);
    publication_name(&publication, getpid());
    for (uint64_t i = 0; i < 2 * QUIRE_OBSERVE_N_MOMENTS + 10; i++) {
        publication_add_moment(&publication,
                               &(struct quire_observe_run_moment){.at_ns = i, .resident = i * 2});
        assert_int_equal(quire_observe_run_history(observe, (uint64_t)getpid(), moments, &n), 0);
        assert_int_equal(n, i + 1 < QUIRE_OBSERVE_N_MOMENTS ? i + 1 : QUIRE_OBSERVE_N_MOMENTS);
        for (size_t k = 0; k < n; k++) {
            assert_int_equal(moments[k].at_ns, i + 1 - n + k);
            assert_int_equal(moments[k].resident, 2 * moments[k].at_ns);
        }
    }
    publication_remove(&publication);
    assert_int_equal(quire_observe_run_history(observe, (uint64_t)getpid(), moments, &n), -ESRCH);
    assert_int_equal(n, 0);
    quire_observe_close(observe);
}

static void latencies(void **state)
{
    static struct quire_observe_run before, after;

    assert_int_equal(quire_observe_latency_ns(NULL, &after, 500), 0);
    after.latency[0] = 90; /* up to 80 ns */
    after.latency[40] = 10;
    assert_int_equal(quire_observe_latency_ns(NULL, &after, 500), 80);
    assert_int_equal(quire_observe_latency_ns(NULL, &after, 900), 80);
    assert_int_equal(quire_observe_latency_ns(NULL, &after, 901), 5ull << 14);
    before.latency[0] = 90;
    assert_int_equal(quire_observe_latency_ns(&before, &after, 500), 5ull << 14);
    before.latency[40] = 10;
    assert_int_equal(quire_observe_latency_ns(&before, &after, 500), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(is_read_as_it_was_written, set_up, root_tear_down),
        cmocka_unit_test_setup_teardown(is_of_one_moment, set_up, root_tear_down),
        cmocka_unit_test_setup_teardown(half_an_update_is_not_seen, set_up, root_tear_down),
        cmocka_unit_test_setup_teardown(what_the_dead_left_is_removed, set_up, root_tear_down),
        cmocka_unit_test_setup_teardown(the_next_run_removes_it_too, set_up, root_tear_down),
        cmocka_unit_test_setup_teardown(the_directory_comes_and_goes, set_up, root_tear_down),
        cmocka_unit_test_setup_teardown(strange_files_are_left_alone, set_up, root_tear_down),
        cmocka_unit_test_setup_teardown(files_cut_short, set_up, root_tear_down),
        cmocka_unit_test_setup_teardown(directories_must_be_ones_own, set_up, root_tear_down),
        cmocka_unit_test_setup_teardown(the_past_is_a_ring, set_up, root_tear_down),
        cmocka_unit_test(latencies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
