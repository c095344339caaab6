/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tune: what the rules of <quire/tune.h> get and how they speak. Private to src/observe.
 *
 * A rule is a function and a row of the table in tune_rules.c. It returns false, or true after it
 * has filled in severity, what, why, change, and the figures that led it there.
 */
#ifndef QUIRE_OBSERVE_TUNE_H
#define QUIRE_OBSERVE_TUNE_H

#include <quire/tune.h>

#include <stdbool.h>

struct tune_view {
    const struct quire_tune_look *before; /* NULL: the figures are since boot */
    const struct quire_tune_look *after;
    struct quire_observe_rates rates; /* NaN where not known: no comparison holds then */
    double seconds;
    double swap_in_pages, swap_out_pages, refaults_anon, refaults_file; /* a second */
    double node_reclaims, kswapd_low_hits;                              /* a second */
    double numa_hits, numa_misses;                                      /* pages a second */
};

typedef bool tune_rule(const struct tune_view *view, struct quire_tune_finding *finding);

#define PRINTF_LIKE(at, first) __attribute__((format(printf, at, first)))

void tune_what(struct quire_tune_finding *finding, const char *format, ...) PRINTF_LIKE(2, 3);
void tune_why(struct quire_tune_finding *finding, const char *format, ...) PRINTF_LIKE(2, 3);
void tune_now(struct quire_tune_finding *finding, const char *format, ...) PRINTF_LIKE(2, 3);
/* A line of its own each time. */
void tune_change(struct quire_tune_finding *finding, const char *format, ...) PRINTF_LIKE(2, 3);
/* Left out where it is not a number. */
void tune_figure(struct quire_tune_finding *finding, double value, const char *unit,
                 const char *format, ...) PRINTF_LIKE(4, 5);
/* "sysctl -w KEY=VALUE", with the value there is now. */
void tune_sysctl(struct quire_tune_finding *finding, const char *key, uint64_t now, uint64_t value);

/* A figure as a double, NaN where it is not known. */
double tune_number(uint64_t figure);
/* What became more between the looks, a second; since boot without a first look; NaN: not known. */
double tune_rate(const struct tune_view *view, uint64_t before, uint64_t after);
/* Part of the whole in per cent; NaN where one of them is not known. */
double tune_percent(double part, double whole);
/* The larger of what the some line and the full line say, in per cent of the time; NaN: no PSI. */
double tune_memory_stall(const struct tune_view *view);
/* The machine has little left. Where it has not, what is reclaimed is so for a control group's
 * limit, and the rules about limits speak. */
bool tune_is_short(const struct tune_view *view);
/* All swap areas are compressed RAM: zram, or zswap before a device. */
bool tune_swap_is_in_memory(const struct tune_view *view);
/* Of RAM in KiB: what the kernel takes for min_free_kbytes by itself. */
uint64_t tune_default_min_free_kib(uint64_t total_bytes);
/* "12.3 MiB" */
struct tune_text {
    char buffer[32];
};
const char *tune_size(double bytes, struct tune_text *text);
#define TUNE_SIZE(bytes) tune_size((double)(bytes), &(struct tune_text){""})

/* A process between the looks. */
struct tune_process {
    const struct quire_observe_process *process; /* as it was in the second look */
    double major_rate;                           /* a second */
};
/* The `n` with the highest rate of major faults, sorted; how many there are with any. */
size_t tune_most_faulting(const struct tune_view *view, struct tune_process *list, size_t n);

/* tune_faults.c */
tune_rule tune_major_faults, tune_quire_run, tune_oom_kills, tune_cache_thrash, tune_multigen_off;
/* tune_swap.c */
tune_rule tune_swappiness_low, tune_swappiness_high, tune_swappiness_in_memory, tune_no_swap,
    tune_swap_full, tune_zswap_off, tune_zswap_over_zram, tune_zram_ratio, tune_page_cluster;
/* tune_reclaim.c */
tune_rule tune_min_free_low, tune_min_free_high, tune_watermark_scale, tune_node_reclaim,
    tune_numa_uneven, tune_vfs_cache, tune_slab_large, tune_dirty_large, tune_dirty_small,
    tune_dirty_background;
/* tune_huge.c */
tune_rule tune_huge_stalls, tune_huge_fallbacks, tune_huge_off, tune_huge_bloat, tune_compaction,
    tune_hugetlb_idle;
/* tune_limits.c */
tune_rule tune_limit_throttles, tune_limit_reached, tune_overcommit_strict, tune_overcommit_always,
    tune_blind;

#endif
