/* SPDX-License-Identifier: Apache-2.0 */
/*
 * accounts: which process of a run is charged for the frames that several of them share.
 *
 * A frame that is shared is charged to one of those who have it. That comes undone in two ways: who
 * was charged ends, and takes the charge along; and a store's page, or a page whose writes are not
 * seen, is copied or given up unnoticed. So now and then one of the processes, whichever comes
 * first, looks at all that share, one after the other, and charges each what the kernel says is its
 * proportional part of the anonymous memory (Pss_Anon in /proc/PID/smaps_rollup). All at once,
 * because the parts of some and the whole of others would not add up.
 *
 * Whom it can't read (another user's) stays as it is.
 */
#include "base/log.h"
#include "base/proc.h"
#include "pager/internal.h"

#include <string.h>

#define SOON_NS 5000000ull /* after a fork */
#define INTERVAL_NS 50000000ull
#define WHILE_LOOKING_NS 200000000ull /* then another takes over: who looked has ended */
#define LEAST_REST 20                 /* a look may take one part in so many of the time */
#define NOTHING_SHARED 16             /* pages fewer than which are not worth looking at again */

static uint32_t n_left_seen;

/* The value of a "Name:   123 kB" line in pages, or 0. */
static int64_t rollup_pages(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    if (!at)
        return 0;
    for (at += strlen(name); *at == ' '; at++)
        continue;
    return (int64_t)(proc_number(at) / 4);
}

static bool read_rollup(uint32_t pid, int64_t *anonymous, int64_t *share)
{
    char path[48], text[2048];
    log_format(path, sizeof path, "/proc/%u/smaps_rollup", pid);
    if (!proc_read(path, text, sizeof text))
        return false;
    *anonymous = rollup_pages(text, "\nAnonymous:");
    *share = rollup_pages(text, "\nPss_Anon:");
    return *anonymous > 0 && *share > 0;
}

static int64_t charged_to(const struct control_slot *slot)
{
    return slot->held[CONTROL_RESIDENT] + slot->held[CONTROL_STAGED] + slot->held[CONTROL_POOL] +
           slot->held[CONTROL_METADATA];
}

static void look_at(unsigned i)
{
    struct control_slot *slot = &pager.control->slot[i];
    int64_t anonymous, share;
    uint32_t expected = CONTROL_SHARES;
    if (slot->shares != CONTROL_SHARES || !slot->armed ||
        !read_rollup(slot->pid, &anonymous, &share))
        return;
    int64_t shared = slot->shared, charged = charged_to(slot), held = charged + shared;
    if (held < anonymous) /* the rest is not managed, and as much shared on average */
        share = share * held / anonymous;
    int64_t change = share - charged;
    if (anonymous - share < NOTHING_SHARED &&
        atomic_compare_exchange_strong(&slot->shares, &expected, CONTROL_WAS_LEFT))
        change = shared;
    slot->shared -= change;
    control_charge(pager.control, i, CONTROL_RESIDENT, change);
}

static void look(void)
{
    uint32_t end = pager.control->slots_end;
    for (uint32_t i = 0; i < end; i++)
        look_at(i);
}

void accounts_expect_sharing(void)
{
    uint64_t soon = sys_now_ns() + SOON_NS;
    if (pager.control->next_look_ns > soon || pager.control->next_look_ns < soon - SOON_NS)
        atomic_store(&pager.control->next_look_ns, soon);
    service_wake();
}

/* This process is the one that looks now. */
static bool is_due(uint64_t now)
{
    uint32_t n_left = pager.control->n_left;
    bool somebody_left = n_left != n_left_seen;
    uint64_t next = pager.control->next_look_ns;
    n_left_seen = n_left;
    return (now >= next || (somebody_left && next - now < INTERVAL_NS)) &&
           atomic_compare_exchange_strong(&pager.control->next_look_ns, &next,
                                          now + WHILE_LOOKING_NS);
}

uint64_t accounts_look_if_due(void)
{
    uint32_t left = CONTROL_WAS_LEFT;
    uint64_t now = sys_now_ns();
    if (pager.self->shares == CONTROL_SHARES && is_due(now)) {
        look();
        uint64_t end = sys_now_ns(), rest = LEAST_REST * (end - now);
        now = end;
        atomic_store(&pager.control->next_look_ns, end + (rest > INTERVAL_NS ? rest : INTERVAL_NS));
    }
    if (atomic_compare_exchange_strong(&pager.self->shares, &left, CONTROL_ALONE)) {
        lock_take(&pager.lock);
        sharing_end();
        lock_release(&pager.lock);
    }
    return pager.self->shares == CONTROL_SHARES ? now + INTERVAL_NS : 0;
}
