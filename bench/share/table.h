/* SPDX-License-Identifier: Apache-2.0 */
/* table: the figures of all ways for one size, and how they are shown. */
#ifndef QUIRE_BENCH_TABLE_H
#define QUIRE_BENCH_TABLE_H

#include "measure.h"

#define TABLE_MOST_ROUNDS 25u
#define TABLE_MOST_LINES 16u

/* A throughput in GB/s is that of the contents. A ratio is Quire's by the others', more is better
 * for throughput, less for latency. */
struct line {
    const char *name, *why_not;
    bool is_quire, is_bound; /* memory alone: what no way can be faster than */
    unsigned n_failed;       /* measurements */
    unsigned n_rounds, n_idle;
    double rate[TABLE_MOST_ROUNDS];   /* messages a second */
    double cpu_ns[TABLE_MOST_ROUNDS]; /* of both, a message */
    double idle[TABLE_MOST_ROUNDS];   /* share of a processor that the receiver takes */
    uint32_t *latency_ns[N_MEASUREMENTS];
    unsigned n_latencies[N_MEASUREMENTS];
    double p99_ns[N_MEASUREMENTS][TABLE_MOST_ROUNDS];
    unsigned n_p99[N_MEASUREMENTS];
};

struct table {
    size_t n_bytes;
    unsigned n_lines;
    struct line line[TABLE_MOST_LINES]; /* the last: memory alone, where it was measured */
};

void table_start(struct table *table, size_t n_bytes, unsigned n_lines);
void line_start(struct line *line, const char *name, bool is_quire);
void line_add(struct line *line, enum measurement what, const struct result *result);
void table_finish(struct table *table); /* sorts what is to be sorted */

void table_print_head(unsigned n_processors, unsigned n_rounds, bool ends);
void table_print(const struct table *table, bool of_pointers);
void table_add_json(const struct table *table, bool of_pointers);
void table_print_json(unsigned n_processors, unsigned n_rounds, bool ends);

#endif
