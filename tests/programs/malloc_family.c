/* SPDX-License-Identifier: Apache-2.0 */
/*
 * malloc_family: every allocating function of libc, at random, with contents checked whenever an
 * object is reallocated or freed; then what each of them promises at its edges.
 */
#include "helper.h"

#include <malloc.h>

enum { N_OBJECTS = 60000, N_STEPS = 250000, N_KINDS = 8 };

struct object {
    unsigned char *data;
    size_t n_bytes;
    uint64_t seed;
};

static struct object *objects;
static uint64_t random_state = 1;

static uint64_t next(void)
{
    return mix(random_state++);
}

static size_t any_size(void)
{
    uint64_t r = next();
    switch (r % 40) {
    case 0:
        return r / 40 % 300000;
    case 1:
    case 2:
        return r / 40 % 20000;
    default:
        return r / 40 % 700;
    }
}

static void *allocate(size_t n_bytes)
{
    size_t alignment = (size_t)1 << (4 + next() % 10);
    void *data = NULL;
    switch (next() % N_KINDS) {
    case 0:
        data = calloc(n_bytes / 3 + 1, 3);
        for (size_t i = 0; i < n_bytes; i++)
            if (((char *)data)[i] != 0)
                fail("calloc: byte %zu of %zu is not 0", i, n_bytes);
        return data;
    case 1:
        EXPECT(posix_memalign(&data, alignment, n_bytes) == 0);
        break;
    case 2:
        data = aligned_alloc(alignment, n_bytes);
        break;
    case 3:
        data = memalign(alignment, n_bytes);
        break;
    case 4:
        alignment = PAGE;
        data = valloc(n_bytes);
        break;
    case 5:
        alignment = 16;
        data = reallocarray(NULL, n_bytes + 1, 1);
        break;
    default:
        alignment = 16;
        data = malloc(n_bytes);
    }
    EXPECT(data);
    if ((uintptr_t)data % (n_bytes < 16 && alignment == 16 ? 8 : alignment) != 0)
        fail("%p is not aligned to %zu", data, alignment);
    return data;
}

static void at_random(void)
{
    for (size_t step = 0; step < N_STEPS; step++) {
        struct object *o = &objects[next() % N_OBJECTS];
        if (o->data)
            pattern_check(o->data, o->n_bytes, o->seed, "an object");
        if (o->data && next() % 4 == 0) {
            size_t n_bytes = any_size() + 1;
            o->data = realloc(o->data, n_bytes);
            EXPECT(o->data);
            pattern_check(o->data, n_bytes < o->n_bytes ? n_bytes : o->n_bytes, o->seed,
                          "a reallocated object");
            o->n_bytes = n_bytes;
        } else if (o->data) {
            free(o->data);
            o->data = NULL;
            continue;
        } else {
            o->n_bytes = any_size();
            o->data = allocate(o->n_bytes);
        }
        EXPECT(malloc_usable_size(o->data) >= o->n_bytes);
        o->seed = step;
        pattern_fill(o->data, o->n_bytes, o->seed);
        if (step % 80000 == 40000)
            press();
    }
    for (size_t i = 0; i < N_OBJECTS; i++) {
        if (objects[i].data)
            pattern_check(objects[i].data, objects[i].n_bytes, objects[i].seed, "a last object");
        free(objects[i].data);
    }
}

static void edges(void)
{
    volatile size_t huge = (size_t)-1 / 2; /* volatile: compilers warn of the sizes otherwise */
    void *p = malloc(0), *q = malloc(0);
    EXPECT(p && q && p != q);
    free(q);
    errno = 0;
    EXPECT(malloc(huge) == NULL && errno == ENOMEM);
    errno = 0;
    EXPECT(calloc(huge, 4) == NULL && errno == ENOMEM);
    errno = 0;
    EXPECT(reallocarray(p, huge, 4) == NULL && errno == ENOMEM);
    EXPECT(realloc(p, huge) == NULL && errno == ENOMEM);
    free(p);
    free(NULL);
    EXPECT(malloc_usable_size(NULL) == 0);
    p = NULL;
    EXPECT(posix_memalign(&p, 24, 8) == EINVAL && posix_memalign(&p, 2, 8) == EINVAL);
    EXPECT((p = pvalloc(5000)) && (uintptr_t)p % PAGE == 0 && malloc_usable_size(p) >= 2 * PAGE);
    errno = 77;
    free(p);
    EXPECT(errno == 77);
    EXPECT((p = realloc(NULL, 100)) != NULL);
    EXPECT(realloc(p, 0) == NULL); /* frees, as glibc does */
}

static void informers(void)
{
    struct mallinfo2 before = mallinfo2();
    char *p = malloc(10 * MIB);
    EXPECT(p);
    struct mallinfo2 after = mallinfo2();
    size_t used_before = before.uordblks + before.hblkhd, used = after.uordblks + after.hblkhd;
    EXPECT(used >= used_before + 10 * MIB && used < used_before + 12 * MIB);
    free(p);
    EXPECT(mallopt(M_MMAP_THRESHOLD, 1 << 20) == 1);
    malloc_trim(0);
    char *text = NULL;
    size_t n_text = 0;
    FILE *stream = open_memstream(&text, &n_text);
    EXPECT(malloc_info(0, stream) == 0 && fclose(stream) == 0);
    EXPECT(strstr(text, "<malloc") && strstr(text, "</malloc>"));
    free(text);
}

int main(int argc, char **argv)
{
    helper_init(argc, argv);
    objects = calloc(N_OBJECTS, sizeof *objects);
    EXPECT(objects);
    edges();
    at_random();
    informers();
    free(objects);
    return helper_done();
}
