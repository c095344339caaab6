/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tlb_trace: `quire tlb --trace FILE`. One reading of the trace, any number of models beside each
 * other: each processor with each page size.
 *
 *     effective access time, simulated   = tlb + (hits of level 2 and walks) tlb2
 *                                          + entries that walks read w + m        an access
 *     by formula                         = the same, each walk taken for a full one
 */
#include "cli/cli.h"
#include "cli/json_text.h"
#include "cli/table.h"
#include "cli/tlb.h"
#include "cli/tlb_model.h"
#include "cli/trace_input.h"
#include "cli/translation_tlb.h"

#include <quire/trace.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_MODELS (TLB_MAX_LIST * TLB_MAX_LIST)
#define DEFAULT_RAM 17179869184.0 /* 16 GiB: the most that a hashed table of ppc32 is made for */
#define DEFAULT_MEMORY_NS 100.0

struct subject { /* one model, and what its accesses take */
    const struct tlb_cpu *cpu;
    double page, tlb, tlb2, walk, memory;
    struct quire_tlb_config hardware;
    struct tlb_model *model;
};

struct tracing {
    const struct tlb_options *options;
    struct subject subjects[MAX_MODELS];
    unsigned n_subjects;
    uint64_t n_records, n_fetches;
    const char *every;
};

static const struct tlb_cpu custom = {
    .name = "custom", .title = "as --arrays says", .tables = "x86-48", .tlb2_ns = 2, .source = ""};

/* Looks at what has no meaning with a trace before anything is read. */
static bool check(const struct tlb_options *options)
{
    static const enum tlb_amount used[] = {TLB_TIME, TLB_TIME2, TLB_MEMORY,
                                           TLB_WALK, TLB_RAM,   TLB_SWITCH};

    for (unsigned i = 0; i < TLB_N_AMOUNTS; i++) {
        bool good = !tlb_has(options, (enum tlb_amount)i);
        for (size_t j = 0; j < sizeof used / sizeof used[0]; j++)
            good |= used[j] == (enum tlb_amount)i;
        if (!good) {
            cli_error("%s has no meaning for a trace, which is simulated",
                      tlb_amount_option((enum tlb_amount)i));
            return false;
        }
    }
    if (options->n_split > 0 || options->has_address) {
        cli_error("--split and --address have no meaning for a trace");
        return false;
    }
    if (options->arrays != NULL && options->n_cpus > 0) {
        cli_error("--arrays is a TLB of your own: leave out --cpu");
        return false;
    }
    for (unsigned i = 0; i < options->n_cpus; i++) {
        if (tlb_cpu_find(options->cpus[i]) == NULL) {
            cli_error("--cpu %s: there is no such processor\n`quire tlb --list-cpus' lists them; "
                      "--arrays describes another",
                      options->cpus[i]);
            return false;
        }
    }
    return true;
}

static bool add_subject(struct tracing *tracing, const struct tlb_cpu *cpu, const char *arrays,
                        double page)
{
    const struct tlb_options *options = tracing->options;
    struct subject *subject = &tracing->subjects[tracing->n_subjects];
    struct tlb_model_config config = {
        .tables = options->tables != NULL ? options->tables : cpu->tables,
        .page_shift = (unsigned)log2(page),
        .has_no_tags = options->has_no_tags,
        .switch_every = (uint64_t)tlb_or(options, TLB_SWITCH, 0),
        .physical_bytes = (uint64_t)tlb_or(options, TLB_RAM, DEFAULT_RAM),
    };

    if (!translation_tlb_parse(options->arrays != NULL ? "--arrays" : "--cpu", arrays,
                               &config.hardware))
        return false;
    double memory = tlb_or(options, TLB_MEMORY, DEFAULT_MEMORY_NS);
    *subject = (struct subject){
        .cpu = cpu,
        .page = page,
        .memory = memory,
        .tlb = tlb_or(options, TLB_TIME, 0),
        .tlb2 = tlb_or(options, TLB_TIME2, cpu->tlb2_ns),
        .walk = tlb_or(options, TLB_WALK, cpu->walk_ns > 0 ? cpu->walk_ns : memory),
        .hardware = config.hardware,
        .model = tlb_model_new(&config),
    };
    tracing->n_subjects += subject->model != NULL;
    return subject->model != NULL;
}

static bool add_subjects(struct tracing *tracing)
{
    const struct tlb_options *options = tracing->options;
    static const double small = 4096;
    const double *pages = options->n_pages > 0 ? options->pages : &small;
    unsigned n_pages = options->n_pages > 0 ? options->n_pages : 1;

    for (unsigned i = 0; i < (options->n_cpus > 0 ? options->n_cpus : 1); i++) {
        const char *name = options->n_cpus > 0 ? options->cpus[i] : "skylake";
        const struct tlb_cpu *cpu = options->arrays != NULL ? &custom : tlb_cpu_find(name);
        for (unsigned j = 0; j < n_pages; j++)
            if (!add_subject(tracing, cpu, options->arrays != NULL ? options->arrays : cpu->arrays,
                             pages[j]))
                return false;
    }
    return true;
}

/* A reference, and the second page that it may reach into. */
static bool refer(struct tracing *tracing, uint32_t process, uint64_t address, uint32_t n_bytes)
{
    for (unsigned i = 0; i < tracing->n_subjects; i++) {
        const struct subject *subject = &tracing->subjects[i];
        uint64_t page = (uint64_t)subject->page, last = address + (n_bytes > 0 ? n_bytes - 1 : 0);
        if (!tlb_model_reference(subject->model, process, address))
            return false;
        if (last > address && (last ^ address) >= page && last / page != address / page &&
            !tlb_model_reference(subject->model, process, last))
            return false;
    }
    return true;
}

static int replay(void *context, const struct quire_trace_record *records, size_t n,
                  const struct quire_trace *trace)
{
    struct tracing *tracing = context;
    const unsigned shift = quire_trace_info(trace)->unit_shift;

    for (size_t i = 0; i < n; i++) {
        const struct quire_trace_record *record = &records[i];
        tracing->n_fetches += record->kind == QUIRE_TRACE_FETCH;
        if (record->kind != QUIRE_TRACE_READ && record->kind != QUIRE_TRACE_WRITE)
            continue;
        tracing->n_records++;
        if (!refer(tracing, record->process, record->address << shift, record->n_bytes))
            return -ECANCELED;
    }
    return 0;
}

/* Results */

struct result {
    struct tlb_model_counts counts;
    unsigned levels;
    double hit1, hit2, walks, entries; /* per reference; entries a walk */
    double eat, formula;
};

static void find_result(const struct subject *subject, struct result *result)
{
    struct tlb_model_counts *counts = &result->counts;

    tlb_model_counts(subject->model, counts);
    double n = counts->n_references > 0 ? (double)counts->n_references : 1;
    result->levels = tlb_model_levels(subject->model);
    result->hit1 = (double)counts->n_hits[0] / n;
    result->hit2 = (double)counts->n_hits[1] / n;
    result->walks = (double)counts->n_walks / n;
    result->entries = counts->n_walks > 0 ? (double)counts->n_entries_read / (double)counts->n_walks
                                          : 0;
    double before = subject->tlb + (1 - result->hit1) * subject->tlb2 + subject->memory;
    result->eat = before + result->walks * result->entries * subject->walk;
    result->formula = before + result->walks * result->levels * subject->walk;
}

/* Whether a level of its TLB keeps pages of that size at all. */
static bool has_entries(const struct subject *subject)
{
    for (unsigned i = 0; i < subject->hardware.n_arrays; i++) {
        uint64_t sizes = subject->hardware.arrays[i].page_sizes;
        if (sizes == 0 || (sizes & (uint64_t)subject->page) != 0)
            return true;
    }
    return false;
}

static void add_format(struct table *table, const char *format, double value)
{
    char text[48];

    snprintf(text, sizeof text, format, value);
    table_add(table, text);
}

static bool print_text(const struct tracing *tracing)
{
    static const char *const heads[] = {
        "cpu",      "page",  "level 1 %", "level 2 %", "walks %",    "level 2 ns",   "entries/walk",
        "entry ns", "pages", "tables",    "EAT ns",    "by formula", "translation %"};
    struct table table = {.n_columns = sizeof heads / sizeof heads[0], .left = 1};

    for (unsigned i = 0; i < table.n_columns; i++)
        table_add(&table, heads[i]);
    for (unsigned i = 0; i < tracing->n_subjects; i++) {
        const struct subject *subject = &tracing->subjects[i];
        struct result result;
        find_result(subject, &result);
        table_add(&table, subject->cpu->name);
        table_add(&table, tlb_bytes(subject->page, TLB_TEXT));
        add_format(&table, "%.3f", 100 * result.hit1);
        add_format(&table, "%.3f", 100 * result.hit2);
        add_format(&table, "%.3f", 100 * result.walks);
        add_format(&table, "%.4g", subject->tlb2);
        add_format(&table, "%.2f", result.entries);
        add_format(&table, "%.4g", subject->walk);
        add_format(&table, "%.0f", (double)result.counts.n_pages);
        table_add(&table, tlb_bytes((double)result.counts.n_table_bytes, TLB_TEXT));
        add_format(&table, "%.2f", result.eat);
        add_format(&table, "%.2f", result.formula);
        add_format(&table, "%.2f",
                   result.eat > 0 ? 100 * (result.eat - subject->memory) / result.eat : 0);
    }
    const struct subject *first = &tracing->subjects[0];
    printf("%llu references", (unsigned long long)tracing->n_records);
    if (tracing->n_fetches > 0)
        printf(" of data; %llu of instructions left out, which have TLBs of their own",
               (unsigned long long)tracing->n_fetches);
    printf("; an access to memory takes %s\n\n", tlb_nanoseconds(first->memory, TLB_TEXT));
    bool good = table_print(&table, 0);
    table_free(&table);
    for (unsigned i = 0; i < tracing->n_subjects; i++) {
        const struct subject *subject = &tracing->subjects[i];
        if (!has_entries(subject))
            printf("%s has no entries for pages of %s: it walks each time\n", subject->cpu->name,
                   tlb_bytes(subject->page, TLB_TEXT));
    }
    return good;
}

static json_t *build_result(const struct subject *subject, const char *tables)
{
    struct result result;

    find_result(subject, &result);
    const struct tlb_model_counts *counts = &result.counts;
    return json_pack(
        "{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:i, s:f, s:f, s:f, "
        "s:f, s:f, s:f}",
        "cpu", subject->cpu->name, "tables", tables != NULL ? tables : subject->cpu->tables,
        "page_bytes", (json_int_t)subject->page, "references", (json_int_t)counts->n_references,
        "level1_hits", (json_int_t)counts->n_hits[0], "level2_hits", (json_int_t)counts->n_hits[1],
        "walks", (json_int_t)counts->n_walks, "entries_read", (json_int_t)counts->n_entries_read,
        "entries_saved", (json_int_t)counts->n_entries_saved, "switches",
        (json_int_t)counts->n_switches, "flushed", (json_int_t)counts->n_flushed, "pages",
        (json_int_t)counts->n_pages, "table_bytes", (json_int_t)counts->n_table_bytes, "levels",
        (int)result.levels, "tlb_ns", subject->tlb, "tlb2_ns", subject->tlb2, "entry_ns",
        subject->walk, "memory_ns", subject->memory, "eat_ns", result.eat, "eat_formula_ns",
        result.formula);
}

static bool print_json(const struct tracing *tracing)
{
    json_t *list = json_array();
    bool bad = list == NULL;

    for (unsigned i = 0; i < tracing->n_subjects; i++)
        bad |= json_array_append_new(
                   list, build_result(&tracing->subjects[i], tracing->options->tables)) != 0;
    json_t *json = json_pack("{s:s, s:s, s:s, s:I, s:I, s:o}", "schema", "quire.tlb/1", "version",
                             QUIRE_VERSION, "every", tracing->every, "data_references",
                             (json_int_t)tracing->n_records, "instruction_fetches",
                             (json_int_t)tracing->n_fetches, "models", list);
    bad |= json == NULL || json_dumpf(json, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) != 0;
    puts("");
    json_decref(json);
    return !bad;
}

/* A trace that has not every access says little about a TLB: that is told, or refused. */
static bool check_trace(struct tracing *tracing, const struct quire_trace_info *info)
{
    static const char *const names[] = {"access", "page", "sample"};

    tracing->every = names[info->every];
    if (!info->is_spatial) {
        cli_error("%s is a trace of objects, which have no addresses",
                  trace_input_name(&tracing->options->trace));
        return false;
    }
    if (info->every != QUIRE_TRACE_EVERY_ACCESS)
        cli_error("the trace has not every access, so a TLB would hit more often than this\n"
                  "record all of them: quire record --every access -- COMMAND");
    return true;
}

int tlb_trace(const struct tlb_options *options)
{
    static struct tracing tracing;
    int status = CLI_EXIT_FAILED;

    tracing.options = options;
    if (!check(options))
        return CLI_EXIT_FAILED;
    struct quire_trace *trace = trace_input_open(&options->trace);
    if (trace == NULL)
        return CLI_EXIT_FAILED;
    if (check_trace(&tracing, quire_trace_info(trace)) && add_subjects(&tracing) &&
        trace_input_read(trace, replay, &tracing)) {
        bool good = options->as_json ? print_json(&tracing) : print_text(&tracing);
        status = good ? EXIT_SUCCESS : CLI_EXIT_FAILED;
    }
    quire_trace_close(trace);
    for (unsigned i = 0; i < tracing.n_subjects; i++)
        tlb_model_free(tracing.subjects[i].model);
    return status;
}
