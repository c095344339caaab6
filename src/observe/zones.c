/* SPDX-License-Identifier: Apache-2.0 */
/*
 * zones: the kernel's buddy system: /proc/buddyinfo, zoneinfo and pagetypeinfo put together.
 *
 *   buddyinfo     Node 0, zone   Normal   9479   4619 ...      which zones there are; free blocks
 *   zoneinfo      Node 0, zone   Normal / pages free N / min N ...        watermarks and sizes
 *   pagetypeinfo  Node    0, zone   Normal, type    Movable  1 2 ...      free blocks by mobility
 *                 Node 0, zone   Normal   4   5 ...                       page blocks by mobility
 *
 * buddyinfo decides what zones there are: those that hold no memory are not in it. pagetypeinfo is
 * root's since Linux 5.7; counts there may be cut off (">100000"), which then reads as that number.
 * Sources: proc(5); Linux's mm/vmstat.c.
 */
#include "observe/zones.h"

#include "observe/procfs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* "Node 0, zone   Normal" at *at, which goes behind it. */
static bool take_zone(const char **at, unsigned *node, char *name, size_t n_bytes)
{
    uint64_t number;

    if (strncmp(*at, "Node", 4) != 0)
        return false;
    *at += 4 + strspn(*at + 4, " ");
    if (!procfs_digits(at, &number) || number > 1 << 20 || strncmp(*at, ", zone", 6) != 0)
        return false;
    *at += 6 + strspn(*at + 6, " ");
    size_t n = strcspn(*at, " ,");
    if (n == 0 || n >= n_bytes)
        return false;
    *node = (unsigned)number;
    memcpy(name, *at, n);
    name[n] = '\0';
    *at += n;
    return true;
}

/* The numbers to the end of the line; -1: there is something else, or too many. */
static int take_numbers(const char *at, uint64_t *numbers, unsigned most)
{
    unsigned n = 0;

    for (;; n++) {
        at += strspn(at, " >");
        if (*at == '\0')
            return (int)n;
        if (n == most || !procfs_digits(&at, &numbers[n]) || numbers[n] > UINT64_MAX >> 32)
            return -1;
    }
}

static struct quire_observe_zone *find(const struct quire_observe_zones *zones, unsigned node,
                                       const char *name)
{
    for (unsigned i = 0; i < zones->n_zones; i++)
        if (zones->zones[i].node == node && strcmp(zones->zones[i].name, name) == 0)
            return &zones->zones[i];
    return NULL;
}

static void clear(struct quire_observe_zone *zone)
{
    memset(zone, 0xff, sizeof *zone); /* all absent */
    memset(zone->free_blocks, 0, sizeof zone->free_blocks);
}

static int read_buddyinfo(struct quire_observe *observe, struct quire_observe_zones *zones)
{
    int error = source_read(observe, "proc/buddyinfo", true);

    while (error == 0 && source_line(observe) != NULL) {
        const char *at = observe->line;
        if (!source_grow(&observe->zones, &observe->zones_room, zones->n_zones + 1,
                         sizeof *observe->zones))
            return -ENOMEM;
        zones->zones = observe->zones;
        struct quire_observe_zone *zone = &zones->zones[zones->n_zones];
        clear(zone);
        if (!take_zone(&at, &zone->node, zone->name, sizeof zone->name))
            return source_bad(observe, "it should begin with Node N, zone NAME");
        int n = take_numbers(at, zone->free_blocks, QUIRE_OBSERVE_MAX_ORDERS);
        if (n <= 0 || (zones->n_zones > 0 && (unsigned)n != zones->n_orders))
            return source_bad(observe, "a number for each order is expected");
        zones->n_orders = (unsigned)n;
        zones->n_zones++;
    }
    return error;
}

static const struct {
    const char *key;
    size_t offset;
} levels[] = {
#define OF(key, member)                                  \
    {                                                    \
        key, offsetof(struct quire_observe_zone, member) \
    }
    OF("pages free", free_pages), OF("min", min_pages),         OF("low", low_pages),
    OF("high", high_pages),       OF("spanned", spanned_pages), OF("present", present_pages),
    OF("managed", managed_pages), OF("boost", boost_pages),
#undef OF
};

static int take_level(struct quire_observe *observe, struct quire_observe_zone *zone)
{
    const char *line = observe->line + strspn(observe->line, " ");

    for (unsigned i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        size_t n = strlen(levels[i].key);
        uint64_t value;
        if (strncmp(line, levels[i].key, n) != 0 || line[n] != ' ')
            continue;
        const char *at = line + n + strspn(line + n, " ");
        if (!procfs_digits(&at, &value))
            return source_bad(observe, "a number is expected behind the name");
        memcpy((char *)zone + levels[i].offset, &value, sizeof value);
        break;
    }
    return 0;
}

static int read_zoneinfo(struct quire_observe *observe, struct quire_observe_zones *zones)
{
    struct quire_observe_zone *zone = NULL;
    int error = source_read(observe, "proc/zoneinfo", true);

    if (error == -EACCES || error == -ENOENT) {
        for (unsigned i = 0; i < zones->n_zones; i++)
            zones->zones[i].min_pages = zones->zones[i].low_pages = zones->zones[i].high_pages =
                zones->zones[i].free_pages = zones->zones[i].managed_pages = source_reason(error);
        return 0;
    }
    while (error == 0 && source_line(observe) != NULL) {
        const char *at = observe->line;
        char name[16];
        unsigned node;
        if (strncmp(at, "Node", 4) == 0) {
            if (!take_zone(&at, &node, name, sizeof name))
                return source_bad(observe, "it should be Node N, zone NAME");
            zone = find(zones, node, name);
        } else if (zone != NULL) {
            error = take_level(observe, zone);
        }
    }
    return error;
}

/* "Node    0, zone      DMA, type    Unmovable      0 ..." */
static int take_type(struct quire_observe *observe, struct quire_observe_zones *zones,
                     struct quire_observe_zone *zone, const char *at)
{
    char name[16];

    at += strspn(at, " ");
    size_t n = strcspn(at, " ");
    if (n == 0 || n >= sizeof name)
        return source_bad(observe, "the name of a type is expected");
    memcpy(name, at, n);
    name[n] = '\0';
    unsigned type = 0;
    while (type < zones->n_types && strcmp(zones->type_names[type], name) != 0)
        type++;
    if (type == QUIRE_OBSERVE_MAX_TYPES)
        return 0;
    if (type == zones->n_types)
        memcpy(zones->type_names[zones->n_types++], name, sizeof name);
    if (take_numbers(at + n, zone->free_blocks_of[type], QUIRE_OBSERVE_MAX_ORDERS) !=
        (int)zones->n_orders)
        return source_bad(observe, "a number for each order is expected");
    return 0;
}

static int take_pagetype_line(struct quire_observe *observe, struct quire_observe_zones *zones)
{
    uint64_t blocks[QUIRE_OBSERVE_MAX_TYPES];
    const char *at = observe->line;
    char name[16];
    unsigned node;

    if (strncmp(at, "Pages per block:", 16) == 0) {
        at += 16 + strspn(at + 16, " ");
        return procfs_digits(&at, &zones->block_pages) ? 0 : source_bad(observe, "no number");
    }
    if (!take_zone(&at, &node, name, sizeof name))
        return 0; /* headings */
    struct quire_observe_zone *zone = find(zones, node, name);
    if (zone == NULL)
        return 0;
    if (strncmp(at, ", type", 6) == 0)
        return take_type(observe, zones, zone, at + 6);
    if (take_numbers(at, blocks, QUIRE_OBSERVE_MAX_TYPES) < (int)zones->n_types)
        return source_bad(observe, "a number for each type is expected");
    memcpy(zone->page_blocks_of, blocks, zones->n_types * sizeof blocks[0]);
    return 0;
}

static int read_pagetypeinfo(struct quire_observe *observe, struct quire_observe_zones *zones)
{
    int error = source_read(observe, "proc/pagetypeinfo", true);

    if (error == -EACCES || error == -ENOENT) {
        for (unsigned i = 0; error == -EACCES && i < zones->n_zones; i++) {
            struct quire_observe_zone *zone = &zones->zones[i];
            for (unsigned type = 0; type < QUIRE_OBSERVE_MAX_TYPES; type++) {
                zone->page_blocks_of[type] = QUIRE_OBSERVE_DENIED;
                for (unsigned order = 0; order < QUIRE_OBSERVE_MAX_ORDERS; order++)
                    zone->free_blocks_of[type][order] = QUIRE_OBSERVE_DENIED;
            }
        }
        return 0;
    }
    while (error == 0 && source_line(observe) != NULL)
        error = take_pagetype_line(observe, zones);
    return error;
}

int zones_read(struct quire_observe *observe, struct quire_observe_zones *zones, bool types)
{
    *zones = (struct quire_observe_zones){.block_pages = QUIRE_OBSERVE_ABSENT};
    int error = read_buddyinfo(observe, zones);
    if (error == 0)
        error = read_zoneinfo(observe, zones);
    if (error == 0 && types)
        error = read_pagetypeinfo(observe, zones);
    return error;
}

int quire_observe_zones(struct quire_observe *observe, struct quire_observe_zones *zones)
{
    return zones_read(observe, zones, true);
}

struct fragments {
    uint64_t n_pages, n_blocks, n_suitable; /* free; the last in blocks of the order asked for */
};

static struct fragments fragments_of(const struct quire_observe_zone *zone, unsigned n_orders,
                                     unsigned order)
{
    struct fragments sum = {0};

    for (unsigned k = 0; k < n_orders && k < QUIRE_OBSERVE_MAX_ORDERS; k++) {
        sum.n_blocks += zone->free_blocks[k];
        sum.n_pages += zone->free_blocks[k] << k;
        sum.n_suitable += k >= order ? zone->free_blocks[k] << (k - order) : 0;
    }
    return sum;
}

int quire_observe_unusable_index(const struct quire_observe_zone *zone, unsigned n_orders,
                                 unsigned order)
{
    struct fragments sum = fragments_of(zone, n_orders, order);

    if (sum.n_pages == 0)
        return 1000;
    return (int)((sum.n_pages - (sum.n_suitable << order)) * 1000 / sum.n_pages);
}

int quire_observe_fragmentation_index(const struct quire_observe_zone *zone, unsigned n_orders,
                                      unsigned order)
{
    struct fragments sum = fragments_of(zone, n_orders, order);

    if (sum.n_blocks == 0)
        return 0;
    if (sum.n_suitable > 0)
        return -1000;
    return 1000 - (int)((1000 + (sum.n_pages * 1000 >> order)) / sum.n_blocks);
}
