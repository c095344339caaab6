/* SPDX-License-Identifier: Apache-2.0 */
/*
 * heat: a map of address space over time, two values a cell.
 *
 *   rows: parts of the zone, each twice as large whenever more is used than HEAT_ROWS of them cover
 *    ^  | cell | cell |
 *    |  | cell | cell |  ...      a column is added with each sample, and two become one
 *    '--+------+------+------> time                              when there are too many
 *
 * Where they come from, and what that costs the program:
 *   faults     counters in the control block, one atomic addition a fault; the differences are ours
 *   resident   the kernel's page tables, read from here (observe/residency.h): nothing on any path
 *              of the program
 */
#include "cli/heat.h"

#include "base/sys.h"
#include "observe/residency.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LEVELS 9 /* of what is resident: '1' to '9' */

void heat_init(struct heat *heat)
{
    memset(heat, 0, sizeof *heat);
    for (int zone = 0; zone < CONTROL_N_ZONES; zone++)
        heat->zone[zone].row_shift = CONTROL_HEAT_SHIFT;
}

void heat_deinit(struct heat *heat)
{
    for (int zone = 0; zone < CONTROL_N_ZONES; zone++) {
        free(heat->zone[zone].seen);
        heat->zone[zone].seen = NULL;
    }
}

static uint32_t sum_of(uint32_t a, uint32_t b)
{
    return a > UINT32_MAX - b ? UINT32_MAX : a + b;
}

static void merge_rows(struct heat_cell *column)
{
    for (unsigned row = 0; row < HEAT_ROWS; row++) {
        const struct heat_cell *low = &column[2 * row], *high = low + 1;
        column[row] = row < HEAT_ROWS / 2
                          ? (struct heat_cell){sum_of(low->resident_pages, high->resident_pages),
                                               sum_of(low->n_faults, high->n_faults)}
                          : (struct heat_cell){0, 0};
    }
}

/* The row of a page; rows become larger until it has one. */
static unsigned row_of(struct heat *heat, struct heat_zone *zone, uint64_t page)
{
    while (page >> zone->row_shift >= HEAT_ROWS) {
        zone->row_shift++;
        zone->n_rows = (zone->n_rows + 1) / 2;
        for (unsigned column = 0; column <= heat->n_columns; column++)
            merge_rows(zone->cell[column]);
    }
    unsigned row = (unsigned)(page >> zone->row_shift);
    if (row >= zone->n_rows)
        zone->n_rows = row + 1;
    return row;
}

void heat_add_resident(struct heat *heat, enum control_zone which, uint64_t page, uint64_t n_pages)
{
    struct heat_zone *zone = &heat->zone[which];

    if (n_pages == 0)
        return;
    row_of(heat, zone, page + n_pages - 1); /* no row grows any more after this */
    while (n_pages > 0) {
        unsigned row = row_of(heat, zone, page);
        uint64_t n = ((uint64_t)(row + 1) << zone->row_shift) - page;
        n = n < n_pages ? n : n_pages;
        uint32_t *cell = &zone->cell[heat->n_columns][row].resident_pages;
        *cell = sum_of(*cell, (uint32_t)n);
        page += n;
        n_pages -= n;
    }
}

void heat_add_faults(struct heat *heat, enum control_zone which, uint64_t page, uint32_t n_faults)
{
    struct heat_zone *zone = &heat->zone[which];
    unsigned row = row_of(heat, zone, page);
    uint32_t *cell = &zone->cell[heat->n_columns][row].n_faults;

    *cell = sum_of(*cell, n_faults);
}

/* Makes room for so many counters. False: no memory; then those are not looked at. */
static bool make_room(struct heat_zone *zone, uint32_t end)
{
    if (end <= zone->seen_room)
        return true;
    uint32_t room = end + end / 2 + 64;
    uint32_t *larger = realloc(zone->seen, room * sizeof *larger);
    if (larger == NULL)
        return false;
    memset(larger + zone->seen_room, 0, (room - zone->seen_room) * sizeof *larger);
    zone->seen = larger;
    zone->seen_room = room;
    return true;
}

static void take_faults(struct heat *heat, const struct control *control, enum control_zone which)
{
    struct heat_zone *zone = &heat->zone[which];
    uint32_t end = atomic_load_explicit(&control->heat_end[which], memory_order_relaxed);

    if (end > CONTROL_HEAT_COUNTERS || !make_room(zone, end))
        return;
    for (uint32_t i = 0; i < end; i++) {
        uint32_t now = atomic_load_explicit(&control->heat[which][i], memory_order_relaxed);
        if (now == zone->seen[i])
            continue;
        heat_add_faults(heat, which, (uint64_t)i << CONTROL_HEAT_SHIFT, now - zone->seen[i]);
        zone->seen[i] = now;
    }
}

struct look { /* at one zone of one process */
    struct heat *heat;
    enum control_zone zone;
    uint64_t start; /* its address */
};

static void add_range(void *context, uint64_t address, uint64_t n_bytes)
{
    const struct look *look = context;

    heat_add_resident(look->heat, look->zone, (address - look->start) >> SYS_PAGE_SHIFT,
                      n_bytes >> SYS_PAGE_SHIFT);
}

static void look_at(struct heat *heat, const struct control_slot *slot)
{
    uint32_t pid = atomic_load(&slot->pid);
    int error = 0;

    if (pid == 0 || pid > INT32_MAX)
        return;
    for (int zone = 0; zone < CONTROL_N_ZONES && error == 0; zone++) {
        struct look look = {heat, (enum control_zone)zone, atomic_load(&slot->zone_base[zone])};
        uint64_t n_pages = atomic_load(&slot->zone_end[zone]);
        if (look.start != 0 && n_pages > 0)
            error = residency_scan((pid_t)pid, look.start, n_pages << SYS_PAGE_SHIFT, add_range,
                                   &look);
    }
    if (error != 0 && error != -ENOENT && error != -ESRCH) /* those have ended */
        heat->error = error;
}

void heat_take(struct heat *heat, const struct control *control)
{
    for (int zone = 0; zone < CONTROL_N_ZONES; zone++) {
        memset(heat->zone[zone].cell[heat->n_columns], 0, sizeof heat->zone[zone].cell[0]);
        take_faults(heat, control, (enum control_zone)zone);
    }
    for (unsigned i = 0; i < control->slots_end && heat->error != -ENOTTY; i++)
        look_at(heat, &control->slot[i]);
    heat->n_columns++;
}

static struct heat_cell merge_columns(struct heat_cell earlier, struct heat_cell later)
{
    if (later.resident_pages < earlier.resident_pages)
        later.resident_pages = earlier.resident_pages;
    later.n_faults = sum_of(earlier.n_faults, later.n_faults);
    return later;
}

void heat_halve(struct heat *heat)
{
    heat->n_columns /= 2;
    for (int which = 0; which < CONTROL_N_ZONES; which++) {
        struct heat_zone *zone = &heat->zone[which];
        for (unsigned column = 0; column < heat->n_columns; column++)
            for (unsigned row = 0; row < HEAT_ROWS; row++)
                zone->cell[column][row] = merge_columns(zone->cell[2 * column][row],
                                                        zone->cell[2 * column + 1][row]);
    }
}

/* What counts as a full cell: the row, or where processes add up to more, the most of any. */
static uint64_t full_pages(const struct heat *heat, const struct heat_zone *zone)
{
    uint64_t full = (uint64_t)1 << zone->row_shift;

    for (unsigned column = 0; column < heat->n_columns; column++)
        for (unsigned row = 0; row < zone->n_rows; row++)
            if (zone->cell[column][row].resident_pages > full)
                full = zone->cell[column][row].resident_pages;
    return full;
}

static char resident_level(uint64_t n_pages, uint64_t full)
{
    return (char)('0' + (n_pages * LEVELS + full - 1) / full);
}

static char fault_level(uint32_t n_faults)
{
    static const char levels[] = "0123456789abcdefghijklmnopqrstuvwxyz";
    unsigned level = 0;

    for (; n_faults > 0; n_faults >>= 1)
        level++;
    return levels[level];
}

static json_t *rows_json(const struct heat *heat, const struct heat_zone *zone, bool of_faults)
{
    json_t *rows = json_array();
    uint64_t full = full_pages(heat, zone);
    int bad = rows == NULL;
    char text[SERIES_MOST];

    for (unsigned row = 0; row < zone->n_rows; row++) {
        for (unsigned column = 0; column < heat->n_columns; column++) {
            struct heat_cell cell = zone->cell[column][row];
            text[column] = of_faults ? fault_level(cell.n_faults)
                                     : resident_level(cell.resident_pages, full);
        }
        bad |= json_array_append_new(rows, json_stringn(text, heat->n_columns));
    }
    if (!bad)
        return rows;
    json_decref(rows);
    return NULL;
}

static json_t *zone_json(const struct heat *heat, enum control_zone which)
{
    const struct heat_zone *zone = &heat->zone[which];
    uint64_t row_bytes = (uint64_t)SYS_PAGE_SIZE << zone->row_shift;
    uint64_t full_bytes = full_pages(heat, zone) << SYS_PAGE_SHIFT;

    return json_pack("{s:s, s:I, s:I, s:o, s:o}", "zone",
                     which == CONTROL_ZONE_HEAP ? "heap" : "mappings", "row_bytes",
                     (json_int_t)row_bytes, "full_bytes", (json_int_t)full_bytes, "resident",
                     rows_json(heat, zone, false), "faults", rows_json(heat, zone, true));
}

json_t *heat_json(const struct heat *heat)
{
    json_t *zones = json_array();
    int bad = zones == NULL;

    for (int zone = 0; zone < CONTROL_N_ZONES; zone++)
        bad |= json_array_append_new(zones, zone_json(heat, (enum control_zone)zone));
    if (!bad)
        return zones;
    json_decref(zones);
    return NULL;
}
