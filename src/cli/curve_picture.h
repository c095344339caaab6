/* SPDX-License-Identifier: Apache-2.0 */
/* curve_picture: curves over sizes or time, as SVG. */
#ifndef QUIRE_CLI_CURVE_PICTURE_H
#define QUIRE_CLI_CURVE_PICTURE_H

#include <stdbool.h>
#include <stddef.h>

enum curve_unit { CURVE_COUNT, CURVE_BYTES, CURVE_SHARE }; /* CURVE_SHARE: 1 is 100 % */

struct curve_point {
    double x, y;
};

struct curve_series {
    const char *name;
    const struct curve_point *points; /* x rises */
    size_t n;
    bool has_marks;                       /* the points are seen */
    const struct curve_point *low, *high; /* n of each: a band around it; NULL: none */
};

struct curve_panel {
    const char *title, *x_title, *y_title;
    enum curve_unit x_unit, y_unit;
    bool is_log;  /* x is; then all x are above 0 */
    bool is_bars; /* of one series: each from its x to the next one's */
    const struct curve_series *series;
    size_t n_series; /* up to 32 get a colour of their own */
};

/*
 * Panels below each other. Returns 0, *text (to be freed by free()) and its length; -ENOMEM.
 */
int curve_picture(const struct curve_panel *panels, size_t n, const char *title, char **text,
                  size_t *n_bytes);

#endif
