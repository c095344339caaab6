/* SPDX-License-Identifier: Apache-2.0 */
/*
 * freed: what the heap gave back a moment ago.
 *
 *   in use --freed--> DEAD, among the living ---room is made---> DEAD, among the dead
 *     ^                 |  noted here                             |
 *     '-- handed out ---'-----------------------------------------'
 *
 * Most of what is freed is handed out again in a moment, a heap being last in, first out. So when
 * pages are freed their run is noted here, and nothing else: only where room is made before they
 * are handed out again do they change queues (policy_free()), and are the first to go from then on.
 *
 * A note is a hint. Who settles looks whether the pages are DEAD yet, until all that are have
 * moved.
 */
#include "pager/internal.h"

#define MOST_NOTES 256

static struct run {
    uint32_t page, n_pages;
} notes[MOST_NOTES]; /* L */
static uint32_t n_notes;

static void settle(uint32_t page, uint32_t end)
{
    for (; (page = table_next(&pager.table, page, end)) < end; page++) {
        const page_entry entry = table_get(&pager.table, page);
        if (page_state(entry) == PAGE_RESIDENT && entry & PAGE_DEAD &&
            !policy_is_freed(page_payload(entry)))
            policy_free(&pager.policy, page, page_payload(entry));
    }
}

void freed_settle(void)
{
    for (uint32_t i = 0; i < n_notes && (int64_t)policy_n_freed(&pager.policy) < pager.n_dead; i++)
        settle(notes[i].page, notes[i].page + notes[i].n_pages);
    n_notes = 0;
}

void freed_note(uint32_t page, uint32_t n_pages)
{
    struct run *last = n_notes > 0 ? &notes[n_notes - 1] : NULL;
    if (last && last->page == page && last->n_pages == n_pages)
        return;
    if (last && last->page + last->n_pages == page) {
        last->n_pages += n_pages;
        return;
    }
    if (n_notes == MOST_NOTES)
        freed_settle();
    notes[n_notes++] = (struct run){page, n_pages};
}
