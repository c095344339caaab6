/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tlb_ask_time: what an access takes.
 *
 *     hit in level 1        t            + m        t, t2: TLB; m: memory, or the cache before it
 *     hit in level 2        t + t2       + m        w: reading an entry; n: how many a walk reads
 *     a walk                t + t2 + n w + m        n = 1 + (levels - 1) (1 - saved)
 *
 * With page faults the whole is (1 - p) EAT + p F, where F is what a fault takes in the mean.
 *
 * Sources: A. Silberschatz, P. Galvin, G. Gagne, "Operating System Concepts", 9.3.2 ("Effective
 * access time") and 10.2.3 ("Performance of demand paging"), 10th edition.
 */
#include "cli/cli.h"
#include "cli/tlb.h"
#include "cli/tlb_model.h"
#include "cli/translation_tlb.h"

#include <stdio.h>

struct times {
    double tlb, tlb2, memory, walk; /* walk: all of it, n w */
    double hit, hit2, miss;         /* an access of each kind, memory included */
    bool has_second;
};

static bool check_pairs(const struct tlb_options *options)
{
    static const enum tlb_amount pairs[][2] = {
        {TLB_HIT2, TLB_TIME2},      {TLB_TIME2, TLB_HIT2},       {TLB_CACHE, TLB_CACHE_HIT},
        {TLB_CACHE_HIT, TLB_CACHE}, {TLB_DIRTY, TLB_WRITE_BACK}, {TLB_WRITE_BACK, TLB_DIRTY},
    };

    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        if (tlb_has(options, pairs[i][0]) && !tlb_has(options, pairs[i][1])) {
            cli_error("%s takes %s as well", tlb_amount_option(pairs[i][0]),
                      tlb_amount_option(pairs[i][1]));
            return false;
        }
    }
    return true;
}

/* The memory as the program meets it, with a cache in front of it. */
static double find_memory(const struct tlb_options *options, struct derivation *derivation)
{
    double memory = options->amount[TLB_MEMORY];

    if (!tlb_has(options, TLB_CACHE))
        return memory;
    double cache = options->amount[TLB_CACHE], hit = options->amount[TLB_CACHE_HIT];
    double mean = hit * cache + (1 - hit) * (cache + memory);
    derivation_step(derivation, "memory", "cache hits, and misses that go on to memory",
                    "%.6g x %s + %.6g x %s = %s", hit, tlb_nanoseconds(cache, TLB_TEXT), 1 - hit,
                    tlb_nanoseconds(cache + memory, TLB_TEXT), tlb_nanoseconds(mean, TLB_TEXT));
    return mean;
}

static void find_walk(const struct tlb_options *options, struct derivation *derivation,
                      struct times *times)
{
    double levels = tlb_or(options, TLB_LEVELS, 1), saved = tlb_or(options, TLB_WALK_SAVED, 0),
           entry = tlb_or(options, TLB_WALK, options->amount[TLB_MEMORY]),
           n = 1 + (levels - 1) * (1 - saved);

    times->walk = n * entry;
    if (saved > 0)
        derivation_step(derivation, "a walk", "the page-walk cache spares entries above the last",
                        "1 + (%.0f - 1) x (1 - %.6g) = %.6g entries x %s = %s", levels, saved, n,
                        tlb_nanoseconds(entry, TLB_TEXT), tlb_nanoseconds(times->walk, TLB_TEXT));
    else
        derivation_step(derivation, "a walk", "an entry a level", "%.0f x %s = %s", levels,
                        tlb_nanoseconds(entry, TLB_TEXT), tlb_nanoseconds(times->walk, TLB_TEXT));
}

static void find_times(const struct tlb_options *options, struct derivation *derivation,
                       struct times *times)
{
    *times = (struct times){.tlb = tlb_or(options, TLB_TIME, 0),
                            .tlb2 = tlb_or(options, TLB_TIME2, 0),
                            .has_second = tlb_has(options, TLB_HIT2)};
    times->memory = find_memory(options, derivation);
    find_walk(options, derivation, times);
    times->hit = times->tlb + times->memory;
    times->hit2 = times->hit + times->tlb2;
    times->miss = times->hit2 + times->walk;
    derivation_step(derivation, "hit", "TLB, then memory", "%s + %s = %s",
                    tlb_nanoseconds(times->tlb, TLB_TEXT), tlb_nanoseconds(times->memory, TLB_TEXT),
                    tlb_nanoseconds(times->hit, TLB_TEXT));
    if (times->has_second)
        derivation_step(derivation, "hit in level 2", NULL, "%s + %s = %s",
                        tlb_nanoseconds(times->hit, TLB_TEXT),
                        tlb_nanoseconds(times->tlb2, TLB_TEXT),
                        tlb_nanoseconds(times->hit2, TLB_TEXT));
    derivation_step(derivation, "miss", "TLB, the walk, then memory", "%s + %s = %s",
                    tlb_nanoseconds(times->hit2, TLB_TEXT), tlb_nanoseconds(times->walk, TLB_TEXT),
                    tlb_nanoseconds(times->miss, TLB_TEXT));
}

/* Without --hit there is no TLB: every access walks, if there are tables at all. */
static double without_tlb(const struct tlb_options *options, struct derivation *derivation,
                          double *plain)
{
    double memory = find_memory(options, derivation);
    struct times times = {.tlb = 0};

    *plain = memory;
    if (!tlb_has(options, TLB_LEVELS))
        return memory;
    find_walk(options, derivation, &times);
    derivation_step(derivation, "EAT", "no TLB: every access walks", "%s + %s = %s",
                    tlb_nanoseconds(times.walk, TLB_TEXT), tlb_nanoseconds(memory, TLB_TEXT),
                    tlb_nanoseconds(times.walk + memory, TLB_TEXT));
    return times.walk + memory;
}

static double with_tlb(const struct tlb_options *options, struct derivation *derivation,
                       double *memory)
{
    double h = options->amount[TLB_HIT], h2 = tlb_or(options, TLB_HIT2, 0);
    struct times times;

    find_times(options, derivation, &times);
    *memory = times.memory;
    double second = (1 - h) * h2, walks = (1 - h) * (1 - h2),
           eat = h * times.hit + second * times.hit2 + walks * times.miss;
    if (times.has_second)
        derivation_step(derivation, "EAT", NULL, "%.6g x %s + %.6g x %s + %.6g x %s = %s", h,
                        tlb_nanoseconds(times.hit, TLB_TEXT), second,
                        tlb_nanoseconds(times.hit2, TLB_TEXT), walks,
                        tlb_nanoseconds(times.miss, TLB_TEXT), tlb_nanoseconds(eat, TLB_TEXT));
    else
        derivation_step(derivation, "EAT", NULL, "%.6g x %s + %.6g x %s = %s", h,
                        tlb_nanoseconds(times.hit, TLB_TEXT), walks,
                        tlb_nanoseconds(times.miss, TLB_TEXT), tlb_nanoseconds(eat, TLB_TEXT));
    derivation_answer(derivation, "hit_ns", times.hit);
    derivation_answer(derivation, "miss_ns", times.miss);
    return eat;
}

static double find_fault(const struct tlb_options *options, struct derivation *derivation)
{
    double fault = options->amount[TLB_FAULT], dirty = tlb_or(options, TLB_DIRTY, 0),
           more = tlb_or(options, TLB_WRITE_BACK, 0);

    if (dirty > 0)
        derivation_step(derivation, "a fault", "of those whose victim was modified, with the write",
                        "%s + %.6g x %s = %s", tlb_nanoseconds(fault, TLB_TEXT), dirty,
                        tlb_nanoseconds(more, TLB_TEXT),
                        tlb_nanoseconds(fault + dirty * more, TLB_TEXT));
    return fault + dirty * more;
}

bool tlb_ask_eat(const struct tlb_options *options, struct derivation *derivation)
{
    double memory;
    bool has_tlb = tlb_has(options, TLB_HIT);

    if (!check_pairs(options))
        return false;
    if (!has_tlb && (tlb_has(options, TLB_TIME) || tlb_has(options, TLB_HIT2))) {
        cli_error("--ask eat: how often does the TLB hit? --hit 0.98");
        return false;
    }
    if (tlb_has(options, TLB_FAULT) != tlb_has(options, TLB_FAULT_RATE)) {
        cli_error("--ask eat: page faults take both --fault and --fault-rate");
        return false;
    }
    double eat = has_tlb ? with_tlb(options, derivation, &memory)
                         : without_tlb(options, derivation, &memory);
    if (tlb_has(options, TLB_FAULT)) {
        double p = options->amount[TLB_FAULT_RATE], fault = find_fault(options, derivation);
        double whole = (1 - p) * eat + p * fault;
        derivation_answer(derivation, "eat_without_faults_ns", eat);
        derivation_step(derivation, "with faults", NULL, "%.6g x %s + %.6g x %s = %s", 1 - p,
                        tlb_nanoseconds(eat, TLB_TEXT), p, tlb_nanoseconds(fault, TLB_TEXT),
                        tlb_nanoseconds(whole, TLB_TEXT));
        eat = whole;
    }
    if (memory > 0)
        derivation_step(derivation, "slowdown", "beside the memory alone", "%s / %s = %.6g",
                        tlb_nanoseconds(eat, TLB_TEXT), tlb_nanoseconds(memory, TLB_TEXT),
                        eat / memory);
    derivation_answer(derivation, "eat_ns", eat);
    if (memory > 0)
        derivation_answer(derivation, "slowdown", eat / memory);
    return true;
}

bool tlb_ask_hit(const struct tlb_options *options, struct derivation *derivation)
{
    double eat = options->amount[TLB_EAT], h2 = tlb_or(options, TLB_HIT2, 0);
    struct times times;

    if (!check_pairs(options))
        return false;
    find_times(options, derivation, &times);
    double missed = h2 * times.hit2 + (1 - h2) * times.miss;
    if (times.has_second)
        derivation_step(derivation, "no hit", "in the first level", "%.6g x %s + %.6g x %s = %s",
                        h2, tlb_nanoseconds(times.hit2, TLB_TEXT), 1 - h2,
                        tlb_nanoseconds(times.miss, TLB_TEXT), tlb_nanoseconds(missed, TLB_TEXT));
    if (eat < times.hit) {
        cli_error("--eat %s: an access takes %s even if all hit", tlb_nanoseconds(eat, TLB_TEXT),
                  tlb_nanoseconds(times.hit, TLB_TEXT));
        return false;
    }
    double hit = missed > times.hit && eat < missed ? (missed - eat) / (missed - times.hit) : 0;
    if (eat >= missed)
        derivation_step(derivation, "hit ratio", "it is reached without a hit", "0");
    else
        derivation_step(derivation, "hit ratio", "EAT = h hit + (1 - h) miss, solved for h",
                        "(%s - %s) / (%s - %s) = %s", tlb_nanoseconds(missed, TLB_TEXT),
                        tlb_nanoseconds(eat, TLB_TEXT), tlb_nanoseconds(missed, TLB_TEXT),
                        tlb_nanoseconds(times.hit, TLB_TEXT), tlb_ratio_text(hit, TLB_TEXT));
    derivation_answer(derivation, "hit", hit);
    return true;
}

bool tlb_ask_fault_rate(const struct tlb_options *options, struct derivation *derivation)
{
    double memory = options->amount[TLB_MEMORY];

    if (!check_pairs(options))
        return false;
    if (tlb_has(options, TLB_EAT) == tlb_has(options, TLB_SLOWDOWN)) {
        cli_error("--ask fault-rate: what is wanted? one of --eat and --slowdown");
        return false;
    }
    double fault = find_fault(options, derivation),
           wanted = tlb_or(options, TLB_EAT, memory * tlb_or(options, TLB_SLOWDOWN, 1));
    if (wanted < memory || fault <= memory) {
        cli_error("--ask fault-rate: %s can't be had: memory takes %s, and a fault %s",
                  tlb_nanoseconds(wanted, TLB_TEXT), tlb_nanoseconds(memory, TLB_TEXT),
                  tlb_nanoseconds(fault, TLB_TEXT));
        return false;
    }
    double p = fmin((wanted - memory) / (fault - memory), 1);
    if (tlb_has(options, TLB_SLOWDOWN))
        derivation_step(derivation, "wanted", NULL, "%.6g x %s = %s", options->amount[TLB_SLOWDOWN],
                        tlb_nanoseconds(memory, TLB_TEXT), tlb_nanoseconds(wanted, TLB_TEXT));
    derivation_step(derivation, "fault rate", "EAT = (1 - p) m + p F, solved for p",
                    "(%s - %s) / (%s - %s) = %.6g", tlb_nanoseconds(wanted, TLB_TEXT),
                    tlb_nanoseconds(memory, TLB_TEXT), tlb_nanoseconds(fault, TLB_TEXT),
                    tlb_nanoseconds(memory, TLB_TEXT), p);
    derivation_answer(derivation, "fault_rate", p);
    if (p > 0) {
        derivation_step(derivation, "that is", NULL, "one fault in %.0f accesses at most", 1 / p);
        derivation_answer(derivation, "accesses_per_fault", 1 / p);
    }
    return true;
}

/* Bytes that the arrays of a level cover with pages of this size. */
static double level_reach(const struct quire_tlb_config *config, unsigned level, double page)
{
    double entries = 0;

    for (unsigned i = 0; i < config->n_arrays; i++) {
        const struct quire_tlb_array *array = &config->arrays[i];
        if (array->level == level &&
            (array->page_sizes == 0 || (array->page_sizes & (uint64_t)page) != 0))
            entries += (double)array->n_sets * array->n_ways;
    }
    return entries * page;
}

static double cpu_reach(const struct tlb_options *options, struct derivation *derivation)
{
    const struct tlb_cpu *cpu = tlb_cpu_find(options->cpus[0]);
    struct quire_tlb_config config = {.n_arrays = 0};
    double page = options->pages[0], most = -1;
    char what[32];

    if (cpu == NULL || options->n_cpus > 1) {
        cli_error("--cpu: give one processor that `quire tlb --list-cpus' lists");
        return -1;
    }
    if (!translation_tlb_parse("--cpu", cpu->arrays, &config))
        return -1;
    for (unsigned level = 1; level <= 2; level++) {
        double reach = level_reach(&config, level, page);
        if (reach == 0)
            continue;
        snprintf(what, sizeof what, "level %u", level);
        derivation_step(derivation, what, level == 1 ? cpu->title : NULL, "%.0f x %s = %s",
                        reach / page, tlb_bytes(page, TLB_TEXT), tlb_bytes(reach, TLB_TEXT));
        most = fmax(most, reach);
    }
    if (most < 0)
        cli_error("--page: %s has no entries for pages of %s", cpu->title,
                  tlb_bytes(page, TLB_TEXT));
    return most;
}

bool tlb_ask_reach(const struct tlb_options *options, struct derivation *derivation)
{
    if (options->n_pages == 0 || (options->n_cpus > 0) == tlb_has(options, TLB_ENTRIES)) {
        cli_error("--ask reach needs --page, and one of --entries and --cpu");
        return false;
    }
    double page = options->pages[0], reach = tlb_or(options, TLB_ENTRIES, 0) * page;
    if (options->n_cpus > 0) {
        reach = cpu_reach(options, derivation);
        if (reach < 0)
            return false;
    } else {
        derivation_step(derivation, "reach", NULL, "%s x %s = %s",
                        tlb_count(options->amount[TLB_ENTRIES], TLB_TEXT),
                        tlb_bytes(page, TLB_TEXT), tlb_bytes(reach, TLB_TEXT));
    }
    derivation_answer(derivation, "reach_bytes", reach);
    if (tlb_has(options, TLB_USED)) {
        double hit = fmin(reach / options->amount[TLB_USED], 1);
        derivation_step(derivation, "hit ratio", "of accesses all over what is used",
                        "%s / %s = %s", tlb_bytes(reach, TLB_TEXT),
                        tlb_bytes(options->amount[TLB_USED], TLB_TEXT),
                        tlb_ratio_text(hit, TLB_TEXT));
        derivation_answer(derivation, "hit", hit);
    }
    return true;
}
