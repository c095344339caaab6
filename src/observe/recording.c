/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recording: see recording.h.
 *
 *   index: frames, the oldest first ── start[f]: samples before frame f
 *   decoder: one frame, up to one of its samples ── two sets of rows, in turn
 *   record_sample: the structs of each set
 *
 * To get at sample i, sample i - 1 is needed for the rates: the decoder goes on from where it is,
 * or begins with the frame of i - 1. A frame has at most some hundred samples, so a step back takes
 * milliseconds.
 *
 * Nothing in the file is trusted: headers and samples have checksums, and what passes is bounded
 * and cleaned (record_code, record_sample). A sample that does not decode ends its frame there; the
 * index is put right and the feed goes on with the next frame.
 */
#include "observe/recording.h"

#include "base/sys.h"
#include "observe/record_code.h"
#include "observe/record_file.h"
#include "observe/record_sample.h"
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
    struct record_sample samples[2];
    unsigned current; /* flat of the last sample decoded, and the current one's structs */
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

/* The structs of the current rows. */
static int take_current(struct recorded *recorded, const struct sample *before)
{
    return record_sample_take(&recorded->samples[recorded->current],
                              &recorded->flats[recorded->current], recorded->maps, before);
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
            error = take_current(recorded, NULL);
    }
    if (error < 0)
        return error;
    const struct sample *before = index > 0 ? &recorded->samples[recorded->current].sample : NULL;
    /* one sample further, so into the other rows: the one before stays whole */
    error = decode_to(recorded, index);
    if (error == 0)
        error = take_current(recorded, before);
    if (error == 0) {
        recorded->feed.index = index;
        recorded->feed.parts = recorded->samples[recorded->current].sample.parts;
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
        *sample = &recorded->samples[recorded->current].sample;
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
        record_sample_deinit(&recorded->samples[i]);
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
    record_clean(recorded->head.host, sizeof recorded->head.host);
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
