/* SPDX-License-Identifier: Apache-2.0 */
/*
 * larson: a server whose threads inherit each other's objects.
 *
 * After P.-A. Larson, M. Krishnan, "Memory Allocation for Long-Running Server Applications", 1998:
 * each thread owns an array of objects of random sizes and replaces one at a time, free and malloc;
 * after a while it hands its array to a new thread and ends. So objects outlive the threads that
 * made them and are freed by their successors.
 *
 *    larson THREADS GENERATIONS REPLACEMENTS [OBJECTS] [MIN] [MAX]
 */
#include "work.h"

struct object {
    uint32_t n_bytes;
    char rest[];
};

struct server {
    OWN_LINES struct object **objects;
    uint64_t state, sum;
};

static size_t n_generations, n_replacements, n_objects, min_bytes, max_bytes;

static struct object *make(uint64_t *state)
{
    size_t n_bytes = min_bytes + random_below(state, max_bytes - min_bytes + 1);
    struct object *object = allocate(n_bytes);
    object->n_bytes = (uint32_t)n_bytes;
    ((char *)object)[n_bytes - 1] = (char)n_bytes;
    return object;
}

static uint64_t use(const struct object *object)
{
    return object->n_bytes + (uint64_t)(unsigned char)((const char *)object)[object->n_bytes - 1];
}

static void *generation(void *argument)
{
    struct server *server = argument;
    for (size_t i = 0; i < n_replacements; i++) {
        struct object **place = &server->objects[random_below(&server->state, n_objects)];
        server->sum = mix(server->sum, use(*place));
        free(*place);
        *place = make(&server->state);
    }
    return NULL;
}

/* One line of threads, each the heir of the one before. */
static void *line(void *argument)
{
    for (size_t i = 0; i < n_generations; i++) {
        pthread_t id;
        if (pthread_create(&id, NULL, generation, argument) != 0)
            exit(1);
        pthread_join(id, NULL);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    size_t n_threads = thread_argument(argc, argv, 1);
    struct server servers[MAX_THREADS];
    uint64_t sum = 0, state = 4141;

    n_generations = argument(argc, argv, 2, 20);
    n_replacements = argument(argc, argv, 3, 200000);
    n_objects = argument(argc, argv, 4, 5000);
    min_bytes = argument(argc, argv, 5, 8);
    max_bytes = argument(argc, argv, 6, 1000);
    for (size_t i = 0; i < n_threads; i++) {
        servers[i] = (struct server){allocate(n_objects * sizeof(void *)), random_next(&state), 0};
        for (size_t k = 0; k < n_objects; k++) /* made by the first thread, as in the original */
            servers[i].objects[k] = make(&servers[i].state);
    }
    run_threads(n_threads, line, servers, sizeof(servers[0]));
    for (size_t i = 0; i < n_threads; i++) {
        for (size_t k = 0; k < n_objects; k++)
            free(servers[i].objects[k]);
        free(servers[i].objects);
        sum = mix(sum, servers[i].sum);
    }
    report("larson", sum);
    return 0;
}
