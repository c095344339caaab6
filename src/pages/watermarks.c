/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watermarks: how many pages of a zone are kept back, and who is told when they run short.
 *
 *     0 ....... min ........ low ............... high ................ free and fresh pages
 *       below_min    others        watch(true) when it falls below low,
 *       only         only if no    watch(false) when it is at high again
 *                    zone is above low
 *
 * Source: the Linux kernel's admin-guide/sysctl/vm.rst, min_free_kbytes and watermark_scale_factor.
 */
#include "pages/buddy.h"

#include <errno.h>
#include <string.h>

#define PAGE_KIB 4u
#define LEAST_MIN_KIB 128u
#define MOST_MIN_KIB 262144u
#define SCALE 1000u /* low and high lie at least 1/1000 of the zone above the mark below */

static uint64_t square_root(uint64_t n) /* rounded down */
{
    uint64_t root = 0;
    for (uint64_t bit = (uint64_t)1 << 31; bit != 0; bit >>= 1)
        if ((root + bit) * (root + bit) <= n)
            root += bit;
    return root;
}

static uint32_t at_most(uint64_t n, uint32_t most)
{
    return n < most ? (uint32_t)n : most;
}

void watermarks_init(struct quire_buddy *buddy, enum quire_buddy_watermarks kind)
{
    uint64_t n_pages = 0;

    if (kind == QUIRE_BUDDY_NO_WATERMARKS)
        return;
    for (unsigned i = 0; i < buddy->n_zones; i++)
        n_pages += buddy->zones[i].end - buddy->zones[i].first;
    uint64_t min_kib = square_root(n_pages * PAGE_KIB * 16);
    min_kib = min_kib < LEAST_MIN_KIB  ? LEAST_MIN_KIB
              : min_kib > MOST_MIN_KIB ? MOST_MIN_KIB
                                       : min_kib;
    for (unsigned i = 0; i < buddy->n_zones; i++) {
        struct zone *zone = &buddy->zones[i];
        uint32_t size = zone->end - zone->first;
        uint64_t min = min_kib / PAGE_KIB * size / n_pages;
        uint64_t step = min / 4 > size / SCALE ? min / 4 : size / SCALE;
        zone->min = at_most(min, size);
        zone->low = at_most(min + step, size);
        zone->high = at_most(min + 2 * step, size);
    }
}

bool watermarks_crossed(struct zone *zone)
{
    uint32_t n_available = zone_n_available(zone);

    if (zone->high == 0 && !zone->is_low)
        return false;
    if (n_available < zone->low ? zone->is_low : !zone->is_low || n_available < zone->high)
        return false;
    zone->is_low = !zone->is_low;
    return true;
}

int quire_buddy_marks(struct quire_buddy *buddy, unsigned index, struct quire_buddy_marks *marks)
{
    if (index >= buddy->n_zones)
        return -EINVAL;
    struct zone *zone = &buddy->zones[index];
    lock_take(&zone->lock);
    *marks = (struct quire_buddy_marks){zone->min, zone->low, zone->high};
    lock_release(&zone->lock);
    return 0;
}

int quire_buddy_set_marks(struct quire_buddy *buddy, unsigned index,
                          const struct quire_buddy_marks *marks)
{
    if (index >= buddy->n_zones)
        return -EINVAL;
    struct zone *zone = &buddy->zones[index];
    if (marks->min > marks->low || marks->low > marks->high ||
        marks->high > zone->end - zone->first)
        return -EINVAL;
    lock_take(&zone->lock);
    zone->min = marks->min;
    zone->low = marks->low;
    zone->high = marks->high;
    buddy_unlock(buddy, zone);
    return 0;
}

void quire_buddy_watch(struct quire_buddy *buddy,
                       void (*watch)(void *context, unsigned zone, bool is_low), void *context)
{
    buddy->watch = watch;
    buddy->watch_context = context;
}
