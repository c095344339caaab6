/* SPDX-License-Identifier: Apache-2.0 */
/* ways: all of them, and what several need. */
#include "way.h"

#include "base/relax.h"

#include <sched.h>

#define PATIENCE 2000u /* pauses, before the processor is left to others */

const struct way *const ways[] = {
    &quire_batched, &quire_wide, &quire_one,      &quire_copied, &quire_many,
    &qb_spinning,   &qb_wide,    &qb_semaphore,   &zeromq,       &message_queue,
    &datagrams,     &stream,     &stream_batched, &pipe_one,     &pipe_batched,
};
const unsigned n_ways = sizeof ways / sizeof ways[0];

uint64_t link_frames(const struct link *link)
{
    const uint64_t n = (link->way->is_wide ? WIDE_BYTES : LINK_BYTES) / link->n_bytes;
    return n > LINK_LEAST_FRAMES ? n : LINK_LEAST_FRAMES;
}

void link_relax(unsigned turn)
{
    if (turn < PATIENCE)
        relax();
    else
        sched_yield();
}

int64_t link_reserve_buffer(struct link *link, unsigned n, unsigned char **place)
{
    *place = link->buffer;
    return n;
}

bool link_release_nothing(struct link *link, unsigned char *place, unsigned n)
{
    (void)link, (void)place, (void)n;
    return true;
}
