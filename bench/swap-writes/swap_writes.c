/* SPDX-License-Identifier: Apache-2.0 */
/*
 * swap_writes: pwrite against io_uring for writing clusters to the swap file.
 *
 * Writes the same amount to the same kind of file (O_TMPFILE, O_DIRECT) in every way, alternating,
 * and prints the median throughput of each way and its ratio to pwrite of 64 KiB. Two passes: the
 * first into holes (blocks are allocated), the second over written blocks.
 *
 *   cc -O2 -D_GNU_SOURCE bench/swap-writes/swap_writes.c -luring -o /tmp/swap_writes
 *   /tmp/swap_writes DIRECTORY [MIB]
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define N_ROUNDS 5
#define MAX_DEPTH 16

struct way {
    const char *name;
    size_t write_bytes;
    unsigned depth; /* 0: pwrite */
};

static const struct way ways[] = {
    {"pwrite 64K", 64 << 10, 0},     {"pwrite 256K", 256 << 10, 0}, {"pwrite 1M", 1 << 20, 0},
    {"uring 64K x2", 64 << 10, 2},   {"uring 64K x4", 64 << 10, 4}, {"uring 64K x16", 64 << 10, 16},
    {"uring 256K x4", 256 << 10, 4},
};
#define N_WAYS (sizeof(ways) / sizeof(ways[0]))

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void write_plain(int fd, const struct way *way, char *data, size_t total)
{
    for (size_t at = 0; at < total; at += way->write_bytes)
        if (pwrite(fd, data, way->write_bytes, (off_t)at) != (ssize_t)way->write_bytes)
            fail("pwrite");
}

static void reap(struct io_uring *ring, const struct way *way)
{
    struct io_uring_cqe *cqe;
    if (io_uring_wait_cqe(ring, &cqe) != 0 || cqe->res != (int)way->write_bytes)
        fail("io_uring");
    io_uring_cqe_seen(ring, cqe);
}

static void write_uring(int fd, const struct way *way, char *data, size_t total)
{
    struct io_uring ring;
    if (io_uring_queue_init(MAX_DEPTH, &ring, 0) != 0)
        fail("io_uring_queue_init");
    unsigned in_flight = 0;
    for (size_t at = 0; at < total; at += way->write_bytes) {
        if (in_flight == way->depth) {
            reap(&ring, way);
            in_flight--;
        }
        io_uring_prep_write(io_uring_get_sqe(&ring), fd, data, (unsigned)way->write_bytes, at);
        io_uring_submit(&ring);
        in_flight++;
    }
    for (; in_flight > 0; in_flight--)
        reap(&ring, way);
    io_uring_queue_exit(&ring);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: %s DIRECTORY [MIB]\n", argv[0]);
        return 2;
    }
    size_t total = (argc > 2 ? strtoul(argv[2], NULL, 10) : 256) << 20;
    char *data = aligned_alloc(4096, 1 << 20);
    if (data == NULL)
        fail("aligned_alloc");
    for (size_t i = 0; i < 1 << 20; i++)
        data[i] = (char)(i * 2654435761u >> 13);
    static double rate[2][N_WAYS][N_ROUNDS];
    for (int round = 0; round < N_ROUNDS; round++) {
        for (size_t w = 0; w < N_WAYS; w++) {
            int fd = open(argv[1], O_TMPFILE | O_RDWR | O_DIRECT, 0600);
            if (fd < 0)
                fail(argv[1]);
            for (int pass = 0; pass < 2; pass++) {
                double start = now_s();
                (ways[w].depth == 0 ? write_plain : write_uring)(fd, &ways[w], data, total);
                rate[pass][w][round] = (double)total / (now_s() - start) / (1 << 20);
            }
            close(fd);
        }
    }
    printf("%-14s %14s %7s %14s %7s\n", "", "holes MiB/s", "ratio", "blocks MiB/s", "ratio");
    for (size_t w = 0; w < N_WAYS; w++) {
        for (int pass = 0; pass < 2; pass++)
            qsort(rate[pass][w], N_ROUNDS, sizeof(double), compare);
        printf("%-14s %14.0f %7.2f %14.0f %7.2f\n", ways[w].name, rate[0][w][N_ROUNDS / 2],
               rate[0][w][N_ROUNDS / 2] / rate[0][0][N_ROUNDS / 2], rate[1][w][N_ROUNDS / 2],
               rate[1][w][N_ROUNDS / 2] / rate[1][0][N_ROUNDS / 2]);
    }
    return 0;
}
