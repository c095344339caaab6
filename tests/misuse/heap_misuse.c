/* SPDX-License-Identifier: Apache-2.0 */
/* What the heap says to programs that misuse it: each case is a child that must end with it. */
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

#define NEVER "free of an address that malloc never gave out"
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
};

static bool run_case(unsigned i)
{
    int ends[2], status;
    char said[200] = "", expected[200];

    if (pipe(ends) != 0)
        return false;
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
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
