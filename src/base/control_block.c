/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control_block: the run's block of shared memory, how it is made and how others get at it.
 *
 * See control.h. Who attaches trusts no file: it may be of another version, or shorter than it
 * says.
 */
#include "base/control.h"

#include "base/checked.h"
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#define MAGIC 0x6c6f7274432e6571ull
#define VERSION 5

int control_create(const struct control_options *options, size_t extra_bytes,
                   struct control **result)
{
    size_t header = round_up(sizeof(struct control), SYS_PAGE_SIZE), total;
    if (!checked_add(header, extra_bytes, &total))
        return -EOVERFLOW;
    int fd = sys_memfd_create("quire-control", MFD_CLOEXEC);
    if (fd < 0)
        return fd;
    int error = sys_ftruncate(fd, (off_t)total);
    if (error)
        goto close_fd;
    struct control *control = sys_mmap(NULL, total, PROT_READ | PROT_WRITE,
                                       MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (sys_is_error(control)) {
        error = sys_error(control);
        goto close_fd;
    }
    control->version = VERSION;
    control->swap_space_offset = extra_bytes > 0 ? (uint32_t)header : 0;
    control->total_bytes = total;
    control->options = *options;
    control->options.control_fd = fd;
    control->budget_bytes = options->budget_bytes;
    control->budget_most_bytes = options->budget_most_bytes > options->budget_bytes
                                     ? options->budget_most_bytes
                                     : options->budget_bytes;
    control->magic = MAGIC;
    *result = control;
    return fd;

close_fd:
    sys_close(fd);
    return error;
}

static int map_checked(int fd, struct control **result)
{
    struct {
        uint64_t magic;
        uint32_t version, swap_space_offset;
        uint64_t total_bytes;
    } header;
    ssize_t n = sys_pread(fd, &header, sizeof header, 0);
    if (n < 0)
        return (int)n;
    if (n != sizeof header || header.magic != MAGIC || header.version != VERSION ||
        header.total_bytes < sizeof(struct control))
        return -EPROTO;
    struct control *control = sys_mmap(NULL, header.total_bytes, PROT_READ | PROT_WRITE,
                                       MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (sys_is_error(control))
        return sys_error(control);
    *result = control;
    return 0;
}

int control_attach(const char *path, struct control **control)
{
    int fd = sys_openat(AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0)
        return fd;
    int error = map_checked(fd, control);
    sys_close(fd);
    return error;
}

static bool is_block(int fd)
{
    struct {
        uint64_t magic;
        uint32_t version, swap_space_offset;
        uint64_t total_bytes;
    } header;
    char last;
    /* all of it is there: a file that is shorter than it says would end its reader by SIGBUS */
    return sys_pread(fd, &header, sizeof header, 0) == sizeof header && header.magic == MAGIC &&
           header.version == VERSION && header.total_bytes >= sizeof(struct control) &&
           sys_pread(fd, &last, 1, (off_t)sizeof(struct control) - 1) == 1;
}

int control_view(const char *path, const struct control **result)
{
    int fd = sys_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return fd;
    int error = is_block(fd) ? 0 : -EPROTO;
    void *control = NULL;
    if (error == 0)
        control = sys_mmap(NULL, sizeof(struct control), PROT_READ, MAP_SHARED, fd, 0);
    sys_close(fd);
    if (error == 0 && sys_is_error(control))
        error = sys_error(control);
    if (error == 0)
        *result = control;
    return error;
}

void control_unview(const struct control *control)
{
    sys_munmap((void *)(uintptr_t)control, sizeof *control);
}
