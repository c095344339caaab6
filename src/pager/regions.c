/* SPDX-License-Identifier: Apache-2.0 */
/* regions: see regions.h. Every change is: split at both ends, change what lies between, merge. */
#include "pager/regions.h"

#include "base/meta.h"

#include <errno.h>
#include <string.h>

int regions_init(struct regions *regions, uint32_t capacity)
{
    *regions = (struct regions){.capacity = capacity};
    regions->array = meta_map(capacity * sizeof(struct region));
    return regions->array ? 0 : -ENOMEM;
}

static inline uint32_t end_of(const struct region *region)
{
    return region->first + region->n_pages;
}

/* Index of the first region that ends behind `page`. */
static uint32_t lower_bound(const struct regions *regions, uint32_t page)
{
    uint32_t low = 0, high = regions->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (end_of(&regions->array[middle]) > page)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static void insert(struct regions *regions, uint32_t at, struct region region)
{
    memmove(&regions->array[at + 1], &regions->array[at],
            (regions->count - at) * sizeof(struct region));
    regions->array[at] = region;
    regions->count++;
    if (region.flags & REGION_LOCKED)
        regions->n_locked++;
    if (regions->count > regions->charged) {
        regions->charged += 128;
        meta_charge(128 * (long)sizeof(struct region));
    }
}

static void erase(struct regions *regions, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++)
        regions->n_locked -= (regions->array[i].flags & REGION_LOCKED) != 0;
    memmove(&regions->array[from], &regions->array[to],
            (regions->count - to) * sizeof(struct region));
    regions->count -= to - from;
}

/* Cuts the region that `page` lies inside of, so that one begins at `page`. */
static void split(struct regions *regions, uint32_t page)
{
    uint32_t at = lower_bound(regions, page);
    if (at == regions->count || regions->array[at].first >= page)
        return;
    struct region tail = regions->array[at];
    tail.n_pages = end_of(&tail) - page;
    tail.first = page;
    regions->array[at].n_pages -= tail.n_pages;
    insert(regions, at + 1, tail);
}

/* Joins array[at] with the one behind it where they touch and are alike. */
static void merge(struct regions *regions, uint32_t at)
{
    if (at + 1 >= regions->count)
        return;
    struct region *left = &regions->array[at], *right = left + 1;
    if (end_of(left) != right->first || left->flags != right->flags)
        return;
    left->n_pages += right->n_pages;
    erase(regions, at + 1, at + 2);
}

/* Every change adds at most two regions by splitting and one by inserting. */
static bool has_room(const struct regions *regions)
{
    return regions->count + 3 <= regions->capacity;
}

int regions_clear(struct regions *regions, uint32_t first, uint32_t n_pages)
{
    if (!has_room(regions))
        return -ENOMEM;
    split(regions, first);
    split(regions, first + n_pages);
    erase(regions, lower_bound(regions, first), lower_bound(regions, first + n_pages));
    return 0;
}

int regions_set(struct regions *regions, uint32_t first, uint32_t n_pages, uint32_t flags)
{
    int error = regions_clear(regions, first, n_pages);
    if (error)
        return error;
    uint32_t at = lower_bound(regions, first);
    insert(regions, at, (struct region){first, n_pages, flags});
    merge(regions, at);
    if (at > 0)
        merge(regions, at - 1);
    return 0;
}

int regions_change(struct regions *regions, uint32_t first, uint32_t n_pages, uint32_t set,
                   uint32_t clear)
{
    if (!has_room(regions))
        return -ENOMEM;
    split(regions, first);
    split(regions, first + n_pages);
    uint32_t from = lower_bound(regions, first), to = lower_bound(regions, first + n_pages);
    for (uint32_t i = from; i < to; i++) {
        uint32_t *flags = &regions->array[i].flags;
        regions->n_locked -= (*flags & REGION_LOCKED) != 0;
        *flags = (*flags & ~clear) | set;
        regions->n_locked += (*flags & REGION_LOCKED) != 0;
    }
    for (uint32_t i = to; i-- > from;)
        merge(regions, i);
    if (from > 0)
        merge(regions, from - 1);
    return 0;
}

const struct region *regions_find(const struct regions *regions, uint32_t page)
{
    uint32_t at = lower_bound(regions, page);
    return at < regions->count ? &regions->array[at] : NULL;
}

uint32_t regions_count(const struct regions *regions, uint32_t first, uint32_t n_pages,
                       uint32_t flags)
{
    uint32_t end = first + n_pages, n = 0;
    for (uint32_t i = lower_bound(regions, first); i < regions->count; i++) {
        const struct region *region = &regions->array[i];
        if (region->first >= end)
            break;
        uint32_t from = region->first > first ? region->first : first;
        uint32_t to = end_of(region) < end ? end_of(region) : end;
        if ((region->flags & flags) == flags)
            n += to - from;
    }
    return n;
}
