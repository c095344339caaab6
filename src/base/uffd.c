/* SPDX-License-Identifier: Apache-2.0 */
/* uffd: thin calls over the userfaultfd ioctls; see uffd.h. */
#include "base/uffd.h"

#include "base/stepping.h"
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>

#define WAKE_TRIES 1000

static int open_device(void)
{
    int device = sys_openat(AT_FDCWD, "/dev/userfaultfd", O_RDWR | O_CLOEXEC, 0);
    if (device < 0)
        return device;
    int uffd = sys_ioctl(device, USERFAULTFD_IOC_NEW, (void *)(uintptr_t)(O_CLOEXEC | O_NONBLOCK));
    sys_close(device);
    return uffd;
}

static int open_any(enum uffd_way *way)
{
    *way = UFFD_BY_SYSCALL;
    int uffd = sys_userfaultfd(O_CLOEXEC | O_NONBLOCK);
    if (uffd >= 0)
        return uffd;
    *way = UFFD_BY_DEVICE;
    int by_device = open_device();
    if (by_device >= 0)
        return by_device;
    *way = UFFD_CLOSED;
    int user_only = sys_userfaultfd(O_CLOEXEC | UFFD_USER_MODE_ONLY);
    if (user_only >= 0) {
        sys_close(user_only);
        *way = UFFD_USER_ONLY;
    }
    return uffd;
}

int uffd_open(uint64_t features, enum uffd_way *way)
{
    int uffd = open_any(way);
    if (uffd < 0)
        return uffd;
    struct uffdio_api api = {.api = UFFD_API, .features = features};
    int error = sys_ioctl(uffd, UFFDIO_API, &api);
    if (error == 0 && (api.features & features) == features)
        return uffd;
    sys_close(uffd);
    return -EINVAL;
}

uint64_t uffd_features(void)
{
    enum uffd_way way;
    int uffd = open_any(&way);
    if (way == UFFD_USER_ONLY)
        uffd = sys_userfaultfd(O_CLOEXEC | UFFD_USER_MODE_ONLY);
    if (uffd < 0)
        return 0;
    struct uffdio_api api = {.api = UFFD_API};
    int error = sys_ioctl(uffd, UFFDIO_API, &api);
    sys_close(uffd);
    return error ? 0 : api.features;
}

int uffd_register(int uffd, void *address, size_t n_bytes, bool writes)
{
    struct uffdio_register what = {
        .range = {(uintptr_t)address, n_bytes},
        .mode = UFFDIO_REGISTER_MODE_MISSING | (writes ? UFFDIO_REGISTER_MODE_WP : 0),
    };
    return sys_ioctl(uffd, UFFDIO_REGISTER, &what);
}

int uffd_unregister(int uffd, void *address, size_t n_bytes)
{
    struct uffdio_range range = {(uintptr_t)address, n_bytes};
    return sys_ioctl(uffd, UFFDIO_UNREGISTER, &range);
}

int uffd_wake(int uffd, void *address, size_t n_bytes)
{
    struct uffdio_range range = {(uintptr_t)address, n_bytes};
    int error, tries = 0;

    /* No kernel says so here, but nobody else would ever wake who sleeps there. */
    do
        error = sys_ioctl(uffd, UFFDIO_WAKE, &range);
    while ((error == -EAGAIN || error == -EBUSY) && ++tries < WAKE_TRIES);
    stepping_fault_wake(address, n_bytes);
    return error;
}

int uffd_protect(int uffd, void *address, size_t n_bytes, bool protect)
{
    struct uffdio_writeprotect what = {
        .range = {(uintptr_t)address, n_bytes},
        .mode = protect ? UFFDIO_WRITEPROTECT_MODE_WP : UFFDIO_WRITEPROTECT_MODE_DONTWAKE,
    };
    int error;
    do {
        error = sys_ioctl(uffd, UFFDIO_WRITEPROTECT, &what);
    } while (error == -EAGAIN);
    return error;
}

ssize_t uffd_copy(int uffd, void *to, const void *from, size_t n_bytes, bool protect)
{
    struct uffdio_copy copy = {
        .dst = (uintptr_t)to,
        .src = (uintptr_t)from,
        .len = n_bytes,
        .mode = UFFDIO_COPY_MODE_DONTWAKE | (protect ? UFFDIO_COPY_MODE_WP : 0),
    };
    int error = sys_ioctl(uffd, UFFDIO_COPY, &copy);
    if (error == 0)
        return (ssize_t)n_bytes;
    return copy.copy > 0 ? copy.copy : error;
}

ssize_t uffd_move(int uffd, void *to, void *from, size_t n_bytes)
{
    struct uffdio_move move = {
        .dst = (uintptr_t)to,
        .src = (uintptr_t)from,
        .len = n_bytes,
        .mode = UFFDIO_MOVE_MODE_DONTWAKE,
    };
    int error = sys_ioctl(uffd, UFFDIO_MOVE, &move);
    if (error == 0)
        return (ssize_t)n_bytes;
    return move.move > 0 ? move.move : error;
}
