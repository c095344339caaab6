/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_direct: O_DIRECT, which pins the pages it works on, from and into evicted pages. */
#include "helper.h"

#include <fcntl.h>

enum { N_BLOCKS = 64 };

static int open_direct(void)
{
    char name[] = "kernel_direct.XXXXXX";
    int fd = mkstemp(name);
    EXPECT(fd >= 0);
    close(fd);
    fd = open(name, O_RDWR | O_DIRECT);
    if (fd < 0 && errno == EINVAL) {
        unlink(name);
        helper_lacks("O_DIRECT in this directory");
    }
    EXPECT(fd >= 0 && unlink(name) == 0);
    return fd;
}

int main(int argc, char **argv)
{
    const size_t n_bytes = N_BLOCKS * PAGE;
    helper_init(argc, argv);
    int fd = open_direct();
    char *evicted = aligned_alloc(PAGE, n_bytes);
    char *fresh = map_pages(n_bytes);
    EXPECT(evicted);
    for (uint64_t round = 0; round < 3; round++) {
        pattern_fill(evicted, n_bytes, round);
        press();
        EXPECT(pwrite(fd, evicted, n_bytes, 0) == (ssize_t)n_bytes);
        press();
        pattern_check(evicted, n_bytes, round, "what was written, afterwards");
        memset(evicted, 0, n_bytes);
        press();
        EXPECT(pread(fd, evicted, n_bytes, 0) == (ssize_t)n_bytes);
        pattern_check(evicted, n_bytes, round, "direct read into evicted pages");
        EXPECT(pread(fd, fresh, n_bytes, 0) == (ssize_t)n_bytes);
        pattern_check(fresh, n_bytes, round, "direct read into untouched pages");
        EXPECT(madvise(fresh, n_bytes, MADV_DONTNEED) == 0);
    }
    close(fd);
    free(evicted);
    return helper_done();
}
