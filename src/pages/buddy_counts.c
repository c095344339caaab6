/* SPDX-License-Identifier: Apache-2.0 */
/* buddy_counts: the state of the zones in figures, as a struct and as text. */
#include "pages/buddy.h"

#include "base/checked.h"

#include <errno.h>
#include <string.h>

int quire_buddy_counts(struct quire_buddy *buddy, unsigned zone_index,
                       struct quire_buddy_counts *counts)
{
    if (zone_index >= buddy->n_zones)
        return -EINVAL;
    struct zone *zone = &buddy->zones[zone_index];
    lock_take(&zone->lock);
    *counts = (struct quire_buddy_counts){
        .first = zone->first,
        .n_pages = zone->end - zone->first,
        .frontier = zone->frontier,
        .n_allocated = zone->n_allocated,
        .n_free = zone->n_free,
        .n_fresh = zone->end - zone->frontier,
        .metadata_bytes = zone_metadata_bytes(zone),
    };
    memcpy(counts->n_blocks, zone->n_blocks, sizeof counts->n_blocks);
    lock_release(&zone->lock);
    return 0;
}

size_t quire_buddy_metadata_held(const struct quire_buddy *buddy)
{
    size_t n_bytes = sizeof *buddy;
    for (unsigned i = 0; i < buddy->n_zones; i++)
        n_bytes += zone_metadata_bytes(&buddy->zones[i]);
    return n_bytes;
}

/* Text that is counted beyond the end of its buffer. */
struct text {
    char *buffer;
    size_t n_bytes; /* of the buffer */
    size_t length;
};

static void put_char(struct text *text, char c)
{
    if (text->length + 1 < text->n_bytes)
        text->buffer[text->length] = c;
    text->length++;
}

static void put_right(struct text *text, const char *word, size_t width)
{
    for (size_t length = strlen(word); length < width; length++)
        put_char(text, ' ');
    while (*word != '\0')
        put_char(text, *word++);
}

static void put_number(struct text *text, unsigned number, size_t width)
{
    char digits[12];
    char *digit = digits + sizeof digits - 1;
    *digit = '\0';
    do
        *--digit = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    put_right(text, digit, width);
}

/* "Node 0, zone   Normal      1      0 ... \n", as mm/vmstat.c of Linux prints it */
static void put_zone(struct text *text, const struct zone *zone, const uint32_t *n_blocks)
{
    put_right(text, "Node 0, zone ", 0);
    put_right(text, zone->name, 8);
    put_char(text, ' ');
    for (unsigned order = 0; order <= zone->max_order; order++) {
        put_number(text, n_blocks[order], 6);
        put_char(text, ' ');
    }
    put_char(text, '\n');
}

size_t quire_buddy_print(struct quire_buddy *buddy, char *buffer, size_t n_bytes)
{
    struct text text = {buffer, n_bytes, 0};
    for (unsigned i = 0; i < buddy->n_zones; i++) {
        struct quire_buddy_counts counts;
        quire_buddy_counts(buddy, i, &counts);
        put_zone(&text, &buddy->zones[i], counts.n_blocks);
    }
    if (n_bytes > 0)
        buffer[text.length < n_bytes ? text.length : n_bytes - 1] = '\0';
    return text.length;
}
