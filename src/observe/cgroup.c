/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cgroup: the limit that binds this process, and how often it did. Which group that is, machine.c
 * finds out; the files beside its limit say the rest.
 *
 *                  version 2              version 1
 *   limit          memory.max             memory.limit_in_bytes
 *   soft_limit     memory.high            -
 *   used           memory.current         memory.usage_in_bytes
 *   at the limit   memory.events max      memory.failcnt
 *   oom_kills      memory.events oom_kill memory.oom_control oom_kill
 *   swap_limit     memory.swap.max        memory.memsw.limit_in_bytes less the limit
 */
#include "observe/cgroup.h"

#include "observe/fields.h"
#include "observe/machine.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define V1_UNLIMITED ((uint64_t)1 << 62)

#define OF(key, member)                                                  \
    {                                                                    \
        key, offsetof(struct quire_observe_cgroup, member), FIELD_NUMBER \
    }

static const struct field events[] = {
    OF("high", times_over_soft),
    OF("max", times_at_limit),
    OF("oom_kill", oom_kills),
};

static const struct field oom_control[] = {OF("oom_kill", oom_kills)};

static uint64_t number_in(struct quire_observe *observe, const char *directory, const char *name)
{
    char path[PATH_MAX];
    uint64_t value;

    snprintf(path, sizeof path, "%s/%s", directory, name);
    value = source_number(observe, path);
    return value >= V1_UNLIMITED && quire_observe_known(value) ? QUIRE_OBSERVE_ABSENT : value;
}

static void read_events(struct quire_observe *observe, const char *directory, const char *name,
                        const struct field *fields, unsigned n, struct quire_observe_cgroup *cgroup)
{
    char path[PATH_MAX];

    snprintf(path, sizeof path, "%s/%s", directory, name);
    if (source_read(observe, path, false) == 0)
        (void)!fields_take(observe, fields, n, ' ', cgroup);
    observe->message[0] = '\0'; /* what is not there is absent, and no failure */
}

static void read_version_2(struct quire_observe *observe, const char *directory,
                           struct quire_observe_cgroup *cgroup)
{
    cgroup->limit = number_in(observe, directory, "memory.max");
    cgroup->soft_limit = number_in(observe, directory, "memory.high");
    cgroup->used = number_in(observe, directory, "memory.current");
    cgroup->swap_limit = number_in(observe, directory, "memory.swap.max");
    read_events(observe, directory, "memory.events", events, 3, cgroup);
}

static void read_version_1(struct quire_observe *observe, const char *directory,
                           struct quire_observe_cgroup *cgroup)
{
    cgroup->limit = number_in(observe, directory, "memory.limit_in_bytes");
    cgroup->used = number_in(observe, directory, "memory.usage_in_bytes");
    cgroup->times_at_limit = number_in(observe, directory, "memory.failcnt");
    uint64_t both = number_in(observe, directory, "memory.memsw.limit_in_bytes");
    if (quire_observe_known(both) && quire_observe_known(cgroup->limit) && both >= cgroup->limit)
        cgroup->swap_limit = both - cgroup->limit;
    read_events(observe, directory, "memory.oom_control", oom_control, 1, cgroup);
}

/* The files of one group, as far as they are there. */
void cgroup_read(struct quire_observe *observe, const char *directory, unsigned version,
                 struct quire_observe_cgroup *cgroup)
{
    memset(cgroup, 0xff, sizeof *cgroup); /* all absent */
    cgroup->version = version;
    memset(cgroup->path, 0, sizeof cgroup->path);
    if (version == 2)
        read_version_2(observe, directory, cgroup);
    else
        read_version_1(observe, directory, cgroup);
}

void cgroup_root_path(const struct quire_observe *observe, char *path, size_t n_bytes)
{
    snprintf(path, n_bytes, "/proc/self/fd/%d", observe->root_fd);
}

int quire_observe_cgroup(struct quire_observe *observe, struct quire_observe_cgroup *cgroup)
{
    struct machine_cgroup found;
    char root[64];

    cgroup_root_path(observe, root, sizeof root);
    int error = machine_cgroup(root, &found);
    memset(cgroup, 0xff, sizeof *cgroup); /* all absent */
    memset(cgroup->path, 0, sizeof cgroup->path);
    cgroup->version = 0;
    if (error < 0)
        return error == -ENOENT ? 0 : source_failed(observe, "proc/self/cgroup", error);
    cgroup->version = found.version;
    if (found.path[0] == '\0')
        return 0;
    const char *directory = found.path + strlen(root);
    directory += *directory == '/';
    cgroup_read(observe, directory, found.version, cgroup);
    snprintf(cgroup->path, sizeof cgroup->path, "/%s", directory);
    return 0;
}
