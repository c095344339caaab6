/* SPDX-License-Identifier: Apache-2.0 */
/* report_run: the figures of a run that goes on, by what it publishes. */
#ifndef QUIRE_CLI_REPORT_RUN_H
#define QUIRE_CLI_REPORT_RUN_H

#include "cli/report_data.h"

/*
 * Of the run that process `pid` belongs to, keeps or has launched. The time line is that of its
 * last minutes, and peaks are the highest of these; there is no map of addresses, which only the
 * run's own launcher sees. 0, or -ESRCH, -ENOMEM or -EINVAL with a message. Free it after a
 * success.
 */
int report_of_run(struct report *report, int pid, char *message);

#endif
