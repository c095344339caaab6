/* SPDX-License-Identifier: Apache-2.0 */
/* feed: see feed.h. The live kind: an observer, and the system's figures of the sample before. */
#include "observe/feed.h"

#include <errno.h>
#include <stdlib.h>

struct live {
    struct feed feed;
    struct quire_observe *observe;
    struct sample samples[2]; /* the current one, and the one before it */
    unsigned current;
    bool has_one;
};

static int move(struct feed *feed, int64_t n, const struct sample **sample)
{
    struct live *live = (struct live *)feed;
    unsigned next = live->current ^ 1u;

    if (n != 1)
        return -ENOTSUP;
    int error = sample_take(live->observe, feed->parts,
                            live->has_one ? &live->samples[live->current] : NULL,
                            &live->samples[next]);
    if (error < 0)
        return error;
    live->current = next;
    live->has_one = true;
    *sample = &live->samples[next];
    return 0;
}

static int seek(struct feed *feed, uint64_t wall_ms, const struct sample **sample)
{
    return -ENOTSUP;
}

static const char *message(struct feed *feed)
{
    return quire_observe_message(((struct live *)feed)->observe);
}

static void close_live(struct feed *feed)
{
    struct live *live = (struct live *)feed;

    quire_observe_close(live->observe);
    free(live);
}

int feed_open_live(const char *root, unsigned parts, struct feed **feed)
{
    static const struct feed_class class = {move, seek, message, close_live};
    struct live *live = calloc(1, sizeof *live);

    *feed = NULL;
    if (live == NULL)
        return -ENOMEM;
    live->feed = (struct feed){.class = &class, .parts = parts, .host = ""};
    int error = quire_observe_open(root, &live->observe);
    if (error < 0) {
        free(live);
        return error;
    }
    *feed = &live->feed;
    return 0;
}
