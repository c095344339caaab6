/* SPDX-License-Identifier: Apache-2.0 */
/* svg_text: text from outside in an SVG file that is written by hand. */
#ifndef QUIRE_CLI_SVG_TEXT_H
#define QUIRE_CLI_SVG_TEXT_H

#include <stddef.h>
#include <stdio.h>

/* What can't be in XML text becomes a question mark. */
void svg_text(FILE *file, const char *text);
/* The same of the first `max` bytes at most. */
void svg_text_part(FILE *file, const char *text, size_t max);

#endif
