/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The heap under threads: workers allocate, free, resize and pass objects to each other; short
 * threads come and go; one thread forks children that go on with the heap; and a pager's stand-in
 * copies and scrubs pages all the while.
 *
 * Each worker has pins: objects that stay live while the stand-in looks at them (their mutex), with
 * known bytes that a scrub must leave in the copy, while the rest of the heap changes around them.
 *
 *    heap_stress [SECONDS]
 *
 * It goes on for longer where the machine is so slow that something has not happened yet.
 */
#include "heap_source.h"

#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>

#define N_PAGES ((size_t)32768)
#define N_WORKERS 4u
#define N_SHARED 256u
#define N_OWN 400u

struct pin {
    pthread_mutex_t mutex;
    unsigned char *address;
    size_t n_bytes;
};

static struct pin pins[N_WORKERS];
static _Atomic(unsigned char *) shared[N_SHARED]; /* first byte: the pattern of the first 16 */
static atomic_bool stopping;
static _Atomic unsigned long n_scrubs, n_forks, n_threads, n_operations;

static void require(bool condition, const char *what)
{
    if (condition)
        return;
    log_error("heap_stress: %s", what);
    abort();
}

static uint32_t random_next(uint32_t *state) /* xorshift32: G. Marsaglia, 2003 */
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static size_t random_size(uint32_t *random)
{
    uint32_t bits = random_next(random) % 64 == 0 ? 18 : random_next(random) % 13;
    return (random_next(random) & ((1u << bits) - 1)) + 1;
}

static void put_pattern(unsigned char *object, uint32_t value)
{
    memset(object, (int)(value | 1) & 0xff, 16); /* every object has 16 bytes */
}

static void free_checked(unsigned char *object)
{
    if (object == NULL)
        return;
    for (size_t i = 1; i < 16; i++)
        require(object[i] == object[0], "an object has changed");
    heap_free(object);
}

static unsigned char *alloc_filled(uint32_t *random)
{
    size_t n_bytes = random_size(random);
    unsigned char *object;

    if (random_next(random) % 4 == 0) {
        object = heap_calloc(n_bytes);
        for (size_t i = 0; object != NULL && i < n_bytes; i++)
            require(object[i] == 0, "calloc is not zero");
    } else {
        object = heap_malloc(n_bytes);
    }
    if (object != NULL)
        put_pattern(object, random_next(random));
    return object;
}

static void drop_pin(struct pin *pin) /* its mutex is held */
{
    if (pin->address != NULL)
        heap_free(pin->address);
    pin->address = NULL;
}

static void change_pin(struct pin *pin, uint32_t *random)
{
    pthread_mutex_lock(&pin->mutex);
    drop_pin(pin);
    pin->n_bytes = random_size(random) + 15;
    pin->address = heap_malloc(pin->n_bytes);
    if (pin->address != NULL)
        memset(pin->address, 0x5a, pin->n_bytes);
    pthread_mutex_unlock(&pin->mutex);
}

static void step(unsigned char **own, struct pin *pin, uint32_t *random)
{
    unsigned char **place = &own[random_next(random) % N_OWN];

    switch (random_next(random) % 16) {
    case 0:
        *place = atomic_exchange(&shared[random_next(random) % N_SHARED], *place);
        break;
    case 1:
        if (*place != NULL) {
            unsigned char *other = heap_realloc(*place, random_size(random) + 15);
            *place = other != NULL ? other : *place;
        }
        break;
    case 2:
        if (random_next(random) % 8 == 0)
            change_pin(pin, random);
        break;
    case 3:
        if (random_next(random) % 512 == 0)
            heap_trim();
        break;
    default:
        free_checked(*place);
        *place = alloc_filled(random);
    }
}

static void *work(void *argument)
{
    struct pin *pin = argument;
    uint32_t random = (uint32_t)(pin - pins) * 7919 + 12345;
    unsigned char *own[N_OWN] = {NULL};

    for (unsigned long n = 0; !atomic_load(&stopping); n++) {
        step(own, pin, &random);
        if (n % 1024 == 0) /* now and then all goes, so that spans empty and change their class */
            for (unsigned i = 0; i < N_OWN; i++) {
                free_checked(own[i]);
                own[i] = NULL;
            }
        atomic_fetch_add_explicit(&n_operations, 1, memory_order_relaxed);
    }
    for (unsigned i = 0; i < N_OWN; i++)
        free_checked(own[i]);
    pthread_mutex_lock(&pin->mutex); /* the scrubber may not have seen yet that all stop */
    drop_pin(pin);
    pthread_mutex_unlock(&pin->mutex);
    heap_thread_exit();
    return NULL;
}

static void *be_short(void *argument)
{
    uint32_t random = 99;
    for (unsigned i = 0; i < 300; i++)
        free_checked(atomic_exchange(&shared[i % N_SHARED], alloc_filled(&random)));
    heap_thread_exit();
    free_checked(alloc_filled(&random));
    return NULL;
}

static void *come_and_go(void *argument)
{
    while (!atomic_load(&stopping)) {
        pthread_t thread;
        require(pthread_create(&thread, NULL, be_short, NULL) == 0, "no thread");
        pthread_join(thread, NULL);
        atomic_fetch_add(&n_threads, 1);
    }
    return NULL;
}

/* Reads what others write at will, as the kernel would: no race of the program's. */
__attribute__((no_sanitize("thread"), no_sanitize("address"))) static void
copy_page(unsigned char *copy, const volatile unsigned char *page)
{
    for (size_t i = 0; i < HEAP_SOURCE_PAGE; i++)
        copy[i] = page[i];
}

static void scrub_pin(struct pin *pin)
{
    static unsigned char copy[HEAP_SOURCE_PAGE];

    pthread_mutex_lock(&pin->mutex);
    size_t n_bytes = pin->address != NULL ? pin->n_bytes : 0;
    for (size_t i = 0; i < n_bytes;) {
        unsigned char *at = pin->address + i;
        unsigned char *page = (unsigned char *)((uintptr_t)at & -HEAP_SOURCE_PAGE);
        copy_page(copy, page);
        size_t n_dead = heap_scrub(page, copy);
        require(n_dead < HEAP_SOURCE_PAGE, "a live page was called dead");
        for (; i < n_bytes && at < page + HEAP_SOURCE_PAGE; i++, at++)
            require(copy[at - page] == 0x5a, "live bytes were scrubbed");
        atomic_fetch_add_explicit(&n_scrubs, 1, memory_order_relaxed);
    }
    pthread_mutex_unlock(&pin->mutex);
}

static void *scrub(void *argument)
{
    static unsigned char copy[HEAP_SOURCE_PAGE];
    uint32_t random = 4711;
    while (!atomic_load(&stopping)) {
        scrub_pin(&pins[random_next(&random) % N_WORKERS]);
        for (unsigned i = 0; i < 16; i++)
            heap_scrub(heap_test.base + random_next(&random) % 2048 * HEAP_SOURCE_PAGE, copy);
    }
    return NULL;
}

static int go_on_in_child(void)
{
    uint32_t random = 5;
    heap_fork_child();
    if (heap_validate() != 0)
        return 2;
    for (unsigned i = 0; i < 2000; i++)
        free_checked(atomic_exchange(&shared[i % N_SHARED], alloc_filled(&random)));
    for (unsigned i = 0; i < N_SHARED; i++)
        free_checked(atomic_exchange(&shared[i], NULL));
    heap_trim();
    return heap_validate() == 0 ? 0 : 3;
}

static void *fork_children(void *argument)
{
    while (!atomic_load(&stopping)) {
        int status;
        heap_fork_prepare();
        pthread_mutex_lock(&heap_test.mutex);
        pid_t child = fork();
        pthread_mutex_unlock(&heap_test.mutex);
        if (child == 0)
            _exit(go_on_in_child());
        heap_fork_parent();
        require(waitpid(child, &status, 0) == child && status == 0, "a child failed");
        atomic_fetch_add(&n_forks, 1);
        require(heap_validate() == 0, "the heap is not valid");
        struct heap_counts counts;
        heap_counts(&counts);
    }
    return NULL;
}

static void wait_until_all_has_happened(unsigned seconds)
{
    sleep(seconds);
    while (atomic_load(&n_scrubs) == 0 || atomic_load(&n_forks) == 0 ||
           atomic_load(&n_threads) == 0)
        usleep(10000);
}

int main(int argc, char **argv)
{
    static void *(*const others[])(void *) = {come_and_go, scrub, fork_children};
    pthread_t workers[N_WORKERS], threads[3];
    unsigned seconds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 3;

    if (heap_test_init(N_PAGES) != 0)
        return 1;
    for (unsigned i = 0; i < N_WORKERS; i++) {
        pthread_mutex_init(&pins[i].mutex, NULL);
        require(pthread_create(&workers[i], NULL, work, &pins[i]) == 0, "no thread");
    }
    for (unsigned i = 0; i < 3; i++)
        require(pthread_create(&threads[i], NULL, others[i], NULL) == 0, "no thread");
    wait_until_all_has_happened(seconds);
    atomic_store(&stopping, true);
    for (unsigned i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    for (unsigned i = 0; i < N_WORKERS; i++)
        pthread_join(workers[i], NULL);
    for (unsigned i = 0; i < N_SHARED; i++)
        free_checked(atomic_exchange(&shared[i], NULL));
    heap_trim();
    require(heap_validate() == 0 && heap_test.n_held == 0, "pages were lost");
    printf("%lu operations, %lu scrubs, %lu forks, %lu threads\n", atomic_load(&n_operations),
           atomic_load(&n_scrubs), atomic_load(&n_forks), atomic_load(&n_threads));
    return 0;
}
