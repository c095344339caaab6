/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the heap says to programs that misuse it: each case is a child that must end with it. Those
 * whose names begin with hard_ have a hardened heap.
 */
#include "heap_source.h"

#include <stdio.h>
#include <sys/wait.h>

static void double_free_at_once(void)
{
    void *object = heap_malloc(40);
    heap_free(object);
    heap_free(object);
}

static void double_free_found_when_the_cache_is_emptied(void)
{
    void *one = heap_malloc(40), *two = heap_malloc(40);
    heap_free(one);
    heap_free(two);
    heap_free(one);
    heap_trim();
}

static void double_free_found_by_overflow(void)
{
    static void *objects[2000];
    for (size_t i = 0; i < 2000; i++)
        objects[i] = heap_malloc(64);
    for (size_t i = 0; i < 2000; i++) {
        heap_free(objects[i]);
        if (i == 1)
            heap_free(objects[0]);
    }
}

static void double_free_of_a_span_that_is_gone(void)
{
    void *object = heap_malloc(40);
    heap_free(object);
    heap_trim();
    heap_free(object);
}

static void double_free_large(void)
{
    void *object = heap_malloc(100000);
    heap_free(object);
    heap_free(object);
}

static void *free_in_thread(void *object)
{
    heap_free(object);
    heap_thread_exit();
    return NULL;
}

static void double_free_in_two_threads(void)
{
    pthread_t thread;
    void *object = heap_malloc(40), *other = heap_malloc(40);
    pthread_create(&thread, NULL, free_in_thread, object);
    pthread_join(thread, NULL);
    heap_free(object);
    heap_free(other);
    heap_thread_exit();
}

static void *take_in_thread(void *argument)
{
    void **object = argument;
    *object = heap_malloc(40);
    object[1] = heap_malloc(40); /* which keeps the span */
    return NULL;
}

/* In a span of a thread that lives or is gone, no matter: not this one's. */
static void double_free_at_once_of_another_thread_s(void)
{
    pthread_t thread;
    void *objects[2];
    pthread_create(&thread, NULL, take_in_thread, objects);
    pthread_join(thread, NULL);
    heap_free(heap_malloc(40));
    heap_free(objects[0]);
    heap_free(objects[0]);
}

static void double_free_of_another_thread_s_found_when_the_cache_is_emptied(void)
{
    pthread_t thread;
    void *objects[2];
    pthread_create(&thread, NULL, take_in_thread, objects);
    pthread_join(thread, NULL);
    heap_free(objects[0]);
    heap_free(objects[1]);
    heap_free(objects[0]);
    heap_trim();
}

static void free_inside_another_thread_s_object(void)
{
    pthread_t thread;
    void *objects[2];
    pthread_create(&thread, NULL, take_in_thread, objects);
    pthread_join(thread, NULL);
    heap_free((char *)objects[0] + 16);
    heap_trim();
}

static void free_of_a_local(void)
{
    int local = 0;
    heap_free(&local);
}

static void free_of_no_run(void)
{
    heap_free(heap_test.base + 5000 * HEAP_SOURCE_PAGE);
}

static void free_inside_an_object_by_8(void)
{
    heap_free((char *)heap_malloc(100) + 8);
}

static void free_inside_an_object_by_16(void)
{
    heap_free((char *)heap_malloc(100) + 16);
    heap_trim();
}

static void free_inside_a_large_object(void)
{
    heap_free((char *)heap_malloc(100000) + 16);
}

static void free_of_a_large_object_s_second_page(void)
{
    heap_free((char *)heap_malloc(100000) + HEAP_SOURCE_PAGE);
}

static void free_inside_a_large_object_where_another_was(void)
{
    char *one = heap_malloc(100000), *two = heap_malloc(100000);
    heap_free(one);
    heap_free(two);
    heap_free((char *)heap_malloc(300000) + (two - one));
}

static void realloc_of_a_freed_object(void)
{
    void *object = heap_malloc(100000);
    heap_free(object);
    (void)!heap_realloc(object, 200000);
}

static void realloc_inside_an_object(void)
{
    (void)!heap_realloc((char *)heap_malloc(100) + 16, 110);
}

static void usable_size_of_a_local(void)
{
    int local = 0;
    heap_usable_size(&local);
}

/* Hardened. Three objects of the class of 48 bytes at the start of a span. */
static char *first, *second, *third;

/* The compiler knows how long an object is; here that is the point. */
static char *hide(void *object)
{
    __asm__ volatile("" : "+r"(object));
    return object;
}

static void make_three(void)
{
    first = hide(heap_malloc(33));
    second = hide(heap_malloc(40));
    third = hide(heap_malloc(34));
}

static void hard_double_free(void)
{
    make_three();
    heap_free(second);
    heap_free(first);
    heap_free(second);
}

static void hard_double_free_after_quarantine(void)
{
    make_three();
    heap_free(second);
    heap_trim();
    heap_free(second);
}

static void hard_double_free_of_a_span_that_is_gone(void)
{
    void *object = heap_malloc(40);
    heap_free(object);
    heap_trim();
    heap_free(object);
}

static void hard_double_free_in_two_threads(void)
{
    pthread_t thread;
    make_three();
    pthread_create(&thread, NULL, free_in_thread, second);
    pthread_join(thread, NULL);
    heap_free(second);
}

static void hard_double_free_large(void)
{
    void *object = heap_malloc(100000);
    heap_free(object);
    heap_free(object);
}

static void hard_double_free_very_large(void)
{
    void *object = heap_malloc((size_t)2 << 20);
    heap_free(object);
    heap_free(object);
}

static void hard_free_inside(void)
{
    make_three();
    heap_free(second + 16);
}

static void hard_free_inside_large(void)
{
    heap_free((char *)heap_malloc(100000) + 8192);
}

static void hard_free_of_a_local(void)
{
    int local = 0;
    heap_free(&local);
}

static void hard_overflow_by_a_zero(void)
{
    make_three();
    second[40] = '\0';
    heap_free(second);
}

static void hard_overflow_found_by_realloc(void)
{
    make_three();
    heap_free(third);
    second[47] ^= 1; /* whatever the guard has there */
    (void)!heap_realloc(second, 1000);
}

static void hard_overflow_of_a_large_object(void)
{
    char *object = hide(heap_malloc(100000));
    object[100000] ^= 1;
    heap_free(object);
}

static void hard_write_after_free(void)
{
    make_three();
    heap_free(second);
    second[7] ^= 1;
    heap_trim();
}

static void hard_write_after_free_of_a_large_object(void)
{
    char *object = hide(heap_malloc(100000));
    heap_free(object);
    object[1000] ^= 1;
    for (unsigned i = 0; i < 10000; i++) /* the quarantine moves on */
        heap_free(heap_malloc(100));
}

static void hard_realloc_of_a_freed_object(void)
{
    make_three();
    heap_free(second);
    (void)!heap_realloc(second, 41);
}

static void hard_usable_size_of_a_freed_object(void)
{
    make_three();
    heap_free(second);
    heap_usable_size(second);
}

#define NEVER "free of an address that malloc never gave out"
#define SECOND_FREED "an object, 40 bytes, freed; class 48; "
#define NEIGHBOURS_LIVE "before it: 33 bytes, live; behind it: 34 bytes, live"
static const struct {
    void (*run)(void);
    const char *name, *message;
} cases[] = {
#define CASE(name, message)  \
    {                        \
        name, #name, message \
    }
    CASE(double_free_at_once, "double free"),
    CASE(double_free_found_when_the_cache_is_emptied, "double free"),
    CASE(double_free_found_by_overflow, "double free"),
    CASE(double_free_of_a_span_that_is_gone, "double free"),
    CASE(double_free_large, "double free"),
    CASE(double_free_in_two_threads, "double free"),
    CASE(double_free_at_once_of_another_thread_s, "double free"),
    CASE(double_free_of_another_thread_s_found_when_the_cache_is_emptied, "double free"),
    CASE(free_inside_another_thread_s_object, NEVER),
    CASE(free_of_a_local, NEVER),
    CASE(free_of_no_run, NEVER),
    CASE(free_inside_an_object_by_8, NEVER),
    CASE(free_inside_an_object_by_16, NEVER),
    CASE(free_inside_a_large_object, NEVER),
    CASE(free_of_a_large_object_s_second_page, NEVER),
    CASE(free_inside_a_large_object_where_another_was, NEVER),
    CASE(realloc_of_a_freed_object,
         "realloc of an address that malloc never gave out or took back"),
    CASE(realloc_inside_an_object, "realloc of an address that malloc never gave out or took back"),
    CASE(usable_size_of_a_local,
         "malloc_usable_size of an address that malloc never gave out or took back"),
    /* hardened, by their names */
    CASE(hard_double_free,
         "double free: " SECOND_FREED "before it: 33 bytes, freed; behind it: 34 bytes, live"),
    CASE(hard_double_free_after_quarantine,
         "double free: an object, free; class 48; " NEIGHBOURS_LIVE),
    CASE(hard_double_free_of_a_span_that_is_gone, "double free"),
    CASE(hard_double_free_in_two_threads, "double free: " SECOND_FREED NEIGHBOURS_LIVE),
    CASE(hard_double_free_large, "double free: an object, 100000 bytes, freed; 25 pages"),
    CASE(hard_double_free_very_large, "double free"),
    CASE(hard_free_inside,
         NEVER ": 16 bytes inside of an object, 40 bytes, live; class 48; " NEIGHBOURS_LIVE),
    CASE(hard_free_inside_large,
         NEVER ": 8192 bytes inside of an object, 100000 bytes, live; 25 pages"),
    CASE(hard_free_of_a_local, NEVER),
    CASE(hard_overflow_by_a_zero, "heap overflow: byte 40 was written, of an object, 40 bytes, "
                                  "live; class 48; " NEIGHBOURS_LIVE),
    CASE(hard_overflow_found_by_realloc,
         "heap overflow: byte 47 was written, of an object, 40 bytes, live; class 48; before it: "
         "33 bytes, live; behind it: 34 bytes, freed"),
    CASE(hard_overflow_of_a_large_object,
         "heap overflow: byte 100000 was written, of an object, 100000 bytes, live; 25 pages"),
    CASE(hard_write_after_free,
         "write after free: byte 7 was written after the free, of " SECOND_FREED NEIGHBOURS_LIVE),
    CASE(hard_write_after_free_of_a_large_object,
         "write after free: byte 1000 was written after the free, of an object, 100000 bytes, "
         "freed; 25 pages"),
    CASE(hard_realloc_of_a_freed_object,
         "realloc of an address that malloc never gave out or took back: " SECOND_FREED
             NEIGHBOURS_LIVE),
    CASE(hard_usable_size_of_a_freed_object,
         "malloc_usable_size of an address that malloc never gave out or took back: " SECOND_FREED
             NEIGHBOURS_LIVE),
};

static bool run_case(unsigned i)
{
    int ends[2], status;
    char said[500] = "", expected[500];

    if (pipe(ends) != 0)
        return false;
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        heap_test.hardened = strncmp(cases[i].name, "hard_", 5) == 0;
        if (heap_test_init(16384) == 0)
            cases[i].run();
        _exit(0);
    }
    close(ends[1]);
    ssize_t n = read(ends[0], said, sizeof(said) - 1);
    close(ends[0]);
    waitpid(child, &status, 0);
    snprintf(expected, sizeof(expected), "quire: %s\n", cases[i].message);
    if (n > 0 && strcmp(said, expected) == 0 && WIFEXITED(status) && WEXITSTATUS(status) == 99)
        return true;
    printf("%s: said \"%s\", status %#x\n", cases[i].name, said, (unsigned)status);
    return false;
}

int main(void)
{
    bool good = true;
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        good &= run_case(i);
    return good ? 0 : 1;
}
