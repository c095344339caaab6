/* SPDX-License-Identifier: Apache-2.0 */
/* zones: the kernel's buddy lists for who doesn't want all of them. Private to src/observe. */
#ifndef QUIRE_OBSERVE_ZONES_H
#define QUIRE_OBSERVE_ZONES_H

#include "observe/source.h"

/*
 * As quire_observe_zones(). Without `types` what is counted by mobility is absent, and the kernel
 * need not go through its free lists with their locks held, as it does for pagetypeinfo.
 */
int zones_read(struct quire_observe *observe, struct quire_observe_zones *zones, bool types);

#endif
