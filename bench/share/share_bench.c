/* SPDX-License-Identifier: Apache-2.0 */
/*
 * share_bench: Quire's rings beside what else carries messages between two processes (way.h) or
 * pointers between two threads (pointers.h). README.md says how to read it.
 *
 * All ways take turns within a round, since where the two processors are put decides as much as the
 * way does; medians over the rounds, and ratios within a round.
 */
#include "measure.h"
#include "pointers.h"
#include "table.h"

#include <argp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static const size_t sizes[] = {8, 64, 1024, 65536, 1048576};
#define N_SIZES (sizeof sizes / sizeof sizes[0])
#define BOUND_BYTES 65536u /* from here on memory alone is what counts */

struct options {
    unsigned n_rounds;
    size_t only_bytes; /* 0: all sizes */
    const char *only_way;
    bool ends, no_pointers, as_json, real_time;
};

static bool is_wanted(const struct options *options, const char *name, bool is_quire)
{
    return options->only_way == NULL || is_quire || strstr(name, options->only_way) != NULL;
}

static bool has(const struct way *way, enum measurement what)
{
    if (what == POLLED)
        return way->can_poll;
    return what == BUSY || what == ASLEEP ? way->can_block : true;
}

static void line_fail(struct line *line, const struct result *result)
{
    line->why_not = result->why_not;
    line->n_failed += result->failed;
}

/* One turn of one way. What it can't do for this size is not tried again. */
static void take_turn(const struct options *options, const struct way *way, size_t n_bytes,
                      struct result *result, struct line *line)
{
    for (enum measurement what = THROUGHPUT; what < N_MEASUREMENTS; what++) {
        if (line->why_not != NULL)
            return;
        if (!has(way, what) || (what == IDLE && n_bytes != sizes[0]))
            continue;
        if (measure(way, n_bytes, what, options->ends, result))
            line_add(line, what, result);
        else
            line_fail(line, result);
    }
}

static void measure_size(const struct options *options, size_t n_bytes, struct result *result,
                         struct table *table)
{
    struct line *bound = &table->line[n_ways];

    table_start(table, n_bytes, n_ways + 1);
    line_start(bound, "memory alone", false);
    bound->is_bound = true;
    for (unsigned i = 0; i < n_ways; i++)
        line_start(&table->line[i], ways[i]->name, ways[i]->is_quire);
    for (unsigned round = 0; round < options->n_rounds; round++) {
        for (unsigned i = 0; i < n_ways; i++) {
            const unsigned turn = (i + round) % n_ways;
            if (is_wanted(options, ways[turn]->name, ways[turn]->is_quire))
                take_turn(options, ways[turn], n_bytes, result, &table->line[turn]);
        }
        if (!options->ends && n_bytes >= BOUND_BYTES && measure_memory(n_bytes, result))
            line_add(bound, THROUGHPUT, result);
    }
    table_finish(table);
}

static void measure_pointers(const struct options *options, struct result *result,
                             struct table *table)
{
    table_start(table, sizeof(void *), n_pointer_ways);
    for (unsigned i = 0; i < n_pointer_ways; i++)
        line_start(&table->line[i], pointer_ways[i]->name, pointer_ways[i]->is_quire);
    for (unsigned round = 0; round < options->n_rounds; round++) {
        for (unsigned i = 0; i < n_pointer_ways; i++) {
            const unsigned turn = (i + round) % n_pointer_ways;
            struct line *line = &table->line[turn];
            for (enum measurement what = THROUGHPUT; what <= POLLED; what++) {
                if (line->why_not != NULL)
                    continue;
                if (pointers_measure(pointer_ways[turn], what == POLLED, result))
                    line_add(line, what, result);
                else
                    line_fail(line, result);
            }
        }
    }
    table_finish(table);
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct options *options = state->input;
    char *end = NULL;
    unsigned long value = argument != NULL ? strtoul(argument, &end, 10) : 0;

    switch (key) {
    case 'r':
        if (*end != '\0' || value == 0 || value > TABLE_MOST_ROUNDS)
            argp_error(state, "'%s': 1 to %u rounds", argument, TABLE_MOST_ROUNDS);
        options->n_rounds = (unsigned)value;
        return 0;
    case 's':
        for (unsigned i = 0; i < N_SIZES; i++)
            if (*end == '\0' && sizes[i] == value)
                options->only_bytes = value;
        if (options->only_bytes == 0)
            argp_error(state, "'%s': 8, 64, 1024, 65536 or 1048576", argument);
        return 0;
    case 'o':
        options->only_way = argument;
        return 0;
    case 'e':
        options->ends = true;
        return 0;
    case 'n':
        options->no_pointers = true;
        return 0;
    case 't':
        options->real_time = true;
        return 0;
    case 'j':
        options->as_json = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option option_list[] = {
    {"rounds", 'r', "N", 0, "5 if it is not given", 0},
    {"size", 's', "BYTES", 0, "Messages of this size alone", 0},
    {"only", 'o', "NAME", 0, "Of the others, those alone whose name has NAME in it", 0},
    {"ends", 'e', NULL, 0, "Write and check the first and last word of each message, not all", 0},
    {"no-pointers", 'n', NULL, 0, "Leave out the rings of pointers between threads", 0},
    {"real-time", 't', NULL, 0,
     "By SCHED_FIFO, as root: for a machine that has other work, which stands still meanwhile", 0},
    {"json", 'j', NULL, 0, "Print the figures as JSON", 0},
    {0},
};

/* False: a way of ours failed. Others may be absent, or not be able to. */
static bool show(const struct options *options, const struct table *table, bool of_pointers)
{
    if (options->as_json)
        table_add_json(table, of_pointers);
    else
        table_print(table, of_pointers);
    for (unsigned i = 0; i < table->n_lines; i++) {
        const struct line *line = &table->line[i];
        if (line->is_quire && (line->why_not != NULL || line->n_failed > 0)) {
            fprintf(stderr, "share_bench: %s: %s\n", line->name,
                    line->why_not != NULL ? line->why_not : "a measurement failed");
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    static const struct argp parser = {
        .options = option_list,
        .parser = parse_option,
        .doc = "Quire's rings beside pipes, sockets, queues, libqb and ZeroMQ between processes, "
               "and beside ck_ring and rte_ring between threads: throughput, latency, CPU time."};
    struct options options = {.n_rounds = 5};
    struct result *result = mmap(NULL, sizeof *result, PROT_READ | PROT_WRITE,
                                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct table *table = calloc(1, sizeof *table);
    bool well = true;

    argp_parse(&parser, argc, argv, 0, NULL, &options);
    if (result == MAP_FAILED || table == NULL)
        return EXIT_FAILURE;
    signal(SIGPIPE, SIG_IGN);
    if (options.real_time && (measure_n_processors() < 2 || !measure_take_real_time())) {
        fputs("share_bench: --real-time wants two processors, and root\n", stderr);
        return EXIT_FAILURE;
    }
    if (!options.as_json)
        table_print_head(measure_n_processors(), options.n_rounds, options.ends);
    for (unsigned i = 0; i < N_SIZES; i++) {
        if (options.only_bytes != 0 && options.only_bytes != sizes[i])
            continue;
        measure_size(&options, sizes[i], result, table);
        well &= show(&options, table, false);
    }
    if (!options.no_pointers && measure_n_processors() > 1) {
        measure_pointers(&options, result, table);
        well &= show(&options, table, true);
    } else if (!options.no_pointers) {
        fputs("pointers between threads: skipped: there is one processor\n", stderr);
    }
    if (options.as_json)
        table_print_json(measure_n_processors(), options.n_rounds, options.ends);
    free(table);
    return well ? EXIT_SUCCESS : EXIT_FAILURE;
}
