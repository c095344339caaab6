/* SPDX-License-Identifier: Apache-2.0 */
/* shown: see shown.h and base/zones_layout.h. That kind and offer lie where it says is what the
 * compilers' ABI does with bit fields; tests/unit/run_zones.c holds it to that. */
#include "pages/shown.h"

#include "base/zones_layout.h"
#include "pages/buddy.h"

#include <stddef.h>

static const struct quire_buddy *_Atomic shown;

void buddy_show(const struct quire_buddy *buddy)
{
    atomic_store_explicit(&shown, buddy, memory_order_release);
}

extern const struct zones_layout quire_zones_layout;

/* Found by its name among the library's dynamic symbols. */
__attribute__((visibility("default"), used)) const struct zones_layout quire_zones_layout = {
    .magic = {'Q', 'U', 'I', 'R', 'Z', 'O', 'N', 'E'},
    .version = ZONES_LAYOUT_VERSION,
    .n_bytes = sizeof(struct zones_layout),
    .buddy = (const void *)&shown,
    .n_zones = offsetof(struct quire_buddy, n_zones),
    .zones = offsetof(struct quire_buddy, zones),
    .zone_bytes = sizeof(struct zone),
    .first = offsetof(struct zone, first),
    .end = offsetof(struct zone, end),
    .base = offsetof(struct zone, base),
    .frontier = offsetof(struct zone, frontier),
    .n_free = offsetof(struct zone, n_free),
    .min = offsetof(struct zone, min),
    .low = offsetof(struct zone, low),
    .high = offsetof(struct zone, high),
    .n_types = offsetof(struct zone, n_types),
    .block_groups = offsetof(struct zone, block_groups),
    .top_order = offsetof(struct zone, top_order),
    .name = offsetof(struct zone, name),
    .name_bytes = sizeof(((struct zone *)0)->name),
    .groups = offsetof(struct zone, groups) + offsetof(struct zone_table, at),
    .types = offsetof(struct zone, types) + offsetof(struct zone_table, at),
    .kind_shift = 52,
    .kind_carved = GROUP_CARVED,
    .kind_free = GROUP_FREE,
    .offer_shift = 54,
};
