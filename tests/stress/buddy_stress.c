/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads take, extend, cut and give back pages of two small zones, so that they meet all the time,
 * some of it through caches of their own, to which they free each other's blocks, too.
 *
 * Every page has an owner in a table of atomics: a thread claims each page that it is given and
 * must find it unclaimed. Beside them one thread validates, counts, walks the free lists (whose
 * pages must be unclaimed while it holds them) and goes through the fork functions. In the end all
 * is free again.
 */
#include "require.h"

#include <errno.h>
#include <pthread.h>
#include <quire/buddy.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define N_THREADS 4
#define N_STEPS 200000
#define N_HELD 24
#define N_PAGES 3000
#define NO_BLOCK UINT32_MAX

struct held {
    quire_page page;
    uint32_t n_pages; /* 0: nothing is held */
    unsigned order;   /* of the block that it is, or NO_BLOCK */
};

static struct quire_buddy *buddy;
static atomic_uint owners[N_PAGES]; /* relaxed: the buddy system's locks order what matters */
static atomic_uint n_running;
static struct quire_buddy_cache *caches[N_THREADS + 1]; /* by thread */

static uint32_t draw(uint64_t *state, uint32_t below)
{
    *state = *state * 6364136223846793005 + 1442695040888963407;
    return (uint32_t)(*state >> 33) % below;
}

static void change_owner(quire_page from, quire_page to, unsigned old, unsigned new)
{
    for (quire_page page = from; page < to; page++)
        REQUIRE(atomic_exchange_explicit(&owners[page], new, memory_order_relaxed) == old);
}

static void take(struct held *held, uint64_t *random, unsigned thread)
{
    struct quire_buddy_request list = {.n_zones = 2, .zone = {thread & 1, ~thread & 1}};
    uint32_t n_pages = 1 + draw(random, 40);
    unsigned order = draw(random, 6);
    bool exact = draw(random, 2);
    int result = exact             ? quire_buddy_alloc_exact(buddy, &list, n_pages, 1, &held->page)
                 : draw(random, 2) ? quire_buddy_alloc(buddy, &list, order, &held->page)
                                   : quire_buddy_cache_alloc(caches[thread], order, &held->page);
    if (result != 0)
        return;
    held->n_pages = exact ? n_pages : 1u << order;
    held->order = exact ? NO_BLOCK : order;
    change_owner(held->page, held->page + held->n_pages, 0, thread);
}

static void grow(struct held *held, uint32_t n_more, unsigned thread)
{
    uint32_t old = held->n_pages;
    int result = quire_buddy_try_extend(buddy, held->page, old, old + n_more);
    REQUIRE(result == 0 || result == -ENOMEM);
    if (result == 0) {
        change_owner(held->page + old, held->page + old + n_more, 0, thread);
        held->n_pages += n_more;
        held->order = NO_BLOCK;
    }
}

/* Gives back the last n_pages of what is held. */
static void give(struct held *held, uint32_t n_pages, unsigned thread)
{
    quire_page from = held->page + held->n_pages - n_pages;
    change_owner(from, from + n_pages, thread, 0);
    held->n_pages -= n_pages;
    if (held->n_pages == 0 && held->order != NO_BLOCK)
        REQUIRE((from % 2 ? quire_buddy_free(buddy, from, held->order)
                          : quire_buddy_cache_free(caches[thread], from, held->order)) == 0);
    else
        REQUIRE(quire_buddy_free_range(buddy, from, n_pages) == 0);
    held->order = NO_BLOCK;
}

static void *work(void *argument)
{
    unsigned thread = (unsigned)(uintptr_t)argument;
    uint64_t random = thread;
    struct held held[N_HELD] = {{0}};
    for (unsigned step = 0; step < N_STEPS; step++) {
        struct held *one = &held[draw(&random, N_HELD)];
        if (one->n_pages == 0) {
            take(one, &random, thread);
        } else if (draw(&random, 3) == 0) {
            grow(one, 1 + draw(&random, 20), thread);
        } else {
            give(one, draw(&random, 2) ? one->n_pages : 1 + draw(&random, one->n_pages), thread);
        }
    }
    for (unsigned i = 0; i < N_HELD; i++)
        if (held[i].n_pages > 0)
            give(&held[i], held[i].n_pages, thread);
    quire_buddy_cache_drain(caches[thread]);
    atomic_fetch_sub(&n_running, 1);
    return NULL;
}

static bool has_no_owner(void *context, quire_page page, unsigned order)
{
    for (quire_page end = page + (1u << order); page < end; page++)
        REQUIRE(atomic_load_explicit(&owners[page], memory_order_relaxed) == 0);
    ++*(unsigned *)context;
    return true;
}

static void look_on(void)
{
    unsigned n_visits = 0;
    while (atomic_load(&n_running) > 0 || n_visits == 0) { /* others may be done before it begins */
        REQUIRE(quire_buddy_validate(buddy) == 0);
        for (unsigned zone = 0; zone < 2; zone++) {
            struct quire_buddy_counts counts;
            REQUIRE(quire_buddy_counts(buddy, zone, &counts) == 0);
            REQUIRE(counts.n_pages == counts.n_allocated + counts.n_free + counts.n_fresh);
            REQUIRE(quire_buddy_each_free(buddy, zone, 0, has_no_owner, &n_visits) == 0);
        }
        quire_buddy_lock_all(buddy);
        quire_buddy_unlock_all(buddy);
    }
}

int main(void)
{
    struct quire_buddy_zone zones[2] = {{3, 1500, NULL}, {1503, N_PAGES - 1503, NULL}};
    struct quire_buddy_config config = {
        .max_order = 8, .n_zones = 2, .zones = zones, .by_mobility = true};
    size_t n_bytes = quire_buddy_metadata_bytes(&config);
    void *metadata = aligned_alloc(4096, (n_bytes + 4095) & ~(size_t)4095);
    for (size_t i = 0; i < n_bytes; i++)
        ((char *)metadata)[i] = 0;
    REQUIRE(quire_buddy_init(&config, metadata, n_bytes, &buddy) == 0);

    pthread_t threads[N_THREADS];
    n_running = N_THREADS;
    for (unsigned i = 1; i <= N_THREADS; i++) {
        struct quire_buddy_request request = {.mobility = (uint8_t)(i % 3)};
        void *memory = aligned_alloc(QUIRE_BUDDY_ALIGNMENT, quire_buddy_cache_bytes());
        REQUIRE(quire_buddy_cache_init(buddy, &request, 40, memory, &caches[i]) == 0);
    }
    for (unsigned i = 0; i < N_THREADS; i++)
        REQUIRE(pthread_create(&threads[i], NULL, work, (void *)(uintptr_t)(i + 1)) == 0);
    look_on();
    for (unsigned i = 0; i < N_THREADS; i++)
        pthread_join(threads[i], NULL);

    REQUIRE(quire_buddy_validate(buddy) == 0);
    for (unsigned zone = 0; zone < 2; zone++) {
        struct quire_buddy_counts counts;
        REQUIRE(quire_buddy_counts(buddy, zone, &counts) == 0 && counts.n_allocated == 0);
    }
    for (unsigned i = 1; i <= N_THREADS; i++)
        free(caches[i]);
    free(metadata);
    return 0;
}
