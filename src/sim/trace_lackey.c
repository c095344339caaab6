/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trace_lackey: what valgrind --tool=lackey --trace-mem=yes prints, with the program's own output
 * and Valgrind's messages (==PID==) in between, which are passed.
 *
 *   I  04222c18,3     fetch        L 1ffefffe78,8    load
 *    S 1ffefffe78,8   store        M 0421c7cc,4      load and store
 *
 * A line that begins like a record and is none is an error: a trace that was cut, or mixed up with
 * other output.
 */
#include "sim/lines.h"

static enum line_kind parse(struct quire_trace *trace, struct text line,
                            struct quire_trace_record *record)
{
    uint64_t size;
    (void)trace;
    if (text_length(&line) < 3 || line.at[2] != ' ' ||
        !((line.at[0] == 'I' && line.at[1] == ' ') ||
          (line.at[0] == ' ' && strchr("LSM", line.at[1]) != NULL && line.at[1] != '\0')))
        return LINE_EMPTY;
    record->kind = line.at[0] == 'I'   ? QUIRE_TRACE_FETCH
                   : line.at[1] == 'L' ? QUIRE_TRACE_READ
                                       : QUIRE_TRACE_WRITE;
    line.at += 3;
    if (!text_digits(&line, 16, &record->address) || line.at == line.end || *line.at++ != ',' ||
        !text_digits(&line, 10, &size) || line.at != line.end || size == 0 || size > UINT32_MAX)
        return LINE_BAD;
    record->n_bytes = (uint32_t)size;
    return LINE_REFERENCE;
}

static bool looks_like(const unsigned char *bytes, size_t n)
{
    return lines_look_like(bytes, n, parse);
}

static int open_lackey(struct quire_trace *trace, const struct quire_trace_options *options)
{
    (void)options;
    trace->info.has_writes = true;
    return 0;
}

static long read_lackey(struct quire_trace *trace, struct quire_trace_record *records, size_t most)
{
    return lines_read(trace, records, most, parse,
                      "not a record of lackey's, such as ' L 1ffefffe78,8'");
}

const struct trace_format trace_lackey = {
    .name = "lackey", .looks_like = looks_like, .open = open_lackey, .read = read_lackey};
