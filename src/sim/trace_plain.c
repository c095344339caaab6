/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trace_plain: a reference a line, [R|W] ADDRESS, decimal or 0x; # begins a comment.
 *
 * With in_pages addresses are page numbers.
 */
#include "sim/lines.h"

static enum line_kind parse(struct quire_trace *trace, struct text line,
                            struct quire_trace_record *record)
{
    const char *comment = memchr(line.at, '#', text_length(&line));
    (void)trace;
    if (comment != NULL)
        line.end = comment;
    struct text word = text_word(&line);
    if (text_length(&word) == 0)
        return LINE_EMPTY;
    if (text_length(&word) == 1 && text_digit(*word.at) > 9) {
        const char letter = (char)(*word.at | 32);
        if (letter != 'r' && letter != 'w')
            return LINE_BAD;
        record->kind = letter == 'w' ? QUIRE_TRACE_WRITE : QUIRE_TRACE_READ;
        word = text_word(&line);
    }
    if (!text_number(word, &record->address))
        return LINE_BAD;
    text_skip_blanks(&line);
    return line.at == line.end ? LINE_REFERENCE : LINE_BAD;
}

static bool looks_like(const unsigned char *bytes, size_t n)
{
    return lines_look_like(bytes, n, parse);
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
    return lines_read(trace, records, most, parse,
                      "not [R|W] ADDRESS, decimal or 0x and hexadecimal");
}

const struct trace_format trace_plain = {
    .name = "plain", .looks_like = looks_like, .open = open_plain, .read = read_plain};
