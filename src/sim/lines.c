/* SPDX-License-Identifier: Apache-2.0 */
/* lines: see lines.h. */
#include "sim/lines.h"

#define HEAD_BYTES ((size_t)64) /* in which a binary trace has zeros */

long lines_read(struct quire_trace *trace, struct quire_trace_record *records, size_t most,
                parse_line *parse, const char *wanted)
{
    size_t n = 0;
    while (n < most && !trace->error) {
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
        records[n] = (struct quire_trace_record){.kind = QUIRE_TRACE_READ};
        enum line_kind kind = parse(trace, (struct text){line, line + length}, &records[n]);
        if (kind == LINE_BAD)
            trace->error = trace_fail_line(trace, line, length, wanted);
        n += kind == LINE_REFERENCE;
    }
    return n == 0 && trace->error ? trace->error : (long)n;
}

bool lines_look_like(const unsigned char *bytes, size_t n, parse_line *parse)
{
    struct text rest = {(const char *)bytes, (const char *)bytes + n};
    enum line_kind kind = LINE_EMPTY;
    if (memchr(bytes, '\0', n < HEAD_BYTES ? n : HEAD_BYTES) != NULL)
        return false;
    while (kind == LINE_EMPTY && rest.at < rest.end) {
        const char *newline = memchr(rest.at, '\n', text_length(&rest));
        struct text line = {rest.at, newline != NULL ? newline : rest.end};
        struct quire_trace_record record = {.kind = QUIRE_TRACE_READ};
        rest.at = newline != NULL ? newline + 1 : rest.end;
        if (line.end > line.at && line.end[-1] == '\r')
            line.end--;
        kind = parse(NULL, line, &record);
    }
    return kind == LINE_REFERENCE;
}
