/* SPDX-License-Identifier: Apache-2.0 */
/*
 * free: `quire free`. How much memory there is and where it is, as free(1) counts it, with what
 * free(1) does not show; with --explain, how each figure follows from which fields.
 *
 * Exit status 0; 1 when it can't be read, 125 for a bad command line.
 */
#include "cli/cli.h"
#include "cli/command_line.h"
#include "cli/explain.h"
#include "cli/figures.h"
#include "cli/moment.h"
#include "cli/table.h"
#include "cli/watch.h"
#include "cli/when.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_EXPLAIN = 256 };

struct free_options {
    struct figure_options common;
    struct moment_options moment;
    struct watch_options watch;
    bool explain;
};

/* Less than sample_take() reads. */
static int read_sample(struct quire_observe *observe, struct sample *sample)
{
    sample->wall_ms = 0; /* now */
    int error = quire_observe_memory(observe, &sample->memory);

    if (error == 0)
        error = quire_observe_pressure(observe, &sample->pressure);
    if (error == 0)
        error = quire_observe_zram(observe, &sample->zram);
    if (error == 0)
        error = quire_observe_settings(observe, &sample->settings);
    if (error == 0)
        error = quire_observe_cgroup(observe, &sample->cgroup);
    return error;
}

static uint64_t swap_used(const struct quire_observe_memory *memory)
{
    if (!quire_observe_known(memory->swap_total) || !quire_observe_known(memory->swap_free))
        return memory->swap_total;
    return memory->swap_total - memory->swap_free;
}

static double ratio(uint64_t stored, uint64_t held)
{
    return quire_observe_known(stored) && quire_observe_known(held) && held > 0
               ? (double)stored / (double)held
               : 0;
}

static bool print_main(const struct quire_observe_memory *memory, bool exact)
{
    struct table table = {.n_columns = 8, .left = 1};
    static const char *const headings[] = {"",       "total",   "used",  "free",
                                           "shared", "buffers", "cache", "available"};
    const uint64_t rows[2][7] = {
        {memory->total, quire_observe_used(memory), memory->free, memory->shmem, memory->buffers,
         quire_observe_cache(memory), memory->available},
        {memory->swap_total, swap_used(memory), memory->swap_free, 0, 0, memory->swap_cached, 0}};

    for (unsigned i = 0; i < 8; i++)
        table_add(&table, headings[i]);
    for (unsigned row = 0; row < 2; row++) {
        table_add(&table, row == 0 ? "memory" : "swap");
        for (unsigned i = 0; i < 7; i++) {
            bool has_none = row == 1 && (i == 3 || i == 4 || i == 6);
            const char *cell = exact ? figure_count(rows[row][i], FIGURE)
                                     : figure_size(rows[row][i], FIGURE);
            table_add(&table, has_none ? "" : cell);
        }
    }
    bool good = table_print(&table, 0);
    table_free(&table);
    return good;
}

static void print_huge(const struct sample *sample)
{
    const struct quire_observe_memory *memory = &sample->memory;
    const struct quire_observe_settings *settings = &sample->settings;

    printf("huge pages  %s of %s, %s free, %s reserved\n",
           figure_count(memory->huge_total_pages, FIGURE),
           figure_size(memory->huge_page_bytes, FIGURE),
           figure_count(memory->huge_free_pages, FIGURE),
           figure_count(memory->huge_reserved_pages, FIGURE));
    printf("            transparent (%s): anonymous %s, shared %s, files %s\n",
           settings->huge_enabled[0] != '\0' ? settings->huge_enabled : "-",
           figure_size(memory->anonymous_huge, FIGURE), figure_size(memory->shmem_huge, FIGURE),
           figure_size(memory->file_huge, FIGURE));
}

static void print_compressed(const struct sample *sample)
{
    const struct quire_observe_memory *memory = &sample->memory;
    const struct quire_observe_zram *zram = &sample->zram;
    uint64_t enabled = sample->settings.zswap_enabled;

    printf("zswap       %s", !quire_observe_known(enabled) ? figure_count(enabled, FIGURE)
                             : enabled                     ? "on"
                                                           : "off");
    if (quire_observe_known(memory->zswapped) && (enabled == 1 || memory->zswapped > 0))
        printf(", stores %s in %s (%.1f : 1)", figure_size(memory->zswapped, FIGURE),
               figure_size(memory->zswap, FIGURE), ratio(memory->zswapped, memory->zswap));
    if (enabled == 1 && sample->settings.zswap_compressor[0] != '\0')
        printf(", %s", sample->settings.zswap_compressor);
    printf("\nzram        ");
    if (zram->n_devices == 0)
        printf("none set up\n");
    else
        printf("%s of %s, stores %s compressed to %s, takes %s of RAM (%.1f : 1)\n",
               figure_count(zram->n_devices, FIGURE), figure_size(zram->disk, FIGURE),
               figure_size(zram->stored, FIGURE), figure_size(zram->compressed, FIGURE),
               figure_size(zram->held, FIGURE), ratio(zram->stored, zram->held));
}

static void print_stall(const char *name, const struct quire_observe_stall *stall)
{
    printf("%s %s", name, figure_hundredths(stall->average_10s, FIGURE));
}

static void print_rest(const struct sample *sample)
{
    const struct quire_observe_memory *memory = &sample->memory;
    const struct quire_observe_pressure *pressure = &sample->pressure;
    const struct quire_observe_cgroup *cgroup = &sample->cgroup;
    char time[40];

    print_huge(sample);
    printf("slab        reclaimable %s, unreclaimable %s\n",
           figure_size(memory->slab_reclaimable, FIGURE),
           figure_size(memory->slab_unreclaimable, FIGURE));
    print_compressed(sample);
    print_stall("pressure    memory some", &pressure->memory_some);
    print_stall(" full", &pressure->memory_full);
    print_stall(", io some", &pressure->io_some);
    print_stall(" full", &pressure->io_full);
    print_stall(", cpu some", &pressure->cpu_some);
    printf("%s(%% of the last 10 s)\n",
           figures_width() > 0 && figures_width() < 100 ? "\n            " : "  ");
    if (cgroup->path[0] != '\0') /* the smaller of both is what binds */
        printf("limit       %s of %s used, in %s\n", figure_size(cgroup->used, FIGURE),
               figure_size(cgroup->soft_limit < cgroup->limit ? cgroup->soft_limit : cgroup->limit,
                           FIGURE),
               cgroup->path);
    if (sample->wall_ms != 0)
        printf("recorded    %s\n", when_text(sample->wall_ms, time, sizeof time));
}

static json_t *json_memory(const struct quire_observe_memory *memory)
{
    return json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "total_bytes",
        figure_json(memory->total), "used_bytes", figure_json(quire_observe_used(memory)),
        "free_bytes", figure_json(memory->free), "shared_bytes", figure_json(memory->shmem),
        "buffers_bytes", figure_json(memory->buffers), "cache_bytes",
        figure_json(quire_observe_cache(memory)), "available_bytes", figure_json(memory->available),
        "anonymous_bytes", figure_json(memory->anonymous), "dirty_bytes",
        figure_json(memory->dirty), "committed_bytes", figure_json(memory->committed),
        "commit_limit_bytes", figure_json(memory->commit_limit));
}

static json_t *json_swap(const struct sample *sample)
{
    const struct quire_observe_memory *memory = &sample->memory;
    const struct quire_observe_zram *zram = &sample->zram;
    uint64_t enabled = sample->settings.zswap_enabled;

    return json_pack(
        "{s:{s:o, s:o, s:o, s:o}, s:{s:o, s:o, s:o}, s:{s:o, s:o, s:o, s:o, s:o, s:o}}", "swap",
        "total_bytes", figure_json(memory->swap_total), "used_bytes",
        figure_json(swap_used(memory)), "free_bytes", figure_json(memory->swap_free),
        "cached_bytes", figure_json(memory->swap_cached), "zswap", "enabled",
        quire_observe_known(enabled) ? json_boolean(enabled) : figure_json(enabled), "stored_bytes",
        figure_json(memory->zswapped), "held_bytes", figure_json(memory->zswap), "zram", "devices",
        figure_json(zram->n_devices), "disk_bytes", figure_json(zram->disk), "stored_bytes",
        figure_json(zram->stored), "compressed_bytes", figure_json(zram->compressed), "held_bytes",
        figure_json(zram->held), "held_max_bytes", figure_json(zram->held_max));
}

static json_t *json_huge(const struct sample *sample)
{
    const struct quire_observe_memory *memory = &sample->memory;

    return json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:s, s:o, s:o, s:o}", "page_bytes",
        figure_json(memory->huge_page_bytes), "total_pages", figure_json(memory->huge_total_pages),
        "free_pages", figure_json(memory->huge_free_pages), "reserved_pages",
        figure_json(memory->huge_reserved_pages), "all_sizes_bytes", figure_json(memory->hugetlb),
        "transparent", sample->settings.huge_enabled, "transparent_anonymous_bytes",
        figure_json(memory->anonymous_huge), "transparent_shared_bytes",
        figure_json(memory->shmem_huge), "transparent_file_bytes", figure_json(memory->file_huge));
}

static json_t *build_json(const struct sample *sample, bool explain)
{
    const struct quire_observe_memory *memory = &sample->memory;
    const struct quire_observe_cgroup *cgroup = &sample->cgroup;
    json_t *json = json_pack(
        "{s:s, s:s, s:o, s:o, s:{s:o, s:o}, s:o, s:{s:o, s:s, s:o, s:o, s:o}}", "schema",
        "quire.free/1", "version", QUIRE_VERSION, "memory", json_memory(memory), "huge_pages",
        json_huge(sample), "slab", "reclaimable_bytes", figure_json(memory->slab_reclaimable),
        "unreclaimable_bytes", figure_json(memory->slab_unreclaimable), "pressure",
        figures_pressure_json(&sample->pressure), "cgroup", "version", figure_json(cgroup->version),
        "path", cgroup->path, "limit_bytes", figure_json(cgroup->limit), "soft_limit_bytes",
        figure_json(cgroup->soft_limit), "used_bytes", figure_json(cgroup->used));
    json_t *swap = json_swap(sample);
    char time[40];

    if (sample->wall_ms != 0)
        json_object_set_new(json, "time",
                            json_string(when_utc(sample->wall_ms, time, sizeof time)));
    if (json_object_update(json, swap) != 0 ||
        (explain && json_object_set_new(json, "explain", explain_json(memory)) != 0)) {
        json_decref(json);
        json = NULL;
    }
    json_decref(swap);
    return json;
}

static const struct argp_option option_list[] = {
    {"explain", KEY_EXPLAIN, NULL, 0,
     "Show how each figure follows from which fields of /proc/meminfo", 0},
    {0},
};

static const char documentation[] =
    "Show how much memory there is, what uses it, and how short it is: free(1)'s figures, huge "
    "pages, slabs, compressed swap, pressure, and the limit of this control group."
    "\v"
    "A figure that this kernel does not have is shown as -, one that it does not show to this user "
    "as denied.\n"
    "\n"
    "Examples:\n"
    "  quire free\n"
    "  quire free --explain        where the memory is, and why cache is not lost\n"
    "  quire free --watch=1        once a second\n"
    "  quire free --json | jq .memory.available_bytes\n"
    "  quire free --replay memory.log --at 14:30\n"
    "\n"
    "Exit status:\n"
    "  0    the figures were printed\n"
    "  1    they can't be read; a message says why\n"
    "  125  the command line can't be understood";

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct free_options *options = state->input;

    switch (key) {
    case KEY_EXPLAIN:
        options->explain = true;
        return 0;
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &options->common;
        state->child_inputs[1] = &options->moment;
        state->child_inputs[2] = &options->watch;
        return 0;
    case ARGP_KEY_END:
        if (options->moment.replay != NULL &&
            (options->common.root != NULL || options->watch.ms > 0))
            argp_error(state, "--replay goes neither with --root nor with --watch");
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "'%s': `quire free' takes no arguments", argument);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static bool print(const struct sample *sample, const struct free_options *options)
{
    if (options->common.as_json)
        return figures_print_json(build_json(sample, options->explain), options->watch.ms > 0);
    if (options->explain)
        return explain_print(&sample->memory);
    if (!print_main(&sample->memory, options->common.exact))
        return false;
    print_rest(sample);
    return true;
}

/* What a recording of another version, or of another machine, does not have is shown as absent. */
static int show_recorded(const struct free_options *options)
{
    struct feed *feed;
    int status;
    const struct sample *recorded = moment_open(&options->moment, &feed, &status);

    if (recorded == NULL)
        return status;
    struct sample sample = *recorded;
    if (!sample.has_zram)
        memset(&sample.zram, 0xff, sizeof sample.zram); /* absent */
    status = print(&sample, options) ? EXIT_SUCCESS : CLI_EXIT_FAILED;
    feed_close(feed);
    return status;
}

struct live {
    const struct free_options *options;
    struct quire_observe *observe;
};

static int show_live(void *context)
{
    const struct live *live = context;
    struct sample sample;
    int error = read_sample(live->observe, &sample);

    if (error < 0)
        return figures_failed(live->observe, error);
    return print(&sample, live->options) ? EXIT_SUCCESS : CLI_EXIT_FAILED;
}

int cli_free(int argc, char **argv)
{
    static const struct argp_child children[] = {
        {&figures_argp, 0, NULL, 0}, {&moment_argp, 0, NULL, 0}, {&watch_argp, 0, NULL, 0}, {0}};
    static const struct argp parser = {
        .options = option_list, .parser = parse_option, .doc = documentation, .children = children};
    struct free_options options = {.explain = false};

    command_line_parse(&parser, argc, argv, 0, &options);
    if (options.moment.replay != NULL)
        return show_recorded(&options);
    struct live live = {&options, figures_open(&options.common)};
    if (live.observe == NULL)
        return EXIT_FAILURE;
    int status = watch_run(&options.watch, options.common.as_json, show_live, &live);
    quire_observe_close(live.observe);
    return status;
}
