/* SPDX-License-Identifier: Apache-2.0 */
/* memory: /proc/meminfo. Sources: proc(5); Linux's Documentation/filesystems/proc.rst. */
#include "observe/fields.h"

#include <stddef.h>

#define KB(key, member)                                              \
    {                                                                \
        key, offsetof(struct quire_observe_memory, member), FIELD_KB \
    }
#define COUNT(key, member)                                               \
    {                                                                    \
        key, offsetof(struct quire_observe_memory, member), FIELD_NUMBER \
    }

static const struct field fields[] = {
    KB("MemTotal", total),
    KB("MemFree", free),
    KB("MemAvailable", available),
    KB("Buffers", buffers),
    KB("Cached", cached),
    KB("SwapCached", swap_cached),
    KB("Active(anon)", active_anon),
    KB("Inactive(anon)", inactive_anon),
    KB("Active(file)", active_file),
    KB("Inactive(file)", inactive_file),
    KB("Unevictable", unevictable),
    KB("Mlocked", locked),
    KB("SwapTotal", swap_total),
    KB("SwapFree", swap_free),
    KB("Zswap", zswap),
    KB("Zswapped", zswapped),
    KB("Dirty", dirty),
    KB("Writeback", writeback),
    KB("AnonPages", anonymous),
    KB("Mapped", mapped),
    KB("Shmem", shmem),
    KB("KReclaimable", kernel_reclaimable),
    KB("Slab", slab),
    KB("SReclaimable", slab_reclaimable),
    KB("SUnreclaim", slab_unreclaimable),
    KB("KernelStack", kernel_stacks),
    KB("PageTables", page_tables),
    KB("CommitLimit", commit_limit),
    KB("Committed_AS", committed),
    KB("VmallocUsed", vmalloc_used),
    KB("Percpu", per_cpu),
    KB("HardwareCorrupted", corrupted),
    KB("AnonHugePages", anonymous_huge),
    KB("ShmemHugePages", shmem_huge),
    KB("FileHugePages", file_huge),
    COUNT("HugePages_Total", huge_total_pages),
    COUNT("HugePages_Free", huge_free_pages),
    COUNT("HugePages_Rsvd", huge_reserved_pages),
    COUNT("HugePages_Surp", huge_surplus_pages),
    KB("Hugepagesize", huge_page_bytes),
    KB("Hugetlb", hugetlb),
};
#define N_FIELDS (sizeof fields / sizeof fields[0])

int quire_observe_memory(struct quire_observe *observe, struct quire_observe_memory *memory)
{
    fields_clear(fields, N_FIELDS, memory, QUIRE_OBSERVE_ABSENT);
    int error = source_read(observe, "proc/meminfo", true);
    if (error == 0)
        error = fields_take(observe, fields, N_FIELDS, ':', memory);
    if (error < 0)
        return error;
    if (!quire_observe_known(memory->total))
        return source_lacks(observe, "MemTotal");
    if (!quire_observe_known(memory->free))
        return source_lacks(observe, "MemFree");
    if (memory->free > memory->total)
        return source_lacks(observe, "MemTotal that is as large as its MemFree");
    return 0;
}

static uint64_t or_zero(uint64_t figure)
{
    return quire_observe_known(figure) ? figure : 0;
}

uint64_t quire_observe_cache(const struct quire_observe_memory *memory)
{
    return or_zero(memory->cached) + or_zero(memory->slab_reclaimable);
}

uint64_t quire_observe_used(const struct quire_observe_memory *memory)
{
    uint64_t spare = memory->available;

    if (!quire_observe_known(spare))
        spare = memory->free + or_zero(memory->buffers) + quire_observe_cache(memory);
    if (spare > memory->total) /* a container's lxcfs may show parts of two machines */
        spare = memory->free;
    return memory->total - spare;
}
