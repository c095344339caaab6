/* SPDX-License-Identifier: Apache-2.0 */
/* drawing: see drawing.h. */
#include "cli/drawing.h"

#define INK 0.13, 0.13, 0.13

void drawing_text(cairo_t *picture, double x, double y, double anchor, const char *words)
{
    cairo_text_extents_t extents;

    cairo_text_extents(picture, words, &extents);
    cairo_set_source_rgb(picture, INK);
    cairo_move_to(picture, x - anchor * extents.x_advance, y);
    cairo_show_text(picture, words);
}
