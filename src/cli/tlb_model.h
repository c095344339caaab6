/* SPDX-License-Identifier: Apache-2.0 */
/* tlb_model: a processor's TLBs in front of real page tables, fed with references. */
#ifndef QUIRE_CLI_TLB_MODEL_H
#define QUIRE_CLI_TLB_MODEL_H

#include <quire/tlb.h>

/* A processor. Times and walk caches are assumed of all of them. */
struct tlb_cpu {
    const char *name, *title;
    const char *arrays; /* as --arrays has it */
    const char *tables; /* as --tables has it */
    double tlb2_ns;     /* second level; the first is looked up beside the data cache */
    double walk_ns;     /* reading an entry, which lies in a cache as a rule; 0: as memory */
    const char *source;
    const char *assumed; /* of the arrays, or where they are simpler than the processor; "" */
};

extern const struct tlb_cpu tlb_cpus[];
extern const unsigned tlb_n_cpus;
const struct tlb_cpu *tlb_cpu_find(const char *name); /* NULL: no such */

struct tlb_model;

struct tlb_model_config {
    struct quire_tlb_config hardware;
    const char *tables;
    unsigned page_shift;
    bool has_no_tags;
    uint64_t switch_every;   /* references; 0: never */
    uint64_t physical_bytes; /* that hashed and inverted tables are made for */
};

struct tlb_model_counts {
    uint64_t n_references, n_hits[2], n_walks;
    uint64_t n_entries_read, n_entries_saved; /* by walks and the walk cache */
    uint64_t n_switches, n_flushed;
    uint64_t n_pages;       /* mapped, all processes */
    uint64_t n_table_bytes; /* that page tables took */
};

/* NULL with a message: no such tables, no such page size, no memory. */
struct tlb_model *tlb_model_new(const struct tlb_model_config *config);
void tlb_model_free(struct tlb_model *model);

/* False, with a message: the address space of the tables, or their memory, is exhausted. */
bool tlb_model_reference(struct tlb_model *model, uint32_t process, uint64_t address);

void tlb_model_counts(const struct tlb_model *model, struct tlb_model_counts *counts);
/* How many tables a full walk goes through: entries it reads; hashed: 1, inverted:
 * 2 at best. */
unsigned tlb_model_levels(const struct tlb_model *model);

#endif
