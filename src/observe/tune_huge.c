/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tune_huge: rules about huge pages and the compaction that makes them.
 *
 * Sources: Linux's Documentation/admin-guide/mm/transhuge.rst, mm/hugetlbpage.rst,
 * admin-guide/sysctl/vm.rst (compaction_proactiveness).
 */
#include "observe/tune.h"

#include <math.h>
#include <string.h>

/* A direct compaction takes from 0.1 to tens of ms of the one who asked. */
#define SOME_STALLS 1
#define HUGE_ORDER 9

/* Of the largest zone: the part of its free pages that is too small for a huge one, in per cent. */
static double unusable_percent(const struct tune_view *view)
{
    const struct quire_observe_zone *largest = NULL;

    for (size_t i = 0; i < view->after->n_zones; i++)
        if (largest == NULL || view->after->zones[i].managed_pages > largest->managed_pages)
            largest = &view->after->zones[i];
    if (largest == NULL)
        return (double)NAN;
    return quire_observe_unusable_index(largest, QUIRE_OBSERVE_MAX_ORDERS, HUGE_ORDER) / 10.0;
}

static void show_compaction(const struct tune_view *view, struct quire_tune_finding *finding)
{
    tune_figure(finding, view->rates.compact_stalls, "/s", "waits for compaction");
    tune_figure(finding, tune_percent(view->rates.compact_fails, view->rates.compact_stalls), "%",
                "of these in vain");
    tune_figure(finding, view->rates.huge_faults, "/s", "huge pages got at a fault");
    tune_figure(finding, view->rates.huge_fallbacks, "/s", "huge pages asked for in vain");
    tune_figure(finding, unusable_percent(view), "%", "of free memory in smaller pieces");
}

bool tune_huge_stalls(const struct tune_view *view, struct quire_tune_finding *finding)
{
    const struct quire_observe_settings *settings = &view->after->settings;

    if (strcmp(settings->huge_defrag, "always") != 0 ||
        strcmp(settings->huge_enabled, "never") == 0 ||
        !(view->rates.compact_stalls >= SOME_STALLS))
        return false;
    tune_what(finding, "%.0f times a second a page fault waits while a huge page is made for it",
              view->rates.compact_stalls);
    tune_why(finding, "defrag = always compacts and reclaims in the fault itself, for every "
                      "program. defer+madvise does so for those that ask; kcompactd and khugepaged "
                      "work for the others.");
    show_compaction(view, finding);
    tune_now(finding, "/sys/kernel/mm/transparent_hugepage/defrag: always");
    tune_change(finding, "echo defer+madvise > /sys/kernel/mm/transparent_hugepage/defrag");
    return true;
}

bool tune_huge_fallbacks(const struct tune_view *view, struct quire_tune_finding *finding)
{
    const struct quire_observe_settings *settings = &view->after->settings;
    double asked = view->rates.huge_faults + view->rates.huge_fallbacks;
    double vain = tune_percent(view->rates.huge_fallbacks, asked);
    const uint64_t more = 60; /* 20 is the default, 100 compacts all the time */

    if (!(asked >= 10) || !(vain >= 50) ||
        !quire_observe_known(settings->compaction_proactiveness) ||
        settings->compaction_proactiveness >= more)
        return false;
    tune_what(finding, "%.0f %% of the huge pages that are asked for can't be had", vain);
    tune_why(finding, "Free memory lies in pieces that are too small. Proactive compaction keeps "
                      "larger ones ready, in the background; it costs some processor time.");
    show_compaction(view, finding);
    tune_sysctl(finding, "vm.compaction_proactiveness", settings->compaction_proactiveness, more);
    return true;
}

bool tune_compaction(const struct tune_view *view, struct quire_tune_finding *finding)
{
    const struct quire_observe_settings *settings = &view->after->settings;
    const uint64_t more = 40;

    if (!(view->rates.compact_stalls >= SOME_STALLS) ||
        (strcmp(settings->huge_defrag, "always") == 0 &&
         strcmp(settings->huge_enabled, "never") != 0) || /* huge-stalls says it */
        !quire_observe_known(settings->compaction_proactiveness) ||
        settings->compaction_proactiveness >= more)
        return false;
    tune_what(finding, "%.0f allocations a second wait for compaction", view->rates.compact_stalls);
    tune_why(finding, "They ask for contiguous memory (network buffers, kernel stacks, huge pages) "
                      "and find it in pieces. Proactive compaction does the work beforehand.");
    show_compaction(view, finding);
    tune_sysctl(finding, "vm.compaction_proactiveness", settings->compaction_proactiveness, more);
    return true;
}

bool tune_huge_off(const struct tune_view *view, struct quire_tune_finding *finding)
{
    const struct quire_observe_settings *settings = &view->after->settings;
    const double many_faults = 20000; /* at 0.5 us and more each, 1 % of a processor */
    const double much_anonymous = (double)((uint64_t)1 << 30);

    if (strcmp(settings->huge_enabled, "never") != 0 ||
        !(view->rates.minor_faults >= many_faults) ||
        !(tune_number(view->after->memory.anonymous) >= much_anonymous))
        return false;
    finding->severity = QUIRE_TUNE_NOTE;
    tune_what(finding, "%.0f page faults a second, and transparent huge pages are off",
              view->rates.minor_faults);
    tune_why(finding, "A huge page is one fault in place of 512, and one TLB entry. With madvise "
                      "only programs that ask get them, so nobody else's memory grows.");
    tune_figure(finding, view->rates.minor_faults, "/s", "minor faults");
    tune_figure(finding, view->rates.cpu_system, "%", "processor time in the kernel");
    tune_figure(finding, tune_number(view->after->memory.anonymous), "bytes", "anonymous memory");
    tune_now(finding, "/sys/kernel/mm/transparent_hugepage/enabled: never");
    tune_change(finding, "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled");
    return true;
}

/* transhuge.rst: max_ptes_none is how many absent pages khugepaged may fill in for one of 512. */
bool tune_huge_bloat(const struct tune_view *view, struct quire_tune_finding *finding)
{
    const struct quire_observe_settings *settings = &view->after->settings;
    const struct quire_observe_memory *memory = &view->after->memory;
    double part = tune_percent(tune_number(memory->anonymous_huge), tune_number(memory->anonymous));
    bool is_short = view->swap_out_pages >= 50 || view->rates.memory_some >= 5 ||
                    view->rates.oom_kills >= 1;
    const uint64_t fewer = 64;

    if (strcmp(settings->huge_enabled, "always") != 0 || !is_short || !(part >= 20) ||
        !quire_observe_known(settings->khugepaged_max_none) || settings->khugepaged_max_none < 256)
        return false;
    tune_what(finding, "memory is short, and huge pages are made of up to %llu absent pages of 512",
              (unsigned long long)settings->khugepaged_max_none);
    tune_why(finding, "Such a page holds memory that the program never touched. With fewer absent "
                      "pages allowed khugepaged makes huge pages only of what is in use.");
    tune_figure(finding, tune_number(memory->anonymous_huge), "bytes", "in huge pages");
    tune_figure(finding, part, "%", "of anonymous memory");
    tune_figure(finding, view->swap_out_pages, "pages/s", "swapped out");
    tune_figure(finding, view->rates.memory_some, "%", "time that some wait for memory");
    tune_now(finding, "/sys/kernel/mm/transparent_hugepage/khugepaged/max_ptes_none: %llu",
             (unsigned long long)settings->khugepaged_max_none);
    tune_change(finding, "echo %llu > /sys/kernel/mm/transparent_hugepage/khugepaged/max_ptes_none",
                (unsigned long long)fewer);
    return true;
}

bool tune_hugetlb_idle(const struct tune_view *view, struct quire_tune_finding *finding)
{
    const struct quire_observe_memory *memory = &view->after->memory;

    if (!quire_observe_known(memory->huge_total_pages) ||
        !quire_observe_known(memory->huge_free_pages) ||
        !quire_observe_known(memory->huge_reserved_pages) ||
        memory->huge_free_pages <= memory->huge_reserved_pages)
        return false;
    uint64_t idle = memory->huge_free_pages - memory->huge_reserved_pages;
    double bytes = (double)idle * tune_number(memory->huge_page_bytes);
    if (idle * 2 < memory->huge_total_pages || !(bytes >= 0.05 * (double)memory->total))
        return false;
    tune_what(finding, "%s of RAM are set aside as huge pages that nobody uses", TUNE_SIZE(bytes));
    tune_why(finding, "hugetlb pages serve nothing else: they are neither cache nor reclaimed.");
    tune_figure(finding, (double)memory->huge_total_pages, "pages", "huge pages");
    tune_figure(finding, (double)idle, "pages", "free and not reserved");
    tune_figure(finding, tune_percent(bytes, (double)memory->total), "%", "of RAM");
    tune_sysctl(finding, "vm.nr_hugepages", memory->huge_total_pages,
                memory->huge_total_pages - idle);
    return true;
}
