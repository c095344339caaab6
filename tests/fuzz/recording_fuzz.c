/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a recording, as the first byte says: 0: what is behind a good head; 1: the whole
 * file; else two samples without zstd around them, the second given the first.
 * Checksums are zero in this build, so that the decoder gets to see what is wrong. Each sample that
 * is given has texts that end, flags that are flags, and rows where the lists say.
 */
#include "observe/record_code.h"
#include "observe/record_file.h"
#include "observe/recording.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

/* Of sample.c, which can take samples, too; here it is about this alone. */
void sample_rates(const struct sample *before, struct sample *sample)
{
    quire_observe_rates(before != NULL ? &before->counters : NULL, &sample->counters,
                        before != NULL ? &before->pressure : NULL, &sample->pressure,
                        &sample->rates);
    sample->is_since_boot = before == NULL;
}

static void check(const struct sample *sample)
{
    if ((int)sample->has_processes > 1 || (int)sample->has_zram > 1)
        abort();
    for (size_t i = 0; i < sample->processes.n; i++) {
        const struct quire_observe_process *process = &sample->processes.list[i];
        if (strnlen(process->name, sizeof process->name) == sizeof process->name ||
            (int)process->is_kernel_thread > 1 ||
            (process->command != NULL && strpbrk(process->command, "\033\n") != NULL))
            abort();
    }
    for (size_t i = 0; i < sample->runs.n; i++)
        if (memchr(sample->runs.list[i].command, '\0', sizeof sample->runs.list[i].command) ==
                NULL ||
            sample->runs.list[i].n_alive > sample->runs.n_processes)
            abort();
    if (sample->zones.n_orders > QUIRE_OBSERVE_MAX_ORDERS)
        abort();
    for (unsigned i = 0; i < sample->zones.n_zones; i++)
        if (memchr(sample->zones.zones[i].name, '\0', 16) == NULL)
            abort();
    for (size_t i = 0; i < sample->slabs.n_caches; i++)
        if (memchr(sample->slabs.caches[i].name, '\0', 64) == NULL)
            abort();
    for (size_t i = 0; i < sample->heaps.n; i++)
        if (sample->heaps.list[i].slabs.n_classes > QUIRE_SLABS_MAX_CLASSES)
            abort();
}

static void walk(struct feed *feed)
{
    static const int steps[] = {1, 1, 1, -1, 2, -3, 100, -1, -100, 1};
    const struct sample *sample;

    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        if (feed_move(feed, steps[i], &sample) != 0)
            return;
        if (feed->index >= feed->n_samples)
            abort();
        check(sample);
    }
    if (feed_seek(feed, feed->first_ms + 1, &sample) == 0)
        check(sample);
}

/* The first sample's length, two bytes; it; the second one. */
static void decode(const uint8_t *data, size_t n_bytes)
{
    unsigned n_words[RECORD_N_TABLES];
    struct record_flat flats[3];
    size_t n_first = n_bytes >= 2 ? data[0] + (size_t)data[1] * 256 : n_bytes;

    if (n_bytes < 2 || n_first > n_bytes - 2)
        return;
    for (unsigned i = 0; i < RECORD_N_TABLES; i++)
        n_words[i] = record_fields((enum record_table)i)->n_words;
    for (unsigned i = 0; i < 3; i++)
        record_flat_init(&flats[i], n_words);
    if (record_decode(&flats[0], data + 2, n_first, &flats[1]) == 0)
        (void)record_decode(&flats[1], data + 2 + n_first, n_bytes - 2 - n_first, &flats[2]);
    for (unsigned i = 0; i < 3; i++)
        record_flat_deinit(&flats[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    struct record_head head = {
        .max_bytes = RECORD_MIN_BYTES, .frame_bytes = 128 << 10, .interval_ms = 1000};
    static char bytes[RECORD_HEAD_BYTES];
    char message[RECORDING_MESSAGE_BYTES] = "", path[40];
    struct feed *feed;

    if (n_bytes == 0)
        return 0;
    if (data[0] > 1) {
        decode(data + 1, n_bytes - 1);
        return 0;
    }
    int fd = memfd_create("recording", MFD_CLOEXEC);
    if (fd < 0)
        return 0;
    record_head_make(&head, bytes);
    if ((data[0] == 0 && write(fd, bytes, sizeof bytes) != (ssize_t)sizeof bytes) ||
        write(fd, data + 1, n_bytes - 1) < 0)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int error = feed_open_recorded(path, &feed, message);
    if (error == 0) {
        walk(feed);
        feed_close(feed);
    } else if (message[0] == '\0' || feed != NULL) {
        abort();
    }
    close(fd);
    return 0;
}
