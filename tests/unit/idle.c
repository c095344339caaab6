/* SPDX-License-Identifier: Apache-2.0 */
/* Processes that sleep are not read again; whatever can change about them is seen all the same. */
#include <quire/observe.h>

#include "root.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define PARTS (QUIRE_OBSERVE_STATUS | QUIRE_OBSERVE_IO)
#define N_BYTES ((size_t)4 << 20)

/* ---- a process that is recorded, so that every byte of it can be chosen ---- */

static void put(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void put(const char *name, const char *format, ...)
{
    char path[64], text[256];
    va_list arguments;

    snprintf(path, sizeof path, "proc/7/%s", name);
    va_start(arguments, format);
    assert_in_range(vsnprintf(text, sizeof text, format, arguments), 1, sizeof text - 1);
    va_end(arguments);
    root_put(path, text);
}

struct shown { /* by each file, numbers that tell which of its versions was read */
    char state;
    unsigned n_threads, minor, swap_kib, n_read;
};

static void put_figures(struct shown shown)
{
    put("stat", "7 (job) %c 1 7 7 0 -1 4194304 %u 0 0 0 5 5 0 0 20 0 %u 0 100 8192 10 0\n",
        shown.state, shown.minor, shown.n_threads);
    put("status", "Uid:\t5\t5\t5\t5\nVmRSS:\t  40 kB\nVmSwap:\t  %u kB\n", shown.swap_kib);
    put("io", "rchar: %u\nread_bytes: 0\nwrite_bytes: 0\n", shown.n_read);
}

static int set_up(void **state)
{
    if (root_set_up(state) != 0)
        return -1;
    put_figures((struct shown){'S', 1, 100, 4, 1000});
    put("schedstat", "500 600 10\n");
    put("statm", "2 10 3 1 0 1 0\n");
    return 0;
}

static struct quire_observe *opened(const char *directory)
{
    struct quire_observe *observe;

    assert_int_equal(quire_observe_open(directory, &observe), 0);
    return observe;
}

static struct quire_observe_process sample(struct quire_observe *observe, unsigned parts)
{
    struct quire_observe_processes processes;

    assert_int_equal(quire_observe_processes(observe, parts, &processes), 0);
    assert_int_equal(processes.n, 1);
    return processes.list[0];
}

/* An observer that has seen it asleep; what stat, status and io say from now on is new. */
static struct quire_observe *watching(unsigned parts, struct shown next)
{
    struct quire_observe *observe = opened(root);

    sample(observe, parts);
    sample(observe, parts);
    put_figures(next);
    return observe;
}

static const struct shown next = {'S', 1, 200, 8, 2000};

static void what_only_it_can_change_is_not_read_again(void **state)
{
    struct quire_observe *observe = watching(PARTS, next);
    struct quire_observe_process process = sample(observe, PARTS);

    assert_int_equal(process.minor_faults, 100);
    assert_int_equal(process.swap, 4 << 10);
    assert_int_equal(process.io_read_calls, 1000);
    assert_int_equal(process.rss, 10 << 12);
    put("schedstat", "500 700 11\n"); /* it ran */
    process = sample(observe, PARTS);
    assert_int_equal(process.minor_faults, 200);
    assert_int_equal(process.swap, 8 << 10);
    assert_int_equal(process.io_read_calls, 2000);
    put_figures((struct shown){'S', 1, 300, 8, 2000});
    assert_int_equal(sample(observe, PARTS).minor_faults, 200);
    put("schedstat", "501 700 11\n"); /* it had been about to sleep, and ran on */
    assert_int_equal(sample(observe, PARTS).minor_faults, 300);
    quire_observe_close(observe);
}

static void memory_that_others_take_is_seen(void **state)
{
    struct quire_observe *observe = watching(PARTS, next);

    put("statm", "2 9 3 1 0 1 0\n");
    assert_int_equal(sample(observe, PARTS).swap, 8 << 10);
    put_figures((struct shown){'S', 1, 200, 12, 2000});
    assert_int_equal(sample(observe, PARTS).swap, 8 << 10);
    put("statm", "2 9 2 1 0 1 0\n"); /* a file's page for an anonymous one */
    assert_int_equal(sample(observe, PARTS).swap, 12 << 10);
    put("statm", "2 8 2 1 0 1 0\n");
    struct quire_observe_process process = sample(observe, QUIRE_OBSERVE_STAT);
    assert_int_equal(process.rss, 8 << 12);
    assert_int_equal(process.swap, QUIRE_OBSERVE_ABSENT); /* it was not asked for */
    assert_int_equal(process.user, QUIRE_OBSERVE_ABSENT);
    quire_observe_close(observe);
}

/* One thread's count says nothing of another's, nor of what is on a processor right now. */
static void who_may_be_running_is_read(void **state)
{
    static const struct shown cases[] = {{'R', 1, 100, 4, 1}, {'S', 2, 100, 4, 1}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        put_figures(cases[i]);
        struct quire_observe *observe = watching(PARTS, next);
        assert_int_equal(sample(observe, PARTS).minor_faults, 200);
        quire_observe_close(observe);
    }
}

/* Without the kernel's count, with one that is no number, or none of the two files. */
static void kernels_that_do_not_count(void **state)
{
    static const char *const counts[] = {"0 0 0\n", "x\n", "1 2\n"};

    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        put_figures((struct shown){'S', 1, 100, 4, 1});
        put("schedstat", "%s", counts[i]);
        struct quire_observe *observe = watching(PARTS, next);
        assert_int_equal(sample(observe, PARTS).minor_faults, 200);
        quire_observe_close(observe);
    }
    put("schedstat", "500 600 10\n");
    root_remove("proc/7/statm");
    struct quire_observe *observe = watching(PARTS, next);
    struct quire_observe_process process = sample(observe, QUIRE_OBSERVE_STAT);
    assert_int_equal(process.minor_faults, 200);
    assert_int_equal(process.rss, 10 << 12); /* of stat */
    quire_observe_close(observe);
}

/* ---- a real one ---- */

static volatile sig_atomic_t n_asked;

static void ask(int signal)
{
    n_asked++;
}

/* Maps a file, reads it, and touches a page more whenever it is asked. */
static void sleeper(int fd, char **file, int ready)
{
    sigset_t blocked, none;
    char *pages = mmap(NULL, N_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    sigemptyset(&none);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    sigprocmask(SIG_BLOCK, &blocked, NULL);
    signal(SIGUSR1, ask);
    *file = mmap(NULL, N_BYTES, PROT_READ, MAP_SHARED, fd, 0);
    for (size_t i = 0; i < N_BYTES; i += 4096)
        (void)*(volatile char *)(*file + i);
    (void)!write(ready, file, sizeof *file);
    for (;;) {
        sigsuspend(&none);
        for (size_t i = 0; i < N_BYTES; i += 4096)
            pages[i] = 1;
        (void)!write(ready, file, sizeof *file);
    }
}

static struct quire_observe_process find(struct quire_observe *observe, pid_t pid)
{
    struct quire_observe_processes processes;

    assert_int_equal(quire_observe_processes(observe, QUIRE_OBSERVE_STATUS, &processes), 0);
    for (size_t i = 0; i < processes.n; i++)
        if (processes.list[i].pid == pid)
            return processes.list[i];
    fail_msg("process %d is not there", (int)pid);
    return processes.list[0];
}

static void await_sleep(pid_t pid)
{
    char path[32], text[256] = "";

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    while (strstr(text, ") S ") == NULL) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        assert_true(read(fd, text, sizeof text - 1) > 0);
        close(fd);
    }
}

static void a_process_that_sleeps_and_wakes(void **state)
{
    struct quire_observe *observe = opened(NULL);
    char path[] = "/tmp/quire-idle-file-XXXXXX", *file;
    static char zeros[N_BYTES];
    int fd = mkstemp(path), ready[2];

    unlink(path);
    assert_true(write(fd, zeros, N_BYTES) == (ssize_t)N_BYTES && fsync(fd) == 0);
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0)
        sleeper(fd, &file, ready[1]);
    assert_int_equal(read(ready[0], &file, sizeof file), sizeof file);
    await_sleep(child);
    find(observe, child);
    struct quire_observe_process before = find(observe, child), now = find(observe, child);
    assert_int_equal(now.minor_faults, before.minor_faults);
    assert_int_equal(now.rss, before.rss);
    assert_int_equal(now.rss, now.rss_anonymous + now.rss_file + now.rss_shmem);

    /* the kernel takes its memory while it sleeps; not where the file lies in memory itself */
    int handle = (int)syscall(SYS_pidfd_open, child, 0);
    struct iovec range = {file, N_BYTES};
    bool taken = handle >= 0 && syscall(SYS_process_madvise, handle, &range, 1, 21 /* PAGEOUT */,
                                        0) == (long)N_BYTES;
    now = find(observe, child);
    if (taken && now.rss < before.rss) {
        assert_int_equal(now.rss, now.rss_anonymous + now.rss_file + now.rss_shmem);
        assert_int_equal(now.minor_faults, before.minor_faults);
    }
    before = now;
    kill(child, SIGUSR1);
    assert_int_equal(read(ready[0], &file, sizeof file), sizeof file);
    now = find(observe, child);
    assert_true(now.minor_faults >= before.minor_faults + 1); /* huge pages: few */
    assert_true(now.rss_anonymous >= before.rss_anonymous + N_BYTES);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    close(handle);
    close(fd);
    close(ready[0]);
    close(ready[1]);
    quire_observe_close(observe);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_only_it_can_change_is_not_read_again, set_up,
                                        root_tear_down),
        cmocka_unit_test_setup_teardown(memory_that_others_take_is_seen, set_up, root_tear_down),
        cmocka_unit_test_setup_teardown(who_may_be_running_is_read, set_up, root_tear_down),
        cmocka_unit_test_setup_teardown(kernels_that_do_not_count, set_up, root_tear_down),
        cmocka_unit_test(a_process_that_sleeps_and_wakes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
