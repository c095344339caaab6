/* SPDX-License-Identifier: Apache-2.0 */
/* lines: text for people, broken between words where a terminal is narrower than its lines. */
#ifndef QUIRE_CLI_LINES_H
#define QUIRE_CLI_LINES_H

#include <stdio.h>

/* Columns of the terminal that is written to; 0: it is none, and nothing need fit. */
unsigned lines_width(FILE *to);

/* One line, without its end: what is beyond `width` (0: nothing is) goes on in the next, `indent`
 * columns in. A word that is longer stays whole. */
void lines_put(FILE *to, const char *line, unsigned width, unsigned indent);

/* All lines that `print` writes to the file it is given, likewise, as wide as the terminal is. */
void lines_fold(FILE *to, unsigned indent, void (*print)(const void *context, FILE *to),
                const void *context);

#endif
