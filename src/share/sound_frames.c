/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sound_frames: how frames of sound get from the client to the server, and back.
 *
 *        head          begin      cursor         end            tail
 *   -------|-------------|----------|-------------|---------------|-------   playing, in a loop
 *          '---- stays in the ring while turns are left -----'
 *
 * Playing, the server has a cursor of its own, which goes back in a loop. It reads frames between
 * the ring's head and tail, and moves head on only so far as no loop will come back to them.
 *
 * 1. head <= cursor <= tail, and tail - head <= n_frames: checked by one_look_for_data, and by
 *    take_wishes for what the client says.
 * 2. While turns are left, head <= loop.begin < loop.end.
 */
#include "share/sound.h"

#include "base/sys.h"

#include <string.h>

static bool is(const struct quire_sound *sound, enum quire_sound_role role,
               enum quire_sound_way way)
{
    return sound->role == role && sound->config.way == way;
}

static uint64_t time_or_now(uint64_t time_ns)
{
    return time_ns != 0 ? time_ns : sys_now_ns();
}

static bool has_flag(const struct quire_sound *sound, enum sound_flag flag)
{
    return ring_load(&sound->header->flags, memory_order_acquire) & flag;
}

/* Of the only writer. */
static void add(_Atomic uint64_t *figure, uint64_t n)
{
    ring_store(figure, ring_load(figure, memory_order_relaxed) + n, memory_order_relaxed);
}

/* The client */

static uint64_t deadline_after(uint64_t timeout_ns)
{
    const uint64_t now = sys_now_ns();
    return timeout_ns > QUIRE_RING_FOREVER - now ? QUIRE_RING_FOREVER : now + timeout_ns;
}

static uint64_t left_until(uint64_t deadline_ns)
{
    const uint64_t now = deadline_ns == QUIRE_RING_FOREVER ? 0 : sys_now_ns();
    return deadline_ns > now ? deadline_ns - now : 0;
}

/* Frames that may be written now; 0: as many are under way as may be; or an error. */
static int64_t room(struct quire_sound *sound, uint64_t latency)
{
    const struct quire_ring *ring = &sound->ring;
    const uint64_t head = ring_load(&ring->header->head, memory_order_acquire);
    const uint64_t n_waiting = ring->position - head;

    if (n_waiting > ring->n_frames)
        return -EPROTO;
    return n_waiting < latency ? (int64_t)(latency - n_waiting) : 0;
}

/* As much as may be; 0: nothing. */
static int64_t write_some(struct quire_sound *sound, const void *frames, uint64_t n_frames,
                          uint64_t latency)
{
    const int64_t n_free = room(sound, latency);

    if (n_free <= 0)
        return n_free;
    const int64_t n = quire_ring_put(&sound->ring, frames, ring_least(n_frames, (uint64_t)n_free),
                                     0);
    if (n > 0)
        sound_stamp_set(&sound->header->client, sound->ring.position, sys_now_ns());
    return n == -EAGAIN ? 0 : n;
}

int64_t quire_sound_write(struct quire_sound *sound, const void *frames, uint64_t n_frames,
                          uint64_t timeout_ns)
{
    const uint64_t deadline_ns = deadline_after(timeout_ns), size = sound->config.n_frames;
    uint64_t done = 0;
    int64_t n = 1;

    if (!is(sound, QUIRE_SOUND_CLIENT, QUIRE_SOUND_PLAY))
        return -EINVAL;
    if (has_flag(sound, SOUND_FINISHED))
        atomic_fetch_and(&sound->header->flags, ~(uint32_t)SOUND_FINISHED);
    while (done < n_frames) {
        const uint64_t latency = sound_latency(
            sound, ring_load(&sound->header->latency, memory_order_relaxed));
        n = write_some(sound, (const char *)frames + done * sound->config.frame_bytes,
                       n_frames - done, latency);
        if (n == 0) { /* for as much as one period's, at least */
            const uint64_t wanted = ring_least(n_frames - done, sound->config.period);
            n = quire_ring_wait(&sound->ring, size - latency + wanted, left_until(deadline_ns));
            if (n == 0 && left_until(deadline_ns) == 0)
                n = -ETIMEDOUT; /* nobody can make us try for longer */
        }
        if (n < 0)
            break;
        done += (uint64_t)n;
    }
    if (done > 0 || n >= 0)
        return (int64_t)done;
    return n == -ETIMEDOUT && timeout_ns == 0 ? -EAGAIN : n;
}

int quire_sound_drain(struct quire_sound *sound, uint64_t timeout_ns)
{
    if (!is(sound, QUIRE_SOUND_CLIENT, QUIRE_SOUND_PLAY))
        return -EINVAL;
    return quire_ring_wait(&sound->ring, sound->config.n_frames, timeout_ns);
}

int64_t quire_sound_read(struct quire_sound *sound, void *frames, uint64_t n_frames,
                         uint64_t timeout_ns)
{
    if (!is(sound, QUIRE_SOUND_CLIENT, QUIRE_SOUND_RECORD))
        return -EINVAL;
    const int64_t n = quire_ring_get(&sound->ring, frames, n_frames, timeout_ns);
    if (n > 0)
        sound_stamp_set(&sound->header->client, sound->ring.position, sys_now_ns());
    return n;
}

/* The server, playing: what the client wishes */

/* A loop that was set since; one that can't be is none. */
static void take_loop(struct quire_sound *sound)
{
    const struct sound_header *header = sound->header;
    const uint64_t count = ring_load(&header->loop_count, memory_order_acquire);

    if (count == sound->loop_turn)
        return;
    const struct quire_sound_loop loop = {
        ring_load(&header->loop[count % 2].begin, memory_order_relaxed),
        ring_load(&header->loop[count % 2].end, memory_order_relaxed),
        ring_load(&header->loop[count % 2].turns, memory_order_relaxed)};
    atomic_thread_fence(memory_order_acquire);
    if (ring_load(&header->loop_count, memory_order_relaxed) != count)
        return; /* another is being set: next period */
    sound->loop_turn = count;
    sound->loop = loop;
    if (loop.begin < sound->ring.position || loop.begin >= loop.end ||
        loop.end - loop.begin > sound->config.n_frames || loop.end < sound->cursor)
        sound->loop.turns = 0;
}

/* It begins when as much is there as the latency is, or nothing more will come. */
static void begin(struct quire_sound *sound, uint64_t latency, uint64_t tail)
{
    const uint64_t n_there = tail - sound->cursor;

    if (n_there == 0 || (n_there < latency && !has_flag(sound, SOUND_FINISHED) &&
                         ring_other_side(&sound->ring) == 0))
        return;
    sound->has_started = true;
    ring_store(&sound->header->has_begun, 1, memory_order_relaxed);
}

/* Finds the tail; passes over what was flushed. 0 or -EPROTO. */
static int take_wishes(struct quire_sound *sound, uint64_t *tail)
{
    struct quire_ring *ring = &sound->ring;
    const uint64_t flush = ring_load(&sound->header->flush, memory_order_acquire);
    uint64_t n_there;

    if (one_look_for_data(ring, UINT64_MAX, &n_there) != 0 ||
        ring->position + n_there < sound->cursor)
        return -EPROTO;
    *tail = ring->position + n_there;
    if (flush > sound->cursor && flush <= *tail) {
        sound->cursor = flush;
        sound->loop.turns = 0; /* what it would go back to is gone */
    }
    take_loop(sound);
    const uint64_t latency = sound_latency(
        sound, ring_load(&sound->header->latency, memory_order_relaxed));
    ring_store(&sound->header->granted, latency, memory_order_relaxed);
    if (!sound->has_started)
        begin(sound, latency, *tail);
    return 0;
}

/* The server, playing: frames */

static bool goes_back(const struct quire_sound *sound)
{
    return sound->loop.turns > 0 && sound->cursor == sound->loop.end;
}

/* Copies up to the tail, round the loop. Each turn of it copies a frame at least (2). */
static uint64_t copy_out(struct quire_sound *sound, unsigned char *to, uint64_t n_frames,
                         uint64_t tail)
{
    const struct quire_ring *ring = &sound->ring;
    uint64_t done = 0;

    while (done < n_frames) {
        if (goes_back(sound)) {
            sound->cursor = sound->loop.begin;
            sound->loop.turns -= sound->loop.turns != QUIRE_SOUND_FOR_EVER;
        }
        const uint64_t end = sound->loop.turns > 0 ? ring_least(tail, sound->loop.end) : tail;
        const uint64_t before_end = ring->n_frames - (sound->cursor & ring->mask);
        const uint64_t n = ring_least(ring_least(n_frames - done, end - sound->cursor), before_end);
        if (n == 0)
            break;
        memcpy(to + done * ring->frame_bytes, ring_frame(ring, sound->cursor),
               (size_t)n * ring->frame_bytes);
        sound->cursor += n;
        done += n;
    }
    return done;
}

/* What nobody comes back to (2). */
static void release_played(struct quire_sound *sound)
{
    const uint64_t position = sound->ring.position;
    const uint64_t next = sound->loop.turns > 0 ? ring_least(sound->cursor, sound->loop.begin)
                                                : sound->cursor;

    if (next > position)
        one_advance_head(&sound->ring, next - position);
}

static void account(struct quire_sound *sound, uint64_t n_moved, uint64_t n_missing,
                    uint64_t time_ns)
{
    struct sound_header *header = sound->header;

    add(&header->n_moved, n_moved);
    if (n_missing > 0) {
        add(&header->n_underruns, 1);
        add(&header->underrun_frames, n_missing);
    }
    ring_store(&header->turns_left, sound->loop.turns, memory_order_relaxed);
    sound_stamp_set(&header->server, sound->cursor, time_or_now(time_ns));
}

/* Why there is nothing more to come, or 0. */
static int is_over(struct quire_sound *sound, uint64_t tail, bool is_paused)
{
    const int gone = sound->cursor == tail || is_paused ? ring_other_side(&sound->ring) : 0;

    /* What the client did last was seen, if the tail is still the same after it has gone. */
    return gone != 0 && ring_load(&sound->ring.header->tail, memory_order_acquire) == tail ? gone
                                                                                           : 0;
}

int64_t quire_sound_take(struct quire_sound *sound, void *frames, uint64_t n_frames,
                         uint64_t time_ns)
{
    const uint32_t frame_bytes = sound->config.frame_bytes;
    uint64_t done = 0, tail;

    if (!is(sound, QUIRE_SOUND_SERVER, QUIRE_SOUND_PLAY) || n_frames == 0)
        return -EINVAL;
    const bool is_paused = has_flag(sound, SOUND_PAUSED);
    const bool is_finished = has_flag(sound, SOUND_FINISHED); /* looked at before the tail is */
    const int error = take_wishes(sound, &tail);
    const bool runs = error == 0 && sound->has_started && !is_paused;
    if (runs)
        done = copy_out(sound, frames, n_frames, tail);
    if (done < n_frames)
        memset((char *)frames + done * frame_bytes, sound->config.silence,
               (size_t)(n_frames - done) * frame_bytes);
    if (error != 0)
        return error;
    release_played(sound);
    const int gone = done < n_frames ? is_over(sound, tail, is_paused) : 0;
    account(sound, done, runs && !is_finished && gone == 0 ? n_frames - done : 0, time_ns);
    return done > 0 ? (int64_t)done : gone;
}

/* The server, recording */

int64_t quire_sound_give(struct quire_sound *sound, const void *frames, uint64_t n_frames,
                         uint64_t time_ns)
{
    struct sound_header *header = sound->header;

    if (!is(sound, QUIRE_SOUND_SERVER, QUIRE_SOUND_RECORD) || n_frames == 0)
        return -EINVAL;
    const int gone = ring_other_side(&sound->ring);
    if (gone != 0)
        return gone;
    const uint64_t latency = sound_latency(sound,
                                           ring_load(&header->latency, memory_order_relaxed));
    ring_store(&header->granted, latency, memory_order_relaxed);
    if (has_flag(sound, SOUND_PAUSED))
        return 0;
    const int64_t n_free = room(sound, latency);
    const int64_t n = n_free > 0 ? quire_ring_put(&sound->ring, frames,
                                                  ring_least(n_frames, (uint64_t)n_free), 0)
                                 : n_free;
    if (n < 0 && n != -EAGAIN)
        return n;
    const uint64_t done = n > 0 ? (uint64_t)n : 0;
    add(&header->n_moved, done);
    if (done < n_frames) {
        add(&header->n_overruns, 1);
        add(&header->overrun_frames, n_frames - done);
    }
    sound_stamp_set(&header->server, sound->ring.position, time_or_now(time_ns));
    ring_store(&header->has_begun, 1, memory_order_relaxed);
    return (int64_t)done;
}
