/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tune_faults: rules about page faults that wait for a device, and who waits.
 *
 * Sources: Linux's Documentation/accounting/psi.rst, admin-guide/mm/multigen_lru.rst,
 * admin-guide/cgroup-v2.rst; mm/workingset.c on refaults; proc(5).
 */
#include "observe/tune.h"

#include "base/sys.h"

#include <math.h>
#include <string.h>

/*
 * A major fault waits for a read: some 0.1 ms from flash, up to 10 ms from a disk. 100 a second
 * are 1 to 100 % of a thread's time; below 10 a second even a disk costs little of it.
 */
#define MANY_MAJOR_FAULTS 100
#define SOME_MAJOR_FAULTS 10
/* systemd-oomd acts at 60 % over 30 s, and Facebook's oomd guides start looking at 5 to 10 %. */
#define STALL_PERCENT 5
#define BAD_STALL_PERCENT 20
/* A refault is a page that the list of inactive ones was too short to keep; 200 a second are 0.8
 * MiB/s read again. */
#define MANY_REFAULTS 200
#define N_SHOWN 4

static enum quire_tune_severity by_stall(const struct tune_view *view)
{
    return tune_memory_stall(view) >= BAD_STALL_PERCENT ? QUIRE_TUNE_URGENT : QUIRE_TUNE_ADVICE;
}

static bool is_refaulting(const struct tune_view *view)
{
    return view->refaults_file >= MANY_REFAULTS;
}

/* The kernel writes a name as the program set it; it goes into a command line. */
static const char *command_of(const struct quire_observe_process *process)
{
    return process->command != NULL && process->command[0] != '\0' ? process->command
                                                                   : process->name;
}

/* Those who matter; since boot it may have been programs that have ended. */
static void show_whose(const struct tune_view *view, struct quire_tune_finding *finding)
{
    struct tune_process list[N_SHOWN];
    size_t n = tune_most_faulting(view, list, N_SHOWN);

    n = n < N_SHOWN ? n : N_SHOWN;
    while (n > 0 && list[n - 1].major_rate < view->rates.major_faults / 100)
        n--;
    for (size_t i = 0; i < n; i++)
        tune_figure(finding, list[i].major_rate, "/s", "major faults of %s (%d)",
                    list[i].process->name, list[i].process->pid);
    if (n > 0 && list[0].process->run == 0 && quire_observe_known(list[0].process->rss))
        tune_change(finding,
                    "systemctl set-property --runtime \"$(ps -o unit= -p %d)\" MemoryLow=%llu",
                    list[0].process->pid, (unsigned long long)list[0].process->rss);
    else
        tune_change(finding, "quire ps --sort major_rate --watch    # who it is, while it happens");
}

bool tune_major_faults(const struct tune_view *view, struct quire_tune_finding *finding)
{
    double rate = view->rates.major_faults;
    bool is_stalled = rate >= SOME_MAJOR_FAULTS && tune_memory_stall(view) >= STALL_PERCENT;

    if (!(rate >= MANY_MAJOR_FAULTS) && !is_stalled)
        return false;
    finding->severity = by_stall(view);
    tune_what(finding, "%.0f page faults a second wait for a device, %s", rate,
              view->swap_in_pages > rate / 2 ? "most of them for swap" : "most of them for files");
    tune_why(finding, "Each stops its thread for 0.1 ms (flash) to 10 ms (disk). Protect the "
                      "memory of the one that matters (memory.low of its control group), make "
                      "another smaller, or add RAM.");
    tune_figure(finding, rate, "/s", "major faults");
    tune_figure(finding, view->swap_in_pages, "pages/s", "swapped in");
    tune_figure(finding, view->refaults_file, "pages/s", "file pages read again");
    tune_figure(finding, tune_memory_stall(view), "%", "time that some wait for memory");
    show_whose(view, finding);
    return true;
}

/* Its memory is out of RAM already, or it faults for it, and no run of Quire holds it yet. */
bool tune_quire_run(const struct tune_view *view, struct quire_tune_finding *finding)
{
    const uint64_t least_swapped = (uint64_t)64 << 20;
    struct tune_process list[N_SHOWN];
    size_t n = tune_most_faulting(view, list, N_SHOWN);

    for (size_t i = 0; i < n && i < N_SHOWN; i++) {
        const struct quire_observe_process *process = list[i].process;
        if (process->run != 0 || process->is_kernel_thread ||
            list[i].major_rate < SOME_MAJOR_FAULTS || !quire_observe_known(process->swap) ||
            process->swap < least_swapped || !quire_observe_known(process->rss))
            continue;
        uint64_t whole = process->rss + process->swap;
        tune_what(finding, "%s (%d) works on memory that is swapped out", process->name,
                  process->pid);
        tune_why(finding, "It comes back page by page from the kernel's swap. Under `quire run' "
                          "what it does not use is compressed in its own budget, freed memory is "
                          "never swapped, and no other program pays.");
        tune_figure(finding, list[i].major_rate, "/s", "its major faults");
        tune_figure(finding, (double)process->swap, "bytes", "its memory in swap");
        tune_figure(finding, (double)process->rss, "bytes", "its memory in RAM");
        tune_figure(finding, tune_number(process->oom_score), "", "its OOM score");
        tune_change(finding, "quire run --ram %lluM -- %.200s",
                    (unsigned long long)((whole * 3 / 4 >> 20) + 1), command_of(process));
        return true;
    }
    return false;
}

static const struct quire_observe_process *most_likely_victim(const struct tune_view *view)
{
    const struct quire_observe_process *victim = NULL;

    for (size_t i = 0; i < view->after->n_processes; i++) {
        const struct quire_observe_process *process = &view->after->processes[i];
        if (quire_observe_known(process->oom_score) &&
            (victim == NULL || process->oom_score > victim->oom_score))
            victim = process;
    }
    return victim;
}

bool tune_oom_kills(const struct tune_view *view, struct quire_tune_finding *finding)
{
    const struct quire_observe_process *victim = most_likely_victim(view);

    if (!(view->rates.oom_kills >= 1))
        return false;
    finding->severity = view->before != NULL ? QUIRE_TUNE_URGENT : QUIRE_TUNE_ADVICE;
    tune_what(finding, "the kernel killed %.0f process%s for lack of memory %s",
              view->rates.oom_kills, view->rates.oom_kills >= 2 ? "es" : "",
              view->before != NULL ? "meanwhile" : "since boot");
    tune_why(finding,
             "`dmesg' says which, and whether the machine or a control group was full. A "
             "budget for the largest program (`quire run') lets it go on instead, slower.");
    tune_figure(finding, view->rates.oom_kills, "", "processes killed");
    tune_figure(finding, tune_number(view->after->memory.available), "bytes", "available memory");
    if (victim == NULL) {
        tune_change(finding, "quire run -- COMMAND");
        return true;
    }
    tune_figure(finding, (double)victim->oom_score, "", "OOM score of the next, %s (%d)",
                victim->name, victim->pid);
    if (quire_observe_known(victim->rss) && victim->run == 0)
        tune_change(finding, "quire run --ram %lluM -- %.200s",
                    (unsigned long long)((victim->rss * 3 / 4 >> 20) + 1), command_of(victim));
    else
        tune_change(finding, "quire limit %d    # shows its budget; a size behind it changes it",
                    victim->pid);
    return true;
}

bool tune_cache_thrash(const struct tune_view *view, struct quire_tune_finding *finding)
{
    const struct quire_observe_memory *memory = &view->after->memory;
    double again = view->refaults_file * SYS_PAGE_SIZE;

    if (!is_refaulting(view) || !tune_is_short(view) || !(again >= view->rates.read_in / 4))
        return false;
    finding->severity = by_stall(view);
    tune_what(finding, "%s a second are read from files that were in RAM a moment before",
              TUNE_SIZE(again));
    tune_why(finding, "The page cache is smaller than what is in use of it (workingset_refault). "
                      "What reads once should not stay in the way; what is anonymous and cold "
                      "should leave (see swappiness); else RAM is missing.");
    tune_figure(finding, view->refaults_file, "pages/s", "file pages read again");
    tune_figure(finding, view->rates.read_in, "bytes/s", "read from devices");
    tune_figure(finding, tune_percent(again, view->rates.read_in), "%", "of that read again");
    tune_figure(finding, tune_number(memory->active_file), "bytes", "file pages in use");
    tune_figure(finding, tune_number(memory->inactive_file), "bytes", "file pages that may go");
    tune_figure(finding, tune_number(memory->available), "bytes", "available memory");
    tune_figure(finding, tune_memory_stall(view), "%", "time that some wait for memory");
    tune_change(finding,
                "systemd-run --scope -p MemoryHigh=%lluM COMMAND    # for who reads once: "
                "backups, scans, copies",
                (unsigned long long)(memory->total / 16 >> 20) + 1);
    return true;
}

bool tune_multigen_off(const struct tune_view *view, struct quire_tune_finding *finding)
{
    if (view->after->settings.multigen != 0 ||
        !(is_refaulting(view) || view->refaults_anon >= MANY_REFAULTS))
        return false;
    tune_what(finding, "pages come back soon after reclaim took them, and the multi-generational "
                       "LRU is off");
    tune_why(finding, "It tells pages in use from others better than two lists do, at less cost; "
                      "min_ttl_ms keeps the working set of the last so many ms from being taken.");
    tune_figure(finding, view->refaults_file, "pages/s", "file pages read again");
    tune_figure(finding, view->refaults_anon, "pages/s", "anonymous pages brought back");
    tune_figure(finding, view->rates.scanned, "pages/s", "looked at by reclaim");
    tune_now(finding, "/sys/kernel/mm/lru_gen/enabled: 0x0000");
    tune_change(finding, "echo y > /sys/kernel/mm/lru_gen/enabled");
    tune_change(finding, "echo 1000 > /sys/kernel/mm/lru_gen/min_ttl_ms");
    return true;
}
