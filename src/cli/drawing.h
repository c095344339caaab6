/* SPDX-License-Identifier: Apache-2.0 */
/* drawing: what the pictures that cairo draws have in common. */
#ifndef QUIRE_CLI_DRAWING_H
#define QUIRE_CLI_DRAWING_H

#include <cairo.h>

/* Words in the colour of ink. `anchor`: where x is in them, 0 at their start, 1 at their end. */
void drawing_text(cairo_t *picture, double x, double y, double anchor, const char *words);

#endif
