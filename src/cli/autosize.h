/* SPDX-License-Identifier: Apache-2.0 */
/*
 * autosize: `quire run --ram auto`. Samples the run, asks policy/sizing.h, sets the budget, and
 * keeps the record of it in the control block. Done by the keeper from the start to the end: it
 * outlives the launcher, and the terminal's signals do not reach it.
 */
#ifndef QUIRE_CLI_AUTOSIZE_H
#define QUIRE_CLI_AUTOSIZE_H

#include "base/control.h"

#define AUTOSIZE_TICK_MS 100

/* Whether the budget of the run follows its working set. */
bool autosize_is_wanted(const struct control *control);

/* In the keeper, before the first tick. */
void autosize_start(struct control *control);

/* Every AUTOSIZE_TICK_MS or so. */
void autosize_tick(struct control *control);

/*
 * Where nothing has happened for a while: sleeps until there is a fault, or so long. The next tick
 * is due then. False: no time for that, ticks are due as ever.
 */
bool autosize_rest(struct control *control, unsigned ms);

#endif
