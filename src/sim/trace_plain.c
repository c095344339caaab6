/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trace_plain: a reference a line, [R|W] ADDRESS, decimal or 0x; # begins a comment.
 *
 * With in_pages addresses are page numbers.
 */
#include "sim/reader.h"
#include "sim/text.h"

#include <errno.h>

#define LOOKED_AT 20u /* lines */

enum line_kind { BAD, EMPTY, REFERENCE };

static enum line_kind parse(struct text line, struct quire_trace_record *record)
{
    const char *comment = memchr(line.at, '#', text_length(&line));
    if (comment != NULL)
        line.end = comment;
    struct text word = text_word(&line);
    *record = (struct quire_trace_record){.kind = QUIRE_TRACE_READ};
    if (text_length(&word) == 0)
        return EMPTY;
    if (text_length(&word) == 1 && text_digit(*word.at) > 9) {
        const char letter = (char)(*word.at | 32);
        if (letter != 'r' && letter != 'w')
            return BAD;
        record->kind = letter == 'w' ? QUIRE_TRACE_WRITE : QUIRE_TRACE_READ;
        word = text_word(&line);
    }
    if (!text_number(word, &record->address))
        return BAD;
    text_skip_blanks(&line);
    return line.at == line.end ? REFERENCE : BAD;
}

static bool looks_like(const unsigned char *bytes, size_t n)
{
    struct text rest = {(const char *)bytes, (const char *)bytes + n};
    struct quire_trace_record record;
    bool found = false;
    for (unsigned i = 0; i < LOOKED_AT && rest.at < rest.end; i++) {
        const char *newline = memchr(rest.at, '\n', text_length(&rest));
        struct text line = {rest.at, newline != NULL ? newline : rest.end};
        rest.at = newline != NULL ? newline + 1 : rest.end;
        if (line.end > line.at && line.end[-1] == '\r')
            line.end--;
        enum line_kind kind = parse(line, &record);
        if (kind == BAD)
            return false;
        found |= kind == REFERENCE;
    }
    return found;
}

static int open_plain(struct quire_trace *trace, const struct quire_trace_options *options)
{
    trace->info.unit_shift = options->in_pages ? 12 : 0;
    trace->info.granule = options->in_pages ? 12 : 0;
    trace->info.has_writes = true;
    return 0;
}

static long read_plain(struct quire_trace *trace, struct quire_trace_record *records, size_t most)
{
    size_t n = 0;
    while (n < most) {
        const char *line;
        size_t length;
        int got = input_line(&trace->input, READER_MOST_LINE, &line, &length);
        if (got == 0)
            break;
        if (got < 0) {
            trace->error = trace_fail_input(trace, got);
            break;
        }
        trace->n_lines++;
        enum line_kind kind = parse((struct text){line, line + length}, &records[n]);
        if (kind == BAD) {
            trace->error = trace_fail_line(trace, line, length,
                                           "not [R|W] ADDRESS, decimal or 0x and hexadecimal");
            break;
        }
        n += kind == REFERENCE;
    }
    return n == 0 && trace->error ? trace->error : (long)n;
}

const struct trace_format trace_plain = {
    .name = "plain", .looks_like = looks_like, .open = open_plain, .read = read_plain};
