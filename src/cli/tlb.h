/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tlb: what the files of `quire tlb` share: what the command line gives.
 *
 *   tlb_options.c  the command line           tlb_ask.c     the questions, and what each needs
 *   tlb_cpu.c      real processors            tlb_ask_*.c   their answers
 *   tlb_model.c    hardware and page tables   tlb_trace.c   a trace through models, the table
 */
#ifndef QUIRE_CLI_TLB_H
#define QUIRE_CLI_TLB_H

#include "cli/derivation.h"
#include "cli/trace_input.h"

#include <argp.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>

/* Amounts that an option gives; times in nanoseconds, ratios from 0 to 1, sizes in bytes. */
enum tlb_amount {
    TLB_VA_BITS,
    TLB_PTE,
    TLB_LEVELS,
    TLB_HIT,
    TLB_HIT2,
    TLB_TIME,
    TLB_TIME2,
    TLB_MEMORY,
    TLB_WALK,
    TLB_WALK_SAVED,
    TLB_CACHE_HIT,
    TLB_CACHE,
    TLB_FAULT_RATE,
    TLB_FAULT,
    TLB_DIRTY,
    TLB_WRITE_BACK,
    TLB_EAT,
    TLB_SLOWDOWN,
    TLB_RAM,
    TLB_USED,
    TLB_PAGES,
    TLB_FRAMES,
    TLB_ENTRIES,
    TLB_BUCKETS,
    TLB_PROCESSES,
    TLB_SWITCH,
    TLB_N_AMOUNTS
};

#define TLB_MAX_LIST 16

struct tlb_options {
    const char *question;
    struct trace_input trace;
    double amount[TLB_N_AMOUNTS]; /* NaN: not given */
    double pages[TLB_MAX_LIST];   /* page sizes, powers of two */
    unsigned n_pages;
    unsigned split[TLB_MAX_LIST]; /* bits, the highest first, the offset last */
    unsigned n_split;
    bool has_address;
    uint64_t address;
    char *cpus[TLB_MAX_LIST]; /* allocated */
    unsigned n_cpus;
    const char *arrays, *tables;
    bool lists_cpus, has_no_tags, as_json;
};

static inline bool tlb_has(const struct tlb_options *options, enum tlb_amount amount)
{
    return !isnan(options->amount[amount]);
}

static inline double tlb_or(const struct tlb_options *options, enum tlb_amount amount,
                            double otherwise)
{
    return tlb_has(options, amount) ? options->amount[amount] : otherwise;
}

void tlb_options_parse(int argc, char **argv, struct tlb_options *options);
const char *tlb_amount_option(enum tlb_amount amount); /* "--va-bits" */

/* Numbers as people write them, in a buffer that is valid for the expression: TLB_TEXT. */
struct tlb_text {
    char buffer[48];
};
#define TLB_TEXT (&(struct tlb_text){""})
const char *tlb_bytes(double bytes, struct tlb_text *text);      /* "4 KiB", "1.5 GiB" */
const char *tlb_nanoseconds(double ns, struct tlb_text *text);   /* "122 ns", "8.2 µs" */
const char *tlb_count(double count, struct tlb_text *text);      /* "512 (2^9)", "1000" */
const char *tlb_ratio_text(double ratio, struct tlb_text *text); /* "98 %" */

/* Answers options->question; an exit status. */
int tlb_ask(const struct tlb_options *options);
void tlb_ask_help(char *text, size_t n_bytes); /* the list of questions */

/* tlb_ask_tables.c, tlb_ask_time.c. False, with a message: there is no answer. */
bool tlb_ask_levels(const struct tlb_options *options, struct derivation *derivation);
bool tlb_ask_size(const struct tlb_options *options, struct derivation *derivation);
bool tlb_ask_split(const struct tlb_options *options, struct derivation *derivation);
bool tlb_ask_bits(const struct tlb_options *options, struct derivation *derivation);
bool tlb_ask_inverted(const struct tlb_options *options, struct derivation *derivation);
bool tlb_ask_hashed(const struct tlb_options *options, struct derivation *derivation);
bool tlb_ask_page_size(const struct tlb_options *options, struct derivation *derivation);
bool tlb_ask_eat(const struct tlb_options *options, struct derivation *derivation);
bool tlb_ask_hit(const struct tlb_options *options, struct derivation *derivation);
bool tlb_ask_fault_rate(const struct tlb_options *options, struct derivation *derivation);
bool tlb_ask_reach(const struct tlb_options *options, struct derivation *derivation);

/* tlb_trace.c: a trace through the models; an exit status. */
int tlb_trace(const struct tlb_options *options);

#endif
