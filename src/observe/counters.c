/* SPDX-License-Identifier: Apache-2.0 */
/*
 * counters: /proc/vmstat, /proc/stat and /proc/uptime, counted since boot.
 *
 * What was scanned and reclaimed: since Linux 5.8 pgscan_anon and pgscan_file count all of it, the
 * work for cgroup limits included; pgscan_kswapd and pgscan_direct count the system's own. On
 * earlier kernels the sum of the latter is all there is.
 * Sources: proc(5); Linux's mm/vmstat.c, fs/proc/stat.c.
 */
#include "base/sys.h"
#include "observe/fields.h"
#include "observe/procfs.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

struct raw { /* what becomes figures only together with others */
    struct quire_observe_counters *counters;
    uint64_t scan_anon, scan_file, scan_khugepaged, scan_proactive;
    uint64_t steal_anon, steal_file, steal_khugepaged, steal_proactive;
};

#define OF(key, member, rule)                                      \
    {                                                              \
        key, offsetof(struct quire_observe_counters, member), rule \
    }

static const struct field fields[] = {
    OF("nr_dirty_threshold", dirty_limit, FIELD_PAGES),
    OF("nr_dirty_background_threshold", dirty_background_limit, FIELD_PAGES),
    OF("numa_hit", numa_hits, FIELD_NUMBER),
    OF("numa_miss", numa_misses, FIELD_NUMBER),
    OF("workingset_refault", refaults, FIELD_NUMBER),
    OF("workingset_refault_anon", refaults_anon, FIELD_NUMBER),
    OF("workingset_refault_file", refaults_file, FIELD_NUMBER),
    OF("pgpgin", read_in, FIELD_KB_BARE),
    OF("pgpgout", written_out, FIELD_KB_BARE),
    OF("pswpin", swapped_in, FIELD_PAGES),
    OF("pswpout", swapped_out, FIELD_PAGES),
    OF("allocstall", direct_stalls, FIELD_ZONES),
    OF("pgfault", faults, FIELD_NUMBER),
    OF("pgmajfault", major_faults, FIELD_NUMBER),
    OF("pgsteal_kswapd", reclaimed_kswapd, FIELD_ZONES),
    OF("pgsteal_direct", reclaimed_direct, FIELD_ZONES),
    OF("pgscan_kswapd", scanned_kswapd, FIELD_ZONES),
    OF("pgscan_direct", scanned_direct, FIELD_ZONES),
    OF("zone_reclaim_success", node_reclaims, FIELD_NUMBER),
    OF("kswapd_low_wmark_hit_quickly", kswapd_low_hits, FIELD_NUMBER),
    OF("kswapd_high_wmark_hit_quickly", kswapd_high_hits, FIELD_NUMBER),
    OF("oom_kill", oom_kills, FIELD_NUMBER),
    OF("compact_stall", compact_stalls, FIELD_NUMBER),
    OF("compact_fail", compact_fails, FIELD_NUMBER),
    OF("compact_success", compact_successes, FIELD_NUMBER),
    OF("thp_fault_alloc", huge_faults, FIELD_NUMBER),
    OF("thp_fault_fallback", huge_fallbacks, FIELD_NUMBER),
    OF("thp_collapse_alloc", huge_collapses, FIELD_NUMBER),
    OF("thp_split_page", huge_splits, FIELD_NUMBER),
    OF("zswpin", zswapped_in_pages, FIELD_NUMBER),
    OF("zswpout", zswapped_out_pages, FIELD_NUMBER),
    OF("zswpwb", zswap_written_back_pages, FIELD_NUMBER),
};
#define N_FIELDS (sizeof fields / sizeof fields[0])

#define RAW(key, member)                                \
    {                                                   \
        key, offsetof(struct raw, member), FIELD_NUMBER \
    }

static const struct field raw_fields[] = {
    RAW("pgsteal_khugepaged", steal_khugepaged),
    RAW("pgsteal_proactive", steal_proactive),
    RAW("pgscan_khugepaged", scan_khugepaged),
    RAW("pgscan_proactive", scan_proactive),
    RAW("pgscan_anon", scan_anon),
    RAW("pgscan_file", scan_file),
    RAW("pgsteal_anon", steal_anon),
    RAW("pgsteal_file", steal_file),
};
#define N_RAW (sizeof raw_fields / sizeof raw_fields[0])

#define STAT(key, member)                                                  \
    {                                                                      \
        key, offsetof(struct quire_observe_counters, member), FIELD_NUMBER \
    }

static const struct field stat_fields[] = {
    STAT("ctxt", context_switches), STAT("btime", boot_time_s),     STAT("processes", forks),
    STAT("procs_running", running), STAT("procs_blocked", blocked),
};
#define N_STAT (sizeof stat_fields / sizeof stat_fields[0])

/* `parts` are the sum only where no figure of the whole is known. */
static uint64_t sum(const uint64_t *parts, unsigned n)
{
    uint64_t total = QUIRE_OBSERVE_ABSENT;

    for (unsigned i = 0; i < n; i++)
        if (quire_observe_known(parts[i]))
            total = (quire_observe_known(total) ? total : 0) + parts[i];
    return total;
}

static void settle(struct raw *raw)
{
    struct quire_observe_counters *counters = raw->counters;
    const uint64_t scans[] = {counters->scanned_kswapd, counters->scanned_direct,
                              raw->scan_khugepaged, raw->scan_proactive};
    const uint64_t steals[] = {counters->reclaimed_kswapd, counters->reclaimed_direct,
                               raw->steal_khugepaged, raw->steal_proactive};
    const uint64_t refaults[] = {counters->refaults_anon, counters->refaults_file};
    bool whole = quire_observe_known(raw->scan_anon) && quire_observe_known(raw->scan_file) &&
                 quire_observe_known(raw->steal_anon) && quire_observe_known(raw->steal_file);

    counters->scanned = whole ? raw->scan_anon + raw->scan_file : sum(scans, 4);
    counters->reclaimed = whole ? raw->steal_anon + raw->steal_file : sum(steals, 4);
    if (!quire_observe_known(counters->refaults))
        counters->refaults = sum(refaults, 2);
}

static int read_vmstat(struct quire_observe *observe, struct quire_observe_counters *counters)
{
    struct raw raw = {.counters = counters};
    unsigned next = 0, next_raw = 0;

    fields_clear(raw_fields, N_RAW, &raw, QUIRE_OBSERVE_ABSENT);
    int error = source_read(observe, "proc/vmstat", true);
    while (error == 0 && source_line(observe) != NULL) {
        error = fields_take_line(observe, fields, N_FIELDS, ' ', counters, &next);
        if (error == 0)
            error = fields_take_line(observe, raw_fields, N_RAW, ' ', &raw, &next_raw);
    }
    if (error < 0)
        return error;
    if (!quire_observe_known(counters->faults))
        return source_lacks(observe, "pgfault");
    settle(&raw);
    return 0;
}

/* "cpu  USER NICE SYSTEM IDLE IOWAIT IRQ SOFTIRQ STEAL ..." */
static int take_cpu(struct quire_observe *observe, struct quire_observe_counters *counters)
{
    uint64_t *const ticks[] = {&counters->cpu_user,    &counters->cpu_nice,   &counters->cpu_system,
                               &counters->cpu_idle,    &counters->cpu_iowait, &counters->cpu_irq,
                               &counters->cpu_softirq, &counters->cpu_steal};
    const char *at = observe->line + 3;

    for (unsigned i = 0; i < sizeof ticks / sizeof ticks[0]; i++) {
        at += strspn(at, " ");
        if (!procfs_digits(&at, ticks[i]))
            return i >= 4 && *at == '\0' ? 0 : source_bad(observe, "eight numbers are expected");
    }
    return 0;
}

static int read_stat(struct quire_observe *observe, struct quire_observe_counters *counters)
{
    unsigned next = 0;
    int error = source_read(observe, "proc/stat", true);

    counters->n_cpus = 0;
    counters->clock_hz = (uint64_t)sysconf(_SC_CLK_TCK);
    while (error == 0 && source_line(observe) != NULL) {
        const char *line = observe->line;
        if (strncmp(line, "cpu ", 4) == 0) {
            error = take_cpu(observe, counters);
        } else if (strncmp(line, "cpu", 3) == 0) {
            counters->n_cpus++;
        } else if (strncmp(line, "intr ", 5) == 0) {
            const char *at = line + 5; /* the sum; what follows is by interrupt, and long */
            if (!procfs_digits(&at, &counters->interrupts))
                error = source_bad(observe, "a number is expected behind the name");
        } else {
            error = fields_take_line(observe, stat_fields, N_STAT, ' ', counters, &next);
        }
    }
    if (error == 0 && !quire_observe_known(counters->cpu_idle))
        error = source_lacks(observe, "line of all processors");
    return error;
}

/* "SECONDS.HUNDREDTHS IDLE" */
static int read_uptime(struct quire_observe *observe, struct quire_observe_counters *counters)
{
    uint64_t seconds, hundredths;
    int error = source_read(observe, "proc/uptime", true);

    if (error < 0)
        return error;
    const char *at = source_line(observe);
    if (!procfs_digits(&at, &seconds) || *at++ != '.' || !procfs_digits(&at, &hundredths) ||
        seconds > UINT64_MAX / 2000 || hundredths > 99)
        return source_bad(observe, "two numbers with fractions are expected");
    counters->uptime_ms = seconds * 1000 + hundredths * 10;
    return 0;
}

int quire_observe_counters(struct quire_observe *observe, struct quire_observe_counters *counters)
{
    memset(counters, 0xff, sizeof *counters); /* all absent */
    int error = read_uptime(observe, counters);
    if (error == 0)
        error = read_stat(observe, counters);
    if (error == 0)
        error = read_vmstat(observe, counters);
    counters->at_ns = sys_now_ns();
    return error;
}
