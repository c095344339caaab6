/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recorder: see recorder.h.
 *
 *   sample -> rows -> differences to the sample before -> zstd, flushed -> file
 *                     (the first of a frame: to nothing)
 *
 * A sample is in the file when recorder_append() returns: its bytes are written first, then the
 * frame's header, which counts them. Whoever is killed between the two loses that sample alone. A
 * frame ends after MAX_SAMPLES, or where the next sample might not fit; it never crosses max_bytes.
 *
 * Invariants
 *   R1  what the header counts is in the file
 *   R2  frame.offset + frame_bytes <= max_bytes
 *   R3  sequences rise by one from frame to frame, also over restarts
 *   R4  an old frame's header is overwritten before anything else of it
 */
#include "observe/recorder.h"

#include "base/sys.h"
#include "observe/record_code.h"
#include "observe/record_file.h"
#include "observe/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <zstd.h>

#define DEFAULT_BYTES ((uint64_t)64 << 20)
#define MAX_SAMPLES 128u /* of a frame: to go back one sample reads as many */
#define LEVEL 3
#define WINDOW_LOG 18 /* 256 KiB: more is of no use, and the reader needs as much */

struct recorder {
    int fd;
    struct record_head head;
    struct record_frame frame; /* that is written; n_samples 0: it has not begun */
    ZSTD_CCtx *context;
    struct record_flat flats[2];
    unsigned current; /* the flat of the last sample */
    struct record_bytes plain;
    unsigned char *packed; /* room for a header before what is compressed */
    size_t packed_room, n_packed;
    uint64_t n_samples, n_bytes;
};

static int write_at(int fd, const void *data, size_t n, uint64_t offset)
{
    for (size_t done = 0; done < n;) {
        ssize_t put = sys_pwrite(fd, (const char *)data + done, n - done, (off_t)(offset + done));
        if (put == -EINTR)
            continue;
        if (put <= 0)
            return put < 0 ? (int)put : -EIO;
        done += (size_t)put;
    }
    return 0;
}

/* An eighth of the file, so that dropping the oldest frame loses little of the past. */
static int make_file(struct recorder *recorder, uint64_t max_bytes, uint64_t interval_ms)
{
    char *bytes = malloc(RECORD_HEAD_BYTES);
    struct utsname name;
    uint64_t frame_bytes = max_bytes / 8 / RECORD_STEP * RECORD_STEP;

    if (bytes == NULL)
        return -ENOMEM;
    recorder->head = (struct record_head){
        .max_bytes = max_bytes,
        .interval_ms = interval_ms,
        .start_ms = sample_wall_ms(),
        .frame_bytes = frame_bytes < RECORD_MAX_FRAME ? (uint32_t)frame_bytes : RECORD_MAX_FRAME};
    if (uname(&name) == 0)
        snprintf(recorder->head.host, sizeof recorder->head.host, "%.60s, %.20s %.40s",
                 name.nodename, name.sysname, name.release);
    record_head_make(&recorder->head, bytes);
    int error = write_at(recorder->fd, bytes, RECORD_HEAD_BYTES, 0);
    free(bytes);
    recorder->frame.offset = RECORD_HEAD_BYTES;
    recorder->frame.header.sequence = 1;
    return error;
}

/* Whether the file has exactly the fields of this version. */
static bool has_our_fields(const struct record_head *head,
                           const struct record_map maps[RECORD_N_TABLES])
{
    unsigned n = 0, n_known = 0;

    for (unsigned i = 0; i < RECORD_N_TABLES; i++) {
        const struct record_fields *fields = record_fields((enum record_table)i);
        n += fields->n;
        n_known += maps[i].n;
        if (maps[i].n_words != fields->n_words)
            return false;
        for (unsigned k = 0; k < maps[i].n; k++)
            if (maps[i].known[k].field != &fields->fields[k])
                return false;
    }
    return n == n_known && head->schema_bytes > 0;
}

/* Where the frame after this one begins. */
static uint64_t behind(const struct record_head *head, const struct record_frame *frame)
{
    uint64_t end = (frame->offset + sizeof frame->header + frame->header.n_bytes + RECORD_STEP -
                    1) /
                   RECORD_STEP * RECORD_STEP;

    return end + head->frame_bytes > head->max_bytes ? RECORD_HEAD_BYTES : end; /* R2 */
}

static int go_on(struct recorder *recorder, uint64_t max_bytes)
{
    struct record_map *maps = calloc(RECORD_N_TABLES, sizeof *maps);
    struct record_frame *frames = NULL;
    size_t n = 0;

    if (maps == NULL)
        return -ENOMEM;
    int error = record_head_read(recorder->fd, &recorder->head, maps);
    if (error == 0 && !has_our_fields(&recorder->head, maps))
        error = -EXDEV;
    if (error == 0 && max_bytes != 0 && max_bytes != recorder->head.max_bytes)
        error = -EINVAL;
    if (error == 0)
        error = record_scan(recorder->fd, &recorder->head, &frames, &n);
    recorder->frame.offset = RECORD_HEAD_BYTES;
    recorder->frame.header.sequence = 1;
    if (error == 0 && n > 0) {
        recorder->frame.offset = behind(&recorder->head, &frames[n - 1]);
        recorder->frame.header.sequence = frames[n - 1].header.sequence + 1; /* R3 */
    }
    free(frames);
    free(maps);
    return error;
}

static int open_file(struct recorder *recorder, const char *path, uint64_t max_bytes,
                     uint64_t interval_ms)
{
    struct stat info;

    recorder->fd = sys_openat(AT_FDCWD, path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY,
                              0600); /* arguments of programs are in it */
    if (recorder->fd < 0)
        return recorder->fd;
    if (fstat(recorder->fd, &info) != 0)
        return -errno;
    if (!S_ISREG(info.st_mode)) /* it is gone back in */
        return -ESPIPE;
    if (flock(recorder->fd, LOCK_EX | LOCK_NB) != 0)
        return errno == EWOULDBLOCK ? -EBUSY : -errno;
    if (info.st_size == 0)
        return make_file(recorder, max_bytes > 0 ? max_bytes : DEFAULT_BYTES, interval_ms);
    return go_on(recorder, max_bytes);
}

int recorder_open(const char *path, uint64_t max_bytes, uint64_t interval_ms,
                  struct recorder **result)
{
    struct recorder *recorder = calloc(1, sizeof *recorder);
    unsigned n_words[RECORD_N_TABLES];
    int error = 0;

    *result = NULL;
    if (recorder == NULL)
        return -ENOMEM;
    recorder->fd = -1;
    for (unsigned i = 0; i < RECORD_N_TABLES; i++)
        n_words[i] = record_fields((enum record_table)i)->n_words;
    record_flat_init(&recorder->flats[0], n_words);
    record_flat_init(&recorder->flats[1], n_words);
    recorder->context = ZSTD_createCCtx();
    if (recorder->context == NULL)
        error = -ENOMEM;
    else if (ZSTD_isError(
                 ZSTD_CCtx_setParameter(recorder->context, ZSTD_c_compressionLevel, LEVEL)) ||
             ZSTD_isError(ZSTD_CCtx_setParameter(recorder->context, ZSTD_c_windowLog, WINDOW_LOG)))
        error = -EIO;
    if (error == 0)
        error = open_file(recorder, path, max_bytes, interval_ms);
    if (error < 0) {
        recorder_close(recorder);
        return error;
    }
    *result = recorder;
    return 0;
}

void recorder_close(struct recorder *recorder)
{
    if (recorder == NULL)
        return;
    if (recorder->fd >= 0)
        sys_close(recorder->fd); /* the lock goes with it */
    ZSTD_freeCCtx(recorder->context);
    record_flat_deinit(&recorder->flats[0]);
    record_flat_deinit(&recorder->flats[1]);
    free(recorder->plain.data);
    free(recorder->packed);
    free(recorder);
}

uint64_t recorder_n_samples(const struct recorder *recorder)
{
    return recorder->n_samples;
}

uint64_t recorder_n_bytes(const struct recorder *recorder)
{
    return recorder->n_bytes;
}

/* The new sample as the next piece of the stream, behind room for a frame's header. */
static int pack(struct recorder *recorder)
{
    struct record_flat *before = &recorder->flats[recorder->current];
    struct record_bytes *plain = &recorder->plain;
    struct record_sample_header header;

    plain->n = 0;
    if (recorder->frame.header.n_samples == 0) {
        record_flat_clear(before);
        ZSTD_CCtx_reset(recorder->context, ZSTD_reset_session_only);
    }
    if (!source_grow(&plain->data, &plain->room, 4096, 1))
        return -ENOMEM;
    plain->n = sizeof header;
    record_encode(before, &recorder->flats[recorder->current ^ 1u], plain);
    if (plain->failed)
        return -ENOMEM;
    if (plain->n > RECORD_MAX_SAMPLE_BYTES)
        return -EFBIG;
    header.n_bytes = (uint32_t)(plain->n - sizeof header);
    header.checksum = record_checksum((uint32_t)recorder->frame.header.sequence,
                                      plain->data + sizeof header, header.n_bytes);
    memcpy(plain->data, &header, sizeof header);

    const size_t offset = sizeof recorder->frame.header;
    if (!source_grow(&recorder->packed, &recorder->packed_room,
                     offset + ZSTD_compressBound(plain->n) + 64, 1))
        return -ENOMEM;
    ZSTD_inBuffer in = {plain->data, plain->n, 0};
    ZSTD_outBuffer out = {recorder->packed + offset, recorder->packed_room - offset, 0};
    size_t left = ZSTD_compressStream2(recorder->context, &out, &in, ZSTD_e_flush);
    recorder->n_packed = out.pos;
    return left == 0 ? 0 : -EIO; /* there is room for all of it */
}

static void begin_frame(struct recorder *recorder)
{
    uint64_t offset = behind(&recorder->head, &recorder->frame);

    recorder->frame = (struct record_frame){
        .offset = offset, .header = {.sequence = recorder->frame.header.sequence + 1}};
}

static bool fits(const struct recorder *recorder)
{
    const struct record_frame_header *header = &recorder->frame.header;

    return sizeof *header + header->n_bytes + recorder->n_packed <= recorder->head.frame_bytes;
}

static void count(struct record_frame_header *header, size_t n_bytes, uint64_t wall_ms)
{
    header->magic = RECORD_FRAME_MAGIC;
    header->first_ms = header->n_samples == 0 ? wall_ms : header->first_ms;
    header->last_ms = wall_ms;
    header->n_samples++;
    header->n_bytes += (uint32_t)n_bytes;
    header->checksum = record_checksum(
        0, &header->sequence, sizeof *header - offsetof(struct record_frame_header, sequence));
}

static int store(struct recorder *recorder, uint64_t wall_ms)
{
    struct record_frame *frame = &recorder->frame;
    struct record_frame_header header = frame->header;
    const size_t n_header = sizeof header;
    uint64_t end = frame->offset + n_header + header.n_bytes;
    int error;

    count(&header, recorder->n_packed, wall_ms);
    if (header.n_samples == 1) { /* R4 */
        memcpy(recorder->packed, &header, n_header);
        error = write_at(recorder->fd, recorder->packed, n_header + recorder->n_packed,
                         frame->offset);
    } else {
        error = write_at(recorder->fd, recorder->packed + n_header, recorder->n_packed, end);
        if (error == 0)
            error = write_at(recorder->fd, &header, n_header, frame->offset); /* R1 */
    }
    if (error == 0)
        frame->header = header;
    return error;
}

int recorder_append(struct recorder *recorder, const struct sample *sample)
{
    if (!record_flat_from(&recorder->flats[recorder->current ^ 1u], sample))
        return -ENOMEM;
    if (recorder->frame.header.n_samples >= MAX_SAMPLES)
        begin_frame(recorder);
    int error = pack(recorder);
    if (error == 0 && !fits(recorder) && recorder->frame.header.n_samples > 0) {
        begin_frame(recorder);
        error = pack(recorder);
    }
    if (error == 0 && !fits(recorder))
        error = -EFBIG;
    if (error == 0)
        error = store(recorder, sample->wall_ms);
    if (error < 0) { /* the stream is ahead of the file: the next sample begins a frame */
        if (recorder->frame.header.n_samples > 0)
            begin_frame(recorder);
        return error;
    }
    recorder->current ^= 1u;
    recorder->n_samples++;
    recorder->n_bytes += recorder->n_packed;
    return 0;
}
