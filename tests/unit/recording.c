/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recordings: what goes in comes out, in any order; old parts are dropped and nothing else; a file
 * that is cut anywhere, damaged, or whose writer was killed gives what is whole of it.
 */
#include "observe/recording.h"
#include "observe/record_code.h"
#include "observe/record_file.h"
#include "observe/recorder.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h> /* wants the headers above */

#define MAX_SAMPLES 600
#define MAX_PROCESSES 40
#define FIRST_MS UINT64_C(1795665600000)

static char path[64];
static uint64_t seed;
static bool are_large; /* the samples to make: what fills a file soon */

static uint64_t next_random(void) /* splitmix64 */
{
    uint64_t z = seed += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static void fill(void *to, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ((unsigned char *)to)[i] = (unsigned char)next_random();
}

struct made { /* a sample with all that it points to */
    struct sample sample;
    struct quire_observe_process processes[MAX_PROCESSES];
    char commands[MAX_PROCESSES][32];
    struct quire_observe_run runs[2];
    struct quire_observe_run_process run_processes[3];
    struct quire_observe_zone zones[2];
    struct quire_observe_slab slabs[3];
    struct sample_heap heaps[1];
};

static void make_process(struct made *made, size_t i, int pid)
{
    struct quire_observe_process *process = &made->processes[i];

    memset(process, 0, sizeof *process);
    process->pid = pid;
    process->start_ms = (uint64_t)pid * 100;
    process->state = 'S';
    process->oom_adjust = -900;
    process->rss = next_random();
    process->minor_faults = 5;
    snprintf(process->name, sizeof process->name, "p%d", pid);
    snprintf(made->commands[i], sizeof made->commands[i], "command %d", pid);
}

static void make_kernel(uint64_t n, struct made *made)
{
    made->sample.zones.n_orders = 11;
    made->sample.zones.block_pages = 512;
    made->sample.slabs_error = n % 2 == 0 ? 0 : -EACCES;
    for (unsigned i = 0; i < 2; i++) {
        made->zones[i] = (struct quire_observe_zone){.node = i, .name = "Normal"};
        made->zones[i].free_pages = 1000 * n;
        fill(made->zones[i].free_blocks, 11 * sizeof made->zones[i].free_blocks[0]);
    }
    for (unsigned i = 0; i < 3; i++) {
        made->slabs[i] = (struct quire_observe_slab){.object_bytes = 8, .objects = n * i};
        snprintf(made->slabs[i].name, sizeof made->slabs[i].name, "kmalloc-rcl-%u", i);
    }
    made->heaps[0] = (struct sample_heap){
        .keeper = 11, .pid = 21, .slabs = {.hardened = true, .n_classes = 3, .n_large = n}};
    made->heaps[0].slabs.classes[2].n_active = n;
}

/* From the one before, as machines do: a few processes change, one ends, one starts. */
static void make_next(const struct made *before, uint64_t n, struct made *made)
{
    size_t count = 0;

    *made = *before;
    fill(&made->sample.memory, sizeof made->sample.memory);
    fill(&made->sample.pressure, sizeof made->sample.pressure);
    fill(&made->sample.zram, sizeof made->sample.zram);
    memset(&made->sample.counters, 0, sizeof made->sample.counters);
    made->sample.counters.at_ns = 1000000000 * (n + 1);
    made->sample.counters.uptime_ms = 5000000 + 1000 * n;
    made->sample.counters.major_faults = 100 * n;
    made->sample.wall_ms = FIRST_MS + 1000 * n;
    made->sample.parts = 63 | SAMPLE_SETTINGS;
    fill(&made->sample.settings, offsetof(struct quire_observe_settings, zswap_compressor));
    strcpy(made->sample.settings.huge_enabled, n % 50 < 25 ? "always" : "madvise");
    made->sample.cgroup.limit = n << 20;
    snprintf(made->sample.cgroup.path, sizeof made->sample.cgroup.path, "/jobs/%u",
             (unsigned)n / 9);
    made->sample.has_processes = made->sample.has_zram = true;
    made->sample.processes.at_ns = made->sample.counters.at_ns;
    for (size_t i = 0; i < before->sample.processes.n; i++) {
        if (next_random() % 20 == 0)
            continue;
        made->processes[count] = before->processes[i];
        memcpy(made->commands[count], before->commands[i], sizeof made->commands[0]);
        if (next_random() % 4 == 0) {
            made->processes[count].rss += next_random() % 1000;
            made->processes[count].minor_faults += 7;
        }
        count++;
    }
    while (count < MAX_PROCESSES && (count < 20 || next_random() % 2 == 0)) {
        int last = count > 0 ? made->processes[count - 1].pid : 0;
        make_process(made, count++, last + 1 + (int)(next_random() % 50));
    }
    made->sample.processes.n = count;
    for (unsigned i = 0; i < 2; i++) {
        made->runs[i].keeper = 10 + i;
        made->runs[i].faults[3] += i * n;
        if (are_large)
            fill(made->runs[i].latency, sizeof made->runs[i].latency);
        snprintf(made->runs[i].command, sizeof made->runs[i].command, "run %u", i);
        made->runs[i].n_alive = i + 1;
    }
    for (unsigned i = 0; i < 3; i++)
        made->run_processes[i] = (struct quire_observe_run_process){
            .keeper = i == 0 ? 10 : 11, .pid = 20 + i, .start_ticks = 5, .resident = n};
    make_kernel(n, made);
}

static void link_up(struct made *made)
{
    made->sample.zones.n_zones = 2;
    made->sample.zones.zones = made->zones;
    made->sample.slabs = (struct quire_observe_slabs){
        .n_caches = made->sample.slabs_error == 0 ? 3 : 0, .caches = made->slabs};
    made->sample.heaps = (struct sample_heaps){.n = 1, .list = made->heaps};
    made->sample.processes.list = made->processes;
    for (size_t i = 0; i < made->sample.processes.n; i++)
        made->processes[i].command = made->commands[i];
    made->sample.runs = (struct quire_observe_runs){
        .n = 2, .n_processes = 3, .list = made->runs, .processes = made->run_processes};
}

static struct made *make_many(size_t n)
{
    struct made *all = calloc(n + 1, sizeof *all);

    assert_non_null(all);
    for (size_t i = 0; i < n; i++)
        make_next(&all[i], i, &all[i + 1]);
    for (size_t i = 0; i < n; i++)
        link_up(&all[i + 1]);
    return all;
}

static void compare_rows(enum record_table table, const void *want, const void *got)
{
    const struct record_fields *fields = record_fields(table);
    uint64_t a[2048], b[2048];

    assert_true(fields->n_words <= 2048);
    record_pack(fields, want, a);
    record_pack(fields, got, b);
    assert_memory_equal(a, b, fields->n_words * 8);
}

static void compare(const struct made *want, const struct sample *got)
{
    compare_rows(RECORD_SYSTEM, &want->sample, got);
    assert_int_equal(want->sample.processes.n, got->processes.n);
    for (size_t i = 0; i < got->processes.n; i++) {
        compare_rows(RECORD_PROCESS, &want->processes[i], &got->processes.list[i]);
        assert_string_equal(want->processes[i].command, got->processes.list[i].command);
    }
    assert_int_equal(got->runs.n, 2);
    for (size_t i = 0; i < 2; i++)
        compare_rows(RECORD_RUN, &want->runs[i], &got->runs.list[i]);
    assert_int_equal(got->runs.n_processes, 3);
    for (size_t i = 0; i < 3; i++)
        compare_rows(RECORD_RUN_PROCESS, &want->run_processes[i], &got->runs.processes[i]);
    assert_int_equal(got->zones.n_zones, 2);
    for (unsigned i = 0; i < 2; i++)
        compare_rows(RECORD_ZONE, &want->zones[i], &got->zones.zones[i]);
    assert_int_equal(got->zones.n_types, 0);
    assert_int_equal(got->zones.zones[0].page_blocks_of[0], QUIRE_OBSERVE_ABSENT);
    assert_int_equal(got->slabs.n_caches, want->sample.slabs.n_caches);
    for (size_t i = 0; i < got->slabs.n_caches; i++)
        compare_rows(RECORD_SLAB, &want->slabs[i], &got->slabs.caches[i]);
    assert_int_equal(got->heaps.n, 1);
    compare_rows(RECORD_HEAP, &want->heaps[0], &got->heaps.list[0]);
}

static const struct made *of_time(const struct made *all, size_t n, uint64_t wall_ms)
{
    uint64_t i = (wall_ms - FIRST_MS) / 1000;

    assert_true(i < n);
    return &all[i + 1];
}

static void record(const struct made *all, size_t from, size_t to, uint64_t max_bytes)
{
    struct recorder *recorder;

    assert_int_equal(recorder_open(path, max_bytes, 1000, &recorder), 0);
    for (size_t i = from; i < to; i++)
        assert_int_equal(recorder_append(recorder, &all[i + 1].sample), 0);
    assert_int_equal(recorder_n_samples(recorder), to - from);
    recorder_close(recorder);
}

static struct feed *replay(void)
{
    char message[RECORDING_MESSAGE_BYTES];
    struct feed *feed;

    if (feed_open_recorded(path, &feed, message) != 0)
        fail_msg("%s", message);
    return feed;
}

static int set_up(void **state)
{
    seed = 7;
    are_large = false;
    snprintf(path, sizeof path, "/tmp/quire-recording-XXXXXX");
    int fd = mkstemp(path);
    return fd >= 0 && close(fd) == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    return unlink(path);
}

/* What a field list leaves out, in bytes: rates, pointers, and gaps that the compiler made. */
static void no_field_is_forgotten(void **state)
{
    const size_t left_out[] = {0,
                               3 * sizeof(double) + sizeof(char *) + 6 + 4,
                               0,
                               0,
                               sizeof((struct quire_observe_zone *)0)->free_blocks_of +
                                   sizeof((struct quire_observe_zone *)0)->page_blocks_of +
                                   4, /* by mobility */
                               0,
                               7 + 4};
    size_t n_system = 0;

    for (unsigned table = 0; table < RECORD_N_TABLES; table++) {
        const struct record_fields *fields = record_fields((enum record_table)table);
        size_t n = 0;
        for (unsigned i = 0; i < fields->n; i++) {
            n += fields->fields[i].n_bytes;
            n_system += table == RECORD_SYSTEM && strchr(fields->fields[i].name, '.') != NULL &&
                                strncmp(fields->fields[i].name, "processes.", 10) != 0 &&
                                strncmp(fields->fields[i].name, "zones.", 6) != 0
                            ? fields->fields[i].n_bytes
                            : 0;
        }
        if (table != RECORD_SYSTEM && n + left_out[table] != fields->row_bytes)
            fail_msg("a member of the struct of `%s' is not in record_fields.c: %zu of %zu bytes",
                     fields->name, n + left_out[table], fields->row_bytes);
    }
    assert_int_equal(
        n_system, sizeof(struct quire_observe_memory) + sizeof(struct quire_observe_counters) +
                      sizeof(struct quire_observe_pressure) + sizeof(struct quire_observe_zram) +
                      sizeof(struct quire_observe_settings) + sizeof(struct quire_observe_cgroup));
    struct record_head head = {.max_bytes = RECORD_MIN_BYTES, .frame_bytes = 4096};
    char bytes[RECORD_HEAD_BYTES];
    record_head_make(&head, bytes);
    assert_true(head.schema_bytes < RECORD_HEAD_BYTES - RECORD_SCHEMA_AT);
    assert_int_equal(record_checksum(0, "123456789", 9), 0xcbf43926); /* the CRC-32 of all books */
}

static void back_and_forth(void **state)
{
    const size_t n = 300; /* more than two frames */
    struct made *all = make_many(n);
    const struct sample *sample;

    record(all, 0, n, 0);
    struct feed *feed = replay();
    assert_true(feed->is_recorded);
    assert_int_equal(feed->n_samples, n);
    assert_int_equal(feed->first_ms, FIRST_MS);
    assert_int_equal(feed->last_ms, FIRST_MS + (n - 1) * 1000);
    assert_int_equal(feed->interval_ms, 1000);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(feed_move(feed, 1, &sample), 0);
        assert_int_equal(feed->index, i);
        compare(&all[i + 1], sample);
        assert_int_equal(sample->is_since_boot, i == 0);
        if (i > 0)
            assert_true(sample->rates.major_faults > 99.9 && sample->rates.major_faults < 100.1);
    }
    assert_int_equal(feed_move(feed, 1, &sample), 0); /* the end */
    assert_int_equal(feed->index, n - 1);
    for (int i = 0; i < 200; i++) {
        int64_t step = (int64_t)(next_random() % 400) - 200, index = (int64_t)feed->index + step;
        index = index < 0 ? 0 : index >= (int64_t)n ? (int64_t)n - 1 : index;
        assert_int_equal(feed_move(feed, step, &sample), 0);
        assert_int_equal(feed->index, index);
        compare(&all[index + 1], sample);
    }
    assert_int_equal(feed_move(feed, INT64_MIN, &sample), 0);
    assert_int_equal(feed->index, 0);
    assert_int_equal(feed_move(feed, INT64_MAX, &sample), 0);
    assert_int_equal(feed->index, n - 1);
    for (int i = 0; i < 40; i++) {
        uint64_t at = next_random() % n;
        assert_int_equal(feed_seek(feed, FIRST_MS + at * 1000 + next_random() % 1000, &sample), 0);
        assert_int_equal(feed->index, at);
    }
    assert_int_equal(feed_seek(feed, 0, &sample), 0);
    assert_int_equal(feed->index, 0);
    feed_close(feed);
    free(all);
}

/* As the observer has them: by pid and start, since the sample before or since the start. */
static void rates_of_processes(void **state)
{
    struct made *all = make_many(2);
    const struct sample *sample;

    make_process(&all[1], 0, 1);
    make_process(&all[2], 0, 1);
    all[2].processes[0].major_faults = 30;
    make_process(&all[1], 1, 2);
    make_process(&all[2], 1, 2);
    all[2].processes[1].start_ms += 4000; /* another process of that number */
    all[2].processes[1].major_faults = 30;
    all[1].sample.processes.n = all[2].sample.processes.n = 2;
    link_up(&all[1]);
    link_up(&all[2]);
    record(all, 0, 2, 0);
    struct feed *feed = replay();
    assert_int_equal(feed_move(feed, 2, &sample), 0);
    assert_true(sample->processes.list[0].major_rate > 29.9 &&
                sample->processes.list[0].major_rate < 30.1);
    assert_true(sample->processes.list[1].major_rate < 0.1);
    feed_close(feed);
    free(all);
}

static void the_oldest_goes(void **state)
{
    const size_t n = MAX_SAMPLES;
    are_large = true;
    struct made *all = make_many(n);
    struct stat info;
    const struct sample *sample;

    /* in three goes: it goes on where it was */
    record(all, 0, 100, RECORD_MIN_BYTES);
    record(all, 100, 101, 0);
    record(all, 101, n, RECORD_MIN_BYTES);
    assert_int_equal(stat(path, &info), 0);
    assert_true((uint64_t)info.st_size <= RECORD_MIN_BYTES);
    struct feed *feed = replay();
    assert_true(feed->n_samples < n && feed->n_samples > n / 4);
    assert_int_equal(feed->last_ms, FIRST_MS + (n - 1) * 1000);
    for (size_t i = n - feed->n_samples; i < n; i++) { /* no gap */
        assert_int_equal(feed_move(feed, 1, &sample), 0);
        assert_int_equal(sample->wall_ms, FIRST_MS + i * 1000);
        compare(&all[i + 1], sample);
    }
    feed_close(feed);
    free(all);
}

/* Reads all there is; returns how many. */
static size_t check_all(const struct made *all, size_t n)
{
    char message[RECORDING_MESSAGE_BYTES] = "";
    const struct sample *sample;
    struct feed *feed;
    uint64_t last_ms = 0;
    size_t count = 0;
    int error = feed_open_recorded(path, &feed, message);

    if (error != 0) {
        assert_int_equal(error, -EBADMSG);
        assert_string_not_equal(message, "");
        return 0;
    }
    while (feed_move(feed, 1, &sample) == 0 && sample->wall_ms != last_ms) {
        last_ms = sample->wall_ms;
        compare(of_time(all, n, last_ms), sample);
        count++;
    }
    feed_close(feed);
    return count;
}

static void cut_anywhere(void **state)
{
    const size_t n = 140;
    struct made *all = make_many(n);
    struct stat info;
    size_t most = 0, n_steps = 0;

    record(all, 0, n, 0);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(check_all(all, n), n);
    size_t last = n;
    for (off_t cut = info.st_size - 1; cut > 0; cut -= 1 + (off_t)(next_random() % 9000)) {
        assert_int_equal(truncate(path, cut), 0);
        size_t now = check_all(all, n);
        assert_true(now <= last); /* the less there is, the fewer */
        most = now > most ? now : most;
        n_steps += now < last;
        last = now;
    }
    assert_int_equal(last, 0);
    assert_true(most >= n - 2 && n_steps > 5);
    free(all);
}

static void flipped_bits(void **state)
{
    const size_t n = 70;
    struct made *all = make_many(n);
    struct stat info;
    unsigned char byte;

    record(all, 0, n, 0);
    assert_int_equal(stat(path, &info), 0);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    for (int i = 0; i < 40; i++) {
        off_t at = RECORD_HEAD_BYTES +
                   (off_t)(next_random() % (uint64_t)(info.st_size - RECORD_HEAD_BYTES));
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        unsigned char changed = byte ^ (unsigned char)(1u << next_random() % 8);
        assert_int_equal(pwrite(fd, &changed, 1, at), 1);
        assert_true(check_all(all, n) <= n); /* what it gives is right */
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    }
    assert_int_equal(check_all(all, n), n);
    close(fd);
    free(all);
}

static void a_writer_that_is_killed(void **state)
{
    const size_t n = 400;
    struct made *all = make_many(n);
    int ready[2];
    char byte;

    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        struct recorder *recorder;
        if (recorder_open(path, RECORD_MIN_BYTES, 1000, &recorder) != 0)
            _exit(1);
        for (size_t i = 0; i < n; i++)
            if (recorder_append(recorder, &all[i + 1].sample) != 0 ||
                (i == 200 && write(ready[1], "x", 1) != 1))
                _exit(1);
        pause();
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    assert_true(check_all(all, n) > 20);
    close(ready[0]);
    close(ready[1]);
    free(all);
}

static void fields_of_another_version(void **state)
{
    struct made *all = make_many(2);
    const struct sample *sample;
    struct record_head head;
    char bytes[RECORD_HEAD_BYTES];

    record(all, 0, 2, 0);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(pread(fd, bytes, sizeof bytes, 0), sizeof bytes);
    char *name = strstr(bytes + RECORD_SCHEMA_AT, "memory.free ");
    assert_non_null(name);
    name[7] = 'x';
    memcpy(&head, bytes, sizeof head);
    head.checksum = record_checksum(0, bytes + 16, sizeof bytes - 16);
    memcpy(bytes, &head, sizeof head);
    assert_int_equal(pwrite(fd, bytes, sizeof bytes, 0), sizeof bytes);
    struct feed *feed = replay();
    assert_int_equal(feed_move(feed, 1, &sample), 0);
    assert_int_equal(sample->memory.free, QUIRE_OBSERVE_ABSENT);
    assert_int_equal(sample->memory.total, all[1].sample.memory.total);
    feed_close(feed);
    struct recorder *recorder;
    assert_int_equal(recorder_open(path, 0, 1000, &recorder), -EXDEV);
    head.version++;
    assert_int_equal(pwrite(fd, &head, sizeof head, 0), sizeof head);
    char message[RECORDING_MESSAGE_BYTES];
    assert_int_equal(feed_open_recorded(path, &feed, message), -EPROTO);
    assert_non_null(strstr(message, "another version (2; here it is 1)"));
    assert_int_equal(recorder_open(path, 0, 1000, &recorder), -EPROTO);
    close(fd);
    free(all);
}

static void refusals(void **state)
{
    struct made *all = make_many(1);
    struct recorder *recorder, *second;
    char message[RECORDING_MESSAGE_BYTES];
    struct feed *feed;

    assert_int_equal(recorder_open(path, RECORD_MIN_BYTES, 1000, &recorder), 0);
    assert_int_equal(recorder_open(path, 0, 1000, &second), -EBUSY);
    assert_null(second);
    recorder_close(recorder);
    assert_int_equal(feed_open_recorded(path, &feed, message), -EBADMSG); /* no sample yet */
    assert_null(feed);
    record(all, 0, 1, 0);
    assert_int_equal(recorder_open(path, RECORD_MIN_BYTES * 2, 1000, &recorder), -EINVAL);
    assert_int_equal(truncate(path, 0), 0);
    FILE *file = fopen(path, "w");
    fputs("something else\n", file);
    fclose(file);
    assert_int_equal(recorder_open(path, 0, 1000, &recorder), -EBADMSG);
    assert_int_equal(feed_open_recorded(path, &feed, message), -EBADMSG);
    assert_int_equal(feed_open_recorded("/nonexistent/x", &feed, message), -ENOENT);
    assert_int_equal(feed_open_recorded("/dev/null", &feed, message), -EBADMSG);
    assert_int_equal(recorder_open("/dev/null", 0, 1000, &recorder), -ESPIPE);
    free(all);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(no_field_is_forgotten),
        TEST(back_and_forth),
        TEST(rates_of_processes),
        TEST(the_oldest_goes),
        TEST(cut_anywhere),
        TEST(flipped_bits),
        TEST(a_writer_that_is_killed),
        TEST(fields_of_another_version),
        TEST(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
