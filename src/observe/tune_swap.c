/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tune_swap: rules about swap: how much of it, before which device, and how eagerly.
 *
 * Sources: Linux's Documentation/admin-guide/sysctl/vm.rst (swappiness, page-cluster),
 * admin-guide/mm/zswap.rst, admin-guide/blockdev/zram.rst; zram-generator's and Fedora's defaults
 * for the size of a zram device; the Arch wiki on zswap before zram.
 */
#include "observe/tune.h"

#include "base/sys.h"

#include <math.h>

/*
 * vm.rst: swappiness is the cost of swapping relative to that of file pages, 100 for equal ones, up
 * to 200; for swap twice as fast as the files' device it works out 133.
 */
#define SWAPPINESS_IN_MEMORY 133
#define SWAPPINESS_DEFAULT 60
#define SWAPPINESS_LOW 10
/* Pages a second below which swapping is noise: 50 are 0.2 MiB/s. */
#define SOME_SWAPPING 50
#define MANY_REFAULTS 200

static bool has_swap(const struct tune_view *view)
{
    const struct quire_observe_settings *settings = &view->after->settings;

    return quire_observe_known(settings->n_swaps) && settings->n_swaps > 0;
}

static bool is_swapping(const struct tune_view *view)
{
    return view->swap_in_pages >= SOME_SWAPPING || view->swap_out_pages >= SOME_SWAPPING;
}

static double swap_used(const struct tune_view *view)
{
    const struct quire_observe_memory *memory = &view->after->memory;

    return tune_number(memory->swap_total) - tune_number(memory->swap_free);
}

static void show_swapping(const struct tune_view *view, struct quire_tune_finding *finding)
{
    tune_figure(finding, view->swap_in_pages, "pages/s", "swapped in");
    tune_figure(finding, view->swap_out_pages, "pages/s", "swapped out");
}

bool tune_swappiness_low(const struct tune_view *view, struct quire_tune_finding *finding)
{
    const struct quire_observe_settings *settings = &view->after->settings;
    const struct quire_observe_memory *memory = &view->after->memory;

    if (!has_swap(view) || !quire_observe_known(settings->swappiness) ||
        settings->swappiness >= SWAPPINESS_DEFAULT || !(view->refaults_file >= MANY_REFAULTS) ||
        !tune_is_short(view) || view->swap_in_pages >= SOME_SWAPPING ||
        !(tune_number(memory->inactive_anon) >= 0.05 * (double)memory->total))
        return false;
    tune_what(finding,
              "file pages are dropped and read again while %s of anonymous memory lie idle",
              TUNE_SIZE(memory->inactive_anon));
    tune_why(finding, "With so low a swappiness reclaim takes file pages alone, in use or not. "
                      "What is anonymous and cold is cheaper to lose.");
    tune_figure(finding, view->refaults_file, "pages/s", "file pages read again");
    show_swapping(view, finding);
    tune_figure(finding, tune_number(memory->inactive_anon), "bytes", "inactive anonymous memory");
    tune_sysctl(finding, "vm.swappiness", settings->swappiness,
                tune_swap_is_in_memory(view) ? SWAPPINESS_IN_MEMORY : SWAPPINESS_DEFAULT);
    return true;
}

/* Anonymous pages come back from a slow device, file pages don't, and there are many of these. */
bool tune_swappiness_high(const struct tune_view *view, struct quire_tune_finding *finding)
{
    const struct quire_observe_settings *settings = &view->after->settings;
    const struct quire_observe_memory *memory = &view->after->memory;
    double files = tune_number(memory->active_file) + tune_number(memory->inactive_file);
    double back = isnan(view->refaults_anon) ? view->swap_in_pages : view->refaults_anon;

    if (!has_swap(view) || tune_swap_is_in_memory(view) ||
        !quire_observe_known(settings->swappiness) || settings->swappiness <= SWAPPINESS_LOW ||
        !(view->swap_in_pages >= SOME_SWAPPING) || !(back > 4 * view->refaults_file) ||
        !(files >= 0.1 * (double)memory->total))
        return false;
    tune_what(finding, "%.0f pages a second are swapped in while %s of file pages stay", back,
              TUNE_SIZE(files));
    tune_why(finding, "Anonymous pages are in use and come back, file pages hardly do: a lower "
                      "swappiness takes file pages first.");
    show_swapping(view, finding);
    tune_figure(finding, view->refaults_anon, "pages/s", "anonymous pages brought back");
    tune_figure(finding, view->refaults_file, "pages/s", "file pages read again");
    tune_figure(finding, files, "bytes", "file pages");
    tune_sysctl(finding, "vm.swappiness", settings->swappiness, SWAPPINESS_LOW);
    return true;
}

bool tune_swappiness_in_memory(const struct tune_view *view, struct quire_tune_finding *finding)
{
    const struct quire_observe_settings *settings = &view->after->settings;
    double reclaimed = view->rates.reclaimed;

    if (!tune_swap_is_in_memory(view) || !quire_observe_known(settings->swappiness) ||
        settings->swappiness > 100 || !(reclaimed >= SOME_SWAPPING) ||
        (settings->swappiness < SWAPPINESS_DEFAULT && view->refaults_file >= MANY_REFAULTS &&
         view->swap_in_pages < SOME_SWAPPING)) /* swappiness-low says it */
        return false;
    tune_what(finding, "swap is compressed RAM, and swappiness %llu takes it for a slow disk",
              (unsigned long long)settings->swappiness);
    tune_why(finding, "Bringing a page back from compressed RAM costs microseconds, a file page a "
                      "read. 100 stands for equal costs, more for cheaper swap.");
    tune_figure(finding, reclaimed, "pages/s", "reclaimed");
    show_swapping(view, finding);
    tune_figure(finding, view->refaults_file, "pages/s", "file pages read again");
    tune_sysctl(finding, "vm.swappiness", settings->swappiness, SWAPPINESS_IN_MEMORY);
    return true;
}

bool tune_no_swap(const struct tune_view *view, struct quire_tune_finding *finding)
{
    const struct quire_observe_memory *memory = &view->after->memory;
    double available = tune_percent(tune_number(memory->available), (double)memory->total);
    bool is_short = available < 5 || (tune_is_short(view) &&
                                      (view->rates.oom_kills >= 1 || tune_memory_stall(view) >= 5 ||
                                       view->refaults_file >= MANY_REFAULTS));

    if (view->after->settings.n_swaps != 0 || !is_short)
        return false;
    finding->severity = view->before != NULL && view->rates.oom_kills >= 1 ? QUIRE_TUNE_URGENT
                                                                           : QUIRE_TUNE_ADVICE;
    tune_what(finding, "memory is short, and there is no swap for what is not in use");
    tune_why(finding, "Without swap only file pages can leave, program text among them. zram keeps "
                      "cold memory in RAM at a third or so of its size.");
    tune_figure(finding, available, "%", "of RAM available");
    tune_figure(finding, tune_number(memory->inactive_anon), "bytes", "inactive anonymous memory");
    tune_figure(finding, view->refaults_file, "pages/s", "file pages read again");
    tune_figure(finding, tune_memory_stall(view), "%", "time that some wait for memory");
    tune_figure(finding, view->rates.oom_kills, "", "processes killed");
    /* half of RAM, 8 GiB at most: zram-generator's and Fedora's default */
    uint64_t bytes = memory->total / 2 < (uint64_t)8 << 30 ? memory->total / 2 : (uint64_t)8 << 30;
    tune_change(finding, "modprobe zram && zramctl /dev/zram0 --algorithm zstd --size %lluM",
                (unsigned long long)(bytes >> 20));
    tune_change(finding, "mkswap /dev/zram0 && swapon --priority 100 /dev/zram0");
    return true;
}

bool tune_swap_full(const struct tune_view *view, struct quire_tune_finding *finding)
{
    const struct quire_observe_memory *memory = &view->after->memory;
    double used = tune_percent(swap_used(view), tune_number(memory->swap_total));

    if (!(used >= 90))
        return false;
    finding->severity = used >= 98 ? QUIRE_TUNE_URGENT : QUIRE_TUNE_ADVICE;
    tune_what(finding, "swap is %.0f %% full", used);
    tune_why(finding, "When it is full nothing anonymous can leave any more, and the next that "
                      "needs memory gets a process killed.");
    tune_figure(finding, used, "%", "of swap in use");
    tune_figure(finding, tune_number(memory->swap_free), "bytes", "free swap");
    show_swapping(view, finding);
    tune_change(finding,
                "fallocate -l %lluM /swapfile2 && chmod 600 /swapfile2 && mkswap "
                "/swapfile2 && swapon /swapfile2",
                (unsigned long long)(memory->swap_total >> 20) + 1);
    return true;
}

bool tune_zswap_off(const struct tune_view *view, struct quire_tune_finding *finding)
{
    const struct quire_observe_settings *settings = &view->after->settings;

    if (!has_swap(view) || settings->n_swaps == settings->n_swaps_ram ||
        settings->zswap_enabled != 0 || !is_swapping(view))
        return false;
    tune_what(finding, "%s a second go to and from a swap device, and zswap is off",
              TUNE_SIZE(view->rates.swapped_in + view->rates.swapped_out));
    tune_why(finding, "zswap compresses pages into RAM before the device; most of those that come "
                      "back soon then cost no I/O.");
    show_swapping(view, finding);
    tune_figure(finding, swap_used(view), "bytes", "in swap");
    tune_now(finding, "/sys/module/zswap/parameters/enabled: N");
    tune_change(finding, "echo 1 > /sys/module/zswap/parameters/enabled");
    return true;
}

bool tune_zswap_over_zram(const struct tune_view *view, struct quire_tune_finding *finding)
{
    const struct quire_observe_settings *settings = &view->after->settings;

    if (!has_swap(view) || settings->n_swaps != settings->n_swaps_ram ||
        settings->zswap_enabled != 1 || !(view->swap_out_pages >= 1 || swap_used(view) > 0))
        return false;
    finding->severity = QUIRE_TUNE_NOTE;
    tune_what(finding, "zswap stands before swap that is zram: pages are compressed for both");
    tune_why(finding, "What leaves zswap is decompressed, and compressed again by zram: work, and "
                      "two pools for one purpose.");
    show_swapping(view, finding);
    tune_figure(finding, tune_number(view->after->memory.zswap), "bytes", "held by zswap");
    tune_figure(finding, (double)view->after->zram.held, "bytes", "held by zram");
    tune_now(finding, "/sys/module/zswap/parameters/enabled: Y");
    tune_change(finding, "echo 0 > /sys/module/zswap/parameters/enabled");
    return true;
}

bool tune_zram_ratio(const struct tune_view *view, struct quire_tune_finding *finding)
{
    const struct quire_observe_zram *zram = &view->after->zram;
    const double least_stored = 64 << 20, poor_ratio = 1.5;
    double ratio = (double)zram->stored / (double)(zram->held > 0 ? zram->held : 1);

    if (!((double)zram->stored >= least_stored) || !(ratio < poor_ratio))
        return false;
    tune_what(finding, "zram holds %s in %s of RAM: %.1f to 1", TUNE_SIZE(zram->stored),
              TUNE_SIZE(zram->held), ratio);
    tune_why(finding, "What it holds hardly compresses, so little RAM is won. zstd makes more of "
                      "it than LZ4 or LZO; a backing device takes what stays incompressible.");
    tune_figure(finding, (double)zram->stored, "bytes", "stored");
    tune_figure(finding, (double)zram->held, "bytes", "RAM that takes");
    tune_figure(finding, (double)zram->huge_pages * SYS_PAGE_SIZE, "bytes", "incompressible");
    tune_change(finding, "swapoff /dev/zram0 && zramctl --reset /dev/zram0");
    tune_change(finding,
                "zramctl /dev/zram0 --algorithm zstd --size %lluM && mkswap /dev/zram0 && "
                "swapon --priority 100 /dev/zram0",
                (unsigned long long)(zram->disk >> 20));
    return true;
}

bool tune_page_cluster(const struct tune_view *view, struct quire_tune_finding *finding)
{
    const struct quire_observe_settings *settings = &view->after->settings;

    if (!has_swap(view) || settings->n_swaps != settings->n_swaps_ram ||
        !quire_observe_known(settings->page_cluster) || settings->page_cluster == 0 ||
        !(view->swap_in_pages >= SOME_SWAPPING))
        return false;
    tune_what(finding, "each swap-in from zram brings %llu pages",
              1ull << (settings->page_cluster < 16 ? settings->page_cluster : 16));
    tune_why(finding, "Reading ahead saves seeks, and compressed RAM has none: the others are "
                      "decompressed for nothing, unless they happen to be needed.");
    show_swapping(view, finding);
    tune_figure(finding, view->rates.major_faults, "/s", "major faults");
    tune_sysctl(finding, "vm.page-cluster", settings->page_cluster, 0);
    return true;
}
