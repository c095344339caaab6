/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The readers of <quire/observe.h>: recorded machines against what procps printed of them, files
 * that are cut short or hold something else, processes that come and go, and this machine.
 */
#include <quire/observe.h>

#include "root.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* The first ones with processes and slab caches; the others were recorded by somebody else. */
static const char *const machines[] = {"4.15-numa", "6.1-zram-cgroup2", "6.18-cgroup1", "5.10-swap",
                                       "5.14-small"};
static const unsigned n_cpus[] = {2, 2, 2, 2, 1};
#define N_MACHINES 5
#define N_WHOLE 3

/* A file of a recorded machine; the caller frees it. */
static char *load(const char *machine, const char *path, size_t *n)
{
    char whole[PATH_MAX], *text = malloc(1 << 20);

    snprintf(whole, sizeof whole, "%s/%s/%s", MACHINES, machine, path);
    FILE *file = fopen(whole, "r");
    if (file == NULL)
        fail_msg("%s: %s", whole, strerror(errno));
    *n = fread(text, 1, (1 << 20) - 1, file);
    text[*n] = '\0';
    fclose(file);
    return text;
}

static void copy(const char *machine, const char *path)
{
    size_t n;
    char *text = load(machine, path, &n);

    root_put_bytes(path, text, n);
    free(text);
}

static struct quire_observe *opened(const char *directory)
{
    struct quire_observe *observe;

    assert_int_equal(quire_observe_open(directory, &observe), 0);
    return observe;
}

static struct quire_observe *machine(const char *name)
{
    char path[PATH_MAX];

    snprintf(path, sizeof path, "%s/%s", MACHINES, name);
    return opened(path);
}

static int big_of(const char *name)
{
    size_t n;
    char *text = load(name, "big.txt", &n);
    int pid = atoi(text);

    free(text);
    return pid;
}

static void no_such_root(void **state)
{
    struct quire_observe *observe;

    assert_int_equal(quire_observe_open("/nonexistent", &observe), -ENOENT);
    assert_null(observe);
    quire_observe_close(NULL);
    observe = opened(root);
    struct quire_observe_memory memory;
    assert_int_equal(quire_observe_memory(observe, &memory), -ENOENT);
    assert_string_equal(quire_observe_message(observe),
                        "cannot read /proc/meminfo: No such file or directory");
    quire_observe_close(observe);
}

/* total used free shared buff/cache available; then swap's */
static void memory_as_free_prints_it(void **state)
{
    for (int i = 0; i < N_MACHINES; i++) {
        struct quire_observe *observe = machine(machines[i]);
        struct quire_observe_memory memory;
        unsigned long want[9];
        size_t n;
        char *text = load(machines[i], "free.txt", &n);

        assert_int_equal(
            sscanf(strstr(text, "Mem:"), "Mem: %lu %lu %lu %lu %lu %lu Swap: %lu %lu %lu", &want[0],
                   &want[1], &want[2], &want[3], &want[4], &want[5], &want[6], &want[7], &want[8]),
            9);
        assert_int_equal(quire_observe_memory(observe, &memory), 0);
        assert_int_equal(memory.total, want[0]);
        assert_int_equal(quire_observe_used(&memory), want[1]);
        assert_int_equal(memory.free, want[2]);
        assert_int_equal(memory.shmem, want[3]);
        assert_int_equal(memory.buffers + quire_observe_cache(&memory), want[4]);
        assert_int_equal(memory.available, want[5]);
        assert_int_equal(memory.swap_total, want[6]);
        assert_int_equal(memory.swap_free, want[8]);
        free(text);
        quire_observe_close(observe);
    }
}

static unsigned long number_before(const char *text, const char *words)
{
    const char *at = strstr(text, words);

    assert_non_null(at);
    while (at > text && at[-1] != '\n')
        at--;
    return strtoul(at, NULL, 10);
}

static void counters_as_vmstat_prints_them(void **state)
{
    for (int i = 0; i < N_MACHINES; i++) {
        struct quire_observe *observe = machine(machines[i]);
        struct quire_observe_counters now;
        size_t n;
        char *text = load(machines[i], "vmstat-s.txt", &n);

        assert_int_equal(quire_observe_counters(observe, &now), 0);
        assert_int_equal(now.read_in / 1024, number_before(text, " K paged in"));
        assert_int_equal(now.written_out / 1024, number_before(text, " K paged out"));
        assert_int_equal(now.swapped_in / 4096, number_before(text, " pages swapped in"));
        assert_int_equal(now.swapped_out / 4096, number_before(text, " pages swapped out"));
        assert_int_equal(now.interrupts, number_before(text, " interrupts"));
        assert_int_equal(now.context_switches, number_before(text, " CPU context"));
        assert_int_equal(now.boot_time_s, number_before(text, " boot time"));
        assert_int_equal(now.forks, number_before(text, " forks"));
        assert_int_equal(now.cpu_user, number_before(text, " non-nice user"));
        assert_int_equal(now.cpu_iowait, number_before(text, " IO-wait"));
        assert_int_equal(now.n_cpus, n_cpus[i]);
        free(text);
        quire_observe_close(observe);
    }
}

static void counters_that_only_some_kernels_have(void **state)
{
    struct quire_observe *observe = machine("6.18-cgroup1");
    struct quire_observe_counters now;

    assert_int_equal(quire_observe_counters(observe, &now), 0);
    assert_int_equal(now.faults, 655674169);
    assert_int_equal(now.major_faults, 25799471);
    assert_int_equal(now.scanned, 62678039 + 322022); /* for cgroups, all of it */
    assert_int_equal(now.reclaimed, 29030290 + 1298);
    assert_int_equal(now.scanned_kswapd, 0);
    assert_int_equal(now.refaults, 25756873 + 4352591);
    assert_int_equal(now.uptime_ms, 66128730);
    quire_observe_close(observe);
    observe = machine("4.15-numa");
    assert_int_equal(quire_observe_counters(observe, &now), 0);
    assert_int_equal(now.refaults_anon, QUIRE_OBSERVE_ABSENT);
    assert_int_equal(now.refaults, 0);
    assert_int_equal(now.scanned, 0);
    assert_int_equal(now.direct_stalls, 0);
    quire_observe_close(observe);
}

/* Before 4.8 reclaim is counted by zone. */
static void counters_by_zone_are_added_up(void **state)
{
    struct quire_observe *observe = opened(root);
    struct quire_observe_counters now;

    root_put("proc/uptime", "100.50 90.00\n");
    root_put("proc/stat", "cpu  1 2 3 4\ncpu0 1 2 3 4\nctxt 5\n");
    root_put("proc/vmstat", "pgfault 10\npgscan_kswapd_dma 1\npgscan_kswapd_normal 20\n"
                            "pgscan_direct_normal 300\npgscan_direct_throttle 9\nallocstall 7\n"
                            "pgsteal_direct_movable 4\npgscan_kswapd_other 1000\n");
    assert_int_equal(quire_observe_counters(observe, &now), 0);
    assert_int_equal(now.scanned_kswapd, 21);
    assert_int_equal(now.scanned_direct, 300);
    assert_int_equal(now.scanned, 321);
    assert_int_equal(now.direct_stalls, 7);
    assert_int_equal(now.reclaimed, 4);
    assert_int_equal(now.oom_kills, QUIRE_OBSERVE_ABSENT);
    assert_int_equal(now.cpu_iowait, QUIRE_OBSERVE_ABSENT);
    assert_int_equal(now.uptime_ms, 100500);
    quire_observe_close(observe);
}

static void rates_between_two_samples(void **state)
{
    struct quire_observe_counters before, after;
    struct quire_observe_pressure stalls, later;
    struct quire_observe_rates rates;

    memset(&before, 0xff, sizeof before);
    memset(&stalls, 0xff, sizeof stalls);
    after = before, later = stalls;
    before.at_ns = 1000000000, after.at_ns = 3000000000;
    before.faults = 100, after.faults = 300;
    before.major_faults = 10, after.major_faults = 30;
    before.swapped_in = 4096, after.swapped_in = 0; /* went back */
    stalls.memory_some.total_us = 0, later.memory_some.total_us = 500000;
    quire_observe_rates(&before, &after, &stalls, &later, &rates);
    assert_true(fabs(rates.seconds - 2) < 1e-9);
    assert_true(fabs(rates.minor_faults - 90) < 1e-9);
    assert_true(fabs(rates.major_faults - 10) < 1e-9);
    assert_true(fabs(rates.swapped_in) < 1e-9);
    assert_true(fabs(rates.memory_some - 25) < 1e-9);
    assert_true(isnan(rates.memory_full) && isnan(rates.swapped_out));
    after.uptime_ms = 100000;
    quire_observe_rates(NULL, &after, NULL, &later, &rates);
    assert_true(fabs(rates.major_faults - 0.3) < 1e-9);
}

static void pressure(void **state)
{
    struct quire_observe *observe = machine("6.18-cgroup1");
    struct quire_observe_pressure now;

    assert_int_equal(quire_observe_pressure(observe, &now), 0);
    assert_int_equal(now.memory_some.average_10s, 1449);
    assert_int_equal(now.memory_full.average_300s, 124);
    assert_int_equal(now.memory_full.total_us, 293815230);
    quire_observe_close(observe);
    observe = machine("4.15-numa"); /* no PSI yet */
    assert_int_equal(quire_observe_pressure(observe, &now), 0);
    assert_int_equal(now.memory_some.average_10s, QUIRE_OBSERVE_ABSENT);
    assert_int_equal(now.io_full.total_us, QUIRE_OBSERVE_ABSENT);
    quire_observe_close(observe);
    observe = opened(root);
    root_put("proc/pressure/cpu", "some avg10=1.5 avg60=0.00 avg300=0.00 total=1\n");
    assert_int_equal(quire_observe_pressure(observe, &now), -EBADMSG);
    assert_non_null(strstr(quire_observe_message(observe), "/proc/pressure/cpu: line 1, 'some "));
    quire_observe_close(observe);
}

static void zram_and_settings(void **state)
{
    struct quire_observe *observe = machine("6.1-zram-cgroup2");
    struct quire_observe_zram zram;
    struct quire_observe_settings settings;

    assert_int_equal(quire_observe_zram(observe, &zram), 0);
    assert_int_equal(zram.n_devices, 1);
    assert_int_equal(zram.disk, 256 << 20);
    assert_int_equal(zram.stored, 4096);
    assert_int_equal(zram.compressed, 73);
    assert_int_equal(zram.held, 12288);
    assert_int_equal(quire_observe_settings(observe, &settings), 0);
    assert_int_equal(settings.swappiness, 60);
    assert_int_equal(settings.n_swaps, 1);
    assert_int_equal(settings.n_swaps_ram, 1);
    assert_int_equal(settings.zswap_enabled, QUIRE_OBSERVE_ABSENT);
    assert_string_equal(settings.huge_enabled, "never");
    quire_observe_close(observe);
    observe = machine("4.15-numa");
    assert_int_equal(quire_observe_zram(observe, &zram), 0);
    assert_int_equal(zram.n_devices, 0);
    assert_int_equal(quire_observe_settings(observe, &settings), 0);
    assert_int_equal(settings.zswap_enabled, 0);
    assert_int_equal(settings.n_swaps, 0);
    assert_int_equal(settings.delay_accounting, QUIRE_OBSERVE_ABSENT);
    quire_observe_close(observe);
}

static void limits_of_both_cgroup_versions(void **state)
{
    struct quire_observe *observe = machine("6.1-zram-cgroup2");
    struct quire_observe_cgroup cgroup;

    assert_int_equal(quire_observe_cgroup(observe, &cgroup), 0);
    assert_int_equal(cgroup.version, 2);
    assert_string_equal(cgroup.path, "/sys/fs/cgroup/job");
    assert_int_equal(cgroup.limit, 300 << 20);
    assert_int_equal(cgroup.soft_limit, 280 << 20);
    assert_int_equal(cgroup.used, 281509888);
    assert_int_equal(cgroup.times_over_soft, 0);
    quire_observe_close(observe);
    observe = machine("6.18-cgroup1");
    assert_int_equal(quire_observe_cgroup(observe, &cgroup), 0);
    assert_int_equal(cgroup.version, 1);
    assert_int_equal(cgroup.limit, 48 << 20);
    assert_int_equal(cgroup.soft_limit, QUIRE_OBSERVE_ABSENT);
    assert_int_equal(cgroup.used, 36622336);
    assert_int_equal(cgroup.oom_kills, 0);
    quire_observe_close(observe);
    observe = machine("4.15-numa");
    assert_int_equal(quire_observe_cgroup(observe, &cgroup), 0);
    assert_int_equal(cgroup.limit, QUIRE_OBSERVE_ABSENT);
    assert_string_equal(cgroup.path, "");
    quire_observe_close(observe);
}

static void zones_of_two_nodes(void **state)
{
    struct quire_observe *observe = machine("4.15-numa");
    struct quire_observe_zones zones;

    assert_int_equal(quire_observe_zones(observe, &zones), 0);
    assert_int_equal(zones.n_zones, 3);
    assert_int_equal(zones.n_orders, 11);
    assert_int_equal(zones.block_pages, 512);
    assert_int_equal(zones.zones[2].node, 1);
    assert_string_equal(zones.zones[2].name, "DMA32");
    assert_int_equal(zones.zones[2].free_blocks[10], 39);
    for (unsigned i = 0; i < zones.n_zones; i++) {
        const struct quire_observe_zone *zone = &zones.zones[i];
        assert_true(zone->min_pages <= zone->low_pages && zone->low_pages <= zone->high_pages);
        assert_true(zone->managed_pages <= zone->present_pages);
        uint64_t n_blocks = 0;
        for (unsigned type = 0; type < zones.n_types; type++)
            n_blocks += zone->free_blocks_of[type][3];
        assert_true(n_blocks <= zone->free_blocks[3] + 64 && n_blocks + 64 >= zone->free_blocks[3]);
    }
    quire_observe_close(observe);
}

/* By hand: 10 free pages in 4+2+... blocks, as mm/vmstat.c computes them. */
/* Each kernel's zoneinfo has other lines; the free blocks add up to the pages that it counts. */
static void zones_of_each_kernel(void **state)
{
    for (int i = 0; i < N_MACHINES; i++) {
        struct quire_observe *observe = machine(machines[i]);
        struct quire_observe_zones zones;
        assert_int_equal(quire_observe_zones(observe, &zones), 0);
        assert_true(zones.n_zones >= 2 && zones.n_orders == 11);
        for (unsigned k = 0; k < zones.n_zones; k++) {
            const struct quire_observe_zone *zone = &zones.zones[k];
            uint64_t free_pages = 0;
            for (unsigned order = 0; order < zones.n_orders; order++)
                free_pages += zone->free_blocks[order] << order;
            /* the two files are of slightly different moments */
            assert_in_range(zone->free_pages, free_pages * 9 / 10, free_pages * 11 / 10);
            assert_true(0 < zone->min_pages && zone->min_pages < zone->low_pages &&
                        zone->low_pages < zone->high_pages);
            assert_true(zone->managed_pages <= zone->present_pages &&
                        zone->present_pages <= zone->spanned_pages);
        }
        quire_observe_close(observe);
    }
}

static void fragmentation_indexes(void **state)
{
    struct quire_observe_zone zone = {.free_blocks = {4, 1, 1}}; /* 4 + 2 + 4 pages, 6 blocks */

    assert_int_equal(quire_observe_unusable_index(&zone, 4, 0), 0);
    assert_int_equal(quire_observe_unusable_index(&zone, 4, 1), 400);
    assert_int_equal(quire_observe_unusable_index(&zone, 4, 2), 600);
    assert_int_equal(quire_observe_unusable_index(&zone, 4, 3), 1000);
    assert_int_equal(quire_observe_fragmentation_index(&zone, 4, 2), -1000);
    /* 1000 - (1000 + 10 * 1000 / 8) / 6 */
    assert_int_equal(quire_observe_fragmentation_index(&zone, 4, 3), 1000 - 2250 / 6);
    memset(&zone, 0, sizeof zone);
    assert_int_equal(quire_observe_unusable_index(&zone, 4, 0), 1000);
    assert_int_equal(quire_observe_fragmentation_index(&zone, 4, 0), 0);
}

static void slab_caches_as_slabtop_prints_them(void **state)
{
    for (int i = 0; i < N_WHOLE; i++) {
        struct quire_observe *observe = machine(machines[i]);
        struct quire_observe_slabs slabs;
        unsigned long objects, active, n_slabs, caches, want_active, want_objects, a, b;
        size_t n;
        char *text = load(machines[i], "slabtop.txt", &n);

        assert_int_equal(sscanf(strstr(text, "Total Objects"),
                                "Total Objects (%% used) : %lu / %lu", &want_active, &want_objects),
                         2);
        assert_int_equal(
            sscanf(strstr(text, "Total Caches"), "Total Caches (%% used) : %lu / %lu", &a, &caches),
            2);
        assert_int_equal(quire_observe_slabs(observe, &slabs), 0);
        assert_int_equal(slabs.n_caches, caches);
        objects = active = n_slabs = b = 0;
        for (size_t k = 0; k < slabs.n_caches; k++) {
            objects += slabs.caches[k].objects;
            active += slabs.caches[k].active_objects;
            n_slabs += slabs.caches[k].slabs;
            b += strcmp(slabs.caches[k].name, "dentry") == 0;
        }
        assert_int_equal(objects, want_objects);
        assert_int_equal(active, want_active);
        assert_int_equal(b, 1);
        assert_true(n_slabs > 0);
        free(text);
        quire_observe_close(observe);
    }
}

static const struct quire_observe_process *find(const struct quire_observe_processes *processes,
                                                int pid)
{
    for (size_t i = 0; i < processes->n; i++)
        if (processes->list[i].pid == pid)
            return &processes->list[i];
    return NULL;
}

#define ALL_PARTS                                                                           \
    (QUIRE_OBSERVE_STAT | QUIRE_OBSERVE_STATUS | QUIRE_OBSERVE_SHARES | QUIRE_OBSERVE_OOM | \
     QUIRE_OBSERVE_COMMAND | QUIRE_OBSERVE_RUNS | QUIRE_OBSERVE_IO)

static void recorded_processes(void **state)
{
    struct quire_observe *observe = machine("6.1-zram-cgroup2");
    struct quire_observe_processes processes;

    assert_int_equal(quire_observe_processes(observe, ALL_PARTS, &processes), 0);
    assert_int_equal(processes.n, 6);
    const struct quire_observe_process *big = find(&processes, 268), *thread = find(&processes, 2);
    assert_non_null(big);
    assert_string_equal(big->name, "sh");
    assert_int_equal(strncmp(big->command, "sh -c x=$(head", 14), 0);
    assert_int_equal(big->parent, 1);
    assert_int_equal(big->state, 'S');
    assert_int_equal(big->minor_faults, 44042);
    assert_int_equal(big->major_faults, 0);
    assert_int_equal(big->rss, 22390 * 4096);
    assert_int_equal(big->pss, 88131 * 1024);
    assert_int_equal(big->uss, 88020 * 1024);
    assert_int_equal(big->rss_peak, 177160 * 1024);
    assert_int_equal(big->oom_score, 746);
    assert_int_equal(big->oom_adjust, 0);
    assert_int_equal(big->user, 0);
    assert_int_equal(big->io_read_calls, 180002224);
    assert_int_equal(big->start_ms, 63560);
    assert_int_equal(big->run, 0);
    assert_int_equal(big->run_resident, QUIRE_OBSERVE_ABSENT);
    /* 44042 faults in 71.71 s of uptime less 63.56 s */
    assert_true(fabs(big->minor_rate - 44042 / 8.15) < 1);
    assert_true(thread->is_kernel_thread && !big->is_kernel_thread);
    assert_int_equal(thread->pss, QUIRE_OBSERVE_ABSENT);
    /* only what is asked for */
    assert_int_equal(quire_observe_processes(observe, QUIRE_OBSERVE_STAT, &processes), 0);
    assert_int_equal(find(&processes, 268)->pss, QUIRE_OBSERVE_ABSENT);
    assert_int_equal(find(&processes, 268)->rss, 22390 * 4096);
    struct quire_observe_process one;
    assert_int_equal(quire_observe_process(observe, 268, ALL_PARTS, &one), 0);
    assert_int_equal(one.pss, 88131 * 1024);
    assert_string_equal(one.name, "sh");
    assert_int_equal(quire_observe_process(observe, 999, ALL_PARTS, &one), -ESRCH);
    assert_int_equal(quire_observe_process(observe, -1, ALL_PARTS, &one), -ESRCH);
    quire_observe_close(observe);
}

static void put_stat(int pid, const char *name, unsigned minor, unsigned start)
{
    char path[64], text[256];

    snprintf(path, sizeof path, "proc/%d/stat", pid);
    snprintf(
        text, sizeof text,
        "%d (%s) S 1 1 1 0 -1 4194304 %u 0 7 0 1 2 3 4 20 0 1 0 %u 4096 5 18446744073709551615\n",
        pid, name, minor, start);
    root_put(path, text);
}

static void put_swap(int pid, unsigned kib)
{
    char path[64], text[64];

    snprintf(path, sizeof path, "proc/%d/status", pid);
    snprintf(text, sizeof text, "Uid:\t0\t0\t0\t0\nVmSwap:\t%8u kB\n", kib);
    root_put(path, text);
}

static void remove_process(int pid)
{
    char path[64];

    snprintf(path, sizeof path, "proc/%d", pid);
    root_remove(path);
}

static void hundreds_of_processes_that_come_and_go(void **state)
{
    struct quire_observe *observe = opened(root);
    struct quire_observe_processes processes;

    root_put("proc/uptime", "1000.00 1.00\n");
    for (int pid = 700; pid > 100; pid--)
        put_stat(pid, "worker", 100, 500);
    root_put("proc/99999999999/stat", "no process\n");
    root_put("proc/12x/stat", "no process\n");
    assert_int_equal(quire_observe_processes(observe, QUIRE_OBSERVE_STAT, &processes), 0);
    assert_int_equal(processes.n, 600);
    for (size_t i = 0; i < processes.n; i++)
        assert_int_equal(processes.list[i].pid, 101 + i);
    assert_true(fabs(processes.list[0].minor_rate - 100.0 / 995) < 0.01);
    char path[PATH_MAX];
    for (int pid = 101; pid <= 110; pid++) { /* they end; the directories are still listed */
        snprintf(path, sizeof path, "%s/proc/%d/stat", root, pid);
        remove(path);
    }
    put_stat(111, "another", 5, 99000);       /* its number is in use again */
    put_stat(112, "worker", 4000000100, 500); /* a second may pass until it is seen */
    put_stat(50, "new", 1, 99999);
    usleep(2000);
    assert_int_equal(quire_observe_processes(observe, QUIRE_OBSERVE_STAT, &processes), 0);
    assert_true(processes.n_vanished >= 10 || processes.n >= 590);
    const struct quire_observe_process *reused = find(&processes, 111);
    assert_true(fabs(reused->minor_rate - 0.5) < 0.01); /* 5 faults in 10 s, not less than before */
    assert_true(find(&processes, 112)->minor_rate > 1000000);
    assert_true(find(&processes, 113)->minor_rate < 0.001);
    assert_non_null(find(&processes, 50));
    quire_observe_close(observe);
}

/* How many of 64 processes that all do something now are seen to, in each of 16 samples. */
static void idle_processes_are_looked_at_more_seldom(void **state)
{
    struct quire_observe *observe = opened(root);
    struct quire_observe_processes processes;
    const unsigned parts = QUIRE_OBSERVE_STATUS | QUIRE_OBSERVE_LAZY;
    unsigned n_seen = 0;

    root_put("proc/uptime", "1000.00 1.00\n");
    for (int pid = 100; pid < 164; pid++) {
        put_stat(pid, "idle", 100, 500);
        put_swap(pid, 4);
    }
    for (int i = 0; i < 6; i++) /* until they count as idle */
        assert_int_equal(quire_observe_processes(observe, parts, &processes), 0);
    for (int pid = 100; pid < 164; pid++)
        put_swap(pid, 8); /* which alone is no work */
    for (int sample = 0; sample < 16; sample++) {
        unsigned n_new = 0;
        assert_int_equal(quire_observe_processes(observe, parts, &processes), 0);
        assert_int_equal(processes.n, 64);
        for (size_t i = 0; i < processes.n; i++)
            n_new += processes.list[i].swap == 8 << 10;
        assert_int_equal(n_new, 4 * (sample + 1)); /* a sixteenth each time */
    }
    for (int pid = 100; pid < 164; pid++)
        put_stat(pid, "busy", 100100, 500);
    for (int sample = 0; sample < 4; sample++) {
        assert_int_equal(quire_observe_processes(observe, parts, &processes), 0);
        for (size_t i = 0; i < processes.n; i++) {
            const struct quire_observe_process *process = &processes.list[i];
            if (process->minor_faults == 100100 && process->minor_rate > 0)
                n_seen++;
        }
    }
    assert_int_equal(n_seen, 64); /* each once, and its work counts in that sample only */
    remove_process(130);
    assert_int_equal(quire_observe_processes(observe, parts, &processes), 0);
    assert_int_equal(processes.n, 63); /* who has ended is gone at once */
    quire_observe_close(observe);
}

static void names_that_try_to_confuse(void **state)
{
    struct quire_observe *observe = opened(root);
    struct quire_observe_process process;

    put_stat(7, ") R 9 (x y)\n1 (", 3, 1);
    root_put_bytes("proc/7/cmdline", "a\0b\033[2Jc\nd\0\0", 12);
    assert_int_equal(quire_observe_process(observe, 7, QUIRE_OBSERVE_COMMAND, &process), 0);
    assert_string_equal(process.name, ") R 9 (x y)?1 (");
    assert_int_equal(process.state, 'S');
    assert_int_equal(process.minor_faults, 3);
    assert_string_equal(process.command, "a b?[2Jc d");
    quire_observe_close(observe);
}

static void kernels_without_a_rollup(void **state)
{
    struct quire_observe *observe = opened(root);
    struct quire_observe_process process;

    put_stat(7, "old", 3, 1);
    root_put("proc/7/smaps", "00400000-00401000 r-xp 00000000 08:01 12 /bin/x\nPss: 4 kB\n"
                             "Private_Clean: 1 kB\nPrivate_Dirty: 2 kB\n"
                             "00500000-00501000 rw-p 00000000 00:00 0\nPss: 10 kB\n"
                             "Private_Clean: 10 kB\nPrivate_Dirty: 20 kB\n");
    assert_int_equal(quire_observe_process(observe, 7, QUIRE_OBSERVE_SHARES, &process), 0);
    assert_int_equal(process.pss, 14 * 1024);
    assert_int_equal(process.uss, 33 * 1024);
    quire_observe_close(observe);
}

static void address_spaces(void **state)
{
    static const enum quire_observe_kind want[] = {
        QUIRE_OBSERVE_TEXT,  QUIRE_OBSERVE_TEXT, QUIRE_OBSERVE_TEXT, QUIRE_OBSERVE_TEXT,
        QUIRE_OBSERVE_DATA,  QUIRE_OBSERVE_DATA, QUIRE_OBSERVE_HEAP, QUIRE_OBSERVE_ANONYMOUS,
        QUIRE_OBSERVE_STACK, QUIRE_OBSERVE_VDSO, QUIRE_OBSERVE_VDSO};
    struct quire_observe *observe = machine("6.1-zram-cgroup2");
    struct quire_observe_mappings mappings;

    assert_int_equal(quire_observe_mappings(observe, 268, &mappings), 0);
    assert_true(mappings.is_detailed);
    assert_int_equal(mappings.n, 11);
    for (size_t i = 0; i < mappings.n; i++)
        assert_int_equal(mappings.list[i].kind, want[i]);
    assert_string_equal(mappings.list[0].name, "/bin/busybox");
    assert_string_equal(mappings.list[1].permissions, "r-xp");
    assert_int_equal(mappings.list[7].rss, 90001408);
    assert_int_equal(mappings.list[7].dirty, 90001408);
    assert_int_equal(quire_observe_mappings(observe, 4711, &mappings), -ESRCH);
    quire_observe_close(observe);
    observe = machine("6.18-cgroup1"); /* python: libraries with their bss */
    assert_int_equal(quire_observe_mappings(observe, big_of("6.18-cgroup1"), &mappings), 0);
    unsigned n[QUIRE_OBSERVE_N_KINDS] = {0};
    uint64_t sum = 0;
    for (size_t i = 0; i < mappings.n; i++) {
        n[mappings.list[i].kind]++;
        sum += mappings.list[i].rss;
    }
    assert_true(n[QUIRE_OBSERVE_LIBRARY] > 20 && n[QUIRE_OBSERVE_STACK] == 1);
    assert_int_equal(sum, 34996 * 1024);
    quire_observe_close(observe);
}

static void address_space_of_a_quire_program(void **state)
{
    struct quire_observe *observe = opened(root);
    struct quire_observe_mappings mappings;

    root_put("proc/8/maps",
             "00400000-00401000 r-xp 00000000 08:01 12 /bin/x\n"
             "7f0000000000-7f0000100000 rw-p 00000000 00:00 0\n"
             "7f0000100000-7f8000000000 ---p 00000000 00:00 0 [anon:name]\n"
             "7f9000000000-7f9000001000 r-xp 00000000 08:01 13 /usr/lib/quire/libquire-preload.so\n"
             "7f9000001000-7f9000002000 rw-p 00000000 08:01 13 /usr/lib/quire/libquire-preload.so\n"
             "7f9000002000-7f9000003000 rw-p 00000000 00:00 0\n"
             "7f9000004000-7f9000005000 rw-p 00000000 00:00 0\n"
             "7f9000006000-7f9000007000 rw-s 00000000 00:01 9 /memfd:x (deleted)\n"
             "7f9000008000-7f9000009000 rw-p 00000000 08:01 14 /usr/lib/libz.so.1\n"
             "7f9000009000-7f9014009000 rw-p 00000000 00:00 0\n");
    assert_int_equal(quire_observe_mappings(observe, 8, &mappings), 0);
    assert_false(mappings.is_detailed);
    assert_int_equal(mappings.list[0].rss, QUIRE_OBSERVE_DENIED);
    assert_int_equal(mappings.list[1].kind, QUIRE_OBSERVE_ARENA);
    assert_int_equal(mappings.list[2].kind, QUIRE_OBSERVE_ARENA);
    assert_int_equal(mappings.list[5].kind, QUIRE_OBSERVE_LIBRARY); /* bss */
    assert_int_equal(mappings.list[6].kind, QUIRE_OBSERVE_ANONYMOUS);
    assert_int_equal(mappings.list[7].kind, QUIRE_OBSERVE_SHARED);
    assert_int_equal(mappings.list[8].kind, QUIRE_OBSERVE_LIBRARY);
    assert_int_equal(mappings.list[9].kind, QUIRE_OBSERVE_ANONYMOUS); /* too large to be its bss */
    quire_observe_close(observe);
}

/* Whatever is read: the same for every subject. */
static int read_all(struct quire_observe *observe, int pid)
{
    struct quire_observe_memory memory;
    struct quire_observe_counters counters;
    struct quire_observe_pressure stalls;
    struct quire_observe_zones zones;
    struct quire_observe_slabs slabs;
    struct quire_observe_settings settings;
    struct quire_observe_zram zram;
    struct quire_observe_process process;
    struct quire_observe_mappings mappings;
    const int errors[] = {quire_observe_memory(observe, &memory),
                          quire_observe_counters(observe, &counters),
                          quire_observe_pressure(observe, &stalls),
                          quire_observe_zones(observe, &zones),
                          quire_observe_slabs(observe, &slabs),
                          quire_observe_settings(observe, &settings),
                          quire_observe_zram(observe, &zram),
                          quire_observe_process(observe, pid, ALL_PARTS, &process),
                          quire_observe_mappings(observe, pid, &mappings)};

    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++)
        if (errors[i] < 0)
            return errors[i];
    return 0;
}

/*
 * Each file of a machine, cut within a line: a clear refusal, of that file. (All positions would
 * take long; every 97th is each kind of them.)
 */
static void files_cut_short(void **state)
{
    static const char *const files[] = {"proc/meminfo",
                                        "proc/vmstat",
                                        "proc/stat",
                                        "proc/uptime",
                                        "proc/zoneinfo",
                                        "proc/buddyinfo",
                                        "proc/pagetypeinfo",
                                        "proc/slabinfo",
                                        "proc/swaps",
                                        "proc/pressure/cpu",
                                        "proc/pressure/io",
                                        "proc/pressure/memory",
                                        "sys/block/zram0/disksize",
                                        "sys/block/zram0/mm_stat",
                                        "proc/268/stat",
                                        "proc/268/status",
                                        "proc/268/io",
                                        "proc/268/smaps_rollup",
                                        "proc/268/smaps"};
    const char *from = "6.1-zram-cgroup2";

    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        copy(from, files[i]);
    struct quire_observe *observe = opened(root);
    assert_int_equal(read_all(observe, 268), 0);
    quire_observe_close(observe);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        size_t n;
        char *text = load(from, files[i], &n);
        for (size_t cut = 0; cut<n; cut += n> 500 ? 97 : 7) {
            root_put_bytes(files[i], text, cut);
            observe = opened(root);
            int error = read_all(observe, 268);
            bool is_within_line = cut > 0 && text[cut - 1] != '\n';
            bool is_number = strstr(files[i], "disksize") != NULL;
            if (is_within_line && !is_number) {
                assert_int_equal(error, -EBADMSG);
                assert_non_null(strstr(quire_observe_message(observe), files[i]));
            } else if (error != -ENODATA) { /* of an empty smaps */
                assert_true(error == 0 || error == -EBADMSG);
            }
            quire_observe_close(observe);
        }
        root_put_bytes(files[i], text, n);
        free(text);
    }
}

static void lines_that_hold_something_else(void **state)
{
    static const struct {
        const char *file, *text, *message;
    } cases[] = {
        {"proc/meminfo", "MemTotal: 10 kB\nMemFree: x kB\n",
         "/proc/meminfo: line 2, 'MemFree: x kB': a number is expected behind the name"},
        {"proc/meminfo", "MemTotal: 10 kB\nMemFree: 1 MB\n",
         "/proc/meminfo: line 2, 'MemFree: 1 MB': \"kB\" is expected behind the number"},
        {"proc/meminfo", "MemTotal: 18446744073709551615 kB\n",
         "/proc/meminfo: line 1, 'MemTotal: 18446744073709551615 kB': the number is too large"},
        {"proc/meminfo", "MemTotal: 10 kB\n", "/proc/meminfo: there is no MemFree in it"},
        {"proc/meminfo", "MemFree: 10 kB\n", "/proc/meminfo: there is no MemTotal in it"},
        {"proc/meminfo", "", "/proc/meminfo is empty"},
        {"proc/meminfo", "MemTotal: 10 k", "/proc/meminfo is cut short: it ends in line 1"},
    };
    struct quire_observe_memory memory;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        root_put(cases[i].file, cases[i].text);
        struct quire_observe *observe = opened(root);
        assert_int_equal(quire_observe_memory(observe, &memory), -EBADMSG);
        assert_string_equal(quire_observe_message(observe), cases[i].message);
        quire_observe_close(observe);
    }
    root_put_bytes("proc/meminfo", "MemTotal: 1\0 kB\n", 16);
    struct quire_observe *observe = opened(root);
    assert_int_equal(quire_observe_memory(observe, &memory), -EBADMSG);
    assert_string_equal(quire_observe_message(observe),
                        "/proc/meminfo is no text: there is a zero byte in it");
    quire_observe_close(observe);
}

/* This machine: what the kernel says of this process elsewhere. */
static void this_process(void **state)
{
    struct quire_observe *observe = opened(NULL);
    struct quire_observe_process process;
    struct quire_observe_mappings mappings;
    size_t n_bytes = (size_t)8 << 20;
    char *memory = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    assert_ptr_not_equal(memory, MAP_FAILED);
    memset(memory, 1, n_bytes);
    assert_int_equal(quire_observe_process(observe, getpid(), ALL_PARTS, &process), 0);
    assert_int_equal(process.pid, getpid());
    assert_int_equal(process.parent, getppid());
    assert_int_equal(process.user, geteuid());
    assert_true(process.rss >= n_bytes && process.pss >= n_bytes && process.uss >= n_bytes);
    assert_true(process.uss <= process.pss);
    assert_true(process.minor_faults >= 1); /* huge pages make them few */
    assert_int_equal(quire_observe_mappings(observe, getpid(), &mappings), 0);
    bool is_there = false;
    for (size_t i = 0; i < mappings.n; i++)
        is_there = is_there || (mappings.list[i].start <= (uintptr_t)memory &&
                                mappings.list[i].end >= (uintptr_t)memory + n_bytes &&
                                mappings.list[i].rss >= n_bytes);
    assert_true(is_there);
    munmap(memory, n_bytes);
    quire_observe_close(observe);
}

/* Children end all the while: no sample fails, and none holds a child that has been waited for. */
static void processes_that_end_while_they_are_read(void **state)
{
    struct quire_observe *observe = opened(NULL);
    struct quire_observe_processes processes;
    int stop[2];

    assert_int_equal(pipe(stop), 0);
    pid_t spawner = fork();
    if (spawner == 0) {
        close(stop[1]);
        for (char byte; read(stop[0], &byte, 1) > 0;) /* a byte, a child */
            for (int i = 0; i < 20; i++) {
                pid_t child = fork();
                if (child == 0)
                    _exit(0);
                waitpid(child, NULL, 0);
            }
        _exit(0);
    }
    for (int i = 0; i < 30; i++) {
        assert_int_equal(write(stop[1], "x", 1), 1);
        assert_int_equal(quire_observe_processes(observe, ALL_PARTS, &processes), 0);
        assert_non_null(find(&processes, getpid()));
    }
    close(stop[0]);
    close(stop[1]);
    waitpid(spawner, NULL, 0);
    assert_int_equal(quire_observe_processes(observe, ALL_PARTS, &processes), 0);
    assert_null(find(&processes, spawner));
    quire_observe_close(observe);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, root_set_up, root_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(no_such_root),
        TEST(memory_as_free_prints_it),
        TEST(counters_as_vmstat_prints_them),
        TEST(counters_that_only_some_kernels_have),
        TEST(counters_by_zone_are_added_up),
        TEST(rates_between_two_samples),
        TEST(pressure),
        TEST(zram_and_settings),
        TEST(limits_of_both_cgroup_versions),
        TEST(zones_of_two_nodes),
        TEST(zones_of_each_kernel),
        TEST(fragmentation_indexes),
        TEST(slab_caches_as_slabtop_prints_them),
        TEST(recorded_processes),
        TEST(hundreds_of_processes_that_come_and_go),
        TEST(idle_processes_are_looked_at_more_seldom),
        TEST(names_that_try_to_confuse),
        TEST(kernels_without_a_rollup),
        TEST(address_spaces),
        TEST(address_space_of_a_quire_program),
        TEST(files_cut_short),
        TEST(lines_that_hold_something_else),
        TEST(this_process),
        TEST(processes_that_end_while_they_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
