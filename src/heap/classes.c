/* SPDX-License-Identifier: Apache-2.0 */
/*
 * classes: the sizes in which small objects come, and the spans that they are carved from.
 *
 *   16 32 48 ... 128        steps of 16
 *   144 160 ... 256         then eight steps to each doubling
 *   288 320 ... 512         ...
 *   18432 ... 32768
 *
 * Invariants
 *   1. A request above 128 bytes wastes at most 1/9 of its object (a request of 2^k + 1 gets
 *      2^k * 9/8).
 *   2. For a power of two `a` <= 4096, class_of(round_up(n, a)) is a size that `a` divides: above
 *      128 the sizes in (2^k, 2^(k+1)] are all multiples of 2^k / 8, so either `a` divides the
 *      step or the rounded request is itself a size. Spans start on page borders, so such objects
 *      are aligned to `a`: heap_memalign needs no class of its own.
 *   3. At most 1/32 of a span, 1/16 of one of the first, is a tail in which no object fits.
 *
 * A class begins with spans of 16 KiB, or the power of two that fits, so that a program that needs
 * a few objects of many sizes does not hold much, and that one span fits where another was; once it
 * has some, spans of 64 KiB or at least eight objects follow.
 */
#include "heap/classes.h"

#include "base/checked.h"
#include "base/lock.h"
#include "base/sys.h"

#include <stdbool.h>

#define FIRST_SPAN_BYTES (16u << 10)
#define LATER_SPAN_BYTES (64u << 10)
#define MAX_CACHED_BYTES (64u << 10) /* of one class in one thread's cache */
#define MAX_CACHED 1023u

struct class_shape class_shapes[CLASS_COUNT + 1];
uint8_t class_by_units[(CLASS_MAX_BYTES >> CLASS_UNIT_SHIFT) + 1];

static uint32_t size_of(unsigned sclass)
{
    if (sclass <= 8)
        return sclass * 16;
    unsigned doubling = (sclass - 9) / 8, step = (sclass - 9) % 8 + 1;
    uint32_t below = 128u << doubling;
    return below + step * (below / 8);
}

/* The fewest pages, at least min_bytes, of which size-byte objects fill all but 1/32. */
static uint16_t pages_for(uint32_t size, uint32_t min_bytes)
{
    size_t n_bytes = round_up(min_bytes, SYS_PAGE_SIZE);
    while (n_bytes % size > n_bytes / 32)
        n_bytes += SYS_PAGE_SIZE;
    return (uint16_t)(n_bytes >> SYS_PAGE_SHIFT);
}

/*
 * The fewest pages, a power of two of them and at least min_bytes, of which size-byte objects fill
 * all but 1/16: what comes and goes leaves room that the next one fits into.
 */
static uint16_t whole_block_for(uint32_t size, uint32_t min_bytes)
{
    size_t n_bytes = (size_t)1 << log2_ceil(min_bytes);
    while (n_bytes % size > n_bytes / 16)
        n_bytes *= 2;
    return (uint16_t)(n_bytes >> SYS_PAGE_SHIFT);
}

static uint32_t max_of(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

static void fill_tables(void)
{
    unsigned n_units = 0;

    for (unsigned sclass = 1; sclass <= CLASS_COUNT; sclass++) {
        struct class_shape *shape = &class_shapes[sclass];
        uint32_t size = size_of(sclass);
        shape->size = size;
        shape->reciprocal = (((uint64_t)1 << 40) + size - 1) / size;
        shape->n_pages[CLASS_SPAN_FIRST] = whole_block_for(size,
                                                           max_of(FIRST_SPAN_BYTES, 2 * size));
        shape->n_pages[CLASS_SPAN_LATER] = pages_for(size, max_of(LATER_SPAN_BYTES, 8 * size));
        for (unsigned i = 0; i < CLASS_N_SPANS; i++)
            shape->n_objects[i] = (uint16_t)(shape->n_pages[i] * SYS_PAGE_SIZE / size);
        uint32_t cached = MAX_CACHED_BYTES / size;
        shape->max_cached = (uint16_t)(cached < MAX_CACHED ? cached : MAX_CACHED);
        while (n_units <= size >> CLASS_UNIT_SHIFT)
            class_by_units[n_units++] = (uint8_t)sclass;
    }
}

void class_init(void)
{
    static struct lock lock;
    static bool filled; /* under `lock` */

    lock_take(&lock);
    if (!filled)
        fill_tables();
    filled = true;
    lock_release(&lock);
}
