/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transfers: see transfers.h.
 *
 *     step s:   writes begin of buffers last touched at s - 1
 *               whose memory is another's from here on has to be written
 *               fetches begin into memory that is theirs from here on
 *               who is touched has to be there
 *               the step itself
 */
#include "tensor/transfers.h"

#include <errno.h>
#include <stdlib.h>

/* A trip at one of its moments. */
struct moment {
    uint32_t step, after, trip;
};

static int by_step(const void *a, const void *b)
{
    const struct moment *x = a, *y = b;
    if (x->step != y->step)
        return x->step < y->step ? -1 : 1;
    if (x->after != y->after)
        return x->after < y->after ? -1 : 1;
    return x->trip < y->trip ? -1 : x->trip > y->trip;
}

enum which { WRITES, GONE, FETCHES, NEEDED, N_WHICH };

static uint32_t moment_of(const struct trip *trip, enum which which)
{
    return which == WRITES    ? trip->before + 1
           : which == GONE    ? trip->gone
           : which == FETCHES ? trip->back
                              : trip->after;
}

int transfers_wait(struct offload *offload, const struct sharing *sharing, uint32_t n_steps,
                   const double *seconds, double bandwidth)
{
    uint32_t n = offload->n_trips;
    size_t next[N_WHICH];
    struct moment *moments = malloc((N_WHICH * (size_t)n + 1) * sizeof *moments);
    double *done = calloc((size_t)n + 1, sizeof *done); /* of each trip: written, then fetched */
    double now = 0, busy = 0, writing_ends = 0, reading_ends = 0;
    if (moments == NULL || done == NULL) {
        free(moments);
        free(done);
        return -ENOMEM;
    }
    for (unsigned which = 0; which < N_WHICH; which++) {
        next[which] = (size_t)which * n;
        for (uint32_t i = 0; i < n; i++)
            moments[next[which] + i] = (struct moment){moment_of(&offload->trips[i], which),
                                                       offload->trips[i].after, i};
        if (n > 0)
            qsort(moments + next[which], n, sizeof *moments, by_step);
    }
    for (uint32_t s = 0; s < n_steps; s++) {
        for (unsigned which = 0; which < N_WHICH; which++) {
            for (; next[which] < (which + 1) * (size_t)n && moments[next[which]].step == s;
                 next[which]++) {
                uint32_t trip = moments[next[which]].trip;
                double time = (double)sharing->size[offload->trips[trip].group] / bandwidth;
                double *link = which == WRITES ? &writing_ends : &reading_ends;
                if (which == WRITES || which == FETCHES)
                    done[trip] = *link = (*link > now ? *link : now) + time;
                else if (done[trip] > now)
                    now = done[trip];
            }
        }
        now += seconds[s];
        busy += seconds[s];
    }
    offload->seconds = now;
    offload->stall_seconds = now > busy ? now - busy : 0;
    free(moments);
    free(done);
    return 0;
}
