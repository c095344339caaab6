/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a program hears that misuses malloc under the preload library: each case is this program
 * again, with LD_PRELOAD set to the argument, and must end by SIGABRT with the exact message.
 */
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* The compiler knows malloc too well: it must not see what becomes of the pointers. */
static void (*volatile free_it)(void *) = free;
static void *(*volatile allocate)(size_t) = malloc;
static void *(*volatile reallocate)(void *, size_t) = realloc;

/* The address that the message must name, told to the parent through standard output. */
static void *doomed(void *address)
{
    uintptr_t value = (uintptr_t)address;
    if (write(STDOUT_FILENO, &value, sizeof value) != sizeof value)
        _exit(3);
    return address;
}

static void double_free(void)
{
    void *object = allocate(40);
    free_it(object);
    free_it(doomed(object));
}

static void double_free_of_a_large_object(void)
{
    void *object = allocate((size_t)8 << 20);
    free_it(object);
    free_it(doomed(object));
}

static void *free_argument(void *object)
{
    free_it(object);
    return NULL;
}

static void double_free_in_two_threads(void)
{
    pthread_t thread;
    void *object = allocate(100000);
    pthread_create(&thread, NULL, free_argument, object);
    pthread_join(thread, NULL);
    free_it(doomed(object));
}

static void double_free_in_a_fork_s_child(void)
{
    void *object = allocate(100000);
    free_it(object);
    pid_t child = fork();
    if (child == 0) {
        free_it(doomed(object));
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    if (WIFSIGNALED(status))
        kill(getpid(), WTERMSIG(status));
}

static void free_of_a_local(void)
{
    int local = 0;
    free_it(doomed(&local));
}

static void free_of_a_static(void)
{
    static int object;
    free_it(doomed(&object));
}

static void free_of_a_mapping(void)
{
    free_it(doomed(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)));
}

static void free_inside_an_object(void)
{
    free_it(doomed((char *)allocate(100) + 8));
}

static void free_inside_a_large_object(void)
{
    free_it(doomed((char *)allocate((size_t)1 << 20) + 4096));
}

static void realloc_of_a_freed_object(void)
{
    void *object = allocate(100000);
    free_it(object);
    free_it(reallocate(doomed(object), 200000));
}

static void usable_size_of_a_local(void)
{
    int local = 0;
    malloc_usable_size(doomed(&local));
}

#define NEVER "free of an address that malloc never gave out"
#define OR_TOOK_BACK " of an address that malloc never gave out or took back"

static const struct {
    void (*run)(void);
    const char *name, *message;
} cases[] = {
#define CASE(name, message)  \
    {                        \
        name, #name, message \
    }
    CASE(double_free, "double free"),
    CASE(double_free_of_a_large_object, "double free"),
    CASE(double_free_in_two_threads, "double free"),
    CASE(double_free_in_a_fork_s_child, "double free"),
    CASE(free_of_a_local, NEVER),
    CASE(free_of_a_static, NEVER),
    CASE(free_of_a_mapping, NEVER),
    CASE(free_inside_an_object, NEVER),
    CASE(free_inside_a_large_object, NEVER),
    CASE(realloc_of_a_freed_object, "realloc" OR_TOOK_BACK),
    CASE(usable_size_of_a_local, "malloc_usable_size" OR_TOOK_BACK),
};
#define N_CASES (sizeof cases / sizeof cases[0])

static _Noreturn void become(unsigned i, const char *library, int out, int error)
{
    char number[16];
    snprintf(number, sizeof number, "%u", i);
    dup2(out, STDOUT_FILENO);
    dup2(error, STDERR_FILENO);
    setenv("LD_PRELOAD", library, 1);
    execl("/proc/self/exe", "preload_misuse", "--case", number, (char *)NULL);
    _exit(2);
}

static bool run_case(unsigned i, const char *library)
{
    int out[2], error[2], status;
    char said[300] = "", expected[300];
    uintptr_t address = 0;
    if (pipe(out) != 0 || pipe(error) != 0)
        return false;
    pid_t child = fork();
    if (child == 0)
        become(i, library, out[1], error[1]);
    close(out[1]);
    close(error[1]);
    ssize_t n_address = read(out[0], &address, sizeof address);
    ssize_t n = read(error[0], said, sizeof said - 1);
    close(out[0]);
    close(error[0]);
    waitpid(child, &status, 0);
    snprintf(expected, sizeof expected, "quire: %s: 0x%lx\n", cases[i].message,
             (unsigned long)address);
    if (n_address == sizeof address && n > 0 && strcmp(said, expected) == 0 &&
        WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT)
        return true;
    printf("%s: said \"%s\", not \"%s\"; status %#x\n", cases[i].name, said, expected,
           (unsigned)status);
    return false;
}

int main(int argc, char **argv)
{
    bool good = true;
    if (argc == 3 && strcmp(argv[1], "--case") == 0) {
        cases[(unsigned)atoi(argv[2]) % N_CASES].run();
        return 0;
    }
    if (argc != 2) {
        fprintf(stderr, "usage: %s LIBRARY\n", argv[0]);
        return 2;
    }
    alarm(300);
    for (unsigned i = 0; i < N_CASES; i++)
        good &= run_case(i, argv[1]);
    return good ? 0 : 1;
}
