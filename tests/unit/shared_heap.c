/* SPDX-License-Identifier: Apache-2.0 */
/* Shared heaps, and the descriptors they are handed over by; one behaviour a test. */
#include <quire/share.h>
#include <quire/shared_heap.h>

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h> /* wants the headers above */

#define HEAP_BYTES ((uint64_t)256 << 10)

static struct quire_shared_heap *heap;

static void make(uint64_t max_bytes, uint32_t max_blocks, bool read_only)
{
    const struct quire_shared_heap_config config = {HEAP_BYTES, max_bytes, max_blocks, read_only};
    assert_int_equal(quire_shared_heap_create(&config, &heap), 0);
}

static int leave(void **state)
{
    quire_shared_heap_leave(heap);
    heap = NULL;
    return 0;
}

static struct quire_shared_heap_stats stats(void)
{
    struct quire_shared_heap_stats result;
    assert_int_equal(quire_shared_heap_validate(heap), 0);
    assert_int_equal(quire_shared_heap_stats(heap, &result), 0);
    assert_int_equal(result.used_bytes + result.free_bytes, result.n_bytes);
    return result;
}

/* Runs in a process of its own that has joined; whether it ended by 0. */
static void in_another(int (*what)(struct quire_shared_heap *theirs, void *context), void *context)
{
    int fds[QUIRE_SHARED_HEAP_FDS], status;
    quire_shared_heap_fds(heap, fds);
    const pid_t child = fork();
    if (child == 0) {
        struct quire_shared_heap *theirs;
        int error = quire_shared_heap_join(fds, &theirs);
        _exit(error ? 99 : what(theirs, context));
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void blocks_are_placed(void **state)
{
    struct quire_block a, b;
    make(0, 16, false);
    assert_int_equal(quire_shared_heap_alloc(heap, 100, 1, &a), 0);
    assert_int_equal(quire_shared_heap_alloc(heap, 100, 4096, &b), 0);
    assert_int_equal(a.length, 128);
    assert_int_equal(b.offset % 4096, 0);
    memset(quire_shared_heap_address(heap, &a), 1, 128);
    memset(quire_shared_heap_address(heap, &b), 2, 128);
    assert_int_equal(*(char *)quire_shared_heap_address(heap, &a), 1);
    assert_int_equal(stats().n_blocks, 2);
    assert_int_equal(quire_shared_heap_drop(heap, &a), 0);
    assert_int_equal(quire_shared_heap_drop(heap, &a), -ENOENT);
    assert_null(quire_shared_heap_address(heap, &a));
    assert_int_equal(quire_shared_heap_hold(heap, &a), -ENOENT);
    assert_int_equal(stats().used_bytes, 128);
    assert_int_equal(quire_shared_heap_drop(heap, &b), 0);
    assert_int_equal(stats().largest_free_bytes, HEAP_BYTES);
}

static void limits_are_told(void **state)
{
    struct quire_block block;
    make(0, 2, false);
    assert_int_equal(quire_shared_heap_alloc(heap, 0, 1, &block), -EINVAL);
    assert_int_equal(quire_shared_heap_alloc(heap, 64, 3, &block), -EINVAL);
    assert_int_equal(quire_shared_heap_alloc(heap, HEAP_BYTES + 1, 1, &block), -ENOMEM);
    assert_int_equal(quire_shared_heap_alloc(heap, 64, 1, &block), 0);
    assert_int_equal(quire_shared_heap_alloc(heap, HEAP_BYTES, 1, &block), -ENOMEM);
    assert_int_equal(quire_shared_heap_alloc(heap, 64, 1, &block), 0);
    assert_int_equal(quire_shared_heap_alloc(heap, 64, 1, &block), -ENOSPC);
    block.index = UINT32_MAX;
    assert_int_equal(quire_shared_heap_hold(heap, &block), -ENOENT);
    assert_null(quire_shared_heap_address(heap, &block));
}

static int read_and_hold(struct quire_shared_heap *theirs, void *context)
{
    struct quire_block *block = context;
    if (quire_shared_heap_hold(theirs, block) != 0 || quire_shared_heap_hold(theirs, block) != 0)
        return 1;
    char *text = quire_shared_heap_address(theirs, block);
    if (text == NULL || strcmp(text, "hello") != 0)
        return 2;
    strcpy(text, "and back");
    if (quire_shared_heap_drop(theirs, block) != 0 ||
        quire_shared_heap_address(theirs, block) != text)
        return 3;
    quire_shared_heap_leave(theirs);
    return 0;
}

static void another_process_holds_too(void **state)
{
    struct quire_block block;
    make(0, 16, false);
    assert_int_equal(quire_shared_heap_alloc(heap, 64, 1, &block), 0);
    strcpy(quire_shared_heap_address(heap, &block), "hello");
    in_another(read_and_hold, &block);
    assert_string_equal(quire_shared_heap_address(heap, &block), "and back");
    assert_int_equal(stats().n_members, 1);
    assert_int_equal(quire_shared_heap_drop(heap, &block), 0);
    assert_int_equal(stats().n_blocks, 0);
}

static int hold_and_die(struct quire_shared_heap *theirs, void *context)
{
    struct quire_block own;
    return quire_shared_heap_hold(theirs, context) != 0 ||
           quire_shared_heap_alloc(theirs, 1000, 1, &own) != 0; /* and ends as it is */
}

static void the_dead_hold_nothing(void **state)
{
    struct quire_block block;
    make(0, 2, false);
    assert_int_equal(quire_shared_heap_alloc(heap, 64, 1, &block), 0);
    in_another(hold_and_die, &block);
    assert_int_equal(stats().n_blocks, 2);
    assert_int_equal(quire_shared_heap_drop(heap, &block), 0);
    assert_int_equal(stats().n_blocks, 2);
    assert_int_equal(quire_shared_heap_alloc(heap, HEAP_BYTES, 1, &block),
                     0); /* reaps in passing */
    assert_int_equal(stats().n_members, 1);
    assert_int_equal(quire_shared_heap_reap(heap), 0);
}

static int use_what_grew(struct quire_shared_heap *theirs, void *context)
{
    struct quire_block *block = context;
    if (quire_shared_heap_grow(theirs, 2 * HEAP_BYTES) != 0 ||
        quire_shared_heap_alloc(theirs, HEAP_BYTES, 1, block) != 0)
        return 1;
    memset(quire_shared_heap_address(theirs, block), 7, HEAP_BYTES);
    quire_shared_heap_leave(theirs);
    return 0;
}

static void it_grows_for_all(void **state)
{
    struct quire_block block;
    make(4 * HEAP_BYTES, 16, false);
    assert_int_equal(quire_shared_heap_alloc(heap, 64, 1, &block), 0);
    in_another(use_what_grew, &block);
    assert_int_equal(stats().n_bytes, 2 * HEAP_BYTES);
    assert_int_equal(quire_shared_heap_alloc(heap, HEAP_BYTES, 1, &block), 0);
    memset(quire_shared_heap_address(heap, &block), 8, HEAP_BYTES);
    assert_int_equal(quire_shared_heap_grow(heap, HEAP_BYTES), -EINVAL);
    assert_int_equal(quire_shared_heap_grow(heap, 5 * HEAP_BYTES), -EINVAL);
}

static void nobody_can_truncate(void **state)
{
    int fds[QUIRE_SHARED_HEAP_FDS];
    make(0, 16, false);
    quire_shared_heap_fds(heap, fds);
    for (unsigned i = 0; i < QUIRE_SHARED_HEAP_FDS; i++) {
        assert_int_equal(ftruncate(fds[i], 0), -1);
        assert_int_equal(ftruncate(fds[i], 1 << 30), -1);
        assert_int_equal(fcntl(fds[i], F_ADD_SEALS, F_SEAL_WRITE), -1);
    }
}

static int must_read_only(struct quire_shared_heap *theirs, void *context)
{
    int fds[QUIRE_SHARED_HEAP_FDS], again;
    char path[64];
    quire_shared_heap_fds(theirs, fds);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fds[QUIRE_SHARED_HEAP_DATA]);
    again = open(path, O_RDWR); /* a descriptor of its own does not help either */
    for (int fd = fds[QUIRE_SHARED_HEAP_DATA], i = 0; i < 2; fd = again, i++)
        if (fd >= 0 && (mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED ||
                        pwrite(fd, "x", 1, 0) == 1))
            return 1;
    if (quire_shared_heap_hold(theirs, context) != 0)
        return 2;
    return strcmp(quire_shared_heap_address(theirs, context), "read this") != 0;
}

static void readers_can_not_write(void **state)
{
    struct quire_block block;
    make(0, 16, true);
    assert_int_equal(quire_shared_heap_alloc(heap, 64, 1, &block), 0);
    strcpy(quire_shared_heap_address(heap, &block), "read this");
    in_another(must_read_only, &block);
}

static void places_are_checked(void **state)
{
    char data[256];
    assert_ptr_equal(quire_shared_heap_at(data, 256, 192, 64), data + 192);
    assert_null(quire_shared_heap_at(data, 256, 193, 64));
    assert_null(quire_shared_heap_at(data, 256, 0, 0));
    assert_null(quire_shared_heap_at(data, 256, UINT64_MAX, 2));
    assert_null(quire_shared_heap_at(data, 256, 1, UINT64_MAX));
}

static void bad_heaps_are_refused(void **state)
{
    const struct quire_shared_heap_config none = {0, 0, 16, false}, no_blocks = {4096, 0, 0, false};
    struct quire_shared_heap *other;
    int fds[QUIRE_SHARED_HEAP_FDS], swapped[QUIRE_SHARED_HEAP_FDS];
    void *memory;
    assert_int_equal(quire_shared_heap_create(&none, &other), -EINVAL);
    assert_int_equal(quire_shared_heap_create(&no_blocks, &other), -EINVAL);
    make(0, 16, false);
    quire_shared_heap_fds(heap, fds);
    swapped[QUIRE_SHARED_HEAP_DATA] = fds[QUIRE_SHARED_HEAP_TABLE];
    swapped[QUIRE_SHARED_HEAP_TABLE] = fds[QUIRE_SHARED_HEAP_DATA];
    assert_int_equal(quire_shared_heap_join(swapped, &other), -EPROTO);
    fds[QUIRE_SHARED_HEAP_DATA] = memfd_create("unsealed", MFD_CLOEXEC);
    assert_int_equal(quire_shared_heap_join(fds, &other), -EPERM);
    close(fds[QUIRE_SHARED_HEAP_DATA]);
    fds[QUIRE_SHARED_HEAP_DATA] = quire_share_memory("short", 4096, 0, &memory);
    assert_int_equal(quire_shared_heap_join(fds, &other), -EPROTO);
    close(fds[QUIRE_SHARED_HEAP_DATA]);
    munmap(memory, 4096);
}

static void descriptors_go_over_sockets(void **state)
{
    int ends[2], fds[QUIRE_SHARED_HEAP_FDS], got[QUIRE_SHARE_MAX_FDS], nine[9] = {0};
    unsigned n = QUIRE_SHARE_MAX_FDS;
    char text[8];
    struct quire_share_peer peer;
    make(0, 16, false);
    quire_shared_heap_fds(heap, fds);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
    assert_int_equal(quire_share_peer(ends[0], &peer), 0);
    assert_int_equal(peer.pid, getpid());
    assert_int_equal(peer.uid, getuid());
    assert_int_equal(quire_share_send(ends[0], "heap", 5, fds, 2), 0);
    assert_int_equal(quire_share_receive(ends[1], text, sizeof text, got, &n), 5);
    assert_int_equal(n, 2);
    struct quire_shared_heap *again;
    assert_int_equal(quire_shared_heap_join(got, &again), 0);
    quire_shared_heap_leave(again);
    assert_true(fcntl(got[0], F_GETFD) & FD_CLOEXEC);
    close(got[0]);
    close(got[1]);

    assert_int_equal(quire_share_send(ends[0], "x", 1, nine, 9), -EINVAL);
    assert_int_equal(quire_share_send(ends[0], "too long", 9, fds, 2), 0);
    n = 1;
    assert_int_equal(quire_share_receive(ends[1], text, sizeof text, got, &n), -EMSGSIZE);
    assert_int_equal(n, 0);
    close(ends[0]);
    assert_int_equal(quire_share_receive(ends[1], text, sizeof text, got, &n), 0);
    assert_int_equal(quire_share_send(ends[1], "x", 1, NULL, 0), -EPIPE);
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(blocks_are_placed, leave),
        cmocka_unit_test_teardown(limits_are_told, leave),
        cmocka_unit_test_teardown(another_process_holds_too, leave),
        cmocka_unit_test_teardown(the_dead_hold_nothing, leave),
        cmocka_unit_test_teardown(it_grows_for_all, leave),
        cmocka_unit_test_teardown(nobody_can_truncate, leave),
        cmocka_unit_test_teardown(readers_can_not_write, leave),
        cmocka_unit_test(places_are_checked),
        cmocka_unit_test_teardown(bad_heaps_are_refused, leave),
        cmocka_unit_test_teardown(descriptors_go_over_sockets, leave),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
