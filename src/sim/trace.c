/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trace: see quire/trace.h. Opens a trace, finds out its format, and keeps what all formats share.
 *
 *     input --looks_like()--> format --read()--> records
 */
#include "base/sys.h"
#include "sim/reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_MAPPINGS (1u << 20)
#define LOOK_BYTES ((size_t)64 << 10)
#define SHOWN_BYTES 40 /* of a line, in messages */

static const struct trace_format *const formats[] = {&trace_native, &trace_lackey, &trace_plain,
                                                     &trace_perf,   &trace_csv,    &trace_oracle};
#define N_FORMATS (sizeof formats / sizeof formats[0])

int trace_fail(struct quire_trace *trace, const char *format, ...)
{
    va_list arguments;
    int n = snprintf(trace->message, sizeof trace->message, "%s: ", trace->name);

    if (n < 0 || (size_t)n >= sizeof trace->message / 2) /* a long path: its end tells more */
        n = snprintf(trace->message, sizeof trace->message,
                     "...%s: ", trace->name + strlen(trace->name) - sizeof trace->message / 4);
    va_start(arguments, format);
    vsnprintf(trace->message + n, sizeof trace->message - (size_t)n, format, arguments);
    va_end(arguments);
    return -EBADMSG;
}

int trace_fail_input(struct quire_trace *trace, int error)
{
    unsigned long long number = trace->n_records + 1;
    const char *what = "record";
    if (trace->n_lines > 0) {
        number = trace->n_lines + 1;
        what = "line";
    }
    if (error == -EBADMSG)
        return trace_fail(trace,
                          "%s %llu: the compressed data is damaged or cut off; zstd -t tells more",
                          what, number);
    if (error == -E2BIG)
        return trace_fail(trace, "line %llu: longer than %zu bytes: this is no trace in text",
                          number, READER_MOST_LINE);
    trace_fail(trace, "%s %llu: cannot read: %s", what, number, strerror(-error));
    return error;
}

int trace_fail_line(struct quire_trace *trace, const char *line, size_t length, const char *why)
{
    char shown[SHOWN_BYTES + 1];
    size_t n = length < SHOWN_BYTES ? length : SHOWN_BYTES;
    for (size_t i = 0; i < n; i++)
        shown[i] = line[i] >= ' ' && line[i] < 0x7f ? line[i] : '?';
    shown[n] = '\0';
    return trace_fail(trace, "line %llu: '%s%s': %s", (unsigned long long)trace->n_lines, shown,
                      n < length ? "..." : "", why);
}

int trace_add_mapping(struct quire_trace *trace, const struct quire_trace_mapping *mapping,
                      const char *name, size_t length)
{
    if (trace->n_mappings == MOST_MAPPINGS)
        return trace_fail(trace, "record %llu: more than %u mappings",
                          (unsigned long long)trace->n_records + 1, MOST_MAPPINGS);
    if (trace->n_mappings == trace->mappings_room) {
        uint32_t room = trace->mappings_room == 0 ? 64 : 2 * trace->mappings_room;
        void *larger = realloc(trace->mappings, room * sizeof *trace->mappings);
        if (larger == NULL)
            return -ENOMEM;
        trace->mappings = larger;
        trace->mappings_room = room;
    }
    char *copy = strndup(name, length);
    if (copy == NULL)
        return -ENOMEM;
    struct quire_trace_mapping *mine = &trace->mappings[trace->n_mappings++];
    *mine = *mapping;
    mine->name = copy;
    return 0;
}

/* The format that was asked for, or the first one that the first bytes look like. */
static int find_format(struct quire_trace *trace, const struct quire_trace_options *options)
{
    if (options->format != NULL) {
        for (size_t i = 0; i < N_FORMATS && trace->format == NULL; i++)
            if (strcmp(formats[i]->name, options->format) == 0)
                trace->format = formats[i];
        if (trace->format != NULL)
            return 0;
        trace_fail(trace, "there is no format '%s': quire, lackey, perf, plain, csv and oracle are",
                   options->format);
        return -EINVAL;
    }
    ssize_t got = input_need(&trace->input, LOOK_BYTES);
    if (got < 0)
        return trace_fail_input(trace, (int)got);
    if (got == 0)
        return trace_fail(trace, "it is empty");
    for (size_t i = 0; i < N_FORMATS && trace->format == NULL; i++)
        if (formats[i]->looks_like(input_at(&trace->input), (size_t)got))
            trace->format = formats[i];
    if (trace->format == NULL)
        return trace_fail(trace, "this looks like no trace; --format says what it is");
    return 0;
}

static int open_all(struct quire_trace *trace, int fd, const struct quire_trace_options *options)
{
    int error = input_open(&trace->input, fd);
    if (error)
        return error == -ENOMEM ? error : trace_fail_input(trace, error);
    error = find_format(trace, options);
    if (error)
        return error;
    trace->info = (struct quire_trace_info){
        .format = trace->format->name, .is_spatial = true, .command = ""};
    trace->is_whole = true;
    return trace->format->open != NULL ? trace->format->open(trace, options) : 0;
}

int quire_trace_open_fd(int fd, const char *name, const struct quire_trace_options *options,
                        char message[QUIRE_TRACE_MESSAGE_BYTES], struct quire_trace **result)
{
    static const struct quire_trace_options none;
    struct quire_trace *trace = calloc(1, sizeof *trace);
    int error = -ENOMEM;

    if (trace != NULL) {
        trace->own_fd = -1;
        trace->name = strdup(name);
        if (trace->name != NULL)
            error = open_all(trace, fd, options != NULL ? options : &none);
    }
    if (error) {
        snprintf(message, QUIRE_TRACE_MESSAGE_BYTES, "%s",
                 error == -ENOMEM ? "no memory to read a trace" : trace->message);
        quire_trace_close(trace);
        return error;
    }
    message[0] = '\0';
    *result = trace;
    return 0;
}

int quire_trace_open(const char *path, const struct quire_trace_options *options,
                     char message[QUIRE_TRACE_MESSAGE_BYTES], struct quire_trace **trace)
{
    if (strcmp(path, "-") == 0)
        return quire_trace_open_fd(STDIN_FILENO, "standard input", options, message, trace);
    int fd = sys_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0) {
        snprintf(message, QUIRE_TRACE_MESSAGE_BYTES, "cannot open the trace %s: %s", path,
                 strerror(-fd));
        return fd;
    }
    int error = quire_trace_open_fd(fd, path, options, message, trace);
    if (error)
        sys_close(fd);
    else
        (*trace)->own_fd = fd;
    return error;
}

void quire_trace_close(struct quire_trace *trace)
{
    if (trace == NULL)
        return;
    if (trace->format != NULL && trace->format->close != NULL)
        trace->format->close(trace);
    input_close(&trace->input);
    for (uint32_t i = 0; i < trace->n_mappings; i++)
        free((char *)(uintptr_t)trace->mappings[i].name);
    free(trace->mappings);
    free(trace->command);
    free(trace->name);
    if (trace->own_fd >= 0)
        sys_close(trace->own_fd);
    free(trace);
}

/* What a format has read. */
static long note_read(struct quire_trace *trace, long got)
{
    if (got > 0)
        trace->n_records += (uint64_t)got;
    else if (got < 0)
        trace->error = (int)got;
    return got;
}

long quire_trace_read(struct quire_trace *trace, struct quire_trace_record *records, size_t most)
{
    if (trace->error || most == 0)
        return trace->error;
    return note_read(trace, trace->format->read(trace, records, most));
}

long trace_read_sample(struct quire_trace *trace, struct trace_sample *sample,
                       struct quire_trace_record *records, size_t most)
{
    if (trace->error)
        return trace->error;
    return note_read(trace, trace->format->read_sample(trace, sample, records, most));
}

int trace_read_raw(struct quire_trace *trace, struct trace_raw *raw)
{
    *raw = (struct trace_raw){0};
    if (!trace->error)
        trace->error = trace->format->read_raw(trace, raw);
    trace->n_records += raw->n;
    return trace->error;
}

const char *quire_trace_message(const struct quire_trace *trace)
{
    return trace->error == -ENOMEM ? "no memory to read the trace" : trace->message;
}

const struct quire_trace_info *quire_trace_info(const struct quire_trace *trace)
{
    return &trace->info;
}

const struct quire_trace_mapping *quire_trace_mapping(const struct quire_trace *trace,
                                                      uint32_t mapping)
{
    return mapping < trace->n_mappings ? &trace->mappings[mapping] : NULL;
}

uint32_t quire_trace_mappings(const struct quire_trace *trace)
{
    return trace->n_mappings;
}

bool quire_trace_is_whole(const struct quire_trace *trace)
{
    return trace->is_whole;
}
