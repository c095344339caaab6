/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fetch: brings in pages that nobody has touched, one window after the other, while there is room:
 * what was evicted by `quire park` (park.c). Runs in the service thread.
 */
#include "pager/bring.h"

/*
 * How many pages from `page` on come in by this step; 0: there is none to come in there. Nobody has
 * asked for them, so one that is not intact stays where it is until somebody does.
 */
static uint32_t fetch_window(uint32_t page, uint32_t most)
{
    lock_take(&pager.lock);
    page_entry entry = table_get(&pager.table, page);
    enum page_state state = page_state(entry);
    struct waiters waiters = {.page = page};
    if (entry & PAGE_BUSY || (state != PAGE_STAGED && state != PAGE_STORED)) {
        lock_release(&pager.lock);
        return 0;
    }
    uint32_t done;
    if (state == PAGE_STAGED) {
        waiters.n_pages = bring_staged_run(page, (uint32_t)page_payload(entry), most);
        done = bring_back(page, (uint32_t)page_payload(entry), waiters.n_pages, POLICY_BESIDE);
    } else {
        waiters.n_pages = bring_within_room(bring_alike(page, PAGE_STORED, most));
        done = bring_stored(page, waiters.n_pages, true,
                            (struct coming){.first = POLICY_BESIDE, .in_a_row = true});
        budget_charge_tables();
    }
    lock_release(&pager.lock);
    control_count(&pager.self->stats.resumed, done);
    bring_wake(waiters);
    return waiters.n_pages;
}

bool fetch_evicted(uint32_t page, uint32_t n_pages)
{
    struct watermarks marks;
    budget_watermarks(&marks);
    for (uint32_t end = page + n_pages; (page = table_next(&pager.table, page, end)) < end;) {
        if (budget_room() < marks.high)
            return false;
        uint32_t most = end - page < WINDOW_PAGES ? end - page : WINDOW_PAGES;
        uint32_t n = fetch_window(page, most);
        page += n > 0 ? n : 1;
    }
    return true;
}
