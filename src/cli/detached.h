/* SPDX-License-Identifier: Apache-2.0 */
/*
 * detached: a process that outlives who started it, and tells that one when it is ready.
 *
 *   starter                                  the process
 *     pipe2() -- fork() ------------------>  detached_leave, what else it needs
 *     detached_await(report[0])  <---------  detached_report(report[1], 0 or an error)
 *
 * Keepers of runs (keeper.h) and of rings (ring_keeper.h).
 */
#ifndef QUIRE_CLI_DETACHED_H
#define QUIRE_CLI_DETACHED_H

/*
 * Lets go of the starter's session, directory and descriptors: whoever waits for the end of a pipe
 * must not wait for this process, and a file system may be unmounted. `kept` are the descriptors
 * that stay, in any order; those below 0 are none. The process is called `name`, 15 characters at
 * most. 0 or a negative errno.
 */
int detached_leave(const char *name, const int *kept, int n_kept);

/* Tells the starter, who goes on: 0, all is ready; a negative errno, it has failed. The process
 * ends here in that case, and where the starter is gone. Closes the descriptor. */
void detached_report(int report, int error);

/* The starter's: what was reported; -ECHILD: the process died before. The other end of the pipe
 * has to be closed here. Closes the descriptor. */
int detached_await(int report);

#endif
