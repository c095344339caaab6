/* SPDX-License-Identifier: Apache-2.0 */
/*
 * export: the families of metrics, in tables: system, processes, runs of Quire.
 *
 * A name is `quire_` + subject + figure + unit, in base units (bytes, seconds). docs/export.md
 * lists them; the test of the command compares. What is not known is left out, so that no zero is
 * shown for it.
 */
#include "observe/export.h"

#include "base/control.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

struct row {
    const char *name, *unit, *help;
    size_t offset; /* of a uint64_t */
    enum metrics_type type;
    double scale; /* 0: the number as it is */
};

static uint64_t figure_at(const void *base, size_t offset)
{
    uint64_t figure;

    memcpy(&figure, (const char *)base + offset, sizeof figure);
    return figure;
}

static void write_figure(struct metrics *metrics, const struct metrics_label *labels,
                         const struct row *row, const void *base)
{
    uint64_t figure = figure_at(base, row->offset);

    if (!quire_observe_known(figure))
        return;
    if (row->scale > 0)
        metrics_number(metrics, "", labels, (double)figure * row->scale);
    else
        metrics_count(metrics, "", labels, figure);
}

static void write_table(struct metrics *metrics, const struct row *rows, size_t n, const void *base)
{
    for (size_t i = 0; i < n; i++) {
        metrics_family(metrics, rows[i].type, rows[i].name, rows[i].unit, rows[i].help);
        write_figure(metrics, NULL, &rows[i], base);
    }
}

#define N(table) (sizeof(table) / sizeof(table)[0])
#define BYTES(prefix, of, member, name, help)                                              \
    {                                                                                      \
        prefix name "_bytes", "bytes", help, offsetof(struct of, member), METRICS_GAUGE, 0 \
    }
#define COUNTER(prefix, of, member, name, help)                                \
    {                                                                          \
        prefix name, "", help, offsetof(struct of, member), METRICS_COUNTER, 0 \
    }

#define MEMORY(member, name, help) BYTES("quire_memory_", quire_observe_memory, member, name, help)

static const struct row memory_rows[] = {
    MEMORY(total, "size", "RAM that the kernel manages"),
    MEMORY(free, "free", "RAM that nobody uses"),
    MEMORY(available, "available", "what could be had without swapping"),
    MEMORY(buffers, "buffers", "cache of block devices"),
    MEMORY(cached, "cached", "page cache, shared memory too"),
    MEMORY(swap_cached, "swap_cached", "in RAM and in swap too"),
    MEMORY(shmem, "shared", "shared memory and tmpfs"),
    MEMORY(active_anon, "active_anonymous", "anonymous and in use lately"),
    MEMORY(inactive_anon, "inactive_anonymous", "anonymous and not in use lately"),
    MEMORY(active_file, "active_file", "of files and in use lately"),
    MEMORY(inactive_file, "inactive_file", "of files and not in use lately"),
    MEMORY(unevictable, "unevictable", "that can't be reclaimed"),
    MEMORY(locked, "locked", "locked by mlock"),
    MEMORY(dirty, "dirty", "of files, still to be written"),
    MEMORY(writeback, "writeback", "of files, being written"),
    MEMORY(anonymous, "anonymous", "that no file backs, mapped"),
    MEMORY(mapped, "mapped", "of files, mapped"),
    MEMORY(slab_reclaimable, "slab_reclaimable", "kernel objects that can go"),
    MEMORY(slab_unreclaimable, "slab_unreclaimable", "kernel objects that can't"),
    MEMORY(kernel_stacks, "kernel_stacks", "stacks of the kernel"),
    MEMORY(page_tables, "page_tables", "page tables"),
    MEMORY(per_cpu, "per_cpu", "the kernel's, a copy a processor"),
    MEMORY(anonymous_huge, "anonymous_huge", "anonymous in transparent huge pages"),
    MEMORY(hugetlb, "hugetlb", "set aside as huge pages"),
    MEMORY(commit_limit, "commit_limit", "that may be promised where overcommit is strict"),
    MEMORY(committed, "committed", "that has been promised"),
    MEMORY(corrupted, "corrupted", "that the hardware lost"),
    BYTES("quire_swap_", quire_observe_memory, swap_total, "size", "swap"),
    BYTES("quire_swap_", quire_observe_memory, swap_free, "free", "swap that nobody uses"),
    BYTES("quire_zswap_", quire_observe_memory, zswap, "held", "RAM that zswap takes"),
    BYTES("quire_zswap_", quire_observe_memory, zswapped, "stored", "what zswap holds, unpacked"),
};

static const struct row zram_rows[] = {
    BYTES("quire_zram_", quire_observe_zram, disk, "size", "sizes of the zram devices"),
    BYTES("quire_zram_", quire_observe_zram, stored, "stored", "what zram holds, unpacked"),
    BYTES("quire_zram_", quire_observe_zram, compressed, "compressed", "what that became"),
    BYTES("quire_zram_", quire_observe_zram, held, "held", "RAM that zram takes"),
};

#define TRAFFIC(member, name, help)                                                             \
    {                                                                                           \
        "quire_" name "_bytes", "bytes", help, offsetof(struct quire_observe_counters, member), \
            METRICS_COUNTER, 0                                                                  \
    }
#define EVENT(member, name, help) COUNTER("quire_", quire_observe_counters, member, name, help)

static const struct row counter_rows[] = {
    EVENT(faults, "page_faults", "page faults, minor and major"),
    EVENT(major_faults, "major_faults", "page faults that waited for a device"),
    TRAFFIC(swapped_in, "swap_in", "read from swap"),
    TRAFFIC(swapped_out, "swap_out", "written to swap"),
    TRAFFIC(read_in, "block_in", "read from block devices"),
    TRAFFIC(written_out, "block_out", "written to block devices"),
    EVENT(zswapped_in_pages, "zswap_in_pages", "pages back from zswap"),
    EVENT(zswapped_out_pages, "zswap_out_pages", "pages into zswap"),
    EVENT(scanned, "scanned_pages", "pages that reclaim looked at"),
    EVENT(reclaimed, "reclaimed_pages", "pages that reclaim freed"),
    EVENT(scanned_direct, "direct_scanned_pages", "pages that allocations looked at themselves"),
    EVENT(direct_stalls, "direct_reclaims", "allocations that had to reclaim themselves"),
    EVENT(refaults_anon, "anonymous_refaults", "anonymous pages back soon after they went"),
    EVENT(refaults_file, "file_refaults", "file pages back soon after they went"),
    EVENT(compact_stalls, "compaction_stalls", "allocations that waited for compaction"),
    EVENT(compact_fails, "compaction_fails", "of these in vain"),
    EVENT(huge_faults, "huge_faults", "faults that got a huge page"),
    EVENT(huge_fallbacks, "huge_fallbacks", "faults that wanted one in vain"),
    EVENT(oom_kills, "oom_kills", "processes killed for lack of memory"),
    EVENT(context_switches, "context_switches", "switches between threads"),
    EVENT(forks, "forks", "processes and threads started"),
    {"quire_tasks_running", "", "threads that run or could",
     offsetof(struct quire_observe_counters, running), METRICS_GAUGE, 0},
    {"quire_tasks_blocked", "", "threads that wait for I/O",
     offsetof(struct quire_observe_counters, blocked), METRICS_GAUGE, 0},
    {"quire_uptime_seconds", "seconds", "time since boot",
     offsetof(struct quire_observe_counters, uptime_ms), METRICS_GAUGE, 1e-3},
};

static void write_cpu(struct metrics *metrics, const struct quire_observe_counters *counters)
{
    const struct {
        const char *mode;
        uint64_t ticks;
    } modes[] = {{"user", counters->cpu_user},       {"nice", counters->cpu_nice},
                 {"system", counters->cpu_system},   {"idle", counters->cpu_idle},
                 {"iowait", counters->cpu_iowait},   {"irq", counters->cpu_irq},
                 {"softirq", counters->cpu_softirq}, {"steal", counters->cpu_steal}};

    metrics_family(metrics, METRICS_COUNTER, "quire_cpu_seconds", "seconds",
                   "processor time, all processors together");
    for (size_t i = 0; i < N(modes); i++)
        if (quire_observe_known(modes[i].ticks))
            metrics_number(metrics, "", (struct metrics_label[]){{"mode", modes[i].mode}, {0}},
                           (double)modes[i].ticks / (double)counters->clock_hz);
}

static void write_pressure(struct metrics *metrics, const struct quire_observe_pressure *pressure)
{
    const struct {
        const char *resource, *kind;
        uint64_t us;
    } stalls[] = {{"cpu", "some", pressure->cpu_some.total_us},
                  {"memory", "some", pressure->memory_some.total_us},
                  {"memory", "full", pressure->memory_full.total_us},
                  {"io", "some", pressure->io_some.total_us},
                  {"io", "full", pressure->io_full.total_us}};

    metrics_family(metrics, METRICS_COUNTER, "quire_pressure_seconds", "seconds",
                   "time that some, or all, tasks waited for a resource (PSI)");
    for (size_t i = 0; i < N(stalls); i++)
        if (quire_observe_known(stalls[i].us))
            metrics_number(metrics, "",
                           (struct metrics_label[]){
                               {"resource", stalls[i].resource}, {"kind", stalls[i].kind}, {0}},
                           (double)stalls[i].us / 1e6);
}

static void write_huge_pages(struct metrics *metrics, const struct quire_observe_memory *memory)
{
    const struct {
        const char *state;
        uint64_t pages;
    } states[] = {{"total", memory->huge_total_pages},
                  {"free", memory->huge_free_pages},
                  {"reserved", memory->huge_reserved_pages},
                  {"surplus", memory->huge_surplus_pages}};

    metrics_family(metrics, METRICS_GAUGE, "quire_huge_pages", "",
                   "huge pages set aside, of the default size");
    for (size_t i = 0; i < N(states); i++)
        metrics_count(metrics, "", (struct metrics_label[]){{"state", states[i].state}, {0}},
                      states[i].pages);
}

static void write_system(struct metrics *metrics, const struct sample *sample)
{
    write_table(metrics, memory_rows, N(memory_rows), &sample->memory);
    metrics_family(metrics, METRICS_GAUGE, "quire_memory_used_bytes", "bytes",
                   "size less available");
    metrics_count(metrics, "", NULL, quire_observe_used(&sample->memory));
    write_huge_pages(metrics, &sample->memory);
    if (sample->has_zram && sample->zram.n_devices > 0)
        write_table(metrics, zram_rows, N(zram_rows), &sample->zram);
    write_table(metrics, counter_rows, N(counter_rows), &sample->counters);
    write_cpu(metrics, &sample->counters);
    write_pressure(metrics, &sample->pressure);
}

#define PROCESS(member, name, help) \
    BYTES("quire_process_", quire_observe_process, member, name, help)

static const struct row process_rows[] = {
    PROCESS(rss, "resident", "resident pages, shared ones in full"),
    PROCESS(pss, "proportional", "resident pages, shared ones divided (--pss)"),
    PROCESS(uss, "unique", "resident and its own alone (--pss)"),
    PROCESS(swap, "swap", "swapped out"),
    PROCESS(locked, "locked", "locked into memory"),
    PROCESS(virtual_bytes, "virtual", "address space"),
    COUNTER("quire_process_", quire_observe_process, minor_faults, "minor_faults",
            "page faults without a device"),
    COUNTER("quire_process_", quire_observe_process, major_faults, "major_faults",
            "page faults that waited for a device"),
    {"quire_process_cpu_seconds", "seconds", "processor time",
     offsetof(struct quire_observe_process, cpu_ms), METRICS_COUNTER, 1e-3},
    {"quire_process_oom_score", "", "the highest is killed first",
     offsetof(struct quire_observe_process, oom_score), METRICS_GAUGE, 0},
};

static void write_processes(struct metrics *metrics, const struct export_page *page)
{
    for (size_t row = 0; row < N(process_rows); row++) {
        metrics_family(metrics, process_rows[row].type, process_rows[row].name,
                       process_rows[row].unit, process_rows[row].help);
        for (size_t i = 0; i < page->n_processes; i++) {
            const struct quire_observe_process *process = &page->processes[i];
            char pid[16], run[16];
            snprintf(pid, sizeof pid, "%d", process->pid);
            snprintf(run, sizeof run, "%d", process->run);
            const struct metrics_label labels[] = {{"pid", pid},
                                                   {"name", process->name},
                                                   {process->run != 0 ? "run" : NULL, run},
                                                   {0}};
            write_figure(metrics, labels, &process_rows[row], process);
        }
    }
}

#define RUN(member, name, help) BYTES("quire_run_", quire_observe_run, member, name, help)
#define RUN_EVENT(member, name, help) COUNTER("quire_run_", quire_observe_run, member, name, help)

static const struct row run_rows[] = {
    RUN(budget, "budget", "RAM that the run may hold"),
    RUN(held, "held", "RAM that it holds of that"),
    RUN(peak_held, "peak_held", "the most it held"),
    RUN(resident, "resident", "in the programs' own pages"),
    RUN(staged, "staged", "evicted, not yet compressed"),
    RUN(compressed, "compressed", "the compressed store"),
    RUN(metadata, "metadata", "Quire's own tables"),
    RUN(file, "file", "in the swap file"),
    RUN(stored, "stored", "of the programs, in the stores, unpacked"),
    RUN(unmanaged, "unmanaged", "RAM of its processes that Quire does not manage"),
    {"quire_run_processes", "", "processes in the run now",
     offsetof(struct quire_observe_run, n_alive), METRICS_GAUGE, 0},
    RUN_EVENT(evicted_pages, "evicted_pages", "pages evicted"),
    RUN_EVENT(prefetched_pages, "prefetched_pages", "pages brought in beside a missed one"),
    RUN_EVENT(prefetch_hits, "prefetch_hits", "of these used, as far as can be told"),
    RUN_EVENT(dead_pages, "dropped_pages", "free pages dropped unread"),
    RUN_EVENT(packed_pages, "packed_pages", "pages compressed"),
    RUN_EVENT(written_pages, "written_pages", "pages written to the swap file"),
    RUN_EVENT(waits_for_room, "waits_for_room", "faults that waited for an eviction"),
    {"quire_run_stall_seconds", "seconds", "waiting for faults that more RAM would have spared",
     offsetof(struct quire_observe_run, stall_ns), METRICS_COUNTER, 1e-9},
};

static const char *run_label(const struct quire_observe_run *run, char text[24])
{
    snprintf(text, 24, "%llu", (unsigned long long)run->keeper);
    return text;
}

static void write_run_faults(struct metrics *metrics, const struct quire_observe_runs *runs)
{
    static const char *const kinds[QUIRE_OBSERVE_N_FAULTS] = {
        "first_touch", "staging", "same_filled", "ram", "file", "copy", "first_write"};

    metrics_family(metrics, METRICS_COUNTER, "quire_run_faults", "", "faults by what they found");
    for (size_t i = 0; i < runs->n; i++)
        for (size_t kind = 0; kind < QUIRE_OBSERVE_N_FAULTS; kind++) {
            char text[24];
            const struct metrics_label labels[] = {
                {"run", run_label(&runs->list[i], text)}, {"kind", kinds[kind]}, {0}};
            metrics_count(metrics, "", labels, runs->list[i].faults[kind]);
        }
}

/* Of four classes a power of two every eighth is enough: bounds four times apart. */
static void write_run_latency(struct metrics *metrics, const struct quire_observe_runs *runs)
{
    metrics_family(metrics, METRICS_HISTOGRAM, "quire_run_fault_seconds", "seconds",
                   "how long faults took");
    for (size_t i = 0; i < runs->n; i++) {
        char text[24], bound[32];
        uint64_t n = 0;
        struct metrics_label labels[] = {
            {"run", run_label(&runs->list[i], text)}, {"le", bound}, {0}};
        for (unsigned k = 0; k < QUIRE_OBSERVE_N_LATENCIES; k++) {
            n += runs->list[i].latency[k];
            double seconds = (double)control_latency_bound_ns(k) / 1e9;
            if (k % 8 != 7 || seconds < 2e-7 || seconds > 20)
                continue;
            snprintf(bound, sizeof bound, "%.6g", seconds);
            metrics_count(metrics, "_bucket", labels, n);
        }
        snprintf(bound, sizeof bound, "+Inf");
        metrics_count(metrics, "_bucket", labels, n);
        labels[1].name = NULL;
        metrics_count(metrics, "_count", labels, n);
        metrics_number(metrics, "_sum", labels, (double)runs->list[i].fault_ns / 1e9);
    }
}

static void write_runs(struct metrics *metrics, const struct quire_observe_runs *runs)
{
    char text[24];

    metrics_family(metrics, METRICS_INFO, "quire_run", "", "a run of Quire");
    for (size_t i = 0; i < runs->n; i++) {
        const struct quire_observe_run *run = &runs->list[i];
        const struct metrics_label labels[] = {{"run", run_label(run, text)},
                                               {"command", run->command},
                                               {"policy", run->policy},
                                               {"codec", run->codec},
                                               {0}};
        metrics_count(metrics, "", labels, 1);
    }
    for (size_t row = 0; row < N(run_rows); row++) {
        metrics_family(metrics, run_rows[row].type, run_rows[row].name, run_rows[row].unit,
                       run_rows[row].help);
        for (size_t i = 0; i < runs->n; i++)
            write_figure(metrics,
                         (struct metrics_label[]){{"run", run_label(&runs->list[i], text)}, {0}},
                         &run_rows[row], &runs->list[i]);
    }
    write_run_faults(metrics, runs);
    write_run_latency(metrics, runs);
}

void export_write(const struct export_page *page, struct metrics *metrics)
{
    const struct sample *sample = page->sample;

    metrics_family(metrics, METRICS_INFO, "quire_build", "", "the exporter");
    metrics_count(metrics, "", (struct metrics_label[]){{"version", QUIRE_VERSION}, {0}}, 1);
    write_system(metrics, sample);
    metrics_family(metrics, METRICS_GAUGE, "quire_processes", "", "processes");
    metrics_count(metrics, "", NULL, sample->processes.n);
    metrics_family(metrics, METRICS_GAUGE, "quire_denied_processes", "",
                   "processes of which a figure is not shown to this user");
    metrics_count(metrics, "", NULL, sample->processes.n_denied);
    write_processes(metrics, page);
    metrics_family(metrics, METRICS_GAUGE, "quire_runs", "", "runs of Quire that can be seen");
    metrics_count(metrics, "", NULL, sample->runs.n);
    write_runs(metrics, &sample->runs);
    metrics_family(metrics, METRICS_GAUGE, "quire_collect_seconds", "seconds",
                   "what taking these figures took");
    metrics_number(metrics, "", NULL, page->seconds);
    metrics_end(metrics);
}
