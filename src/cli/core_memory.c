/* SPDX-License-Identifier: Apache-2.0 */
/*
 * core_memory: see core_memory.h.
 *
 *   /proc/PID/smaps ---> mappings --.
 *   /proc/PID/pagemap -> present ---+--> runs with contents --> segments: a mapping each, where it
 *   the pager's table -> evicted ---'                           is large only around its runs
 *
 * As the kernel's own cores have it: private memory and anonymous shared memory, and of a file that
 * is mapped unchanged only the first page, by which a debugger finds out which file it was. What
 * was asked to be left out (MADV_DONTDUMP) is. Unlike there, pages that were never touched are
 * holes of the file, and of shared memory only what this process has touched is there.
 */
#include "cli/core_memory.h"

#include "base/sys.h"
#include "observe/residency.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WHOLE_MAPPING_BYTES ((uint64_t)1 << 30) /* of larger ones, only what is used */
#define GAP_BYTES ((uint64_t)16 << 20)          /* so much unused makes two segments of them */
#define OWN_BLOCK "/memfd:quire-"

/* Room for one more. False: out of memory. */
static bool grow(void **array, size_t n, size_t *most, size_t n_bytes)
{
    if (n < *most)
        return true;
    size_t more = *most * 2 + 64;
    void *larger = realloc(*array, more * n_bytes);
    if (larger == NULL)
        return false;
    *array = larger;
    *most = more;
    return true;
}

static bool add_run(struct core_memory *memory, uint64_t start, uint64_t end)
{
    if (!grow((void **)&memory->runs, memory->n_runs, &memory->most_runs, sizeof *memory->runs))
        return false;
    memory->runs[memory->n_runs++] = (struct core_run){start, end};
    return true;
}

/* "START-END rwxp OFFSET DEV INODE   PATH": a mapping. False: the line is none. */
static bool parse_mapping(const char *line, struct core_mapping *mapping)
{
    unsigned long long start, end, offset;
    char access[5];
    int at = 0;

    if (sscanf(line, "%llx-%llx %4s %llx %*s %*s %n", &start, &end, access, &offset, &at) != 4 ||
        at == 0)
        return false;
    *mapping = (struct core_mapping){.start = start,
                                     .end = end,
                                     .file_offset = offset,
                                     .readable = access[0] == 'r',
                                     .writable = access[1] == 'w',
                                     .executable = access[2] == 'x',
                                     .shared = access[3] == 's'};
    if (line[at] != '\0' && line[at] != '\n') {
        mapping->path = strdup(line + at);
        if (mapping->path != NULL)
            mapping->path[strcspn(mapping->path, "\n")] = '\0';
    }
    return true;
}

static void note_detail(struct core_mapping *mapping, const char *line)
{
    unsigned long long kib;

    if (sscanf(line, "Anonymous: %llu kB", &kib) == 1)
        mapping->anonymous_bytes = kib << 10;
    else if (strncmp(line, "VmFlags:", 8) == 0) {
        mapping->left_out = strstr(line, " dd") != NULL || strstr(line, " io") != NULL ||
                            strstr(line, " pf") != NULL;
        mapping->is_registered = strstr(line, " um") != NULL;
    }
}

static int read_mappings(struct core_memory *memory, int pid)
{
    struct core_mapping mapping;
    char path[64], line[8192];
    int error = 0;

    snprintf(path, sizeof path, "/proc/%d/smaps", pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return errno == ENOENT ? -ESRCH : -errno;
    while (error == 0 && fgets(line, sizeof line, file) != NULL) {
        if (!parse_mapping(line, &mapping)) {
            if (memory->n_mappings > 0)
                note_detail(&memory->mappings[memory->n_mappings - 1], line);
        } else if (!grow((void **)&memory->mappings, memory->n_mappings, &memory->most_mappings,
                         sizeof mapping)) {
            free(mapping.path);
            error = -ENOMEM;
        } else {
            memory->mappings[memory->n_mappings++] = mapping;
        }
    }
    if (error == 0 && ferror(file))
        error = -EIO;
    fclose(file);
    return error;
}

static bool has_name(const struct core_mapping *mapping)
{
    return mapping->path != NULL && mapping->path[0] == '/';
}

static bool is_shared_memory(const struct core_mapping *mapping)
{
    static const char *const names[] = {"/memfd:", "/dev/shm/", "/dev/zero", "/SYSV"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strncmp(mapping->path, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

bool core_memory_is_file(const struct core_mapping *mapping)
{
    return has_name(mapping) && !(mapping->shared && is_shared_memory(mapping));
}

struct collection {
    struct core_memory *memory;
    bool failed;
};

static void collect_present(void *context, uint64_t address, uint64_t n_bytes)
{
    struct collection *collection = context;
    collection->failed |= !add_run(collection->memory, address, address + n_bytes);
}

static void collect_stored(void *context, uint64_t address, uint64_t n_bytes, bool evicted)
{
    struct collection *collection = context;
    collection->failed |= !add_run(collection->memory, address, address + n_bytes);
    if (evicted)
        collection->memory->evicted_bytes += n_bytes;
}

static bool is_in(const struct arena *arena, const struct core_mapping *mapping)
{
    return mapping->start >= arena->base && mapping->end <= arena->base + arena->n_bytes;
}

/* What of a mapping has contents that are in no file. */
static int collect_mapping(struct collection *collection, const struct arena *arena,
                           struct core_mapping *mapping)
{
    bool is_file = core_memory_is_file(mapping);

    if (has_name(mapping) && strncmp(mapping->path, OWN_BLOCK, strlen(OWN_BLOCK)) == 0)
        mapping->left_out = true;
    if (mapping->start >> 63 != 0) /* the kernel's half: [vsyscall] */
        mapping->left_out = true;
    /* Where the pager has pages on their way out; whoever touches an empty place there ends the
     * run. */
    if (mapping->is_registered && !is_in(arena, mapping))
        mapping->left_out = true;
    if (mapping->left_out || (is_file && (mapping->shared || mapping->anonymous_bytes == 0)))
        return 0;
    if (is_file || (mapping->path != NULL && strcmp(mapping->path, "[vdso]") == 0)) {
        collection->failed |= !add_run(collection->memory, mapping->start, mapping->end);
        return 0;
    }
    return residency_scan(arena->pid, mapping->start, mapping->end - mapping->start,
                          collect_present, collection);
}

static int by_start(const void *a, const void *b)
{
    const struct core_run *x = a, *y = b;
    return (x->start > y->start) - (x->start < y->start);
}

/* One after the other, none twice. */
static void merge_runs(struct core_memory *memory)
{
    size_t n = 0;

    if (memory->n_runs > 0)
        qsort(memory->runs, memory->n_runs, sizeof *memory->runs, by_start);
    for (size_t i = 0; i < memory->n_runs; i++) {
        struct core_run run = memory->runs[i];
        if (n > 0 && run.start <= memory->runs[n - 1].end) {
            if (run.end > memory->runs[n - 1].end)
                memory->runs[n - 1].end = run.end;
        } else {
            memory->runs[n++] = run;
        }
    }
    memory->n_runs = n;
}

static bool add_segment(struct core_memory *memory, const struct core_mapping *mapping,
                        uint64_t start, uint64_t end, uint64_t file_bytes)
{
    uint32_t flags = (mapping->readable ? PF_R : 0u) | (mapping->writable ? PF_W : 0u) |
                     (mapping->executable ? PF_X : 0u);

    if (!grow((void **)&memory->segments, memory->n_segments, &memory->most_segments,
              sizeof *memory->segments))
        return false;
    memory->segments[memory->n_segments++] = (struct core_segment){start, end, file_bytes, false,
                                                                   flags};
    return true;
}

/* Of a large mapping, or one that may not be read: where its runs are. `i`: the first of them. */
static bool add_parts(struct core_memory *memory, const struct core_mapping *mapping, size_t i)
{
    uint64_t start = 0, end = 0;
    bool added = true;

    for (; i < memory->n_runs && memory->runs[i].start < mapping->end; i++) {
        struct core_run run = memory->runs[i];
        if (run.start < mapping->start)
            run.start = mapping->start;
        if (run.end > mapping->end)
            run.end = mapping->end;
        if (end > 0 && run.start - end > GAP_BYTES) {
            added = added && add_segment(memory, mapping, start, end, end - start);
            end = 0;
        }
        if (end == 0)
            start = run.start;
        end = run.end;
    }
    return added && (end == 0 || add_segment(memory, mapping, start, end, end - start));
}

/* Of a file that is mapped unchanged: the page that tells which it is. */
static bool add_file(struct core_memory *memory, const struct core_mapping *mapping)
{
    bool has_head = mapping->file_offset == 0 && mapping->readable;

    if (!add_segment(memory, mapping, mapping->start, mapping->end, has_head ? SYS_PAGE_SIZE : 0))
        return false;
    memory->segments[memory->n_segments - 1].is_head = has_head;
    return true;
}

static int make_segments(struct core_memory *memory)
{
    size_t first = 0; /* run that does not end before the mapping */
    bool added = true;

    for (size_t i = 0; i < memory->n_mappings && added; i++) {
        const struct core_mapping *mapping = &memory->mappings[i];
        uint64_t n_bytes = mapping->end - mapping->start;
        while (first < memory->n_runs && memory->runs[first].end <= mapping->start)
            first++;
        bool has_runs = first < memory->n_runs && memory->runs[first].start < mapping->end;
        if (mapping->left_out)
            continue;
        if (core_memory_is_file(mapping) && !has_runs)
            added = add_file(memory, mapping);
        else if (mapping->readable && n_bytes <= WHOLE_MAPPING_BYTES)
            added = add_segment(memory, mapping, mapping->start, mapping->end, n_bytes);
        else
            added = add_parts(memory, mapping, first);
    }
    return added ? 0 : -ENOMEM;
}

int core_memory_find(struct core_memory *memory, const struct arena *arena)
{
    struct collection collection = {memory, false};
    int error = read_mappings(memory, arena->pid);

    /* Present ones first: who is brought back after that, the table still has. */
    for (size_t i = 0; error == 0 && i < memory->n_mappings; i++)
        error = collect_mapping(&collection, arena, &memory->mappings[i]);
    if (error == 0)
        error = arena_walk(arena, collect_stored, &collection);
    if (error == 0 && collection.failed)
        error = -ENOMEM;
    if (error == 0) {
        merge_runs(memory);
        error = make_segments(memory);
    }
    if (error < 0)
        core_memory_free(memory);
    return error;
}

void core_memory_free(struct core_memory *memory)
{
    for (size_t i = 0; i < memory->n_mappings; i++)
        free(memory->mappings[i].path);
    free(memory->mappings);
    free(memory->runs);
    free(memory->segments);
    *memory = (struct core_memory){.n_runs = 0};
}
