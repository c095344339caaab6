/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lines: what the readers of text have in common. Each says what it makes of one line; all else is
 * done here. Private to src/sim.
 */
#ifndef QUIRE_SIM_LINES_H
#define QUIRE_SIM_LINES_H

#include "sim/reader.h"
#include "sim/text.h"

enum line_kind { LINE_BAD, LINE_EMPTY, LINE_REFERENCE };

/* `record` is all zeros before. */
typedef enum line_kind parse_line(struct quire_trace *trace, struct text line,
                                  struct quire_trace_record *record);

/* As the format's read(); `wanted` says what a good line looks like. */
long lines_read(struct quire_trace *trace, struct quire_trace_record *records, size_t most,
                parse_line *parse, const char *wanted);

/* Whether the first line that is not empty is a reference. A bad one behind it is told by its
 * number when it is read. */
bool lines_look_like(const unsigned char *bytes, size_t n, parse_line *parse);

#endif
