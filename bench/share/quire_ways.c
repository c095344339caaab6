/* SPDX-License-Identifier: Apache-2.0 */
/* quire_ways: Quire's rings, in batches, one by one, copied, and among many. */
#include "way.h"

#include <errno.h>
#include <sys/mman.h>

enum variant { IN_PLACE, COPIED, MANY };

static const char *open_ring(struct link *link)
{
    const struct quire_ring_config config = {link_frames(link), (uint32_t)link->n_bytes,
                                             link->way->variant == MANY ? QUIRE_RING_MANY_TO_MANY
                                                                        : QUIRE_RING_ONE_TO_ONE,
                                             QUIRE_RING_WAIT};

    link->memory_bytes = quire_ring_bytes(&config);
    link->memory = mmap(NULL, link->memory_bytes, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (link->memory == MAP_FAILED)
        return "no memory";
    return quire_ring_init(&config, link->memory, link->memory_bytes) == 0 ? NULL : "no ring";
}

static void close_ring(struct link *link)
{
    munmap(link->memory, link->memory_bytes);
}

static bool join(struct link *link)
{
    return quire_ring_attach(link->memory, link->memory_bytes,
                             link->side == SENDER ? QUIRE_RING_PRODUCER : QUIRE_RING_CONSUMER,
                             &link->ring) == 0;
}

static void leave(struct link *link)
{
    quire_ring_detach(&link->ring);
}

static int64_t reserve(struct link *link, unsigned n, unsigned char **place)
{
    for (;;) {
        void *frames;
        const int64_t got = quire_ring_reserve(&link->ring, n, &frames);
        if (got < 0 || (got == 0 && quire_ring_wait(&link->ring, 1, QUIRE_RING_FOREVER) != 0))
            return -1;
        *place = frames;
        if (got > 0)
            return got;
    }
}

static bool commit(struct link *link, unsigned char *place, unsigned n)
{
    return quire_ring_commit(&link->ring, place, n) == 0;
}

static int64_t receive(struct link *link, unsigned n, unsigned char **place)
{
    for (;;) {
        void *frames;
        const int64_t got = quire_ring_peek(&link->ring, n, &frames);
        *place = frames;
        if (got != 0 || link->polls)
            return got;
        if (quire_ring_wait(&link->ring, 1, QUIRE_RING_FOREVER) != 0)
            return -1;
    }
}

static bool release(struct link *link, unsigned char *place, unsigned n)
{
    return quire_ring_release(&link->ring, place, n) == 0;
}

static bool put(struct link *link, unsigned char *place, unsigned n)
{
    return quire_ring_put(&link->ring, place, n, QUIRE_RING_FOREVER) == n;
}

static int64_t get(struct link *link, unsigned n, unsigned char **place)
{
    const int64_t got = quire_ring_get(&link->ring, link->buffer, n,
                                       link->polls ? 0 : QUIRE_RING_FOREVER);

    *place = link->buffer;
    return got == 0 ? -1 : got == -EAGAIN ? 0 : got;
}

#define IN_PLACE_FUNCTIONS                                                                         \
    .is_quire = true, .can_block = true, .can_poll = true, .open = open_ring, .close = close_ring, \
    .join = join, .leave = leave, .reserve = reserve, .commit = commit, .receive = receive,        \
    .release = release

const struct way quire_batched = {
    .name = "quire, batched", .variant = IN_PLACE, .batch = LINK_BATCH, IN_PLACE_FUNCTIONS};
const struct way quire_wide = {.name = "quire, batched, wide",
                               .variant = IN_PLACE,
                               .batch = LINK_BATCH,
                               .is_wide = true,
                               IN_PLACE_FUNCTIONS};
const struct way quire_one = {
    .name = "quire, in place", .variant = IN_PLACE, .batch = 1, IN_PLACE_FUNCTIONS};
const struct way quire_many = {
    .name = "quire, many-to-many", .variant = MANY, .batch = LINK_BATCH, IN_PLACE_FUNCTIONS};
const struct way quire_copied = {.name = "quire, copied",
                                 .variant = COPIED,
                                 .batch = 1,
                                 .is_quire = true,
                                 .can_block = true,
                                 .can_poll = true,
                                 .open = open_ring,
                                 .close = close_ring,
                                 .join = join,
                                 .leave = leave,
                                 .reserve = link_reserve_buffer,
                                 .commit = put,
                                 .receive = get,
                                 .release = link_release_nothing};
