/* SPDX-License-Identifier: Apache-2.0 */
/* tune: what rules have in common: how they speak, and the arithmetic of two looks. See tune.h. */
#include "observe/tune.h"

#include "base/size.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define SAY(member)                                                        \
    va_list arguments;                                                     \
    va_start(arguments, format);                                           \
    vsnprintf(finding->member, sizeof finding->member, format, arguments); \
    va_end(arguments)

void tune_what(struct quire_tune_finding *finding, const char *format, ...)
{
    SAY(what);
}

void tune_why(struct quire_tune_finding *finding, const char *format, ...)
{
    SAY(why);
}

void tune_now(struct quire_tune_finding *finding, const char *format, ...)
{
    SAY(now);
}

void tune_change(struct quire_tune_finding *finding, const char *format, ...)
{
    size_t n = strlen(finding->change);
    va_list arguments;

    if (n > 0 && n + 1 < sizeof finding->change)
        finding->change[n++] = '\n';
    va_start(arguments, format);
    vsnprintf(finding->change + n, sizeof finding->change - n, format, arguments);
    va_end(arguments);
}

void tune_figure(struct quire_tune_finding *finding, double value, const char *unit,
                 const char *format, ...)
{
    va_list arguments;

    if (isnan(value) || finding->n_figures == QUIRE_TUNE_MAX_FIGURES)
        return;
    struct quire_tune_figure *figure = &finding->figures[finding->n_figures++];
    figure->value = value;
    snprintf(figure->unit, sizeof figure->unit, "%s", unit);
    va_start(arguments, format);
    vsnprintf(figure->name, sizeof figure->name, format, arguments);
    va_end(arguments);
}

void tune_sysctl(struct quire_tune_finding *finding, const char *key, uint64_t now, uint64_t value)
{
    tune_now(finding, "%s = %llu", key, (unsigned long long)now);
    tune_change(finding, "sysctl -w %s=%llu", key, (unsigned long long)value);
}

double tune_number(uint64_t figure)
{
    return quire_observe_known(figure) ? (double)figure : (double)NAN;
}

double tune_rate(const struct tune_view *view, uint64_t before, uint64_t after)
{
    if (!quire_observe_known(before) || !quire_observe_known(after))
        return (double)NAN;
    return after > before ? (double)(after - before) / view->seconds : 0;
}

double tune_percent(double part, double whole)
{
    return whole > 0 ? 100 * part / whole : (double)NAN;
}

double tune_memory_stall(const struct tune_view *view)
{
    return view->rates.memory_some;
}

bool tune_is_short(const struct tune_view *view)
{
    const double plenty_percent = 25;
    const struct quire_observe_memory *memory = &view->after->memory;
    double available = tune_percent(tune_number(memory->available), (double)memory->total);

    return !(available >= plenty_percent); /* before Linux 3.14 it is not known */
}

bool tune_swap_is_in_memory(const struct tune_view *view)
{
    const struct quire_observe_settings *settings = &view->after->settings;

    if (!quire_observe_known(settings->n_swaps) || settings->n_swaps == 0)
        return false;
    return settings->n_swaps == settings->n_swaps_ram || settings->zswap_enabled == 1;
}

/* The root, rounded down, by Newton's method: a library for C programs need not ask for libm. */
static uint64_t square_root(uint64_t value)
{
    uint64_t root = value;

    for (uint64_t next = value / 2 + 1; next < root; next = (root + value / root) / 2)
        root = next;
    return root;
}

/* 4 * sqrt(KiB), from 128 to 262144: init_per_zone_wmark_min() of Linux's mm/page_alloc.c. */
uint64_t tune_default_min_free_kib(uint64_t total_bytes)
{
    uint64_t kib = square_root(total_bytes / 1024 * 16);

    return kib < 128 ? 128 : kib > 262144 ? 262144 : kib;
}

const char *tune_size(double bytes, struct tune_text *text)
{
    return size_format(bytes > 0 ? (uint64_t)bytes : 0, text->buffer, sizeof text->buffer);
}

/* The same process in the first look; NULL: it is younger. */
static const struct quire_observe_process *earlier(const struct quire_tune_look *before,
                                                   const struct quire_observe_process *process)
{
    size_t low = 0, high = before->n_processes;

    while (low < high) {
        size_t middle = (low + high) / 2;
        if (before->processes[middle].pid < process->pid)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == before->n_processes || before->processes[low].pid != process->pid ||
        before->processes[low].start_ms != process->start_ms)
        return NULL;
    return &before->processes[low];
}

static double major_rate(const struct tune_view *view, const struct quire_observe_process *process)
{
    const struct quire_observe_process *then = view->before != NULL ? earlier(view->before, process)
                                                                    : NULL;

    return tune_rate(view, then != NULL ? then->major_faults : 0, process->major_faults);
}

size_t tune_most_faulting(const struct tune_view *view, struct tune_process *list, size_t n)
{
    size_t found = 0;

    for (size_t i = 0; i < view->after->n_processes; i++) {
        struct tune_process one = {&view->after->processes[i],
                                   major_rate(view, &view->after->processes[i])};
        if (!(one.major_rate > 0))
            continue;
        size_t at = found < n ? found : n;
        for (; at > 0 && list[at - 1].major_rate < one.major_rate; at--)
            if (at < n)
                list[at] = list[at - 1];
        if (at < n)
            list[at] = one;
        found++;
    }
    return found;
}
