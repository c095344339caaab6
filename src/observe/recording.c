/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recording: see recording.h.
 *
 *   index: frames, the oldest first ── start[f]: samples before frame f
 *   decoder: one frame, up to one of its samples ── two sets of rows, in turn
 *
 * To get at sample i, sample i - 1 is needed for the rates: the decoder goes on from where it is,
 * or begins with the frame of i - 1. A frame has at most some hundred samples, so a step back takes
 * milliseconds.
 *
 * Nothing in the file is trusted: headers and samples have checksums, and what passes is bounded,
 * texts are ended and rid of what a terminal would act on, flags are 0 or 1. A sample that does not
 * decode ends its frame there; the index is put right and the feed goes on with the next frame.
 */
#include "observe/recording.h"

#include "base/sys.h"
#include "observe/record_code.h"
#include "observe/record_file.h"
#include "observe/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zstd.h>

#define NONE SIZE_MAX
#define WINDOW_LOG_MAX 20 /* of a frame that asks for more memory: 1 MiB */

struct slot { /* one sample as structs, over the rows of the same number */
    struct sample sample;
    struct quire_observe_process *processes;
    struct quire_observe_run *runs;
    struct quire_observe_run_process *run_processes;
    struct quire_observe_zone *zones;
    struct quire_observe_slab *slabs;
    struct sample_heap *heaps;
    size_t processes_room, runs_room, run_processes_room, zones_room, slabs_room, heaps_room;
};

struct recorded {
    struct feed feed;
    int fd;
    struct record_head head;
    struct record_map maps[RECORD_N_TABLES];
    struct record_frame *frames;
    uint64_t *start; /* by frame, and one more: all samples */
    size_t n_frames;
    /* the decoder */
    ZSTD_DCtx *context;
    size_t frame; /* that is decoded, NONE: none */
    uint32_t n_decoded;
    unsigned char *packed, *plain;
    size_t n_packed, at_packed, packed_room, plain_room;
    struct record_flat flats[2];
    struct slot slots[2];
    unsigned current; /* flat of the last sample decoded, and slot of the current one */
    bool has_current;
    char message[RECORDING_MESSAGE_BYTES];
};

/* ---- index ---- */

static void count_samples(struct recorded *recorded)
{
    uint64_t n = 0;

    for (size_t i = 0; i < recorded->n_frames; i++) {
        recorded->start[i] = n;
        n += recorded->frames[i].header.n_samples;
    }
    recorded->start[recorded->n_frames] = n;
    recorded->feed.n_samples = n;
    if (n == 0)
        return;
    recorded->feed.first_ms = recorded->frames[0].header.first_ms;
    recorded->feed.last_ms = recorded->frames[recorded->n_frames - 1].header.last_ms;
}

/* The frame turned out to have n samples; without any it goes. */
static void shorten(struct recorded *recorded, size_t frame, uint32_t n)
{
    recorded->frames[frame].header.n_samples = n;
    if (n == 0) {
        memmove(&recorded->frames[frame], &recorded->frames[frame + 1],
                (recorded->n_frames - frame - 1) * sizeof recorded->frames[0]);
        recorded->n_frames--;
    }
    recorded->frame = NONE;
    count_samples(recorded);
}

static size_t frame_of(const struct recorded *recorded, uint64_t index)
{
    size_t low = 0, high = recorded->n_frames;

    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (recorded->start[middle] <= index)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* ---- decoding ---- */

static int begin_frame(struct recorded *recorded, size_t frame)
{
    const struct record_frame *one = &recorded->frames[frame];

    recorded->frame = NONE;
    if (!source_grow(&recorded->packed, &recorded->packed_room, one->header.n_bytes + 1u, 1))
        return -ENOMEM;
    recorded->n_packed = recorded->at_packed = 0;
    while (recorded->n_packed < one->header.n_bytes) {
        ssize_t n = sys_pread(recorded->fd, recorded->packed + recorded->n_packed,
                              one->header.n_bytes - recorded->n_packed,
                              (off_t)(one->offset + sizeof one->header + recorded->n_packed));
        if (n == -EINTR)
            continue;
        if (n < 0)
            return (int)n;
        if (n == 0) /* the file was cut here: as many samples as there are */
            break;
        recorded->n_packed += (size_t)n;
    }
    ZSTD_DCtx_reset(recorded->context, ZSTD_reset_session_only);
    recorded->frame = frame;
    recorded->n_decoded = 0;
    return 0;
}

/* The next n bytes of the stream. */
static int inflate(struct recorded *recorded, void *to, size_t n)
{
    ZSTD_inBuffer in = {recorded->packed, recorded->n_packed, recorded->at_packed};
    ZSTD_outBuffer out = {to, n, 0};

    while (out.pos < n) {
        size_t in_before = in.pos, out_before = out.pos;
        size_t left = ZSTD_decompressStream(recorded->context, &out, &in);
        if (ZSTD_isError(left) || (in.pos == in_before && out.pos == out_before))
            return -EBADMSG;
    }
    recorded->at_packed = in.pos;
    return 0;
}

/* The next sample of the frame, into the other rows. */
static int decode_next(struct recorded *recorded)
{
    const struct record_frame_header *frame = &recorded->frames[recorded->frame].header;
    struct record_flat *before = &recorded->flats[recorded->current];
    struct record_sample_header header = {0};
    int error = inflate(recorded, &header, sizeof header);

    if (error < 0)
        return error;
    if (header.n_bytes == 0 || header.n_bytes > RECORD_MAX_SAMPLE_BYTES)
        return -EBADMSG;
    if (!source_grow(&recorded->plain, &recorded->plain_room, header.n_bytes, 1))
        return -ENOMEM;
    error = inflate(recorded, recorded->plain, header.n_bytes);
    if (error < 0)
        return error;
    if (record_checksum((uint32_t)frame->sequence, recorded->plain, header.n_bytes) !=
        header.checksum)
        return -EBADMSG;
    if (recorded->n_decoded > 0)
        error = record_decode(before, recorded->plain, header.n_bytes,
                              &recorded->flats[recorded->current ^ 1u]);
    else { /* from nothing; the rows before may be those that the current sample's texts are in */
        static const struct record_flat nothing;
        error = record_decode(&nothing, recorded->plain, header.n_bytes,
                              &recorded->flats[recorded->current ^ 1u]);
    }
    if (error < 0)
        return error;
    recorded->current ^= 1u;
    recorded->n_decoded++;
    return 0;
}

/* ---- from rows to structs ---- */

/* What the file does not have is absent; the other members are zero. */
static void unpack(const struct recorded *recorded, enum record_table table, size_t i, void *row)
{
    const struct record_fields *fields = record_fields(table);
    const struct record_map *map = &recorded->maps[table];
    const struct record_rows *rows = &recorded->flats[recorded->current].tables[table];
    const uint64_t *words = rows->words + i * rows->n_words;

    memset(row, 0, fields->row_bytes);
    for (unsigned k = 0; k < fields->n; k++)
        if (fields->fields[k].n_bytes == 8 ||
            (table == RECORD_SYSTEM && fields->fields[k].n_bytes > 8)) /* pressure */
            memset((char *)row + fields->fields[k].offset, 0xff, fields->fields[k].n_bytes);
    for (unsigned k = 0; k < map->n; k++)
        record_unpack_field(map->known[k].field, words + map->known[k].at, row);
}

/* Ended, and nothing in it that a terminal would act on. */
static void clean(char *text, size_t n_bytes)
{
    text[n_bytes - 1] = '\0';
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            *text = '?';
}

static bool take_processes(struct recorded *recorded, struct slot *slot)
{
    struct record_rows *rows = &recorded->flats[recorded->current].tables[RECORD_PROCESS];

    if (!source_grow(&slot->processes, &slot->processes_room, rows->n, sizeof *slot->processes))
        return false;
    for (size_t i = 0; i < rows->n; i++) {
        struct quire_observe_process *process = &slot->processes[i];
        unpack(recorded, RECORD_PROCESS, i, process);
        clean(process->name, sizeof process->name);
        process->state = process->state >= 'A' && process->state <= 'z' ? process->state : '?';
        if (rows->texts[i] != NULL)
            clean(rows->texts[i], strlen(rows->texts[i]) + 1);
        process->command = rows->texts[i];
    }
    slot->sample.processes.n = rows->n;
    slot->sample.processes.list = slot->processes;
    return true;
}

static bool take_runs(struct recorded *recorded, struct slot *slot)
{
    const struct record_flat *flat = &recorded->flats[recorded->current];
    size_t n = flat->tables[RECORD_RUN].n, n_processes = flat->tables[RECORD_RUN_PROCESS].n;

    if (!source_grow(&slot->runs, &slot->runs_room, n, sizeof *slot->runs) ||
        !source_grow(&slot->run_processes, &slot->run_processes_room, n_processes,
                     sizeof *slot->run_processes))
        return false;
    for (size_t i = 0; i < n_processes; i++)
        unpack(recorded, RECORD_RUN_PROCESS, i, &slot->run_processes[i]);
    for (size_t i = 0; i < n; i++) {
        struct quire_observe_run *run = &slot->runs[i];
        unpack(recorded, RECORD_RUN, i, run);
        clean(run->command, sizeof run->command);
        clean(run->policy, sizeof run->policy);
        clean(run->prefetch, sizeof run->prefetch);
        clean(run->codec, sizeof run->codec);
        run->n_alive = 0; /* as many as there are */
        for (size_t k = 0; k < n_processes; k++)
            run->n_alive += slot->run_processes[k].keeper == run->keeper;
    }
    slot->sample.runs = (struct quire_observe_runs){
        .n = n, .n_processes = n_processes, .list = slot->runs, .processes = slot->run_processes};
    return true;
}

/* Names are cleaned and counts bounded; a figure may be any. */
static bool take_kernel(struct recorded *recorded, struct slot *slot)
{
    const struct record_flat *flat = &recorded->flats[recorded->current];
    size_t n_zones = flat->tables[RECORD_ZONE].n, n_slabs = flat->tables[RECORD_SLAB].n;
    struct quire_observe_zones *zones = &slot->sample.zones;

    if (!source_grow(&slot->zones, &slot->zones_room, n_zones, sizeof *slot->zones) ||
        !source_grow(&slot->slabs, &slot->slabs_room, n_slabs, sizeof *slot->slabs))
        return false;
    for (size_t i = 0; i < n_zones; i++) {
        struct quire_observe_zone *zone = &slot->zones[i];
        unpack(recorded, RECORD_ZONE, i, zone);
        clean(zone->name, sizeof zone->name);
        memset(zone->page_blocks_of, 0xff, sizeof zone->page_blocks_of); /* absent */
    }
    for (size_t i = 0; i < n_slabs; i++) {
        unpack(recorded, RECORD_SLAB, i, &slot->slabs[i]);
        clean(slot->slabs[i].name, sizeof slot->slabs[i].name);
    }
    zones->n_zones = (unsigned)n_zones;
    zones->zones = slot->zones;
    zones->n_types = 0;
    if (zones->n_orders > QUIRE_OBSERVE_MAX_ORDERS)
        zones->n_orders = QUIRE_OBSERVE_MAX_ORDERS;
    slot->sample.slabs = (struct quire_observe_slabs){.n_caches = n_slabs, .caches = slot->slabs};
    return true;
}

static bool take_heaps(struct recorded *recorded, struct slot *slot)
{
    size_t n = recorded->flats[recorded->current].tables[RECORD_HEAP].n;

    if (!source_grow(&slot->heaps, &slot->heaps_room, n, sizeof *slot->heaps))
        return false;
    for (size_t i = 0; i < n; i++) {
        struct quire_slabs *slabs = &slot->heaps[i].slabs;
        unpack(recorded, RECORD_HEAP, i, &slot->heaps[i]);
        if (slabs->n_classes > QUIRE_SLABS_MAX_CLASSES)
            slabs->n_classes = QUIRE_SLABS_MAX_CLASSES;
    }
    slot->sample.heaps = (struct sample_heaps){.n = n, .list = slot->heaps};
    return true;
}

static double rate(uint64_t now, uint64_t before, double seconds)
{
    if (!quire_observe_known(now) || !quire_observe_known(before) || !(seconds > 0) || now < before)
        return 0;
    return (double)(now - before) / seconds;
}

/* As the observer does it live: since the sample before, or since the process's start. */
static void settle_process(const struct sample *before, const struct sample *now,
                           struct quire_observe_process *process, size_t *at)
{
    const struct quire_observe_process *then = NULL;
    double seconds = ((double)now->counters.uptime_ms - (double)process->start_ms) / 1e3;

    if (before != NULL) {
        while (*at < before->processes.n && before->processes.list[*at].pid < process->pid)
            ++*at;
        if (*at < before->processes.n && before->processes.list[*at].pid == process->pid &&
            before->processes.list[*at].start_ms == process->start_ms) {
            then = &before->processes.list[*at];
            seconds = ((double)now->processes.at_ns - (double)before->processes.at_ns) / 1e9;
        }
    }
    process->minor_rate = rate(process->minor_faults, then != NULL ? then->minor_faults : 0,
                               seconds);
    process->major_rate = rate(process->major_faults, then != NULL ? then->major_faults : 0,
                               seconds);
    process->cpu_percent = rate(process->cpu_ms, then != NULL ? then->cpu_ms : 0, seconds) / 10;
}

/* Texts that the file does not have are empty, and its figures absent. */
static void take_settings(struct sample *sample)
{
    struct quire_observe_settings *settings = &sample->settings;

    if (!(sample->parts & SAMPLE_SETTINGS))
        settings->zswap_compressor[0] = settings->huge_enabled[0] = settings->huge_defrag[0] =
            sample->cgroup.path[0] = '\0';
    clean(settings->zswap_compressor, sizeof settings->zswap_compressor);
    clean(settings->huge_enabled, sizeof settings->huge_enabled);
    clean(settings->huge_defrag, sizeof settings->huge_defrag);
    clean(sample->cgroup.path, sizeof sample->cgroup.path);
}

/* The sample of the current rows, with what follows from the one before. */
static int materialize(struct recorded *recorded, const struct sample *before)
{
    struct slot *slot = &recorded->slots[recorded->current];
    size_t at = 0;

    unpack(recorded, RECORD_SYSTEM, 0, &slot->sample);
    take_settings(&slot->sample);
    if (!take_processes(recorded, slot) || !take_runs(recorded, slot) ||
        !take_kernel(recorded, slot) || !take_heaps(recorded, slot))
        return -ENOMEM;
    sample_rates(before, &slot->sample);
    for (size_t i = 0; i < slot->sample.processes.n; i++)
        settle_process(before, &slot->sample, &slot->processes[i], &at);
    return 0;
}

/* ---- the feed ---- */

/* Decodes up to sample `index`, which lies in the frame that is decoded or in one to begin. */
static int decode_to(struct recorded *recorded, uint64_t index)
{
    size_t frame = frame_of(recorded, index);
    uint32_t wanted = (uint32_t)(index - recorded->start[frame]) + 1;
    int error = 0;

    if (recorded->frame != frame || recorded->n_decoded >= wanted)
        error = begin_frame(recorded, frame);
    while (error == 0 && recorded->n_decoded < wanted)
        error = decode_next(recorded);
    if (error == -EBADMSG)
        shorten(recorded, frame, recorded->n_decoded);
    return error;
}

static int go_to(struct recorded *recorded, uint64_t index)
{
    bool follows = recorded->has_current && index == recorded->feed.index + 1 &&
                   recorded->frame != NONE;
    int error = 0;

    recorded->has_current = false;
    if (index > 0 && !follows) {
        error = decode_to(recorded, index - 1);
        if (error == 0)
            error = materialize(recorded, NULL);
    }
    if (error < 0)
        return error;
    const struct sample *before = index > 0 ? &recorded->slots[recorded->current].sample : NULL;
    /* one sample further, so into the other rows: the one before stays whole */
    error = decode_to(recorded, index);
    if (error == 0)
        error = materialize(recorded, before);
    if (error == 0) {
        recorded->feed.index = index;
        recorded->feed.parts = recorded->slots[recorded->current].sample.parts;
        recorded->has_current = true;
    }
    return error;
}

/* To the index, or to the end that it lies behind. What can't be read is left out meanwhile. */
static int show(struct recorded *recorded, int64_t index, const struct sample **sample)
{
    int error = -EBADMSG;

    while (error == -EBADMSG && recorded->feed.n_samples > 0) {
        int64_t last = (int64_t)recorded->feed.n_samples - 1;
        index = index < 0 ? 0 : index > last ? last : index;
        if (recorded->has_current && (uint64_t)index == recorded->feed.index)
            error = 0;
        else
            error = go_to(recorded, (uint64_t)index);
    }
    if (error == 0)
        *sample = &recorded->slots[recorded->current].sample;
    else
        snprintf(recorded->message, sizeof recorded->message, "cannot read the recording: %s",
                 error == -EBADMSG ? "nothing in it is whole" : strerror(-error));
    return error;
}

static int move(struct feed *feed, int64_t n, const struct sample **sample)
{
    struct recorded *recorded = (struct recorded *)feed;
    int64_t from = recorded->has_current ? (int64_t)feed->index : -1, index;

    if (__builtin_add_overflow(from, n, &index))
        index = n < 0 ? 0 : INT64_MAX;
    return show(recorded, index, sample);
}

static int seek(struct feed *feed, uint64_t wall_ms, const struct sample **sample)
{
    struct recorded *recorded = (struct recorded *)feed;
    size_t frame = 0;

    for (size_t i = 0; i < recorded->n_frames; i++)
        if (recorded->frames[i].header.first_ms <= wall_ms)
            frame = i;
    int error = show(recorded, (int64_t)recorded->start[frame], sample);
    while (error == 0 && feed->index + 1 < recorded->feed.n_samples) {
        error = show(recorded, (int64_t)feed->index + 1, sample);
        if (error == 0 && (*sample)->wall_ms > wall_ms) {
            uint64_t index = feed->index;
            return index > 0 ? show(recorded, (int64_t)index - 1, sample) : 0;
        }
    }
    return error;
}

static const char *message_of(struct feed *feed)
{
    return ((struct recorded *)feed)->message;
}

static void close_recorded(struct feed *feed)
{
    struct recorded *recorded = (struct recorded *)feed;

    if (recorded->fd >= 0)
        sys_close(recorded->fd);
    ZSTD_freeDCtx(recorded->context);
    for (unsigned i = 0; i < 2; i++) {
        record_flat_deinit(&recorded->flats[i]);
        free(recorded->slots[i].processes);
        free(recorded->slots[i].runs);
        free(recorded->slots[i].run_processes);
        free(recorded->slots[i].zones);
        free(recorded->slots[i].slabs);
        free(recorded->slots[i].heaps);
    }
    free(recorded->frames);
    free(recorded->start);
    free(recorded->packed);
    free(recorded->plain);
    free(recorded);
}

static int fail(char *message, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int fail(char *message, int error, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(message, RECORDING_MESSAGE_BYTES, format, arguments);
    va_end(arguments);
    return error;
}

static int open_file(struct recorded *recorded, const char *path, char *message)
{
    struct stat info;

    /* a pipe without a writer would not be opened */
    recorded->fd = sys_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0);
    if (recorded->fd < 0)
        return fail(message, recorded->fd, "cannot open %.150s: %s", path, strerror(-recorded->fd));
    if (fstat(recorded->fd, &info) != 0 || !S_ISREG(info.st_mode))
        return fail(message, -EBADMSG, "%.150s is no file that `quire log' wrote", path);
    int error = record_head_read(recorded->fd, &recorded->head, recorded->maps);
    if (error == -EPROTO)
        return fail(message, error, "%.150s is a recording of another version (%u; here it is %u)",
                    path, recorded->head.version, RECORD_VERSION);
    if (error == -EBADMSG)
        return fail(message, error,
                    "%.150s is no file that `quire log' wrote, or its start is "
                    "damaged",
                    path);
    if (error == 0)
        error = record_scan(recorded->fd, &recorded->head, &recorded->frames, &recorded->n_frames);
    if (error == 0 && recorded->n_frames == 0)
        return fail(message, -EBADMSG, "there is no sample in %.150s", path);
    return error < 0 ? fail(message, error, "cannot read %.150s: %s", path, strerror(-error)) : 0;
}

static int set_up(struct recorded *recorded)
{
    unsigned n_words[RECORD_N_TABLES];

    for (unsigned i = 0; i < RECORD_N_TABLES; i++)
        n_words[i] = recorded->maps[i].n_words;
    record_flat_init(&recorded->flats[0], n_words);
    record_flat_init(&recorded->flats[1], n_words);
    recorded->start = calloc(recorded->n_frames + 1, sizeof *recorded->start);
    recorded->context = ZSTD_createDCtx();
    if (recorded->start == NULL || recorded->context == NULL ||
        ZSTD_isError(
            ZSTD_DCtx_setParameter(recorded->context, ZSTD_d_windowLogMax, WINDOW_LOG_MAX)))
        return -ENOMEM;
    recorded->frame = NONE;
    recorded->feed.interval_ms = recorded->head.interval_ms;
    recorded->feed.host = recorded->head.host;
    clean(recorded->head.host, sizeof recorded->head.host);
    count_samples(recorded);
    return 0;
}

/* A file that was cut ends within a frame: its header counts samples that are not there. */
static int count_what_is_there(struct recorded *recorded)
{
    struct stat info;
    int error = fstat(recorded->fd, &info) != 0 ? -errno : 0;

    for (size_t i = recorded->n_frames; error == 0 && i-- > 0;) {
        const struct record_frame *one = &recorded->frames[i];
        if (one->offset + sizeof one->header + one->header.n_bytes <= (uint64_t)info.st_size)
            continue;
        error = begin_frame(recorded, i);
        while (error == 0 && recorded->n_decoded < one->header.n_samples)
            error = decode_next(recorded);
        if (error == -EBADMSG) {
            shorten(recorded, i, recorded->n_decoded);
            error = 0;
        }
    }
    return error;
}

int feed_open_recorded(const char *path, struct feed **feed, char *message)
{
    static const struct feed_class class = {move, seek, message_of, close_recorded};
    struct recorded *recorded = calloc(1, sizeof *recorded);
    const struct sample *first;

    *feed = NULL;
    if (recorded == NULL)
        return fail(message, -ENOMEM, "out of memory");
    recorded->feed = (struct feed){.class = &class, .is_recorded = true, .host = ""};
    recorded->fd = -1;
    int error = open_file(recorded, path, message);
    if (error == 0 && (error = set_up(recorded)) < 0)
        fail(message, error, "out of memory");
    if (error == 0 && (error = count_what_is_there(recorded)) < 0)
        fail(message, error, "cannot read %.150s: %s", path, strerror(-error));
    if (error == 0 && (error = show(recorded, 0, &first)) < 0)
        fail(message, error, "%.150s: %.90s", path, recorded->message);
    if (error < 0) {
        close_recorded(&recorded->feed);
        return error;
    }
    recorded->has_current = false; /* the first move gives the first sample */
    *feed = &recorded->feed;
    return 0;
}
