/* SPDX-License-Identifier: Apache-2.0 */
/* Traces: what is written is read, and what is broken is told, with its record. */
#include <quire/trace.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static char message[QUIRE_TRACE_MESSAGE_BYTES];

static int new_file(void)
{
    int fd = memfd_create("trace", MFD_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static int text_file(const void *bytes, size_t n)
{
    int fd = new_file();
    assert_int_equal(write(fd, bytes, n), n);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

static struct quire_trace_record random_record(unsigned *seed, uint64_t i)
{
    uint64_t far = (uint64_t)rand_r(seed) << 33 ^ (uint64_t)rand_r(seed) << 12;
    return (struct quire_trace_record){
        .address = i % 7 != 0 ? (0x7f0000000000 + 64 * (i % 5000)) & ~(uint64_t)15 : far,
        .time_ns = i / 3 * 1000,
        .n_bytes = i % 11 == 0 ? (uint32_t)rand_r(seed) : 8,
        .process = i % 1000 < 900 ? 41 : 42,
        .kind = (uint8_t)(i % 3)};
}

#define N 200000u

static int write_random(unsigned seed)
{
    const struct quire_trace_info info = {.every = QUIRE_TRACE_EVERY_SAMPLE,
                                          .period = 17,
                                          .granule = 4,
                                          .began_ns = 99,
                                          .command = "sort big.txt"};
    struct quire_trace_writer *writer;
    int fd = new_file();
    uint64_t n_bytes;
    assert_int_equal(quire_trace_create(fd, &info, &writer), 0);
    for (uint64_t i = 0; i < N; i++) {
        struct quire_trace_record record = random_record(&seed, i);
        assert_int_equal(quire_trace_write(writer, &record, 1), 0);
        struct quire_trace_mapping mapping = {0x1000 * i,     0x10000, i,          record.time_ns,
                                              record.process, 3,       "/lib/c.so"};
        if (i % 5000 == 0)
            assert_int_equal(quire_trace_write_mapping(writer, &mapping, i % 10000 == 5000), 0);
    }
    assert_int_equal(quire_trace_written(writer, &n_bytes), N + N / 5000);
    assert_int_equal(quire_trace_finish(writer), 0);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

static void check_mapping(const struct quire_trace *trace, const struct quire_trace_record *record,
                          uint64_t i)
{
    const struct quire_trace_mapping *mapping = quire_trace_mapping(trace, record->mapping);
    assert_non_null(mapping);
    assert_int_equal(record->kind, i % 10000 == 5000 ? QUIRE_TRACE_UNMAP : QUIRE_TRACE_MAP);
    assert_int_equal(mapping->start, 0x1000 * i);
    assert_int_equal(mapping->offset, i);
    assert_int_equal(mapping->n_bytes, 0x10000);
    assert_int_equal(mapping->protection, 3);
    assert_string_equal(mapping->name, "/lib/c.so");
}

static void check_reference(const struct quire_trace_record *record,
                            const struct quire_trace_record *wanted)
{
    assert_int_equal(record->address, wanted->address);
    assert_int_equal(record->time_ns, wanted->time_ns);
    assert_int_equal(record->n_bytes, wanted->n_bytes);
    assert_int_equal(record->process, wanted->process);
    assert_int_equal(record->kind, wanted->kind);
}

static void what_is_written_is_read(void **state)
{
    (void)state;
    static struct quire_trace_record records[777];
    unsigned seed = 5;
    int fd = write_random(seed);
    struct quire_trace *trace;
    assert_int_equal(quire_trace_open_fd(fd, "it", NULL, message, &trace), 0);
    assert_string_equal(quire_trace_info(trace)->format, "quire");
    assert_string_equal(quire_trace_info(trace)->command, "sort big.txt");
    assert_int_equal(quire_trace_info(trace)->period, 17);
    uint64_t i = 0;
    long got;
    while ((got = quire_trace_read(trace, records, 777)) > 0) {
        for (long k = 0; k < got; k++) {
            if (records[k].kind >= QUIRE_TRACE_MAP) {
                check_mapping(trace, &records[k], i - 1);
                continue;
            }
            struct quire_trace_record wanted = random_record(&seed, i++);
            check_reference(&records[k], &wanted);
        }
    }
    assert_int_equal(got, 0);
    assert_int_equal(i, N);
    assert_int_equal(quire_trace_mappings(trace), N / 5000);
    assert_true(quire_trace_is_whole(trace));
    quire_trace_close(trace);
    close(fd);
}

/* Differences of each length, up and down, and sizes around where they take a second byte. */
static struct quire_trace_record long_record(uint64_t i)
{
    return (struct quire_trace_record){
        .address = i % 2 != 0 ? 1 + (UINT64_C(1) << i / 6 % 64) + i % 5 : i % 3,
        .n_bytes = i / 400 % 2 != 0 ? 4 : (uint32_t)(i % 300),
        .kind = (uint8_t)(i / 4 % 3)};
}

static void differences_of_all_lengths(void **state)
{
    (void)state;
    const struct quire_trace_info info = {.every = QUIRE_TRACE_EVERY_ACCESS};
    struct quire_trace_record records[64];
    struct quire_trace_writer *writer;
    struct quire_trace *trace;
    uint64_t i = 0;
    long got;
    int fd = new_file();
    assert_int_equal(quire_trace_create(fd, &info, &writer), 0);
    for (; i < 20000; i++) {
        struct quire_trace_record record = long_record(i);
        assert_int_equal(quire_trace_write(writer, &record, 1), 0);
    }
    assert_int_equal(quire_trace_finish(writer), 0);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    assert_int_equal(quire_trace_open_fd(fd, "it", NULL, message, &trace), 0);
    for (i = 0; (got = quire_trace_read(trace, records, 64)) > 0;)
        for (long k = 0; k < got; k++, i++) {
            struct quire_trace_record wanted = long_record(i);
            check_reference(&records[k], &wanted);
        }
    assert_int_equal(i, 20000);
    assert_true(quire_trace_is_whole(trace));
    quire_trace_close(trace);
    close(fd);
}

/* A touch, what is freed, what is dropped, in turn; ranges of all lengths. */
static struct quire_trace_record lost_record(uint64_t i)
{
    static const uint8_t kinds[] = {QUIRE_TRACE_WRITE, QUIRE_TRACE_FREE, QUIRE_TRACE_DROP};
    return (struct quire_trace_record){.address = (0x7f0000000 + i * i % 1000) << 12,
                                       .time_ns = i / 2,
                                       .n_bytes = i % 3 != 0 ? (uint32_t)(i % 500) << 12 : 0,
                                       .process = 3,
                                       .kind = kinds[i % 3]};
}

static int write_lost(uint64_t n)
{
    const struct quire_trace_info info = {.every = QUIRE_TRACE_EVERY_PAGE, .granule = 12};
    struct quire_trace_writer *writer;
    int fd = new_file();
    assert_int_equal(quire_trace_create(fd, &info, &writer), 0);
    for (uint64_t i = 0; i < n; i++) {
        const struct quire_trace_record record = lost_record(i);
        assert_int_equal(quire_trace_write(writer, &record, 1), 0);
    }
    assert_int_equal(quire_trace_finish(writer), 0);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

static void what_is_freed_and_dropped_is_read(void **state)
{
    (void)state;
    struct quire_trace_record records[64];
    struct quire_trace *trace;
    uint64_t i = 0;
    long got;
    int fd = write_lost(20000);
    assert_int_equal(quire_trace_open_fd(fd, "it", NULL, message, &trace), 0);
    while ((got = quire_trace_read(trace, records, 64)) > 0)
        for (long k = 0; k < got; k++, i++) {
            const struct quire_trace_record wanted = lost_record(i);
            check_reference(&records[k], &wanted);
        }
    assert_int_equal(i, 20000);
    assert_int_equal(quire_trace_mappings(trace), 0); /* there may be millions of these */
    quire_trace_close(trace);
    close(fd);
}

/* Reads to the end; returns the last answer, and how many came before it. */
static long read_all(int fd, uint64_t *n, bool *is_whole)
{
    struct quire_trace_record records[100];
    struct quire_trace *trace;
    long got = quire_trace_open_fd(fd, "it", NULL, message, &trace);
    *n = 0;
    *is_whole = false;
    if (got != 0)
        return got;
    while ((got = quire_trace_read(trace, records, 100)) > 0)
        *n += (uint64_t)got;
    *is_whole = quire_trace_is_whole(trace);
    snprintf(message, sizeof message, "%s", quire_trace_message(trace));
    quire_trace_close(trace);
    return got;
}

/* Version 1 had no such kinds, and is the same in all else. */
static void older_versions_are_read(void **state)
{
    (void)state;
    static const struct {
        uint8_t version;
        uint64_t n_lost, n;
        const char *message;
    } cases[] = {{1, 1, 1, ""},
                 {1, 2, 1, "it: record 2: there is no such kind of record"},
                 {2, 2, 2, ""},
                 {0, 1, 0, "it: version 0 of the format; this Quire knows versions 1 to 2"},
                 {3, 1, 0, "it: version 3 of the format; this Quire knows versions 1 to 2"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t n;
        bool is_whole;
        int fd = write_lost(cases[i].n_lost);
        assert_int_equal(pwrite(fd, &cases[i].version, 1, 8), 1);
        assert_int_equal(read_all(fd, &n, &is_whole), cases[i].message[0] ? -EBADMSG : 0);
        assert_int_equal(n, cases[i].n);
        assert_string_equal(message, cases[i].message);
        close(fd);
    }
}

/* At whatever byte it was cut: what was whole is read, and that it was cut is told. */
static void a_cut_is_told(void **state)
{
    (void)state;
    int fd = write_random(7);
    off_t size = lseek(fd, 0, SEEK_END);
    uint64_t n, last = UINT64_MAX;
    bool is_whole;
    for (off_t end = size - 1; end >= 0; end -= 1 + size / 50) {
        assert_int_equal(ftruncate(fd, end), 0);
        assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
        long got = read_all(fd, &n, &is_whole);
        assert_int_equal(got, end < 32 + 12 ? -EBADMSG : 0); /* the header and its command */
        assert_false(is_whole);
        assert_true(got == 0 || message[0] != '\0');
        assert_true(n <= last);
        last = n;
    }
    close(fd);
}

static void damage_is_told_with_its_record(void **state)
{
    (void)state;
    int fd = write_random(7);
    off_t size = lseek(fd, 0, SEEK_END);
    unsigned char byte;
    uint64_t n;
    bool is_whole;
    assert_int_equal(pread(fd, &byte, 1, size / 2), 1);
    byte ^= 0x40;
    assert_int_equal(pwrite(fd, &byte, 1, size / 2), 1);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    assert_int_equal(read_all(fd, &n, &is_whole), -EBADMSG);
    char wanted[80];
    snprintf(wanted, sizeof wanted, "it: record %llu: its block is damaged",
             (unsigned long long)n + 1);
    assert_string_equal(message, wanted);
    close(fd);
}

static void a_writer_refuses(void **state)
{
    (void)state;
    struct quire_trace_writer *writer;
    struct quire_trace_info info = {.granule = 12};
    struct quire_trace_record odd = {.address = 4097}, map = {.kind = QUIRE_TRACE_MAP};
    int fd = new_file();
    assert_int_equal(quire_trace_create(fd, &info, &writer), 0);
    assert_int_equal(quire_trace_write(writer, &odd, 1), -EINVAL);
    assert_int_equal(quire_trace_write(writer, &map, 1), -EINVAL);
    assert_int_equal(quire_trace_finish(writer), 0);
    info.granule = 31;
    assert_int_equal(quire_trace_create(fd, &info, &writer), -EINVAL);
    close(fd);
    info.granule = 0;
    int full = 0;
    FILE *null = fopen("/dev/full", "we");
    assert_non_null(null);
    full = quire_trace_create(fileno(null), &info, &writer);
    assert_int_equal(full, -ENOSPC);
    fclose(null);
}

static void what_is_no_trace_is_told(void **state)
{
    (void)state;
    uint64_t n;
    bool is_whole;
    int fd = text_file("", 0);
    assert_int_equal(read_all(fd, &n, &is_whole), -EBADMSG);
    assert_string_equal(message, "it: it is empty");
    close(fd);
    assert_int_equal(quire_trace_open("/nowhere/at/all", NULL, message, &(struct quire_trace *){0}),
                     -ENOENT);
    assert_string_equal(message,
                        "cannot open the trace /nowhere/at/all: No such file or directory");
}

/* ---- what is larger than a window: it is mapped ---- */

#define N_REQUESTS 600000u /* 14 MB */

struct request {
    uint32_t seconds;
    uint64_t object;
    uint32_t size;
    int64_t next;
} __attribute__((packed));

static struct request request_of(uint64_t i)
{
    return (struct request){(uint32_t)(i / 1000), i * 0x9e3779b97f4a7c15u, 7, -1};
}

static void append_requests(int fd, uint64_t from, uint64_t to)
{
    static struct request some[10000];
    assert_true(lseek(fd, 0, SEEK_END) >= 0);
    for (uint64_t i = from, n; i < to; i += n) {
        n = to - i < 10000 ? to - i : 10000;
        for (uint64_t k = 0; k < n; k++)
            some[k] = request_of(i + k);
        assert_int_equal(write(fd, some, n * sizeof *some), n * sizeof *some);
    }
}

/* Reads up to `most` records that begin with number `from`. Returns the next one's number. */
static uint64_t read_requests(struct quire_trace *trace, uint64_t from, uint64_t most, long *last)
{
    static struct quire_trace_record records[777];
    uint64_t i = from;
    for (*last = 1; *last > 0 && i<from + most; i += *last> 0 ? (uint64_t)*last : 0) {
        *last = quire_trace_read(trace, records, 777);
        for (long k = 0; k < *last; k++) {
            const struct request wanted = request_of(i + (uint64_t)k);
            assert_int_equal(records[k].address, wanted.object);
            assert_int_equal(records[k].time_ns, wanted.seconds * (uint64_t)1000000000);
            assert_int_equal(records[k].n_bytes, 7);
        }
    }
    return i;
}

static struct quire_trace *open_requests(int fd, uint64_t first)
{
    struct quire_trace *trace;
    append_requests(fd, 0, N_REQUESTS);
    assert_int_equal(lseek(fd, (off_t)(first * sizeof(struct request)), SEEK_SET),
                     first * sizeof(struct request));
    assert_int_equal(quire_trace_open_fd(fd, "it", NULL, message, &trace), 0);
    assert_string_equal(quire_trace_info(trace)->format, "oracle");
    return trace;
}

/* From where the descriptor stands, through all windows, and what was appended meanwhile. */
static void a_large_file_that_grows(void **state)
{
    int fd = new_file();
    long last;
    (void)state;
    struct quire_trace *trace = open_requests(fd, 3);
    uint64_t i = read_requests(trace, 3, 300000, &last);
    append_requests(fd, N_REQUESTS, N_REQUESTS + 50000);
    assert_int_equal(read_requests(trace, i, UINT64_MAX / 2, &last), N_REQUESTS + 50000);
    assert_int_equal(last, 0);
    quire_trace_close(trace);
    close(fd);
}

/* Behind what is being looked at: no signal, and the message of any trace that was cut. */
static void a_large_file_that_is_cut_meanwhile(void **state)
{
    int fd = new_file();
    long last;
    (void)state;
    struct quire_trace *trace = open_requests(fd, 0);
    uint64_t i = read_requests(trace, 0, 1000, &last);
    assert_int_equal(ftruncate(fd, 400000 * (off_t)sizeof(struct request) + 5), 0);
    assert_int_equal(read_requests(trace, i, UINT64_MAX / 2, &last), 400000);
    assert_int_equal(last, -EBADMSG);
    assert_non_null(strstr(quire_trace_message(trace),
                           "record 400001: 5 of its 24 bytes: the trace was cut off"));
    quire_trace_close(trace);
    close(fd);
}

/* Lines, which end where windows do not. */
static void a_large_text(void **state)
{
    static struct quire_trace_record records[500];
    struct quire_trace *trace;
    uint64_t n = 0;
    long got;
    int fd = new_file();
    FILE *file = fdopen(dup(fd), "w");
    (void)state;
    assert_non_null(file);
    for (uint64_t i = 0; i < 700000; i++) /* 10 MB */
        fprintf(file, "R 0x%llx\n", (unsigned long long)(i * i * 4096));
    assert_int_equal(fclose(file), 0);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    assert_int_equal(quire_trace_open_fd(fd, "it", NULL, message, &trace), 0);
    while ((got = quire_trace_read(trace, records, 500)) > 0)
        for (long k = 0; k < got; k++, n++)
            assert_int_equal(records[k].address, n * n * 4096);
    assert_int_equal(got, 0);
    assert_int_equal(n, 700000);
    quire_trace_close(trace);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_large_file_that_grows),
        cmocka_unit_test(a_large_file_that_is_cut_meanwhile),
        cmocka_unit_test(a_large_text),
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(differences_of_all_lengths),
        cmocka_unit_test(what_is_freed_and_dropped_is_read),
        cmocka_unit_test(older_versions_are_read),
        cmocka_unit_test(a_cut_is_told),
        cmocka_unit_test(damage_is_told_with_its_record),
        cmocka_unit_test(a_writer_refuses),
        cmocka_unit_test(what_is_no_trace_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
