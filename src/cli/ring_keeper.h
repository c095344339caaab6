/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ring_keeper: the process that holds a ring while nobody else does.
 *
 * It publishes the name, gives the ring to whoever may have it, notices at once who dies (its
 * socket closes), and ends when both sides have come and gone, or, with `stays`, when it is told.
 */
#ifndef QUIRE_CLI_RING_KEEPER_H
#define QUIRE_CLI_RING_KEEPER_H

#include <quire/ring.h>

#include <stdbool.h>
#include <sys/types.h>

struct ring_keeping {
    const char *name;
    struct quire_ring_config config;
    mode_t mode;
    bool stays;
};

/* Makes the ring and starts the keeper. 0 when the name is there; or a negative errno. */
int ring_keeper_start(const struct ring_keeping *keeping);

#endif
