/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tune_reclaim: rules about watermarks, NUMA, kernel objects and unwritten data.
 *
 *      free pages ──────────────── high   kswapd sleeps
 *                  gap ─────────── low    kswapd wakes       gap: watermark_scale_factor / 10000
 *                  gap ─────────── min    who allocates reclaims itself (direct reclaim)
 *
 * Sources: Linux's Documentation/admin-guide/sysctl/vm.rst (min_free_kbytes,
 * watermark_scale_factor, zone_reclaim_mode, vfs_cache_pressure, dirty_*), mm/page_alloc.c,
 * mm/page-writeback.c.
 */
#include "observe/tune.h"

#include "base/sys.h"

#include <math.h>

/* vm.rst: a high rate of threads entering direct reclaim, or kswapd going to sleep prematurely, is
 * the sign of too small a gap. Each costs the thread a scan: some 0.1 to 10 ms. */
#define SOME_STALLS 1
#define MANY_STALLS 50
/* The largest watermark_scale_factor that is worth it: 5 % of RAM in each gap. */
#define MOST_SCALE 500

static void show_reclaim(const struct tune_view *view, struct quire_tune_finding *finding)
{
    double direct = view->rates.reclaimed_direct;

    tune_figure(finding, view->rates.direct_stalls, "/s", "allocations that had to reclaim");
    tune_figure(finding, direct, "pages/s", "reclaimed by them");
    tune_figure(finding,
                tune_percent(view->rates.scanned_direct,
                             view->rates.scanned_direct + view->rates.scanned_kswapd),
                "%", "of the pages looked at, by them");
    tune_figure(finding, view->kswapd_low_hits, "/s", "kswapd slept and was woken at once");
}

static bool has_direct_reclaim(const struct tune_view *view)
{
    return view->rates.direct_stalls >= SOME_STALLS;
}

bool tune_min_free_low(const struct tune_view *view, struct quire_tune_finding *finding)
{
    uint64_t now = view->after->settings.min_free;
    uint64_t usual = tune_default_min_free_kib(view->after->memory.total);

    if (!quire_observe_known(now) || now / 1024 >= usual / 2 || !has_direct_reclaim(view))
        return false;
    finding->severity = view->rates.direct_stalls >= MANY_STALLS ? QUIRE_TUNE_URGENT
                                                                 : QUIRE_TUNE_ADVICE;
    tune_what(finding, "min_free_kbytes is below half of what the kernel takes by itself, and "
                       "allocations reclaim for themselves");
    tune_why(finding, "All watermarks hang on it: with so small a reserve kswapd has no time to "
                      "work before somebody must wait, and atomic allocations (network) fail.");
    show_reclaim(view, finding);
    tune_figure(finding, (double)usual * 1024, "bytes", "the kernel's own choice");
    tune_sysctl(finding, "vm.min_free_kbytes", now / 1024, usual);
    return true;
}

/* For huge pages the kernel raises it by itself, to 5 % of RAM at most. */
bool tune_min_free_high(const struct tune_view *view, struct quire_tune_finding *finding)
{
    uint64_t now = view->after->settings.min_free;
    double part = tune_percent(tune_number(now), (double)view->after->memory.total);

    if (!(part > 6))
        return false;
    tune_what(finding, "min_free_kbytes keeps %s, %.0f %% of RAM, from everybody", TUNE_SIZE(now),
              part);
    tune_why(finding, "Reclaim, and killing, start while so much is free. The kernel never goes "
                      "beyond 5 %% by itself.");
    tune_figure(finding, part, "%", "of RAM");
    tune_figure(finding, tune_number(view->after->memory.free), "bytes", "free");
    tune_sysctl(finding, "vm.min_free_kbytes", now / 1024,
                tune_default_min_free_kib(view->after->memory.total));
    return true;
}

/* The gap becomes what direct reclaim had to take in a second on top of what it is: then kswapd
 * starts a second earlier. */
bool tune_watermark_scale(const struct tune_view *view, struct quire_tune_finding *finding)
{
    uint64_t now = view->after->settings.watermark_scale_factor;
    double total = (double)view->after->memory.total;
    bool is_hasty = view->kswapd_low_hits >= 1 && view->rates.scanned_kswapd > 0;

    if (!quire_observe_known(now) || now >= MOST_SCALE || !(has_direct_reclaim(view) || is_hasty) ||
        quire_observe_known(view->after->settings.min_free) == false ||
        view->after->settings.min_free / 1024 <
            tune_default_min_free_kib(view->after->memory.total) / 2) /* min-free-low first */
        return false;
    double gap = total * (double)now / 1e4;
    double taken = isnan(view->rates.reclaimed_direct)
                       ? 0
                       : view->rates.reclaimed_direct * SYS_PAGE_SIZE;
    double wanted = (double)(uint64_t)((gap + taken) / total * 1e4) + 1; /* rounded up */
    wanted = wanted < 2 * (double)now ? 2 * (double)now : wanted;
    wanted = wanted < 50 ? 50 : wanted > MOST_SCALE ? MOST_SCALE : wanted;
    finding->severity = view->rates.direct_stalls >= MANY_STALLS ? QUIRE_TUNE_URGENT
                                                                 : QUIRE_TUNE_ADVICE;
    tune_what(finding, "kswapd does not keep up: between its watermarks lie %s", TUNE_SIZE(gap));
    tune_why(finding,
             "A burst of allocations is through the gap before kswapd has reclaimed, and "
             "they do it themselves. A larger gap starts it earlier; so much more stays "
             "free: %s.",
             TUNE_SIZE(total * (wanted - (double)now) / 1e4));
    show_reclaim(view, finding);
    tune_figure(finding, gap, "bytes", "between the watermarks");
    tune_sysctl(finding, "vm.watermark_scale_factor", now, (uint64_t)wanted);
    return true;
}

bool tune_node_reclaim(const struct tune_view *view, struct quire_tune_finding *finding)
{
    uint64_t now = view->after->settings.zone_reclaim_mode;

    if (!quire_observe_known(now) || now == 0 || !(view->node_reclaims >= SOME_STALLS))
        return false;
    tune_what(finding, "%.0f times a second pages are dropped on a NUMA node to avoid another one",
              view->node_reclaims);
    tune_why(finding, "zone_reclaim_mode pays only where programs are pinned and fit into their "
                      "nodes; for file servers and databases the lost cache costs more than "
                      "distance.");
    tune_figure(finding, view->node_reclaims, "/s", "reclaims of a node");
    tune_figure(finding, view->refaults_file, "pages/s", "file pages read again");
    tune_figure(finding, tune_number(view->after->memory.free), "bytes", "free on all nodes");
    tune_sysctl(finding, "vm.zone_reclaim_mode", now, 0);
    return true;
}

static unsigned count_nodes(const struct tune_view *view)
{
    unsigned n = 0;

    for (size_t i = 0; i < view->after->n_zones; i++)
        if (view->after->zones[i].managed_pages > 0 && view->after->zones[i].node + 1 > n)
            n = view->after->zones[i].node + 1;
    return n;
}

bool tune_numa_uneven(const struct tune_view *view, struct quire_tune_finding *finding)
{
    double all = view->numa_hits + view->numa_misses;
    double part = tune_percent(view->numa_misses, all);

    if (count_nodes(view) < 2 || !(all >= 1000) || !(part >= 5))
        return false;
    finding->severity = QUIRE_TUNE_NOTE;
    tune_what(finding, "%.0f %% of pages come from another NUMA node than was asked for", part);
    tune_why(finding, "One node is full while another is not. A large program that no node holds "
                      "runs more evenly when its pages are spread over all.");
    tune_figure(finding, view->numa_misses, "pages/s", "got elsewhere");
    tune_figure(finding, view->numa_hits, "pages/s", "got where asked for");
    for (unsigned node = 0; node < count_nodes(view) && node < 4; node++) {
        double pages = 0;
        for (size_t i = 0; i < view->after->n_zones; i++)
            if (view->after->zones[i].node == node)
                pages += tune_number(view->after->zones[i].free_pages);
        tune_figure(finding, pages * SYS_PAGE_SIZE, "bytes", "free on node %u", node);
    }
    tune_change(finding, "numactl --interleave=all COMMAND");
    return true;
}

bool tune_vfs_cache(const struct tune_view *view, struct quire_tune_finding *finding)
{
    const struct quire_observe_memory *memory = &view->after->memory;

    if (view->after->settings.vfs_cache_pressure != 0)
        return false;
    tune_what(finding, "vfs_cache_pressure is 0: dentries and inodes are never reclaimed");
    tune_why(finding, "A walk over many files fills memory with them until processes are killed.");
    tune_figure(finding, tune_number(memory->slab_reclaimable), "bytes", "reclaimable slabs");
    tune_figure(finding, tune_number(memory->available), "bytes", "available memory");
    tune_sysctl(finding, "vm.vfs_cache_pressure", 0, 100);
    return true;
}

bool tune_slab_large(const struct tune_view *view, struct quire_tune_finding *finding)
{
    const struct quire_observe_memory *memory = &view->after->memory;
    double part = tune_percent(tune_number(memory->slab_unreclaimable), (double)memory->total);

    if (!(part >= 15))
        return false;
    tune_what(finding, "kernel objects that can't be reclaimed hold %s, %.0f %% of RAM",
              TUNE_SIZE(memory->slab_unreclaimable), part);
    tune_why(finding, "That is unusual: often a driver's leak, very many sockets, or control "
                      "groups that were removed and linger.");
    tune_figure(finding, tune_number(memory->slab_unreclaimable), "bytes", "unreclaimable slabs");
    tune_figure(finding, part, "%", "of RAM");
    if (view->before != NULL)
        tune_figure(
            finding,
            tune_rate(view, view->before->memory.slab_unreclaimable, memory->slab_unreclaimable),
            "bytes/s", "growth");
    tune_change(finding, "quire slabs --kernel --sort bytes    # which cache it is");
    return true;
}

static double unwritten(const struct tune_view *view)
{
    const struct quire_observe_memory *memory = &view->after->memory;

    return tune_number(memory->dirty) + tune_number(memory->writeback);
}

static uint64_t round_to_mib(double bytes)
{
    return ((uint64_t)bytes >> 20 > 0 ? (uint64_t)bytes >> 20 : 1) << 20;
}

static void set_dirty_bytes(const struct tune_view *view, struct quire_tune_finding *finding,
                            double bytes)
{
    const struct quire_observe_settings *settings = &view->after->settings;
    uint64_t limit = round_to_mib(bytes);

    if (quire_observe_known(settings->dirty_limit) && settings->dirty_limit > 0)
        tune_now(finding, "vm.dirty_bytes = %llu", (unsigned long long)settings->dirty_limit);
    else if (quire_observe_known(settings->dirty_ratio))
        tune_now(finding, "vm.dirty_ratio = %llu", (unsigned long long)settings->dirty_ratio);
    tune_change(finding, "sysctl -w vm.dirty_background_bytes=%llu",
                (unsigned long long)(limit / 2));
    tune_change(finding, "sysctl -w vm.dirty_bytes=%llu", (unsigned long long)limit);
}

/* A sync then waits for all of it, and so does who reads beside it. */
bool tune_dirty_large(const struct tune_view *view, struct quire_tune_finding *finding)
{
    double limit = tune_number(view->after->counters.dirty_limit);
    double rate = view->rates.written_out, left = unwritten(view);
    const double long_s = 30, wanted_s = 5, least = 256 << 20;

    if (!(rate > 0) || !(left >= least) || !(left >= limit / 4) || !(left / rate >= long_s))
        return false;
    finding->severity = view->rates.io_full >= 20 ? QUIRE_TUNE_URGENT : QUIRE_TUNE_ADVICE;
    tune_what(finding, "%s wait to be written: %.0f s of work for the disks", TUNE_SIZE(left),
              left / rate);
    tune_why(finding, "So long does a sync take, and memory that is reclaimed may have to wait for "
                      "it. A limit in bytes that fits the disk keeps that to seconds.");
    tune_figure(finding, left, "bytes", "unwritten");
    tune_figure(finding, limit, "bytes", "at which writers wait");
    tune_figure(finding, rate, "bytes/s", "written");
    tune_figure(finding, view->rates.io_full, "%", "time that all wait for I/O");
    set_dirty_bytes(view, finding, rate * wanted_s > (64 << 20) ? rate * wanted_s : 64 << 20);
    return true;
}

/* balance_dirty_pages() begins to slow writers down half-way between both limits. */
bool tune_dirty_small(const struct tune_view *view, struct quire_tune_finding *finding)
{
    double limit = tune_number(view->after->counters.dirty_limit);
    double background = tune_number(view->after->counters.dirty_background_limit);
    double rate = view->rates.written_out, left = unwritten(view);

    if (!(left >= (limit + background) / 2) || !(rate > 0) || !(limit / rate <= 1) ||
        !(limit < 0.02 * (double)view->after->memory.total))
        return false;
    tune_what(finding, "writers wait: the limit on unwritten data is %s, %.1f s of writing",
              TUNE_SIZE(limit), limit / rate);
    tune_why(finding, "The disks write that in less than a second, so bursts that memory could "
                      "take wait for them.");
    tune_figure(finding, left, "bytes", "unwritten");
    tune_figure(finding, limit, "bytes", "at which writers wait");
    tune_figure(finding, rate, "bytes/s", "written");
    tune_figure(finding, view->rates.io_some, "%", "time that some wait for I/O");
    double most = 0.1 * (double)view->after->memory.total;
    set_dirty_bytes(view, finding, rate * 5 < most ? rate * 5 : most);
    return true;
}

/* Then the kernel takes half of the limit for it: page-writeback.c. */
bool tune_dirty_background(const struct tune_view *view, struct quire_tune_finding *finding)
{
    const struct quire_observe_settings *settings = &view->after->settings;
    bool in_bytes = quire_observe_known(settings->dirty_limit) && settings->dirty_limit > 0;
    uint64_t limit = in_bytes ? settings->dirty_limit : settings->dirty_ratio;
    uint64_t background = in_bytes ? settings->dirty_background_limit
                                   : settings->dirty_background_ratio;

    if (!quire_observe_known(limit) || !quire_observe_known(background) || background < limit ||
        limit < 2)
        return false;
    finding->severity = QUIRE_TUNE_NOTE;
    tune_what(finding, "background writing is set to start where writers wait, or later");
    tune_why(finding, "The kernel then starts it at half of the limit; what is set is not what "
                      "happens.");
    tune_figure(finding, (double)limit, in_bytes ? "bytes" : "%", "at which writers wait");
    tune_figure(finding, (double)background, in_bytes ? "bytes" : "%", "at which it starts");
    tune_sysctl(finding, in_bytes ? "vm.dirty_background_bytes" : "vm.dirty_background_ratio",
                background, limit / 2);
    return true;
}
