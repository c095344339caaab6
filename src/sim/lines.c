/* SPDX-License-Identifier: Apache-2.0 */
/* lines: see lines.h. */
#include "sim/lines.h"

#define LOOKED_AT 20u /* references */

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

bool lines_look_like(const unsigned char *bytes, size_t n, parse_line *parse, bool may_have_bad)
{
    struct text rest = {(const char *)bytes, (const char *)bytes + n};
    struct quire_trace_record record;
    unsigned n_found = 0;
    while (n_found < LOOKED_AT && rest.at < rest.end) {
        const char *newline = memchr(rest.at, '\n', text_length(&rest));
        struct text line = {rest.at, newline != NULL ? newline : rest.end};
        rest.at = newline != NULL ? newline + 1 : rest.end;
        if (line.end > line.at && line.end[-1] == '\r')
            line.end--;
        record = (struct quire_trace_record){.kind = QUIRE_TRACE_READ};
        enum line_kind kind = parse(NULL, line, &record);
        if (kind == LINE_BAD && !may_have_bad && (newline != NULL || n_found == 0))
            return false;
        n_found += kind == LINE_REFERENCE;
    }
    return n_found > 0;
}
