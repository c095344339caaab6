/* SPDX-License-Identifier: Apache-2.0 */
/*
 * maps: `quire maps PID`. An address space from the highest address down, as textbooks draw it:
 *
 *      stack, vdso
 *      mappings, libraries
 *      heap
 *      data, text
 *
 * Neighbours that are of one file or of one kind are one line unless --all is given. With --svg the
 * same is drawn.
 * Exit status 0; 1 when the process can't be read, 125 for a bad command line.
 */
#include "cli/cli.h"
#include "cli/command_line.h"
#include "cli/figures.h"
#include "cli/lines.h"
#include "cli/maps_picture.h"
#include "cli/picture.h"
#include "cli/table.h"
#include "cli/target.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_SVG = 256 };

struct maps_options {
    struct figure_options common;
    int pid;
    bool all;
    const char *svg_path;
};

static uint64_t sum(uint64_t a, uint64_t b)
{
    return quire_observe_known(a) && quire_observe_known(b) ? a + b : b;
}

/* Of one thing: one file's parts, or anonymous memory of one kind without a gap. */
static bool belong_together(const struct maps_area *area, const struct quire_observe_mapping *next)
{
    if (area->kind != next->kind)
        return false;
    if (area->kind == QUIRE_OBSERVE_ARENA || area->kind == QUIRE_OBSERVE_VDSO)
        return true;
    if (strcmp(area->name, next->name) == 0)
        return next->name[0] != '\0' || area->end == next->start;
    return area->end == next->start && next->name[0] == '\0'; /* bss */
}

static void add(struct maps_area *area, const struct quire_observe_mapping *mapping)
{
    area->end = mapping->end;
    area->size += mapping->end - mapping->start;
    area->n_mappings++;
    area->rss = sum(area->rss, mapping->rss);
    area->pss = sum(area->pss, mapping->pss);
    area->dirty = sum(area->dirty, mapping->dirty);
    area->swap = sum(area->swap, mapping->swap);
    area->huge = sum(area->huge, mapping->huge);
    area->locked = sum(area->locked, mapping->locked);
    for (unsigned i = 0; i < 4; i++)
        if (mapping->permissions[i] != '-')
            area->permissions[i] = mapping->permissions[i];
}

/* The areas by rising address; NULL: no memory. */
static struct maps_area *gather(const struct quire_observe_mappings *mappings, bool all, size_t *n)
{
    struct maps_area *areas = calloc(mappings->n + 1, sizeof *areas);

    *n = 0;
    for (size_t i = 0; areas != NULL && mappings->list != NULL && i < mappings->n; i++) {
        const struct quire_observe_mapping *mapping = &mappings->list[i];
        if (all || *n == 0 || !belong_together(&areas[*n - 1], mapping))
            areas[(*n)++] = (struct maps_area){.start = mapping->start,
                                               .kind = mapping->kind,
                                               .name = mapping->name,
                                               .permissions = "----"};
        add(&areas[*n - 1], mapping);
    }
    return areas;
}

static struct maps_area total_of(const struct maps_area *areas, size_t n)
{
    struct maps_area total = {.permissions = "", .name = ""};

    for (size_t i = 0; i < n; i++) {
        total.size += areas[i].size;
        total.n_mappings += areas[i].n_mappings;
        total.rss = sum(total.rss, areas[i].rss);
        total.pss = sum(total.pss, areas[i].pss);
        total.dirty = sum(total.dirty, areas[i].dirty);
        total.swap = sum(total.swap, areas[i].swap);
        total.huge = sum(total.huge, areas[i].huge);
        total.locked = sum(total.locked, areas[i].locked);
    }
    return total;
}

static void add_row(struct table *table, const struct maps_area *area, const char *start,
                    const char *kind, bool exact)
{
    const uint64_t figures[] = {area->size, area->rss,  area->pss,   area->dirty,
                                area->swap, area->huge, area->locked};

    table_add(table, start);
    table_add(table, area->permissions);
    table_add(table, kind);
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++)
        table_add(table, figure_short(figures[i], exact, FIGURE));
    table_add(table, area->name);
}

static void print_run(const void *context, FILE *to)
{
    const struct quire_observe_process *process = context;

    fprintf(to,
            "Quire holds: resident %s, staged %s, compressed %s, swap file %s, its tables %s; the "
            "run %s of %s\n",
            figure_size(process->run_resident, FIGURE), figure_size(process->run_staged, FIGURE),
            figure_size(process->run_compressed, FIGURE), figure_size(process->run_file, FIGURE),
            figure_size(process->run_metadata, FIGURE), figure_size(process->run_held, FIGURE),
            figure_size(process->run_budget, FIGURE));
}

static bool print_text(const struct maps_area *areas, size_t n,
                       const struct quire_observe_process *process,
                       const struct maps_options *options)
{
    static const char *const headings[] = {"start", "perm", "kind", "size",   "rss", "pss",
                                           "dirty", "swap", "huge", "locked", "what"};
    struct table table = {
        .n_columns = 11, .left = 1 << 1 | 1 << 2 | 1 << 10, .spare = 1 << 8 | 1 << 9};
    struct maps_area total = total_of(areas, n);
    char start[24];

    printf("process %d (%s), the highest address first\n", process->pid, process->name);
    for (unsigned i = 0; i < 11; i++)
        table_add(&table, headings[i]);
    for (size_t i = n; i-- > 0;) {
        snprintf(start, sizeof start, "%012" PRIx64, areas[i].start);
        add_row(&table, &areas[i], start, quire_observe_kind_name(areas[i].kind),
                options->common.exact);
    }
    add_row(&table, &total, "", "all", options->common.exact);
    bool good = table_print(&table, figures_width());
    table_free(&table);
    if (process->run != 0)
        lines_fold(stdout, 13, print_run, process);
    return good;
}

static json_t *text_json(const char *text)
{
    json_t *json = json_string(text);

    return json != NULL ? json : json_string("?"); /* no UTF-8 */
}

static json_t *area_json(const struct maps_area *area)
{
    char start[24], end[24];

    snprintf(start, sizeof start, "%" PRIx64, area->start);
    snprintf(end, sizeof end, "%" PRIx64, area->end);
    return json_pack("{s:s, s:s, s:s, s:s, s:o, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "start",
                     start, "end", end, "permissions", area->permissions, "kind",
                     quire_observe_kind_name(area->kind), "name", text_json(area->name), "mappings",
                     (json_int_t)area->n_mappings, "size_bytes", figure_json(area->size),
                     "rss_bytes", figure_json(area->rss), "pss_bytes", figure_json(area->pss),
                     "dirty_bytes", figure_json(area->dirty), "swap_bytes", figure_json(area->swap),
                     "huge_bytes", figure_json(area->huge), "locked_bytes",
                     figure_json(area->locked));
}

static bool print_json(const struct maps_area *areas, size_t n,
                       const struct quire_observe_process *process)
{
    json_t *list = json_array(), *run = json_null();

    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, area_json(&areas[i]));
    if (process->run != 0)
        run = json_pack(
            "{s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "resident_bytes",
            figure_json(process->run_resident), "staged_bytes", figure_json(process->run_staged),
            "compressed_bytes", figure_json(process->run_compressed), "swap_file_bytes",
            figure_json(process->run_file), "metadata_bytes", figure_json(process->run_metadata),
            "held_bytes", figure_json(process->run_held), "budget_bytes",
            figure_json(process->run_budget));
    return figures_print_json(json_pack("{s:s, s:s, s:i, s:o, s:o, s:o}", "schema", "quire.maps/1",
                                        "version", QUIRE_VERSION, "pid", process->pid, "program",
                                        text_json(process->name), "areas", list, "run", run),
                              false);
}

/* The process itself, and what Quire holds of it, which only a look at all processes finds. */
static int read_process(struct quire_observe *observe, int pid,
                        struct quire_observe_process *process)
{
    struct quire_observe_processes processes;
    int error = quire_observe_processes(observe, QUIRE_OBSERVE_RUNS, &processes);

    for (size_t i = 0; error == 0 && i < processes.n; i++)
        if (processes.list[i].pid == pid) {
            *process = processes.list[i];
            return 0;
        }
    return error < 0 ? error : -ESRCH;
}

static int show(struct quire_observe *observe, const struct maps_options *options)
{
    struct quire_observe_mappings mappings = {.n = 0};
    struct quire_observe_process process = {.pid = 0};
    char title[128];
    size_t n;
    int error = read_process(observe, options->pid, &process);

    if (error == 0)
        error = quire_observe_mappings(observe, options->pid, &mappings);
    if (error == -ESRCH || error == -ENODATA) {
        cli_error(error == -ESRCH ? "there is no process %d"
                                  : "process %d has no memory of its own: it is a thread of the "
                                    "kernel, or has ended",
                  options->pid);
        return EXIT_FAILURE;
    }
    if (error == -EACCES || error == -EPERM) {
        cli_error("cannot look into process %d: not permitted\nbe its user or root", options->pid);
        return EXIT_FAILURE;
    }
    if (error < 0)
        return figures_failed(observe, error);
    struct maps_area *areas = gather(&mappings, options->all, &n);
    bool good = areas != NULL;
    if (!good)
        cli_error("out of memory");
    else if (options->svg_path != NULL) {
        snprintf(title, sizeof title, "process %d (%s)", process.pid, process.name);
        good = picture_maps(options->svg_path, title, areas, n);
    } else {
        good = options->common.as_json ? print_json(areas, n, &process)
                                       : print_text(areas, n, &process, options);
    }
    free(areas);
    return good ? EXIT_SUCCESS : CLI_EXIT_FAILED;
}

static const struct argp_option option_list[] = {
    {"all", 'a', NULL, 0, "Each mapping on a line of its own", 0},
    {"svg", KEY_SVG, "FILE", 0, "Draw it into this file", 0},
    {0},
};

static const char documentation[] =
    "Show the address space of process PID from the highest address down: what is mapped where, "
    "and of each area its size and what of it is resident, dirty, swapped out, in huge pages and "
    "locked."
    "\v"
    "The kinds: text, data (with bss), heap, arena (Quire's, of `quire run'), anonymous, file, "
    "library, shared, stack, vdso. rss and the figures behind it are denied for other users' "
    "processes.\n"
    "\n"
    "Examples:\n"
    "  quire maps $$\n"
    "  quire maps 1234 --svg map.svg\n"
    "  quire maps 1234 --json | jq '.areas[] | select(.kind == \"heap\")'\n"
    "\n"
    "Exit status:\n"
    "  0    the address space was printed\n"
    "  1    the process can't be read; a message says why\n"
    "  125  the command line can't be understood, or the picture can't be written";

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct maps_options *options = state->input;

    switch (key) {
    case 'a':
        options->all = true;
        return 0;
    case KEY_SVG:
        options->svg_path = argument;
        return 0;
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &options->common;
        return 0;
    case ARGP_KEY_ARG:
        if (options->pid != 0)
            argp_error(state, "'%s': `quire maps' takes one process", argument);
        options->pid = target_parse_pid(argument);
        if (options->pid == 0)
            argp_error(state, "'%s' is no process id", argument);
        return 0;
    case ARGP_KEY_END:
        if (options->pid == 0)
            argp_error(state, "which process? give its PID");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int cli_maps(int argc, char **argv)
{
    static const struct argp_child children[] = {{&figures_argp, 0, NULL, 0}, {0}};
    static const struct argp parser = {.options = option_list,
                                       .parser = parse_option,
                                       .args_doc = "PID",
                                       .doc = documentation,
                                       .children = children};
    struct maps_options options = {.pid = 0};

    command_line_parse(&parser, argc, argv, 0, &options);
    struct quire_observe *observe = figures_open(&options.common);
    if (observe == NULL)
        return EXIT_FAILURE;
    int status = show(observe, &options);
    quire_observe_close(observe);
    return status;
}
