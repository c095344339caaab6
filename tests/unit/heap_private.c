/* SPDX-License-Identifier: Apache-2.0 */
/* <quire/heap.h>: private heaps on memory of their own and of the caller's, and the process's heap
 * as a linked library has it. */
#include <quire/heap.h>

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h> /* wants the ones above */

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

/* From here on the compiler does not know how long the object is. */
static void *hide(void *object)
{
    __asm__ volatile("" : "+r"(object));
    return object;
}

static bool is_zero(const char *bytes, size_t n_bytes)
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, n_bytes - 1) == 0;
}

static struct quire_heap *make(unsigned flags)
{
    const struct quire_heap_config config = {.flags = flags};
    struct quire_heap *heap = NULL;
    assert_int_equal(quire_heap_new(&config, &heap), 0);
    return heap;
}

static void fill_some(struct quire_heap *heap)
{
    for (size_t i = 1; i < 20000; i++) {
        char *object = quire_heap_malloc(heap, i % 3000);
        assert_non_null(object);
        memset(object, 0x55, i % 3000);
    }
    for (size_t i = 0; i < 50; i++)
        memset(quire_heap_malloc(heap, 100 * KIB), 0x66, 100 * KIB);
}

static void free_all_frees_all(void **state)
{
    for (unsigned flags = 0; flags < 2; flags++) {
        struct quire_heap *heap = make(flags);
        struct quire_heap_counts counts;
        for (unsigned round = 0; round < 5; round++) {
            fill_some(heap);
            quire_heap_counts(heap, &counts);
            assert_int_equal(counts.n_small, 19999);
            assert_int_equal(counts.n_large, 50);
            assert_int_equal(quire_heap_validate(heap), 0);
            assert_int_equal(quire_heap_free_all(heap), 0);
            assert_int_equal(quire_heap_validate(heap), 0);
            quire_heap_counts(heap, &counts);
            assert_int_equal(counts.n_small + counts.n_large + counts.used_bytes, 0);
            assert_int_equal(counts.requested_bytes, 0);
            char *zeros = quire_heap_calloc(heap, 3000, 1);
            assert_true(is_zero(zeros, 3000));
            quire_heap_free(heap, zeros);
            quire_heap_trim(heap); /* or a hardened heap still holds it */
        }
        fill_some(heap);
        assert_int_equal(quire_heap_free_all(heap), 0);
        assert_true(quire_heap_trim(heap));
        quire_heap_counts(heap, &counts);
        assert_int_equal(counts.warm_bytes, 0);
        assert_int_equal(quire_heap_delete(heap), 0);
    }
}

static void on_the_caller_s_memory(void **state)
{
    enum { N_BYTES = 4 << 20 };
    for (unsigned flags = 0; flags < 4; flags++) { /* hardened, zeroed */
        size_t n_metadata = quire_heap_metadata_bytes(N_BYTES, flags);
        char *memory = mmap(NULL, N_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                            0);
        struct quire_heap_config config = {
            .memory = memory,
            .memory_bytes = N_BYTES,
            .metadata = aligned_alloc(64, n_metadata),
            .metadata_bytes = n_metadata,
            .flags = flags,
        };
        struct quire_heap *heap;
        if ((flags & QUIRE_HEAP_ZEROED) == 0)
            memset(memory, 0x5a, N_BYTES);
        memset(config.metadata, 0, n_metadata);
        assert_int_equal(quire_heap_new(&config, &heap), 0);
        size_t n = 0;
        for (char *object; (object = quire_heap_calloc(heap, 1, 1000)) != NULL; n++) {
            assert_true(object >= memory && object + 1000 <= memory + N_BYTES);
            assert_true(is_zero(object, 1000));
            memset(object, 1, 1000);
        }
        assert_int_equal(errno, ENOMEM);
        assert_true(n > N_BYTES / 1024 * 9 / 10);
        assert_int_equal(quire_heap_validate(heap), 0);
        assert_int_equal(quire_heap_free_all(heap), 0);
        assert_non_null(quire_heap_malloc(heap, 1 * MIB));
        assert_int_equal(quire_heap_delete(heap), 0);
        free(config.metadata);
        munmap(memory, N_BYTES);
    }
}

static void wrong_configurations(void **state)
{
    static _Alignas(4096) char memory[64 << 10];
    static _Alignas(64) char metadata[64];
    struct quire_heap *heap;
    struct quire_heap_config config = {.memory = memory + 16, .memory_bytes = sizeof memory};

    assert_int_equal(quire_heap_new(&config, &heap), -EINVAL);
    config = (struct quire_heap_config){.memory = memory, .memory_bytes = 60 * KIB};
    assert_int_equal(quire_heap_new(&config, &heap), -EINVAL);
    config = (struct quire_heap_config){.memory = memory, .memory_bytes = 65 * KIB};
    assert_int_equal(quire_heap_new(&config, &heap), -EINVAL);
    config = (struct quire_heap_config){.flags = 8};
    assert_int_equal(quire_heap_new(&config, &heap), -EINVAL);
    config = (struct quire_heap_config){.memory_bytes = QUIRE_HEAP_MAX_BYTES + 1};
    assert_int_equal(quire_heap_new(&config, &heap), -EINVAL);
    config = (struct quire_heap_config){.memory = memory,
                                        .memory_bytes = sizeof memory,
                                        .metadata = metadata,
                                        .metadata_bytes = sizeof metadata};
    assert_int_equal(quire_heap_new(&config, &heap), -ENOSPC);
    config.metadata = metadata + 1;
    assert_int_equal(quire_heap_new(&config, &heap), -EINVAL);
    assert_int_equal(quire_heap_metadata_bytes(1, 0), 0);
    assert_int_equal(quire_heap_metadata_bytes(MIB, 64), 0);
    assert_int_equal(quire_heap_delete(NULL), 0);
}

static void the_family_s_meaning(void **state)
{
    for (unsigned which = 0; which < 3; which++) {
        struct quire_heap *heap = which == 2 ? quire_heap_process() : make(which);
        assert_non_null(heap);
        quire_heap_free(heap, NULL);
        assert_int_equal(quire_heap_usable_size(heap, NULL), 0);
        char *object = quire_heap_realloc(heap, NULL, 100);
        assert_true(quire_heap_owns(heap, object) && quire_heap_owns(heap, object + 99));
        assert_false(quire_heap_owns(heap, &heap));
        memset(object, 7, 100);
        for (size_t n = 200; n < 4 * MIB; n = n * 5 / 3) {
            object = quire_heap_realloc(heap, object, n);
            assert_true(quire_heap_usable_size(heap, object) >= n);
            assert_int_equal(object[99], 7);
        }
        object = quire_heap_realloc(heap, object, 100);
        assert_int_equal(object[99], 7);
        assert_null(quire_heap_realloc(heap, object, 0));
        volatile size_t much = SIZE_MAX - 100;
        errno = 0;
        assert_null(quire_heap_calloc(heap, much / 2, 3));
        assert_int_equal(errno, ENOMEM);
        assert_null(quire_heap_malloc(heap, much));
        object = quire_heap_malloc(heap, 50000);
        assert_null(quire_heap_realloc(heap, object, much));
        quire_heap_free(heap, object);
        volatile size_t odd = 24;
        assert_null(quire_heap_memalign(heap, odd, 1));
        assert_int_equal(errno, EINVAL);
        for (size_t alignment = 1; alignment <= 8 * MIB; alignment *= 2) {
            object = quire_heap_memalign(heap, alignment, 100);
            assert_int_equal((uintptr_t)object % alignment, 0);
            memset(object, 1, 100);
            quire_heap_free(heap, object);
        }
        assert_int_equal(quire_heap_validate(heap), 0);
        assert_int_equal(quire_heap_delete(heap), which == 2 ? -EINVAL : 0);
        if (which == 2)
            assert_int_equal(quire_heap_free_all(heap), -EINVAL);
    }
}

static void counts_add_up(void **state)
{
    for (unsigned flags = 0; flags < 2; flags++) {
        struct quire_heap *heap = make(flags);
        struct quire_heap_counts counts;
        struct quire_heap_class one;
        size_t n_live = 0, n_bytes = 0, n_room = 0, n_larger = 0;

        fill_some(heap);
        quire_heap_counts(heap, &counts);
        for (unsigned i = 0; quire_heap_class(heap, i, &one); i++) {
            assert_true(one.object_bytes > n_larger);
            n_larger = one.object_bytes;
            assert_true(one.n_live <= one.n_objects);
            assert_true(one.n_objects * one.object_bytes <= one.span_pages * 4096);
            assert_true(one.n_objects * one.object_bytes * 32 >= one.span_pages * 4096 * 31);
            n_live += one.n_live;
            n_bytes += one.span_pages * 4096;
            n_room += one.n_objects;
        }
        assert_int_equal(n_live, counts.n_small);
        assert_int_equal(n_bytes, counts.span_bytes);
        assert_true(n_room >= n_live);
        assert_int_equal(counts.used_bytes, counts.span_bytes + counts.large_bytes);
        if (flags == QUIRE_HEAP_HARDENED) {
            size_t wanted = 50 * 100 * KIB;
            for (size_t i = 1; i < 20000; i++)
                wanted += i % 3000;
            assert_int_equal(counts.requested_bytes, wanted);
        }
        quire_heap_delete(heap);
    }
}

static void freed_memory_of_a_hardened_heap_rests(void **state)
{
    struct quire_heap *heap = make(QUIRE_HEAP_HARDENED);
    void *first = quire_heap_malloc(heap, 100);
    quire_heap_free(heap, first);
    for (unsigned i = 0; i < 8000; i++) {
        void *other = quire_heap_malloc(heap, 100);
        assert_ptr_not_equal(other, first);
        quire_heap_free(heap, other);
    }
    bool again = false;
    for (unsigned i = 0; i < 20000 && !again; i++) {
        void *other = quire_heap_malloc(heap, 100);
        again = other == first;
        quire_heap_free(heap, other);
    }
    assert_true(again); /* not for ever */
    assert_true(quire_heap_trim(heap));
    struct quire_heap_counts counts;
    quire_heap_counts(heap, &counts);
    assert_int_equal(counts.n_small, 0);
    quire_heap_delete(heap);
}

static void validate_sees_overwritten_guards(void **state)
{
    struct quire_heap *heap = make(QUIRE_HEAP_HARDENED);
    volatile char *small = hide(quire_heap_malloc(heap, 100));
    volatile char *large = hide(quire_heap_malloc(heap, 50000));
    char saved = small[100];
    assert_int_equal(quire_heap_usable_size(heap, (void *)small), 100);
    assert_int_equal(quire_heap_validate(heap), 0);
    small[100] = 0; /* a string's end, one too far */
    assert_int_equal(quire_heap_validate(heap), -EUCLEAN);
    small[100] = saved;
    assert_int_equal(quire_heap_validate(heap), 0);
    saved = large[50000];
    large[50000] = 0;
    assert_int_equal(quire_heap_validate(heap), -EUCLEAN);
    large[50000] = saved;
    quire_heap_free(heap, (void *)small);
    assert_int_equal(quire_heap_validate(heap), 0);
    saved = small[5];
    small[5] = 1;
    assert_int_equal(quire_heap_validate(heap), -EUCLEAN);
    small[5] = saved;
    assert_int_equal(quire_heap_validate(heap), 0);
    quire_heap_delete(heap);
}

static size_t resident_pages(void *start, size_t n_bytes)
{
    static unsigned char present[4096];
    char *page = (char *)((uintptr_t)start & -(uintptr_t)4096);
    size_t n_pages = (size_t)((char *)start + n_bytes - page + 4095) / 4096, n = 0;
    assert_true(n_pages <= sizeof present && mincore(page, n_pages * 4096, present) == 0);
    for (size_t i = 0; i < n_pages; i++)
        n += present[i] & 1;
    return n;
}

static void calloc_leaves_fresh_memory_alone(void **state)
{
    struct quire_heap *heap = make(0);
    char *large = quire_heap_calloc(heap, 1, 8 * MIB), *small = quire_heap_calloc(heap, 1, 30000);
    assert_int_equal(resident_pages(large, 8 * MIB), 0);
    assert_int_equal(resident_pages(small, 30000), 0);
    memset(large, 1, 8 * MIB);
    memset(small, 1, 30000);
    quire_heap_free(heap, large);
    quire_heap_free(heap, small);
    large = quire_heap_calloc(heap, 1, 8 * MIB);
    small = quire_heap_calloc(heap, 1, 30000);
    assert_true(is_zero(large, 8 * MIB) && is_zero(small, 30000));
    quire_heap_free(heap, large);
    quire_heap_free(heap, small);
    quire_heap_trim(heap); /* and what was given back is zero again, for nothing */
    large = quire_heap_calloc(heap, 1, 8 * MIB);
    assert_int_equal(resident_pages(large, 8 * MIB), 0);
    quire_heap_delete(heap);
}

static void realloc_grows_where_it_lies(void **state)
{
    struct quire_heap *heap = make(0);
    char *object = quire_heap_malloc(heap, 1 * MIB), *start = object;
    for (size_t n = 1 * MIB; n <= 64 * MIB; n += 1 * MIB) {
        object = quire_heap_realloc(heap, object, n);
        assert_ptr_equal(object, start); /* nothing lies behind it */
    }
    object = quire_heap_realloc(heap, object, 1 * MIB);
    assert_ptr_equal(object, start);
    quire_heap_delete(heap);
}

static atomic_bool forked;

static void use_the_process_s(struct quire_heap *heap)
{
    for (size_t i = 0; i < 10000; i++)
        quire_heap_free(heap, quire_heap_malloc(heap, i % 1000));
}

/* Is in the middle of it when the fork comes. */
static void *use_it_beyond_the_fork(void *heap)
{
    do
        use_the_process_s(heap);
    while (!atomic_load(&forked));
    return NULL;
}

static void the_process_s_heap_gets_caches_back(void **state)
{
    struct quire_heap *heap = quire_heap_process();
    struct quire_heap_counts counts;
    pthread_t threads[4];
    int status;

    assert_ptr_equal(heap, quire_heap_process());
    for (unsigned i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, use_it_beyond_the_fork, heap);
    pid_t child = fork(); /* its handlers are the library's own */
    if (child == 0) {
        use_the_process_s(heap);
        _exit(quire_heap_validate(heap) == 0 ? 0 : 1);
    }
    atomic_store(&forked, true);
    for (unsigned i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    quire_heap_trim(heap);
    quire_heap_counts(heap, &counts);
    assert_int_equal(counts.n_small + counts.n_large + counts.cached_bytes, 0);
    assert_int_equal(counts.warm_bytes, 0);
}

/* Of a class that has many spans, the next one's memory comes with one call: all but what is
 * written to is there. */
static void spans_of_a_large_class_are_populated(void **state)
{
    enum { SPANS = 24, SPAN_BYTES = 64 << 10 };
    struct quire_heap *heap = make(0);
    size_t page = (size_t)sysconf(_SC_PAGESIZE), n_resident = 0, n = 0;
    unsigned char present[1];
    char *probe = quire_heap_malloc(heap, 64);

    if (madvise((void *)((uintptr_t)probe / page * page), page, 23 /* MADV_POPULATE_WRITE */) !=
        0) {
        quire_heap_delete(heap);
        skip();
    }
    for (size_t i = 0; i < SPANS * SPAN_BYTES / 64; i++) {
        char *object = quire_heap_malloc(heap, 64); /* never written to */
        if ((uintptr_t)object % page == 0) {
            assert_int_equal(mincore(object, page, present), 0);
            n_resident += present[0] & 1;
            n++;
        }
    }
    assert_true(n > SPANS * SPAN_BYTES / page / 2);
    assert_true(n_resident >= 4 * SPAN_BYTES / page);    /* the last spans' */
    assert_true(n_resident < n - 8 * SPAN_BYTES / page); /* not the first ones' */
    quire_heap_delete(heap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spans_of_a_large_class_are_populated),
        cmocka_unit_test(free_all_frees_all),
        cmocka_unit_test(on_the_caller_s_memory),
        cmocka_unit_test(wrong_configurations),
        cmocka_unit_test(the_family_s_meaning),
        cmocka_unit_test(counts_add_up),
        cmocka_unit_test(freed_memory_of_a_hardened_heap_rests),
        cmocka_unit_test(validate_sees_overwritten_guards),
        cmocka_unit_test(calloc_leaves_fresh_memory_alone),
        cmocka_unit_test(realloc_grows_where_it_lies),
        cmocka_unit_test(the_process_s_heap_gets_caches_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
