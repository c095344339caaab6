/* SPDX-License-Identifier: Apache-2.0 */
/* drawing: see drawing.h. */
#include "cli/drawing.h"

#include <cairo-svg.h>
#include <errno.h>

#define INK 0.13, 0.13, 0.13

cairo_t *drawing_begin(const char *path, double width, double height)
{
    cairo_surface_t *surface = cairo_svg_surface_create(path, width, height);
    cairo_t *picture = cairo_create(surface);

    cairo_surface_destroy(surface); /* the picture has it */
    cairo_set_source_rgb(picture, 1, 1, 1);
    cairo_paint(picture);
    return picture;
}

int drawing_end(cairo_t *picture)
{
    cairo_surface_t *surface = cairo_surface_reference(cairo_get_target(picture));

    cairo_destroy(picture);
    cairo_surface_finish(surface);
    cairo_status_t status = cairo_surface_status(surface);
    cairo_surface_destroy(surface);
    if (status == CAIRO_STATUS_SUCCESS)
        return 0;
    return status == CAIRO_STATUS_NO_MEMORY ? -ENOMEM : -EIO;
}

void drawing_text(cairo_t *picture, double x, double y, double anchor, const char *words)
{
    cairo_text_extents_t extents;

    cairo_text_extents(picture, words, &extents);
    cairo_set_source_rgb(picture, INK);
    cairo_move_to(picture, x - anchor * extents.x_advance, y);
    cairo_show_text(picture, words);
}
