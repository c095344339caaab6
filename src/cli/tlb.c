/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tlb: `quire tlb`. The hardware that translates addresses, by formula (--ask) and by simulation
 * (--trace).
 *
 * Exit status 0, or 125: the command line or the trace can't be understood, or the question has no
 * answer.
 */
#include "cli/tlb.h"

#include "cli/cli.h"
#include "cli/json_text.h"
#include "cli/table.h"
#include "cli/tlb_model.h"

#include <stdio.h>
#include <stdlib.h>

static bool list_as_json(void)
{
    json_t *list = json_array();
    bool bad = list == NULL;

    for (unsigned i = 0; i < tlb_n_cpus; i++) {
        const struct tlb_cpu *cpu = &tlb_cpus[i];
        bad |= json_array_append_new(
                   list, json_pack("{s:s, s:s, s:s, s:s, s:f, s:f, s:s, s:s}", "cpu", cpu->name,
                                   "title", cpu->title, "arrays", cpu->arrays, "tables",
                                   cpu->tables, "tlb2_ns", cpu->tlb2_ns, "entry_ns", cpu->walk_ns,
                                   "source", cpu->source, "assumed", cpu->assumed)) != 0;
    }
    bad |= list == NULL || json_dumpf(list, stdout, JSON_INDENT(2)) != 0;
    puts("");
    json_decref(list);
    return !bad;
}

static int list_cpus(bool as_json)
{
    struct table table = {.n_columns = 6, .left = 63};

    if (as_json)
        return list_as_json() ? EXIT_SUCCESS : CLI_EXIT_FAILED;
    table_add(&table, "cpu");
    table_add(&table, "processor");
    table_add(&table, "tables");
    table_add(&table, "arrays");
    table_add(&table, "source");
    table_add(&table, "assumed");
    for (unsigned i = 0; i < tlb_n_cpus; i++) {
        table_add(&table, tlb_cpus[i].name);
        table_add(&table, tlb_cpus[i].title);
        table_add(&table, tlb_cpus[i].tables);
        table_add(&table, tlb_cpus[i].arrays);
        table_add(&table, tlb_cpus[i].source);
        table_add(&table, tlb_cpus[i].assumed);
    }
    bool good = table_print(&table, 0);
    table_free(&table);
    return good ? EXIT_SUCCESS : CLI_EXIT_FAILED;
}

int cli_tlb(int argc, char **argv)
{
    struct tlb_options options;

    tlb_options_parse(argc, argv, &options);
    int status = options.lists_cpus         ? list_cpus(options.as_json)
                 : options.question != NULL ? tlb_ask(&options)
                                            : tlb_trace(&options);
    for (unsigned i = 0; i < options.n_cpus; i++)
        free(options.cpus[i]);
    return status;
}
