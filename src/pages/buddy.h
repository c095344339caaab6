/* SPDX-License-Identifier: Apache-2.0 */
/* buddy: what stands at the start of the metadata, and its zones. Private to src/pages/. */
#ifndef QUIRE_PAGES_BUDDY_H
#define QUIRE_PAGES_BUDDY_H

#include "pages/zone.h"

#include <quire/buddy.h>

#define BUDDY_MAGIC 0x79646475u /* "uddy" */

/* All constant after init, but the watcher; the zones have locks of their own. */
struct quire_buddy {
    uint32_t magic;
    uint32_t n_zones;
    uint32_t max_order;
    uint32_t by_mobility;
    void (*watch)(void *context, unsigned zone, bool is_low); /* of the process, or NULL */
    void *watch_context;
    struct zone zones[]; /* followed by the tables of each zone */
};

/* The zone that a page lies in; NULL: it is in none. */
static inline struct zone *buddy_zone_of(struct quire_buddy *buddy, quire_page page)
{
    for (unsigned i = 0; i < buddy->n_zones; i++)
        if (zone_has(&buddy->zones[i], page))
            return &buddy->zones[i];
    return NULL;
}

/* The same, its lock taken. */
struct zone *buddy_lock_zone_of(struct quire_buddy *buddy, quire_page page);

/* Releases a zone's lock after pages came or went, and tells the watcher what that means. */
void buddy_unlock(struct quire_buddy *buddy, struct zone *zone);

bool buddy_request_is_valid(const struct quire_buddy *buddy,
                            const struct quire_buddy_request *request);

/* watermarks.c: the marks of all zones, as the configuration wants them. */
void watermarks_init(struct quire_buddy *buddy, enum quire_buddy_watermarks kind);

/* The zone crossed `low` downwards or `high` upwards since it was last asked. Lock held. */
bool watermarks_crossed(struct zone *zone);

#endif
