/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pager's table against an array: random set, get and next, in bursts that fill and empty
 * chunks. Invariant T1 is recomputed on the way. QUIRE_TEST_SEED replays a run.
 */
#include "store_pages.h"

#include "base/meta.h"
#include "pager/table.h"

#define N_PAGES (9u * TABLE_CHUNK_PAGES + 77) /* the last chunk is a part of one */
#define N_STEPS 200000u

static uint64_t seed, random_state;
static struct table table;
static page_entry oracle[N_PAGES];

#define REQUIRE(condition)                                                                   \
    do {                                                                                     \
        if (!(condition)) {                                                                  \
            fprintf(stderr, "%s:%d: %s: not so; QUIRE_TEST_SEED=%llu\n", __FILE__, __LINE__, \
                    #condition, (unsigned long long)seed);                                   \
            abort();                                                                         \
        }                                                                                    \
    } while (0)

static uint32_t draw(uint32_t below)
{
    return (uint32_t)(next_random(&random_state) >> 32) % below;
}

static void set(uint32_t page, page_entry entry)
{
    table_set(&table, page, entry);
    oracle[page] = entry;
}

static page_entry draw_entry(void)
{
    if (draw(3) == 0)
        return 0;
    page_entry entry = page_make((enum page_state)draw(4), next_random(&random_state) >> 16);
    return draw(4) ? entry : entry | PAGE_BUSY;
}

/* A run of pages gets entries of its own, or none. */
static void set_run(void)
{
    uint32_t page = draw(N_PAGES), n = 1 + draw(1u << draw(11));
    bool clear = draw(2);
    for (; n > 0 && page < N_PAGES; page++, n--)
        set(page, clear ? 0 : draw_entry());
}

static void clear_all(void)
{
    for (uint32_t page = 0; page < N_PAGES; page++)
        set(page, 0);
    for (unsigned i = 0; i < 3; i++) /* where chunks begin and end */
        set(draw(N_PAGES / TABLE_CHUNK_PAGES) * TABLE_CHUNK_PAGES + draw(2) * 511, draw_entry());
}

static uint32_t expected_next(uint32_t page, uint32_t end)
{
    while (page < end && oracle[page] == 0)
        page++;
    return page;
}

static void check_next(void)
{
    uint32_t page = draw(N_PAGES), end = page + draw(N_PAGES - page + 1);
    REQUIRE(table_next(&table, page, end) == expected_next(page, end));
    REQUIRE(table_next(&table, end, end) == end);
}

static void check_all(void)
{
    uint32_t page = 0;
    for (uint32_t first = 0; first < N_PAGES; first += TABLE_CHUNK_PAGES) {
        unsigned n_used = 0;
        for (uint32_t i = first; i < first + TABLE_CHUNK_PAGES && i < N_PAGES; i++) {
            REQUIRE(table_get(&table, i) == oracle[i]);
            n_used += oracle[i] != 0;
        }
        unsigned said = table.n_used[first >> TABLE_CHUNK_SHIFT];
        REQUIRE((said & ~(unsigned)TABLE_TOUCHED) == n_used); /* T1 */
        REQUIRE(table_chunk_used(&table, first) == (n_used > 0));
    }
    for (page = 0; (page = table_next(&table, page, N_PAGES)) < N_PAGES; page++)
        REQUIRE(oracle[page] != 0 && page < table.highest);
}

/* Metadata is charged once for each chunk that was ever touched. */
static void check_charge(size_t before)
{
    size_t n_touched = 0;
    for (uint32_t chunk = 0; chunk <= N_PAGES >> TABLE_CHUNK_SHIFT; chunk++)
        n_touched += (table.n_used[chunk] & TABLE_TOUCHED) != 0;
    REQUIRE(meta_bytes() - before == n_touched * TABLE_CHUNK_PAGES * sizeof(page_entry));
}

int main(void)
{
    seed = test_seed();
    printf("QUIRE_TEST_SEED=%llu\n", (unsigned long long)seed);
    random_state = seed * 2 + 1;
    REQUIRE(table_init(&table, N_PAGES) == 0);
    size_t before = meta_bytes();
    REQUIRE(table_next(&table, 0, N_PAGES) == N_PAGES);
    for (unsigned step = 0; step < N_STEPS; step++) {
        if (draw(300) == 0) /* then most chunks are empty, and some have one entry */
            clear_all();
        if (draw(50) == 0)
            set_run();
        else
            set(draw(N_PAGES), draw_entry());
        uint32_t page = draw(N_PAGES);
        REQUIRE(table_get(&table, page) == oracle[page]);
        if (draw(20) == 0)
            check_next();
        if (step % 10000 == 0)
            check_all();
    }
    check_all();
    check_charge(before);
    return 0;
}
