/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scrub: which bytes of a page are dead, asked by the pager about a copy of it.
 *
 *    page      |..object 6][object 7][object 8][object 9].. tail ....|
 *    bits           1         0         0         1
 *    dead                 ^------------------^           ^-----------^
 *
 * Called by threads that may take no lock of the heap: a lock's holder may wait for the very page.
 * So it reads the tables as they change, and must be right about every object that is live all the
 * while:
 *
 *   - the entry of a page of a run that is held does not change (runs.c, invariant 3);
 *   - span structs are never unmapped, and their generation tells whether what was read belongs
 *     together (span.c, invariant 1);
 *   - an object's bit is set before it is handed out (span.c, invariant 4).
 *
 * The dead ranges are found first, then the generation and the entry are read again, and only if
 * both are what they were is the copy written. An object that becomes live in between was given to
 * its owner after the copy was made; its contents are undefined until the owner writes them, and
 * that write takes the page back, copy and all.
 */
#include "heap/span.h"

#include <string.h>

/* Objects of 16 bytes, every other one dead, and the tail. */
#define MAX_RANGES (SYS_PAGE_SIZE / 32 + 2)

struct dead {
    size_t n_bytes;
    unsigned n_ranges;
    struct {
        uint16_t begin, end;
    } ranges[MAX_RANGES]; /* offsets in the page, rising, no two touching */
};

static void add_range(struct dead *dead, size_t begin, size_t end)
{
    dead->n_bytes += end - begin;
    if (dead->n_ranges > 0 && dead->ranges[dead->n_ranges - 1].end == begin) {
        dead->ranges[dead->n_ranges - 1].end = (uint16_t)end;
        return;
    }
    dead->ranges[dead->n_ranges].begin = (uint16_t)begin;
    dead->ranges[dead->n_ranges++].end = (uint16_t)end;
}

/* The dead bytes of the page at `offset` in a span of that class, which holds n_objects. */
static void find_dead(const struct span *span, unsigned sclass, size_t n_objects, size_t offset,
                      struct dead *dead)
{
    size_t size = class_size(sclass), end = offset + SYS_PAGE_SIZE, from = offset;

    for (size_t index = class_index(sclass, offset); from < end; index++) {
        size_t to = index < n_objects ? (index + 1) * size : end;
        if (to > end)
            to = end;
        if (index >= n_objects || !span_is_live(span, index))
            add_range(dead, from - offset, to - offset);
        from = to;
    }
}

/* Of a span of the class; the last ones may be tail from end to end. */
static size_t most_pages(unsigned sclass)
{
    const struct class_shape *shape = &class_shapes[sclass];
    return shape->n_pages[CLASS_SPAN_FIRST] > shape->n_pages[CLASS_SPAN_LATER]
               ? shape->n_pages[CLASS_SPAN_FIRST]
               : shape->n_pages[CLASS_SPAN_LATER];
}

/* What find_dead says about a span that is one and the same all the while; else false. */
static bool inspect(const struct heap *heap, uint32_t entry, size_t page, struct dead *dead)
{
    const struct span *span = span_at(heap, entry);
    /* acquire: pairs with the release stores of span.c's become() */
    uint32_t generation = atomic_load_explicit(&span->generation, memory_order_acquire);
    unsigned sclass = atomic_load_explicit(&span->sclass, memory_order_acquire);
    size_t first = atomic_load_explicit(&span->first_page, memory_order_acquire);
    size_t n_objects = atomic_load_explicit(&span->n_objects, memory_order_acquire);
    if (generation % 2 != 0 || sclass != run_code(entry) || page < first)
        return false;
    if (page - first >= most_pages(sclass)) /* not this span's */
        return false;
    find_dead(span, sclass, n_objects, (page - first) << SYS_PAGE_SHIFT, dead);
    /* all loads above acquire, so these are not done before them */
    return atomic_load_explicit(&span->generation, memory_order_relaxed) == generation &&
           run_entry(heap, page) == entry;
}

size_t heap_scrub(const void *page, void *copy)
{
    const struct heap *heap = &heap_process;
    size_t number = run_page(heap, page);
    struct dead dead = {.n_bytes = 0};

    if (number >= heap->runs.n_pages)
        return 0;
    uint32_t entry = runs_find(heap, number);
    if (run_code(entry) == RUN_LARGE)
        return 0;
    if (entry == RUN_NONE)
        add_range(&dead, 0, SYS_PAGE_SIZE);
    else if (!inspect(heap, entry, number, &dead))
        return 0;
    for (unsigned i = 0; i < dead.n_ranges; i++)
        memset((char *)copy + dead.ranges[i].begin, 0,
               (size_t)(dead.ranges[i].end - dead.ranges[i].begin));
    return dead.n_bytes;
}
