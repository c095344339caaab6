/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tlb_ask: `quire tlb --ask QUESTION`. Each question says what it needs and what it can use, so
 * that what is missing, or has no meaning, is told before anything is worked out.
 */
#include "cli/cli.h"
#include "cli/tlb.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BIT(which) ((uint64_t)1 << (which))
#define PAGE BIT(TLB_N_AMOUNTS) /* of what is no amount: --page, --split, --address, --cpu */
#define SPLIT BIT(TLB_N_AMOUNTS + 1)
#define ADDRESS BIT(TLB_N_AMOUNTS + 2)
#define CPU BIT(TLB_N_AMOUNTS + 3)
#define N_OPTIONS (TLB_N_AMOUNTS + 4)

#define TIMES                                                                                \
    (BIT(TLB_TIME) | BIT(TLB_LEVELS) | BIT(TLB_WALK) | BIT(TLB_CACHE) | BIT(TLB_CACHE_HIT) | \
     BIT(TLB_WALK_SAVED) | BIT(TLB_HIT2) | BIT(TLB_TIME2))
#define FAULTS (BIT(TLB_FAULT) | BIT(TLB_DIRTY) | BIT(TLB_WRITE_BACK))

static const struct question {
    const char *name, *summary, *example;
    bool (*answer)(const struct tlb_options *options, struct derivation *derivation);
    uint64_t needs, uses;
} questions[] = {
    {"levels", "How many levels of page tables does an address take?",
     "--va-bits 48 --page 4K --pte 8", tlb_ask_levels, BIT(TLB_VA_BITS) | PAGE | BIT(TLB_PTE), 0},
    {"size", "How large are the page tables of a process that uses so much?",
     "--va-bits 32 --page 4K --pte 4 --levels 2 --used 12M", tlb_ask_size, BIT(TLB_PTE),
     BIT(TLB_VA_BITS) | PAGE | SPLIT | BIT(TLB_LEVELS) | BIT(TLB_USED) | BIT(TLB_PROCESSES)},
    {"split", "Which index of each level, and which offset, has an address?",
     "--split 10,10,12 --address 0x00403004", tlb_ask_split, ADDRESS,
     BIT(TLB_VA_BITS) | PAGE | SPLIT | BIT(TLB_LEVELS) | BIT(TLB_PTE)},
    {"bits", "How many bits have logical and physical addresses?",
     "--pages 256 --frames 64 --page 4K", tlb_ask_bits, PAGE,
     BIT(TLB_PAGES) | BIT(TLB_VA_BITS) | BIT(TLB_FRAMES) | BIT(TLB_RAM)},
    {"inverted", "How large is an inverted page table?", "--ram 512M --page 4K --pte 8",
     tlb_ask_inverted, BIT(TLB_RAM) | PAGE | BIT(TLB_PTE), BIT(TLB_VA_BITS) | BIT(TLB_PROCESSES)},
    {"hashed", "How many entries are looked at in a hashed page table?",
     "--used 512M --page 4K --pte 16 --buckets 65536", tlb_ask_hashed,
     BIT(TLB_USED) | PAGE | BIT(TLB_PTE) | BIT(TLB_BUCKETS), BIT(TLB_MEMORY)},
    {"page-size", "Which page size wastes the least, in tables and in last pages?",
     "--used 1M --pte 8", tlb_ask_page_size, BIT(TLB_USED) | BIT(TLB_PTE), PAGE},
    {"reach", "How much memory does a TLB cover?", "--entries 64 --page 4K --used 1M",
     tlb_ask_reach, 0, BIT(TLB_ENTRIES) | PAGE | BIT(TLB_USED) | CPU},
    {"eat", "What is the effective access time?", "--hit 0.98 --tlb 10ns --mem 100ns --levels 1",
     tlb_ask_eat, BIT(TLB_MEMORY), TIMES | FAULTS | BIT(TLB_HIT) | BIT(TLB_FAULT_RATE)},
    {"hit", "Which hit ratio does a wanted effective access time take?",
     "--eat 120ns --tlb 10ns --mem 100ns --levels 1", tlb_ask_hit, BIT(TLB_EAT) | BIT(TLB_MEMORY),
     TIMES},
    {"fault-rate", "How many page faults does a wanted time or slowdown allow?",
     "--mem 200ns --fault 8ms --slowdown 10%", tlb_ask_fault_rate, BIT(TLB_MEMORY) | BIT(TLB_FAULT),
     BIT(TLB_DIRTY) | BIT(TLB_WRITE_BACK) | BIT(TLB_EAT) | BIT(TLB_SLOWDOWN)},
};
#define N_QUESTIONS (sizeof questions / sizeof questions[0])

void tlb_ask_help(char *text, size_t n_bytes)
{
    size_t n = (size_t)snprintf(text, n_bytes, "Questions of --ask:\n");

    for (size_t i = 0; i < N_QUESTIONS && n < n_bytes; i++)
        n += (size_t)snprintf(text + n, n_bytes - n, "  %-11s %s\n              %s\n",
                              questions[i].name, questions[i].summary, questions[i].example);
}

static const char *option_name(unsigned bit)
{
    static const char *const others[] = {"--page", "--split", "--address", "--cpu"};

    return bit < TLB_N_AMOUNTS ? tlb_amount_option((enum tlb_amount)bit)
                               : others[bit - TLB_N_AMOUNTS];
}

static uint64_t given(const struct tlb_options *options)
{
    uint64_t bits = 0;

    for (unsigned i = 0; i < TLB_N_AMOUNTS; i++)
        bits |= tlb_has(options, (enum tlb_amount)i) ? BIT(i) : 0;
    return bits | (options->n_pages > 0 ? PAGE : 0) | (options->n_split > 0 ? SPLIT : 0) |
           (options->has_address ? ADDRESS : 0) | (options->n_cpus > 0 ? CPU : 0);
}

/* What is missing, or stands there in vain. */
static bool check(const struct question *question, const struct tlb_options *options)
{
    uint64_t has = given(options), missing = question->needs & ~has,
             idle = has & ~question->needs & ~question->uses;

    if (missing != 0) {
        cli_error("--ask %s needs %s\nfor example: quire tlb --ask %s %s", question->name,
                  option_name((unsigned)__builtin_ctzll(missing)), question->name,
                  question->example);
        return false;
    }
    if (idle != 0) {
        cli_error("--ask %s: %s has no meaning for it\nfor example: quire tlb --ask %s %s",
                  question->name, option_name((unsigned)__builtin_ctzll(idle)), question->name,
                  question->example);
        return false;
    }
    if (options->n_pages > 1 && strcmp(question->name, "page-size") != 0) {
        cli_error("--ask %s: give one page size by --page", question->name);
        return false;
    }
    return true;
}

/* The options as they were understood, in the derivation's "given". */
static void note_given(const struct tlb_options *options, struct derivation *derivation)
{
    for (unsigned i = 0; i < TLB_N_AMOUNTS; i++) {
        enum tlb_amount which = (enum tlb_amount)i;
        const char *name = tlb_amount_option(which) + 2;
        double value = options->amount[i];
        if (!tlb_has(options, which))
            continue;
        if (which == TLB_PTE || which == TLB_RAM || which == TLB_USED)
            derivation_given(derivation, name, "%s", tlb_bytes(value, TLB_TEXT));
        else if (which == TLB_HIT || which == TLB_HIT2 || which == TLB_WALK_SAVED ||
                 which == TLB_CACHE_HIT || which == TLB_DIRTY)
            derivation_given(derivation, name, "%s", tlb_ratio_text(value, TLB_TEXT));
        else if (which == TLB_TIME || which == TLB_TIME2 || which == TLB_MEMORY ||
                 which == TLB_WALK || which == TLB_CACHE || which == TLB_FAULT ||
                 which == TLB_WRITE_BACK || which == TLB_EAT)
            derivation_given(derivation, name, "%s", tlb_nanoseconds(value, TLB_TEXT));
        else
            derivation_given(derivation, name, "%.10g", value);
    }
    char pages[256] = "";
    for (unsigned i = 0; i < options->n_pages; i++) {
        size_t n = strlen(pages);
        snprintf(pages + n, sizeof pages - n, "%s%s", i > 0 ? " and " : "",
                 tlb_bytes(options->pages[i], TLB_TEXT));
    }
    if (options->n_pages > 0)
        derivation_given(derivation, "page", "%s", pages);
    if (options->has_address)
        derivation_given(derivation, "address", "0x%llx", (unsigned long long)options->address);
}

int tlb_ask(const struct tlb_options *options)
{
    const struct question *question = NULL;
    struct derivation derivation;

    for (size_t i = 0; i < N_QUESTIONS; i++)
        if (strcmp(questions[i].name, options->question) == 0)
            question = &questions[i];
    if (question == NULL) {
        char names[256];
        size_t n = 0;
        for (size_t i = 0; i < N_QUESTIONS; i++)
            n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", i > 0 ? ", " : "",
                                  questions[i].name);
        cli_error("--ask %s: there is no such question\nthere are %s", options->question, names);
        return CLI_EXIT_FAILED;
    }
    if (!check(question, options))
        return CLI_EXIT_FAILED;
    bool good = derivation_open(&derivation, question->name);
    if (good) {
        note_given(options, &derivation);
        good = question->answer(options, &derivation) &&
               derivation_print(&derivation, options->as_json);
    } else {
        cli_error("out of memory");
    }
    derivation_close(&derivation);
    return good ? EXIT_SUCCESS : CLI_EXIT_FAILED;
}
