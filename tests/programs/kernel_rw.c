/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kernel_rw: read, write, readv, writev, pread, pwrite, recv, sendmsg and recvmsg from and into
 * pages that are evicted or were never touched.
 */
#include "helper.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum { N_BYTES = 3 * 4096 + 123, ODD = 777 }; /* crosses pages, starts within one */

static int temporary_file(void)
{
    char name[] = "kernel_rw.XXXXXX";
    int fd = mkstemp(name);
    EXPECT(fd >= 0 && unlink(name) == 0);
    return fd;
}

static void through_file(char *evicted)
{
    int fd = temporary_file();
    pattern_fill(evicted + ODD, N_BYTES, 1);
    press();
    EXPECT(write(fd, evicted + ODD, N_BYTES) == N_BYTES);
    press();
    EXPECT(pread(fd, evicted + ODD, N_BYTES, 0) == N_BYTES);
    pattern_check(evicted + ODD, N_BYTES, 1, "pread into evicted pages");

    char *fresh = map_pages(8 * PAGE);
    EXPECT(lseek(fd, 0, SEEK_SET) == 0 && read(fd, fresh + ODD, N_BYTES) == N_BYTES);
    pattern_check(fresh + ODD, N_BYTES, 1, "read into untouched pages");

    pattern_fill(evicted + ODD, N_BYTES, 2);
    press();
    EXPECT(pwrite(fd, evicted + ODD, N_BYTES, 50000) == N_BYTES);
    EXPECT(pread(fd, fresh, N_BYTES, 50000) == N_BYTES);
    pattern_check(fresh, N_BYTES, 2, "pwrite from evicted pages");
    munmap(fresh, 8 * PAGE);
    close(fd);
}

static void vectors(char *evicted)
{
    /* The array of vectors itself is evicted too. */
    struct iovec *v = map_pages(PAGE);
    int fd = temporary_file();
    pattern_fill(evicted, 16 * PAGE, 3);
    for (size_t i = 0; i < 4; i++)
        v[i] = (struct iovec){evicted + i * 4 * PAGE + ODD, 2 * PAGE};
    press();
    EXPECT(writev(fd, v, 4) == (ssize_t)(8 * PAGE));
    char *copy = map_pages(8 * PAGE);
    EXPECT(pread(fd, copy, 8 * PAGE, 0) == (ssize_t)(8 * PAGE));
    for (size_t i = 0; i < 4; i++)
        EXPECT(memcmp(copy + i * 2 * PAGE, evicted + i * 4 * PAGE + ODD, 2 * PAGE) == 0);

    pattern_fill(copy, 8 * PAGE, 4);
    EXPECT(pwrite(fd, copy, 8 * PAGE, 0) == (ssize_t)(8 * PAGE) && lseek(fd, 0, SEEK_SET) == 0);
    press();
    EXPECT(readv(fd, v, 4) == (ssize_t)(8 * PAGE));
    for (size_t i = 0; i < 4; i++)
        EXPECT(memcmp(copy + i * 2 * PAGE, evicted + i * 4 * PAGE + ODD, 2 * PAGE) == 0);
    close(fd);
}

/* What a blocked reader waits with is evicted while it waits. */
static void *send_late(void *fd)
{
    static char message[N_BYTES];
    pattern_fill(message, N_BYTES, 5);
    press();
    EXPECT(send(*(int *)fd, message, N_BYTES, 0) == N_BYTES);
    return NULL;
}

struct packet { /* all that a message needs, in memory that gets evicted */
    struct msghdr header;
    struct iovec vector;
    union {
        struct cmsghdr aligned;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
};

static struct packet *packet_new(void *data)
{
    struct packet *p = map_pages(PAGE);
    p->vector = (struct iovec){data, N_BYTES};
    p->header = (struct msghdr){.msg_iov = &p->vector,
                                .msg_iovlen = 1,
                                .msg_control = &p->control,
                                .msg_controllen = sizeof p->control};
    return p;
}

static void messages(const int *pair, char *evicted)
{
    char *target = map_pages(8 * PAGE);
    struct packet *out = packet_new(evicted), *in = packet_new(target + ODD);
    pattern_fill(evicted, N_BYTES, 7);
    struct cmsghdr *c = CMSG_FIRSTHDR(&out->header);
    *c = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
    memcpy(CMSG_DATA(c), &pair[0], sizeof(int));
    press();
    EXPECT(sendmsg(pair[0], &out->header, 0) == N_BYTES);
    EXPECT(recvmsg(pair[1], &in->header, MSG_WAITALL) == N_BYTES);
    pattern_check(target + ODD, N_BYTES, 7, "recvmsg");
    int fd;
    c = CMSG_FIRSTHDR(&in->header);
    EXPECT(c && c->cmsg_type == SCM_RIGHTS);
    memcpy(&fd, CMSG_DATA(c), sizeof fd);
    EXPECT(fcntl(fd, F_GETFD) >= 0);
    close(fd);
}

static void sockets(char *evicted)
{
    int pair[2];
    pthread_t thread;
    EXPECT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    pattern_fill(evicted, 8 * PAGE, 6);
    EXPECT(pthread_create(&thread, NULL, send_late, &pair[0]) == 0);
    EXPECT(recv(pair[1], evicted + ODD, N_BYTES, MSG_WAITALL) == N_BYTES);
    pattern_check(evicted + ODD, N_BYTES, 5, "recv into pages evicted while it waited");
    pthread_join(thread, NULL);
    messages(pair, evicted);
    close(pair[0]);
    close(pair[1]);
}

int main(int argc, char **argv)
{
    helper_init(argc, argv);
    char *evicted = map_pages(20 * PAGE);
    through_file(evicted);
    vectors(evicted);
    sockets(evicted);

    /* An address that nobody has is still told as such. */
    char *gone = map_pages(PAGE);
    munmap(gone, PAGE);
    int zero = open("/dev/zero", O_RDONLY);
    EXPECT(read(zero, gone, PAGE) == -1 && errno == EFAULT);
    return helper_done();
}
