/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine: physical memory, and the limit that cgroups set below it.
 *
 * A process's cgroup is a path inside a hierarchy (/proc/self/cgroup), and a hierarchy is seen
 * through a mount that may show only a part of it (/proc/self/mountinfo):
 *
 *   /proc/self/cgroup      4:memory:/docker/ab/job       the process's path
 *   mountinfo              ... /docker/ab /sys/fs/cgroup/memory ... - cgroup ... rw,memory
 *                              shown part  where it is mounted
 *   directory              /sys/fs/cgroup/memory + /job
 *
 * A limit of any cgroup on the way up holds for the process as well, so the smallest one counts.
 * A path that lies outside of the part shown (another namespace's) leaves the mount's own
 * directory as the best that can be known.
 */
#include "observe/machine.h"

#include "observe/procfs.h"

#include <errno.h>
#include <string.h>

/* Version 1 writes "no limit" as the largest multiple of a page in 63 bits. */
#define V1_UNLIMITED ((uint64_t)1 << 62)

struct mount {
    char shown[PATH_MAX]; /* the directory of the hierarchy that the mount shows */
    char point[PATH_MAX];
};

static void path_in(char *path, size_t n_bytes, const char *root, const char *rest)
{
    size_t n_root = strnlen(root, n_bytes - 1);
    size_t n_rest = strnlen(rest, n_bytes - 1 - n_root);

    memcpy(path, root, n_root);
    memcpy(path + n_root, rest, n_rest);
    path[n_root + n_rest] = '\0';
}

int machine_memory(const char *root, struct machine_memory *memory)
{
    char path[PATH_MAX];

    path_in(path, sizeof path, root, "/proc/meminfo");
    *memory = (struct machine_memory){0};
    int result = procfs_read_field(path, "MemTotal:", &memory->physical_bytes);
    if (result < 0)
        return result;
    procfs_read_field(path, "MemAvailable:", &memory->available_bytes);
    procfs_read_field(path, "SwapTotal:", &memory->swap_total_bytes);
    procfs_read_field(path, "SwapFree:", &memory->swap_free_bytes);
    return 0;
}

/* Whether `word` stands in a list separated by commas. */
static bool list_has(const char *list, const char *word)
{
    size_t n_word = strlen(word);

    for (const char *at = list; at != NULL; at = strchr(at, ','), at = at ? at + 1 : NULL)
        if (strncmp(at, word, n_word) == 0 && (at[n_word] == ',' || at[n_word] == '\0'))
            return true;
    return false;
}

/* The path of this process in the hierarchy: version 2's line is "0::PATH". */
static bool find_own_path(const char *root, unsigned version, char *own)
{
    struct procfs_reader reader;
    bool found = false;

    path_in(own, PATH_MAX, root, "/proc/self/cgroup");
    if (procfs_open(&reader, own) < 0)
        return false;
    for (char *line; !found && (line = procfs_line(&reader)) != NULL;) {
        char *controllers = strchr(line, ':');
        char *path = controllers ? strchr(controllers + 1, ':') : NULL;

        if (path == NULL)
            continue;
        *controllers++ = *path++ = '\0';
        found = version == 2 ? strcmp(line, "0") == 0 : list_has(controllers, "memory");
        if (found)
            path_in(own, PATH_MAX, path, "");
    }
    procfs_close(&reader);
    return found;
}

/* Undoes mountinfo's \ooo for blanks and backslashes, in place. */
static void unescape(char *text)
{
    char *to = text;

    while (*text != '\0') {
        if (text[0] == '\\' && text[1] >= '0' && text[1] <= '3' && text[2] >= '0' &&
            text[2] <= '7' && text[3] >= '0' && text[3] <= '7') {
            *to++ = (char)((text[1] - '0') << 6 | (text[2] - '0') << 3 | (text[3] - '0'));
            text += 4;
        } else {
            *to++ = *text++;
        }
    }
    *to = '\0';
}

/* Takes the next word from *text; NULL at the end. */
static char *next_word(char **text)
{
    char *word = *text + strspn(*text, " ");

    if (*word == '\0')
        return NULL;
    *text = word + strcspn(word, " ");
    if (**text != '\0')
        *(*text)++ = '\0';
    return word;
}

/* Reads "ID PARENT DEV SHOWN POINT OPTIONS [FIELD…] - TYPE SOURCE SUPER" if it is the hierarchy's.
 */
static bool parse_mount(char *line, unsigned version, struct mount *mount)
{
    char *words[5], *word;

    for (int i = 0; i < 5; i++)
        if ((words[i] = next_word(&line)) == NULL)
            return false;
    while ((word = next_word(&line)) != NULL && strcmp(word, "-") != 0)
        ;
    char *type = next_word(&line), *source = next_word(&line), *super = next_word(&line);
    if (type == NULL || source == NULL || super == NULL)
        return false;
    if (version == 2 ? strcmp(type, "cgroup2") != 0
                     : strcmp(type, "cgroup") != 0 || !list_has(super, "memory"))
        return false;
    unescape(words[3]);
    unescape(words[4]);
    path_in(mount->shown, sizeof mount->shown, words[3], "");
    path_in(mount->point, sizeof mount->point, words[4], "");
    return true;
}

static bool find_mount(const char *root, unsigned version, struct mount *mount)
{
    struct procfs_reader reader;
    bool found = false;

    path_in(mount->point, sizeof mount->point, root, "/proc/self/mountinfo");
    if (procfs_open(&reader, mount->point) < 0)
        return false;
    for (char *line; !found && (line = procfs_line(&reader)) != NULL;)
        found = parse_mount(line, version, mount);
    procfs_close(&reader);
    return found;
}

/* What is left of `own` below the part that the mount shows; "" when it lies outside of it. */
static const char *below_shown(const char *own, const char *shown)
{
    size_t n_shown = strcmp(shown, "/") == 0 ? 0 : strlen(shown);

    if (strncmp(own, shown, n_shown) != 0 || (own[n_shown] != '/' && own[n_shown] != '\0') ||
        strncmp(own, "/..", 3) == 0)
        return "";
    return strcmp(own + n_shown, "/") == 0 ? "" : own + n_shown;
}

/* Lowers the limit found so far to the one in `directory`/`file`. */
static void take_limit(const char *directory, const char *file, struct machine_cgroup *cgroup)
{
    char path[PATH_MAX];
    uint64_t limit;

    path_in(path, sizeof path, directory, file);
    /* "max", a missing file (the root's) and an unreadable one all mean: no limit here */
    if (procfs_read_u64(path, &limit) < 0 || limit >= V1_UNLIMITED || limit >= cgroup->limit_bytes)
        return;
    cgroup->limit_bytes = limit;
    path_in(cgroup->path, sizeof cgroup->path, directory, "");
}

static void take_hierarchy(const char *root, unsigned version, struct machine_cgroup *cgroup)
{
    char own[PATH_MAX], top[PATH_MAX], directory[PATH_MAX];
    struct mount mount;

    if (!find_own_path(root, version, own) || !find_mount(root, version, &mount))
        return;
    path_in(top, sizeof top, root, mount.point);
    path_in(directory, sizeof directory, top, below_shown(own, mount.shown));
    uint64_t before = cgroup->limit_bytes;
    for (size_t n_top = strlen(top);;) {
        if (version == 2) {
            take_limit(directory, "/memory.max", cgroup);
            take_limit(directory, "/memory.high", cgroup);
        } else {
            take_limit(directory, "/memory.limit_in_bytes", cgroup);
        }
        char *slash = strrchr(directory, '/');
        if (slash == NULL || (size_t)(slash - directory) < n_top)
            break;
        *slash = '\0';
    }
    if (cgroup->version == 0 || cgroup->limit_bytes < before)
        cgroup->version = version;
}

int machine_cgroup(const char *root, struct machine_cgroup *cgroup)
{
    char path[PATH_MAX], line[16];

    cgroup->version = 0;
    cgroup->limit_bytes = MACHINE_UNLIMITED;
    cgroup->path[0] = '\0';
    path_in(path, sizeof path, root, "/proc/self/cgroup");
    int result = procfs_read_line(path, line, sizeof line);
    if (result < 0)
        return result;
    take_hierarchy(root, 1, cgroup); /* first: where version 1 has the controller, 2 has it not */
    take_hierarchy(root, 2, cgroup);
    return 0;
}

bool machine_cgroup_top(const char *root, unsigned version, char *top)
{
    struct mount mount;

    if (!find_mount(root, version, &mount))
        return false;
    path_in(top, PATH_MAX, root, mount.point);
    return true;
}

uint64_t machine_whole_bytes(const char *root)
{
    struct machine_memory memory;
    struct machine_cgroup cgroup;

    if (machine_memory(root, &memory) < 0)
        return 0;
    if (machine_cgroup(root, &cgroup) == 0 && cgroup.limit_bytes < memory.physical_bytes)
        return cgroup.limit_bytes;
    return memory.physical_bytes;
}
