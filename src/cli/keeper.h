/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keeper: a process that holds a run's descriptors for as long as any process of the run lives.
 *
 * Processes of a run find the control block, the swap file and its key as /proc/KEEPER/fd/N. They
 * can't be the launcher's, because a program may outlive that: `sh -c 'server &'` ends at once, and
 * what the server starts later, and the pages it evicts, need them. For the same reason it is the
 * keeper that adjusts the budget where that follows the working set (autosize.h), and that
 * publishes the run's figures (publisher.h).
 */
#ifndef QUIRE_CLI_KEEPER_H
#define QUIRE_CLI_KEEPER_H

#include "base/control.h"
#include "cli/publisher.h"
#include "store/seal.h"

#include <sys/types.h>

struct keeper {
    pid_t pid;
    int lifeline; /* its other end tells the keeper when the launcher has ended, however */
};

/*
 * Starts it and writes its pid into the control block. It keeps the descriptors of the block, the
 * swap file and the key (`seal`; NULL: there is none) and no other, has a session of its own and
 * ignores what can be ignored. The key stays locked in RAM while it lives, and is overwritten at
 * its end. It publishes the run's figures (`publisher`; NULL: not). 0 or a negative errno.
 */
int keeper_start(struct control *control, struct seal *seal, struct publisher *publisher,
                 struct keeper *keeper);

/* The launcher ends: so does the keeper, at once if nothing of the run is left; and then nothing is
 * published any more, even if the keeper was killed. */
void keeper_release(const struct keeper *keeper, struct control *control,
                    struct publisher *publisher);

#endif
