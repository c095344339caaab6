/* SPDX-License-Identifier: Apache-2.0 */
/*
 * feed: where a view gets its samples from: this machine as time goes by, or a recording, in which
 * one can go back and forth.
 *
 *   feed_open_live()     ──┐
 *                          ├── feed_move(+1), feed_move(-60), feed_seek(time) ── struct sample
 *   feed_open_recorded() ──┘      live: only +1, which takes a new one
 */
#ifndef QUIRE_OBSERVE_FEED_H
#define QUIRE_OBSERVE_FEED_H

#include "observe/sample.h"

struct feed;

struct feed_class { /* what a kind of feed does; see the functions below */
    int (*move)(struct feed *feed, int64_t n, const struct sample **sample);
    int (*seek)(struct feed *feed, uint64_t wall_ms, const struct sample **sample);
    const char *(*message)(struct feed *feed);
    void (*close)(struct feed *feed);
};

struct feed { /* the first member of each kind's own struct */
    const struct feed_class *class;
    bool is_recorded;
    unsigned parts; /* live: what the next sample reads of the processes; may be changed */
    /* recorded: */
    uint64_t interval_ms;       /* between samples, as a rule */
    uint64_t first_ms, last_ms; /* the wall clock of the first and of the last sample */
    uint64_t n_samples, index;  /* of the current one, from 0 */
    const char *host;           /* what machine it was, in a few words; "" where not known */
};

/*
 * Samples of the machine below `root` (NULL: this one). 0 or a negative errno, then *feed is NULL.
 * Close it after a success.
 */
int feed_open_live(const char *root, unsigned parts, struct feed **feed);

/* Moves by n samples from the current one (the first call: from before the first) and gives that
 * sample, valid until the next call. A recording stops at its ends: then it gives the sample there
 * again. 0; -ENOTSUP: live, and n is not 1; or a negative errno with feed_message(). */
static inline int feed_move(struct feed *feed, int64_t n, const struct sample **sample)
{
    return feed->class->move(feed, n, sample);
}

/* The last sample that is not later than wall_ms, else the first. -ENOTSUP: live. */
static inline int feed_seek(struct feed *feed, uint64_t wall_ms, const struct sample **sample)
{
    return feed->class->seek(feed, wall_ms, sample);
}

static inline const char *feed_message(struct feed *feed)
{
    return feed->class->message(feed);
}

static inline void feed_close(struct feed *feed)
{
    if (feed != NULL)
        feed->class->close(feed);
}

#endif
