/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image_pages: the pages of a compressed file that were unpacked last.
 *
 *     address --> page's number --hash--> set: [ page | page | page | page ]   the one that was
 *                                              used longest ago makes room     IMAGE_PAGES_WAYS
 *
 * What is asked for is copied out under the set's lock, so a page may be replaced as soon as it is
 * released: nobody ever holds a pointer into the cache.
 *
 * Invariants:
 *   P1  numbers[way] != 0: the page there is the one with that number, whole
 *   P2  no number is twice in a set, and it is in the set of its hash only
 */
#include "mmu/image_pages.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define GOLDEN 0x9e3779b97f4a7c15u /* 2^64 / golden ratio: D. Knuth, TAOCP 3, 6.4 */

static uint64_t cache_bytes(const struct image_pages *pages)
{
    return (uint64_t)IMAGE_PAGES_WAYS << (pages->log2_sets + pages->page_shift);
}

int image_pages_init(struct image_pages *pages, const struct image_pages_ops *ops,
                     unsigned page_shift, uint64_t n_pages)
{
    *pages = (struct image_pages){.ops = ops, .page_shift = page_shift};
    while (cache_bytes(pages) < IMAGE_PAGES_CACHE_BYTES &&
           (uint64_t)IMAGE_PAGES_WAYS << pages->log2_sets < n_pages)
        pages->log2_sets++;
    pages->sets = calloc((size_t)1 << pages->log2_sets, sizeof *pages->sets);
    if (pages->sets == NULL)
        return -ENOMEM;
    void *bytes = mmap(NULL, cache_bytes(pages), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (bytes == MAP_FAILED)
        return -ENOMEM;
    pages->bytes = bytes;
    return 0;
}

void image_pages_free(struct image_pages *pages)
{
    if (pages == NULL)
        return;
    if (pages->bytes != NULL)
        munmap(pages->bytes, cache_bytes(pages));
    free(pages->sets);
    pages->ops->free(pages);
}

static uint64_t set_of(const struct image_pages *pages, uint64_t number)
{
    return pages->log2_sets == 0 ? 0 : number * GOLDEN >> (64 - pages->log2_sets);
}

static unsigned find(const struct image_pages_set *set, uint64_t number)
{
    unsigned way = 0;

    while (way < IMAGE_PAGES_WAYS && set->numbers[way] != number + 1)
        way++;
    return way;
}

/* The one that is free, or was used longest ago. */
static unsigned make_room(struct image_pages_set *set)
{
    unsigned oldest = 0;

    for (unsigned way = 0; way < IMAGE_PAGES_WAYS; way++) {
        if (set->numbers[way] == 0)
            return way;
        if (set->clock - set->used_at[way] > set->clock - set->used_at[oldest])
            oldest = way;
    }
    set->numbers[oldest] = 0; /* P1: until it is whole */
    return oldest;
}

int image_pages_copy(struct image_pages *pages, uint64_t address, void *to, uint64_t n)
{
    const uint64_t number = address >> pages->page_shift, which = set_of(pages, number);
    struct image_pages_set *set = &pages->sets[which];
    unsigned char *bytes = pages->bytes + (which * IMAGE_PAGES_WAYS << pages->page_shift);
    int error = 0;

    lock_take(&set->lock);
    unsigned way = find(set, number);
    if (way == IMAGE_PAGES_WAYS && !pages->ops->is_there(pages, number)) {
        error = -ENOENT;
    } else if (way == IMAGE_PAGES_WAYS) {
        way = make_room(set);
        error = pages->ops->load(pages, number, bytes + ((uint64_t)way << pages->page_shift));
        if (error == 0)
            set->numbers[way] = number + 1;
    }
    if (error == 0) {
        set->used_at[way] = set->clock++;
        memcpy(to,
               bytes + ((uint64_t)way << pages->page_shift) +
                   (address & (((uint64_t)1 << pages->page_shift) - 1)),
               n);
    }
    lock_release(&set->lock);
    return error;
}

uint64_t image_pages_next(const struct image_pages *pages, const struct quire_image_range *range,
                          uint64_t at, uint64_t *end)
{
    const unsigned shift = pages->page_shift;
    const uint64_t address = range->start + at, last = range->start + (range->n_bytes - 1);
    const uint64_t limit = (last >> shift) + 1;
    uint64_t end_number, number = pages->ops->next(pages, address >> shift, limit, &end_number);

    if (number >= limit) {
        *end = range->n_bytes;
        return range->n_bytes;
    }
    *end = end_number < limit ? (end_number << shift) - range->start : range->n_bytes;
    return number << shift > address ? (number << shift) - range->start : at;
}
