/* SPDX-License-Identifier: Apache-2.0 */
/* Rings, one behaviour a test. */
#include "share/ring.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h> /* wants the headers above */

#define MEMORY_BYTES ((size_t)64 << 10)
#define MOMENT_NS 2000000u

static unsigned char *memory;
static struct quire_ring producer, consumer;

static int map(void **state)
{
    memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? -1 : 0;
}

static int unmap(void **state)
{
    return munmap(memory, MEMORY_BYTES);
}

static void make(uint64_t n_frames, uint32_t frame_bytes, enum quire_ring_kind kind,
                 enum quire_ring_full full)
{
    const struct quire_ring_config config = {n_frames, frame_bytes, kind, full};
    memset(memory, 0, MEMORY_BYTES);
    assert_true(quire_ring_bytes(&config) > 0);
    assert_int_equal(quire_ring_init(&config, memory, MEMORY_BYTES), 0);
    assert_int_equal(quire_ring_attach(memory, MEMORY_BYTES, QUIRE_RING_PRODUCER, &producer), 0);
    assert_int_equal(quire_ring_attach(memory, MEMORY_BYTES, QUIRE_RING_CONSUMER, &consumer), 0);
}

static struct quire_ring_stats stats(void)
{
    struct quire_ring_stats result;
    assert_int_equal(quire_ring_stats(&consumer, &result), 0);
    assert_int_equal(quire_ring_validate(&consumer), 0);
    return result;
}

static int64_t put(const char *text)
{
    return quire_ring_put(&producer, text, strlen(text), 0);
}

/* What one call gets of at most so many. */
static const char *get(uint64_t most)
{
    static char text[256];
    int64_t n = quire_ring_get(&consumer, text, most, 0);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static void bytes_come_out_as_they_went_in(void **state)
{
    make(8, 1, QUIRE_RING_ONE_TO_ONE, QUIRE_RING_WAIT);
    assert_int_equal(put("abcde"), 5);
    assert_string_equal(get(3), "abc");
    assert_int_equal(put("fghij"), 5); /* round the end */
    assert_string_equal(get(100), "defghij");
    assert_int_equal(stats().n_in, 10);
    assert_int_equal(stats().n_out, 10);
}

static void full_and_empty_are_told(void **state)
{
    make(8, 1, QUIRE_RING_ONE_TO_ONE, QUIRE_RING_FAIL);
    assert_int_equal(put("0123456789"), 8);
    assert_int_equal(put("x"), -EAGAIN);
    assert_string_equal(get(8), "01234567");
    char byte;
    assert_int_equal(quire_ring_get(&consumer, &byte, 1, 0), -EAGAIN);
    assert_int_equal(quire_ring_get(&consumer, &byte, 1, MOMENT_NS), -ETIMEDOUT);
}

static void waiting_has_an_end(void **state)
{
    make(4, 1, QUIRE_RING_ONE_TO_ONE, QUIRE_RING_WAIT);
    assert_int_equal(quire_ring_put(&producer, "012345", 6, MOMENT_NS), 4);
    assert_int_equal(quire_ring_put(&producer, "4", 1, MOMENT_NS), -ETIMEDOUT);
    assert_int_equal(quire_ring_put(&producer, "4", 1, 0), -EAGAIN);
}

static void frames_are_used_in_place(void **state)
{
    void *frames, *again;
    make(4, 24, QUIRE_RING_ONE_TO_ONE, QUIRE_RING_WAIT);
    assert_int_equal(quire_ring_reserve(&producer, 3, &frames), 3);
    assert_int_equal(quire_ring_reserve(&producer, 1, &again), -EINVAL);
    memset(frames, 7, 72);
    assert_int_equal(quire_ring_commit(&producer, frames, 4), -EINVAL);
    assert_int_equal(quire_ring_peek(&consumer, 9, &again), 0);
    assert_int_equal(quire_ring_commit(&producer, frames, 2), 0); /* the third is given back */
    assert_int_equal(quire_ring_peek(&consumer, 9, &again), 2);
    assert_ptr_equal(again, frames);
    assert_int_equal(((char *)again)[47], 7);
    assert_int_equal(quire_ring_release(&consumer, (char *)again + 1, 1), -EINVAL);
    assert_int_equal(quire_ring_release(&consumer, again, 1), 0);
    assert_int_equal(quire_ring_peek(&consumer, 9, &again), 1);
    assert_int_equal(stats().n_out, 1);
}

static void the_oldest_is_overwritten_and_counted(void **state)
{
    make(8, 1, QUIRE_RING_ONE_TO_ONE, QUIRE_RING_OVERWRITE);
    assert_int_equal(put("0123456789ab"), 12);
    assert_int_equal(stats().n_lost, 4); /* whether somebody reads or not */
    assert_string_equal(get(100), "456789ab");
    assert_int_equal(stats().n_lost, 4);

    void *frames;
    assert_int_equal(put("cd"), 2);
    assert_int_equal(quire_ring_peek(&consumer, 2, &frames), 2);
    assert_int_equal(put("efghijkl"), 8); /* under it */
    assert_int_equal(stats().n_lost, 6);
    assert_int_equal(quire_ring_release(&consumer, frames, 2), -EOVERFLOW);
    assert_int_equal(stats().n_lost, 6);
    assert_string_equal(get(100), "efghijkl");
}

static void many_frames_change_hands(void **state)
{
    struct quire_ring second;
    void *a, *b, *taken;
    make(4, 8, QUIRE_RING_MANY_TO_MANY, QUIRE_RING_WAIT);
    assert_int_equal(quire_ring_attach(memory, MEMORY_BYTES, QUIRE_RING_PRODUCER, &second), 0);
    assert_int_equal(quire_ring_reserve(&producer, 1, &a), 1);
    assert_int_equal(quire_ring_reserve(&second, 2, &b), 2);
    assert_int_equal(quire_ring_commit(&producer, b, 1), -EINVAL); /* another's */
    assert_int_equal(quire_ring_commit(&second, b, 2), 0);
    assert_int_equal(quire_ring_peek(&consumer, 4, &taken), 0); /* in order only */
    assert_int_equal(quire_ring_commit(&producer, a, 1), 0);
    assert_int_equal(quire_ring_peek(&consumer, 4, &taken), 3);
    assert_ptr_equal(taken, a);
    assert_int_equal(quire_ring_reserve(&second, 4, &b), 1);
    assert_int_equal(quire_ring_commit(&second, b, 1), 0);
    assert_int_equal(quire_ring_reserve(&second, 1, &b), 0); /* all are full or used */
    assert_int_equal(quire_ring_release(&consumer, taken, 3), 0);
    assert_int_equal(quire_ring_release(&consumer, taken, 1), -EINVAL);
    assert_int_equal(quire_ring_reserve(&second, 4, &b), 3);
    quire_ring_detach(&second); /* what it reserved is skipped */
    assert_int_equal(quire_ring_peek(&consumer, 4, &taken), 1);
    assert_int_equal(quire_ring_release(&consumer, taken, 1), 0);
    assert_int_equal(quire_ring_peek(&consumer, 4, &taken), 0);
    assert_int_equal(stats().n_skipped, 3);
}

static void many_overwrite_too(void **state)
{
    make(4, 8, QUIRE_RING_MANY_TO_MANY, QUIRE_RING_OVERWRITE);
    for (uint64_t i = 0; i < 6; i++)
        assert_int_equal(quire_ring_put(&producer, &i, 1, 0), 1);
    uint64_t got[8];
    assert_int_equal(quire_ring_get(&consumer, got, 8, 0), 4);
    for (uint64_t i = 0; i < 4; i++)
        assert_int_equal(got[i], i + 2);
    assert_int_equal(stats().n_lost, 2);
}

static void the_end_is_told(void **state)
{
    char byte;
    make(8, 1, QUIRE_RING_ONE_TO_ONE, QUIRE_RING_WAIT);
    assert_int_equal(put("ab"), 2);
    quire_ring_detach(&producer);
    assert_int_equal(quire_ring_wait(&consumer, 2, QUIRE_RING_FOREVER), 0);
    assert_int_equal(quire_ring_wait(&consumer, 3, QUIRE_RING_FOREVER), -EPIPE);
    assert_string_equal(get(8), "ab");
    assert_int_equal(quire_ring_get(&consumer, &byte, 1, QUIRE_RING_FOREVER), 0);

    assert_int_equal(quire_ring_attach(memory, MEMORY_BYTES, QUIRE_RING_PRODUCER, &producer), 0);
    quire_ring_detach(&consumer);
    assert_int_equal(quire_ring_wait(&producer, 1, QUIRE_RING_FOREVER), -EPIPE);
}

static void one_a_side(void **state)
{
    struct quire_ring second;
    make(8, 1, QUIRE_RING_ONE_TO_ONE, QUIRE_RING_WAIT);
    assert_int_equal(quire_ring_attach(memory, MEMORY_BYTES, QUIRE_RING_PRODUCER, &second), -EBUSY);
    assert_int_equal(quire_ring_attach(memory, MEMORY_BYTES, QUIRE_RING_OBSERVER, &second), 0);
    assert_int_equal(quire_ring_put(&second, "a", 1, 0), -EINVAL);
    assert_int_equal(quire_ring_wait(&second, 1, 0), -EINVAL);
    quire_ring_detach(&second);
    assert_int_equal(put("ab"), 2);
    assert_string_equal(get(1), "a");
    quire_ring_detach(&consumer); /* the next goes on where it was */
    assert_int_equal(quire_ring_attach(memory, MEMORY_BYTES, QUIRE_RING_CONSUMER, &consumer), 0);
    assert_string_equal(get(8), "b");
}

/* The child attaches on `side`, takes hold of two frames, and dies. */
static void let_a_member_die(enum quire_ring_side side)
{
    pid_t child = fork();
    if (child == 0) {
        struct quire_ring ring;
        void *frames;
        int error = quire_ring_attach(memory, MEMORY_BYTES, side, &ring);
        int64_t n = error                         ? error
                    : side == QUIRE_RING_PRODUCER ? quire_ring_reserve(&ring, 2, &frames)
                                                  : quire_ring_peek(&ring, 2, &frames);
        _exit(n == 2 ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void the_dead_are_noticed(void **state)
{
    uint64_t frame;
    make(4, 8, QUIRE_RING_MANY_TO_MANY, QUIRE_RING_WAIT);
    quire_ring_detach(&producer);
    let_a_member_die(QUIRE_RING_PRODUCER);
    assert_int_equal(quire_ring_get(&consumer, &frame, 1, QUIRE_RING_FOREVER), -EOWNERDEAD);
    assert_int_equal(stats().n_died, 1);
    assert_int_equal(stats().n_skipped, 2);

    assert_int_equal(quire_ring_attach(memory, MEMORY_BYTES, QUIRE_RING_PRODUCER, &producer), 0);
    for (uint64_t i = 1; i <= 3; i++)
        assert_int_equal(quire_ring_put(&producer, &i, 1, 0), 1);
    let_a_member_die(QUIRE_RING_CONSUMER);
    assert_int_equal(quire_ring_reap(&producer), 1);
    assert_int_equal(stats().n_lost, 2);
    assert_int_equal(quire_ring_get(&consumer, &frame, 1, 0), 1);
    assert_int_equal(frame, 3);
}

/* Found by ring_stress: a new producer was told that there is one, while the dead one was reaped.
 */
static void who_comes_while_the_dead_is_reaped_waits(void **state)
{
    struct quire_ring next;

    make(8, 1, QUIRE_RING_ONE_TO_ONE, QUIRE_RING_WAIT);
    quire_ring_detach(&producer);
    _Atomic uint64_t *who = &((struct ring_header *)memory)->member[QUIRE_RING_PRODUCER].who;
    pid_t reaper = fork();
    if (reaper == 0) {
        while (atomic_load(who) == 0)
            sched_yield();
        usleep(20000);
        atomic_store(who, 0);
        pause();
    }
    atomic_store(who, (uint64_t)reaper << 32 | QUIRE_RING_PRODUCER << 8 | RING_MEMBER_REAPED);
    const int error = quire_ring_attach(memory, MEMORY_BYTES, QUIRE_RING_PRODUCER, &next);
    assert_int_equal(kill(reaper, SIGKILL), 0);
    assert_int_equal(waitpid(reaper, NULL, 0), reaper);
    assert_int_equal(error, 0);
    quire_ring_detach(&next);
}

static void the_dead_of_one_to_one_make_room(void **state)
{
    char text[4];
    make(8, 1, QUIRE_RING_ONE_TO_ONE, QUIRE_RING_WAIT);
    assert_int_equal(put("abc"), 3);
    quire_ring_detach(&consumer);
    let_a_member_die(QUIRE_RING_CONSUMER);
    assert_int_equal(/* in its place; and what it did not release is there again */
                     quire_ring_attach(memory, MEMORY_BYTES, QUIRE_RING_CONSUMER, &consumer), 0);
    assert_int_equal(quire_ring_get(&consumer, text, 4, 0), 3);
    assert_memory_equal(text, "abc", 3);
}

static void a_descriptor_can_tell(void **state)
{
    int ends[2];
    char byte;
    make(8, 1, QUIRE_RING_ONE_TO_ONE, QUIRE_RING_WAIT);
    assert_int_equal(pipe(ends), 0);
    quire_ring_watch(&consumer, ends[0]);
    assert_int_equal(quire_ring_get(&consumer, &byte, 1, MOMENT_NS), -ETIMEDOUT);
    close(ends[1]);
    assert_int_equal(quire_ring_get(&consumer, &byte, 1, QUIRE_RING_FOREVER), -EOWNERDEAD);
    close(ends[0]);
}

static bool has_event(int fd)
{
    struct pollfd poller = {.fd = fd, .events = POLLIN};
    eventfd_t count;
    return poll(&poller, 1, 0) == 1 && eventfd_read(fd, &count) == 0;
}

static void a_poll_loop_is_told(void **state)
{
    int data = eventfd(0, EFD_NONBLOCK), space = eventfd(0, EFD_NONBLOCK);
    make(2, 1, QUIRE_RING_ONE_TO_ONE, QUIRE_RING_WAIT);
    quire_ring_set_events(&producer, data);
    quire_ring_set_events(&consumer, space);
    assert_int_equal(quire_ring_arm(&consumer), 0);
    assert_false(has_event(data));
    assert_int_equal(put("a"), 1);
    assert_true(has_event(data));
    assert_int_equal(put("b"), 1); /* once for each time it was asked for */
    assert_false(has_event(data));
    assert_int_equal(quire_ring_arm(&consumer), 1);
    assert_int_equal(quire_ring_arm(&producer), 0);
    assert_string_equal(get(2), "ab");
    assert_true(has_event(space));
    close(data);
    close(space);
}

static void *put_later(void *context)
{
    usleep(20000);
    assert_int_equal(put("late"), 4);
    return NULL;
}

static void who_sleeps_is_woken(void **state)
{
    pthread_t thread;
    char text[4];
    make(8, 1, QUIRE_RING_ONE_TO_ONE, QUIRE_RING_WAIT);
    assert_int_equal(pthread_create(&thread, NULL, put_later, NULL), 0);
    assert_int_equal(quire_ring_wait(&consumer, 4, QUIRE_RING_FOREVER), 0);
    assert_int_equal(quire_ring_get(&consumer, text, 4, 0), 4);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

static void bad_rings_are_refused(void **state)
{
    struct quire_ring_config config = {6, 1, QUIRE_RING_ONE_TO_ONE, QUIRE_RING_WAIT};
    struct quire_ring ring;
    assert_int_equal(quire_ring_bytes(&config), 0); /* no power of two */
    config.n_frames = QUIRE_RING_MAX_FRAMES;
    config.frame_bytes = QUIRE_RING_MAX_FRAME_BYTES;
    assert_int_equal(quire_ring_bytes(&config), 0); /* 2^70 bytes */
    config.n_frames = 8;
    config.frame_bytes = 8;
    assert_int_equal(quire_ring_init(&config, memory + 8, MEMORY_BYTES), -EINVAL);
    assert_int_equal(quire_ring_init(&config, memory, 100), -ENOSPC);
    memset(memory, 0, MEMORY_BYTES);
    assert_int_equal(quire_ring_attach(memory, MEMORY_BYTES, QUIRE_RING_CONSUMER, &ring), -EPROTO);
    assert_int_equal(quire_ring_init(&config, memory, MEMORY_BYTES), 0);
    const size_t needed = quire_ring_bytes(&config);
    assert_int_equal(quire_ring_attach(memory, needed - 1, QUIRE_RING_CONSUMER, &ring), -EPROTO);
    assert_int_equal(quire_ring_attach(memory, needed, 7, &ring), -EINVAL);
    assert_int_equal(quire_ring_attach(memory, needed, QUIRE_RING_CONSUMER, &ring), 0);
    quire_ring_detach(&ring);
    for (size_t at = 0; at < 24; at++) { /* magic, version, word size, header, n_frames */
        const unsigned char was = memory[at];
        memory[at] ^= 0x40;
        assert_int_equal(quire_ring_attach(memory, needed, QUIRE_RING_CONSUMER, &ring), -EPROTO);
        memory[at] = was;
    }
}

/* Binds this thread to the nth processor that it may have; false: there are fewer. */
static bool bind(const cpu_set_t *all, int nth)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE; i++) {
        if (!CPU_ISSET(i, all) || nth-- != 0)
            continue;
        CPU_SET(i, &one);
        return sched_setaffinity(0, sizeof one, &one) == 0;
    }
    return false;
}

static void who_is_bound_spins_beside_others_alone(void **state)
{
    cpu_set_t all;
    assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
    assert_true(bind(&all, 0));
    make(8, 1, QUIRE_RING_ONE_TO_ONE, QUIRE_RING_WAIT);
    assert_false(ring_runs_beside(&producer)); /* both on one processor: it would be in the way */
    assert_false(ring_runs_beside(&consumer));
    quire_ring_detach(&consumer);
    if (bind(&all, 1)) {
        assert_int_equal(quire_ring_attach(memory, MEMORY_BYTES, QUIRE_RING_CONSUMER, &consumer),
                         0);
        assert_true(ring_runs_beside(&producer));
        assert_true(ring_runs_beside(&consumer));
        quire_ring_detach(&consumer);
        assert_int_equal(sched_setaffinity(0, sizeof all, &all), 0);
        assert_int_equal(quire_ring_attach(memory, MEMORY_BYTES, QUIRE_RING_CONSUMER, &consumer),
                         0);
        assert_true(ring_runs_beside(&producer));
    }
    assert_int_equal(sched_setaffinity(0, sizeof all, &all), 0);
}

static void nothing_is_got_by_asking_for_nothing(void **state)
{
    char byte;
    make(8, 1, QUIRE_RING_ONE_TO_ONE, QUIRE_RING_WAIT);
    assert_int_equal(put("abc"), 3);
    assert_int_equal(quire_ring_get(&consumer, &byte, 0, 0), -EINVAL); /* 0 would be the end */
    assert_int_equal(quire_ring_put(&producer, &byte, 0, 0), 0);
    assert_int_equal(stats().n_in, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_come_out_as_they_went_in),
        cmocka_unit_test(full_and_empty_are_told),
        cmocka_unit_test(waiting_has_an_end),
        cmocka_unit_test(frames_are_used_in_place),
        cmocka_unit_test(the_oldest_is_overwritten_and_counted),
        cmocka_unit_test(many_frames_change_hands),
        cmocka_unit_test(many_overwrite_too),
        cmocka_unit_test(the_end_is_told),
        cmocka_unit_test(one_a_side),
        cmocka_unit_test(the_dead_are_noticed),
        cmocka_unit_test(the_dead_of_one_to_one_make_room),
        cmocka_unit_test(who_comes_while_the_dead_is_reaped_waits),
        cmocka_unit_test(a_descriptor_can_tell),
        cmocka_unit_test(a_poll_loop_is_told),
        cmocka_unit_test(who_sleeps_is_woken),
        cmocka_unit_test(bad_rings_are_refused),
        cmocka_unit_test(who_is_bound_spins_beside_others_alone),
        cmocka_unit_test(nothing_is_got_by_asking_for_nothing),
    };
    return cmocka_run_group_tests(tests, map, unmap);
}
