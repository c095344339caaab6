/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private heaps, hardened or not, on the caller's memory, under random operations. The oracle is a
 * list of objects, each full of a pattern of its own, and a bit for each 16 bytes of the memory.
 *
 *    heap_private_model [SEED [N_OPERATIONS]]
 */
#include "heap_random.h"
#include <quire/heap.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define N_BYTES ((size_t)16 << 20)
#define N_SLOTS 4000u

static struct object {
    unsigned char *address;
    size_t n_bytes;
    unsigned char pattern;
} slots[N_SLOTS];
static unsigned char taken[N_BYTES / 16];
static unsigned char *memory;
static struct quire_heap *heap;

static void mark(const struct object *object, bool on)
{
    size_t unit = (size_t)(object->address - memory) / 16, end = unit + (object->n_bytes + 15) / 16;
    require(object->address >= memory && end <= N_BYTES / 16, "outside of the memory");
    for (; unit < end; unit++) {
        require(taken[unit] != on, "objects overlap");
        taken[unit] = on;
    }
}

static void check(const struct object *object, size_t n_bytes)
{
    for (size_t i = 0; i < n_bytes; i++)
        require(object->address[i] == object->pattern, "contents were lost");
}

static size_t random_size(void)
{
    return random_next() & (((uint64_t)1 << random_next() % 18) - 1);
}

static void put(struct object *object, void *address, size_t n_bytes)
{
    object->address = address;
    object->n_bytes = n_bytes;
    require((uintptr_t)address % 16 == 0 && quire_heap_owns(heap, address), "a wrong address");
    require(quire_heap_usable_size(heap, address) >= n_bytes, "too small");
    mark(object, true);
    memset(address, object->pattern, n_bytes);
}

static void allocate(struct object *object)
{
    size_t n_bytes = random_size(), alignment = (size_t)1 << random_next() % 15;
    unsigned char *address;

    object->pattern = (unsigned char)random_next();
    if (random_next() % 4 == 0) {
        address = quire_heap_memalign(heap, alignment, n_bytes);
        require((uintptr_t)address % alignment == 0, "not aligned");
    } else if (random_next() % 2 == 0) {
        address = quire_heap_calloc(heap, 1, n_bytes);
        for (size_t i = 0; address != NULL && i < n_bytes; i++)
            require(address[i] == 0, "calloc is not zero");
    } else {
        address = quire_heap_malloc(heap, n_bytes);
    }
    if (address != NULL)
        put(object, address, n_bytes);
}

static void resize(struct object *object)
{
    size_t n_bytes = random_size() + 1,
           kept = object->n_bytes < n_bytes ? object->n_bytes : n_bytes;

    check(object, object->n_bytes);
    mark(object, false);
    void *address = quire_heap_realloc(heap, object->address, n_bytes);
    if (address == NULL) {
        mark(object, true);
        return;
    }
    object->address = address;
    check(object, kept);
    put(object, address, n_bytes);
}

static void release(struct object *object)
{
    check(object, object->n_bytes);
    mark(object, false);
    quire_heap_free(heap, object->address);
    object->address = NULL;
}

static void step(void)
{
    struct object *object = &slots[random_next() % N_SLOTS];

    if (object->address == NULL)
        allocate(object);
    else if (random_next() % 3 == 0)
        resize(object);
    else
        release(object);
    if (operation % 2048 == 0)
        require(quire_heap_validate(heap) == 0, "the heap is not valid");
    if (operation % 8192 == 0)
        quire_heap_trim(heap);
    if (operation % 20000 == 0) {
        for (unsigned i = 0; i < N_SLOTS; i++)
            if (slots[i].address != NULL)
                check(&slots[i], slots[i].n_bytes);
        require(quire_heap_free_all(heap) == 0, "free_all failed");
        memset(slots, 0, sizeof slots);
        memset(taken, 0, sizeof taken);
        require(quire_heap_validate(heap) == 0, "the heap is not valid after free_all");
    }
}

static void run(unsigned flags, unsigned long n_operations)
{
    struct quire_heap_config config = {.memory = memory, .memory_bytes = N_BYTES, .flags = flags};
    require(quire_heap_new(&config, &heap) == 0, "no heap");
    memset(slots, 0, sizeof slots);
    memset(taken, 0, sizeof taken);
    for (operation = 1; operation <= n_operations; operation++)
        step();
    require(quire_heap_delete(heap) == 0, "not deleted");
}

int main(int argc, char **argv)
{
    const char *given = getenv("QUIRE_TEST_SEED");
    seed = given != NULL ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    seed = argc > 1 ? strtoull(argv[1], NULL, 0) : seed * 2654435761u | 1;
    unsigned long n_operations = argc > 2 ? strtoul(argv[2], NULL, 0) : 50000;
    printf("heap_private_model %#lx %lu\n", (unsigned long)seed, n_operations);

    memory = mmap(NULL, N_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return 1;
    run(QUIRE_HEAP_ZEROED, n_operations);
    run(QUIRE_HEAP_HARDENED, n_operations);
    return 0;
}
