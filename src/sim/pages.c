/* SPDX-License-Identifier: Apache-2.0 */
/* pages: see pages.h. Open addressing, linear probing. */
#include "sim/pages.h"

#include <errno.h>

#define FREE 0u
#define GONE 1u
#define LEAST_SLOTS 16384u
#define PAGES_GROUP 128u /* of which slots are fetched, then keys, then all is compared */

int pages_init(struct pages *pages)
{
    *pages = (struct pages){.mask = LEAST_SLOTS - 1, .end = QUIRE_SIM_FIRST_PAGE};
    int error = array_grow(&pages->slots, LEAST_SLOTS * sizeof(uint32_t));
    return error ? error : array_grow(&pages->keys, LEAST_SLOTS * sizeof(uint64_t));
}

void pages_deinit(struct pages *pages)
{
    array_free(&pages->slots);
    array_free(&pages->keys);
    array_free(&pages->owners);
}

static uint32_t *slots_of(const struct pages *pages)
{
    return pages->slots.base;
}

static bool is_at(const struct pages *pages, uint32_t number, uint64_t key, uint32_t owner)
{
    return number >= QUIRE_SIM_FIRST_PAGE && pages_key(pages, number) == key &&
           pages_owner(pages, number) == owner;
}

uint32_t pages_look(const struct pages *pages, uint64_t key, uint32_t owner)
{
    const uint32_t *slots = slots_of(pages);
    for (uint64_t at = pages_hash(key, owner) & pages->mask;; at = (at + 1) & pages->mask) {
        if (slots[at] == FREE)
            return 0;
        if (is_at(pages, slots[at], key, owner))
            return slots[at];
    }
}

/* All numbers that are alive into `to`, of which there are mask + 1 slots. */
static void fill(const struct pages *pages, uint32_t *to, uint64_t mask)
{
    const uint32_t *slots = slots_of(pages);
    for (uint64_t i = 0; i <= pages->mask; i++) {
        if (slots[i] < QUIRE_SIM_FIRST_PAGE)
            continue;
        uint64_t at = pages_hash(pages_key(pages, slots[i]), pages_owner(pages, slots[i])) & mask;
        while (to[at] != FREE)
            at = (at + 1) & mask;
        to[at] = slots[i];
    }
}

static uint64_t count_alive(const struct pages *pages)
{
    uint64_t n = 0;
    for (uint64_t i = 0; i <= pages->mask; i++)
        n += slots_of(pages)[i] >= QUIRE_SIM_FIRST_PAGE;
    return n;
}

/* Room for n more: twice the slots, or the same without what is gone. */
static int make_room(struct pages *pages, size_t n)
{
    if (pages->n_used + n <= (pages->mask + 1) / 4 * 3)
        return 0;
    uint64_t n_alive = count_alive(pages), n_slots = pages->mask + 1;
    while (n_alive + n > n_slots / 2)
        n_slots *= 2;
    struct array larger = {0};
    int error = array_grow(&larger, n_slots * sizeof(uint32_t));
    if (error)
        return error;
    fill(pages, larger.base, n_slots - 1);
    array_free(&pages->slots);
    pages->slots = larger;
    pages->mask = n_slots - 1;
    pages->n_used = n_alive;
    return 0;
}

static int prepare(struct pages *pages, const uint32_t *owners, size_t n)
{
    if (n > QUIRE_SIM_MAX_PAGES + QUIRE_SIM_FIRST_PAGE - pages->end)
        return -E2BIG;
    uint32_t any = 0;
    for (size_t i = 0; owners != NULL && i < n; i++)
        any |= owners[i];
    pages->has_owners |= any != 0;
    int error = make_room(pages, n);
    if (!error)
        error = array_grow(&pages->keys, ((size_t)pages->end + n) * sizeof(uint64_t));
    if (!error && pages->has_owners)
        error = array_grow(&pages->owners, ((size_t)pages->end + n) * sizeof(uint32_t));
    return error;
}

static uint32_t find_or_add(struct pages *pages, uint64_t at, uint64_t key, uint32_t owner)
{
    uint32_t *slots = slots_of(pages);
    for (;; at = (at + 1) & pages->mask) {
        if (slots[at] == FREE)
            break;
        if (is_at(pages, slots[at], key, owner))
            return slots[at];
    }
    slots[at] = pages->end;
    ((uint64_t *)pages->keys.base)[pages->end] = key;
    if (pages->has_owners)
        ((uint32_t *)pages->owners.base)[pages->end] = owner;
    pages->n_used++;
    return pages->end++;
}

/* Up to PAGES_GROUP, which the caches of the first level hold between the looks. */
static void find_group(struct pages *pages, const uint64_t *keys, const uint32_t *owners, size_t n,
                       uint32_t *numbers)
{
    const uint32_t *slots = slots_of(pages);
    const uint64_t *known = pages->keys.base, mask = pages->mask;
    const bool is_simple = !pages->has_owners;
    uint32_t at[PAGES_GROUP];
    for (size_t i = 0; i < n; i++) {
        at[i] = (uint32_t)(pages_hash(keys[i], owners != NULL ? owners[i] : 0) & mask);
        __builtin_prefetch(&slots[at[i]]);
    }
    for (size_t i = 0; i < n; i++) {
        numbers[i] = slots[at[i]];
        __builtin_prefetch(&known[numbers[i]]);
    }
    for (size_t i = 0; i < n; i++)
        if (!is_simple || numbers[i] < QUIRE_SIM_FIRST_PAGE || known[numbers[i]] != keys[i])
            numbers[i] = find_or_add(pages, at[i], keys[i], owners != NULL ? owners[i] : 0);
}

int pages_find(struct pages *pages, const uint64_t *keys, const uint32_t *owners, size_t n,
               uint32_t *numbers)
{
    int error = prepare(pages, owners, n);
    if (error)
        return error;
    const bool has_owners = owners != NULL && pages->has_owners;
    for (size_t i = 0; i < n; i += PAGES_GROUP)
        find_group(pages, keys + i, has_owners ? owners + i : NULL,
                   n - i < PAGES_GROUP ? n - i : PAGES_GROUP, numbers + i);
    return 0;
}

void pages_forget(struct pages *pages, uint32_t number)
{
    uint32_t *slots = slots_of(pages);
    uint64_t at = pages_hash(pages_key(pages, number), pages_owner(pages, number)) & pages->mask;
    for (; slots[at] != FREE; at = (at + 1) & pages->mask)
        if (slots[at] == number) {
            slots[at] = GONE;
            return;
        }
}

bool pages_next(const struct pages *pages, struct pages_range *range)
{
    if (range->first >= range->end)
        return false;
    if (range->end - range->first < pages->end) {
        while (range->first < range->end) {
            range->number = pages_look(pages, range->first++, range->owner);
            if (range->number != 0)
                return true;
        }
        return false;
    }
    uint32_t number = range->number != 0 ? range->number + 1 : QUIRE_SIM_FIRST_PAGE;
    for (; number < pages->end; number++) {
        const uint64_t key = pages_key(pages, number);
        if (key < range->first || key >= range->end || pages_owner(pages, number) != range->owner ||
            pages_look(pages, key, range->owner) != number)
            continue;
        range->number = number;
        return true;
    }
    return false;
}

static uint64_t bytes_lost(const struct quire_trace_record *record, const struct quire_trace *trace)
{
    if (record->kind != QUIRE_TRACE_UNMAP)
        return record->n_bytes;
    const struct quire_trace_mapping *mapping = NULL;
    if (trace != NULL)
        mapping = quire_trace_mapping(trace, record->mapping);
    return mapping != NULL ? mapping->n_bytes : 0;
}

struct pages_range pages_lost(const struct quire_trace_record *record, uint32_t owner,
                              const struct quire_trace *trace, unsigned shift)
{
    const uint64_t size = (uint64_t)1 << shift, n_bytes = bytes_lost(record, trace);
    if (n_bytes < size || n_bytes > UINT64_MAX - record->address)
        return (struct pages_range){0};
    return (struct pages_range){.first = (record->address + size - 1) >> shift,
                                .end = (record->address + n_bytes) >> shift,
                                .owner = owner};
}
