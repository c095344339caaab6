/* SPDX-License-Identifier: Apache-2.0 */
/*
 * zones: `quire zones`. The kernel's buddy system, or that of a process under Quire (--pid): per
 * zone the watermarks, the free blocks by order and how fragmented they are; with --types by
 * mobility as well.
 *
 * Exit status 0; 1 when it can't be read, 125 for a bad command line.
 */
#include "cli/cli.h"
#include "cli/command_line.h"
#include "cli/figures.h"
#include "cli/moment.h"
#include "cli/table.h"
#include "cli/target.h"
#include "cli/watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_BYTES 4096
#define NAMES_WIDTH 24u /* before the orders */

struct zones_options {
    struct figure_options common;
    struct moment_options moment;
    struct watch_options watch;
    bool types;
    int pid; /* of a process under Quire; 0: the kernel */
};

static const char *zone_size(uint64_t n_pages, bool exact, struct figure_text *text)
{
    return figure_short(quire_observe_known(n_pages) ? n_pages * PAGE_BYTES : n_pages, exact, text);
}

/* How the free pages stand to the watermarks. */
static const char *state_of(const struct quire_observe_zone *zone)
{
    if (!quire_observe_known(zone->free_pages) || !quire_observe_known(zone->min_pages))
        return "-";
    if (zone->free_pages < zone->min_pages)
        return "below min";
    if (zone->free_pages < zone->low_pages)
        return "below low";
    return zone->free_pages < zone->high_pages ? "below high" : "ok";
}

static bool print_watermarks(const struct quire_observe_zones *zones, bool exact)
{
    static const char *const headings[] = {"node", "zone", "managed", "free",      "min",
                                           "low",  "high", "boost",   "watermarks"};
    struct table table = {.n_columns = 9, .left = 1 << 1 | 1 << 8};

    for (unsigned i = 0; i < 9; i++)
        table_add(&table, headings[i]);
    for (unsigned i = 0; i < zones->n_zones; i++) {
        const struct quire_observe_zone *zone = &zones->zones[i];
        const uint64_t figures[] = {zone->managed_pages, zone->free_pages, zone->min_pages,
                                    zone->low_pages,     zone->high_pages, zone->boost_pages};
        table_add(&table, figure_count(zone->node, FIGURE));
        table_add(&table, zone->name);
        for (unsigned k = 0; k < 6; k++)
            table_add(&table, zone_size(figures[k], exact, FIGURE));
        table_add(&table, state_of(zone));
    }
    bool good = table_print(&table, 0);
    table_free(&table);
    return good;
}

static void add_orders(struct table *table, unsigned n_orders)
{
    char name[24];

    for (unsigned order = 0; order < n_orders; order++) {
        snprintf(name, sizeof name, "%u", order);
        table_add(table, name);
    }
}

/* Eleven orders with their names fit in 80 columns when no cell is wider than this. */
static bool is_narrow(unsigned n_orders)
{
    const unsigned width = figures_width();

    return width > 0 && width < NAMES_WIDTH + n_orders * 6;
}

/* On a narrow terminal 12345 is 12k. */
static void add_blocks(struct table *table, const uint64_t *blocks, unsigned n_orders)
{
    const bool narrow = is_narrow(n_orders);

    for (unsigned order = 0; order < n_orders; order++) {
        const uint64_t n = blocks[order];
        table_add(table, narrow && n > 9999 && quire_observe_known(n)
                             ? figure_rate((double)n, FIGURE)
                             : figure_count(n, FIGURE));
    }
}

typedef int index_of(const struct quire_observe_zone *zone, unsigned n_orders, unsigned order);

static void add_index(struct table *table, const struct quire_observe_zones *zones,
                      const struct quire_observe_zone *zone, index_of *index)
{
    char cell[24];
    const int n_digits = is_narrow(zones->n_orders) ? 2 : 3;

    for (unsigned order = 0; order < zones->n_orders; order++) {
        int thousandths = index(zone, zones->n_orders, order);
        snprintf(cell, sizeof cell, "%.*f", n_digits, thousandths / 1000.0);
        table_add(table, thousandths == -1000 ? "." : cell);
    }
}

static void add_zone(struct table *table, const struct quire_observe_zone *zone, const char *what)
{
    table_add(table, figure_count(zone->node, FIGURE));
    table_add(table, zone->name);
    table_add(table, what);
}

static bool print_orders(const struct quire_observe_zones *zones, bool types)
{
    struct table table = {.n_columns = zones->n_orders + 3, .left = 1 << 1 | 1 << 2};

    table_add(&table, "node");
    table_add(&table, "zone");
    table_add(&table, "order");
    add_orders(&table, zones->n_orders);
    for (unsigned i = 0; i < zones->n_zones; i++) {
        const struct quire_observe_zone *zone = &zones->zones[i];
        add_zone(&table, zone, "free blocks");
        add_blocks(&table, zone->free_blocks, zones->n_orders);
        for (unsigned type = 0; types && type < zones->n_types; type++) {
            add_zone(&table, zone, zones->type_names[type]);
            add_blocks(&table, zone->free_blocks_of[type], zones->n_orders);
        }
        add_zone(&table, zone, "unusable");
        add_index(&table, zones, zone, quire_observe_unusable_index);
        add_zone(&table, zone, "fragmented");
        add_index(&table, zones, zone, quire_observe_fragmentation_index);
    }
    bool good = table_print(&table, 0);
    table_free(&table);
    return good;
}

static bool types_denied(const struct quire_observe_zones *zones)
{
    return zones->n_zones > 0 && zones->zones[0].page_blocks_of[0] == QUIRE_OBSERVE_DENIED;
}

static bool print_text(const struct quire_observe_zones *zones, const struct zones_options *options)
{
    if (!print_watermarks(zones, options->common.exact))
        return false;
    putchar('\n');
    if (!print_orders(zones, options->types))
        return false;
    if (options->types && zones->n_types == 0)
        printf("by mobility: %s\n", types_denied(zones)              ? "denied; root sees it"
                                    : options->moment.replay != NULL ? "not in a recording"
                                                                     : "this kernel does not say");
    return true;
}

static json_t *list_json(const uint64_t *figures, unsigned n)
{
    json_t *list = json_array();

    for (unsigned i = 0; i < n; i++)
        json_array_append_new(list, figure_json(figures[i]));
    return list;
}

static json_t *index_json(const struct quire_observe_zones *zones,
                          const struct quire_observe_zone *zone, index_of *index)
{
    json_t *list = json_array();

    for (unsigned order = 0; order < zones->n_orders; order++)
        json_array_append_new(list, json_real(index(zone, zones->n_orders, order) / 1000.0));
    return list;
}

static json_t *zone_json(const struct quire_observe_zones *zones,
                         const struct quire_observe_zone *zone)
{
    json_t *types = types_denied(zones) ? json_string("denied") : json_object();

    for (unsigned type = 0; type < zones->n_types; type++)
        json_object_set_new(types, zones->type_names[type],
                            json_pack("{s:o, s:o}", "free_blocks",
                                      list_json(zone->free_blocks_of[type], zones->n_orders),
                                      "page_blocks", figure_json(zone->page_blocks_of[type])));
    return json_pack("{s:i, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "node",
                     (int)zone->node, "zone", zone->name, "managed_pages",
                     figure_json(zone->managed_pages), "free_pages", figure_json(zone->free_pages),
                     "min_pages", figure_json(zone->min_pages), "low_pages",
                     figure_json(zone->low_pages), "high_pages", figure_json(zone->high_pages),
                     "boost_pages", figure_json(zone->boost_pages), "free_blocks",
                     list_json(zone->free_blocks, zones->n_orders), "unusable_index",
                     index_json(zones, zone, quire_observe_unusable_index), "fragmentation_index",
                     index_json(zones, zone, quire_observe_fragmentation_index), "mobility", types);
}

static bool print_json(const struct quire_observe_zones *zones, const struct zones_options *options)
{
    const int pid = options->pid;
    json_t *list = json_array();

    for (unsigned i = 0; i < zones->n_zones; i++)
        json_array_append_new(list, zone_json(zones, &zones->zones[i]));
    return figures_print_json(
        json_pack("{s:s, s:s, s:o, s:i, s:o, s:o}", "schema", "quire.zones/1", "version",
                  QUIRE_VERSION, "pid", pid > 0 ? json_integer(pid) : json_null(), "page_bytes",
                  PAGE_BYTES, "page_block_pages", figure_json(zones->block_pages), "zones", list),
        options->watch.ms > 0);
}

enum { KEY_PID = 256 };

static const struct argp_option option_list[] = {
    {"pid", KEY_PID, "PID", 0,
     "The zones of a process that runs under Quire, not the kernel's; of a `quire run', those of "
     "its largest process",
     0},
    {"types", 't', NULL, 0, "The free blocks by mobility, too (root's since Linux 5.7)", 0},
    {0},
};

static const char documentation[] =
    "Show the zones of the kernel's buddy system, or of a program's under Quire: their watermarks, "
    "their free blocks of 2^order pages, and for each order how fragmented they are."
    "\v"
    "unusable: the part of the free pages that lies in blocks too small for this order, 0 to 1. "
    "fragmented: why an allocation of this order would fail: towards 0 for lack of memory, towards "
    "1 for fragmentation; a dot where it would succeed.\n"
    "\n"
    "A process's zones, `heap' and `mappings', are ranges of its addresses, in pages of 4 KiB: "
    "managed is what was ever used of them, and free what of that is not used now. What finds no "
    "free block there is taken from the addresses beyond. They are read without stopping the "
    "process.\n"
    "\n"
    "Examples:\n"
    "  quire zones\n"
    "  sudo quire zones --types\n"
    "  quire zones --pid $(pidof job)\n"
    "  quire zones --watch=1\n"
    "  quire zones --json | jq '.zones[].unusable_index[9]'\n"
    "  quire zones --replay memory.log --at 14:30\n"
    "\n"
    "Exit status:\n"
    "  0    the zones were printed\n"
    "  1    they can't be read; a message says why\n"
    "  125  the command line can't be understood";

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct zones_options *options = state->input;

    switch (key) {
    case KEY_PID:
        options->pid = target_parse_pid(argument);
        if (options->pid == 0)
            argp_error(state, "--pid %s: that is no process id", argument);
        return 0;
    case 't':
        options->types = true;
        return 0;
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &options->common;
        state->child_inputs[1] = &options->moment;
        state->child_inputs[2] = &options->watch;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "'%s': `quire zones' takes a process by --pid PID", argument);
        return 0;
    case ARGP_KEY_END:
        if (options->pid != 0 && options->common.root != NULL)
            argp_error(state, "--pid and --root: leave out one of both");
        if (options->moment.replay != NULL &&
            (options->pid != 0 || options->common.root != NULL || options->watch.ms > 0))
            argp_error(state, "--replay goes with none of --pid, --root and --watch");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static int print(const struct quire_observe_zones *zones, const struct zones_options *options)
{
    bool good = options->common.as_json ? print_json(zones, options) : print_text(zones, options);

    return good ? EXIT_SUCCESS : CLI_EXIT_FAILED;
}

static int show_recorded(const struct zones_options *options)
{
    struct feed *feed;
    int status;
    const struct sample *sample = moment_open(&options->moment, &feed, &status);

    if (sample == NULL)
        return status;
    status = sample->zones.n_zones > 0 ? print(&sample->zones, options)
                                       : moment_lacks("zones", sample->zones_error);
    feed_close(feed);
    return status;
}

struct live {
    const struct zones_options *options;
    struct quire_observe *observe;
};

static int show_live(void *context)
{
    const struct live *live = context;
    const int pid = live->options->pid;
    struct quire_observe_zones zones;
    int error = pid != 0 ? quire_observe_run_zones(live->observe, pid, &zones)
                         : quire_observe_zones(live->observe, &zones);

    if (error < 0)
        return pid != 0 ? target_tell_unreadable(pid, error) : figures_failed(live->observe, error);
    return print(&zones, live->options);
}

int cli_zones(int argc, char **argv)
{
    static const struct argp_child children[] = {
        {&figures_argp, 0, NULL, 0}, {&moment_argp, 0, NULL, 0}, {&watch_argp, 0, NULL, 0}, {0}};
    static const struct argp parser = {
        .options = option_list, .parser = parse_option, .doc = documentation, .children = children};
    struct zones_options options = {.types = false};

    command_line_parse(&parser, argc, argv, 0, &options);
    if (options.moment.replay != NULL)
        return show_recorded(&options);
    if (options.pid != 0)
        options.pid = target_largest(options.pid);
    struct live live = {&options, figures_open(&options.common)};
    if (live.observe == NULL)
        return EXIT_FAILURE;
    int status = watch_run(&options.watch, options.common.as_json, show_live, &live);
    quire_observe_close(live.observe);
    return status;
}
