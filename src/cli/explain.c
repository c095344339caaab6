/* SPDX-License-Identifier: Apache-2.0 */
/*
 * explain: see explain.h. Each equation is a row of a table: its terms name the fields as
 * /proc/meminfo does and say where they are in a sample, so that text and JSON can't differ from
 * what is computed. A field that this kernel does not have counts as nothing and is left out.
 */
#include "cli/explain.h"

#include "cli/figures.h"
#include "cli/table.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_TERMS 8

struct term {
    int sign; /* 0: the end of the list */
    const char *field;
    size_t offset;
};

#define OF(sign, field, member)                                    \
    {                                                              \
        sign, field, offsetof(struct quire_observe_memory, member) \
    }

static const struct equation {
    const char *name;
    struct term terms[MAX_TERMS];
    const char *text;
} equations[] = {
    {"used",
     {OF(1, "MemTotal", total), OF(-1, "MemAvailable", available)},
     "What could not be had without swapping something out. Not \"total less free\": most of the "
     "cache would be given back at once."},
    {"cache",
     {OF(1, "Cached", cached), OF(1, "SReclaimable", slab_reclaimable)},
     "Pages of files that were read or written, and the kernel's caches of names and inodes. They "
     "stay because nothing else wants the room, and go when something does. So cache is not lost."},
    {"cache that can't just be dropped",
     {OF(1, "Shmem", shmem), OF(1, "Dirty", dirty), OF(1, "Writeback", writeback)},
     "Counted in cache all the same: shared memory and tmpfs have no file to be read from again, "
     "and what was written has to reach its device first."},
    {"cache to be had at once",
     {OF(1, "MemAvailable", available), OF(-1, "MemFree", free)},
     "The kernel's own estimate: the cache, less what it wants to keep, less its reserves."},
    {"held by programs",
     {OF(1, "AnonPages", anonymous), OF(1, "Shmem", shmem)},
     "Heaps, stacks and anonymous mappings, and shared memory with tmpfs. Program files that are "
     "mapped are in cache (of it, Mapped)."},
    {"held by the kernel",
     {OF(1, "SUnreclaim", slab_unreclaimable), OF(1, "KernelStack", kernel_stacks),
      OF(1, "PageTables", page_tables), OF(1, "Percpu", per_cpu)},
     "What it needs to do its work. Drivers' own pages are in none of /proc/meminfo's fields."},
    {"set aside as huge pages",
     {OF(1, "Hugetlb", hugetlb)},
     "Nothing else can use it, whether a program does or not."},
    {"swap used",
     {OF(1, "SwapTotal", swap_total), OF(-1, "SwapFree", swap_free)},
     "Of it, SwapCached is in memory as well and can go without being written again."},
};
#define N_EQUATIONS (sizeof equations / sizeof equations[0])

static uint64_t figure(const struct quire_observe_memory *memory, const struct term *term)
{
    return *(const uint64_t *)(const void *)((const char *)memory + term->offset);
}

/* False where a field that the whole stands on is unknown. */
static bool evaluate(const struct quire_observe_memory *memory, const struct equation *equation,
                     uint64_t *value)
{
    int64_t sum = 0;

    for (unsigned i = 0; i < MAX_TERMS && equation->terms[i].sign != 0; i++) {
        uint64_t term = figure(memory, &equation->terms[i]);
        if (quire_observe_known(term))
            sum += equation->terms[i].sign * (int64_t)term;
        else if (i == 0 || equation->terms[i].sign < 0)
            return false;
    }
    *value = sum > 0 ? (uint64_t)sum : 0;
    return true;
}

/* "= MemTotal - MemAvailable", then the numbers. */
static void print_terms(const struct quire_observe_memory *memory, const struct equation *equation,
                        bool as_numbers)
{
    bool is_first = true;

    for (unsigned i = 0; i < MAX_TERMS && equation->terms[i].sign != 0; i++) {
        uint64_t term = figure(memory, &equation->terms[i]);
        if (!quire_observe_known(term))
            continue;
        printf("%s", is_first ? "  = " : equation->terms[i].sign > 0 ? " + " : " - ");
        if (as_numbers)
            printf("%" PRIu64, term / 1024);
        else
            printf("%s", equation->terms[i].field);
        is_first = false;
    }
    puts(as_numbers ? "  (kB)" : "");
}

/* Breaks at blanks, before column 78. */
static void print_text(const char *text)
{
    size_t column = 0;

    for (const char *word = text; *word != '\0';) {
        size_t n = 0;
        while (word[n] != '\0' && word[n] != ' ')
            n++;
        if (column == 0 || column + 1 + n > 78) {
            printf("%s    ", column == 0 ? "" : "\n");
            column = 4;
        } else {
            putchar(' ');
            column++;
        }
        fwrite(word, 1, n, stdout);
        column += n;
        word += n + (word[n] == ' ');
    }
    putchar('\n');
}

static void print_remainder(const struct quire_observe_memory *memory)
{
    const uint64_t parts[] = {memory->free,
                              memory->buffers,
                              quire_observe_cache(memory),
                              memory->anonymous,
                              memory->slab_unreclaimable,
                              memory->kernel_stacks,
                              memory->page_tables,
                              memory->per_cpu,
                              memory->hugetlb,
                              memory->zswap};
    uint64_t sum = 0;

    for (unsigned i = 0; i < sizeof parts / sizeof parts[0]; i++)
        sum += quire_observe_known(parts[i]) ? parts[i] : 0;
    if (sum > memory->total)
        return;
    printf("not accounted for: %s\n  = MemTotal - MemFree - Buffers - cache - AnonPages - the "
           "kernel's - Hugetlb - Zswap\n",
           figure_size(memory->total - sum, FIGURE));
    print_text("Pages that drivers and file systems took, and per-processor lists of free pages.");
}

bool explain_print(const struct quire_observe_memory *memory)
{
    for (size_t i = 0; i < N_EQUATIONS; i++) {
        uint64_t value;
        if (!evaluate(memory, &equations[i], &value)) {
            printf("%s: not known to this kernel\n\n", equations[i].name);
            continue;
        }
        printf("%s: %s\n", equations[i].name, figure_size(value, FIGURE));
        print_terms(memory, &equations[i], false);
        print_terms(memory, &equations[i], true);
        print_text(equations[i].text);
        putchar('\n');
    }
    print_remainder(memory);
    return true;
}

static json_t *equation_json(const struct quire_observe_memory *memory,
                             const struct equation *equation)
{
    uint64_t value = QUIRE_OBSERVE_ABSENT;
    json_t *terms = json_array();

    (void)evaluate(memory, equation, &value);
    for (unsigned i = 0; i < MAX_TERMS && equation->terms[i].sign != 0; i++)
        json_array_append_new(terms,
                              json_pack("{s:s, s:o, s:i}", "field", equation->terms[i].field,
                                        "bytes", figure_json(figure(memory, &equation->terms[i])),
                                        "sign", equation->terms[i].sign));
    return json_pack("{s:s, s:o, s:o, s:s}", "figure", equation->name, "bytes", figure_json(value),
                     "terms", terms, "text", equation->text);
}

json_t *explain_json(const struct quire_observe_memory *memory)
{
    json_t *list = json_array();

    for (size_t i = 0; i < N_EQUATIONS; i++)
        if (json_array_append_new(list, equation_json(memory, &equations[i])) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}
