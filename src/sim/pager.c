/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pager: the policies of `quire run`, by the code of src/policy, with what they get to know there:
 * faults, and that a page was written to for the first time since it came in.
 *
 *   absent --fault--> resident --policy_next()--> dirty? staging --oldest--> absent
 *              ^          ^                         |  '--touched: soft fault--> resident
 *              '----------'-------------------------'---> absent, if it is clean
 *
 * What the heap frees is dead: where it is resident it is dropped unread before what is in use, as
 * the policy says (policy_free()); what is handed out again before is no fault. It changes queues
 * only where room is made, as in src/pager/freed.c. Until more is in use than there is RAM the
 * pager is not armed: it drops all that is dead first (src/pager/runs.c), and the whole budget is
 * the pages'.
 *
 * Clean is what came in to be read and is protected (src/policy/protection.h), until it is written
 * to. What is read ahead of a stream leaves before all others (drop_behind.h); such a page is still
 * stored, beside.
 *
 * Resident and staged pages together take the frames; staging has its share as in
 * src/pager/budget.c. The argument is what a page that is stored takes of the RAM, in hundredths of
 * its size; without one it takes nothing, as in a swap file.
 *
 * The policies look at which pages lie side by side, in blocks of BLOCK; so pages get numbers here
 * that keep that, unless they are numbers of objects. Room is made in batches, as there; not
 * modelled: the service thread, which makes more of it, and pages that cannot be moved.
 */
#include "policy/drop_behind.h"
#include "policy/policy.h"
#include "policy/protection.h"

#include "sim/pages.h"
#include "sim/rules.h"

#include <errno.h>
#include <string.h>

#define BLOCK_SHIFT 5
#define BLOCK (1u << BLOCK_SHIFT)
#define STAGING_SHARE 64 /* as in src/pager/budget.c */
#define STAGING_LEAST_SHARE 16
#define STAGING_FLOOR 8
#define STAGING_LEAST 64
#define STAGING_MOST 16384
#define BATCH_SHARE 16
#define BATCH_MOST 64 /* EVICT_BATCH of src/pager/reclaim.h */
#define STORE_SHARE 8 /* so much stays for resident pages, however much is stored */

#define STAGED QUIRE_SIM_FLAGS
#define PROTECTED (2 * QUIRE_SIM_FLAGS) /* it came in to be read, and was not written to */
#define SEEN (4 * QUIRE_SIM_FLAGS)      /* it has contents; resident without: it is dead */
#define STORED (8 * QUIRE_SIM_FLAGS)    /* of a resident page: it was streamed, its copy is kept */

/* Lists */
#define STAGING 0u
#define DEAD 1u

struct entry { /* of a page, by its number here */
    policy_place place;
    uint32_t page; /* 0: none */
    policy_mark mark;
};

struct state {
    struct policy policy;
    struct drop_behind behind;
    struct protection protection;
    bool to_read; /* the last page that was missed is protected, and so is what comes along */
    struct pages blocks;
    struct array entries;
    uint64_t end; /* of numbers that are given out one by one */
    bool is_armed;
    uint64_t n_frames, n_staged, most_staged, n_stored;
    uint64_t batch;       /* that are evicted at once */
    uint64_t n_noted;     /* the last so many of the dead are among the living yet */
    double worth_staging; /* of the last most_staged evictions, those of dirty pages: an average */
};

static struct entry *entry_of(const struct quire_sim_memory *memory, uint32_t number)
{
    return (struct entry *)((struct state *)memory->state)->entries.base + number;
}

/* Each page has two nodes: 2 * page for a list, and behind it its number here and nothing. */
static uint32_t *number_of(const struct quire_sim_memory *memory, uint32_t page)
{
    return &((struct link *)memory->pages)[2 * (size_t)page + 1].newer;
}

/* ---- what the policies ask ---- */

static policy_mark mark(void *context, uint32_t number)
{
    return entry_of(context, number)->mark;
}

static void set_mark(void *context, uint32_t number, policy_mark to)
{
    entry_of(context, number)->mark = to;
}

static void set_place(void *context, uint32_t number, policy_place to)
{
    entry_of(context, number)->place = to;
}

static uint64_t clamp(uint64_t value, uint64_t least, uint64_t most)
{
    return value < least ? least : value > most ? most : value;
}

static int open_pager(struct quire_sim_memory *memory)
{
    struct state *state = memory->state;
    const struct policy_owner owner = {mark, set_mark, set_place, memory};
    const uint64_t n = memory->n_frames;
    uint64_t least = clamp(n / STAGING_LEAST_SHARE, STAGING_FLOOR, STAGING_LEAST);
    if (memory->argument > 100)
        return -EINVAL;
    state->n_frames = n;
    state->most_staged = clamp(n / STAGING_SHARE, least, STAGING_MOST);
    if (state->most_staged > n / 2)
        state->most_staged = n / 2;
    state->batch = clamp(n / BATCH_SHARE, 1, BATCH_MOST);
    memory->n_frames = memory->n_budget; /* until it is armed */
    list_init(memory->pages, STAGING);
    list_init(memory->pages, DEAD);
    int error = pages_init(&state->blocks);
    if (error)
        return error;
    int kind = policy_find(strchr(memory->policy->name, ':') + 1);
    error = policy_open(&state->policy, (enum policy_kind)kind, n, &owner);
    if (error)
        goto no_policy;
    error = drop_behind_open(&state->behind, n);
    if (error)
        goto no_queue;
    return 0;
no_queue:
    policy_close(&state->policy);
no_policy:
    pages_deinit(&state->blocks);
    return error;
}

static void close_pager(struct quire_sim_memory *memory)
{
    struct state *state = memory->state;
    drop_behind_close(&state->behind);
    policy_close(&state->policy);
    pages_deinit(&state->blocks);
    array_free(&state->entries);
}

/* A block for itself, where its own place is another page's: of another process, or unmapped. */
static uint32_t spare_number(struct state *state)
{
    const uint64_t key = UINT64_MAX - state->end++;
    uint32_t block;
    return pages_find(&state->blocks, &key, NULL, 1, &block) == 0 ? block << BLOCK_SHIFT : 0;
}

/* 0: no memory. */
static uint32_t give_number(struct quire_sim_memory *memory, uint32_t page)
{
    struct state *state = memory->state;
    uint32_t number = page;
    if (memory->numbers != NULL) {
        const uint64_t key = memory->numbers[page] >> BLOCK_SHIFT;
        uint32_t block;
        if (pages_find(&state->blocks, &key, NULL, 1, &block) != 0)
            return 0;
        number = block << BLOCK_SHIFT | (uint32_t)(memory->numbers[page] & (BLOCK - 1));
        if (number * sizeof(struct entry) < state->entries.n_bytes &&
            entry_of(memory, number)->page != 0)
            number = spare_number(state);
    }
    if (number == 0 || array_grow(&state->entries, (number + (size_t)1) * sizeof(struct entry)))
        return 0;
    entry_of(memory, number)->page = page;
    *number_of(memory, page) = number;
    return number;
}

/* ---- what happens ---- */

static void leave_staging(struct quire_sim_memory *memory, uint32_t page)
{
    struct state *state = memory->state;
    list_remove(memory->pages, 2 * page);
    memory->flags[page] &= (uint8_t)~STAGED;
    state->n_staged--;
}

static bool is_dead(const struct quire_sim_memory *memory, uint32_t page)
{
    return (memory->flags[page] & (QUIRE_SIM_RESIDENT | SEEN)) == QUIRE_SIM_RESIDENT;
}

static bool is_kept(const struct quire_sim_memory *memory, uint32_t page)
{
    const unsigned both = STORED | QUIRE_SIM_RESIDENT;
    return (memory->flags[page] & both) == both;
}

/* Those that were freed, and not handed out again since, are the first to go from now on. */
static void settle(struct quire_sim_memory *memory)
{
    struct state *state = memory->state;
    const struct link *links = memory->pages;
    uint32_t node = DEAD;
    for (; state->n_noted > 0; state->n_noted--)
        node = links[node].older;
    for (; node != DEAD; node = links[node].newer) {
        const uint32_t number = *number_of(memory, node / 2);
        policy_free(&state->policy, number, entry_of(memory, number)->place);
    }
}

/* A dead page is dead no more: in use again, or gone. */
static void revive(struct quire_sim_memory *memory, uint32_t page)
{
    struct state *state = memory->state;
    state->n_noted -= !policy_is_freed(entry_of(memory, *number_of(memory, page))->place);
    list_remove(memory->pages, 2 * page);
}

/*
 * Who goes next: what a stream left behind, else whom the policy names. False: there is none. The
 * policy remembers nothing of what is dead.
 */
static bool next_victim(struct quire_sim_memory *memory, uint32_t *number)
{
    struct state *state = memory->state;
    policy_place place;
    settle(memory);
    while (drop_behind_pop(&state->behind, memory->n_resident - state->n_staged, number)) {
        if (!is_kept(memory, entry_of(memory, *number)->page))
            continue; /* it has changed, or gone */
        place = entry_of(memory, *number)->place;
        policy_remove(&state->policy, *number, place);
        if (!policy_is_freed(place))
            policy_evicted(&state->policy, *number, place);
        return true;
    }
    if (!policy_next(&state->policy, number, &place))
        return false;
    if (!policy_is_freed(place))
        policy_evicted(&state->policy, *number, place);
    return true;
}

/* As in src/pager/reclaim.c: where most that go are clean, what is staged would grow old there. */
static void note_eviction(struct state *state, bool is_staged)
{
    if (state->most_staged > 0)
        state->worth_staging -= state->worth_staging / (double)state->most_staged;
    state->worth_staging += is_staged;
}

static bool is_staging_full(const struct state *state)
{
    return state->n_staged > state->most_staged ||
           (double)state->n_staged > state->worth_staging + 1;
}

/* What is stored takes room from what is resident. */
static void set_frames(struct quire_sim_memory *memory)
{
    const struct state *state = memory->state;
    const uint64_t least = state->n_frames / STORE_SHARE + 1,
                   taken = state->n_stored * memory->argument / 100;
    memory->n_frames = taken + least < state->n_frames ? state->n_frames - taken : least;
    if (memory->n_frames > state->n_frames)
        memory->n_frames = state->n_frames;
}

static void set_stored(struct quire_sim_memory *memory, uint32_t page, bool is_stored)
{
    struct state *state = memory->state;
    if (!(memory->flags[page] & STORED) == !is_stored)
        return;
    memory->flags[page] ^= STORED;
    state->n_stored += is_stored ? 1 : -(uint64_t)1;
    set_frames(memory);
}

/* Nothing is known of it any more. */
static void lose(struct quire_sim_memory *memory, uint32_t page)
{
    set_stored(memory, page, false);
    memory->flags[page] &= (uint8_t) ~(SEEN | PROTECTED | QUIRE_SIM_DIRTY);
    *entry_of(memory, *number_of(memory, page)) = (struct entry){0};
}

/* A dead page, out of the policy's queue, is dropped. */
static void bury(struct quire_sim_memory *memory, uint32_t page)
{
    revive(memory, page);
    lose(memory, page);
}

/* All dead pages go. Returns the last of them, which the caller evicts; 0: there are none. */
static uint32_t purge(struct quire_sim_memory *memory)
{
    struct state *state = memory->state;
    while (!list_is_empty(memory->pages, DEAD)) {
        const uint32_t page = list_oldest(memory->pages, DEAD) / 2,
                       number = *number_of(memory, page);
        policy_remove(&state->policy, number, entry_of(memory, number)->place);
        bury(memory, page);
        if (list_is_empty(memory->pages, DEAD))
            return page;
        quire_sim_evict(memory, page);
    }
    return 0;
}

/* The next victim: into staging, or, if it is clean, returned. 0: there is no other. */
static uint32_t evict_one(struct quire_sim_memory *memory)
{
    struct state *state = memory->state;
    uint32_t number;
    if (!next_victim(memory, &number))
        return 0;
    const uint32_t page = entry_of(memory, number)->page;
    if (is_dead(memory, page)) {
        bury(memory, page);
        note_eviction(state, false);
        return page;
    }
    const bool is_staged = !(memory->flags[page] & PROTECTED) && state->most_staged > 0;
    memory->flags[page] &= (uint8_t)~PROTECTED;
    note_eviction(state, is_staged);
    if (!is_staged)
        return page;
    list_push(memory->pages, STAGING, 2 * page);
    memory->flags[page] |= STAGED;
    state->n_staged++;
    return 0;
}

/* From now on tables are needed, and something is kept free. */
static void arm(struct quire_sim_memory *memory)
{
    struct state *state = memory->state;
    state->is_armed = true;
    set_frames(memory);
}

static uint32_t find_victim(struct quire_sim_memory *memory)
{
    struct state *state = memory->state;
    uint32_t page = state->is_armed ? 0 : purge(memory);
    if (page == 0 && !state->is_armed)
        arm(memory);
    while (page == 0) {
        if (state->n_staged > 0 && (is_staging_full(state) || state->policy.n_held == 0)) {
            page = list_oldest(memory->pages, STAGING) / 2;
            leave_staging(memory, page);
        } else {
            page = evict_one(memory);
        }
    }
    set_stored(memory, page, memory->flags[page] & SEEN);
    return page;
}

/* Room is made for several at once, so that what goes together lies together. */
static uint32_t victim(struct quire_sim_memory *memory, uint32_t incoming)
{
    const struct state *state = memory->state;
    uint32_t page = find_victim(memory);
    for (uint64_t i = 1; i < state->batch && state->is_armed; i++) {
        quire_sim_evict(memory, page);
        page = find_victim(memory);
    }
    return page;
}

static void insert(struct quire_sim_memory *memory, uint32_t page, enum policy_arrival arrival)
{
    struct state *state = memory->state;
    policy_insert(&state->policy, *number_of(memory, page), arrival);
}

/* Who comes along is protected as who was missed. */
static void protect(struct quire_sim_memory *memory, uint32_t page)
{
    struct state *state = memory->state;
    if (!(memory->flags[page] & QUIRE_SIM_AHEAD))
        state->to_read = !(memory->flags[page] & QUIRE_SIM_DIRTY);
    if (state->to_read && protection_wanted(&state->protection, 1))
        memory->flags[page] |= PROTECTED;
}

/* A fault on what had been freed, and dropped. Who is not armed does not see it. */
static void note_renewed(struct quire_sim_memory *memory)
{
    const struct state *state = memory->state;
    memory->counts.cold_faults += state->is_armed;
    memory->counts.faults -= !state->is_armed;
}

static void admit(struct quire_sim_memory *memory, uint32_t page)
{
    enum policy_arrival arrival = POLICY_FIRST;
    if (memory->flags[page] & SEEN)
        arrival = memory->flags[page] & QUIRE_SIM_AHEAD ? POLICY_BESIDE : POLICY_FETCHED;
    else if (*number_of(memory, page) != 0 && !(memory->flags[page] & QUIRE_SIM_AHEAD))
        note_renewed(memory);
    if (!(memory->flags[page] & SEEN) && give_number(memory, page) == 0)
        return; /* no memory; the next table that has to grow says so */
    if (memory->flags[page] & SEEN)
        protect(memory, page);
    set_stored(memory, page, false);
    memory->flags[page] |= SEEN;
    insert(memory, page, arrival);
    while (memory->n_resident > memory->n_frames && memory->n_resident > 1)
        quire_sim_evict(memory, find_victim(memory));
}

static void hit(struct quire_sim_memory *memory, uint32_t page)
{
    struct state *state = memory->state;
    if (is_dead(memory, page)) { /* handed out again */
        const uint32_t number = *number_of(memory, page);
        revive(memory, page);
        policy_reuse(&state->policy, number, entry_of(memory, number)->place);
        memory->flags[page] |= SEEN;
    }
    if (memory->flags[page] & STAGED) {
        memory->counts.soft_faults++;
        leave_staging(memory, page);
        insert(memory, page, POLICY_TAKEN_BACK);
    } else if (memory->flags[page] & PROTECTED && memory->flags[page] & QUIRE_SIM_DIRTY) {
        const uint32_t number = *number_of(memory, page);
        memory->flags[page] &= (uint8_t)~PROTECTED;
        set_stored(memory, page, false);
        protection_failed(&state->protection);
        policy_touch(&state->policy, number, entry_of(memory, number)->place);
    }
}

static void streamed(struct quire_sim_memory *memory, const uint32_t *pages, size_t n)
{
    struct state *state = memory->state;
    if (n < 2 || !(memory->flags[pages[0]] & PROTECTED) ||
        !drop_behind_wanted(&state->behind, memory->n_resident - state->n_staged))
        return;
    for (size_t i = 0; i < n; i++)
        if (memory->flags[pages[i]] & PROTECTED &&
            drop_behind_push(&state->behind, *number_of(memory, pages[i])))
            set_stored(memory, pages[i], true);
}

static void forget(struct quire_sim_memory *memory, uint32_t page)
{
    struct state *state = memory->state;
    const uint32_t number = *number_of(memory, page);
    if (is_dead(memory, page))
        revive(memory, page);
    if (memory->flags[page] & STAGED)
        leave_staging(memory, page);
    else
        policy_remove(&state->policy, number, entry_of(memory, number)->place);
    lose(memory, page);
}

static void forget_absent(struct quire_sim_memory *memory, uint32_t page)
{
    if (memory->flags[page] & SEEN)
        lose(memory, page);
}

/* What is not in the program has no contents any more, wherever it is. */
static void freed(struct quire_sim_memory *memory, uint32_t page)
{
    if (!(memory->flags[page] & SEEN))
        return;
    if (memory->flags[page] & STAGED) {
        leave_staging(memory, page);
        lose(memory, page);
        quire_sim_evict(memory, page);
    } else if (memory->flags[page] & QUIRE_SIM_RESIDENT) {
        memory->flags[page] &= (uint8_t) ~(SEEN | QUIRE_SIM_DIRTY);
        list_push(memory->pages, DEAD, 2 * page);
        ((struct state *)memory->state)->n_noted++;
    } else {
        lose(memory, page);
    }
}

static bool is_new(const struct quire_sim_memory *memory, uint32_t page)
{
    return !(memory->flags[page] & SEEN);
}

static bool is_armed(const struct quire_sim_memory *memory)
{
    return ((const struct state *)memory->state)->is_armed;
}

SIM_REPLAY(0, hit, victim, admit)

#define PAGER(policy, text)                                                                        \
    {                                                                                              \
        .name = "pager:" policy, .about = text, .page_bytes = 2 * sizeof(struct link),             \
        .state_bytes = sizeof(struct state), .open = open_pager, .close = close_pager, .hit = hit, \
        .victim = victim, .admit = admit, .streamed = streamed, .forget = forget,                  \
        .forget_absent = forget_absent, .freed = freed, .is_new = is_new, .is_armed = is_armed,    \
        .replay = replay, .has_argument = true                                                     \
    }

const struct quire_sim_policy sim_pager[] = {
    PAGER("adaptive", "quire run's default (pager:NAME:PERCENT, the RAM that a stored page takes)"),
    PAGER("fifo", "quire run --policy fifo: segmented FIFO"),
    PAGER("clock", "quire run --policy clock"),
    PAGER("gclock", "quire run --policy gclock"),
    PAGER("2q", "quire run --policy 2q"),
    PAGER("s3-fifo", "quire run --policy s3-fifo"),
    PAGER("sieve", "quire run --policy sieve"),
    PAGER("working-set", "quire run --policy working-set"),
    {0}};
