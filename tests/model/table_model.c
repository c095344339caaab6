/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pager's table against an array: random set, get and next, in bursts that fill and empty
 * chunks, and in sparse patterns where groups come and go. table_validate() recomputes the
 * invariants on the way, and is itself tried on damage. Marks stay as long as an entry is not 0.
 * QUIRE_TEST_SEED replays a run.
 */
#include "page_random.h"

#include "base/checked.h"
#include "base/meta.h"
#include "pager/table.h"

#include <fcntl.h>
#include <unistd.h>

#define N_PAGES (67u * TABLE_CHUNK_PAGES + 77) /* three pages of index; the last chunk is cut */
#define N_STEPS 200000u

static struct table table;
static page_entry oracle[N_PAGES];
static policy_mark marks[N_PAGES];
static uint8_t in_group[N_PAGES / TABLE_GROUP_PAGES + 1]; /* entries that are not 0 */
static uint32_t n_groups, most_groups;                    /* that exist, that did at a time */

static void set(uint32_t page, page_entry entry)
{
    uint8_t *n = &in_group[page / TABLE_GROUP_PAGES];
    n_groups -= *n > 0;
    *n = (uint8_t)(*n + (entry != 0) - (oracle[page] != 0));
    n_groups += *n > 0;
    if (n_groups > most_groups)
        most_groups = n_groups;
    table_set(&table, page, entry);
    oracle[page] = entry;
    if (entry == 0)
        marks[page] = 0;
}

static void set_mark(uint32_t page)
{
    if (oracle[page] == 0)
        return;
    marks[page] = (policy_mark)draw(1u << POLICY_MARK_BITS);
    table_set_mark(&table, page, marks[page]);
}

static page_entry draw_some_entry(void)
{
    page_entry entry = page_make((enum page_state)draw(4), next_random(&random_state) >> 16 | 1);
    return draw(4) ? entry : entry | PAGE_BUSY;
}

static page_entry draw_entry(void)
{
    return draw(3) ? draw_some_entry() : 0;
}

/* A run of pages gets entries of its own, or none. */
static void set_run(void)
{
    uint32_t page = draw(N_PAGES), n = 1 + draw(1u << draw(13));
    bool clear = draw(2);
    for (; n > 0 && page < N_PAGES; page++, n--)
        set(page, clear ? 0 : draw_entry());
}

/* Every so many pages one gets an entry, or none: many groups of little. */
static void set_comb(void)
{
    uint32_t stride = 1 + draw(40);
    bool clear = draw(2);
    for (uint32_t page = draw(stride); page < N_PAGES; page += stride)
        set(page, clear ? 0 : draw_some_entry());
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

/* What was ever touched is charged: pages of groups, up to three of the index, one of counts. */
static void check_charge(size_t before)
{
    REQUIRE(meta_bytes() - before == table.charged_bytes);
    REQUIRE(table.n_opened == most_groups); /* empty groups are used again first */
    size_t groups = round_up(table.n_opened * sizeof(struct table_group), SYS_PAGE_SIZE);
    size_t others = table.charged_bytes - groups;
    REQUIRE(others <= 4 * SYS_PAGE_SIZE && (others > 0) == (table.n_opened > 0));
}

static void check_all(size_t before)
{
    for (uint32_t first = 0; first < N_PAGES; first += TABLE_CHUNK_PAGES) {
        unsigned n_used = 0;
        for (uint32_t i = first; i < first + TABLE_CHUNK_PAGES && i < N_PAGES; i++) {
            REQUIRE(table_get(&table, i) == oracle[i]);
            REQUIRE(table_mark(&table, i) == marks[i]);
            REQUIRE(oracle[i] == 0 || table_get_busy(&table, i) == oracle[i]);
            n_used += oracle[i] != 0;
        }
        REQUIRE(table_chunk_used(&table, first) == (n_used > 0));
    }
    for (uint32_t page = 0; (page = table_next(&table, page, N_PAGES)) < N_PAGES; page++)
        REQUIRE(oracle[page] != 0 && page < table.highest);
    check_charge(before);
    REQUIRE(table_validate(&table) == 0);
}

/* A group that holds something stays where it is, whatever happens around it. */
static void check_that_groups_stay(void)
{
    uint32_t page = draw(N_PAGES);
    set(page, draw_some_entry());
    const page_entry *where = table_entry(&table, table_word(&table, page), page);
    uint32_t kept = page & ~(TABLE_GROUP_PAGES - 1);
    for (uint32_t i = 0; i < N_PAGES; i++)
        if (i != page && (i / 1000 % 2 || (i >= kept && i < kept + TABLE_GROUP_PAGES)))
            set(i, draw_entry());
    REQUIRE(table_entry(&table, table_word(&table, page), page) == where);
    REQUIRE((*where & ~PAGE_MARK_MASK) == oracle[page]);
}

/* One damage at a time, undone again: the table must be found not to be valid. */
static void check_that_damage_is_seen(void)
{
    uint32_t page = expected_next(0, N_PAGES), word = table_word(&table, page);
    uint32_t other = expected_next((page | (TABLE_GROUP_PAGES - 1)) + 1, N_PAGES);
    uint16_t n_used = table.n_used[page >> TABLE_CHUNK_SHIFT];
    REQUIRE(other < N_PAGES && table.free_group != 0);

    table.n_used[page >> TABLE_CHUNK_SHIFT]++;
    REQUIRE(table_validate(&table) != 0); /* T1 */
    table.n_used[page >> TABLE_CHUNK_SHIFT] = n_used;
    *table_entry(&table, word, page) = 0;
    REQUIRE(table_validate(&table) != 0); /* T2 */
    *table_entry(&table, word, page) = oracle[page];
    uint32_t free_group = table.free_group;
    table.free_group = (word >> TABLE_COUNT_BITS) + 1;
    REQUIRE(table_validate(&table) != 0); /* T3: linked and free */
    table.free_group = 0;
    REQUIRE(table_validate(&table) != 0); /* T3: lost */
    table.free_group = free_group;
    table.groups[free_group - 1].entry[7] = 1;
    REQUIRE(table_validate(&table) != 0); /* T3: free and not empty */
    table.groups[free_group - 1].entry[7] = 0;
    uint32_t highest = table.highest;
    table.highest = page & ~(TABLE_CHUNK_PAGES - 1);
    REQUIRE(table_validate(&table) != 0); /* T4 */
    table.highest = highest;
    table.charged_bytes += SYS_PAGE_SIZE;
    REQUIRE(table_validate(&table) != 0); /* T5 */
    table.charged_bytes -= SYS_PAGE_SIZE;
    table.n_stored++;
    REQUIRE(table_validate(&table) != 0); /* T6 */
    table.n_stored--;
    REQUIRE(table_validate(&table) == 0);
}

/* What is reported of it is not what a reader of the log looks for. */
static void check_damage_quietly(void)
{
    int copy = dup(STDERR_FILENO), null = open("/dev/null", O_WRONLY);
    REQUIRE(copy >= 0 && null >= 0);
    dup2(null, STDERR_FILENO);
    check_that_damage_is_seen();
    dup2(copy, STDERR_FILENO);
    close(copy);
    close(null);
}

static void step(void)
{
    if (draw(300) == 0) /* then most chunks are empty, and some have one entry */
        clear_all();
    if (draw(1000) == 0)
        set_comb();
    if (draw(50) == 0)
        set_run();
    else
        set(draw(N_PAGES), draw_entry());
    uint32_t page = draw(N_PAGES);
    set_mark(page);
    page = draw(N_PAGES);
    REQUIRE(table_get(&table, page) == oracle[page] && table_mark(&table, page) == marks[page]);
    if (draw(20) == 0)
        check_next();
}

int main(void)
{
    begin_random();
    size_t before = meta_bytes();
    REQUIRE(table_init(&table, N_PAGES) == 0);
    REQUIRE(table_next(&table, 0, N_PAGES) == N_PAGES && table_validate(&table) == 0);
    for (unsigned i = 0; i < N_STEPS; i++) {
        step();
        if (i % 10000 == 0)
            check_all(before);
    }
    check_all(before);
    check_that_groups_stay();
    check_all(before);
    clear_all();
    set(3, draw_some_entry());
    set(N_PAGES - 1, draw_some_entry());
    check_damage_quietly();
    for (uint32_t page = 0; page < N_PAGES; page++)
        set(page, 0);
    check_all(before);
    return 0;
}
