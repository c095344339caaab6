/* SPDX-License-Identifier: Apache-2.0 */
/* mobility: page blocks by the mobility of what is allocated in them. Private to src/pages/. */
#ifndef QUIRE_PAGES_MOBILITY_H
#define QUIRE_PAGES_MOBILITY_H

#include "pages/zone.h"

/* A group of another mobility to take `want` from; ZONE_NIL: none offers enough. */
uint32_t mobility_steal(struct zone *zone, const struct zone_want *want);

#endif
