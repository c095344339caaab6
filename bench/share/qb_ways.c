/* SPDX-License-Identifier: Apache-2.0 */
/* qb_ways: libqb's ring of chunks, with its semaphore and without (Debian: libqb-dev). */
#include "way.h"

#ifdef HAVE_QB

#include <qb/qbrb.h>
#include <stdio.h>
#include <unistd.h>

#define CHUNK_HEADER_BYTES 16u /* at most: so that as many messages fit as elsewhere */

enum variant { SPINNING, SEMAPHORE };

static const char *open_chunks(struct link *link)
{
    const uint32_t flags = QB_RB_FLAG_CREATE | QB_RB_FLAG_SHARED_PROCESS |
                           (link->way->variant == SPINNING ? QB_RB_FLAG_NO_SEMAPHORE : 0);

    snprintf(link->name, sizeof link->name, "quire-share-bench-%d", (int)getpid());
    link->peer = qb_rb_open(link->name, link_frames(link) * (link->n_bytes + CHUNK_HEADER_BYTES),
                            flags, 0);
    return link->peer != NULL ? NULL : "qb_rb_open fails";
}

static void close_chunks(struct link *link)
{
    qb_rb_close(link->peer); /* made by us: with its files */
}

static bool join(struct link *link)
{
    (void)link;
    return true;
}

static void leave(struct link *link)
{
    (void)link;
}

static int64_t reserve(struct link *link, unsigned n, unsigned char **place)
{
    (void)n;
    for (unsigned turn = 0; (*place = qb_rb_chunk_alloc(link->peer, link->n_bytes)) == NULL; turn++)
        link_relax(turn);
    return 1;
}

static bool commit(struct link *link, unsigned char *place, unsigned n)
{
    (void)place, (void)n;
    return qb_rb_chunk_commit(link->peer, link->n_bytes) >= 0;
}

static int64_t receive(struct link *link, unsigned n, unsigned char **place)
{
    void *chunk = NULL;
    const bool sleeps = link->way->variant == SEMAPHORE && !link->polls;

    (void)n;
    for (unsigned turn = 0;; turn++) {
        if (qb_rb_chunk_peek(link->peer, &chunk, sleeps ? -1 : 0) == (ssize_t)link->n_bytes) {
            *place = chunk;
            return 1;
        }
        if (link->polls)
            return 0;
        link_relax(turn);
    }
}

static bool release(struct link *link, unsigned char *place, unsigned n)
{
    (void)place, (void)n;
    qb_rb_chunk_reclaim(link->peer);
    return true;
}

#define QB_FUNCTIONS                                                                        \
    .batch = 1, .can_poll = true, .open = open_chunks, .close = close_chunks, .join = join, \
    .leave = leave, .reserve = reserve, .commit = commit, .receive = receive, .release = release

const struct way qb_spinning = {.name = "libqb, spinning", .variant = SPINNING, QB_FUNCTIONS};
const struct way qb_wide = {
    .name = "libqb, spinning, wide", .variant = SPINNING, .is_wide = true, QB_FUNCTIONS};
const struct way qb_semaphore = {
    .name = "libqb, semaphore", .variant = SEMAPHORE, .can_block = true, QB_FUNCTIONS};

#else

#define ABSENT "libqb-dev is not installed, or was not when this was set up"
const struct way qb_spinning = {.name = "libqb, spinning", .absent = ABSENT};
const struct way qb_wide = {.name = "libqb, spinning, wide", .absent = ABSENT};
const struct way qb_semaphore = {.name = "libqb, semaphore", .absent = ABSENT};

#endif
