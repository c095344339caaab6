/* SPDX-License-Identifier: Apache-2.0 */
/*
 * settings: what is configured about memory: /proc/sys/vm, transparent huge pages, zswap, swap
 * areas. Sources: Linux's Documentation/admin-guide/sysctl/vm.rst, mm/transhuge.rst, mm/zswap.rst.
 */
#include "observe/procfs.h"
#include "observe/source.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *path;
    unsigned offset, unit;
} numbers[] = {
#define OF(path, member, unit)                                      \
    {                                                               \
        path, offsetof(struct quire_observe_settings, member), unit \
    }
    OF("proc/sys/vm/swappiness", swappiness, 1),
    OF("proc/sys/vm/min_free_kbytes", min_free, 1024),
    OF("proc/sys/vm/watermark_scale_factor", watermark_scale_factor, 1),
    OF("proc/sys/vm/watermark_boost_factor", watermark_boost_factor, 1),
    OF("proc/sys/vm/overcommit_memory", overcommit_mode, 1),
    OF("proc/sys/vm/overcommit_ratio", overcommit_ratio, 1),
    OF("proc/sys/vm/overcommit_kbytes", overcommit_limit, 1024),
    OF("proc/sys/vm/dirty_ratio", dirty_ratio, 1),
    OF("proc/sys/vm/dirty_background_ratio", dirty_background_ratio, 1),
    OF("proc/sys/vm/dirty_bytes", dirty_limit, 1),
    OF("proc/sys/vm/dirty_background_bytes", dirty_background_limit, 1),
    OF("proc/sys/vm/vfs_cache_pressure", vfs_cache_pressure, 1),
    OF("proc/sys/vm/page-cluster", page_cluster, 1),
    OF("proc/sys/vm/zone_reclaim_mode", zone_reclaim_mode, 1),
    OF("proc/sys/vm/max_map_count", max_map_count, 1),
    OF("proc/sys/vm/compaction_proactiveness", compaction_proactiveness, 1),
    OF("proc/sys/kernel/task_delayacct", delay_accounting, 1),
    OF("sys/module/zswap/parameters/max_pool_percent", zswap_max_percent, 1),
    OF("sys/kernel/mm/transparent_hugepage/khugepaged/max_ptes_none", khugepaged_max_none, 1),
#undef OF
};

/* "/dev/zram0   partition   1048572   0   100" */
static int take_swap(struct quire_observe *observe, struct quire_observe_settings *settings)
{
    const char *line = observe->line;
    size_t n_name = strcspn(line, " \t");
    const char *at = line + n_name + strspn(line + n_name, " \t");
    uint64_t kib;

    at += strcspn(at, " \t");
    at += strspn(at, " \t");
    if (!procfs_digits(&at, &kib) || kib > UINT64_MAX / 2048)
        return source_bad(observe, "a file name, a type and a size are expected");
    settings->n_swaps++;
    if (strstr(line, "/zram") != NULL && strstr(line, "/zram") < line + n_name)
        settings->n_swaps_ram++;
    else
        settings->swap_file_bytes += kib * 1024;
    return 0;
}

static int read_swaps(struct quire_observe *observe, struct quire_observe_settings *settings)
{
    int error = source_read(observe, "proc/swaps", false);

    if (error == -ENOENT || error == -EACCES) { /* a kernel without swap has no such file */
        settings->n_swaps = settings->n_swaps_ram = settings->swap_file_bytes = source_reason(
            error);
        return 0;
    }
    settings->n_swaps = settings->n_swaps_ram = settings->swap_file_bytes = 0;
    if (error == 0 && strncmp(source_line(observe), "Filename", 8) != 0)
        error = source_bad(observe, "the heading \"Filename ...\" is expected");
    while (error == 0 && source_line(observe) != NULL)
        error = take_swap(observe, settings);
    return error;
}

int quire_observe_settings(struct quire_observe *observe, struct quire_observe_settings *settings)
{
    char word[8];

    *settings = (struct quire_observe_settings){0};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        uint64_t value = source_number(observe, numbers[i].path);
        if (quire_observe_known(value))
            value *= numbers[i].unit;
        memcpy((char *)settings + numbers[i].offset, &value, sizeof value);
    }
    settings->zswap_enabled = QUIRE_OBSERVE_ABSENT;
    if (source_word(observe, "sys/module/zswap/parameters/enabled", word, sizeof word))
        settings->zswap_enabled = word[0] == 'Y' || word[0] == '1';
    source_word(observe, "sys/module/zswap/parameters/compressor", settings->zswap_compressor,
                sizeof settings->zswap_compressor);
    settings->multigen = QUIRE_OBSERVE_ABSENT; /* "0x0007": a bit a part of it */
    if (source_word(observe, "sys/kernel/mm/lru_gen/enabled", word, sizeof word))
        settings->multigen = strtoul(word, NULL, 16) % 2;
    source_word(observe, "sys/kernel/mm/transparent_hugepage/enabled", settings->huge_enabled,
                sizeof settings->huge_enabled);
    source_word(observe, "sys/kernel/mm/transparent_hugepage/defrag", settings->huge_defrag,
                sizeof settings->huge_defrag);
    return read_swaps(observe, settings);
}
