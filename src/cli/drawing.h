/* SPDX-License-Identifier: Apache-2.0 */
/* drawing: what the pictures that cairo draws have in common. */
#ifndef QUIRE_CLI_DRAWING_H
#define QUIRE_CLI_DRAWING_H

#include <cairo.h>

/* Begins an SVG file of this size on white ground. What fails is told by drawing_end(). */
cairo_t *drawing_begin(const char *path, double width, double height);
/* 0, -ENOMEM, or -EIO: the file is not whole. */
int drawing_end(cairo_t *picture);

/* Words in the colour of ink. `anchor`: where x is in them, 0 at their start, 1 at their end. */
void drawing_text(cairo_t *picture, double x, double y, double anchor, const char *words);

#endif
