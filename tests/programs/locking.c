/* SPDX-License-Identifier: Apache-2.0 */
/*
 * locking: mlock keeps pages in memory as far as mincore can see, munlock lets them go, limits are
 * told, and the contents are right throughout.
 */
#include "helper.h"

#include <sys/resource.h>

enum { N = 64 }; /* pages */

static size_t n_resident(void *pages, size_t n_pages)
{
    unsigned char there[N];
    size_t n = 0;
    EXPECT(n_pages <= N && mincore(pages, n_pages * PAGE, there) == 0);
    for (size_t i = 0; i < n_pages; i++)
        n += there[i] & 1;
    return n;
}

int main(int argc, char **argv)
{
    helper_init(argc, argv);
    char *p = map_pages(N * PAGE);
    pattern_fill(p, N * PAGE, 1);
    press();
    if (mlock(p, N / 2 * PAGE) != 0 && (errno == EPERM || errno == ENOMEM))
        helper_lacks("the right to lock 128 KiB");
    EXPECT(n_resident(p, N / 2) == N / 2); /* brought back in by the call itself */
    press();
    press();
    if (n_resident(p, N / 2) != N / 2)
        fail("%zu of %d locked pages are resident", n_resident(p, N / 2), N / 2);
    pattern_check(p, N * PAGE, 1, "locked and unlocked memory");

    char *fresh = map_pages(N * PAGE);
    EXPECT(mlock(fresh, N * PAGE) == 0 && n_resident(fresh, N) == N);
    for (size_t i = 0; i < N * PAGE; i++)
        EXPECT(fresh[i] == 0);
    EXPECT(munlock(p, N / 2 * PAGE) == 0 && munlock(fresh, N * PAGE) == 0);
    press();
    pattern_check(p, N * PAGE, 1, "unlocked memory");
    EXPECT(munmap(fresh, N * PAGE) == 0);
    EXPECT(mlock(fresh, N * PAGE) == -1 && errno == ENOMEM);
    return helper_done();
}
