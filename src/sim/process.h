/* SPDX-License-Identifier: Apache-2.0 */
/* process: small numbers for the processes of a trace, from 0. Private to src/sim. */
#ifndef QUIRE_SIM_PROCESS_H
#define QUIRE_SIM_PROCESS_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

struct processes {
    uint32_t *ids; /* in the order in which they came; allocated */
    uint32_t n, last;
};

/* Whether it is the one that was asked for last; mostly it is. */
static inline bool processes_is(const struct processes *processes, uint32_t id, uint32_t *number)
{
    *number = processes->last;
    return processes->n > 0 && processes->ids[processes->last] == id;
}

/* Its number, a new one if need be. 0; -ENOMEM. */
static inline int processes_find(struct processes *processes, uint32_t id, uint32_t *number)
{
    for (uint32_t i = 0; i < processes->n; i++)
        if (processes->ids[i] == id) {
            *number = processes->last = i;
            return 0;
        }
    uint32_t *ids = realloc(processes->ids, (processes->n + (size_t)1) * sizeof *ids);
    if (ids == NULL)
        return -ENOMEM;
    processes->ids = ids;
    ids[processes->n] = id;
    *number = processes->last = processes->n++;
    return 0;
}

static inline void processes_free(struct processes *processes)
{
    free(processes->ids);
}

#endif
