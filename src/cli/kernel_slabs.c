/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_slabs: see kernel_slabs.h. The columns are those of slabs.c; the kernel tells of no caches
 * of free objects and of no requests, so these are absent. */
#include "cli/kernel_slabs.h"

#include "cli/cli.h"
#include "cli/figures.h"
#include "cli/lines.h"
#include "cli/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_BYTES 4096

static uint64_t n_pages(const struct quire_observe_slab *slab)
{
    return slab->slabs * slab->pages_a_slab;
}

static uint64_t held(const struct quire_observe_slab *slab)
{
    return n_pages(slab) * PAGE_BYTES;
}

static uint64_t idle(const struct quire_observe_slab *slab)
{
    uint64_t active = slab->active_objects * slab->object_bytes;

    return held(slab) > active ? held(slab) - active : 0;
}

static uint64_t tails(const struct quire_observe_slab *slab)
{
    uint64_t used = slab->slabs * slab->objects_a_slab * slab->object_bytes;

    return held(slab) > used ? held(slab) - used : 0;
}

static double fill(const struct quire_observe_slab *slab)
{
    return slab->objects > 0 ? 100.0 * (double)slab->active_objects / (double)slab->objects : 0;
}

static double value_of(const struct quire_observe_slab *slab, const char *key)
{
    if (strcmp(key, "active") == 0)
        return (double)slab->active_objects;
    if (strcmp(key, "objects") == 0)
        return (double)slab->objects;
    if (strcmp(key, "spans") == 0)
        return (double)slab->slabs;
    if (strcmp(key, "bytes") == 0)
        return (double)held(slab);
    if (strcmp(key, "fill") == 0)
        return fill(slab);
    if (strcmp(key, "waste") == 0)
        return (double)idle(slab);
    return strcmp(key, "size") == 0 ? -(double)slab->object_bytes : 0; /* size rises */
}

static const char *sort_key; /* qsort(3) has no context */

static int compare(const void *a, const void *b)
{
    double x = value_of(a, sort_key), y = value_of(b, sort_key);

    if (x > y || x < y)
        return x > y ? -1 : 1;
    return strcmp(((const struct quire_observe_slab *)a)->name,
                  ((const struct quire_observe_slab *)b)->name);
}

static bool print_text(const struct quire_observe_slabs *slabs,
                       const struct kernel_slabs_options *options)
{
    static const char *const headings[] = {"class", "size",  "active", "cached", "objects", "fill%",
                                           "slabs", "pages", "held",   "waste",  "tails"};
    /* on a narrow terminal without: cached, slabs, pages, tails */
    struct table table = {.n_columns = 11, .left = 1, .spare = 1 << 3 | 1 << 6 | 1 << 7 | 1 << 10};
    struct figure_text percent;
    char total[256];
    uint64_t sums[4] = {0};

    for (unsigned i = 0; i < 11; i++)
        table_add(&table, headings[i]);
    for (size_t i = 0; i < slabs->n_caches; i++) {
        const struct quire_observe_slab *slab = &slabs->caches[i];
        sums[0] += held(slab), sums[1] += idle(slab), sums[2] += slab->active_objects;
        sums[3] += slab->objects;
        if (slab->slabs == 0 && !options->all)
            continue;
        snprintf(percent.buffer, sizeof percent.buffer, "%.1f", fill(slab));
        table_add(&table, slab->name);
        table_add(&table, figure_count(slab->object_bytes, FIGURE));
        table_add(&table, figure_count(slab->active_objects, FIGURE));
        table_add(&table, "-");
        table_add(&table, figure_count(slab->objects, FIGURE));
        table_add(&table, percent.buffer);
        table_add(&table, figure_count(slab->slabs, FIGURE));
        table_add(&table, figure_count(n_pages(slab), FIGURE));
        table_add(&table, figure_size(held(slab), FIGURE));
        table_add(&table, figure_size(idle(slab), FIGURE));
        table_add(&table, figure_size(tails(slab), FIGURE));
    }
    bool good = table_print(&table, figures_width());
    table_free(&table);
    snprintf(total, sizeof total, "all: %zu caches, %s of %s objects active, held %s, waste %s",
             slabs->n_caches, figure_count(sums[2], FIGURE), figure_count(sums[3], FIGURE),
             figure_size(sums[0], FIGURE), figure_size(sums[1], FIGURE));
    lines_put(stdout, total, figures_width(), 5);
    return good;
}

static bool print_json(const struct quire_observe_slabs *slabs,
                       const struct kernel_slabs_options *options)
{
    json_t *list = json_array();

    for (size_t i = 0; i < slabs->n_caches; i++) {
        const struct quire_observe_slab *slab = &slabs->caches[i];
        if (slab->slabs == 0 && !options->all)
            continue;
        json_array_append_new(
            list,
            json_pack("{s:s, s:o, s:o, s:o, s:o, s:f, s:o, s:o, s:o, s:o, s:o, s:o}", "name",
                      slab->name, "object_bytes", figure_json(slab->object_bytes), "active_objects",
                      figure_json(slab->active_objects), "cached_objects", json_null(), "objects",
                      figure_json(slab->objects), "fill_percent", fill(slab), "spans",
                      figure_json(slab->slabs), "pages", figure_json(n_pages(slab)), "held_bytes",
                      figure_json(held(slab)), "waste_bytes", figure_json(idle(slab)), "tail_bytes",
                      figure_json(tails(slab)), "requested_bytes", json_null()));
    }
    return figures_print_json(json_pack("{s:s, s:s, s:i, s:o}", "schema", "quire.slabs/1",
                                        "version", QUIRE_VERSION, "page_bytes", PAGE_BYTES,
                                        "classes", list),
                              options->watch.ms > 0);
}

static int print(struct quire_observe_slabs *slabs, const struct kernel_slabs_options *options)
{
    sort_key = options->sort;
    qsort(slabs->caches, slabs->n_caches, sizeof *slabs->caches, compare);
    return (options->as_json ? print_json : print_text)(slabs, options) ? EXIT_SUCCESS
                                                                        : CLI_EXIT_FAILED;
}

static int show_recorded(const struct kernel_slabs_options *options)
{
    struct feed *feed;
    int status;
    const struct sample *sample = moment_open(&options->moment, &feed, &status);

    if (sample == NULL)
        return status;
    struct quire_observe_slabs slabs = sample->slabs;
    status = slabs.n_caches > 0 ? print(&slabs, options)
                                : moment_lacks("slab caches", sample->slabs_error);
    feed_close(feed);
    return status;
}

struct live {
    const struct kernel_slabs_options *options;
    struct quire_observe *observe;
};

static int show_live(void *context)
{
    const struct live *live = context;
    struct quire_observe_slabs slabs;
    int error = quire_observe_slabs(live->observe, &slabs);

    return error < 0 ? figures_failed(live->observe, error) : print(&slabs, live->options);
}

int kernel_slabs_show(const struct kernel_slabs_options *options)
{

    if (options->moment.replay != NULL)
        return show_recorded(options);
    struct live live = {options, figures_open(&(struct figure_options){.root = options->root})};
    if (live.observe == NULL)
        return EXIT_FAILURE;
    int status = watch_run(&options->watch, options->as_json, show_live, &live);
    quire_observe_close(live.observe);
    return status;
}
