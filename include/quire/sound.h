/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quire/sound.h: sound between a client and a real-time server, through shared memory.
 *
 *     client (plays)     quire_sound_write ---> ring ---> quire_sound_take     server, each period
 *     client (records)   quire_sound_read  <--- ring <--- quire_sound_give     server, each period
 *              '------ control block: volume, pause, flush, loop, latency, times, counts ------'
 *
 * A one-to-one ring (quire/ring.h) of frames, a sample of each channel, and a control block with
 * what both have to tell each other. The memory is its user's, as a ring's is; whoever owns it
 * makes it, usually the server, hands it over (quire/share.h), and both attach.
 *
 * The server comes each period, from its real-time thread: take and give never wait, allocate, or
 * call the kernel but to wake a client that sleeps; their time is that of the copy. Where the
 * client is late, the server gets silence in place of what is missing, and counts an underrun;
 * where it does not read what was recorded, the rest is dropped, and an overrun counted.
 *
 * The client may wait, and says how many frames are to be under way at most: the latency.
 *
 * A peer is not trusted, as with rings: whatever it writes is checked when it is read; it can
 * garble the sound and stall its own stream, and nothing else. Positions count frames from the
 * start of the stream; times are CLOCK_MONOTONIC's nanoseconds.
 *
 * Thread safety: the calls of one view are made by one thread at a time, but for those under
 * "Control" and "Looking", which any thread may make at any time.
 * Progress: all but write, read and wait are wait-free.
 */
#ifndef QUIRE_SOUND_H
#define QUIRE_SOUND_H

#include <quire/ring.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

#define QUIRE_SOUND_MIN_RATE 1000u
#define QUIRE_SOUND_MAX_RATE 1536000u
#define QUIRE_SOUND_MAX_FRAME_BYTES 1024u
#define QUIRE_SOUND_MAX_FRAMES ((uint64_t)1 << 32)
#define QUIRE_SOUND_FULL_VOLUME 65536u  /* as loud as it was written */
#define QUIRE_SOUND_FOR_EVER UINT64_MAX /* turns of a loop */

enum quire_sound_way { QUIRE_SOUND_PLAY, QUIRE_SOUND_RECORD };
enum quire_sound_role { QUIRE_SOUND_CLIENT, QUIRE_SOUND_SERVER };

struct quire_sound_config {
    uint32_t rate;        /* frames a second, QUIRE_SOUND_MIN_RATE to QUIRE_SOUND_MAX_RATE */
    uint32_t frame_bytes; /* a sample of each channel; 1 to QUIRE_SOUND_MAX_FRAME_BYTES */
    uint64_t n_frames;    /* of the ring: a power of two up to QUIRE_SOUND_MAX_FRAMES */
    uint32_t period;      /* frames that the server takes or gives at a time; up to n_frames */
    uint8_t silence;      /* each byte of a silent frame: 0; 128 for unsigned bytes */
    enum quire_sound_way way;
};

/* A view. Its fields are not for users; it may not be copied while it is attached. */
struct quire_sound {
    struct sound_header *header;
    struct quire_ring ring;
    struct quire_sound_config config;
    enum quire_sound_role role;
    uint64_t cursor; /* server: of the next frame to be played */
    struct quire_sound_loop {
        uint64_t begin, end, turns; /* positions; how often it is still to go back */
    } loop;
    uint64_t loop_turn; /* server: which of the client's loops that is */
    bool has_started;   /* server */
};

/* Setting up */

/* Bytes that init wants; 0 if the configuration is invalid. */
size_t quire_sound_bytes(const struct quire_sound_config *config);

/*
 * Makes a stream in `memory`, aligned to QUIRE_RING_ALIGNMENT, which nobody is attached to. Returns
 * 0; -EINVAL: configuration or alignment; -ENOSPC: n_bytes is too little.
 */
int quire_sound_init(const struct quire_sound_config *config, void *memory, size_t n_bytes)
    __attribute__((warn_unused_result));

/*
 * Attaches; the configuration is in sound->config then. n_bytes is what is really mapped. Returns
 * 0; -EINVAL: alignment or role; -EPROTO: there is no stream, or not one of this version, or it
 * claims to be longer than n_bytes; -EBUSY: somebody who lives has this role.
 */
int quire_sound_attach(void *memory, size_t n_bytes, enum quire_sound_role role,
                       struct quire_sound *sound) __attribute__((warn_unused_result));

/* Leaves. What a client has written is played to its end. */
void quire_sound_detach(struct quire_sound *sound);

/* The client's side of playing and recording */

/*
 * Writes n_frames, and waits, timeout_ns at most in all, while as many are under way as the latency
 * allows. Returns how many were taken; if none: -EAGAIN (time-out 0), -ETIMEDOUT; -EPIPE,
 * -EOWNERDEAD: the server has left, died; -EPROTO; -EINVAL: this is no client that plays.
 */
int64_t quire_sound_write(struct quire_sound *sound, const void *frames, uint64_t n_frames,
                          uint64_t timeout_ns) __attribute__((warn_unused_result));

/* What was written is all: that nothing follows is no underrun. Writing on takes it back. 0 or
 * -EINVAL. */
int quire_sound_finish(struct quire_sound *sound);

/*
 * Waits until all that was written has been taken, or flushed. Returns 0; -ETIMEDOUT, -EPIPE,
 * -EOWNERDEAD, -EPROTO, -EINVAL.
 */
int quire_sound_drain(struct quire_sound *sound, uint64_t timeout_ns);

/* Reads up to n_frames that were recorded, as soon as there is one; as quire_ring_get. */
int64_t quire_sound_read(struct quire_sound *sound, void *frames, uint64_t n_frames,
                         uint64_t timeout_ns) __attribute__((warn_unused_result));

/* The server's side */

/*
 * Fills n_frames (of any number; usually a period), with silence where there is nothing to play:
 * while the stream is paused, has not begun, or the client is late. It begins when as many frames
 * are there as the latency is, or the client has finished. `time_ns`: when the first of these
 * frames will be heard; 0: now. Returns how many frames are sound (less, while not paused or
 * finished, is an underrun); -EPIPE: it is over, the client has left; -EOWNERDEAD: it died, and all
 * it wrote was played; -EPROTO; -EINVAL. `frames` is filled in each case but -EINVAL.
 */
int64_t quire_sound_take(struct quire_sound *sound, void *frames, uint64_t n_frames,
                         uint64_t time_ns);

/*
 * Hands over what was recorded, n_frames, the first of them at time_ns (0: now). Returns how many
 * had room (the rest is an overrun, and dropped); 0 while it is paused; -EPIPE, -EOWNERDEAD: nobody
 * reads any more; -EPROTO; -EINVAL.
 */
int64_t quire_sound_give(struct quire_sound *sound, const void *frames, uint64_t n_frames,
                         uint64_t time_ns);

/* Control: the client's; the server acts on it at its next period. 0, or -EINVAL: no client. */

/* Parts of QUIRE_SOUND_FULL_VOLUME, which is the most. The server's mixer applies it. */
int quire_sound_set_volume(struct quire_sound *sound, uint32_t left, uint32_t right);

int quire_sound_pause(struct quire_sound *sound, bool pause);

/* What has been written and not played, or recorded and not read, is dropped. By the thread that
 * writes or reads. */
int quire_sound_flush(struct quire_sound *sound);

/*
 * When the server comes to position `end` it goes on at `begin`, `turns` times; with
 * QUIRE_SOUND_FOR_EVER until another loop is set. The frames stay in the ring for it, so that
 * end - begin is at most n_frames. 0 turns: it goes on behind the end. Returns 0; -EINVAL: not a
 * client that plays, or begin >= end, or they are too far apart; -ESTALE: `begin` is played already
 * (set it before, or while it is paused). One thread at a time.
 */
int quire_sound_set_loop(struct quire_sound *sound, uint64_t begin, uint64_t end, uint64_t turns);

/* Asks for a latency in frames; 0: all of the ring. What was granted is in the state: a period at
 * least, the ring at most. */
int quire_sound_ask_latency(struct quire_sound *sound, uint64_t n_frames);

/* Looking: by either side */

struct quire_sound_state {
    uint64_t client_position, client_time_ns; /* written or read up to there, and when */
    uint64_t server_position, server_time_ns; /* played or recorded up to there; of its last call:
                                                 when what it took then is heard */
    uint64_t n_waiting;                       /* frames in the ring */
    uint64_t n_moved;                         /* frames taken or given, those of loops each time */
    uint64_t n_underruns, underrun_frames;    /* times; frames of silence in place of sound */
    uint64_t n_overruns, overrun_frames;
    uint64_t asked_latency, granted_latency; /* frames; granted: 0 before the server has come */
    uint64_t loop_turns;                     /* that are left */
    uint32_t left_volume, right_volume;
    bool is_paused, is_finished, has_begun;
};

/* Times go with their positions; each other figure is right for itself. Returns 0; -EPROTO;
 * -EAGAIN: a peer changes them all the time. */
int quire_sound_state(const struct quire_sound *sound, struct quire_sound_state *state);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
