/* SPDX-License-Identifier: Apache-2.0 */
/*
 * groups: all control groups with a limit on memory, in both versions' hierarchies.
 *
 *   mount ── directory ── directory ── ...      depth first, at most MAX_LOOKED_AT of them
 *               '- a limit in it? then its figures
 *
 * Groups come and go while the tree is walked: what is gone is left out.
 */
#include "observe/cgroup.h"
#include "observe/machine.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_LOOKED_AT 4096
#define MAX_DEPTH 16

struct walk {
    struct quire_observe *observe;
    struct quire_observe_groups *groups;
    unsigned version, n_looked_at;
};

/* Takes the group in if it has a limit. `directory` is below the root, without a slash before it.
 */
static int take_group(struct walk *walk, const char *directory)
{
    struct quire_observe *observe = walk->observe;
    struct quire_observe_groups *groups = walk->groups;
    struct quire_observe_cgroup cgroup;

    cgroup_read(observe, directory, walk->version, &cgroup);
    if (!quire_observe_known(cgroup.limit) && !quire_observe_known(cgroup.soft_limit))
        return 0;
    if (!source_grow(&observe->groups, &observe->groups_room, groups->n + 1,
                     sizeof *observe->groups))
        return -ENOMEM;
    struct quire_observe_group *group = &observe->groups[groups->n++];
    *group = (struct quire_observe_group){.version = walk->version,
                                          .limit = cgroup.limit,
                                          .soft_limit = cgroup.soft_limit,
                                          .used = cgroup.used,
                                          .times_at_limit = cgroup.times_at_limit,
                                          .times_over_soft = cgroup.times_over_soft,
                                          .oom_kills = cgroup.oom_kills};
    snprintf(group->path, sizeof group->path, "/%.*s", (int)sizeof group->path - 2, directory);
    return 0;
}

/* The path is extended in place, and cut again. */
static int walk_directory(struct walk *walk, char *path, unsigned depth)
{
    size_t n = strlen(path);
    int error = take_group(walk, path);

    if (error < 0 || depth == MAX_DEPTH)
        return error;
    DIR *directory;
    if (source_open_directory(walk->observe->root_fd, path, &directory) < 0)
        return 0;
    for (const struct dirent *entry; error == 0 && (entry = readdir(directory)) != NULL;) {
        if (entry->d_type != DT_DIR || entry->d_name[0] == '.' ||
            n + strlen(entry->d_name) + 2 > PATH_MAX - 64)
            continue;
        if (++walk->n_looked_at > MAX_LOOKED_AT) {
            walk->groups->is_cut = true;
            break;
        }
        snprintf(path + n, PATH_MAX - n, "/%s", entry->d_name);
        error = walk_directory(walk, path, depth + 1);
        path[n] = '\0';
    }
    closedir(directory);
    return error;
}

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct quire_observe_group *)a)->path,
                  ((const struct quire_observe_group *)b)->path);
}

int quire_observe_groups(struct quire_observe *observe, struct quire_observe_groups *groups)
{
    char root[64], top[PATH_MAX], path[PATH_MAX];
    int error = 0;

    *groups = (struct quire_observe_groups){.n = 0};
    cgroup_root_path(observe, root, sizeof root);
    for (unsigned version = 1; error == 0 && version <= 2; version++) {
        struct walk walk = {.observe = observe, .groups = groups, .version = version};
        if (!machine_cgroup_top(root, version, top))
            continue;
        snprintf(path, sizeof path, "%s", top + strlen(root) + 1);
        error = walk_directory(&walk, path, 0);
    }
    if (groups->n > 0)
        qsort(observe->groups, groups->n, sizeof *observe->groups, compare);
    groups->list = observe->groups;
    return error;
}
