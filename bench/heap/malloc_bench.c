/* SPDX-License-Identifier: Apache-2.0 */
/*
 * malloc_bench: what malloc and free cost, for whatever malloc the process has.
 *
 *    malloc_bench                                    glibc's
 *    LD_PRELOAD=libquire-preload.so malloc_bench     Quire's
 *    malloc_bench --against libquire-preload.so      both, and their ratio
 *
 *   pairs SIZE    malloc and free at once: the fast path
 *   stack SIZE    1000 objects, freed in reverse: the cache's refill and overflow
 *   queue SIZE    100000 objects, freed in order: the central lists
 *   random MAX    20000 live objects of random size, one replaced at a time
 *   large SIZE    malloc and free of whole pages, no byte touched
 *   grow          a buffer that grows to 8 MiB by 4 KiB with realloc
 *   threads N     `random 512` in N threads at once
 *   relay         one thread allocates, another frees
 *
 * Each is repeated and the best time for an operation (a malloc with its free) is printed, in ns.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define N_REPEATS 5
#define MAX_RESULTS 64

struct result {
    char name[24];
    double ns;
};
static struct result results[MAX_RESULTS];
static unsigned n_results;

static double now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static uint32_t random_next(uint32_t *state) /* xorshift32: G. Marsaglia, 2003 */
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

/* Keeps the compiler from leaving out a malloc whose object nobody uses. */
static void *use(void *object)
{
    if (object == NULL)
        abort();
    __asm__ volatile("" : "+r"(object) : : "memory");
    return object;
}

/* Each runs once and returns how many operations it did. */
static size_t pairs(size_t size)
{
    const size_t n = 2000000;
    for (size_t i = 0; i < n; i++)
        free(use(malloc(size)));
    return n;
}

static size_t stack(size_t size)
{
    static void *objects[1000];
    for (unsigned round = 0; round < 500; round++) {
        for (size_t i = 0; i < 1000; i++)
            objects[i] = use(malloc(size));
        for (size_t i = 1000; i-- > 0;)
            free(objects[i]);
    }
    return 500 * 1000;
}

static size_t queue(size_t size)
{
    static void *objects[100000];
    for (unsigned round = 0; round < 5; round++) {
        for (size_t i = 0; i < 100000; i++)
            *(char *)(objects[i] = use(malloc(size))) = 1;
        for (size_t i = 0; i < 100000; i++)
            free(objects[i]);
    }
    return 5 * 100000;
}

static size_t random_mix(size_t max)
{
    enum { LIVE = 20000 };
    const size_t n = 1000000;
    uint32_t state = 12345;
    void **objects = calloc(LIVE, sizeof(*objects));

    for (size_t i = 0; i < n; i++) {
        void **place = &objects[random_next(&state) % LIVE];
        free(*place);
        *place = use(malloc(random_next(&state) % max + 1));
        *(char *)*place = 1;
    }
    for (size_t i = 0; i < LIVE; i++)
        free(objects[i]);
    free(objects);
    return n;
}

static size_t large(size_t size)
{
    const size_t n = 20000;
    for (size_t i = 0; i < n; i++)
        free(use(malloc(size)));
    return n;
}

static size_t grow(size_t unused)
{
    (void)unused;
    char *buffer = NULL;
    for (size_t n = 1; n <= 2048; n++) {
        buffer = use(realloc(buffer, n * 4096));
        buffer[n * 4096 - 1] = 1;
    }
    free(buffer);
    return 2048;
}

static void *mix_thread(void *unused)
{
    (void)unused;
    random_mix(512);
    return NULL;
}

static size_t threads(size_t n)
{
    pthread_t ids[64];
    for (size_t i = 0; i < n; i++)
        pthread_create(&ids[i], NULL, mix_thread, NULL);
    for (size_t i = 0; i < n; i++)
        pthread_join(ids[i], NULL);
    return n * 1000000;
}

#define RELAY_SLOTS 1024
#define RELAY_OBJECTS 1000000
static void *_Atomic relay_slots[RELAY_SLOTS];

static void *relay_consumer(void *unused)
{
    (void)unused;
    for (size_t i = 0; i < RELAY_OBJECTS; i++) {
        void *object;
        while ((object = atomic_exchange(&relay_slots[i % RELAY_SLOTS], NULL)) == NULL)
            sched_yield();
        free(object);
    }
    return NULL;
}

static size_t relay(size_t size)
{
    pthread_t consumer;
    pthread_create(&consumer, NULL, relay_consumer, NULL);
    for (size_t i = 0; i < RELAY_OBJECTS; i++) {
        void *object = use(malloc(size));
        while (atomic_load(&relay_slots[i % RELAY_SLOTS]) != NULL)
            sched_yield();
        atomic_store(&relay_slots[i % RELAY_SLOTS], object);
    }
    pthread_join(consumer, NULL);
    return RELAY_OBJECTS;
}

static const struct {
    const char *name;
    size_t (*run)(size_t argument);
    size_t argument;
} benches[] = {
    {"pairs 16", pairs, 16},           {"pairs 64", pairs, 64},
    {"pairs 256", pairs, 256},         {"pairs 1024", pairs, 1024},
    {"pairs 4096", pairs, 4096},       {"pairs 30000", pairs, 30000},
    {"stack 32", stack, 32},           {"stack 512", stack, 512},
    {"queue 32", queue, 32},           {"queue 200", queue, 200},
    {"random 128", random_mix, 128},   {"random 1024", random_mix, 1024},
    {"random 8000", random_mix, 8000}, {"large 65536", large, 65536},
    {"large 1048576", large, 1 << 20}, {"grow", grow, 0},
    {"threads 1", threads, 1},         {"threads 2", threads, 2},
    {"threads 4", threads, 4},         {"relay 64", relay, 64},
};
#define N_BENCHES (sizeof(benches) / sizeof(benches[0]))

/* Runs all whose name begins with `only` and prints "name: ns". */
static void run_all(const char *only)
{
    for (size_t i = 0; i < N_BENCHES; i++) {
        double best = 1e300;
        if (strncmp(benches[i].name, only, strlen(only)) != 0)
            continue;
        for (unsigned repeat = 0; repeat < N_REPEATS; repeat++) {
            double start = now_ns();
            size_t n = benches[i].run(benches[i].argument);
            double ns = (now_ns() - start) / (double)n;
            best = ns < best ? ns : best;
        }
        printf("%s: %.2f\n", benches[i].name, best);
        fflush(stdout);
    }
}

/* Runs this program again, with `library` preloaded if there is one, and reads its results. */
static void measure(const char *self, const char *library, const char *only)
{
    int ends[2];
    if (pipe(ends) != 0)
        abort();
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        if (library != NULL)
            setenv("LD_PRELOAD", library, 1);
        else
            unsetenv("LD_PRELOAD");
        execl(self, self, "--only", only, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    FILE *lines = fdopen(ends[0], "r");
    n_results = 0;
    while (n_results < MAX_RESULTS &&
           fscanf(lines, "%23[^:]: %lf\n", results[n_results].name, &results[n_results].ns) == 2)
        n_results++;
    fclose(lines);
    waitpid(child, NULL, 0);
}

static void compare(const char *self, const char *library, const char *only)
{
    struct result before[MAX_RESULTS];
    measure(self, NULL, only);
    memcpy(before, results, sizeof(before));
    measure(self, library, only);
    printf("%-16s %10s %10s %7s\n", "", "libc ns", "this ns", "ratio");
    for (unsigned i = 0; i < n_results; i++)
        printf("%-16s %10.2f %10.2f %7.2f\n", results[i].name, before[i].ns, results[i].ns,
               results[i].ns / before[i].ns);
}

int main(int argc, char **argv)
{
    const char *library = NULL, *only = "";
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--against") == 0)
            library = argv[i + 1];
        else if (strcmp(argv[i], "--only") == 0)
            only = argv[i + 1];
    }
    if (argc % 2 == 0) {
        fprintf(stderr, "usage: malloc_bench [--only NAME] [--against LIBRARY]\n");
        return 2;
    }
    if (library != NULL)
        compare("/proc/self/exe", library, only);
    else
        run_all(only);
    return 0;
}
