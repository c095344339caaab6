/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mappings: an address space: /proc/PID/smaps, or maps where smaps is denied.
 *
 *   561b56510000-561b56515000 r-xp 00002000 fe:00 247134    /usr/bin/cat      a mapping
 *   Rss:                  20 kB                                               its figures
 *   ...
 *
 * What a mapping is for follows from its name, its permissions and its neighbours: anonymous memory
 * right behind the writable part of a program or a library is its bss (of a library, unless it is
 * larger than that: then something else happens to lie there). The arena of Quire's heap is
 * one stretch of address space without gaps, far larger than any program's memory, in a process
 * that has Quire's library: ARENA_BYTES or more.
 *
 * Sources: proc(5); Linux's fs/proc/task_mmu.c.
 */
#include "base/sys.h"
#include "observe/fields.h"
#include "observe/procfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define ARENA_BYTES ((uint64_t)16 << 30)
#define LIBRARY_BSS_BYTES ((uint64_t)64 << 20)

struct raw {
    struct quire_observe_mapping mapping;
    uint64_t private_clean, private_dirty, shared_dirty;
};

#define OF(key, member)                             \
    {                                               \
        key, offsetof(struct raw, member), FIELD_KB \
    }

static const struct field fields[] = {
    OF("Rss", mapping.rss),
    OF("Pss", mapping.pss),
    OF("Shared_Dirty", shared_dirty),
    OF("Private_Clean", private_clean),
    OF("Private_Dirty", private_dirty),
    OF("AnonHugePages", mapping.huge),
    OF("Swap", mapping.swap),
    OF("Locked", mapping.locked),
};
#define N_FIELDS (sizeof fields / sizeof fields[0])

static bool take_hex(const char **at, uint64_t *value)
{
    uint64_t sum = 0;
    unsigned n = 0;

    for (;; n++, ++*at) {
        unsigned char c = (unsigned char)**at;
        unsigned digit = c >= '0' && c <= '9'   ? c - 48u
                         : c >= 'a' && c <= 'f' ? c - 87u
                                                : 16; /* '0', 'a' - 10 */
        if (digit == 16)
            break;
        sum = sum << 4 | digit;
    }
    *value = sum;
    return n > 0 && n <= 16;
}

/* "START-END PERM OFFSET MAJOR:MINOR INODE   NAME" */
static bool take_heading(char *line, struct quire_observe_mapping *mapping)
{
    const char *at = line;
    uint64_t ignored;

    if (!take_hex(&at, &mapping->start) || *at++ != '-' || !take_hex(&at, &mapping->end) ||
        *at++ != ' ' || strnlen(at, 5) < 5 || at[4] != ' ' || mapping->start >= mapping->end)
        return false;
    memcpy(mapping->permissions, at, 4);
    mapping->permissions[4] = '\0';
    at += 5;
    if (!take_hex(&at, &mapping->offset) || *at++ != ' ' || !take_hex(&at, &ignored) ||
        *at++ != ':' || !take_hex(&at, &ignored) || *at++ != ' ' ||
        !procfs_digits(&at, &mapping->inode))
        return false;
    mapping->name = at + strspn(at, " ");
    return true;
}

static bool has_bit(const struct quire_observe_mapping *mapping, char bit)
{
    return strchr(mapping->permissions, bit) != NULL;
}

static bool is_anonymous(const struct quire_observe_mapping *mapping)
{
    return mapping->name[0] == '\0' || strncmp(mapping->name, "[anon:", 6) == 0;
}

/* "/lib/libm.so.6", "/x/y.so" */
static bool is_library(const char *name)
{
    const char *base = strrchr(name, '/');
    const char *so = base != NULL ? strstr(base, ".so") : NULL;

    return so != NULL && (so[3] == '\0' || so[3] == '.' || so[3] == ' ');
}

static bool is_shared_memory(const struct quire_observe_mapping *mapping)
{
    static const char *const starts[] = {"/dev/shm/", "/SYSV", "/memfd:", "/dev/zero",
                                         "[anon_shmem"};

    for (unsigned i = 0; i < sizeof starts / sizeof starts[0]; i++)
        if (strncmp(mapping->name, starts[i], strlen(starts[i])) == 0)
            return true;
    return false;
}

static enum quire_observe_kind kind_of(const struct quire_observe_mapping *mapping,
                                       const struct quire_observe_mapping *below,
                                       const char *program)
{
    const char *name = mapping->name;

    if (strcmp(name, "[heap]") == 0)
        return QUIRE_OBSERVE_HEAP;
    if (strncmp(name, "[stack", 6) == 0)
        return QUIRE_OBSERVE_STACK;
    if (is_anonymous(mapping)) {
        const uint64_t n_bytes = mapping->end - mapping->start;
        bool is_bss = below != NULL && below->end == mapping->start && has_bit(below, 'w') &&
                      has_bit(mapping, 'w') && below->name[0] == '/' &&
                      (below->kind == QUIRE_OBSERVE_DATA ||
                       (below->kind == QUIRE_OBSERVE_LIBRARY && n_bytes <= LIBRARY_BSS_BYTES));
        return is_bss ? below->kind : QUIRE_OBSERVE_ANONYMOUS;
    }
    if (is_shared_memory(mapping))
        return QUIRE_OBSERVE_SHARED;
    if (name[0] == '[')
        return QUIRE_OBSERVE_VDSO;
    if (program[0] != '\0' && strcmp(name, program) == 0)
        return has_bit(mapping, 'w') ? QUIRE_OBSERVE_DATA : QUIRE_OBSERVE_TEXT;
    return is_library(name) ? QUIRE_OBSERVE_LIBRARY : QUIRE_OBSERVE_FILE;
}

static bool has_quire(const struct quire_observe_mappings *mappings)
{
    for (size_t i = 0; i < mappings->n; i++) {
        const char *base = strrchr(mappings->list[i].name, '/');
        if (base != NULL && (strncmp(base, "/libquire-preload.so", 20) == 0 ||
                             strncmp(base, "/libquire.so", 12) == 0))
            return true;
    }
    return false;
}

static void mark_arena(struct quire_observe_mappings *mappings)
{
    for (size_t first = 0, end; first < mappings->n; first = end) {
        struct quire_observe_mapping *list = mappings->list;
        end = first + 1;
        if (list[first].kind != QUIRE_OBSERVE_ANONYMOUS)
            continue;
        while (end < mappings->n && list[end].kind == QUIRE_OBSERVE_ANONYMOUS &&
               list[end].start == list[end - 1].end)
            end++;
        if (list[end - 1].end - list[first].start < ARENA_BYTES)
            continue;
        for (size_t i = first; i < end; i++)
            list[i].kind = QUIRE_OBSERVE_ARENA;
    }
}

/* The program's file: where exe can't be read, the lowest file that is mapped to be executed. */
static void find_program(struct quire_observe *observe, int pid,
                         const struct quire_observe_mappings *mappings, char *program,
                         size_t n_bytes)
{
    char path[48];

    snprintf(path, sizeof path, "proc/%d/exe", pid);
    ssize_t n = sys_readlinkat(observe->root_fd, path, program, n_bytes - 1);
    program[n > 0 ? n : 0] = '\0';
    for (size_t i = 0; program[0] == '\0' && i < mappings->n; i++)
        if (has_bit(&mappings->list[i], 'x') && mappings->list[i].name[0] == '/')
            snprintf(program, n_bytes, "%s", mappings->list[i].name);
}

static void settle(struct quire_observe_mapping *mapping, const struct raw *raw)
{
    *mapping = raw->mapping;
    if (!quire_observe_known(raw->private_dirty))
        return;
    mapping->private_bytes = raw->private_clean + raw->private_dirty;
    mapping->dirty = raw->shared_dirty + raw->private_dirty;
}

static void clear(struct raw *raw, uint64_t reason)
{
    *raw = (struct raw){.mapping = {.private_bytes = reason, .dirty = reason}};
    fields_clear(fields, N_FIELDS, raw, reason);
}

static int take_mappings(struct quire_observe *observe, struct quire_observe_mappings *mappings)
{
    uint64_t reason = mappings->is_detailed ? QUIRE_OBSERVE_ABSENT : QUIRE_OBSERVE_DENIED;
    struct raw raw = {.mapping = {.name = ""}};
    unsigned next = 0;
    int error = 0;

    while (error == 0 && source_line(observe) != NULL) {
        char c = observe->line[0];
        bool is_heading = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
        if (!is_heading && mappings->n == 0)
            return source_bad(observe, "a mapping is expected: START-END PERM OFFSET DEVICE INODE");
        if (is_heading) {
            if (mappings->n > 0)
                settle(&observe->mappings[mappings->n - 1], &raw);
            clear(&raw, reason);
            if (!take_heading(observe->line, &raw.mapping))
                return source_bad(observe,
                                  "a mapping is expected: START-END PERM OFFSET DEVICE INODE");
            if (!source_grow(&observe->mappings, &observe->mappings_room, mappings->n + 1,
                             sizeof *observe->mappings))
                return -ENOMEM;
            mappings->n++;
        } else {
            error = fields_take_line(observe, fields, N_FIELDS, ':', &raw, &next);
        }
    }
    if (error == 0 && mappings->n > 0)
        settle(&observe->mappings[mappings->n - 1], &raw);
    mappings->list = observe->mappings;
    return error;
}

static int read_maps(struct quire_observe *observe, int pid, bool *is_detailed)
{
    *is_detailed = true;
    snprintf(observe->path, sizeof observe->path, "proc/%d/smaps", pid);
    int error = source_read_raw(observe, observe->root_fd, observe->path);
    if (error != -EACCES && error != -EPERM && error != -ENOENT)
        return error;
    *is_detailed = false;
    snprintf(observe->path, sizeof observe->path, "proc/%d/maps", pid);
    return source_read_raw(observe, observe->root_fd, observe->path);
}

int quire_observe_mappings(struct quire_observe *observe, int pid,
                           struct quire_observe_mappings *mappings)
{
    char program[PATH_MAX] = "";

    *mappings = (struct quire_observe_mappings){.n = 0};
    int error = pid > 0 ? read_maps(observe, pid, &mappings->is_detailed) : -ESRCH;
    if (error == -ENOENT || error == -ESRCH)
        return -ESRCH;
    if (error < 0)
        return source_failed(observe, observe->path, error == -EPERM ? -EACCES : error);
    if (observe->n_bytes == 0)
        return -ENODATA;
    error = source_check(observe);
    if (error == 0)
        error = take_mappings(observe, mappings);
    if (error < 0)
        return error;
    find_program(observe, pid, mappings, program, sizeof program);
    for (size_t i = 0; i < mappings->n; i++)
        mappings->list[i].kind = kind_of(&mappings->list[i], i > 0 ? &mappings->list[i - 1] : NULL,
                                         program);
    if (has_quire(mappings))
        mark_arena(mappings);
    return 0;
}

const char *quire_observe_kind_name(enum quire_observe_kind kind)
{
    static const char *const names[] = {"text", "data",    "heap",   "arena", "anonymous",
                                        "file", "library", "shared", "stack", "vdso"};

    return (unsigned)kind < QUIRE_OBSERVE_N_KINDS ? names[kind] : "?";
}
