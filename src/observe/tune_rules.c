/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tune_rules: the table of rules. A new one is a function (tune.h declares it) and a row here; the
 * test tests/unit/tune.c wants a case in which it speaks, and one in which it does not.
 */
#include "observe/tune.h"

#include "base/sys.h"

#include <string.h>

static const struct {
    struct quire_tune_rule public;
    tune_rule *judge;
} rules[] = {
    {{"major-faults", "major faults that cost much time, and whose they are"}, tune_major_faults},
    {{"quire-run", "programs that would gain from `quire run'"}, tune_quire_run},
    {{"oom-kills", "processes that the kernel killed for lack of memory"}, tune_oom_kills},
    {{"cache-thrash", "file pages that are read again soon after they were dropped"},
     tune_cache_thrash},
    {{"multigen-off", "thrashing while the multi-generational LRU is there and off"},
     tune_multigen_off},
    {{"swappiness-low", "file pages come back while cold memory stays"}, tune_swappiness_low},
    {{"swappiness-high", "swapping while there is plenty of cache"}, tune_swappiness_high},
    {{"swappiness-in-memory", "swap in compressed RAM, judged as if it were a disk"},
     tune_swappiness_in_memory},
    {{"no-swap", "memory is short, and what is cold can't leave"}, tune_no_swap},
    {{"swap-full", "swap that is nearly full"}, tune_swap_full},
    {{"zswap-off", "swapping to a device without compression before it"}, tune_zswap_off},
    {{"zswap-over-zram", "pages that are compressed twice"}, tune_zswap_over_zram},
    {{"zram-ratio", "zram that holds what hardly compresses"}, tune_zram_ratio},
    {{"page-cluster", "read-ahead from swap that has no seeks"}, tune_page_cluster},
    {{"min-free-low", "min_free_kbytes below the kernel's own choice, with direct reclaim"},
     tune_min_free_low},
    {{"min-free-high", "min_free_kbytes that takes RAM from everybody"}, tune_min_free_high},
    {{"watermark-scale", "direct reclaim because kswapd starts too late or stops too soon"},
     tune_watermark_scale},
    {{"node-reclaim", "pages dropped on one NUMA node while others are free"}, tune_node_reclaim},
    {{"numa-uneven", "memory got on another NUMA node than was asked for"}, tune_numa_uneven},
    {{"vfs-cache", "dentries and inodes that are never reclaimed"}, tune_vfs_cache},
    {{"slab-large", "kernel objects that hold much of RAM and can't be reclaimed"},
     tune_slab_large},
    {{"dirty-large", "more unwritten data than the disks write in half a minute"},
     tune_dirty_large},
    {{"dirty-small", "writers that wait at a small limit on unwritten data"}, tune_dirty_small},
    {{"dirty-background", "background writing that starts no sooner than writers wait"},
     tune_dirty_background},
    {{"huge-stalls", "page faults that wait for compaction to get huge pages"}, tune_huge_stalls},
    {{"huge-fallbacks", "huge pages that are asked for and not to be had"}, tune_huge_fallbacks},
    {{"huge-off", "very many faults on anonymous memory without huge pages"}, tune_huge_off},
    {{"huge-bloat", "huge pages that are mostly empty while memory is short"}, tune_huge_bloat},
    {{"compaction", "allocations that wait for compaction"}, tune_compaction},
    {{"hugetlb-idle", "RAM set aside for huge pages that nobody uses"}, tune_hugetlb_idle},
    {{"limit-throttles", "control groups slowed down by memory.high"}, tune_limit_throttles},
    {{"limit-reached", "control groups at their limit"}, tune_limit_reached},
    {{"overcommit-strict", "allocations about to be refused while RAM is there"},
     tune_overcommit_strict},
    {{"overcommit-always", "memory promised without a look, and processes killed for it"},
     tune_overcommit_always},
    {{"blind", "what the kernel was built or started not to tell"}, tune_blind},
};
#define N_RULES (sizeof rules / sizeof rules[0])

size_t quire_tune_n_rules(void)
{
    return N_RULES;
}

const struct quire_tune_rule *quire_tune_rule_at(size_t i)
{
    return &rules[i].public;
}

const char *quire_tune_severity_name(enum quire_tune_severity severity)
{
    static const char *const names[] = {"note", "advice", "urgent"};

    return names[severity];
}

/*
 * The clock of the samples themselves, which a recorded machine has too; it is read in hundredths
 * of a second.
 */
static void make_view(const struct quire_tune_look *before, const struct quire_tune_look *after,
                      struct tune_view *view)
{
    static const struct quire_tune_look boot;
    struct quire_observe_counters then = before != NULL ? before->counters : boot.counters;
    struct quire_observe_counters now = after->counters;

    *view = (struct tune_view){.before = before, .after = after};
    then.at_ns = then.uptime_ms * 1000000;
    now.at_ns = now.uptime_ms * 1000000;
    if (now.at_ns <= then.at_ns) /* the same moment twice: nothing has happened */
        now.at_ns = then.at_ns + 1000000000;
    view->seconds = (double)(now.at_ns - then.at_ns) / 1e9;
    quire_observe_rates(&then, &now, before != NULL ? &before->pressure : &boot.pressure,
                        &after->pressure, &view->rates);
    view->swap_in_pages = view->rates.swapped_in / SYS_PAGE_SIZE;
    view->swap_out_pages = view->rates.swapped_out / SYS_PAGE_SIZE;
    view->refaults_file = tune_rate(view, then.refaults_file, now.refaults_file);
    view->refaults_anon = tune_rate(view, then.refaults_anon, now.refaults_anon);
    if (!quire_observe_known(now.refaults_file)) /* before Linux 5.9 files alone were counted */
        view->refaults_file = view->rates.refaults;
    view->node_reclaims = tune_rate(view, then.node_reclaims, now.node_reclaims);
    view->kswapd_low_hits = tune_rate(view, then.kswapd_low_hits, now.kswapd_low_hits);
    view->numa_hits = tune_rate(view, then.numa_hits, now.numa_hits);
    view->numa_misses = tune_rate(view, then.numa_misses, now.numa_misses);
}

/* Behind all that are as severe. */
static void insert(struct quire_tune_finding *findings, size_t n,
                   const struct quire_tune_finding *finding)
{
    size_t at = n;

    while (at > 0 && findings[at - 1].severity < finding->severity)
        at--;
    memmove(&findings[at + 1], &findings[at], (n - at) * sizeof *findings);
    findings[at] = *finding;
}

size_t quire_tune_judge(const struct quire_tune_look *before, const struct quire_tune_look *after,
                        struct quire_tune_finding *findings, size_t room)
{
    struct tune_view view;
    size_t n = 0;

    make_view(before, after, &view);
    for (size_t i = 0; i < N_RULES && n < room; i++) {
        struct quire_tune_finding finding = {.rule = rules[i].public.name,
                                             .severity = QUIRE_TUNE_ADVICE};
        if (rules[i].judge(&view, &finding))
            insert(findings, n++, &finding);
    }
    return n;
}
