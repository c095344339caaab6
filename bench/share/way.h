/* SPDX-License-Identifier: Apache-2.0 */
/*
 * way: a means by which messages get from one process to another, as share_bench drives it.
 *
 *     sender                                          receiver
 *     reserve -> fill -> commit     ---- link ---->   receive -> check -> release
 *
 * Each takes up to a batch at a time where the means can do that, and one message where it can't.
 * Messages are filled and checked in place where it has places, else in the link's buffer.
 */
#ifndef QUIRE_BENCH_WAY_H
#define QUIRE_BENCH_WAY_H

#include <quire/ring.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LINK_BYTES ((uint64_t)4 << 20)  /* of all that can be under way, where one can say so */
#define WIDE_BYTES ((uint64_t)64 << 20) /* more than caches hold */
#define LINK_LEAST_FRAMES 4u
#define LINK_BATCH 64u

enum side { SENDER, RECEIVER };

struct link {
    const struct way *way;
    size_t n_bytes; /* of a message */
    enum side side; /* once it has been joined */
    bool polls;     /* the receiver does not block */
    int ends[2];    /* descriptors: receiver's, sender's */
    char name[96];  /* where the means wants one */
    void *peer;     /* its own handle */
    void *socket;
    struct quire_ring ring;
    void *memory;
    size_t memory_bytes;
    unsigned char *buffer; /* LINK_BATCH messages; of whoever has joined */
    size_t n_there;        /* bytes in it that make no whole message yet */
};

struct way {
    const char *name;
    const char *absent; /* why it is not in this build; else NULL */
    unsigned variant;   /* of the functions */
    unsigned batch;     /* at most, messages at a time */
    bool is_wide;       /* WIDE_BYTES under way, not LINK_BYTES */
    bool is_quire;
    bool can_block, can_poll;

    /* Before the processes part. NULL, or why not. */
    const char *(*open)(struct link *link);
    void (*close)(struct link *link);
    /* In each process. */
    bool (*join)(struct link *link);
    void (*leave)(struct link *link);
    /* Places for up to n messages, one behind the other; waits for one at least. <= 0: an error. */
    int64_t (*reserve)(struct link *link, unsigned n, unsigned char **place);
    bool (*commit)(struct link *link, unsigned char *place, unsigned n);
    /* Likewise messages. 0: none is there (link->polls); < 0: the end, or an error. */
    int64_t (*receive)(struct link *link, unsigned n, unsigned char **place);
    bool (*release)(struct link *link, unsigned char *place, unsigned n);
};

/* All ways there are, in the order of the tables; Quire's first. */
extern const struct way *const ways[];
extern const unsigned n_ways;

extern const struct way quire_batched, quire_wide, quire_one, quire_copied, quire_many;
extern const struct way qb_spinning, qb_wide, qb_semaphore;
extern const struct way zeromq;
extern const struct way message_queue, datagrams, stream, stream_batched, pipe_one, pipe_batched;

/* What several need */

uint64_t link_frames(const struct link *link); /* messages that may be under way */
/* While it is the other's turn: a pause at first, later the processor is left to others. */
void link_relax(unsigned turn);
/* In link->buffer: as `reserve` of who has no places. */
int64_t link_reserve_buffer(struct link *link, unsigned n, unsigned char **place);
bool link_release_nothing(struct link *link, unsigned char *place, unsigned n);

#endif
