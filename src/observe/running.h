/* SPDX-License-Identifier: Apache-2.0 */
/*
 * running: finds the run that a process belongs to, from outside.
 *
 *   process, launcher or keeper --/proc/PID/maps--> which control block (an inode without a name)
 *   keeper of that block        --/proc/PID/fd/N--> the block itself
 *
 * A process may have overwritten its environment (to set its title) and closed every descriptor;
 * what it has mapped it can't hide. Who may do this is the kernel's decision: the process's user
 * and root, as for any look into another process.
 */
#ifndef QUIRE_OBSERVE_RUNNING_H
#define QUIRE_OBSERVE_RUNNING_H

#include "base/control.h"

#include <stdint.h>

/*
 * Maps the control block of the run of process `pid`, and tells who keeps it. 0; -ESRCH: there is
 * no such process; -EACCES or -EPERM: another user's; -ENOENT: it belongs to no run; -EPROTO: to
 * one of another version of Quire; -ENXIO: its run has lost its keeper; or another negative errno.
 */
int running_find(int pid, struct control **control, uint32_t *keeper);

/* The launcher of the keeper's run while it lives, else 0. */
int running_launcher(const struct control *control, uint32_t keeper);

/*
 * Memory of a process, bytes: resident, and its proportional part of that, where what it shares
 * with others counts in part. 0 or a negative errno.
 */
int running_process_memory(uint32_t pid, uint64_t *resident, uint64_t *share);

#endif
