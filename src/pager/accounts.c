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
 * Those parts add up to what there is only if all are read. So nobody is charged less than he was
 * where one of those who share
 *   - can't be read (another user's), or was killed;
 *   - is leaving, or has left meanwhile: a part of what others have is its own until the kernel has
 *     taken its memory apart;
 *   - is a fork's child that is not there yet: a part of what others have is its own already;
 *   - is not armed, and has not told that it shares nothing: it may write at any time and nobody
 *     sees it;
 * or has forked meanwhile.
 */
#include "base/log.h"
#include "base/proc.h"
#include "pager/internal.h"

#include <string.h>

#define SOON_NS 5000000ull            /* after a fork */
#define WHILE_LOOKING_NS 500000000ull /* then another takes over: who looked has ended */
#define LOOKING ((uint64_t)1)         /* in next_look_ns: somebody is at it */
#define LEAST_REST 20                 /* a look may take one part in so many of the time */
#define NOTHING_SHARED 16             /* pages fewer than which are not worth looking at again */

static uint32_t n_left_seen;

static struct {
    uint64_t ends_ns;              /* then another process may look instead */
    uint64_t n_processes;          /* ever started, when it began */
    bool one_was_coming;           /* then: a fork was under way */
    int64_t left_behind;           /* then, less what was found with others */
    int64_t covered;               /* charged to who leaves, and not found with others yet */
    uint32_t n_left;               /* and ended */
    int64_t shared[CONTROL_SLOTS]; /* of each slot, likewise */
    uint32_t pid[CONTROL_SLOTS];   /* of each slot that was read; 0: none */
    int64_t change[CONTROL_SLOTS], n_shared[CONTROL_SLOTS]; /* what was read of each */
    int64_t lowered[CONTROL_SLOTS];                         /* by how much each is charged less */
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

static void change_charge(unsigned i, int64_t change)
{
    pager.control->slot[i].shared -= change;
    control_charge(pager.control, i, CONTROL_RESIDENT, change);
}

static bool is_one_coming(void)
{
    bool is = false;
    for (uint32_t i = 0; i < pager.control->slots_end; i++)
        is |= control_is_coming(pager.control, i);
    return is;
}

static bool none_forked(void)
{
    return !look.one_was_coming && atomic_load(&pager.control->n_processes) == look.n_processes;
}

/* What those hold, or left behind since the look began, who share and leave: it is theirs as yet,
 * or others' by now. */
static int64_t charged_to_leavers(void)
{
    int64_t sum = pager.control->left_behind - look.left_behind;
    if (sum < 0)
        sum = 0;
    for (uint32_t i = 0; i < pager.control->slots_end; i++) {
        const struct control_slot *slot = &pager.control->slot[i];
        if (slot->leaves && slot->shares == CONTROL_SHARES && charged_to(slot) > 0)
            sum += charged_to(slot);
    }
    return sum;
}

/* So much of what somebody is to be charged more, a leaver is charged for as yet. */
static int64_t cover(int64_t change)
{
    const int64_t covered = lesser(change, look.covered);
    look.covered -= covered;
    return covered;
}

/* Of what was left behind when the look began; others may have given it up meanwhile. */
static void take_left_behind(int64_t n_pages)
{
    const int64_t n_taken = lesser(n_pages, look.left_behind);
    int64_t now = pager.control->left_behind;
    look.left_behind -= n_taken;
    while (!atomic_compare_exchange_weak(&pager.control->left_behind, &now,
                                         now > n_taken ? now - n_taken : 0))
        continue;
}

/* Puts right what is charged to one process. */
static void apply(unsigned i, bool may_lower)
{
    struct control_slot *slot = &pager.control->slot[i];
    int64_t change = look.change[i];
    look.lowered[i] = 0;
    uint32_t expected = CONTROL_SHARES;
    if (slot->shares != CONTROL_SHARES || slot->pid != look.pid[i])
        return; /* it has ended meanwhile */
    const bool is_left = may_lower || (slot->shared >= 0 && look.covered == 0);
    if (look.n_shared[i] < NOTHING_SHARED && is_left && none_forked() &&
        atomic_compare_exchange_strong(&slot->shares, &expected, CONTROL_WAS_LEFT))
        change = slot->shared;
    else if (change < 0 && !may_lower)
        return;
    else if (change < 0)
        look.lowered[i] = -change;
    else if (!may_lower)
        change -= cover(change);
    if (change > 0)
        take_left_behind(change);
    change_charge(i, change);
}

/* Somebody has left after all, between the last look at that and now. */
static void take_back(unsigned i)
{
    const struct control_slot *slot = &pager.control->slot[i];
    if (look.lowered[i] > 0 && slot->shares == CONTROL_SHARES && slot->pid == look.pid[i])
        change_charge(i, look.lowered[i]);
}

/* Not armed; what is copied for it nobody sees. False when its children have left it alone. */
static bool shares_unseen(uint32_t i)
{
    struct control_slot *slot = &pager.control->slot[i];
    int64_t anonymous, share;
    uint32_t expected = CONTROL_SHARES;
    if (slot == pager.self || slot->shares != CONTROL_SHARES || slot->armed || slot->leaves)
        return false;
    if (control_living_pid(pager.control, i) == 0)
        return control_is_coming(pager.control, i);
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
        all &= !shares_unseen(i);
    return all;
}

/* Reads all who share, if they can be read. */
static void read_all(uint32_t end)
{
    for (uint32_t i = 0; i < end; i++)
        look.shared[i] = pager.control->slot[i].shared;
    for (uint32_t i = 0; i < end; i++) {
        const struct control_slot *slot = &pager.control->slot[i];
        const bool shares = slot->shares == CONTROL_SHARES;
        look.pid[i] = shares && slot->armed && read_change(i) ? slot->pid : 0;
    }
}

/* None of those who share is missing, and none is about to leave. */
static bool all_were_read(uint32_t n_read)
{
    const uint32_t end = pager.control->slots_end;
    for (uint32_t i = 0; i < end; i++) {
        const struct control_slot *slot = &pager.control->slot[i];
        const bool was_read = i < n_read && look.pid[i] != 0 && look.pid[i] == slot->pid;
        if (slot->shares == CONTROL_SHARES &&
            (slot->leaves || (!was_read && control_living_pid(pager.control, i) != 0)))
            return false;
    }
    return true;
}

static bool none_left(void)
{
    return atomic_load(&pager.control->n_left) == look.n_left;
}

static void look_at_all(void)
{
    budget_collect();
    uint32_t end = pager.control->slots_end;
    look.left_behind = pager.control->left_behind;
    look.n_processes = pager.control->n_processes;
    look.one_was_coming = is_one_coming();
    look.n_left = pager.control->n_left;
    const bool see_all = accounts_see_all();
    read_all(end);
    if (is_overtaken())
        return;
    const bool may_lower = see_all && all_were_read(end) && none_left() && none_forked();
    look.covered = charged_to_leavers();
    for (uint32_t i = 0; i < end; i++)
        if (look.pid[i] != 0)
            apply(i, may_lower);
    take_left_behind(look.left_behind); /* those who have it are charged for it now */
    for (uint32_t i = 0; i < end && !none_left(); i++)
        if (look.pid[i] != 0)
            take_back(i);
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
    return (now >= next ||
            (somebody_left && !(next & LOOKING) && next - now < ACCOUNTS_INTERVAL_NS)) &&
           atomic_compare_exchange_strong(&pager.control->next_look_ns, &next, look.ends_ns);
}

bool accounts_look_if_due(void)
{
    uint32_t left = CONTROL_WAS_LEFT;
    uint64_t now = sys_now_ns();
    if (pager.self->shares == CONTROL_SHARES && is_due(now)) {
        look_at_all();
        const uint64_t end = sys_now_ns(), rest = LEAST_REST * (end - now);
        atomic_compare_exchange_strong(
            &pager.control->next_look_ns, &look.ends_ns,
            (end + (rest > ACCOUNTS_INTERVAL_NS ? rest : ACCOUNTS_INTERVAL_NS)) & ~LOOKING);
    }
    if (atomic_compare_exchange_strong(&pager.self->shares, &left, CONTROL_ALONE)) {
        lock_take(&pager.lock);
        sharing_end();
        lock_release(&pager.lock);
    }
    return pager.self->shares == CONTROL_SHARES;
}
