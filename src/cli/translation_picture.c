/* SPDX-License-Identifier: Apache-2.0 */
/*
 * translation_picture: virtual addresses on the left, physical ones on the right, a band for each
 * mapping.
 *
 *     0xffff888000000000  +----+.......
 *                         |    |       ''''''...+----+  0x0
 *                         +----+.......         |    |
 *                         +----+       '''''....+----+
 *
 * Address spaces are mostly empty, and sizes differ by nine powers of ten: a mapping's height grows
 * with the logarithm of its size, on both sides, and a gap has one height. On the right a frame
 * that is mapped often stands once.
 */
#include "cli/translation_picture.h"

#include "base/size.h"
#include "cli/drawing.h"

#include <quire/mmu.h>

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define WIDTH 940.0
#define LEFT 170.0
#define RIGHT 640.0
#define BOX 120.0
#define TOP 56.0
#define LEAST 13.0
#define GAP 8.0
#define MAX_BANDS 120

struct place {
    uint64_t start, end; /* exclusive; 0: the end of all */
    double y, height;
};

static int by_size(const void *a, const void *b)
{
    const struct translation_band *one = a, *other = b;
    return one->n_bytes < other->n_bytes ? 1 : -(one->n_bytes > other->n_bytes);
}

static int by_va(const void *a, const void *b)
{
    const struct translation_band *one = a, *other = b;
    return one->va < other->va ? -1 : one->va > other->va;
}

static int by_start(const void *a, const void *b)
{
    const struct place *one = a, *other = b;
    return one->start < other->start ? -1 : one->start > other->start;
}

static double height_of(uint64_t n_bytes)
{
    return LEAST + 3 * log2(1 + (double)n_bytes / 4096);
}

/* Lays the places out from the top, the lowest address first; returns where the last ends. */
static double lay_out(struct place *places, size_t n)
{
    double y = TOP;

    for (size_t i = 0; i < n; i++) {
        if (i > 0 && places[i].start != places[i - 1].end)
            y += GAP;
        places[i].y = y;
        places[i].height = height_of(places[i].end - places[i].start);
        y += places[i].height;
    }
    return y;
}

/* Physical ranges, overlapping ones joined. */
static size_t join(struct place *places, size_t n)
{
    size_t n_joined = 0;

    qsort(places, n, sizeof places[0], by_start);
    for (size_t i = 0; i < n; i++) {
        struct place *last = n_joined > 0 ? &places[n_joined - 1] : NULL;
        if (last != NULL && places[i].start < last->end) {
            if (places[i].end > last->end)
                last->end = places[i].end;
        } else {
            places[n_joined++] = places[i];
        }
    }
    return n_joined;
}

/* The part of a place's height that an address stands at. */
static double at(const struct place *place, uint64_t address)
{
    return place->y +
           place->height * (double)(address - place->start) / (double)(place->end - place->start);
}

static const struct place *find(const struct place *places, size_t n, uint64_t address)
{
    for (size_t i = 0; i < n; i++)
        if (address - places[i].start < places[i].end - places[i].start)
            return &places[i];
    return NULL;
}

/* Writable, executable, user's: what people look for. */
static void set_shade(cairo_t *picture, uint32_t rights, double alpha)
{
    bool is_user = (rights & QUIRE_MMU_USER) != 0 || (rights & 0x38) != 0;
    bool may_write = (rights & (QUIRE_MMU_SW | QUIRE_MMU_UW)) != 0;
    bool may_execute = (rights & (QUIRE_MMU_SX | QUIRE_MMU_UX)) != 0;

    if (may_write && may_execute)
        cairo_set_source_rgba(picture, 0.75, 0.15, 0.20, alpha);
    else if (may_execute)
        cairo_set_source_rgba(picture, 0.85, 0.50, 0.13, alpha);
    else if (is_user)
        cairo_set_source_rgba(picture, 0.20, 0.55, 0.30, alpha);
    else
        cairo_set_source_rgba(picture, 0.15, 0.40, 0.68, alpha);
}

static void draw_band(cairo_t *picture, const struct translation_band *band,
                      const struct place *left, const struct place *right)
{
    double x0 = LEFT + BOX, x1 = RIGHT, middle = (x0 + x1) / 2;
    double top = at(right, band->address);
    double bottom = at(right, band->address + (band->n_bytes - 1)) + 0.8;

    cairo_move_to(picture, x0, left->y);
    cairo_curve_to(picture, middle, left->y, middle, top, x1, top);
    cairo_line_to(picture, x1, bottom);
    cairo_curve_to(picture, middle, bottom, middle, left->y + left->height, x0,
                   left->y + left->height);
    cairo_close_path(picture);
    set_shade(picture, band->rights, 0.22);
    cairo_fill(picture);
}

static void draw_box(cairo_t *picture, double x, const struct place *place, const uint32_t *rights)
{
    cairo_rectangle(picture, x, place->y, BOX, place->height);
    if (rights != NULL)
        set_shade(picture, *rights, 0.75);
    else
        cairo_set_source_rgb(picture, 0.85, 0.85, 0.85);
    cairo_fill_preserve(picture);
    cairo_set_source_rgb(picture, 0.3, 0.3, 0.3);
    cairo_stroke(picture);
}

static void draw_words(cairo_t *picture, const struct place *place, bool is_left)
{
    char address[32], size[24];

    snprintf(address, sizeof address, "0x%" PRIx64, place->start);
    size_format(place->end - place->start, size, sizeof size);
    drawing_text(picture, is_left ? LEFT - 6 : RIGHT + BOX + 6, place->y + 9, is_left ? 1 : 0,
                 address);
    cairo_set_source_rgb(picture, 1, 1, 1);
    if (is_left) {
        cairo_move_to(picture, LEFT + 4, place->y + 9);
        cairo_show_text(picture, size);
    } else {
        drawing_text(picture, RIGHT + 4, place->y + 9, 0, size);
    }
}

static void draw(cairo_t *picture, const char *title, const struct translation_band *bands,
                 const struct place *left, size_t n, const struct place *right, size_t n_right)
{
    cairo_select_font_face(picture, "sans-serif", CAIRO_FONT_SLANT_NORMAL,
                           CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(picture, 15);
    drawing_text(picture, 20, 22, 0, title);
    cairo_set_font_size(picture, 10);
    drawing_text(
        picture, 20, 40, 0,
        "virtual (left) to physical (right); blue: supervisor, green: user, orange: executable, "
        "red: writable and executable; heights grow with the logarithm of the size");
    cairo_set_line_width(picture, 0.7);
    for (size_t i = 0; i < n; i++) {
        const struct place *its = find(right, n_right, bands[i].address);
        if (its != NULL)
            draw_band(picture, &bands[i], &left[i], its);
    }
    for (size_t i = 0; i < n; i++) {
        draw_box(picture, LEFT, &left[i], &bands[i].rights);
        draw_words(picture, &left[i], true);
    }
    for (size_t i = 0; i < n_right; i++) {
        draw_box(picture, RIGHT, &right[i], NULL);
        draw_words(picture, &right[i], false);
    }
}

static int write_surface(const char *path, const char *title, const struct translation_band *bands,
                         struct place *left, size_t n, struct place *right, size_t n_right)
{
    double height = fmax(fmax(lay_out(left, n), lay_out(right, n_right)) + 20, 90);
    cairo_t *picture = drawing_begin(path, WIDTH, height);

    draw(picture, title, bands, left, n, right, n_right);
    return drawing_end(picture);
}

int translation_picture_write(const char *path, const char *title, struct translation_band *bands,
                              size_t n)
{
    struct place *places;

    if (n > 1)
        qsort(bands, n, sizeof bands[0], by_size);
    n = n < MAX_BANDS ? n : MAX_BANDS;
    if (n > 1)
        qsort(bands, n, sizeof bands[0], by_va);
    places = calloc(2 * MAX_BANDS, sizeof *places);
    if (places == NULL)
        return -ENOMEM;
    struct place *right = places + MAX_BANDS;
    for (size_t i = 0; i < n; i++) {
        places[i] = (struct place){bands[i].va, bands[i].va + bands[i].n_bytes, 0, 0};
        right[i] = (struct place){bands[i].address, bands[i].address + bands[i].n_bytes, 0, 0};
    }
    int error = write_surface(path, title, bands, places, n, right, join(right, n));
    free(places);
    return error;
}
