/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record_fields: see record_fields.h. A field that is new is a name more in a list here; the test
 * tests/unit/recording.c finds one that was forgotten.
 *
 * What is not here: rates, which are worked out again, and pointers.
 */
#include "observe/record_fields.h"

#include <stddef.h>
#include <string.h>

#define FIELD(of, member)                                                            \
    {                                                                                \
#member, offsetof(struct of, member), sizeof(((struct of *)0)->member),      \
            __builtin_types_compatible_p(__typeof__(((struct of *)0)->member), bool) \
    }
#define S(member) FIELD(sample, member)
#define P(member) FIELD(quire_observe_process, member)
#define R(member) FIELD(quire_observe_run, member)
#define Q(member) FIELD(quire_observe_run_process, member)

#define Z(member) FIELD(quire_observe_zone, member)
#define C(member) FIELD(quire_observe_slab, member)
#define H(member) FIELD(sample_heap, member)

/* clang-format off: lists of names */
static const struct record_field system_fields[] = {
    S(wall_ms),
    S(parts),
    S(has_processes),
    S(has_zram),
    S(processes.at_ns),
    S(processes.n_denied),
    S(processes.n_vanished),
    S(zones_error),
    S(slabs_error),
    S(zones.n_orders),
    S(zones.block_pages),
    /* memory */
    S(memory.total),
    S(memory.free),
    S(memory.available),
    S(memory.buffers),
    S(memory.cached),
    S(memory.swap_cached),
    S(memory.shmem),
    S(memory.active_anon),
    S(memory.inactive_anon),
    S(memory.active_file),
    S(memory.inactive_file),
    S(memory.unevictable),
    S(memory.locked),
    S(memory.swap_total),
    S(memory.swap_free),
    S(memory.zswap),
    S(memory.zswapped),
    S(memory.dirty),
    S(memory.writeback),
    S(memory.anonymous),
    S(memory.mapped),
    S(memory.slab),
    S(memory.slab_reclaimable),
    S(memory.slab_unreclaimable),
    S(memory.kernel_reclaimable),
    S(memory.kernel_stacks),
    S(memory.page_tables),
    S(memory.per_cpu),
    S(memory.vmalloc_used),
    S(memory.commit_limit),
    S(memory.committed),
    S(memory.anonymous_huge),
    S(memory.shmem_huge),
    S(memory.file_huge),
    S(memory.huge_total_pages),
    S(memory.huge_free_pages),
    S(memory.huge_reserved_pages),
    S(memory.huge_surplus_pages),
    S(memory.huge_page_bytes),
    S(memory.hugetlb),
    S(memory.corrupted),
    /* counters */
    S(counters.at_ns),
    S(counters.uptime_ms),
    S(counters.faults),
    S(counters.major_faults),
    S(counters.swapped_in),
    S(counters.swapped_out),
    S(counters.read_in),
    S(counters.written_out),
    S(counters.zswapped_in_pages),
    S(counters.zswapped_out_pages),
    S(counters.zswap_written_back_pages),
    S(counters.scanned),
    S(counters.reclaimed),
    S(counters.scanned_kswapd),
    S(counters.scanned_direct),
    S(counters.reclaimed_kswapd),
    S(counters.reclaimed_direct),
    S(counters.direct_stalls),
    S(counters.kswapd_low_hits),
    S(counters.kswapd_high_hits),
    S(counters.node_reclaims),
    S(counters.numa_hits),
    S(counters.numa_misses),
    S(counters.refaults_anon),
    S(counters.refaults_file),
    S(counters.refaults),
    S(counters.compact_stalls),
    S(counters.compact_fails),
    S(counters.compact_successes),
    S(counters.huge_faults),
    S(counters.huge_fallbacks),
    S(counters.huge_collapses),
    S(counters.huge_splits),
    S(counters.oom_kills),
    S(counters.dirty_limit),
    S(counters.dirty_background_limit),
    S(counters.cpu_user),
    S(counters.cpu_nice),
    S(counters.cpu_system),
    S(counters.cpu_idle),
    S(counters.cpu_iowait),
    S(counters.cpu_irq),
    S(counters.cpu_softirq),
    S(counters.cpu_steal),
    S(counters.interrupts),
    S(counters.context_switches),
    S(counters.forks),
    S(counters.running),
    S(counters.blocked),
    S(counters.boot_time_s),
    S(counters.n_cpus),
    S(counters.clock_hz),
    /* pressure */
    S(pressure.cpu_some),
    S(pressure.memory_some),
    S(pressure.memory_full),
    S(pressure.io_some),
    S(pressure.io_full),
    /* zram */
    S(zram.n_devices),
    S(zram.disk),
    S(zram.stored),
    S(zram.compressed),
    S(zram.held),
    S(zram.held_max),
    S(zram.same_pages),
    S(zram.huge_pages),
    /* settings */
    S(settings.swappiness),
    S(settings.min_free),
    S(settings.watermark_scale_factor),
    S(settings.watermark_boost_factor),
    S(settings.overcommit_mode),
    S(settings.overcommit_ratio),
    S(settings.overcommit_limit),
    S(settings.dirty_ratio),
    S(settings.dirty_background_ratio),
    S(settings.dirty_limit),
    S(settings.dirty_background_limit),
    S(settings.vfs_cache_pressure),
    S(settings.page_cluster),
    S(settings.zone_reclaim_mode),
    S(settings.max_map_count),
    S(settings.compaction_proactiveness),
    S(settings.khugepaged_max_none),
    S(settings.multigen),
    S(settings.delay_accounting),
    S(settings.zswap_enabled),
    S(settings.zswap_max_percent),
    S(settings.zswap_compressor),
    S(settings.huge_enabled),
    S(settings.huge_defrag),
    S(settings.n_swaps),
    S(settings.n_swaps_ram),
    S(settings.swap_file_bytes),
    /* the control group's limit */
    S(cgroup.version),
    S(cgroup.limit),
    S(cgroup.soft_limit),
    S(cgroup.used),
    S(cgroup.swap_limit),
    S(cgroup.times_at_limit),
    S(cgroup.times_over_soft),
    S(cgroup.oom_kills),
    S(cgroup.path),
};

static const struct record_field process_fields[] = {
    P(pid),
    P(parent),
    P(state),
    P(is_kernel_thread),
    P(name),
    P(start_ms),
    P(minor_faults),
    P(major_faults),
    P(virtual_bytes),
    P(rss),
    P(cpu_ms),
    P(blocked_ms),
    P(user),
    P(swap),
    P(locked),
    P(rss_anonymous),
    P(rss_file),
    P(rss_shmem),
    P(rss_peak),
    P(page_tables),
    P(n_threads),
    P(pss),
    P(pss_anonymous),
    P(pss_file),
    P(pss_shmem),
    P(uss),
    P(shared),
    P(swap_pss),
    P(huge),
    P(referenced),
    P(oom_score),
    P(oom_adjust),
    P(io_read_calls),
    P(io_read_device),
    P(io_written_device),
    P(run),
    P(run_resident),
    P(run_staged),
    P(run_compressed),
    P(run_file),
    P(run_metadata),
    P(run_budget),
    P(run_held),
};

static const struct record_field run_fields[] = {
    R(keeper),         R(launcher),
    R(user),           R(start_ms),
    R(at_ns),          R(n_updates),
    R(command),        R(policy),
    R(prefetch),       R(codec),
    R(codec_adapts),   R(order),
    R(max_stall_ppm),  R(budget),
    R(budget_most),    R(swap_most),
    R(held),           R(resident),
    R(staged),         R(compressed),
    R(metadata),       R(file),
    R(peak_held),      R(stored),
    R(unmanaged),      R(n_processes),
    R(faults),         R(prefetched_pages),
    R(prefetch_hits),  R(resumed_pages),
    R(evicted_pages),  R(dead_pages),
    R(scrubbed_bytes), R(same_filled_pages),
    R(packed_pages),   R(packed_bytes),
    R(written_pages),  R(waits_for_room),
    R(fault_ns),       R(stall_ns),
    R(latency),        R(n_alive),
};

static const struct record_field run_process_fields[] = {
    Q(keeper), Q(pid),    Q(start_ticks), Q(resident), Q(staged), Q(compressed), Q(metadata),
    Q(file),   Q(stored), Q(unmanaged),   Q(armed),    Q(faults), Q(fault_ns),   Q(evicted_pages),
};

static const struct record_field zone_fields[] = {
    Z(node),          Z(name),          Z(free_pages),  Z(min_pages),
    Z(low_pages),     Z(high_pages),    Z(boost_pages), Z(spanned_pages),
    Z(present_pages), Z(managed_pages), Z(free_blocks),
};

static const struct record_field slab_fields[] = {
    C(name),           C(active_objects), C(objects),      C(object_bytes),
    C(objects_a_slab), C(pages_a_slab),   C(active_slabs), C(slabs),
};

static const struct record_field heap_fields[] = {
    H(keeper),          H(pid),
    H(slabs.hardened),  H(slabs.page_bytes),
    H(slabs.n_classes), H(slabs.classes),
    H(slabs.n_large),   H(slabs.large_pages),
    H(slabs.n_caches),  H(slabs.metadata_bytes),
};
/* clang-format on */

#define N(fields) (sizeof(fields) / sizeof(fields)[0])

static struct record_fields tables[RECORD_N_TABLES] = {
    {"system", system_fields, N(system_fields), 0, sizeof(struct sample)},
    {"process", process_fields, N(process_fields), 0, sizeof(struct quire_observe_process)},
    {"run", run_fields, N(run_fields), 0, sizeof(struct quire_observe_run)},
    {"run-process", run_process_fields, N(run_process_fields), 0,
     sizeof(struct quire_observe_run_process)},
    {"zone", zone_fields, N(zone_fields), 0, sizeof(struct quire_observe_zone)},
    {"slab", slab_fields, N(slab_fields), 0, sizeof(struct quire_observe_slab)},
    {"heap", heap_fields, N(heap_fields), 0, sizeof(struct sample_heap)},
};

const struct record_fields *record_fields(enum record_table table)
{
    struct record_fields *fields = &tables[table];

    if (__atomic_load_n(&fields->n_words, __ATOMIC_RELAXED) == 0) {
        unsigned n_words = 0; /* the same whoever is first: no order is needed */
        for (unsigned i = 0; i < fields->n; i++)
            n_words += record_field_words(&fields->fields[i]);
        __atomic_store_n(&fields->n_words, n_words, __ATOMIC_RELAXED);
    }
    return fields;
}

void record_pack(const struct record_fields *fields, const void *row, uint64_t *words)
{
    for (unsigned i = 0; i < fields->n; i++) {
        const struct record_field *field = &fields->fields[i];
        const char *at = (const char *)row + field->offset;
        if (field->n_bytes == 1) {
            *words = (unsigned char)*at;
        } else if (field->n_bytes == 4) {
            int32_t value;
            memcpy(&value, at, sizeof value);
            *words = (uint64_t)(int64_t)value;
        } else {
            memcpy(words, at, field->n_bytes);
        }
        words += record_field_words(field);
    }
}

void record_unpack_field(const struct record_field *field, const uint64_t *words, void *row)
{
    char *at = (char *)row + field->offset;

    if (field->n_bytes == 1) {
        *at = (char)(field->is_flag ? *words != 0 : *words);
    } else if (field->n_bytes == 4) {
        int32_t value = (int32_t)(int64_t)*words;
        memcpy(at, &value, sizeof value);
    } else {
        memcpy(at, words, field->n_bytes);
    }
}
