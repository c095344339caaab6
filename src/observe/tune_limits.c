/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tune_limits: rules about limits that are set: control groups, overcommit; and what can't be seen.
 *
 * Sources: Linux's Documentation/admin-guide/cgroup-v2.rst (memory.high, memory.max,
 * memory.events), cgroup-v1/memory.rst (failcnt), mm/overcommit-accounting.rst,
 * accounting/psi.rst.
 */
#include "observe/tune.h"

#include <string.h>

static const struct quire_observe_group *earlier(const struct tune_view *view,
                                                 const struct quire_observe_group *group)
{
    const struct quire_tune_look *before = view->before;

    for (size_t i = 0; before != NULL && i < before->n_groups; i++)
        if (before->groups[i].version == group->version &&
            strcmp(before->groups[i].path, group->path) == 0)
            return &before->groups[i];
    return NULL;
}

/* How often something happened between the looks; 0 where it is not known. */
static double times(uint64_t before, uint64_t after)
{
    if (!quire_observe_known(after))
        return 0;
    before = quire_observe_known(before) ? before : 0;
    return after > before ? (double)(after - before) : 0;
}

/* A quarter more, in whole MiB. */
static unsigned long long larger(uint64_t bytes)
{
    return ((bytes + bytes / 4) >> 20 << 20) + (1 << 20);
}

bool tune_limit_throttles(const struct tune_view *view, struct quire_tune_finding *finding)
{
    const struct quire_observe_group *worst = NULL;
    double most = 0;

    for (size_t i = 0; i < view->after->n_groups; i++) {
        const struct quire_observe_group *group = &view->after->groups[i];
        const struct quire_observe_group *then = earlier(view, group);
        double n = times(then != NULL ? then->times_over_soft : 0, group->times_over_soft);
        if (quire_observe_known(group->soft_limit) && n > most) {
            most = n;
            worst = group;
        }
    }
    if (worst == NULL)
        return false;
    finding->severity = most / view->seconds >= 10 ? QUIRE_TUNE_URGENT : QUIRE_TUNE_ADVICE;
    tune_what(finding, "%.150s is slowed down: it went over memory.high %.0f times", worst->path,
              most);
    tune_why(finding, "Above memory.high the kernel makes each allocation reclaim, and sleep. "
                      "Raise it, or run what is in it with `quire run', in less RAM.");
    tune_figure(finding, most / view->seconds, "/s", "times over memory.high");
    tune_figure(finding, tune_number(worst->used), "bytes", "used");
    tune_figure(finding, tune_number(worst->soft_limit), "bytes", "memory.high");
    tune_figure(finding, tune_number(worst->limit), "bytes", "memory.max");
    tune_now(finding, "memory.high: %llu", (unsigned long long)worst->soft_limit);
    tune_change(finding, "echo %llu > %s/memory.high", larger(worst->soft_limit), worst->path);
    return true;
}

bool tune_limit_reached(const struct tune_view *view, struct quire_tune_finding *finding)
{
    const struct quire_observe_group *worst = NULL;
    double most = 0, kills = 0;

    for (size_t i = 0; i < view->after->n_groups; i++) {
        const struct quire_observe_group *group = &view->after->groups[i];
        const struct quire_observe_group *then = earlier(view, group);
        double n = times(then != NULL ? then->times_at_limit : 0, group->times_at_limit);
        if (quire_observe_known(group->limit) && n > most) {
            most = n;
            worst = group;
            kills = times(then != NULL ? then->oom_kills : 0, group->oom_kills);
        }
    }
    if (worst == NULL)
        return false;
    const char *file = worst->version == 2 ? "memory.max" : "memory.limit_in_bytes";
    finding->severity = kills > 0 ? QUIRE_TUNE_URGENT : QUIRE_TUNE_ADVICE;
    tune_what(finding, "%.150s was at its limit %.0f times%s", worst->path, most,
              kills > 0 ? ", and processes in it were killed" : "");
    tune_why(finding, "At its limit a group reclaims its own memory at each allocation, its cache "
                      "first, until a process is killed. Raise the limit, or run what is in it "
                      "with `quire run'.");
    tune_figure(finding, most / view->seconds, "/s", "times at the limit");
    tune_figure(finding, kills, "", "processes killed");
    tune_figure(finding, tune_number(worst->used), "bytes", "used");
    tune_figure(finding, tune_number(worst->limit), "bytes", "%s", file);
    tune_now(finding, "%s: %llu", file, (unsigned long long)worst->limit);
    tune_change(finding, "echo %llu > %s/%s", larger(worst->limit), worst->path, file);
    return true;
}

bool tune_overcommit_strict(const struct tune_view *view, struct quire_tune_finding *finding)
{
    const struct quire_observe_memory *memory = &view->after->memory;
    const struct quire_observe_settings *settings = &view->after->settings;
    double part = tune_percent(tune_number(memory->committed), tune_number(memory->commit_limit));
    double available = tune_percent(tune_number(memory->available), (double)memory->total);

    if (settings->overcommit_mode != 2 || !(part >= 90) || !(available >= 20) ||
        !quire_observe_known(settings->overcommit_ratio) ||
        (quire_observe_known(settings->overcommit_limit) && settings->overcommit_limit > 0))
        return false;
    finding->severity = part >= 98 ? QUIRE_TUNE_URGENT : QUIRE_TUNE_ADVICE;
    tune_what(finding, "%.0f %% of what may be promised is, while %.0f %% of RAM are available",
              part, available);
    tune_why(finding, "With vm.overcommit_memory = 2 malloc and fork fail at the limit, though "
                      "most of what is promised is never touched.");
    tune_figure(finding, tune_number(memory->committed), "bytes", "promised (Committed_AS)");
    tune_figure(finding, tune_number(memory->commit_limit), "bytes", "limit (CommitLimit)");
    tune_figure(finding, tune_number(memory->available), "bytes", "available memory");
    /* CommitLimit = RAM * ratio / 100 + swap: half as much again of what is promised */
    double swap = tune_number(memory->swap_total);
    double ratio = 100 * ((double)memory->committed * 1.5 - swap) / (double)memory->total;
    ratio = ratio > (double)settings->overcommit_ratio + 10
                ? ratio
                : (double)settings->overcommit_ratio + 10;
    tune_sysctl(finding, "vm.overcommit_ratio", settings->overcommit_ratio, (uint64_t)ratio);
    return true;
}

bool tune_overcommit_always(const struct tune_view *view, struct quire_tune_finding *finding)
{
    const struct quire_observe_memory *memory = &view->after->memory;

    if (view->after->settings.overcommit_mode != 1 || !(view->rates.oom_kills >= 1))
        return false;
    tune_what(finding, "every allocation is granted, and %.0f process%s been killed",
              view->rates.oom_kills, view->rates.oom_kills >= 2 ? "es have" : " has");
    tune_why(finding, "With vm.overcommit_memory = 1 a program learns of the lack of memory by "
                      "being killed; 0 refuses what can't possibly fit. (Redis wants 1: then give "
                      "the others a bound.)");
    tune_figure(finding, view->rates.oom_kills, "", "processes killed");
    tune_figure(finding, tune_number(memory->committed), "bytes", "promised (Committed_AS)");
    tune_figure(finding, (double)memory->total, "bytes", "RAM");
    tune_sysctl(finding, "vm.overcommit_memory", 1, 0);
    return true;
}

/* The other rules do with less, but pressure is the best single sign there is. */
bool tune_blind(const struct tune_view *view, struct quire_tune_finding *finding)
{
    if (view->after->pressure.memory_some.total_us != QUIRE_OBSERVE_ABSENT)
        return false;
    finding->severity = QUIRE_TUNE_NOTE;
    tune_what(finding, "this kernel does not tell how long programs wait for memory (PSI)");
    tune_why(finding, "Since Linux 4.20 it can: built with CONFIG_PSI, it may have to be asked for "
                      "at boot. Rules that look at it are silent without.");
    tune_change(finding, "psi=1    # on the kernel's command line");
    return true;
}
