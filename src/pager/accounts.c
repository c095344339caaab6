/* SPDX-License-Identifier: Apache-2.0 */
/*
 * accounts: which process of a run is charged for the frames that several of them share.
 *
 * A frame that is shared is charged to one of those who have it. That comes undone in two ways: who
 * was charged ends, and takes the charge along; and a store's page, or a page whose writes are not
 * seen, is copied or given up unnoticed. So now and then one of the processes, whichever comes
 * first, looks at all that share, one after the other, and charges each what the kernel says is its
 * proportional part of the anonymous memory (Pss_Anon in /proc/PID/smaps_rollup). All at once,
 * because the parts of some and the whole of others would not add up: first all are read, then all
 * are put right, and where one has forked in between nobody is charged less.
 *
 * Whom it can't read (another user's) stays as it is. A process that is not armed, and has not told
 * that it shares nothing, may write at any time and nobody sees it: as long as there is one, nobody
 * is charged less than he was.
 */
#include "base/log.h"
#include "base/proc.h"
#include "pager/internal.h"

#include <string.h>

#define SOON_NS 5000000ull /* after a fork */
#define INTERVAL_NS 50000000ull
#define WHILE_LOOKING_NS 500000000ull /* then another takes over: who looked has ended */
#define LOOKING ((uint64_t)1)         /* in next_look_ns: somebody is at it */
#define LEAST_REST 20                 /* a look may take one part in so many of the time */
#define TO_END_NS 20000000ull /* a process that has left takes so long to give up its memory */
#define NOTHING_SHARED 16     /* pages fewer than which are not worth looking at again */

static uint32_t n_left_seen;

static struct {
    uint64_t ends_ns;              /* then another process may look instead */
    uint64_t n_processes;          /* ever started, when it began */
    int64_t shared[CONTROL_SLOTS]; /* of each slot, likewise */
    uint32_t pid[CONTROL_SLOTS];   /* of each slot that was read; 0: none */
    int64_t change[CONTROL_SLOTS], n_shared[CONTROL_SLOTS]; /* what was read of each */
} look;                                                     /* the one under way */

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

/* This look was given up for dead, and another process looks now. */
static bool is_overtaken(void)
{
    return atomic_load(&pager.control->next_look_ns) != look.ends_ns;
}

static int64_t lesser(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/*
 * While the kernel counts, the process goes on. What it came to hold meanwhile may or may not be in
 * the kernel's figure, so of what is charged before and after, the less is put right. And what was
 * shared when the look began and is not any more may have counted in part where it was read first,
 * so it counts as a whole here. The error is on the safe side, and gone at the next look.
 */
static bool read_change(unsigned i)
{
    const struct control_slot *slot = &pager.control->slot[i];
    int64_t anonymous, share, before = charged_to(slot);
    if (!read_rollup(slot->pid, &anonymous, &share))
        return false;
    int64_t shared = slot->shared, charged = lesser(before, charged_to(slot));
    int64_t held = charged + shared;
    look.n_shared[i] = anonymous - share;
    if (held < anonymous) /* the rest is not managed, and as much shared on average */
        share = share * held / anonymous;
    look.change[i] = share - charged;
    if (look.shared[i] > shared)
        look.change[i] += look.shared[i] - shared;
    return true;
}

/* Puts right what is charged to one process. */
static void apply(unsigned i, bool may_lower, bool none_forked)
{
    struct control_slot *slot = &pager.control->slot[i];
    int64_t change = look.change[i];
    uint32_t expected = CONTROL_SHARES;
    if (slot->shares != CONTROL_SHARES || slot->pid != look.pid[i])
        return; /* it has ended meanwhile */
    if (none_forked && look.n_shared[i] < NOTHING_SHARED &&
        atomic_compare_exchange_strong(&slot->shares, &expected, CONTROL_WAS_LEFT))
        change = slot->shared;
    else if (change < 0 && (!may_lower || !none_forked))
        return;
    slot->shared -= change;
    control_charge(pager.control, i, CONTROL_RESIDENT, change);
}

/* Not armed; what is copied for it nobody sees. False when its children have left it alone. */
static bool shares_unseen(struct control_slot *slot)
{
    int64_t anonymous, share;
    uint32_t expected = CONTROL_SHARES;
    if (slot == pager.self || slot->shares != CONTROL_SHARES || slot->armed)
        return false;
    if (!read_rollup(slot->pid, &anonymous, &share) || anonymous - share >= NOTHING_SHARED)
        return true;
    atomic_compare_exchange_strong(&slot->shares, &expected, CONTROL_ALONE);
    return false;
}

bool accounts_see_all(void)
{
    bool all = true;
    uint32_t end = pager.control->slots_end;
    for (uint32_t i = 0; i < end; i++)
        all &= !shares_unseen(&pager.control->slot[i]);
    return all;
}

static void look_at_all(void)
{
    uint32_t end = pager.control->slots_end;
    int64_t left_behind = pager.control->left_behind;
    bool are_gone = sys_now_ns() - pager.control->left_ns > TO_END_NS;
    look.n_processes = pager.control->n_processes;
    for (uint32_t i = 0; i < end; i++)
        look.shared[i] = pager.control->slot[i].shared;
    bool may_lower = accounts_see_all();
    for (uint32_t i = 0; i < end; i++) {
        const struct control_slot *slot = &pager.control->slot[i];
        bool is_read = slot->shares == CONTROL_SHARES && slot->armed && read_change(i);
        look.pid[i] = is_read ? slot->pid : 0;
    }
    if (is_overtaken())
        return;
    bool none_forked = atomic_load(&pager.control->n_processes) == look.n_processes;
    for (uint32_t i = 0; i < end; i++)
        if (look.pid[i] != 0)
            apply(i, may_lower, none_forked);
    if (are_gone) /* those who have it are charged for it now */
        atomic_compare_exchange_strong(&pager.control->left_behind, &left_behind, 0);
}

void accounts_expect_sharing(void)
{
    uint64_t soon = (sys_now_ns() + SOON_NS) & ~LOOKING, next = pager.control->next_look_ns;
    if (!(next & LOOKING) && (next > soon || next < soon - SOON_NS))
        atomic_compare_exchange_strong(&pager.control->next_look_ns, &next, soon);
    service_wake();
}

/* This process is the one that looks now. */
static bool is_due(uint64_t now)
{
    uint32_t n_left = pager.control->n_left;
    bool somebody_left = n_left != n_left_seen;
    uint64_t next = pager.control->next_look_ns;
    n_left_seen = n_left;
    look.ends_ns = (now + WHILE_LOOKING_NS) | LOOKING;
    return (now >= next || (somebody_left && !(next & LOOKING) && next - now < INTERVAL_NS)) &&
           atomic_compare_exchange_strong(&pager.control->next_look_ns, &next, look.ends_ns);
}

bool accounts_look_if_due(void)
{
    uint32_t left = CONTROL_WAS_LEFT;
    uint64_t now = sys_now_ns();
    if (pager.self->shares == CONTROL_SHARES && is_due(now)) {
        look_at_all();
        const uint64_t end = sys_now_ns(), rest = LEAST_REST * (end - now);
        atomic_compare_exchange_strong(&pager.control->next_look_ns, &look.ends_ns,
                                       (end + (rest > INTERVAL_NS ? rest : INTERVAL_NS)) &
                                           ~LOOKING);
    }
    if (atomic_compare_exchange_strong(&pager.self->shares, &left, CONTROL_ALONE)) {
        lock_take(&pager.lock);
        sharing_end();
        lock_release(&pager.lock);
    }
    return pager.self->shares == CONTROL_SHARES;
}
