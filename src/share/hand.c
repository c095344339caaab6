/* SPDX-License-Identifier: Apache-2.0 */
/* hand: memory that can be handed over, and the sockets that it goes over. */
#include "share/hand.h"

#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010 /* Linux 5.1 */
#endif
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008u /* Linux 6.3 */
#endif

static int create(const char *name)
{
    const int fd = sys_memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    return fd != -EINVAL ? fd : sys_memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
}

/* After it was mapped, since a seal may keep us from that. */
static int seal(int fd, unsigned flags)
{
    long seals = F_SEAL_SHRINK;

    if (!(flags & QUIRE_SHARE_GROWS))
        seals |= F_SEAL_GROW;
    if (flags & QUIRE_SHARE_READ_ONLY)
        seals |= F_SEAL_FUTURE_WRITE;
    const int error = sys_fcntl(fd, F_ADD_SEALS, seals | F_SEAL_SEAL);
    return error == -EINVAL ? -EOPNOTSUPP : error;
}

int hand_memory(const char *name, size_t n_bytes, size_t map_bytes, unsigned flags, void **memory)
{
    int error;

    if (n_bytes == 0 || n_bytes > INT64_MAX || map_bytes < n_bytes ||
        (flags & ~(QUIRE_SHARE_GROWS | QUIRE_SHARE_READ_ONLY)))
        return -EINVAL;
    const int fd = create(name);
    if (fd < 0)
        return fd;
    if ((error = sys_ftruncate(fd, (off_t)n_bytes)) != 0)
        goto close_it;
    *memory = sys_mmap(NULL, map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (sys_is_error(*memory)) {
        error = sys_error(*memory);
        goto close_it;
    }
    if ((error = seal(fd, flags)) == 0)
        return fd;
    sys_munmap(*memory, map_bytes);
close_it:
    sys_close(fd);
    return error;
}

int quire_share_memory(const char *name, size_t n_bytes, unsigned flags, void **memory)
{
    return hand_memory(name, n_bytes, n_bytes, flags, memory);
}

int quire_share_map(int fd, void **memory, size_t *n_bytes, bool *writable)
{
    const int seals = sys_fcntl(fd, F_GET_SEALS, 0);
    struct stat status;

    if (seals < 0)
        return -EINVAL;
    if (!(seals & F_SEAL_SHRINK))
        return -EPERM;
    if (fstat(fd, &status) != 0 || status.st_size <= 0)
        return -EINVAL;
    const bool may_write = !(seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE));
    void *address = sys_mmap(NULL, (size_t)status.st_size, PROT_READ | (may_write ? PROT_WRITE : 0),
                             MAP_SHARED, fd, 0);
    if (sys_is_error(address))
        return sys_error(address);
    *memory = address;
    *n_bytes = (size_t)status.st_size;
    *writable = may_write;
    return 0;
}

int quire_share_peer(int socket, struct quire_share_peer *peer)
{
    struct ucred credentials;
    socklen_t n_bytes = sizeof credentials;

    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &n_bytes) != 0)
        return -errno;
    *peer = (struct quire_share_peer){credentials.pid, credentials.uid, credentials.gid};
    return 0;
}

/* Room for one control message with all descriptors, aligned as it has to be. */
union control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int) * QUIRE_SHARE_MAX_FDS)];
};

int quire_share_send(int socket, const void *message, size_t n_bytes, const int *fds,
                     unsigned n_fds)
{
    union control control = {0};
    struct iovec piece = {(void *)(uintptr_t)message, n_bytes};
    struct msghdr header = {.msg_iov = &piece, .msg_iovlen = 1};

    if (n_fds > QUIRE_SHARE_MAX_FDS || n_bytes == 0)
        return -EINVAL;
    if (n_fds > 0) {
        header.msg_control = control.bytes;
        header.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
        struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
        memcpy(CMSG_DATA(rights), fds, sizeof(int) * n_fds);
    }
    ssize_t n;
    do
        n = sendmsg(socket, &header, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
}

/* Takes the descriptors out of a message; how many there were. */
static unsigned take_fds(struct msghdr *header, int *fds)
{
    unsigned n = 0;

    for (struct cmsghdr *at = CMSG_FIRSTHDR(header); at != NULL; at = CMSG_NXTHDR(header, at)) {
        if (at->cmsg_level != SOL_SOCKET || at->cmsg_type != SCM_RIGHTS)
            continue;
        const size_t n_here = (at->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n_here && n < QUIRE_SHARE_MAX_FDS; i++, n++)
            memcpy(&fds[n], CMSG_DATA(at) + i * sizeof(int), sizeof(int));
    }
    return n;
}

ssize_t quire_share_receive(int socket, void *message, size_t n_bytes, int *fds, unsigned *n_fds)
{
    union control control;
    struct iovec piece = {message, n_bytes};
    struct msghdr header = {.msg_iov = &piece,
                            .msg_iovlen = 1,
                            .msg_control = control.bytes,
                            .msg_controllen = sizeof control};
    int taken[QUIRE_SHARE_MAX_FDS];
    ssize_t n;

    do
        n = recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    const unsigned n_taken = take_fds(&header, taken);
    if (n_taken > *n_fds || (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
        for (unsigned i = 0; i < n_taken; i++)
            close(taken[i]);
        *n_fds = 0;
        return -EMSGSIZE;
    }
    memcpy(fds, taken, n_taken * sizeof fds[0]);
    *n_fds = n_taken;
    return n;
}
