/* SPDX-License-Identifier: Apache-2.0 */
/* Streams of sound: what the client writes and wishes, and what the server gets of it each period.
 */
#include <quire/sound.h>

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h> /* wants the headers above */

#define MEMORY_BYTES ((size_t)64 << 10)
#define N_FRAMES 64u
#define PERIOD 8u
#define SILENT 0x55u
#define SILENT_FRAME 0x55555555u
#define MOMENT_NS 2000000u

static unsigned char *memory;
static struct quire_sound client, server;
static uint32_t next_written, next_played; /* frames are numbered */

static int map(void **state)
{
    memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? -1 : 0;
}

static int unmap(void **state)
{
    return munmap(memory, MEMORY_BYTES);
}

static struct quire_sound_config config_of(enum quire_sound_way way)
{
    return (struct quire_sound_config){48000, sizeof(uint32_t), N_FRAMES, PERIOD, SILENT, way};
}

static void make(enum quire_sound_way way)
{
    const struct quire_sound_config config = config_of(way);
    memset(memory, 0, MEMORY_BYTES);
    assert_true(quire_sound_bytes(&config) > 0);
    assert_int_equal(quire_sound_init(&config, memory, MEMORY_BYTES), 0);
    assert_int_equal(quire_sound_attach(memory, MEMORY_BYTES, QUIRE_SOUND_CLIENT, &client), 0);
    assert_int_equal(quire_sound_attach(memory, MEMORY_BYTES, QUIRE_SOUND_SERVER, &server), 0);
    next_written = next_played = 1;
}

static struct quire_sound_state look(void)
{
    struct quire_sound_state result;
    assert_int_equal(quire_sound_state(&client, &result), 0);
    return result;
}

/* How many went in. */
static int64_t write_frames(unsigned n)
{
    uint32_t frames[2 * N_FRAMES];
    for (unsigned i = 0; i < n; i++)
        frames[i] = next_written + i;
    const int64_t done = quire_sound_write(&client, frames, n, 0);
    next_written += done > 0 ? (uint32_t)done : 0;
    return done;
}

/* A period has so many frames that go on where the last ended, and silence behind them. */
static void expect(int64_t n)
{
    uint32_t frames[PERIOD];
    memset(frames, 0xff, sizeof frames);
    assert_int_equal(quire_sound_take(&server, frames, PERIOD, 0), n);
    for (int64_t i = 0; i < (int64_t)PERIOD; i++)
        assert_int_equal(frames[i], i < n ? next_played++ : SILENT_FRAME);
}

static void it_begins_when_the_latency_is_there(void **state)
{
    make(QUIRE_SOUND_PLAY);
    assert_int_equal(quire_sound_ask_latency(&client, 2 * PERIOD), 0);
    assert_int_equal(write_frames(PERIOD), PERIOD);
    expect(0);
    assert_false(look().has_begun);
    assert_int_equal(write_frames(PERIOD), PERIOD);
    expect(PERIOD);
    assert_true(look().has_begun);
    assert_int_equal(look().n_underruns, 0);
    assert_int_equal(look().granted_latency, 2 * PERIOD);
}

static void a_latency_bounds_what_is_under_way(void **state)
{
    make(QUIRE_SOUND_PLAY);
    assert_int_equal(quire_sound_ask_latency(&client, 20), 0);
    assert_int_equal(write_frames(2 * N_FRAMES), 20);
    assert_int_equal(write_frames(1), -EAGAIN);
    expect(PERIOD);
    assert_int_equal(write_frames(2 * N_FRAMES), PERIOD);
    assert_int_equal(quire_sound_ask_latency(&client, 1), 0); /* less than a period can't be */
    expect(PERIOD);
    assert_int_equal(look().granted_latency, PERIOD);
    assert_int_equal(quire_sound_ask_latency(&client, 0), 0);
    expect(PERIOD);
    assert_int_equal(look().granted_latency, N_FRAMES);
    assert_int_equal(write_frames(2 * N_FRAMES), N_FRAMES - (20 - 2 * PERIOD));
}

static void who_is_late_is_told(void **state)
{
    make(QUIRE_SOUND_PLAY);
    assert_int_equal(quire_sound_ask_latency(&client, PERIOD), 0);
    write_frames(PERIOD);
    expect(PERIOD);
    expect(0);
    write_frames(3);
    expect(3);
    assert_int_equal(look().n_underruns, 2);
    assert_int_equal(look().underrun_frames, PERIOD + PERIOD - 3);
    write_frames(3);
    assert_int_equal(quire_sound_finish(&client), 0);
    expect(3); /* that is all */
    expect(0);
    assert_int_equal(look().n_underruns, 2);
    write_frames(PERIOD); /* and on */
    expect(PERIOD);
    expect(0);
    assert_int_equal(look().n_underruns, 3);
    assert_int_equal(look().n_moved, 2 * PERIOD + 6);
}

static void it_ends_when_the_client_has_left(void **state)
{
    make(QUIRE_SOUND_PLAY);
    write_frames(PERIOD + 3);
    quire_sound_detach(&client);
    expect(PERIOD); /* though it never was full */
    expect(3);
    expect(-EPIPE);
    struct quire_sound_state end;
    assert_int_equal(quire_sound_state(&server, &end), 0);
    assert_int_equal(end.n_underruns, 0);
}

static void a_paused_stream_is_silent(void **state)
{
    make(QUIRE_SOUND_PLAY);
    write_frames(N_FRAMES);
    expect(PERIOD);
    assert_int_equal(quire_sound_pause(&client, true), 0);
    expect(0);
    expect(0);
    assert_true(look().is_paused);
    assert_int_equal(look().server_position, PERIOD);
    assert_int_equal(quire_sound_pause(&client, false), 0);
    expect(PERIOD);
    assert_int_equal(look().n_underruns, 0);
    quire_sound_pause(&client, true);
    quire_sound_detach(&client); /* nobody can let it go on */
    memset(&client, 0, sizeof client);
    quire_sound_detach(&server);
}

static void what_is_flushed_is_not_heard(void **state)
{
    make(QUIRE_SOUND_PLAY);
    write_frames(N_FRAMES);
    expect(PERIOD);
    assert_int_equal(quire_sound_flush(&client), 0);
    next_played = next_written;
    write_frames(PERIOD); /* the first period's room */
    expect(PERIOD);
    assert_int_equal(look().n_waiting, 0);
    assert_int_equal(look().server_position, N_FRAMES + PERIOD);
}

static void a_loop_is_played_so_often(void **state)
{
    make(QUIRE_SOUND_PLAY);
    write_frames(30);
    assert_int_equal(quire_sound_finish(&client), 0);
    assert_int_equal(quire_sound_set_loop(&client, 5, 17, 3), 0);
    uint32_t heard[80];
    unsigned n = 0;
    for (int64_t got; n < 70 && (got = quire_sound_take(&server, heard + n, PERIOD, 0)) > 0;) {
        n += (unsigned)got;
        assert_int_equal(quire_sound_set_loop(&client, 40, 40, 1), -EINVAL);
    }
    assert_int_equal(n, 30 + 3 * 12);
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(heard[i], 1 + (i < 17 ? i : i < 17 + 36 ? 5 + (i - 17) % 12 : i - 36));
    assert_int_equal(look().n_moved, n);
    assert_int_equal(look().loop_turns, 0);
    assert_int_equal(look().n_waiting, 0);
}

static void a_loop_for_ever_ends_when_it_is_taken_back(void **state)
{
    uint32_t heard[PERIOD];
    make(QUIRE_SOUND_PLAY);
    write_frames(N_FRAMES); /* the ring is full of it */
    assert_int_equal(quire_sound_set_loop(&client, 0, N_FRAMES, QUIRE_SOUND_FOR_EVER), 0);
    for (unsigned i = 0; i < 10 * N_FRAMES / PERIOD + 1; i++) {
        assert_int_equal(quire_sound_take(&server, heard, PERIOD, 0), PERIOD);
        assert_int_equal(heard[0], 1 + i * PERIOD % N_FRAMES);
    }
    assert_int_equal(look().loop_turns, QUIRE_SOUND_FOR_EVER);
    assert_int_equal(write_frames(1), -EAGAIN); /* its frames stay */
    assert_int_equal(quire_sound_set_loop(&client, 0, N_FRAMES, 0), 0);
    for (unsigned i = 1; i < N_FRAMES / PERIOD; i++)
        assert_int_equal(quire_sound_take(&server, heard, PERIOD, 0), PERIOD);
    assert_int_equal(look().n_waiting, 0);
    assert_int_equal(quire_sound_set_loop(&client, 3, 9, 1), -ESTALE);
    assert_int_equal(quire_sound_set_loop(&client, N_FRAMES, 2 * N_FRAMES + 1, 1), -EINVAL);
}

static void volume_and_times_are_told(void **state)
{
    uint32_t frames[PERIOD];
    make(QUIRE_SOUND_PLAY);
    assert_int_equal(look().left_volume, QUIRE_SOUND_FULL_VOLUME);
    assert_int_equal(quire_sound_set_volume(&client, 100, UINT32_MAX), 0);
    assert_int_equal(look().left_volume, 100);
    assert_int_equal(look().right_volume, QUIRE_SOUND_FULL_VOLUME);
    write_frames(N_FRAMES);
    assert_int_equal(look().client_position, N_FRAMES);
    assert_true(look().client_time_ns > 0);
    assert_int_equal(quire_sound_take(&server, frames, PERIOD, 123456), PERIOD);
    assert_int_equal(look().server_position, PERIOD);
    assert_int_equal(look().server_time_ns, 123456);
    assert_int_equal(quire_sound_take(&server, frames, PERIOD, 0), PERIOD);
    assert_true(look().server_time_ns > look().client_time_ns);
}

static void a_recording_that_nobody_reads_overruns(void **state)
{
    uint32_t frames[N_FRAMES];
    make(QUIRE_SOUND_RECORD);
    for (uint32_t i = 0; i < N_FRAMES; i++)
        frames[i] = i;
    assert_int_equal(quire_sound_ask_latency(&client, 20), 0);
    assert_int_equal(quire_sound_give(&server, frames, PERIOD, 77), PERIOD);
    assert_int_equal(quire_sound_give(&server, frames + PERIOD, PERIOD, 0), PERIOD);
    assert_int_equal(quire_sound_give(&server, frames + 2 * PERIOD, PERIOD, 0), 4);
    assert_int_equal(quire_sound_give(&server, frames + 3 * PERIOD, PERIOD, 0), 0);
    assert_int_equal(look().n_overruns, 2);
    assert_int_equal(look().overrun_frames, PERIOD - 4 + PERIOD);
    uint32_t heard[N_FRAMES];
    assert_int_equal(quire_sound_read(&client, heard, N_FRAMES, 0), 20);
    assert_memory_equal(heard, frames, 20 * sizeof heard[0]);
    assert_int_equal(look().client_position, 20);
    assert_int_equal(quire_sound_give(&server, frames, 10, 0), 10);
    assert_int_equal(quire_sound_flush(&client), 0);
    assert_int_equal(look().n_waiting, 0);
    quire_sound_pause(&client, true);
    assert_int_equal(quire_sound_give(&server, frames, 10, 0), 0);
    assert_int_equal(look().n_overruns, 2);
    quire_sound_detach(&client);
    assert_int_equal(quire_sound_give(&server, frames, 10, 0), -EPIPE);
}

static atomic_bool all_is_written;

static void *take_until_all_is_written(void *unused)
{
    uint32_t frames[PERIOD];
    while (!atomic_load(&all_is_written)) {
        usleep(200);
        if (quire_sound_take(&server, frames, PERIOD, 0) > 0)
            next_played += PERIOD;
    }
    return NULL;
}

static void writing_waits_for_room(void **state)
{
    uint32_t frames[4 * N_FRAMES] = {0};
    pthread_t thread;
    make(QUIRE_SOUND_PLAY);
    assert_int_equal(write_frames(N_FRAMES), N_FRAMES);
    assert_int_equal(quire_sound_write(&client, frames, 1, MOMENT_NS), -ETIMEDOUT);
    assert_int_equal(quire_sound_drain(&client, MOMENT_NS), -ETIMEDOUT);
    assert_int_equal(pthread_create(&thread, NULL, take_until_all_is_written, NULL), 0);
    assert_int_equal(quire_sound_write(&client, frames, 4 * N_FRAMES, QUIRE_RING_FOREVER),
                     4 * N_FRAMES);
    assert_int_equal(quire_sound_drain(&client, QUIRE_RING_FOREVER), 0);
    atomic_store(&all_is_written, true);
    pthread_join(thread, NULL);
    assert_int_equal(next_played, 1 + 5 * N_FRAMES);
    quire_sound_detach(&server);
    assert_int_equal(quire_sound_write(&client, frames, 2 * N_FRAMES, QUIRE_RING_FOREVER),
                     N_FRAMES);
    assert_int_equal(quire_sound_write(&client, frames, 1, QUIRE_RING_FOREVER), -EPIPE);
}

static void a_client_that_dies_is_played_to_its_end(void **state)
{
    uint32_t frames[PERIOD];
    int64_t n = 0, n_played = 0;
    make(QUIRE_SOUND_PLAY);
    quire_sound_detach(&client);
    const pid_t child = fork();
    if (child == 0) {
        if (quire_sound_attach(memory, MEMORY_BYTES, QUIRE_SOUND_CLIENT, &client) != 0 ||
            write_frames(20) != 20)
            _exit(1);
        raise(SIGKILL);
    }
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(quire_ring_reap(&server.ring), 1);
    while ((n = quire_sound_take(&server, frames, PERIOD, 0)) > 0)
        n_played += n;
    assert_int_equal(n, -EOWNERDEAD);
    assert_int_equal(n_played, 20);
}

static void roles_and_sizes_are_checked(void **state)
{
    struct quire_sound_config config = config_of(QUIRE_SOUND_PLAY);
    struct quire_sound other;
    uint32_t frame = 0;
    make(QUIRE_SOUND_PLAY);
    assert_int_equal(quire_sound_attach(memory, MEMORY_BYTES, QUIRE_SOUND_SERVER, &other), -EBUSY);
    assert_int_equal(quire_sound_write(&server, &frame, 1, 0), -EINVAL);
    assert_int_equal(quire_sound_take(&client, &frame, 1, 0), -EINVAL);
    assert_int_equal(quire_sound_read(&client, &frame, 1, 0), -EINVAL);
    assert_int_equal(quire_sound_give(&server, &frame, 1, 0), -EINVAL);
    assert_int_equal(quire_sound_pause(&server, true), -EINVAL);
    assert_int_equal(quire_sound_attach(memory, 700, QUIRE_SOUND_CLIENT, &other), -EPROTO);
    assert_int_equal(quire_sound_attach(memory + 1, 700, QUIRE_SOUND_CLIENT, &other), -EINVAL);
    memory[8]++; /* another version */
    assert_int_equal(quire_sound_attach(memory, MEMORY_BYTES, QUIRE_SOUND_CLIENT, &other), -EPROTO);
    assert_int_equal(quire_sound_init(&config, memory, 1000), -ENOSPC);
    config.n_frames = 48;
    assert_int_equal(quire_sound_bytes(&config), 0);
    config = config_of(QUIRE_SOUND_PLAY);
    config.period = N_FRAMES + 1;
    assert_int_equal(quire_sound_init(&config, memory, MEMORY_BYTES), -EINVAL);
    config = config_of(QUIRE_SOUND_PLAY);
    config.rate = 10;
    assert_int_equal(quire_sound_bytes(&config), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_begins_when_the_latency_is_there),
        cmocka_unit_test(a_latency_bounds_what_is_under_way),
        cmocka_unit_test(who_is_late_is_told),
        cmocka_unit_test(it_ends_when_the_client_has_left),
        cmocka_unit_test(a_paused_stream_is_silent),
        cmocka_unit_test(what_is_flushed_is_not_heard),
        cmocka_unit_test(a_loop_is_played_so_often),
        cmocka_unit_test(a_loop_for_ever_ends_when_it_is_taken_back),
        cmocka_unit_test(volume_and_times_are_told),
        cmocka_unit_test(a_recording_that_nobody_reads_overruns),
        cmocka_unit_test(writing_waits_for_room),
        cmocka_unit_test(a_client_that_dies_is_played_to_its_end),
        cmocka_unit_test(roles_and_sizes_are_checked),
    };
    return cmocka_run_group_tests(tests, map, unmap);
}
