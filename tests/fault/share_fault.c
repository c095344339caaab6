/* SPDX-License-Identifier: Apache-2.0 */
/* Each mapping that a shared heap makes fails in turn: it is told, and nothing is left behind. */
#include "base/sys.h"
#include "leaks.h"

#include <quire/shared_heap.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct quire_shared_heap_config config = {(uint64_t)1 << 20, 0, 64, false};

static int join(struct quire_shared_heap *owner, struct quire_shared_heap **heap)
{
    int fds[QUIRE_SHARED_HEAP_FDS];
    quire_shared_heap_fds(owner, fds);
    return quire_shared_heap_join(fds, heap);
}

/* Makes a heap (owner NULL) or joins one, with each mapping failing in turn. How many there are. */
static unsigned fail_each(struct quire_shared_heap *owner)
{
    const unsigned n_fds = count_fds(), n_mappings = count_mappings("quire-heap");
    struct quire_shared_heap *heap = NULL;
    for (unsigned nth = 1;; nth++) {
        sys_inject(SYS_CLASS_MAP, nth, ENOMEM);
        const int error = owner ? join(owner, &heap) : quire_shared_heap_create(&config, &heap);
        const bool fired = sys_injected(SYS_CLASS_MAP) != 0;
        sys_inject(SYS_CLASS_MAP, 0, 0);
        REQUIRE(error == (fired ? -ENOMEM : 0));
        if (!fired)
            quire_shared_heap_leave(heap);
        REQUIRE(count_fds() == n_fds && count_mappings("quire-heap") == n_mappings);
        if (!fired)
            return nth - 1;
    }
}

int main(void)
{
    struct quire_shared_heap *owner;
    struct quire_shared_heap_stats stats;
    REQUIRE(fail_each(NULL) == 2);
    REQUIRE(quire_shared_heap_create(&config, &owner) == 0);
    REQUIRE(fail_each(owner) == 2);
    REQUIRE(quire_shared_heap_validate(owner) == 0);
    REQUIRE(quire_shared_heap_stats(owner, &stats) == 0 && stats.n_members == 1);
    quire_shared_heap_leave(owner);
    return 0;
}
