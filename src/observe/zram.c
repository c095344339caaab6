/* SPDX-License-Identifier: Apache-2.0 */
/*
 * zram: the compressed block devices, added up from /sys/block/zramN.
 *
 * mm_stat: ORIGINAL COMPRESSED HELD LIMIT HELD_MAX SAME COMPACTED HUGE [HUGE_SINCE]; all bytes, but
 * for SAME, COMPACTED and HUGE, which are pages. A device whose disksize is 0 is not set up.
 * Source: Linux's Documentation/admin-guide/blockdev/zram.rst.
 */
#include "observe/procfs.h"
#include "observe/source.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static int take_mm_stat(struct quire_observe *observe, struct quire_observe_zram *zram)
{
    uint64_t values[8] = {0};
    const char *at = source_line(observe);

    for (unsigned i = 0; i < 8; i++) {
        at += strspn(at, " ");
        if (procfs_digits(&at, &values[i]))
            continue;
        if (i < 7) /* the eighth since Linux 4.14 */
            return source_bad(observe, "seven numbers are expected");
    }
    zram->stored += values[0];
    zram->compressed += values[1];
    zram->held += values[2];
    zram->held_max += values[4];
    zram->same_pages += values[5];
    zram->huge_pages += values[7];
    return 0;
}

static int read_device(struct quire_observe *observe, const char *name,
                       struct quire_observe_zram *zram)
{
    char path[300];

    snprintf(path, sizeof path, "sys/block/%s/disksize", name);
    uint64_t disk = source_number(observe, path);
    if (!quire_observe_known(disk) || disk == 0)
        return 0;
    snprintf(path, sizeof path, "sys/block/%s/mm_stat", name);
    int error = source_read(observe, path, false);
    if (error == -ENOENT) /* reset, or removed, a moment ago */
        return 0;
    if (error == 0)
        error = take_mm_stat(observe, zram);
    zram->n_devices += error == 0;
    zram->disk += disk;
    return error;
}

int quire_observe_zram(struct quire_observe *observe, struct quire_observe_zram *zram)
{
    DIR *directory;
    int error = source_open_directory(observe->root_fd, "sys/block", &directory);

    *zram = (struct quire_observe_zram){0};
    if (error < 0)
        return error == -ENOENT ? 0 : source_failed(observe, "sys/block", error);
    for (const struct dirent *entry; error == 0 && (entry = readdir(directory)) != NULL;)
        if (strncmp(entry->d_name, "zram", 4) == 0)
            error = read_device(observe, entry->d_name, zram);
    closedir(directory);
    return error;
}
