/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record_file: see record_file.h.
 *
 * The index is the chain of headers: each tells where the next may begin. A frame that was written
 * over has lost its header first, because writing goes upwards; what is left of it is skipped in
 * steps of 512 bytes until the next header. So there is no index that could be wrong.
 */
#include "observe/record_file.h"

#include "base/sys.h"
#include "observe/source.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_ROW_WORDS 4096u

/* CRC-32 as zlib and IEEE 802.3 have it, four bits at a time: what is summed is small. */
uint32_t record_checksum(uint32_t seed, const void *data, size_t n)
{
    static const uint32_t table[16] = {0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac,
                                       0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
                                       0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
                                       0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};
    const unsigned char *bytes = data;
    uint32_t sum = ~seed;

#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION /* libFuzzer's: checksums would keep it out */
    return 0;
#endif

    for (size_t i = 0; i < n; i++) {
        sum = table[(sum ^ bytes[i]) & 15] ^ sum >> 4;
        sum = table[(sum ^ bytes[i] >> 4) & 15] ^ sum >> 4;
    }
    return ~sum;
}

static uint32_t head_checksum(const char bytes[RECORD_HEAD_BYTES])
{
    const size_t start = offsetof(struct record_head, checksum) + sizeof(uint32_t);

    return record_checksum(0, bytes + start, RECORD_HEAD_BYTES - start);
}

void record_head_make(struct record_head *head, char bytes[RECORD_HEAD_BYTES])
{
    size_t n = 0, room = RECORD_HEAD_BYTES - RECORD_SCHEMA_AT;
    char *schema = bytes + RECORD_SCHEMA_AT;

    memset(bytes, 0, RECORD_HEAD_BYTES);
    for (unsigned table = 0; table < RECORD_N_TABLES; table++) {
        const struct record_fields *fields = record_fields((enum record_table)table);
        for (unsigned i = 0; i < fields->n && n < room; i++)
            n += (size_t)snprintf(schema + n, room - n, "%s %s %u\n", fields->name,
                                  fields->fields[i].name, record_field_words(&fields->fields[i]));
    }
    memcpy(head->magic, RECORD_MAGIC, sizeof head->magic);
    head->version = RECORD_VERSION;
    head->schema_bytes = (uint32_t)n; /* the unit test checks that it fits */
    memcpy(bytes, head, sizeof *head);
    head->checksum = head_checksum(bytes);
    memcpy(bytes, head, sizeof *head);
}

static const struct record_field *find_field(const struct record_fields *fields, const char *name,
                                             unsigned n_words)
{
    for (unsigned i = 0; i < fields->n; i++)
        if (strcmp(fields->fields[i].name, name) == 0)
            return record_field_words(&fields->fields[i]) == n_words ? &fields->fields[i] : NULL;
    return NULL;
}

/* One line "TABLE FIELD WORDS". */
static bool take_line(const char *line, struct record_map maps[RECORD_N_TABLES])
{
    char table[32], name[64];
    unsigned n_words;

    if (sscanf(line, "%31s %63s %u", table, name, &n_words) != 3 || n_words == 0 ||
        n_words > MAX_ROW_WORDS)
        return false;
    for (unsigned i = 0; i < RECORD_N_TABLES; i++) {
        const struct record_fields *fields = record_fields((enum record_table)i);
        struct record_map *map = &maps[i];
        if (strcmp(fields->name, table) != 0)
            continue;
        const struct record_field *field = find_field(fields, name, n_words);
        if (field != NULL && map->n < sizeof map->known / sizeof map->known[0]) {
            map->known[map->n].field = field;
            map->known[map->n++].at = map->n_words;
        }
        map->n_words += n_words;
        return map->n_words <= MAX_ROW_WORDS;
    }
    return false; /* tables are part of the version */
}

static bool take_schema(char *schema, struct record_map maps[RECORD_N_TABLES])
{
    memset(maps, 0, RECORD_N_TABLES * sizeof *maps);
    for (char *line = schema, *end; *line != '\0'; line = end) {
        end = line + strcspn(line, "\n");
        if (*end != '\n')
            return false;
        *end++ = '\0';
        if (!take_line(line, maps))
            return false;
    }
    return maps[RECORD_SYSTEM].n_words > 0; /* a table that is missing has no rows */
}

/* Reads n bytes, fewer at the end of the file. */
static ssize_t read_at(int fd, void *buffer, size_t n, uint64_t offset)
{
    size_t done = 0;

    while (done < n) {
        ssize_t got = sys_pread(fd, (char *)buffer + done, n - done, (off_t)(offset + done));
        if (got == -EINTR)
            continue;
        if (got < 0)
            return got;
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return (ssize_t)done;
}

static bool is_plausible(const struct record_head *head)
{
    return head->max_bytes >= RECORD_MIN_BYTES && head->max_bytes <= RECORD_MAX_BYTES &&
           head->frame_bytes > sizeof(struct record_frame_header) &&
           head->frame_bytes <= RECORD_MAX_FRAME &&
           head->schema_bytes < RECORD_HEAD_BYTES - RECORD_SCHEMA_AT &&
           memchr(head->host, '\0', sizeof head->host) != NULL;
}

int record_head_read(int fd, struct record_head *head, struct record_map maps[RECORD_N_TABLES])
{
    char *bytes = malloc(RECORD_HEAD_BYTES + 1);
    int error = 0;

    if (bytes == NULL)
        return -ENOMEM;
    ssize_t n = read_at(fd, bytes, RECORD_HEAD_BYTES, 0);
    if (n < 0)
        error = (int)n;
    else if (n < (ssize_t)sizeof *head || memcmp(bytes, RECORD_MAGIC, 8) != 0)
        error = -EBADMSG;
    if (error == 0)
        memcpy(head, bytes, sizeof *head);
    if (error == 0 && head->version != RECORD_VERSION)
        error = -EPROTO;
    if (error == 0 && (n < (ssize_t)RECORD_HEAD_BYTES || head_checksum(bytes) != head->checksum ||
                       !is_plausible(head)))
        error = -EBADMSG;
    if (error == 0 && maps != NULL) {
        bytes[RECORD_SCHEMA_AT + head->schema_bytes] = '\0';
        error = take_schema(bytes + RECORD_SCHEMA_AT, maps) ? 0 : -EBADMSG;
    }
    free(bytes);
    return error;
}

static uint32_t frame_checksum(const struct record_frame_header *header)
{
    return record_checksum(0, &header->sequence,
                           sizeof *header - offsetof(struct record_frame_header, sequence));
}

static bool is_frame(const struct record_head *head, const struct record_frame_header *header)
{
    return header->magic == RECORD_FRAME_MAGIC && header->checksum == frame_checksum(header) &&
           header->n_samples > 0 && header->n_samples <= 65536 &&
           header->n_bytes <= head->frame_bytes - sizeof *header;
}

static int compare_sequence(const void *a, const void *b)
{
    const struct record_frame *x = a, *y = b;

    return x->header.sequence < y->header.sequence ? -1 : x->header.sequence > y->header.sequence;
}

int record_scan(int fd, const struct record_head *head, struct record_frame **frames, size_t *n)
{
    static const size_t window_bytes = 256 << 10; /* looked through at a time */
    char *window = malloc(window_bytes);
    uint64_t offset = RECORD_HEAD_BYTES, window_at = 0;
    size_t in_window = 0, room = 0;
    int error = window != NULL ? 0 : -ENOMEM;

    *frames = NULL;
    *n = 0;
    while (error == 0) {
        struct record_frame one = {.offset = offset};
        if (offset < window_at || offset + sizeof one.header > window_at + in_window) {
            ssize_t got = read_at(fd, window, window_bytes, offset);
            window_at = offset;
            in_window = got > 0 ? (size_t)got : 0;
            error = got < 0 ? (int)got : 0;
            if (in_window < sizeof one.header)
                break;
        }
        memcpy(&one.header, window + (offset - window_at), sizeof one.header);
        if (!is_frame(head, &one.header)) {
            offset += RECORD_STEP;
            continue;
        }
        if (!source_grow(frames, &room, *n + 1, sizeof **frames))
            error = -ENOMEM;
        else
            (*frames)[(*n)++] = one;
        offset += (sizeof one.header + one.header.n_bytes + RECORD_STEP - 1) / RECORD_STEP *
                  RECORD_STEP;
    }
    free(window);
    if (*n > 1)
        qsort(*frames, *n, sizeof **frames, compare_sequence);
    if (error < 0) {
        free(*frames);
        *frames = NULL;
    }
    return error;
}
