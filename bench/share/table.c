/* SPDX-License-Identifier: Apache-2.0 */
/* table: see table.h. */
#include "table.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const latency_names[N_MEASUREMENTS] = {
    [POLLED] = "polled", [BUSY] = "busy", [ASLEEP] = "asleep"};

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int compare_words(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double median(const double *values, unsigned n)
{
    double sorted[TABLE_MOST_ROUNDS];

    if (n == 0)
        return 0;
    memcpy(sorted, values, n * sizeof values[0]);
    qsort(sorted, n, sizeof sorted[0], compare_doubles);
    return sorted[n / 2];
}

void table_start(struct table *table, size_t n_bytes, unsigned n_lines)
{
    for (unsigned i = 0; i < table->n_lines; i++)
        for (unsigned what = 0; what < N_MEASUREMENTS; what++)
            free(table->line[i].latency_ns[what]);
    memset(table, 0, sizeof *table);
    table->n_bytes = n_bytes;
    table->n_lines = n_lines;
}

void line_start(struct line *line, const char *name, bool is_quire)
{
    line->name = name;
    line->is_quire = is_quire;
}

static void add_latencies(struct line *line, enum measurement what, const struct result *result)
{
    const unsigned n = line->n_latencies[what], more = result->n_latencies;
    uint32_t *all = realloc(line->latency_ns[what], (n + more) * sizeof *all);

    if (all == NULL || more == 0)
        return;
    memcpy(all + n, result->latency_ns, more * sizeof *all);
    line->latency_ns[what] = all;
    line->n_latencies[what] = n + more;
    qsort(all + n, more, sizeof *all, compare_words);
    line->p99_ns[what][line->n_p99[what]++] = all[n + (more - 1) * 99 / 100];
}

void line_add(struct line *line, enum measurement what, const struct result *result)
{
    const double cpu_ns = (double)(result->cpu_ns[SENDER] + result->cpu_ns[RECEIVER]);

    if (what == THROUGHPUT) {
        line->rate[line->n_rounds] = (double)result->n_messages * 1e9 / (double)result->time_ns;
        line->cpu_ns[line->n_rounds++] = cpu_ns / (double)result->n_messages;
    } else if (what == IDLE) {
        line->idle[line->n_idle++] = (double)result->cpu_ns[RECEIVER] / (double)result->time_ns;
    } else {
        add_latencies(line, what, result);
    }
}

void table_finish(struct table *table)
{
    for (unsigned i = 0; i < table->n_lines; i++)
        for (unsigned what = 0; what < N_MEASUREMENTS; what++)
            if (table->line[i].n_latencies[what] > 0)
                qsort(table->line[i].latency_ns[what], table->line[i].n_latencies[what],
                      sizeof(uint32_t), compare_words);
}

static double quantile_us(const struct line *line, enum measurement what, unsigned permille)
{
    const unsigned n = line->n_latencies[what];
    return n == 0 ? -1 : line->latency_ns[what][(uint64_t)(n - 1) * permille / 1000] / 1000.0;
}

/* Text */

void table_print_head(unsigned n_processors, unsigned n_rounds, bool ends)
{
    printf(
        "%u processors; medians of %u rounds; %s of each message written and checked\n"
        "latency in us, p50 p99 p99.9, from a message that is filled to one that has been read:\n"
        "  polled: one each 5 us, the receiver polls; busy: it blocks; asleep: one each 200 us\n",
        n_processors, n_rounds, ends ? "the ends" : "all");
}

static void print_latency(const struct line *line, enum measurement what)
{
    if (line->n_latencies[what] == 0) {
        printf(" |      -      -      -");
        return;
    }
    printf(" |");
    for (unsigned i = 0; i < 3; i++) {
        const double us = quantile_us(line, what, (const unsigned[]){500, 990, 999}[i]);
        printf(us < 10 ? " %6.2f" : us < 1000 ? " %6.1f" : " %6.0f", us);
    }
}

static void print_line(const struct table *table, const struct line *line, bool of_pointers)
{
    const double rate = median(line->rate, line->n_rounds);

    printf("%-28s", line->name);
    if (line->why_not != NULL) {
        printf(" skipped: %s\n", line->why_not);
        return;
    }
    printf(" %10.4f %7.2f", rate / 1e6, rate * (double)table->n_bytes / 1e9);
    if (!of_pointers)
        printf(" %9.0f", median(line->cpu_ns, line->n_rounds));
    print_latency(line, POLLED);
    for (enum measurement what = BUSY; what <= ASLEEP && !of_pointers; what++)
        print_latency(line, what);
    if (line->n_idle > 0)
        printf(" | %5.1f", 100 * median(line->idle, line->n_idle));
    if (line->n_failed > 0)
        printf("  %u FAILED", line->n_failed);
    putchar('\n');
}

/* A line of Quire's by the best of the others, round by round. */
static double rate_ratio(const struct table *table, unsigned quire)
{
    double ratios[TABLE_MOST_ROUNDS] = {0};
    const struct line *ours = &table->line[quire];

    for (unsigned round = 0; round < ours->n_rounds; round++) {
        double best = 0;
        for (unsigned i = 0; i < table->n_lines; i++)
            if (!table->line[i].is_quire && !table->line[i].is_bound &&
                table->line[i].n_rounds > round && table->line[i].rate[round] > best)
                best = table->line[i].rate[round];
        ratios[round] = best > 0 ? ours->rate[round] / best : 0;
    }
    return median(ratios, ours->n_rounds);
}

static double p99_ratio(const struct table *table, unsigned quire, enum measurement what)
{
    double ratios[TABLE_MOST_ROUNDS] = {0};
    const struct line *ours = &table->line[quire];

    for (unsigned round = 0; round < ours->n_p99[what]; round++) {
        double best = 0;
        for (unsigned i = 0; i < table->n_lines; i++) {
            const struct line *line = &table->line[i];
            if (!line->is_quire && line->n_p99[what] > round &&
                (best == 0 || line->p99_ns[what][round] < best))
                best = line->p99_ns[what][round];
        }
        ratios[round] = best > 0 ? ours->p99_ns[what][round] / best : 0;
    }
    return median(ratios, ours->n_p99[what]);
}

void table_print(const struct table *table, bool of_pointers)
{
    if (of_pointers)
        printf("\n%-28s %10s %7s | %-20s\n", "pointers between threads", "M/s", "GB/s", "polled");
    else
        printf("\n%7zu B %18s %10s %7s %9s | %-20s | %-20s | %-20s%s\n", table->n_bytes, "",
               "M msg/s", "GB/s", "CPU ns", "polled", "busy", "asleep",
               table->line[0].n_idle > 0 ? " | CPU % of an idle receiver" : "");
    for (unsigned i = 0; i < table->n_lines; i++)
        if (table->line[i].why_not != NULL || table->line[i].n_failed > 0 ||
            table->line[i].n_rounds > 0)
            print_line(table, &table->line[i], of_pointers);
    for (unsigned i = 0; i < table->n_lines; i++) {
        if (!table->line[i].is_quire || table->line[i].n_rounds == 0)
            continue;
        printf("%-28s by the best of the others: throughput %.2f, p99 polled %.2f",
               table->line[i].name, rate_ratio(table, i), p99_ratio(table, i, POLLED));
        if (!of_pointers)
            printf(", busy %.2f, asleep %.2f", p99_ratio(table, i, BUSY),
                   p99_ratio(table, i, ASLEEP));
        putchar('\n');
    }
    fflush(stdout);
}

/* JSON */

static json_t *all_lines;

static void add_latency_json(json_t *json, const struct line *line, enum measurement what)
{
    if (line->n_latencies[what] > 0)
        json_object_set_new(json, latency_names[what],
                            json_pack("{s:f, s:f, s:f}", "p50_us", quantile_us(line, what, 500),
                                      "p99_us", quantile_us(line, what, 990), "p999_us",
                                      quantile_us(line, what, 999)));
}

void table_add_json(const struct table *table, bool of_pointers)
{
    if (all_lines == NULL)
        all_lines = json_array();
    for (unsigned i = 0; i < table->n_lines; i++) {
        const struct line *line = &table->line[i];
        json_t *json = json_pack("{s:s, s:b, s:I}", "way", line->name, "pointers", of_pointers,
                                 "message_bytes", (json_int_t)table->n_bytes);
        json_array_append_new(all_lines, json);
        if (line->why_not != NULL) {
            json_object_set_new(json, "skipped", json_string(line->why_not));
            continue;
        }
        json_object_set_new(json, "messages_per_second",
                            json_real(median(line->rate, line->n_rounds)));
        if (!of_pointers)
            json_object_set_new(json, "cpu_ns_per_message",
                                json_real(median(line->cpu_ns, line->n_rounds)));
        for (enum measurement what = POLLED; what <= ASLEEP; what++)
            add_latency_json(json, line, what);
        if (line->n_failed > 0)
            json_object_set_new(json, "failed", json_integer(line->n_failed));
        if (line->n_idle > 0)
            json_object_set_new(json, "idle_cpu_share",
                                json_real(median(line->idle, line->n_idle)));
        if (line->is_quire)
            json_object_set_new(json, "throughput_by_best_other", json_real(rate_ratio(table, i)));
    }
}

void table_print_json(unsigned n_processors, unsigned n_rounds, bool ends)
{
    json_t *all = json_pack("{s:i, s:i, s:b, s:o}", "processors", (int)n_processors, "rounds",
                            (int)n_rounds, "ends_only", ends, "lines", all_lines);

    json_dumpf(all, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(all);
}
