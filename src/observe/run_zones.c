/* SPDX-License-Identifier: Apache-2.0 */
/*
 * run_zones: the zones of a process under Quire, by its buddy system's own description.
 *
 *   /proc/PID/maps -> libquire-preload.so -> quire_zones_layout -> zones -> groups of 64 pages
 *
 * The process is not stopped. A zone is read, counted and compared: if its free blocks add up to
 * its own count, before and after, they are of one moment; else it is read again, for as long as
 * it may take until a thread that lost its processor in the middle of a change has it again.
 */
#include "observe/run_zones.h"
#include "base/sys.h"
#include "observe/image.h"
#include "observe/source.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define MAX_ZONES 16u
#define MAX_ZONE_BYTES 16384u
#define MAX_GROUPS ((uint32_t)1 << 23) /* 2 TiB */
#define LEAST_ORDERS 11                /* as many as the kernel's table has */
#define GROUP_PAGES 64u
#define GROUP_ORDER 6u
#define PATIENCE_NS 2000000000ull
#define PAUSE_NS 200000

struct group {
    uint64_t used, word;
};

struct reading { /* of one zone */
    int pid;
    const struct zones_layout *layout;
    uint64_t address; /* of the zone */
    char header[MAX_ZONE_BYTES];
    struct group *groups;
    uint8_t *types;
    struct quire_observe *observe;
};

static uint32_t field(const struct reading *reading, uint32_t offset)
{
    uint32_t value;

    memcpy(&value, reading->header + offset, sizeof value);
    return value;
}

static uint64_t table_at(const struct reading *reading, uint32_t offset)
{
    size_t at;

    memcpy(&at, reading->header + offset, sizeof at);
    return reading->address + at;
}

static int find_layout(int pid, struct zones_layout *layout)
{
    static const char *const libraries[] = {"libquire-preload.so", "libquire-malloc.so"};
    uint64_t base, address;
    int error = -ENOENT;

    for (unsigned i = 0; i < 2 && error == -ENOENT; i++) {
        error = image_find(pid, libraries[i], &base);
        if (error != 0)
            continue;
        error = image_symbol(pid, base, ZONES_LAYOUT_SYMBOL, &address);
        if (error == -ENOENT) /* the library is there, but older than its description */
            return -EPROTONOSUPPORT;
    }
    if (error == 0)
        error = image_read(pid, address, layout, sizeof *layout);
    if (error < 0)
        return error;
    if (memcmp(layout->magic, ZONES_LAYOUT_MAGIC, sizeof layout->magic) != 0)
        return -EUCLEAN;
    return layout->version == ZONES_LAYOUT_VERSION && layout->n_bytes == sizeof *layout &&
                   layout->zone_bytes <= MAX_ZONE_BYTES
               ? 0
               : -EPROTONOSUPPORT;
}

/* Of a carved group: aligned runs of free pages whose buddy is not all free. */
static void count_carved(uint64_t free, unsigned top_order, uint64_t *blocks)
{
    while (free != 0) {
        unsigned page = (unsigned)__builtin_ctzll(free), order = 0;
        uint64_t mask = (uint64_t)1 << page;
        for (; order < top_order; order++) {
            unsigned n = 2u << order, start = page & ~(n - 1);
            uint64_t wider = ((n == 64 ? 0 : (uint64_t)1 << n) - 1) << start;
            if ((free & wider) != wider)
                break;
            mask = wider;
        }
        free &= ~mask;
        blocks[order]++;
    }
}

static void count_groups(const struct reading *reading, uint32_t n_groups,
                         struct quire_observe_zone *zone)
{
    const struct zones_layout *layout = reading->layout;
    uint32_t n_types = field(reading, layout->n_types),
             block = field(reading, layout->block_groups);

    for (uint32_t i = 0; i < n_groups; i++) {
        const struct group *group = &reading->groups[i];
        unsigned kind = (unsigned)(group->word >> layout->kind_shift) & 3;
        unsigned order = (unsigned)(group->word >> layout->offer_shift) & 31;
        unsigned type = n_types > 1 && block > 0 ? reading->types[i / block] : 0;
        type = type < QUIRE_OBSERVE_MAX_TYPES ? type : 0;
        uint64_t *blocks = zone->free_blocks_of[type];
        if (kind == layout->kind_carved)
            count_carved(~group->used, field(reading, layout->top_order), blocks);
        else if (kind == layout->kind_free && order < QUIRE_OBSERVE_MAX_ORDERS)
            blocks[order]++;
        if (block > 0 && i % block == 0)
            zone->page_blocks_of[type]++;
    }
}

/* Sums up the types. Returns the pages of all blocks. */
static uint64_t add_up(struct quire_observe_zone *zone)
{
    uint64_t sum = 0;

    for (unsigned order = 0; order < QUIRE_OBSERVE_MAX_ORDERS; order++) {
        zone->free_blocks[order] = 0;
        for (unsigned type = 0; type < QUIRE_OBSERVE_MAX_TYPES; type++)
            zone->free_blocks[order] += zone->free_blocks_of[type][order];
        sum += zone->free_blocks[order] << order;
    }
    return sum;
}

static int read_tables(struct reading *reading, uint32_t n_groups)
{
    const struct zones_layout *layout = reading->layout;
    struct quire_observe *observe = reading->observe;
    uint32_t block = field(reading, layout->block_groups);
    size_t n_types = block > 0 ? n_groups / block + 1 : 0;
    size_t n_bytes = n_groups * sizeof(struct group) + n_types;

    if (!source_grow(&observe->buffer, &observe->buffer_bytes, n_bytes + 1, 1))
        return -ENOMEM;
    reading->groups = (struct group *)(void *)observe->buffer;
    reading->types = (uint8_t *)observe->buffer + n_groups * sizeof(struct group);
    int error = n_groups > 0 ? image_read(reading->pid, table_at(reading, layout->groups),
                                          reading->groups, n_groups * sizeof(struct group))
                             : 0;
    if (error == 0 && field(reading, layout->n_types) > 1 && n_types > 0)
        error = image_read(reading->pid, table_at(reading, layout->types), reading->types, n_types);
    return error;
}

static int read_header(struct reading *reading)
{
    return image_read(reading->pid, reading->address, reading->header, reading->layout->zone_bytes);
}

/* -EAGAIN: it changed meanwhile. */
static int try_zone(struct reading *reading, struct quire_observe_zone *zone)
{
    const struct zones_layout *layout = reading->layout;
    int error = read_header(reading);

    if (error < 0)
        return error;
    uint32_t frontier = field(reading, layout->frontier), base = field(reading, layout->base);
    uint32_t n_free = field(reading, layout->n_free);
    if (frontier < base || (frontier - base) / GROUP_PAGES >= MAX_GROUPS ||
        field(reading, layout->top_order) >= GROUP_ORDER)
        return -EUCLEAN;
    uint32_t n_groups = (frontier - base + GROUP_PAGES - 1) / GROUP_PAGES;
    error = read_tables(reading, n_groups);
    if (error < 0)
        return error;
    memset(zone->free_blocks_of, 0, sizeof zone->free_blocks_of);
    memset(zone->page_blocks_of, 0, sizeof zone->page_blocks_of);
    count_groups(reading, n_groups, zone);
    uint64_t sum = add_up(zone);
    error = read_header(reading);
    if (error == 0 && (sum != n_free || field(reading, layout->n_free) != n_free ||
                       field(reading, layout->frontier) != frontier))
        error = -EAGAIN;
    return error;
}

static int read_zone(struct reading *reading, struct quire_observe_zone *zone)
{
    const struct zones_layout *layout = reading->layout;
    const uint64_t end_ns = sys_now_ns() + PATIENCE_NS;
    int error;

    memset(zone, 0xff, sizeof *zone); /* all absent */
    zone->node = 0;
    while ((error = try_zone(reading, zone)) == -EAGAIN && sys_now_ns() < end_ns)
        sys_sleep_ns(PAUSE_NS);
    if (error < 0)
        return error;
    uint32_t first = field(reading, layout->first);
    snprintf(zone->name, sizeof zone->name, "%.*s", (int)layout->name_bytes,
             reading->header + layout->name);
    zone->spanned_pages = field(reading, layout->end) - first;
    zone->managed_pages = zone->present_pages = field(reading, layout->frontier) - first;
    zone->free_pages = field(reading, layout->n_free);
    zone->min_pages = field(reading, layout->min);
    zone->low_pages = field(reading, layout->low);
    zone->high_pages = field(reading, layout->high);
    return 0;
}

/* The orders up to the largest free block, as one table; at least as many as the kernel has. */
static void settle(struct quire_observe_zones *zones, unsigned n_types)
{
    static const char *const names[] = {"Movable", "Unmovable", "Reclaimable"};

    zones->n_orders = LEAST_ORDERS;
    for (unsigned i = 0; i < zones->n_zones; i++)
        for (unsigned order = zones->n_orders; order < QUIRE_OBSERVE_MAX_ORDERS; order++)
            if (zones->zones[i].free_blocks[order] > 0)
                zones->n_orders = order + 1;
    zones->n_types = n_types <= sizeof names / sizeof names[0] ? n_types : 1;
    for (unsigned type = 0; type < zones->n_types; type++)
        snprintf(zones->type_names[type], sizeof zones->type_names[type], "%s", names[type]);
}

int run_zones_read(struct quire_observe *observe, int pid, const struct zones_layout *layout,
                   struct quire_observe_zones *zones)
{
    static struct reading reading;
    uint64_t buddy;
    uint32_t n_zones, n_types = 1;
    int error = image_read(pid, (uintptr_t)layout->buddy, &buddy, sizeof buddy);

    if (error == 0 && buddy == 0)
        return -EAGAIN;
    if (error == 0)
        error = image_read(pid, buddy + layout->n_zones, &n_zones, sizeof n_zones);
    if (error == 0 && (n_zones == 0 || n_zones > MAX_ZONES))
        return -EUCLEAN;
    for (uint32_t i = 0; error == 0 && i < n_zones; i++) {
        if (!source_grow(&observe->zones, &observe->zones_room, i + 1, sizeof *observe->zones))
            return -ENOMEM;
        reading = (struct reading){
            .pid = pid,
            .layout = layout,
            .observe = observe,
            .address = buddy + layout->zones + (uint64_t)i * layout->zone_bytes,
        };
        error = read_zone(&reading, &observe->zones[i]);
        n_types = field(&reading, layout->n_types);
        zones->block_pages = (uint64_t)field(&reading, layout->block_groups) * GROUP_PAGES;
        zones->n_zones = i + 1;
    }
    zones->zones = observe->zones;
    if (error == 0)
        settle(zones, n_types);
    return error;
}

int quire_observe_run_zones(struct quire_observe *observe, int pid,
                            struct quire_observe_zones *zones)
{
    struct zones_layout layout;

    *zones = (struct quire_observe_zones){.n_zones = 0};
    if (pid <= 0 || sys_kill(pid, 0) == -ESRCH)
        return -ESRCH;
    int error = find_layout(pid, &layout);
    if (error == 0)
        error = run_zones_read(observe, pid, &layout, zones);
    return error == -EFAULT || error == -ENOEXEC ? -EUCLEAN : error;
}
