/* SPDX-License-Identifier: Apache-2.0 */
/* run_zones: for its test: the zones of a process whose description is known already. */
#ifndef QUIRE_OBSERVE_RUN_ZONES_H
#define QUIRE_OBSERVE_RUN_ZONES_H

#include "base/zones_layout.h"

#include <quire/observe.h>

/* As quire_observe_run_zones(). */
int run_zones_read(struct quire_observe *observe, int pid, const struct zones_layout *layout,
                   struct quire_observe_zones *zones);

#endif
