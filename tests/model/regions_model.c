/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pager's regions against an array with the flags of each page: random set, change, clear, find
 * and count. Invariant R1, the number of locked regions, and that neighbours of like kind are
 * merged, are checked after each step. QUIRE_TEST_SEED replays a run.
 */
#include "page_random.h"

#include "pager/regions.h"

#include <errno.h>
#include <sys/mman.h>

#define N_PAGES 3000u
#define N_STEPS 30000u
#define CAPACITY (N_PAGES + 8)
#define UNMAPPED UINT32_MAX

static struct regions regions;
static uint32_t oracle[N_PAGES]; /* flags, or UNMAPPED */

static uint32_t draw_flags(void)
{
    static const uint32_t flags[] = {
        REGION_ACCESS | PROT_READ << REGION_PROT_SHIFT,
        REGION_ACCESS | (PROT_READ | PROT_WRITE) << REGION_PROT_SHIFT,
        REGION_ACCESS | REGION_LOCKED,
        REGION_FOREIGN,
        REGION_LOCKED,
        0,
    };
    return flags[draw(6)];
}

static void draw_range(uint32_t *first, uint32_t *n_pages)
{
    *first = draw(N_PAGES);
    *n_pages = 1 + draw(1u << draw(11));
    if (*n_pages > N_PAGES - *first)
        *n_pages = N_PAGES - *first;
}

static void step(void)
{
    uint32_t first, n_pages, set = draw_flags(), clear = draw_flags();
    draw_range(&first, &n_pages);
    unsigned what = draw(3);
    if (what == 0)
        REQUIRE(regions_set(&regions, first, n_pages, set) == 0);
    else if (what == 1)
        REQUIRE(regions_change(&regions, first, n_pages, set, clear) == 0);
    else
        REQUIRE(regions_clear(&regions, first, n_pages) == 0);
    for (uint32_t page = first; page < first + n_pages; page++) {
        if (what == 0)
            oracle[page] = set;
        else if (what == 1 && oracle[page] != UNMAPPED)
            oracle[page] = (oracle[page] & ~clear) | set;
        else if (what == 2)
            oracle[page] = UNMAPPED;
    }
}

/* The array says of each page what the oracle says, in the order and the number it should. */
static void check_array(void)
{
    uint32_t end = 0, n_locked = 0;
    for (uint32_t i = 0; i < regions.count; i++) {
        const struct region *region = &regions.array[i];
        REQUIRE(region->n_pages > 0 && region->first >= end); /* R1 */
        if (i > 0 && region->first == end)
            REQUIRE(region->flags != regions.array[i - 1].flags); /* else it would be merged */
        for (; end < region->first; end++)
            REQUIRE(oracle[end] == UNMAPPED);
        for (; end < region->first + region->n_pages; end++)
            REQUIRE(oracle[end] == region->flags);
        n_locked += (region->flags & REGION_LOCKED) != 0;
    }
    for (; end < N_PAGES; end++)
        REQUIRE(oracle[end] == UNMAPPED);
    REQUIRE(regions.n_locked == n_locked);
}

static void check_find(void)
{
    uint32_t page = draw(N_PAGES), at = page;
    while (at < N_PAGES && oracle[at] == UNMAPPED)
        at++;
    const struct region *region = regions_find(&regions, page);
    REQUIRE((region != NULL) == (at < N_PAGES));
    if (region)
        REQUIRE(region->first <= at && at < region->first + region->n_pages &&
                (at == page || region->first == at));
}

static void check_count(void)
{
    uint32_t first, n_pages, flags = draw_flags(), n = 0;
    draw_range(&first, &n_pages);
    for (uint32_t page = first; page < first + n_pages; page++)
        n += oracle[page] != UNMAPPED && (oracle[page] & flags) == flags;
    REQUIRE(regions_count(&regions, first, n_pages, flags) == n);
}

/* Full means refused and unchanged, whatever is asked for. */
static void check_full(void)
{
    struct regions small;
    REQUIRE(regions_init(&small, 8) == 0);
    for (uint32_t i = 0; i < 6; i++)
        REQUIRE(regions_set(&small, 10 * i, 5, REGION_ACCESS) == 0);
    REQUIRE(regions_set(&small, 100, 1, REGION_ACCESS) == -ENOMEM);
    REQUIRE(regions_clear(&small, 11, 1) == -ENOMEM);
    REQUIRE(regions_change(&small, 11, 1, REGION_LOCKED, 0) == -ENOMEM);
    REQUIRE(small.count == 6 && small.n_locked == 0);
    REQUIRE(regions_count(&small, 0, 1000, REGION_ACCESS) == 30);
}

int main(void)
{
    begin_random();
    REQUIRE(regions_init(&regions, CAPACITY) == 0);
    memset(oracle, 0xff, sizeof oracle);
    for (unsigned i = 0; i < N_STEPS; i++) {
        step();
        check_array();
        check_find();
        check_count();
    }
    REQUIRE(regions_clear(&regions, 0, N_PAGES) == 0 && regions.count == 0);
    REQUIRE(regions.n_locked == 0 && regions_find(&regions, 0) == NULL);
    check_full();
    return 0;
}
