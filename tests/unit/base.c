/* SPDX-License-Identifier: Apache-2.0 */
/* The base: sizes, checked arithmetic, messages, locks, metadata, threads, system calls. */
#include "base/checked.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/meta.h"
#include "base/scratch.h"
#include "base/size.h"
#include "base/sys.h"
#include "base/thread.h"
#include "sanitizers.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define NOBODY 65534

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)
#define TIB ((uint64_t)1 << 40)

static void sizes_are_read_as_people_write_them(void **state)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } cases[] = {
        {"0", 0},
        {"1", 1},
        {"4096", 4096},
        {"7B", 7},
        {"1K", KIB},
        {"1k", KIB},
        {"3KB", 3 * KIB},
        {"3KiB", 3 * KIB},
        {"512M", 512 * MIB},
        {"512mib", 512 * MIB},
        {"1.5G", 3 * GIB / 2},
        {"0.25g", GIB / 4},
        {"2T", 2 * TIB},
        {"1.000001M", MIB + 1},
        {"1.0000000001M", MIB},
        {"007", 7},
        {"9223372036854775807", INT64_MAX},
        {"50%", 500},
        {"0%", 0},
        {"100%", 1000},
        {"12.5%", 125},
        {"99.99%", 999},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t bytes = 12345;
        assert_int_equal(size_parse(cases[i].text, 1000, &bytes), 0);
        assert_int_equal(bytes, cases[i].bytes);
    }
}

static void what_is_no_size_is_refused(void **state)
{
    static const char *const texts[] = {
        "",     " ",   "x",   "K",  ".5G", "1.",  "1.G", "-1",   "+1",   "1 K",   " 1",  "1KK",
        "1Kb1", "1Ki", "1iB", "1E", "1P",  "1%%", "1 %", "0x10", "1,5G", "1.5.5", "1e6", "1KiBs"};
    uint64_t bytes;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (size_parse(texts[i], 1000, &bytes) != -EINVAL)
            fail_msg("\"%s\" was taken", texts[i]);
    assert_int_equal(size_parse("10%", 0, &bytes), -EINVAL); /* of what? */
}

static void what_does_not_fit_is_refused(void **state)
{
    static const char *const texts[] = {"9223372036854775808",
                                        "18446744073709551616",
                                        "99999999999999999999999999",
                                        "8388608T",
                                        "99999999T",
                                        "101%",
                                        "100.01%"};
    uint64_t bytes;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (size_parse(texts[i], 1000, &bytes) != -ERANGE)
            fail_msg("\"%s\" was taken", texts[i]);
    assert_int_equal(size_parse("8388607T", 0, &bytes), 0);
}

static void a_percentage_of_much_is_exact(void **state)
{
    uint64_t bytes;
    assert_int_equal(size_parse("50%", INT64_MAX - 1, &bytes), 0);
    assert_int_equal(bytes, (INT64_MAX - 1) / 2);
}

static void sizes_are_written_with_one_decimal(void **state)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = {
        {0, "0 B"},
        {1023, "1023 B"},
        {1024, "1.0 KiB"},
        {1536, "1.5 KiB"},
        {12 * MIB + 300 * KIB, "12.3 MiB"},
        {MIB - 1, "1024.0 KiB"},
        {GIB, "1.0 GiB"},
        {5 * TIB, "5.0 TiB"},
        {UINT64_MAX, "16384.0 PiB"},
    };
    char buffer[16];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_ptr_equal(size_format(cases[i].bytes, buffer, sizeof buffer), buffer);
        assert_string_equal(buffer, cases[i].text);
    }
}

static void checked_arithmetic_says_when_it_does_not_fit(void **state)
{
    size_t n;
    assert_true(checked_add((size_t)1, SIZE_MAX - 1, &n) && n == SIZE_MAX);
    assert_false(checked_add((size_t)2, SIZE_MAX - 1, &n));
    assert_true(checked_mul((size_t)1 << 32, (size_t)1 << 31, &n) && n == (size_t)1 << 63);
    assert_false(checked_mul((size_t)1 << 32, (size_t)1 << 32, &n));
}

static void rounding_and_logarithms(void **state)
{
    assert_int_equal(round_up(0, 4096), 0);
    assert_int_equal(round_up(1, 4096), 4096);
    assert_int_equal(round_up(4096, 4096), 4096);
    assert_int_equal(round_down(4095, 4096), 0);
    assert_int_equal(round_down(8191, 4096), 4096);
    assert_false(is_power_of_two(0));
    assert_true(is_power_of_two(1) && is_power_of_two((size_t)1 << 63));
    assert_false(is_power_of_two(3) || is_power_of_two(SIZE_MAX));
    assert_int_equal(log2_floor(1), 0);
    assert_int_equal(log2_ceil(1), 0);
    assert_int_equal(log2_floor(SIZE_MAX), 63);
    for (unsigned k = 1; k < 63; k++) {
        size_t n = (size_t)1 << k;
        assert_int_equal(log2_floor(n), k);
        assert_int_equal(log2_floor(n + n / 2), k);
        assert_int_equal(log2_ceil(n), k);
        assert_int_equal(log2_ceil(n + 1), k + 1);
    }
}

static void each_conversion_is_as_printf_has_it(void **state)
{
    char ours[200], theirs[200];
#define SAME(...)                                                          \
    do {                                                                   \
        size_t n = log_format(ours, sizeof ours, __VA_ARGS__);             \
        assert_int_equal(n, snprintf(theirs, sizeof theirs, __VA_ARGS__)); \
        assert_string_equal(ours, theirs);                                 \
    } while (0)
    SAME("plain");
    SAME("%s and %s", "one", "");
    SAME("%d %d %d %d", 0, -1, INT32_MAX, INT32_MIN);
    SAME("%ld %ld", INT64_MAX, INT64_MIN);
    SAME("%u %u", 0u, UINT32_MAX);
    SAME("%lu %zu", UINT64_MAX, SIZE_MAX);
    SAME("%x %lx", 0xdeadbeefu, 0x123456789abcdefUL);
    SAME("[%c%c]", 'a', 'z');
    SAME("%p", (void *)0x7f0012345678);
    SAME("100%% of %d%%", 5);
}

static void a_message_is_cut_and_ended(void **state)
{
    char buffer[8] = "xxxxxxx";
    assert_int_equal(log_format(buffer, 5, "%s", "123456789"), 4);
    assert_string_equal(buffer, "1234");
    assert_int_equal(buffer[5], 'x'); /* nothing behind the end is written */
    assert_int_equal(log_format(buffer, 5, "%d", 1234567), 4);
    assert_string_equal(buffer, "1234");
    assert_int_equal(log_format(buffer, 5, "%s", "54321"), 4); /* one too many */
    assert_string_equal(buffer, "5432");
    assert_int_equal(buffer[5], 'x');
    assert_int_equal(log_format(buffer, 5, "12%s", "34"), 4);
    assert_int_equal(log_format(buffer, 1, "much"), 0);
    assert_string_equal(buffer, "");
}

/* What log_error writes, in one piece. */
static size_t caught(char *said, size_t n_bytes, const char *text)
{
    int ends[2], saved = dup(STDERR_FILENO);
    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    log_error("%s", text);
    dup2(saved, STDERR_FILENO);
    ssize_t n = read(ends[0], said, n_bytes - 1);
    close(ends[0]);
    close(ends[1]);
    close(saved);
    assert_true(n > 0);
    said[n] = '\0';
    return (size_t)n;
}

static void an_error_is_one_prefixed_line(void **state)
{
    char said[1024], text[2000];
    caught(said, sizeof said, "what went wrong");
    assert_string_equal(said, "quire: what went wrong\n");
    memset(text, 'y', sizeof text);
    text[sizeof text - 1] = '\0';
    size_t n = caught(said, sizeof said, text);
    assert_true(n <= LOG_MAX_BYTES);
    assert_int_equal(said[n - 1], '\n');
    assert_memory_equal(said, "quire: yyy", 10);
}

#define N_THREADS 4
#define N_ROUNDS 100000

static struct lock lock;
static unsigned long guarded;

static void *add_under_lock(void *unused)
{
    for (unsigned i = 0; i < N_ROUNDS; i++) {
        lock_take(&lock);
        unsigned long before = *(volatile unsigned long *)&guarded;
        if (i % 64 == 0)
            sched_yield();
        *(volatile unsigned long *)&guarded = before + 1;
        lock_release(&lock);
    }
    return NULL;
}

static void a_lock_lets_one_in_at_a_time(void **state)
{
    pthread_t threads[N_THREADS];
    guarded = 0;
    for (unsigned i = 0; i < N_THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add_under_lock, NULL), 0);
    for (unsigned i = 0; i < N_THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(guarded, N_THREADS * N_ROUNDS);
    assert_int_equal(lock.state, 0);
}

static void *take_and_release(void *unused)
{
    lock_take(&lock);
    lock_release(&lock);
    return NULL;
}

static void who_waits_for_a_lock_sleeps_and_is_woken(void **state)
{
    pthread_t thread;
    lock_take(&lock);
    assert_false(lock_try(&lock));
    assert_int_equal(pthread_create(&thread, NULL, take_and_release, NULL), 0);
    while (atomic_load(&lock.n_waiting) == 0) /* it is about to sleep, or does */
        usleep(1000);
    usleep(20000);
    lock_release(&lock);
    pthread_join(thread, NULL);
    assert_true(lock_try(&lock));
    lock_reset(&lock);
    assert_true(lock_try(&lock));
    lock_release(&lock);
}

static void blocks_are_zeroed_aligned_apart_and_charged(void **state)
{
    unsigned char *blocks[500];
    size_t before = meta_bytes(), wanted = 0;
    for (size_t i = 0; i < 500; i++) {
        size_t n_bytes = 1 + i * 37;
        blocks[i] = meta_alloc(n_bytes);
        assert_non_null(blocks[i]);
        assert_int_equal((uintptr_t)blocks[i] % 64, 0);
        for (size_t at = 0; at < n_bytes; at++)
            assert_int_equal(blocks[i][at], 0);
        memset(blocks[i], (int)(i % 255) + 1, n_bytes);
        wanted += round_up(n_bytes, 64);
    }
    assert_int_equal(meta_bytes() - before, wanted);
    for (size_t i = 0; i < 500; i++)
        for (size_t at = 0; at < 1 + i * 37; at++)
            assert_int_equal(blocks[i][at], i % 255 + 1);
}

static void a_large_block_is_a_mapping_of_its_own(void **state)
{
    size_t before = meta_bytes();
    unsigned char *block = meta_alloc((size_t)3 << 20);
    assert_non_null(block);
    assert_int_equal(block[0] | block[((size_t)3 << 20) - 1], 0);
    assert_int_equal(meta_bytes() - before, (size_t)3 << 20);
    assert_null(meta_alloc((size_t)1 << 60));
    assert_int_equal(meta_bytes() - before, (size_t)3 << 20);
}

static void a_sparse_table_costs_what_its_user_says(void **state)
{
    const size_t n_bytes = (size_t)1 << 36;
    size_t before = meta_bytes();
    unsigned char *table = meta_map(n_bytes);
    assert_non_null(table);
    assert_int_equal(meta_bytes(), before);
    table[n_bytes - 1] = 1;
    meta_charge(4096);
    assert_int_equal(meta_bytes(), before + 4096);
    meta_charge(-4096);
    meta_unmap(table, n_bytes);
    meta_unmap(NULL, n_bytes);
    assert_int_equal(meta_bytes(), before);
}

static size_t pages_in_memory(void *memory, size_t n_bytes)
{
    unsigned char in_memory[16];
    size_t n = 0;
    assert_true(n_bytes <= sizeof in_memory * 4096);
    assert_int_equal(mincore(memory, n_bytes, in_memory), 0);
    for (size_t i = 0; i < n_bytes / 4096; i++)
        n += in_memory[i] & 1;
    return n;
}

static void a_scratch_buffer_holds_what_is_used_of_it(void **state)
{
    struct scratch scratch;
    size_t before = meta_bytes();
    assert_int_equal(scratch_open(&scratch, 10 * 4096 - 5), 0);
    assert_int_equal(scratch.n_bytes, 10 * 4096);
    assert_int_equal(meta_bytes(), before);
    scratch_use(&scratch, 1);
    memset(scratch.memory, 1, 4096);
    assert_int_equal(meta_bytes() - before, 4096);
    scratch_use(&scratch, 4 * 4096);
    scratch_use(&scratch, 3 * 4096 + 1); /* has been */
    memset(scratch.memory, 1, 4 * 4096);
    assert_int_equal(meta_bytes() - before, 4 * 4096);
    assert_int_equal(pages_in_memory(scratch.memory, scratch.n_bytes), 4);
    scratch_drop(&scratch);
    assert_int_equal(meta_bytes(), before);
    assert_int_equal(pages_in_memory(scratch.memory, scratch.n_bytes), 0);
    scratch_drop(&scratch); /* nothing is left to drop */
    scratch_use(&scratch, 10 * 4096);
    memset(scratch.memory, 1, 10 * 4096);
    assert_int_equal(meta_bytes() - before, 10 * 4096);
    scratch_close(&scratch);
    assert_int_equal(meta_bytes(), before);
    assert_int_equal(scratch_open(&scratch, (size_t)1 << 60), -ENOMEM);
}

static struct {
    uint64_t signals;
    int argument, n_files, tid;
    _Atomic uint32_t done;
} report;

/* In a thread that libc does not know: system calls only. */
static void look_around(void *argument)
{
    report.argument = *(int *)argument;
    report.tid = sys_gettid();
    sys_sigprocmask(SIG_BLOCK, NULL, &report.signals);
    for (int fd = 0; fd < 100; fd++)
        report.n_files += sys_fcntl(fd, F_GETFD, 0) >= 0;
    atomic_store(&report.done, 1);
    sys_futex_wake(&report.done, 1, false);
}

static void start_and_wait(bool own_files)
{
    int argument = 42;
    memset(&report, 0, sizeof report);
    errno = 4321;
    int tid = thread_start(look_around, &argument, own_files);
    assert_int_equal(errno, 4321);
    assert_true(tid > 0);
    for (int i = 0; i < 6000 && !atomic_load(&report.done); i++)
        sys_futex_wait(&report.done, 0, 10000000, false);
    assert_true(atomic_load(&report.done));
    assert_int_equal(report.tid, tid);
    assert_int_equal(report.argument, 42);
}

static void a_thread_blocks_all_signals_and_leaves_its_creator_s(void **state)
{
    if (UNDER_THREAD_SANITIZER || UNDER_ADDRESS_SANITIZER)
        skip();
    uint64_t before, after;
    sys_sigprocmask(SIG_BLOCK, NULL, &before);
    start_and_wait(false);
    sys_sigprocmask(SIG_BLOCK, NULL, &after);
    assert_int_equal(before, after);
    const uint64_t unblockable = (uint64_t)1 << (SIGKILL - 1) | (uint64_t)1 << (SIGSTOP - 1);
    assert_int_equal(report.signals | unblockable, UINT64_MAX);
}

static void a_thread_has_its_creator_s_files_or_none(void **state)
{
    if (UNDER_THREAD_SANITIZER || UNDER_ADDRESS_SANITIZER)
        skip();
    start_and_wait(false);
    assert_true(report.n_files >= 3);
    start_and_wait(true);
    assert_int_equal(report.n_files, 0);
    assert_true(fcntl(STDOUT_FILENO, F_GETFD) >= 0); /* and the creator keeps its own */
}

static struct {
    _Atomic uint32_t stage; /* 1: the file is open, 2: the second thread has looked */
    int fd;
    bool is_shared;
} family;

static void look_for_the_file(void *unused)
{
    family.is_shared = sys_fcntl(family.fd, F_GETFD, 0) >= 0;
    atomic_store(&family.stage, 2);
}

static void open_and_start(void *unused)
{
    family.fd = sys_openat(AT_FDCWD, "/dev/null", O_RDONLY, 0);
    atomic_store(&family.stage, 1);
    thread_start(look_for_the_file, NULL, false);
    while (atomic_load(&family.stage) != 2)
        sys_sleep_ns(1000000);
}

static void threads_of_a_thread_share_its_files(void **state)
{
    if (UNDER_THREAD_SANITIZER || UNDER_ADDRESS_SANITIZER)
        skip();
    assert_true(thread_start(open_and_start, NULL, true) > 0);
    for (int i = 0; i < 60000 && atomic_load(&family.stage) != 2; i++)
        usleep(1000);
    assert_int_equal(atomic_load(&family.stage), 2);
    assert_true(family.fd >= 0 && family.is_shared);
}

static void do_nothing(void *unused)
{
}

static void a_full_limit_on_threads_is_told_after_a_second(void **state)
{
    if (geteuid() != 0)
        skip(); /* the limit does not hold for root, so one has to become somebody else */
    pid_t child = fork();
    if (child == 0) {
        const struct rlimit none = {0, 0};
        uint64_t start = sys_now_ns();
        if (setresuid(NOBODY, NOBODY, NOBODY) != 0 || setrlimit(RLIMIT_NPROC, &none) != 0)
            _exit(2);
        _exit(thread_start(do_nothing, NULL, false) != -EAGAIN ||
              sys_now_ns() - start < 1000000000u);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void system_calls_return_errors_and_leave_errno(void **state)
{
    char byte;
    errno = 4321;
    assert_int_equal(sys_close(-1), -EBADF);
    assert_int_equal(sys_read(-1, &byte, 1), -EBADF);
    assert_int_equal(sys_openat(AT_FDCWD, "/nowhere/at/all", O_RDONLY, 0), -ENOENT);
    void *nothing = sys_mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(sys_is_error(nothing));
    assert_int_equal(sys_error(nothing), -EINVAL);
    assert_int_equal(sys_kill(-1234567, 0), -ESRCH);
    assert_int_equal(sys_madvise((void *)1, 4096, MADV_DONTNEED), -EINVAL);
    assert_int_equal(errno, 4321);
}

static void mappings_are_told_from_errors(void **state)
{
    void *memory = sys_mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_false(sys_is_error(memory));
    assert_false(sys_is_error(NULL));
    assert_true(sys_is_error((void *)(intptr_t)-4095));
    assert_false(sys_is_error((void *)(intptr_t)-4096));
    memset(memory, 1, 8192);
    assert_int_equal(sys_mprotect(memory, 4096, PROT_READ), 0);
    assert_int_equal(sys_munmap(memory, 8192), 0);
}

static void futexes_time_out_and_refuse(void **state)
{
    uint32_t word = 5;
    uint64_t start = sys_now_ns();
    assert_int_equal(sys_futex_wait(&word, 4, 0, false), -EAGAIN);
    assert_int_equal(sys_futex_wait(&word, 5, 20000000, true), -ETIMEDOUT);
    assert_true(sys_now_ns() - start >= 20000000);
    assert_int_equal(sys_futex_wake(&word, 1, false), 0);
    assert_int_equal(sys_sleep_ns(1000000), 0);
}

static void memory_of_others_is_read_without_faults(void **state)
{
    int from[3] = {17, 18, 19}, to[2] = {0};
    const struct iovec ends[] = {{&from[2], sizeof from[2]}, {&from[0], sizeof from[0]}};
    const struct iovec nowhere = {(void *)8, sizeof to};
    assert_int_equal(sys_process_vm_readv(sys_getpid(), to, sizeof to, ends, 2), sizeof to);
    assert_int_equal(to[0], 19);
    assert_int_equal(to[1], 17);
    assert_int_equal(sys_process_vm_readv(sys_getpid(), to, sizeof to, &nowhere, 1), -EFAULT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_read_as_people_write_them),
        cmocka_unit_test(what_is_no_size_is_refused),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(a_percentage_of_much_is_exact),
        cmocka_unit_test(sizes_are_written_with_one_decimal),
        cmocka_unit_test(checked_arithmetic_says_when_it_does_not_fit),
        cmocka_unit_test(rounding_and_logarithms),
        cmocka_unit_test(each_conversion_is_as_printf_has_it),
        cmocka_unit_test(a_message_is_cut_and_ended),
        cmocka_unit_test(an_error_is_one_prefixed_line),
        cmocka_unit_test(a_lock_lets_one_in_at_a_time),
        cmocka_unit_test(who_waits_for_a_lock_sleeps_and_is_woken),
        cmocka_unit_test(blocks_are_zeroed_aligned_apart_and_charged),
        cmocka_unit_test(a_large_block_is_a_mapping_of_its_own),
        cmocka_unit_test(a_sparse_table_costs_what_its_user_says),
        cmocka_unit_test(a_scratch_buffer_holds_what_is_used_of_it),
        cmocka_unit_test(a_thread_blocks_all_signals_and_leaves_its_creator_s),
        cmocka_unit_test(a_thread_has_its_creator_s_files_or_none),
        cmocka_unit_test(threads_of_a_thread_share_its_files),
        cmocka_unit_test(a_full_limit_on_threads_is_told_after_a_second),
        cmocka_unit_test(system_calls_return_errors_and_leave_errno),
        cmocka_unit_test(mappings_are_told_from_errors),
        cmocka_unit_test(futexes_time_out_and_refuse),
        cmocka_unit_test(memory_of_others_is_read_without_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
