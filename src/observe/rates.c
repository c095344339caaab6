/* SPDX-License-Identifier: Apache-2.0 */
/* rates: what happened between two samples of counters, a second. */
#include <quire/observe.h>

#include <math.h>
#include <stddef.h>

static double delta(uint64_t before, uint64_t after)
{
    if (!quire_observe_known(before) || !quire_observe_known(after))
        return (double)NAN;
    return after > before ? (double)(after - before) : 0;
}

#define OF(rate, counter)                                    \
    {                                                        \
        offsetof(struct quire_observe_rates, rate),          \
            offsetof(struct quire_observe_counters, counter) \
    }

static const struct {
    size_t rate, counter;
} plain[] = {
    OF(major_faults, major_faults),     OF(swapped_in, swapped_in),
    OF(swapped_out, swapped_out),       OF(read_in, read_in),
    OF(written_out, written_out),       OF(scanned, scanned),
    OF(reclaimed, reclaimed),           OF(scanned_direct, scanned_direct),
    OF(scanned_kswapd, scanned_kswapd), OF(reclaimed_direct, reclaimed_direct),
    OF(direct_stalls, direct_stalls),   OF(refaults, refaults),
    OF(compact_stalls, compact_stalls), OF(compact_fails, compact_fails),
    OF(huge_faults, huge_faults),       OF(huge_fallbacks, huge_fallbacks),
    OF(interrupts, interrupts),         OF(context_switches, context_switches),
};

static uint64_t at(const struct quire_observe_counters *counters, size_t offset)
{
    return *(const uint64_t *)(const void *)((const char *)counters + offset);
}

/* Shares of the processors' time, as vmstat(8) has them: nice is user's, interrupts are system's.
 */
static void cpu_rates(const struct quire_observe_counters *before,
                      const struct quire_observe_counters *after, struct quire_observe_rates *rates)
{
    double user = delta(before->cpu_user, after->cpu_user) +
                  delta(before->cpu_nice, after->cpu_nice);
    double system = delta(before->cpu_system, after->cpu_system) +
                    delta(before->cpu_irq, after->cpu_irq) +
                    delta(before->cpu_softirq, after->cpu_softirq);
    double idle = delta(before->cpu_idle, after->cpu_idle);
    double iowait = delta(before->cpu_iowait, after->cpu_iowait);
    double steal = delta(before->cpu_steal, after->cpu_steal);
    double all = user + system + idle + iowait + steal;

    rates->cpu_user = all > 0 ? 100 * user / all : 0;
    rates->cpu_system = all > 0 ? 100 * system / all : 0;
    rates->cpu_idle = all > 0 ? 100 * idle / all : 0;
    rates->cpu_iowait = all > 0 ? 100 * iowait / all : 0;
    rates->cpu_steal = all > 0 ? 100 * steal / all : 0;
}

static double stalled(const struct quire_observe_stall *before,
                      const struct quire_observe_stall *after, double seconds)
{
    double percent = delta(before->total_us, after->total_us) / 1e4 / seconds;

    return percent > 100 ? 100 : percent; /* NaN stays */
}

void quire_observe_rates(const struct quire_observe_counters *before,
                         const struct quire_observe_counters *after,
                         const struct quire_observe_pressure *pressure_before,
                         const struct quire_observe_pressure *pressure_after,
                         struct quire_observe_rates *rates)
{
    static const struct quire_observe_counters boot;
    static const struct quire_observe_pressure no_pressure;
    bool is_since_boot = before == NULL;
    double seconds = is_since_boot ? (double)after->uptime_ms / 1e3
                                   : (double)(after->at_ns - before->at_ns) / 1e9;

    before = is_since_boot ? &boot : before;
    pressure_before = pressure_before == NULL ? &no_pressure : pressure_before;
    seconds = seconds > 0 ? seconds : 1e-9;
    *rates = (struct quire_observe_rates){.seconds = seconds};
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++)
        *(double *)(void *)((char *)rates + plain[i].rate) = delta(at(before, plain[i].counter),
                                                                   at(after, plain[i].counter)) /
                                                             seconds;
    rates->minor_faults = delta(before->faults, after->faults) / seconds - rates->major_faults;
    rates->minor_faults = rates->minor_faults < 0 ? 0 : rates->minor_faults;
    rates->oom_kills = delta(before->oom_kills, after->oom_kills);
    cpu_rates(before, after, rates);
    rates->memory_some = stalled(&pressure_before->memory_some, &pressure_after->memory_some,
                                 seconds);
    rates->memory_full = stalled(&pressure_before->memory_full, &pressure_after->memory_full,
                                 seconds);
    rates->io_some = stalled(&pressure_before->io_some, &pressure_after->io_some, seconds);
    rates->io_full = stalled(&pressure_before->io_full, &pressure_after->io_full, seconds);
    rates->cpu_some = stalled(&pressure_before->cpu_some, &pressure_after->cpu_some, seconds);
}
