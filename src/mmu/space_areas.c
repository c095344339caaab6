/* SPDX-License-Identifier: Apache-2.0 */
/* space_areas: the sorted array of areas of an address space (S1 in space.c); see space_areas.h. */
#include "mmu/space_areas.h"

#include <string.h>

uint32_t space_first_above(const struct quire_space *space, uint64_t va)
{
    uint32_t low = 0, high = space->n_areas;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (space->areas[middle].va + (space->areas[middle].n_bytes - 1) < va)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct quire_space_area *space_find_area(const struct quire_space *space, uint64_t va)
{
    uint32_t i = space_first_above(space, va);
    return i < space->n_areas && space->areas[i].va <= va ? &space->areas[i] : NULL;
}

bool space_is_range(const struct quire_space *space, uint64_t va, uint64_t n_bytes)
{
    uint64_t mask = space->page_bytes - 1;
    return n_bytes != 0 && ((va | n_bytes) & mask) == 0 && va + (n_bytes - 1) >= va;
}

void space_insert_area(struct quire_space *space, uint32_t at, const struct quire_space_area *area)
{
    memmove(&space->areas[at + 1], &space->areas[at],
            (space->n_areas - at) * sizeof space->areas[0]);
    space->areas[at] = *area;
    space->n_areas++;
}

void space_remove_area(struct quire_space *space, uint32_t at)
{
    space->n_areas--;
    memmove(&space->areas[at], &space->areas[at + 1],
            (space->n_areas - at) * sizeof space->areas[0]);
}

void space_split(struct quire_space *space, uint64_t va)
{
    struct quire_space_area *area = space_find_area(space, va);

    if (area == NULL || area->va == va)
        return;
    struct quire_space_area second = *area;
    area->n_bytes = va - area->va;
    second.va = va;
    second.n_bytes -= area->n_bytes;
    space_insert_area(space, (uint32_t)(area - space->areas) + 1, &second);
}

bool space_has_room(const struct quire_space *space, uint64_t va, uint64_t n_bytes)
{
    uint64_t end = va + n_bytes;
    const struct quire_space_area *first = space_find_area(space, va);
    const struct quire_space_area *last = end != 0 ? space_find_area(space, end) : NULL;
    uint32_t n = (first != NULL && first->va != va) + (last != NULL && last->va != end);

    return space->max_areas - space->n_areas >= n;
}

bool space_is_covered(const struct quire_space *space, uint64_t va, uint64_t n_bytes)
{
    uint64_t last = va + (n_bytes - 1);

    for (const struct quire_space_area *area = space_find_area(space, va);
         area != NULL && area < space->areas + space->n_areas && area->va <= va; area++) {
        va = area->va + area->n_bytes;
        if (va - 1 >= last)
            return true;
    }
    return false;
}
