/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quire/observe.h: the memory of the system, of its zones and caches, and of every process.
 *
 *   quire_observe_open() ── quire_observe_memory()      /proc/meminfo          one sample a call;
 *                        ── quire_observe_counters()    /proc/vmstat, stat     descriptors stay
 *                        ── quire_observe_pressure()    /proc/pressure         open between calls
 *                        ── quire_observe_processes()   /proc/PID/...          with rates
 *                        ── quire_observe_runs()        what `quire run` publishes
 *                        ── ...
 *   quire_observe_close()
 *
 * Figures. All are 64 bits wide; bytes unless the name says otherwise. One that can't be had is not
 * zero but says why, in its own place:
 *
 *   QUIRE_OBSERVE_ABSENT  this kernel or this machine does not have it
 *   QUIRE_OBSERVE_DENIED  the kernel has it and does not show it to this user
 *
 * Ask quire_observe_known() before you calculate with a figure. Nothing here needs privileges; with
 * more of them fewer figures are denied.
 *
 * Errors. Functions return 0 or a negative errno; quire_observe_message() then says in a sentence
 * which file could not be understood, in which line, and why. Of note:
 *   -ENOENT   the file, and so the whole subject, is not there
 *   -EACCES   it is, and this user may not read it
 *   -EBADMSG  it is cut short, or does not hold what the kernel writes there
 *   -ENOMEM
 *
 * Threads: an observer is used by one thread at a time; several observers are independent.
 * Sources: proc(5), Linux's Documentation/filesystems/proc.rst, admin-guide/mm/,
 * accounting/psi.rst.
 */
#ifndef QUIRE_OBSERVE_H
#define QUIRE_OBSERVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

#define QUIRE_OBSERVE_ABSENT UINT64_MAX
#define QUIRE_OBSERVE_DENIED (UINT64_MAX - 1)

static inline bool quire_observe_known(uint64_t figure)
{
    return figure < QUIRE_OBSERVE_DENIED;
}

struct quire_observe;

/*
 * Opens an observer. `root` stands before /proc and /sys: NULL or "" for this machine, a directory
 * for a recorded one. Keeps descriptors (close-on-exec) of the files it has read, those of
 * processes as far as RLIMIT_NOFILE allows. Returns 0; -ENOENT and the like: there is no such
 * directory; -ENOMEM. Close it after a success.
 */
int quire_observe_open(const char *root, struct quire_observe **observe)
    __attribute__((warn_unused_result));
void quire_observe_close(struct quire_observe *observe);

/* About the last call that failed; "" when none has. Valid until the next call. */
const char *quire_observe_message(const struct quire_observe *observe);

/* ---- the system: /proc/meminfo ---- */

struct quire_observe_memory {
    uint64_t total, free, available; /* available: since Linux 3.14 */
    uint64_t buffers, cached, swap_cached, shmem;
    uint64_t active_anon, inactive_anon, active_file, inactive_file, unevictable, locked;
    uint64_t swap_total, swap_free;
    uint64_t zswap, zswapped; /* what it takes; what it stands for. Since Linux 5.19 */
    uint64_t dirty, writeback, anonymous, mapped;
    uint64_t slab, slab_reclaimable, slab_unreclaimable;
    uint64_t kernel_reclaimable; /* with slab_reclaimable; since Linux 4.20 */
    uint64_t kernel_stacks, page_tables, per_cpu, vmalloc_used;
    uint64_t commit_limit, committed;
    uint64_t anonymous_huge, shmem_huge, file_huge; /* transparent huge pages */
    uint64_t huge_total_pages, huge_free_pages, huge_reserved_pages, huge_surplus_pages;
    uint64_t huge_page_bytes; /* of the default size */
    uint64_t hugetlb;         /* all sizes; since Linux 4.20 */
    uint64_t corrupted;
};

int quire_observe_memory(struct quire_observe *observe, struct quire_observe_memory *memory)
    __attribute__((warn_unused_result));

/*
 * What free(1) of procps 4 prints as used and as cache, from a sample: total less available, and
 * cached plus the reclaimable slabs. Where available is absent: total less free, buffers and cache.
 */
uint64_t quire_observe_used(const struct quire_observe_memory *memory);
uint64_t quire_observe_cache(const struct quire_observe_memory *memory);

/* ---- counters since boot: /proc/vmstat and /proc/stat ---- */

struct quire_observe_counters {
    uint64_t at_ns;     /* CLOCK_MONOTONIC, when they were read */
    uint64_t uptime_ms; /* of the system */
    /* faults, and traffic; bytes but for the faults */
    uint64_t faults, major_faults; /* all faults; those that waited for a device */
    uint64_t swapped_in, swapped_out, read_in, written_out;
    uint64_t zswapped_in_pages, zswapped_out_pages, zswap_written_back_pages;
    /* reclaim, pages. scanned and reclaimed hold the work for cgroup limits as well */
    uint64_t scanned, reclaimed;
    uint64_t scanned_kswapd, scanned_direct, reclaimed_kswapd, reclaimed_direct;
    uint64_t direct_stalls; /* allocations that had to reclaim themselves */
    /* kswapd slept, and was woken at once: its low, or high, watermark was met by a moment only */
    uint64_t kswapd_low_hits, kswapd_high_hits;
    uint64_t node_reclaims;          /* by zone_reclaim_mode */
    uint64_t numa_hits, numa_misses; /* pages got on the node that was asked for, and on others */
    uint64_t refaults_anon, refaults_file, refaults; /* the first two since Linux 5.9 */
    /* compaction and huge pages */
    uint64_t compact_stalls, compact_fails, compact_successes;
    uint64_t huge_faults, huge_fallbacks, huge_collapses, huge_splits;
    uint64_t oom_kills; /* since Linux 4.13 */
    /* levels, not counters: bytes */
    uint64_t dirty_limit, dirty_background_limit;
    /* processors, clock ticks of 1/clock_hz s */
    uint64_t cpu_user, cpu_nice, cpu_system, cpu_idle, cpu_iowait, cpu_irq, cpu_softirq, cpu_steal;
    uint64_t interrupts, context_switches, forks;
    uint64_t running, blocked; /* processes now */
    uint64_t boot_time_s;      /* since the epoch */
    uint64_t n_cpus;           /* with a line of their own in /proc/stat */
    uint64_t clock_hz;
};

int quire_observe_counters(struct quire_observe *observe, struct quire_observe_counters *counters)
    __attribute__((warn_unused_result));

/* ---- pressure (PSI): /proc/pressure, since Linux 4.20 ---- */

struct quire_observe_stall {
    uint64_t average_10s, average_60s, average_300s; /* hundredths of a per cent */
    uint64_t total_us;                               /* since boot */
};

struct quire_observe_pressure {
    struct quire_observe_stall cpu_some, memory_some, memory_full, io_some, io_full;
};

/* Kernels without PSI give absent figures and 0. */
int quire_observe_pressure(struct quire_observe *observe, struct quire_observe_pressure *pressure)
    __attribute__((warn_unused_result));

/* ---- what happened between two samples ---- */

struct quire_observe_rates { /* a second; NaN where a figure is not known */
    double seconds;          /* between the samples */
    double minor_faults, major_faults;
    double swapped_in, swapped_out, read_in, written_out;                        /* bytes */
    double scanned, reclaimed, scanned_direct, scanned_kswapd, reclaimed_direct; /* pages */
    double direct_stalls, refaults, compact_stalls, compact_fails;
    double oom_kills; /* not a second: between the samples */
    double huge_faults, huge_fallbacks;
    double interrupts, context_switches;
    double cpu_user, cpu_system, cpu_idle, cpu_iowait, cpu_steal; /* per cent */
    double memory_some, memory_full, io_some, io_full, cpu_some;  /* per cent of the time */
};

/*
 * The rates from one sample to a later one; `before` and `pressure_before` NULL: since boot.
 * Counters that went back, as of a machine that was restored, count as 0.
 */
void quire_observe_rates(const struct quire_observe_counters *before,
                         const struct quire_observe_counters *after,
                         const struct quire_observe_pressure *pressure_before,
                         const struct quire_observe_pressure *pressure_after,
                         struct quire_observe_rates *rates);

/* ---- compressed swap, and settings ---- */

struct quire_observe_zram {  /* the sum over the devices */
    uint64_t n_devices;      /* that are set up */
    uint64_t disk;           /* their sizes */
    uint64_t stored;         /* uncompressed */
    uint64_t compressed;     /* what that became */
    uint64_t held, held_max; /* RAM, with the allocator's overhead */
    uint64_t same_pages, huge_pages;
};

int quire_observe_zram(struct quire_observe *observe, struct quire_observe_zram *zram)
    __attribute__((warn_unused_result));

/* Numbers and words of /proc/sys/vm and /sys; absent where the kernel has no such setting. */
struct quire_observe_settings {
    uint64_t swappiness, min_free, watermark_scale_factor, watermark_boost_factor;
    uint64_t overcommit_mode, overcommit_ratio, overcommit_limit;
    uint64_t dirty_ratio, dirty_background_ratio, dirty_limit, dirty_background_limit;
    uint64_t vfs_cache_pressure, page_cluster, zone_reclaim_mode, max_map_count;
    uint64_t compaction_proactiveness; /* since Linux 5.9 */
    uint64_t khugepaged_max_none;      /* absent pages that it fills in to make a huge one */
    uint64_t multigen;                 /* the multi-generational LRU: 0 or 1; since Linux 6.1 */
    uint64_t delay_accounting;         /* kernel.task_delayacct */
    uint64_t zswap_enabled;            /* 0 or 1 */
    uint64_t zswap_max_percent;        /* of RAM */
    char zswap_compressor[32];         /* "" where unknown, as the next two */
    char huge_enabled[16];             /* always, madvise, never */
    char huge_defrag[16];              /* always, defer, defer+madvise, madvise, never */
    uint64_t n_swaps, n_swaps_ram;     /* active areas; those on zram */
    uint64_t swap_file_bytes;          /* size of the areas that are not on zram */
};

int quire_observe_settings(struct quire_observe *observe, struct quire_observe_settings *settings)
    __attribute__((warn_unused_result));

/* ---- the limits of this process's cgroup ---- */

struct quire_observe_cgroup {
    uint64_t version;           /* of the hierarchy with the memory controller: 0 (none), 1, 2 */
    uint64_t limit, soft_limit; /* the smallest on the way up; absent: none. soft: memory.high */
    uint64_t used;              /* by the group that sets the limit */
    uint64_t swap_limit;
    uint64_t times_at_limit, times_over_soft; /* memory.events max and high; failcnt */
    uint64_t oom_kills;
    char path[512]; /* of the directory that sets the limit; "" when none does */
};

int quire_observe_cgroup(struct quire_observe *observe, struct quire_observe_cgroup *cgroup)
    __attribute__((warn_unused_result));

/* One control group that has a limit; figures as in struct quire_observe_cgroup. */
struct quire_observe_group {
    unsigned version;
    char path[256];
    uint64_t limit, soft_limit, used, times_at_limit, times_over_soft, oom_kills;
};

struct quire_observe_groups {
    size_t n;
    struct quire_observe_group *list; /* by path; the observer's, valid until the next call */
    bool is_cut;                      /* there are more than are looked at (4096) */
};

/* All groups with a limit that can be seen from here, this process's own among them. */
int quire_observe_groups(struct quire_observe *observe, struct quire_observe_groups *groups)
    __attribute__((warn_unused_result));

/* ---- zones and their free lists ---- */

#define QUIRE_OBSERVE_MAX_ORDERS 28
#define QUIRE_OBSERVE_MAX_TYPES 8

struct quire_observe_zone {
    unsigned node;
    char name[16];
    uint64_t free_pages, min_pages, low_pages, high_pages, boost_pages;
    uint64_t spanned_pages, present_pages, managed_pages;
    uint64_t free_blocks[QUIRE_OBSERVE_MAX_ORDERS]; /* by order: 2^order pages */
    /* by mobility; denied where /proc/pagetypeinfo is */
    uint64_t free_blocks_of[QUIRE_OBSERVE_MAX_TYPES][QUIRE_OBSERVE_MAX_ORDERS];
    uint64_t page_blocks_of[QUIRE_OBSERVE_MAX_TYPES];
};

struct quire_observe_zones {
    unsigned n_zones, n_orders, n_types; /* n_types 0: not known */
    uint64_t block_pages;                /* pages of a page block */
    char type_names[QUIRE_OBSERVE_MAX_TYPES][16];
    struct quire_observe_zone *zones; /* the observer's, valid until the next call */
};

int quire_observe_zones(struct quire_observe *observe, struct quire_observe_zones *zones)
    __attribute__((warn_unused_result));

/*
 * The kernel's two indexes (debugfs extfrag/) of a zone for an order, in thousandths; worked out
 * from the free lists, so nobody needs debugfs.
 *   unusable       0 to 1000: the part of the free pages that lies in blocks too small
 *   fragmentation  -1000: the allocation would succeed; else 0, for lack of memory, to 1000, for
 *                  fragmentation
 * Source: Gorman and Whitcroft, "The What, The Why and the Where To of Anti-Fragmentation", 2006.
 */
int quire_observe_unusable_index(const struct quire_observe_zone *zone, unsigned n_orders,
                                 unsigned order);
int quire_observe_fragmentation_index(const struct quire_observe_zone *zone, unsigned n_orders,
                                      unsigned order);

/* ---- the kernel's slab caches: /proc/slabinfo, for root ---- */

struct quire_observe_slab {
    char name[64];
    uint64_t active_objects, objects, object_bytes, objects_a_slab, pages_a_slab;
    uint64_t active_slabs, slabs;
};

struct quire_observe_slabs {
    size_t n_caches;
    struct quire_observe_slab *caches; /* the observer's, valid until the next call */
};

int quire_observe_slabs(struct quire_observe *observe, struct quire_observe_slabs *slabs)
    __attribute__((warn_unused_result));

/* ---- processes ---- */

/* What is read of each process, and so what a sample costs; the rest is absent. */
enum quire_observe_part {
    QUIRE_OBSERVE_STAT = 1,     /* /proc/PID/stat: always read */
    QUIRE_OBSERVE_STATUS = 2,   /* status: user, swap, locked, anonymous and file pages */
    QUIRE_OBSERVE_SHARES = 4,   /* smaps_rollup: PSS, USS ... by far the dearest */
    QUIRE_OBSERVE_OOM = 8,      /* oom_score, oom_score_adj */
    QUIRE_OBSERVE_COMMAND = 16, /* cmdline */
    QUIRE_OBSERVE_RUNS = 32,    /* what `quire run` publishes */
    QUIRE_OBSERVE_IO = 64,      /* io: bytes read and written */
    /*
     * Not a part: for who watches. A process that has done nothing for some samples (no processor
     * time, no faults, the same RSS) is looked at in one sample of four from then on, and its other
     * parts in one of sixteen, until it does something again. That it ended shows at once.
     */
    QUIRE_OBSERVE_LAZY = 128,
    /*
     * Likewise, for SHARES alone: they are taken over from an earlier sample, three before this at
     * most, of a process that has the same pages as then (its faults, RSS and size), as have its
     * parent (of less than 16 children), its children and 15 of 16 processes of its name. So what
     * is not seen at once is what others than these, or few of many, did to memory that they share
     * with it.
     */
    QUIRE_OBSERVE_KEEP_SHARES = 256,
};

struct quire_observe_process {
    int pid, parent;
    char state; /* R, S, D, T, Z ... */
    bool is_kernel_thread;
    char name[64];       /* as the kernel has it, without parentheses */
    const char *command; /* its arguments, with blanks between; "" for kernel threads; or NULL */
    uint64_t start_ms;   /* after boot */
    uint64_t minor_faults, major_faults;
    double minor_rate, major_rate; /* a second since the sample before, or since its start */
    double cpu_percent;            /* of one processor, likewise */
    uint64_t virtual_bytes, rss;
    uint64_t cpu_ms, blocked_ms; /* processor time; delays by block I/O (with delay accounting) */
    /* STATUS */
    uint64_t user; /* effective user id */
    uint64_t swap, locked, rss_anonymous, rss_file, rss_shmem, rss_peak, page_tables, n_threads;
    /* SHARES */
    uint64_t pss, pss_anonymous, pss_file, pss_shmem, uss, shared, swap_pss, huge, referenced;
    /* OOM */
    uint64_t oom_score;
    int64_t oom_adjust; /* INT64_MIN: absent or denied, as oom_score says */
    /* IO */
    uint64_t io_read_calls, io_read_device, io_written_device;
    /* RUNS: absent for processes outside of a run; see quire_observe_runs() */
    int run; /* pid of the run's keeper, 0: outside */
    uint64_t run_resident, run_staged, run_compressed, run_file, run_metadata, run_budget;
    uint64_t run_held; /* by the whole run, of its budget */
};

struct quire_observe_processes {
    size_t n;
    struct quire_observe_process *list; /* by pid; the observer's, valid until the next call */
    size_t n_denied;                    /* of whom a part that was asked for is denied */
    size_t n_vanished;                  /* ended while they were read; not in the list */
    uint64_t at_ns;                     /* CLOCK_MONOTONIC */
};

/*
 * Reads all processes; `parts` is a sum of enum quire_observe_part. Rates refer to the call before
 * on the same observer. A process that ends meanwhile is left out and counted.
 */
int quire_observe_processes(struct quire_observe *observe, unsigned parts,
                            struct quire_observe_processes *processes)
    __attribute__((warn_unused_result));

/*
 * The same of one process. -ESRCH: there is none of that number. No rates but those since its
 * start.
 */
int quire_observe_process(struct quire_observe *observe, int pid, unsigned parts,
                          struct quire_observe_process *process)
    __attribute__((warn_unused_result));

/* ---- the runs of Quire ---- */

/*
 * A run publishes its figures in a file of its user's, mode 0600, in a directory of mode 0700:
 * $XDG_RUNTIME_DIR/quire, or where there is none /dev/shm/quire-UID. Read are the files of this
 * user's runs, wherever they were started; by root those of all users. A file whose run has ended
 * without removing it (all of it was killed) is recognised by pid and start time, and removed.
 * Each run's figures are of one moment, at most a second old; what they mean is told in
 * quire-run(1).
 */

/* What a fault found. */
enum quire_observe_fault {
    QUIRE_OBSERVE_FIRST_TOUCH,
    QUIRE_OBSERVE_FROM_STAGING,
    QUIRE_OBSERVE_SAME_FILLED,
    QUIRE_OBSERVE_FROM_RAM,
    QUIRE_OBSERVE_FROM_FILE,
    QUIRE_OBSERVE_COPY,        /* a write to what a fork left shared */
    QUIRE_OBSERVE_FIRST_WRITE, /* to a page that came in to be read */
    QUIRE_OBSERVE_N_FAULTS,
};

#define QUIRE_OBSERVE_N_LATENCIES 160 /* see quire_observe_latency_ns() */

struct quire_observe_run { /* 64 bits or whole words each, and no pointers: may be stored */
    uint64_t keeper;       /* pid of the process that keeps the run's descriptors: its number */
    uint64_t launcher;     /* pid of the `quire run`; 0: it has ended */
    uint64_t user;         /* that it belongs to */
    uint64_t start_ms;     /* after boot, of the keeper */
    uint64_t at_ns;        /* CLOCK_MONOTONIC, when the figures were taken */
    uint64_t n_updates;    /* that were published so far */
    char command[128];     /* as it was given, with blanks between; cut */
    char policy[16], prefetch[16], codec[16];
    uint64_t codec_adapts;  /* 1: pages are packed by that or by LZ4, as it pays */
    uint64_t order;         /* 0: none; 1: parked; 2: parked and stopped; 3: comes back */
    uint64_t max_stall_ppm; /* the budget follows the working set; 0: it is fixed */
    /* bytes; held = resident + staged + compressed + metadata + what is left behind by forks */
    uint64_t budget, budget_most, swap_most;
    uint64_t held, resident, staged, compressed, metadata, file;
    uint64_t peak_held;
    uint64_t stored;    /* of the program: what stands in the stores, uncompressed */
    uint64_t unmanaged; /* RSS of its processes that Quire does not manage */
    /* counters since the start of the run, of all its processes, those that ended too */
    uint64_t n_processes;                    /* ever */
    uint64_t faults[QUIRE_OBSERVE_N_FAULTS]; /* by enum quire_observe_fault */
    uint64_t prefetched_pages, prefetch_hits, resumed_pages;
    uint64_t evicted_pages, dead_pages, scrubbed_bytes, same_filled_pages;
    uint64_t packed_pages, packed_bytes, written_pages;
    uint64_t waits_for_room;
    uint64_t fault_ns, stall_ns; /* all faults together; what more RAM would have spared of it */
    uint64_t latency[QUIRE_OBSERVE_N_LATENCIES]; /* faults by how long they took */
    uint64_t n_alive; /* processes now: as many are in quire_observe_runs.processes */
};

struct quire_observe_run_process { /* one of a run; stored likewise */
    uint64_t keeper, pid, start_ticks;
    uint64_t resident, staged, compressed, metadata, file, stored, unmanaged; /* bytes */
    uint64_t armed; /* 1: its pager runs; 0: it was not needed yet */
    uint64_t faults, fault_ns, evicted_pages;
};

struct quire_observe_run_moment { /* of a run's past: one about each second */
    uint64_t at_ns;               /* CLOCK_MONOTONIC */
    uint64_t budget, resident, staged, compressed, metadata, file; /* bytes */
    uint64_t stored, unmanaged;              /* bytes, as in struct quire_observe_run */
    uint64_t faults[QUIRE_OBSERVE_N_FAULTS]; /* so far, as all that follows */
    uint64_t fault_ns, evicted_pages, packed_pages, packed_bytes;
};

#define QUIRE_OBSERVE_N_MOMENTS 256

struct quire_observe_runs {
    size_t n, n_processes;
    /* by keeper; the processes by pid. The observer's, valid until the next call */
    struct quire_observe_run *list;
    struct quire_observe_run_process *processes;
    size_t n_removed;    /* files of runs that are gone */
    size_t n_unreadable; /* files that are of another version, or change all the time */
};

/* No runs, and no directory for them, give n = 0 and 0. Errors: -ENOMEM. */
int quire_observe_runs(struct quire_observe *observe, struct quire_observe_runs *runs)
    __attribute__((warn_unused_result));

/*
 * The last moments of a run, up to QUIRE_OBSERVE_N_MOMENTS, the oldest first; *n: how many. 0, or
 * -ESRCH: there is no such run, or not any more.
 */
int quire_observe_run_history(struct quire_observe *observe, uint64_t keeper,
                              struct quire_observe_run_moment *moments, size_t *n)
    __attribute__((warn_unused_result));

/*
 * The time, in ns, that `permille` of the faults between two samples of a run took at most;
 * `before` NULL: of all since its start. 0: there were none. Exact to a fifth.
 */
uint64_t quire_observe_latency_ns(const struct quire_observe_run *before,
                                  const struct quire_observe_run *after, unsigned permille);

/*
 * The zones of a process of a run, or of any that has Quire's heap in libquire-preload.so: one for
 * the heap, one for the mappings, in the figures of the kernel's. Read from outside without
 * stopping the process, until the free blocks add up to the zone's own count. 0; -ESRCH; -EACCES or
 * -EPERM: of another user; -ENOENT: it is no such process; -EPROTONOSUPPORT: of another version;
 * -EAGAIN: it has no zones yet, or they change too fast to be read; -EUCLEAN: they don't hold
 * together.
 */
int quire_observe_run_zones(struct quire_observe *observe, int pid,
                            struct quire_observe_zones *zones) __attribute__((warn_unused_result));

/* ---- an address space ---- */

/* Kinds of mappings, in the order a textbook has them. */
enum quire_observe_kind {
    QUIRE_OBSERVE_TEXT,
    QUIRE_OBSERVE_DATA, /* the program's, with its bss */
    QUIRE_OBSERVE_HEAP,
    QUIRE_OBSERVE_ARENA, /* Quire's, of a run */
    QUIRE_OBSERVE_ANONYMOUS,
    QUIRE_OBSERVE_FILE,    /* a mapped file that is no library */
    QUIRE_OBSERVE_LIBRARY, /* a shared object's text and data */
    QUIRE_OBSERVE_SHARED,  /* shared memory */
    QUIRE_OBSERVE_STACK,
    QUIRE_OBSERVE_VDSO, /* the kernel's: vdso, vvar, vsyscall */
    QUIRE_OBSERVE_N_KINDS,
};

struct quire_observe_mapping {
    uint64_t start, end, offset, inode;
    char permissions[5]; /* as "rw-p" */
    enum quire_observe_kind kind;
    const char *name; /* file or [what]; "" for anonymous memory */
    uint64_t rss, pss, dirty, swap, huge, locked, private_bytes;
};

struct quire_observe_mappings {
    size_t n;
    struct quire_observe_mapping *list; /* by address; the observer's, valid until the next call */
    bool is_detailed; /* false: smaps is denied, and of the mappings only maps is known */
};

/*
 * The mappings of a process. -ESRCH: there is no such process; -EACCES: even its maps are denied;
 * -ENODATA: it has no memory of its own (a kernel thread, or a process that has ended).
 */
int quire_observe_mappings(struct quire_observe *observe, int pid,
                           struct quire_observe_mappings *mappings)
    __attribute__((warn_unused_result));

/* "text", "data" ... of a kind. */
const char *quire_observe_kind_name(enum quire_observe_kind kind);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
