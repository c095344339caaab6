/* SPDX-License-Identifier: Apache-2.0 */
/*
 * native_write: writes Quire's own traces; see quire/trace.h.
 *
 *     records --> block, until it may not hold another --zstd--> write(2)
 *
 * All memory is allocated at the start, so appending can only fail by write(2).
 */
#include "base/sys.h"
#include "sim/native.h"
#include "sim/varint.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#define LEVEL 3 /* of zstd */

struct quire_trace_writer {
    int fd;
    unsigned granule;
    ZSTD_CCtx *packer;
    unsigned char *block, *at;
    unsigned char *packed; /* a block's header and its frame */
    struct native_state state;
    uint64_t time_ns;
    uint64_t n_records, first; /* all; the block's first */
    uint64_t n_written;        /* bytes */
    int error;                 /* of write(2): nothing more is written */
};

static int write_all(struct quire_trace_writer *writer, const void *bytes, size_t n)
{
    for (size_t done = 0; done < n && !writer->error;) {
        ssize_t got = sys_write(writer->fd, (const char *)bytes + done, n - done);
        if (got > 0)
            done += (size_t)got;
        else if (got != -EINTR)
            writer->error = got == 0 ? -EIO : (int)got;
    }
    if (!writer->error)
        writer->n_written += n;
    return writer->error;
}

static void free_writer(struct quire_trace_writer *writer)
{
    ZSTD_freeCCtx(writer->packer);
    free(writer->block);
    free(writer->packed);
    free(writer);
}

static int write_header(struct quire_trace_writer *writer, const struct quire_trace_info *info)
{
    const char *command = info->command != NULL ? info->command : "";
    struct native_header header = {
        .magic = NATIVE_MAGIC,
        .version = NATIVE_VERSION,
        .granule = (uint8_t)info->granule,
        .every = (uint8_t)info->every,
        .period = info->period,
        .began_ns = info->began_ns,
        .n_command_bytes = (uint32_t)strnlen(command, QUIRE_TRACE_MAX_COMMAND)};
    int error = write_all(writer, &header, sizeof header);
    return error ? error : write_all(writer, command, header.n_command_bytes);
}

int quire_trace_create(int fd, const struct quire_trace_info *info,
                       struct quire_trace_writer **result)
{
    if (info->granule > NATIVE_MOST_GRANULE || (unsigned)info->every >= QUIRE_TRACE_N_EVERY)
        return -EINVAL;
    struct quire_trace_writer *writer = calloc(1, sizeof *writer);
    if (writer == NULL)
        return -ENOMEM;
    writer->fd = fd;
    writer->granule = info->granule;
    writer->packer = ZSTD_createCCtx();
    writer->block = malloc(QUIRE_TRACE_BLOCK_BYTES);
    writer->packed = malloc(sizeof(struct native_block) + NATIVE_MOST_PACKED);
    int error = -ENOMEM;
    if (writer->packer != NULL && writer->block != NULL && writer->packed != NULL) {
        writer->at = writer->block;
        ZSTD_CCtx_setParameter(writer->packer, ZSTD_c_compressionLevel, LEVEL);
        ZSTD_CCtx_setParameter(writer->packer, ZSTD_c_checksumFlag, 1);
        error = write_header(writer, info);
    }
    if (error) {
        free_writer(writer);
        return error;
    }
    *result = writer;
    return 0;
}

int quire_trace_flush(struct quire_trace_writer *writer)
{
    const size_t n = (size_t)(writer->at - writer->block);
    unsigned char *frame = writer->packed + sizeof(struct native_block);
    if (writer->error || n == 0)
        return writer->error;
    size_t n_packed = ZSTD_compress2(writer->packer, frame, NATIVE_MOST_PACKED, writer->block, n);
    if (ZSTD_isError(n_packed))
        return writer->error = -ENOMEM; /* the one reason that is left */
    struct native_block head = {(uint32_t)n_packed, (uint32_t)n, writer->first};
    memcpy(writer->packed, &head, sizeof head);
    writer->at = writer->block;
    writer->first = writer->n_records;
    writer->state = (struct native_state){0};
    return write_all(writer, writer->packed, sizeof head + n_packed);
}

static int make_room(struct quire_trace_writer *writer, size_t n_bytes)
{
    if ((size_t)(writer->block + QUIRE_TRACE_BLOCK_BYTES - writer->at) >= n_bytes)
        return writer->error;
    return quire_trace_flush(writer);
}

/* Tag, time and process; the tag is returned, so that more can be added to it. */
static unsigned char *put_fields(struct quire_trace_writer *writer, unsigned kind, uint64_t time_ns,
                                 uint32_t process)
{
    struct native_state *state = &writer->state;
    unsigned char *tag = writer->at++;
    *tag = (unsigned char)kind;
    if (time_ns > writer->time_ns)
        writer->time_ns = time_ns;
    if (writer->time_ns != state->time_ns) {
        *tag |= NATIVE_HAS_TIME;
        writer->at = varint_put(writer->at, writer->time_ns - state->time_ns);
        state->time_ns = writer->time_ns;
    }
    if (process != state->process) {
        *tag |= NATIVE_HAS_PROCESS;
        writer->at = varint_put(writer->at, process);
        state->process = process;
    }
    return tag;
}

static void put_reference(struct quire_trace_writer *writer,
                          const struct quire_trace_record *record)
{
    unsigned char *tag = put_fields(writer, record->kind, record->time_ns, record->process);
    const uint64_t granules = record->address >> writer->granule;
    if (record->n_bytes != writer->state.last[record->kind].n_bytes) {
        *tag |= NATIVE_HAS_SIZE;
        writer->at = varint_put(writer->at, record->n_bytes);
        writer->state.last[record->kind].n_bytes = record->n_bytes;
    }
    writer->at = varint_put(writer->at,
                            varint_fold(granules - writer->state.last[record->kind].granules));
    writer->state.last[record->kind].granules = granules;
    writer->n_records++;
}

int quire_trace_write(struct quire_trace_writer *writer, const struct quire_trace_record *records,
                      size_t n)
{
    const uint64_t below = ((uint64_t)1 << writer->granule) - 1;
    for (size_t i = 0; i < n; i++) {
        if (records[i].kind >= QUIRE_TRACE_N_KINDS || native_is_mapping(records[i].kind) ||
            (records[i].address & below) != 0)
            return -EINVAL;
        int error = make_room(writer, NATIVE_REFERENCE_BYTES);
        if (error)
            return error;
        put_reference(writer, &records[i]);
    }
    return 0;
}

int quire_trace_write_mapping(struct quire_trace_writer *writer,
                              const struct quire_trace_mapping *mapping, bool is_gone)
{
    const char *name = mapping->name != NULL ? mapping->name : "";
    const size_t length = strnlen(name, QUIRE_TRACE_MAX_NAME);
    if (mapping->start + mapping->n_bytes < mapping->start)
        return -EINVAL;
    int error = make_room(writer, NATIVE_MAPPING_BYTES + length);
    if (error)
        return error;
    put_fields(writer, is_gone ? QUIRE_TRACE_UNMAP : QUIRE_TRACE_MAP, mapping->time_ns,
               mapping->process);
    writer->at = varint_put(writer->at, mapping->start);
    writer->at = varint_put(writer->at, mapping->n_bytes);
    writer->at = varint_put(writer->at, mapping->offset);
    writer->at = varint_put(writer->at, mapping->protection);
    writer->at = varint_put(writer->at, length);
    memcpy(writer->at, name, length);
    writer->at += length;
    writer->n_records++;
    return 0;
}

uint64_t quire_trace_written(const struct quire_trace_writer *writer, uint64_t *n_bytes)
{
    *n_bytes = writer->n_written;
    return writer->n_records;
}

int quire_trace_finish(struct quire_trace_writer *writer)
{
    int error = quire_trace_flush(writer);
    if (!error) {
        struct native_block end = {0, 0, writer->n_records};
        error = write_all(writer, &end, sizeof end);
    }
    free_writer(writer);
    return error;
}
