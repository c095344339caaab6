/* SPDX-License-Identifier: Apache-2.0 */
/* buddy: what stands at the start of the metadata. Private to src/pages/. */
#ifndef QUIRE_PAGES_BUDDY_H
#define QUIRE_PAGES_BUDDY_H

#include "pages/zone.h"

#include <quire/buddy.h>

#define BUDDY_MAGIC 0x79646475u /* "uddy" */

struct quire_buddy { /* all constant after init; the zones have locks of their own */
    uint32_t magic;
    uint32_t n_zones;
    uint32_t max_order;
    struct zone zones[]; /* followed by the tables of each zone */
};

#endif
