/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slabinfo: the kernel's slab caches, /proc/slabinfo version 2.x.
 *
 *   dentry  201259 207963 192 21 1 : tunables 0 0 0 : slabdata 9903 9903 0
 *   name    active objects size objects/slab pages/slab        active slabs, slabs
 *
 * Source: slabinfo(5).
 */
#include "observe/procfs.h"
#include "observe/source.h"

#include <errno.h>
#include <string.h>

static bool take(const char **at, uint64_t *value)
{
    *at += strspn(*at, " ");
    return procfs_digits(at, value) && quire_observe_known(*value);
}

static bool take_cache(const char *line, struct quire_observe_slab *slab)
{
    const char *at = line + strcspn(line, " ");
    size_t n = (size_t)(at - line);

    if (n == 0)
        return false;
    n = n < sizeof slab->name ? n : sizeof slab->name - 1;
    memcpy(slab->name, line, n);
    slab->name[n] = '\0';
    if (!take(&at, &slab->active_objects) || !take(&at, &slab->objects) ||
        !take(&at, &slab->object_bytes) || !take(&at, &slab->objects_a_slab) ||
        !take(&at, &slab->pages_a_slab))
        return false;
    at = strstr(at, ": slabdata");
    if (at == NULL)
        return false;
    at += strlen(": slabdata");
    return take(&at, &slab->active_slabs) && take(&at, &slab->slabs);
}

int quire_observe_slabs(struct quire_observe *observe, struct quire_observe_slabs *slabs)
{
    *slabs = (struct quire_observe_slabs){0};
    int error = source_read(observe, "proc/slabinfo", true);
    if (error == 0 && strncmp(source_line(observe), "slabinfo - version: 2.", 22) != 0)
        error = source_bad(observe, "\"slabinfo - version: 2.1\" is expected");
    while (error == 0 && source_line(observe) != NULL) {
        if (observe->line[0] == '#')
            continue;
        if (!source_grow(&observe->slabs, &observe->slabs_room, slabs->n_caches + 1,
                         sizeof *observe->slabs))
            return -ENOMEM;
        if (!take_cache(observe->line, &observe->slabs[slabs->n_caches]))
            return source_bad(observe,
                              "a name, five numbers, and two behind slabdata are expected");
        slabs->n_caches++;
    }
    slabs->caches = observe->slabs;
    return error;
}
