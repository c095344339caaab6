/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The heap under random operations, against an oracle that knows the owner of every 16 bytes of
 * the range. Every object is filled with a pattern of its own; the oracle finds overlap, wrong
 * alignment, lost contents, calloc that isn't zero and scrubbing of live bytes.
 *
 *    heap_model [SEED [N_OPERATIONS]]
 */
#include "heap_random.h"
#include "heap_source.h"

#include <stdio.h>
#include <time.h>

#define N_PAGES ((size_t)16384)
#define N_SLOTS 3000u
#define UNITS_PER_PAGE (HEAP_SOURCE_PAGE / 16)

static struct object {
    unsigned char *address;
    size_t n_bytes;
    unsigned char pattern;
} slots[N_SLOTS];
static uint16_t *owners; /* by 16 bytes: slot + 1, or 0 */

static size_t random_size(void)
{
    unsigned bits = (unsigned)(random_next() % 20);
    if (random_next() % 64 == 0)
        bits = 22;
    return (random_next() & (((uint64_t)1 << bits) - 1)) + (bits == 0 ? 0 : 1);
}

static unsigned char pattern_at(const struct object *object, size_t at)
{
    return (unsigned char)((object->pattern + at * 7) | 1);
}

static void own(unsigned slot, bool owned)
{
    const struct object *object = &slots[slot];
    size_t unit = (size_t)(object->address - (unsigned char *)heap_test.base) / 16;
    size_t n = heap_usable_size(object->address) / 16;

    for (size_t i = 0; i < n; i++) {
        require(owners[unit + i] == (owned ? 0 : slot + 1), "objects overlap");
        owners[unit + i] = (uint16_t)(owned ? slot + 1 : 0);
    }
}

static void fill(unsigned slot, unsigned char *address, size_t from, size_t n_bytes)
{
    struct object *object = &slots[slot];
    object->address = address;
    object->n_bytes = n_bytes;
    require((uintptr_t)address % 16 == 0, "an object is not aligned");
    require(heap_usable_size(address) >= n_bytes, "an object is too small");
    require(heap_owns(address) && (n_bytes == 0 || heap_owns(address + n_bytes - 1)), "not owned");
    own(slot, true);
    for (size_t at = from; at < n_bytes; at++)
        address[at] = pattern_at(object, at);
}

static void check(const struct object *object, size_t n_bytes)
{
    for (size_t at = 0; at < n_bytes; at++)
        require(object->address[at] == pattern_at(object, at), "contents were lost");
}

static void allocate(unsigned slot)
{
    size_t n_bytes = random_size(), alignment = (size_t)1 << random_next() % 16;
    unsigned char *address;

    slots[slot].pattern = (unsigned char)random_next();
    switch (random_next() % 4) {
    case 0:
        address = heap_calloc(n_bytes);
        for (size_t at = 0; address != NULL && at < n_bytes; at++)
            require(address[at] == 0, "calloc is not zero");
        break;
    case 1:
        address = heap_memalign(alignment, n_bytes);
        require((uintptr_t)address % alignment == 0, "memalign is not aligned");
        break;
    default:
        address = heap_malloc(n_bytes);
    }
    if (address != NULL)
        fill(slot, address, 0, n_bytes);
}

static void release(unsigned slot)
{
    check(&slots[slot], slots[slot].n_bytes);
    own(slot, false);
    heap_free(slots[slot].address);
    slots[slot].address = NULL;
}

static void resize(unsigned slot)
{
    struct object *object = &slots[slot];
    size_t n_bytes = random_size() + 1, kept = object->n_bytes;

    if (random_next() % 2 == 0)
        n_bytes = kept + random_next() % (kept / 4 + 16);
    own(slot, false);
    unsigned char *address = heap_realloc(object->address, n_bytes + 1);
    if (address == NULL) {
        own(slot, true);
        return;
    }
    fill(slot, address, kept, n_bytes);
    check(object, kept < n_bytes ? kept : n_bytes);
}

/* What is scrubbed is dead; what is dead and in no thread cache is scrubbed. */
static void scrub(bool trimmed)
{
    static unsigned char copy[HEAP_SOURCE_PAGE];
    size_t page = random_next() % N_PAGES, n_zeroed = 0, n_owned = 0;
    unsigned slot = (unsigned)(random_next() % N_SLOTS);

    if (slots[slot].address != NULL && random_next() % 8 != 0)
        page = (size_t)(slots[slot].address - (unsigned char *)heap_test.base) / HEAP_SOURCE_PAGE;
    memset(copy, 0xff, sizeof(copy));
    size_t n_dead = heap_scrub(heap_test.base + page * HEAP_SOURCE_PAGE, copy);
    for (size_t unit = 0; unit < UNITS_PER_PAGE; unit++) {
        bool owned = owners[page * UNITS_PER_PAGE + unit] != 0;
        for (size_t at = unit * 16; at < unit * 16 + 16; at++) {
            require(copy[at] == 0xff || !owned, "live bytes were scrubbed");
            n_zeroed += copy[at] == 0;
        }
        n_owned += owned;
    }
    require(n_zeroed == n_dead, "scrub miscounts");
    if (trimmed)
        require(n_dead + n_owned * 16 == HEAP_SOURCE_PAGE, "dead bytes were left");
}

static void audit(void)
{
    struct heap_counts counts;
    size_t n_live = 0;

    require(heap_validate() == 0, "the heap is not valid");
    bool trim = random_next() % 2 == 0;
    if (trim) {
        heap_trim();
        require(heap_validate() == 0, "the heap is not valid after a trim");
        heap_counts(&counts);
        for (unsigned slot = 0; slot < N_SLOTS; slot++)
            n_live += slots[slot].address != NULL;
        require(counts.n_small + counts.n_large == n_live, "objects are miscounted");
        require(counts.cached_bytes == 0, "the cache was not emptied");
        require(counts.span_bytes + counts.large_bytes == heap_test.n_held * HEAP_SOURCE_PAGE,
                "pages are miscounted");
    }
    for (unsigned i = 0; i < 50; i++)
        scrub(trim);
}

static void step(void)
{
    unsigned slot = (unsigned)(random_next() % N_SLOTS);

    if (slots[slot].address == NULL)
        allocate(slot);
    else if (random_next() % 3 == 0)
        resize(slot);
    else
        release(slot);
    if (operation % 64 == 0)
        scrub(false);
    if (operation % 4096 == 0) {
        heap_test.warm = random_next() % 2;
        heap_test.no_extend = random_next() % 2;
        audit();
    }
}

int main(int argc, char **argv)
{
    const char *given = getenv("QUIRE_TEST_SEED");
    seed = given != NULL ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    seed = argc > 1 ? strtoull(argv[1], NULL, 0) : seed * 2654435761u | 1;
    unsigned long n_operations = argc > 2 ? strtoul(argv[2], NULL, 0) : 100000;
    printf("heap_model %#lx %lu\n", (unsigned long)seed, n_operations);

    owners = calloc(N_PAGES * UNITS_PER_PAGE, sizeof(*owners));
    if (owners == NULL || heap_test_init(N_PAGES) != 0)
        return 1;
    for (operation = 1; operation <= n_operations; operation++)
        step();
    for (unsigned slot = 0; slot < N_SLOTS; slot++)
        if (slots[slot].address != NULL)
            release(slot);
    heap_trim();
    require(heap_validate() == 0 && heap_test.n_held == 0, "pages were lost");
    free(owners);
    return 0;
}
