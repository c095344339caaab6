/* SPDX-License-Identifier: Apache-2.0 */
/* standing: see standing.h. */
#include "pager/standing.h"

#include "base/relax.h"
#include "pager/internal.h"

#include <sys/mman.h>

#define MOST_STANDING 64 /* threads at a time; more wait */
#define N_SPINS 400
#define PAUSE_NS 100000

/* The first page, and in the upper half the one behind the last; 0: free. */
static _Atomic uint64_t ranges[MOST_STANDING];
static _Atomic uint32_t n_standing;
static _Atomic uint32_t turn; /* odd: it is somebody's */

static uint32_t page_within(const char *address)
{
    if (address < pager.base)
        return 0;
    const char *end = page_address(pager.n_pages);
    return address < end ? page_of(address) : pager.n_pages;
}

static unsigned say(uint64_t range)
{
    for (;;) {
        for (unsigned i = 0; i < MOST_STANDING; i++) {
            uint64_t none = 0;
            if (atomic_compare_exchange_strong(&ranges[i], &none, range))
                return i + 1;
        }
        sys_sleep_ns(PAUSE_NS);
    }
}

static void wait_for_turn(void)
{
    const uint32_t now = atomic_load(&turn);
    for (unsigned i = 0; now % 2 != 0 && atomic_load(&turn) == now; i++) {
        if (i < N_SPINS)
            relax();
        else
            sys_sleep_ns(PAUSE_NS);
    }
}

/* One by one where there is one that the kernel refuses. */
static void touch(uint32_t from, uint32_t to)
{
    char *address = page_address(from);
    if (sys_madvise(address, (size_t)(to - from) << SYS_PAGE_SHIFT, MADV_POPULATE_WRITE) == 0)
        return;
    for (uint32_t page = from; page < to; page++)
        sys_madvise(page_address(page), SYS_PAGE_SIZE, MADV_POPULATE_WRITE);
}

unsigned standing_begin(size_t n_below, size_t n_above)
{
    const char *here = __builtin_frame_address(0);
    if (here < pager.base || here >= page_address(pager.n_pages))
        return 0;
    const uint32_t from = page_within(here - n_below), to = page_within(here + n_above) + 1;
    atomic_fetch_add(&n_standing, 1);
    const unsigned place = say((uint64_t)to << 32 | from);
    wait_for_turn();
    touch(from, to <= pager.n_pages ? to : pager.n_pages);
    return place;
}

void standing_end(unsigned place)
{
    if (place == 0)
        return;
    atomic_store(&ranges[place - 1], 0);
    atomic_fetch_sub(&n_standing, 1);
}

void standing_fork_child(void)
{
    for (unsigned i = 0; i < MOST_STANDING; i++)
        atomic_store(&ranges[i], 0);
    atomic_store(&n_standing, 0);
    atomic_store(&turn, 0);
}

void standing_turn_begins(void)
{
    atomic_fetch_add(&turn, 1);
}

void standing_turn_ends(void)
{
    atomic_fetch_add(&turn, 1);
}

void standing_each(void (*apply)(uint32_t from, uint32_t to))
{
    for (unsigned i = 0; atomic_load(&n_standing) > 0 && i < MOST_STANDING; i++) {
        const uint64_t range = atomic_load(&ranges[i]);
        const uint32_t end = (uint32_t)(range >> 32);
        if (range != 0)
            apply((uint32_t)range, end <= pager.n_pages ? end : pager.n_pages);
    }
}

uint32_t standing_before(uint32_t page, uint32_t n_pages)
{
    for (unsigned i = 0; atomic_load(&n_standing) > 0 && i < MOST_STANDING; i++) {
        const uint64_t range = atomic_load(&ranges[i]);
        const uint32_t from = (uint32_t)range, to = (uint32_t)(range >> 32);
        if (page < to && from < page + n_pages)
            n_pages = from > page ? from - page : 0;
    }
    return n_pages;
}
