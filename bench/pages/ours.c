/* SPDX-License-Identifier: Apache-2.0 */
/* ours: Quire's buddy system in its forms, as peers of each other. */
#include "ours.h"

#include <quire/buddy.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

struct state {
    struct quire_buddy *buddy;
    void *metadata;
    size_t metadata_bytes;
    struct quire_buddy_cache *caches[2]; /* NULL: none */
};

static void *create(uint32_t n_pages, enum quire_buddy_form form)
{
    struct quire_buddy_zone zone = {0, n_pages, NULL};
    struct quire_buddy_config config = {
        .max_order = 10, .n_zones = 1, .zones = &zone, .form = form};
    struct state *state = calloc(1, sizeof *state);
    state->metadata_bytes = quire_buddy_metadata_bytes(&config);
    state->metadata = mmap(NULL, state->metadata_bytes, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (state->metadata == MAP_FAILED ||
        quire_buddy_init(&config, state->metadata, state->metadata_bytes, &state->buddy) != 0)
        abort();
    return state;
}

static void *create_lists(uint32_t n_pages)
{
    return create(n_pages, QUIRE_BUDDY_LISTS);
}

static void *create_tree(uint32_t n_pages)
{
    return create(n_pages, QUIRE_BUDDY_TREE);
}

static void *create_cached(uint32_t n_pages)
{
    struct state *state = create(n_pages, QUIRE_BUDDY_LISTS);
    for (unsigned i = 0; i < 2; i++) {
        void *memory = aligned_alloc(QUIRE_BUDDY_ALIGNMENT, quire_buddy_cache_bytes());
        if (memory == NULL ||
            quire_buddy_cache_init(state->buddy, NULL, 0, memory, &state->caches[i]) != 0)
            abort();
    }
    return state;
}

static void destroy(void *argument)
{
    struct state *state = argument;
    munmap(state->metadata, state->metadata_bytes);
    free(state->caches[0]);
    free(state->caches[1]);
    free(state);
}

static void *thread_plain(void *argument, unsigned number)
{
    return ((struct state *)argument)->buddy;
}

static void *thread_cached(void *argument, unsigned number)
{
    return ((struct state *)argument)->caches[number];
}

static bool alloc_plain(void *buddy, unsigned order, uint32_t *page)
{
    return quire_buddy_alloc(buddy, NULL, order, page) == 0;
}

static void free_plain(void *buddy, uint32_t page, unsigned order)
{
    if (quire_buddy_free(buddy, page, order) != 0)
        abort();
}

static bool alloc_cached(void *cache, unsigned order, uint32_t *page)
{
    return quire_buddy_cache_alloc(cache, order, page) == 0;
}

static void free_cached(void *cache, uint32_t page, unsigned order)
{
    if (quire_buddy_cache_free(cache, page, order) != 0)
        abort();
}

static size_t metadata_bytes(void *argument)
{
    return quire_buddy_metadata_held(((struct state *)argument)->buddy);
}

const struct pages_peer pages_ours[N_OURS] = {
    {"lists", true, create_lists, destroy, thread_plain, alloc_plain, free_plain, metadata_bytes},
    {"tree", true, create_tree, destroy, thread_plain, alloc_plain, free_plain, metadata_bytes},
    {"cached", true, create_cached, destroy, thread_cached, alloc_cached, free_cached,
     metadata_bytes},
};
