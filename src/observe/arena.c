/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arena: another process's page table of the pager, by its own description.
 *
 *   /proc/PID/maps -> libquire-preload.so -> quire_arena_layout -> n_used: which chunks of pages
 *                                                               '-> index: which groups of these
 *                                                                '-> groups: a word a page
 *
 * A group stays where it is as long as one of its pages has contents, so an index that is out of
 * date when the groups are read misleads about pages that have none only. What is read is not
 * trusted: every loop is bounded by the arena's size.
 */
#include "observe/arena.h"

#include "base/sys.h"
#include "observe/image.h"

#include <errno.h>
#include <string.h>

#define PAGES_MOST ((uint64_t)1 << 31)
#define CHUNKS_A_READ 2048u
#define GROUPS_MOST 64u  /* a chunk */
#define ENTRIES_MOST 64u /* a group */

static int check(const struct arena_layout *layout)
{
    if (memcmp(layout->magic, ARENA_LAYOUT_MAGIC, sizeof layout->magic) != 0)
        return -EUCLEAN;
    if (layout->version != ARENA_LAYOUT_VERSION || layout->n_bytes != sizeof *layout)
        return -EPROTONOSUPPORT;
    if (layout->group_shift >= layout->chunk_shift || layout->chunk_shift > 16 ||
        1u << (layout->chunk_shift - layout->group_shift) > GROUPS_MOST ||
        1u << layout->group_shift > ENTRIES_MOST || layout->count_bits > 16 ||
        layout->n_threads > ARENA_MOST_THREADS)
        return -EUCLEAN;
    return 0;
}

static int read_at(int pid, const volatile void *address, void *value, size_t n_bytes)
{
    return image_read(pid, (uintptr_t)address, value, n_bytes);
}

int arena_find(int pid, struct arena *arena)
{
    uint64_t image, address;
    uint32_t n_pages = 0;
    char *base = NULL;

    *arena = (struct arena){.pid = pid};
    int error = image_find(pid, "libquire-preload.so", &image);
    if (error < 0)
        return error;
    error = image_symbol(pid, image, ARENA_LAYOUT_SYMBOL, &address);
    if (error == -ENOENT) /* older than its description */
        return -EPROTONOSUPPORT;
    if (error == 0)
        error = image_read(pid, address, &arena->layout, sizeof arena->layout);
    if (error == 0)
        error = check(&arena->layout);
    if (error == 0)
        error = read_at(pid, arena->layout.base, &base, sizeof base);
    if (error == 0)
        error = read_at(pid, arena->layout.n_pages, &n_pages, sizeof n_pages);
    if (error == -EFAULT || error == -ENOEXEC)
        return -EUCLEAN;
    if (error == 0 && (base == NULL || n_pages == 0))
        return -EAGAIN;
    arena->base = (uintptr_t)base;
    arena->n_bytes = (uint64_t)n_pages << SYS_PAGE_SHIFT;
    return error;
}

int arena_threads(const struct arena *arena, int ids[ARENA_MOST_THREADS])
{
    memset(ids, 0, ARENA_MOST_THREADS * sizeof *ids);
    return read_at(arena->pid, arena->layout.threads, ids, arena->layout.n_threads * sizeof *ids);
}

/* A walk: where the table stands, and the run of pages that has not been told of yet. */
struct walk {
    const struct arena *arena;
    const char *n_used, *index, *groups; /* addresses there */
    arena_visit visit;
    void *context;
    uint64_t begin, end; /* page numbers */
    bool evicted;
};

static void tell(struct walk *walk)
{
    if (walk->end > walk->begin)
        walk->visit(walk->context, walk->arena->base + (walk->begin << SYS_PAGE_SHIFT),
                    (walk->end - walk->begin) << SYS_PAGE_SHIFT, walk->evicted);
}

static void add_page(struct walk *walk, uint64_t page, bool evicted)
{
    if (walk->end != page || walk->evicted != evicted) {
        tell(walk);
        walk->begin = page;
    }
    walk->end = page + 1;
    walk->evicted = evicted;
}

static int walk_chunk(struct walk *walk, uint64_t chunk)
{
    const struct arena_layout *layout = &walk->arena->layout;
    const unsigned n_groups = 1u << (layout->chunk_shift - layout->group_shift);
    const unsigned n_entries = 1u << layout->group_shift;
    uint32_t words[GROUPS_MOST], which[GROUPS_MOST], n = 0;
    struct iovec remote[GROUPS_MOST];
    uint64_t entries[GROUPS_MOST * ENTRIES_MOST];
    int error = read_at(walk->arena->pid, walk->index + chunk * n_groups * sizeof *words, words,
                        n_groups * sizeof *words);

    if (error < 0)
        return error;
    for (uint32_t i = 0; i < n_groups; i++) {
        if (words[i] == 0)
            continue;
        uint64_t group = words[i] >> layout->count_bits;
        which[n] = i;
        remote[n++] = (struct iovec){(char *)(uintptr_t)walk->groups +
                                         group * n_entries * sizeof *entries,
                                     n_entries * sizeof *entries};
    }
    if (n == 0)
        return 0;
    size_t n_bytes = (size_t)n * n_entries * sizeof *entries;
    ssize_t n_read = sys_process_vm_readv(walk->arena->pid, entries, n_bytes, remote, n);
    if (n_read != (ssize_t)n_bytes)
        return n_read < 0 ? (int)n_read : -EUCLEAN;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t first = (chunk << layout->chunk_shift) +
                         ((uint64_t)which[i] << layout->group_shift);
        for (uint32_t k = 0; k < n_entries; k++) {
            uint32_t state = (uint32_t)entries[i * n_entries + k] & layout->state_mask;
            if (state != 0)
                add_page(walk, first + k, state != layout->resident_state);
        }
    }
    return 0;
}

static int walk_chunks(struct walk *walk, uint64_t n_chunks)
{
    uint16_t n_used[CHUNKS_A_READ];
    const struct arena *arena = walk->arena;

    for (uint64_t at = 0; at < n_chunks; at += CHUNKS_A_READ) {
        uint64_t n = n_chunks - at < CHUNKS_A_READ ? n_chunks - at : CHUNKS_A_READ;
        int error = read_at(arena->pid, walk->n_used + at * sizeof *n_used, n_used,
                            n * sizeof *n_used);
        for (uint64_t i = 0; error == 0 && i < n; i++)
            if ((n_used[i] & arena->layout.used_mask) != 0)
                error = walk_chunk(walk, at + i);
        if (error < 0)
            return error;
    }
    return 0;
}

int arena_walk(const struct arena *arena, arena_visit visit, void *context)
{
    const struct arena_layout *layout = &arena->layout;
    struct walk walk = {.arena = arena, .visit = visit, .context = context};
    uint32_t highest = 0;
    int error = read_at(arena->pid, layout->highest, &highest, sizeof highest);

    if (error == 0)
        error = read_at(arena->pid, layout->n_used, &walk.n_used, sizeof walk.n_used);
    if (error == 0)
        error = read_at(arena->pid, layout->index, &walk.index, sizeof walk.index);
    if (error == 0)
        error = read_at(arena->pid, layout->groups, &walk.groups, sizeof walk.groups);
    if (error < 0)
        return error;
    if (highest > PAGES_MOST || (uint64_t)highest << SYS_PAGE_SHIFT > arena->n_bytes)
        return -EUCLEAN;
    error = walk_chunks(&walk,
                        (highest + (1ull << layout->chunk_shift) - 1) >> layout->chunk_shift);
    if (error == 0)
        tell(&walk);
    return error;
}
