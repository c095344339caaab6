/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kernel_uring: io_uring from and into evicted pages, and with registered buffers, whose pages the
 * kernel holds for as long as they are registered: evicting one would lose what is read into it.
 */
#include "helper.h"

#include <fcntl.h>
#include <liburing.h>

enum { N_BUFFERS = 8, BUFFER_BYTES = 16 * 4096, ALL_BYTES = N_BUFFERS * BUFFER_BYTES };

static struct io_uring ring;

static void wait_for_all(unsigned n, int n_bytes)
{
    EXPECT(io_uring_submit_and_wait(&ring, n) >= 0);
    for (unsigned i = 0; i < n; i++) {
        struct io_uring_cqe *cqe;
        EXPECT(io_uring_wait_cqe(&ring, &cqe) == 0);
        if (cqe->res != n_bytes)
            fail("a request ended with %d instead of %d", cqe->res, n_bytes);
        io_uring_cqe_seen(&ring, cqe);
    }
}

static void plain_buffers(int fd, char *buffers)
{
    pattern_fill(buffers, ALL_BYTES, 1);
    press();
    for (unsigned i = 0; i < N_BUFFERS; i++)
        io_uring_prep_write(io_uring_get_sqe(&ring), fd, buffers + i * BUFFER_BYTES, BUFFER_BYTES,
                            i * BUFFER_BYTES);
    wait_for_all(N_BUFFERS, BUFFER_BYTES);
    memset(buffers, 0xff, ALL_BYTES);
    press();
    for (unsigned i = 0; i < N_BUFFERS; i++)
        io_uring_prep_read(io_uring_get_sqe(&ring), fd, buffers + i * BUFFER_BYTES, BUFFER_BYTES,
                           i * BUFFER_BYTES);
    wait_for_all(N_BUFFERS, BUFFER_BYTES);
    pattern_check(buffers, ALL_BYTES, 1, "read into evicted pages");
}

static void registered_buffers(int fd, char *buffers)
{
    struct iovec v[N_BUFFERS];
    for (size_t i = 0; i < N_BUFFERS; i++)
        v[i] = (struct iovec){buffers + i * BUFFER_BYTES, BUFFER_BYTES};
    press();
    int error = io_uring_register_buffers(&ring, v, N_BUFFERS);
    if (error == -ENOMEM)
        helper_lacks("the right to lock the memory of io_uring's buffers");
    EXPECT(error == 0);
    for (uint64_t round = 2; round < 5; round++) {
        pattern_fill(buffers, ALL_BYTES, round);
        press();
        for (int i = 0; i < N_BUFFERS; i++)
            io_uring_prep_write_fixed(io_uring_get_sqe(&ring), fd, v[i].iov_base, BUFFER_BYTES,
                                      (unsigned)i * BUFFER_BYTES, i);
        wait_for_all(N_BUFFERS, BUFFER_BYTES);
        memset(buffers, 0, ALL_BYTES);
        press();
        for (int i = 0; i < N_BUFFERS; i++)
            io_uring_prep_read_fixed(io_uring_get_sqe(&ring), fd, v[i].iov_base, BUFFER_BYTES,
                                     (unsigned)i * BUFFER_BYTES, i);
        wait_for_all(N_BUFFERS, BUFFER_BYTES);
        /* The program and the kernel still mean the same pages. */
        pattern_check(buffers, ALL_BYTES, round, "registered buffers");
    }
    EXPECT(io_uring_unregister_buffers(&ring) == 0);
}

int main(int argc, char **argv)
{
    helper_init(argc, argv);
    int error = io_uring_queue_init(2 * N_BUFFERS, &ring, 0);
    if (error == -ENOSYS || error == -EPERM)
        helper_lacks("io_uring");
    EXPECT(error == 0);
    char name[] = "kernel_uring.XXXXXX";
    int fd = mkstemp(name);
    EXPECT(fd >= 0 && unlink(name) == 0);
    char *buffers = map_pages(ALL_BYTES);
    plain_buffers(fd, buffers);
    registered_buffers(fd, buffers);
    io_uring_queue_exit(&ring);
    close(fd);
    return helper_done();
}
