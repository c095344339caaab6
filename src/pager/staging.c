/* SPDX-License-Identifier: Apache-2.0 */
/* staging: see staging.h. */
#include "pager/staging.h"

#include "base/meta.h"
#include "base/sys.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

int staging_init(struct staging *staging, uint32_t n_slots)
{
    size_t n_bytes = (size_t)n_slots << SYS_PAGE_SHIFT;
    *staging = (struct staging){.n_slots = n_slots};
    staging->page = meta_alloc(n_slots * sizeof(uint32_t));
    if (!staging->page)
        return -ENOMEM;
    memset(staging->page, 0xff, n_slots * sizeof(uint32_t)); /* all holes */
    staging->base = sys_mmap(NULL, n_bytes, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (sys_is_error(staging->base))
        return sys_error(staging->base);
    sys_madvise(staging->base, n_bytes, MADV_NOHUGEPAGE);
    sys_madvise(staging->base, n_bytes, MADV_DONTFORK);
    return 0;
}

uint32_t staging_room(const struct staging *staging, uint32_t most)
{
    uint64_t free = staging->n_slots - (staging->head - staging->tail);
    uint32_t to_end = staging->n_slots - staging_slot(staging, staging->head);
    if (free < most)
        most = (uint32_t)free;
    return most < to_end ? most : to_end;
}
