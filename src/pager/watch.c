/* SPDX-License-Identifier: Apache-2.0 */
/* watch: see watch.h. Nothing here is known of who records. */
#include "pager/watch.h"

#include "base/touches.h"

#define GIB_PAGE_SHIFT (30 - SYS_PAGE_SHIFT)

static void put(uint32_t page, uint32_t n_pages, uint32_t flags)
{
    const struct touch touch = {.time_ns = sys_now_ns(),
                                .page = page,
                                .n_pages = n_pages,
                                .pid = atomic_load_explicit(&pager.self->pid, memory_order_relaxed),
                                .flags = flags};
    touches_put(control_touches(pager.control), &touch, &pager.control->launcher_ended);
}

void watch_touch(uint32_t page, uint32_t flags)
{
    if (is_watched())
        put(page, 1, flags);
}

void watch_range(uint32_t page, uint32_t end, uint32_t flags)
{
    if (is_watched() && table_next(&pager.table, page, end) < end)
        put(page, end - page, flags);
}

void watch_begin(void)
{
    if (is_watched())
        put((uint32_t)((uintptr_t)pager.base >> SYS_PAGE_SHIFT >> GIB_PAGE_SHIFT), 1, TOUCHES_BASE);
}
