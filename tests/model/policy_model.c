/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The replacement policies against naive ones: lists that are searched and shifted, and times that
 * are never cut to a few bits but by a remainder. Each victim has to be the same one.
 *
 * References are random, skewed, loops, and hot pages with scans; pages are seen in use, forgotten,
 * freed and used again, can't be evicted, and the number that may be held changes. QUIRE_TEST_SEED
 * replays a run.
 */
#include "store_pages.h"

#include "base/meta.h"
#include "policy/policy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define N_PAGES 4096u
#define MOST_HELD 1500u
#define DUEL_LEAST 1200u /* for ADAPTIVE: with less it does not duel; its samples are larger */
#define DUEL_PAIRS 4u
#define N_STEPS 30000u
#define MOST_PASSED 16
#define YOUNGEST 32u

static uint64_t seed, random_state;
static const char *at_policy;
static unsigned at_step;

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s, step %u: %s: not so; QUIRE_TEST_SEED=%llu\n", at_policy, at_step, \
                    #condition, (unsigned long long)seed);                                         \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static uint32_t draw(uint32_t below)
{
    return (uint32_t)(next_random(&random_state) >> 32) % below;
}

/* What both sides are told of */

enum state { NEVER, RESIDENT, ABSENT, DEAD };

static struct page {
    enum state state;
    policy_place place; /* what the real policy has its owner keep */
    policy_mark mark;
    /* what the naive ones keep */
    uint32_t queue;
    bool seen, member, known;
    unsigned level, credits, uses;
    uint64_t when, died;
} pages[N_PAGES];

static policy_mark get_mark(void *context, uint32_t page)
{
    return pages[page].mark;
}

static void set_mark(void *context, uint32_t page, policy_mark mark)
{
    REQUIRE(mark < 1u << POLICY_MARK_BITS);
    pages[page].mark = mark;
}

static void set_place(void *context, uint32_t page, policy_place place)
{
    REQUIRE(place < (policy_place)1 << POLICY_PLACE_BITS);
    pages[page].place = place;
}

static const struct policy_owner owner = {get_mark, set_mark, set_place, NULL};

/* The naive side */

struct list {
    uint32_t page[MOST_HELD + 1];
    uint32_t n;
};

static struct naive {
    struct list list[5], dead;
    uint64_t step, n_since;              /* of time */
    uint64_t death_step, n_since_deaths; /* of victims */
    uint32_t hand;                       /* SIEVE: the index of the next to be looked at */
    int lead;
    bool dueling, bimodal, lucky;
    uint32_t random, block;
} naive;
static unsigned n_duels_won; /* by the bimodal entrance */
static unsigned n_buried, n_reused;

static uint32_t n_held(void)
{
    uint32_t n = 0;
    for (unsigned i = 0; i < 5; i++)
        n += naive.list[i].n;
    return n;
}

static void append(uint32_t queue, uint32_t page)
{
    struct list *list = &naive.list[queue];
    pages[page].queue = queue;
    list->page[list->n++] = page;
}

static uint32_t take_at(struct list *list, uint32_t at)
{
    uint32_t page = list->page[at];
    memmove(&list->page[at], &list->page[at + 1], (--list->n - at) * sizeof list->page[0]);
    if (list == &naive.list[0] && at < naive.hand)
        naive.hand--;
    return page;
}

static uint32_t index_of(uint32_t page)
{
    const struct list *list = &naive.list[pages[page].queue];
    uint32_t at = 0;
    while (at < list->n && list->page[at] != page)
        at++;
    return at;
}

static void tick(uint64_t every)
{
    if (++naive.n_since >= every) {
        naive.n_since = 0;
        naive.step++;
    }
}

static bool is_recent(uint32_t page, uint64_t most_steps, uint64_t n_steps)
{
    return pages[page].known && (naive.step - pages[page].when) % n_steps <= most_steps;
}

static void remember(uint32_t page, uint64_t parts)
{
    tick(n_held() / parts);
    pages[page].when = naive.step;
    pages[page].known = true;
}

/* One of two lists, the first unless it has little and the other one more. */
static uint32_t either(uint32_t first, uint32_t second)
{
    uint32_t n_first = naive.list[first].n, n_second = naive.list[second].n;
    return n_first <= YOUNGEST && n_second > n_first ? second : first;
}

static void fifo_in(uint32_t page, enum policy_arrival how)
{
    append(0, page);
}

static uint32_t fifo_out(void)
{
    return take_at(&naive.list[0], 0);
}

static void nothing(uint32_t page)
{
}

static void clock_in(uint32_t page, enum policy_arrival how)
{
    pages[page].seen = how == POLICY_TAKEN_BACK;
    append(0, page);
}

static void see(uint32_t page)
{
    pages[page].seen = true;
}

static uint32_t clock_out(void)
{
    for (int n_passed = 0;; n_passed++) {
        uint32_t page = take_at(&naive.list[0], 0);
        if (!pages[page].seen || n_passed == MOST_PASSED)
            return page;
        pages[page].seen = false;
        append(0, page);
    }
}

static void level_page(uint32_t page, enum policy_arrival how)
{
    static const unsigned risen[] = {1, 3, 5, 7, 7, 7, 7, 7};
    struct page *p = &pages[page];
    uint64_t away = p->known ? (naive.step - p->when) % 8 : naive.step % 8;
    if (how == POLICY_FIRST)
        p->level = 0;
    else if (how == POLICY_TAKEN_BACK || (how == POLICY_FETCHED && away <= 1))
        p->level = risen[p->level];
    else if (how != POLICY_AGAIN && away > 2)
        p->level /= 2;
    p->credits = how == POLICY_AGAIN ? 0 : p->level;
}

static void gclock_in(uint32_t page, enum policy_arrival how)
{
    level_page(page, how);
    append(0, page);
}

static void credit(uint32_t page)
{
    pages[page].credits = pages[page].level > 0 ? pages[page].level : 1;
}

static uint32_t gclock_out_of(uint32_t queue)
{
    for (int n_passed = 0;; n_passed++) {
        uint32_t page = take_at(&naive.list[queue], 0);
        if (pages[page].credits == 0 || n_passed == MOST_PASSED)
            return page;
        pages[page].credits--;
        append(queue, page);
    }
}

static uint32_t gclock_out(void)
{
    return gclock_out_of(0);
}

static void remember_halves(uint32_t page)
{
    remember(page, 2);
}

static void remember_quarters(uint32_t page)
{
    remember(page, 4);
}

static void twoq_in(uint32_t page, enum policy_arrival how)
{
    bool proved = how == POLICY_TAKEN_BACK || how == POLICY_AGAIN ||
                  (how == POLICY_FETCHED && is_recent(page, 2, 31));
    append(proved ? 1 : 0, page);
}

static uint32_t twoq_out(void)
{
    bool in_is_long = naive.list[0].n > n_held() / 4.0;
    return take_at(&naive.list[in_is_long ? either(0, 1) : either(1, 0)], 0);
}

static void s3_in(uint32_t page, enum policy_arrival how)
{
    bool to_main = how == POLICY_TAKEN_BACK || how == POLICY_AGAIN ||
                   (how == POLICY_FETCHED && is_recent(page, 4, 31));
    pages[page].uses = how == POLICY_TAKEN_BACK;
    append(to_main, page);
}

static void use(uint32_t page)
{
    if (pages[page].uses < 3)
        pages[page].uses++;
}

static uint32_t s3_out(void)
{
    for (int n_passed = 0;; n_passed++) {
        bool small_is_long = naive.list[0].n > n_held() / 10.0;
        uint32_t queue = small_is_long ? either(0, 1) : either(1, 0);
        uint32_t page = take_at(&naive.list[queue], 0);
        if (pages[page].uses == 0 || n_passed == MOST_PASSED)
            return page;
        pages[page].uses = queue == 1 ? pages[page].uses - 1 : 0;
        append(1, page);
    }
}

static void sieve_in(uint32_t page, enum policy_arrival how)
{
    pages[page].seen = how == POLICY_TAKEN_BACK || how == POLICY_AGAIN ||
                       (how == POLICY_FETCHED && is_recent(page, 4, 31));
    append(0, page);
}

static uint32_t sieve_out(void)
{
    struct list *list = &naive.list[0];
    if (list->n <= 2 * YOUNGEST)
        return take_at(list, 0);
    for (int n_passed = 0;; naive.hand++) {
        if (list->n <= naive.hand + YOUNGEST)
            naive.hand = 0;
        uint32_t page = list->page[naive.hand];
        if (!pages[page].seen || n_passed++ == MOST_PASSED)
            return take_at(list, naive.hand);
        pages[page].seen = false;
    }
}

static void ws_in(uint32_t page, enum policy_arrival how)
{
    struct page *p = &pages[page];
    p->member = how == POLICY_TAKEN_BACK || (how == POLICY_FETCHED && is_recent(page, 4, 31));
    if (how != POLICY_AGAIN)
        tick(n_held() / 2);
    p->when = naive.step;
    append(0, page);
}

static void ws_touch(uint32_t page)
{
    pages[page].member = true;
    pages[page].when = naive.step;
}

static uint32_t ws_out(void)
{
    for (int n_passed = 0;; n_passed++) {
        uint32_t page = take_at(&naive.list[0], 0);
        if (!pages[page].member || (naive.step - pages[page].when) % 31 > 4 ||
            n_passed == MOST_PASSED)
            return page;
        append(0, page);
    }
}

static void ws_left(uint32_t page)
{
    pages[page].when = naive.step;
    pages[page].known = true;
}

/* ADAPTIVE: 0 and 1 the queue and the entrance of most pages; 2 one sample, 3 and 4 the other. */

enum side { MOST, BY_GCLOCK, BIMODAL };

static uint32_t scatter(uint32_t x)
{
    return (uint32_t)((uint64_t)x * 2654435761u % ((uint64_t)1 << 32) / 256);
}

static enum side side_of(uint32_t page)
{
    uint32_t h = scatter(page / 32 + 1);
    if (h % DUEL_PAIRS != 0)
        return MOST;
    return (h / DUEL_PAIRS + page / 16) % 2 ? BIMODAL : BY_GCLOCK;
}

static bool draw_luck(uint32_t page)
{
    if (naive.block != page / 16 + 1) {
        naive.block = page / 16 + 1;
        naive.random = naive.random * 1664525u + 1013904223u;
        naive.lucky = naive.random / 256 % 32 == 0;
    }
    return naive.lucky;
}

static uint32_t stay_at(uint32_t entrance)
{
    uint32_t n = entrance == 4 ? 32 : n_held() / 64;
    return n < 32 ? 32 : n > 128 ? 128 : n;
}

static bool is_dueling(void)
{
    naive.dueling = n_held() >= DUEL_LEAST * (naive.dueling ? 3 : 4) / 4;
    return naive.dueling;
}

static void adaptive_in(uint32_t page, enum policy_arrival how)
{
    bool duels = is_dueling();
    enum side side = duels && how != POLICY_AGAIN ? side_of(page) : MOST;
    bool missed = how != POLICY_FIRST && side != MOST;
    if (missed && side == BY_GCLOCK)
        naive.lead = naive.lead + 4 > 384 ? 384 : naive.lead + 4;
    if (missed && side == BIMODAL)
        naive.lead = naive.lead - 6 < -384 ? -384 : naive.lead - 6;
    bool was_bimodal = naive.bimodal;
    if (missed && (naive.lead <= 0 || naive.lead >= 192))
        naive.bimodal = naive.lead > 0;
    n_duels_won += naive.bimodal && !was_bimodal;
    bool by_entrance = duels && how != POLICY_AGAIN &&
                       (side == BIMODAL || (side == MOST && naive.bimodal)) && !draw_luck(page);
    level_page(page, how);
    uint32_t queue = side == MOST ? 0 : side == BY_GCLOCK ? 2 : 3;
    append(by_entrance ? queue + 1 : queue, page);
    if (by_entrance && naive.list[queue + 1].n > 2 * stay_at(queue + 1) + 32)
        append(queue, take_at(&naive.list[queue + 1], 0));
}

static uint32_t out_of_either(uint32_t queue)
{
    uint32_t n = naive.list[queue + 1].n;
    return n > stay_at(queue + 1) || n > naive.list[queue].n ? take_at(&naive.list[queue + 1], 0)
                                                             : gclock_out_of(queue);
}

static uint32_t adaptive_out(void)
{
    uint32_t part = is_dueling() ? n_held() / (2 * DUEL_PAIRS) : 0;
    if (naive.list[2].n > part)
        return gclock_out_of(2);
    return out_of_either(naive.list[3].n + naive.list[4].n > part ? 3 : 0);
}

static const struct {
    enum policy_kind kind;
    const char *name;
    void (*in)(uint32_t page, enum policy_arrival how);
    void (*touch)(uint32_t page);
    uint32_t (*out)(void);
    void (*left)(uint32_t page);
} models[] = {
    {POLICY_ADAPTIVE, "adaptive", adaptive_in, credit, adaptive_out, remember_halves},
    {POLICY_FIFO, "fifo", fifo_in, nothing, fifo_out, nothing},
    {POLICY_CLOCK, "clock", clock_in, see, clock_out, nothing},
    {POLICY_GCLOCK, "gclock", gclock_in, credit, gclock_out, remember_halves},
    {POLICY_2Q, "2q", twoq_in, nothing, twoq_out, remember_quarters},
    {POLICY_S3_FIFO, "s3-fifo", s3_in, use, s3_out, remember_quarters},
    {POLICY_SIEVE, "sieve", sieve_in, see, sieve_out, remember_quarters},
    {POLICY_WORKING_SET, "working-set", ws_in, ws_touch, ws_out, ws_left},
};
#define N_MODELS (sizeof models / sizeof models[0])

static unsigned m; /* the model at hand */
static struct policy policy;

/* What happens to both */

static void insert(uint32_t page, enum policy_arrival how)
{
    pages[page].state = RESIDENT;
    models[m].in(page, how);
    policy_insert(&policy, page, how);
    REQUIRE(policy_has(&policy, page, pages[page].place));
}

static void forget(uint32_t page)
{
    pages[page] = (struct page){0};
}

/* Half as many as are in use, or for so long: a sixteenth of a round, and what is begun of one. */
static bool are_dead_due(void)
{
    if (++naive.n_since_deaths >= n_held() / 16) {
        naive.n_since_deaths = 0;
        naive.death_step++;
    }
    return naive.dead.n > n_held() / 2 ||
           (naive.dead.n > 0 && (naive.death_step - pages[naive.dead.page[0]].died) % 32 > 1);
}

static void die(uint32_t page)
{
    policy_free(&policy, page, pages[page].place);
    REQUIRE(policy_has(&policy, page, pages[page].place));
    REQUIRE(policy_is_freed(pages[page].place));
    pages[page].state = DEAD;
    pages[page].died = naive.death_step;
    naive.dead.page[naive.dead.n++] = page;
}

static void bury_one(void)
{
    uint32_t page, expected = take_at(&naive.dead, 0);
    policy_place place;
    REQUIRE(policy_next(&policy, &page, &place));
    REQUIRE(page == expected && place == pages[page].place && policy_is_freed(place));
    if (draw(40) == 0)
        die(page); /* it can't go */
    else
        forget(page);
    n_buried++;
}

static void evict_one(void)
{
    if (are_dead_due() || n_held() == 0) {
        bury_one();
        return;
    }
    uint32_t page, expected = models[m].out();
    policy_place place;
    REQUIRE(policy_next(&policy, &page, &place));
    REQUIRE(page == expected && place == pages[page].place);
    REQUIRE(!policy_has(&policy, page, place));
    uint32_t fate = draw(40);
    if (fate == 0) {
        insert(page, POLICY_AGAIN);
    } else if (fate == 1) {
        policy_remove(&policy, page, place); /* which does nothing */
        forget(page);
    } else {
        pages[page].state = ABSENT;
        models[m].left(page);
        policy_evicted(&policy, page, place);
    }
}

enum { UNIFORM, SKEWED, LOOP, SCANS, N_PATTERNS };
static unsigned pattern; /* of references: see draw_page() */

static enum policy_arrival draw_arrival(uint32_t page)
{
    if (pages[page].state == NEVER)
        return POLICY_FIRST;
    uint32_t at = draw(pattern == LOOP ? 6 : 10);
    return at < 6 ? POLICY_FETCHED : at < 8 ? POLICY_TAKEN_BACK : POLICY_BESIDE;
}

/* The dead are searched: a heap hands out what it likes. */
static void forget_dead(uint32_t page)
{
    uint32_t at = 0;
    while (naive.dead.page[at] != page)
        at++;
    take_at(&naive.dead, at);
    policy_remove(&policy, page, pages[page].place);
    REQUIRE(!policy_has(&policy, page, pages[page].place));
    forget(page);
}

static void refer(uint32_t page, uint32_t most)
{
    if (pages[page].state == RESIDENT)
        return;
    if (pages[page].state == DEAD)
        forget_dead(page);
    while (n_held() + naive.dead.n >= most)
        evict_one();
    insert(page, draw_arrival(page));
}

/* A page that came in a while ago is seen in use; the same right after it came in tells nothing. */
static void see_use(uint32_t page)
{
    if (pages[page].state != RESIDENT)
        return;
    const struct list *list = &naive.list[pages[page].queue];
    if (index_of(page) + 1 + n_held() / 16 < list->n) {
        models[m].touch(page);
        policy_touch(&policy, page, pages[page].place);
    } else if (n_held() >= 16 && list->page[list->n - 1] == page) {
        policy_touch(&policy, page, pages[page].place);
    }
}

static void lose_one(void)
{
    uint32_t page = draw(N_PAGES);
    if (pages[page].state == DEAD) {
        forget_dead(page);
        return;
    }
    if (pages[page].state == RESIDENT) {
        struct list *list = &naive.list[pages[page].queue];
        if (index_of(page) + 2 * YOUNGEST >= list->n)
            return; /* SIEVE counts the youngest by places: these stay full */
        take_at(list, index_of(page));
        policy_remove(&policy, page, pages[page].place);
    }
    forget(page);
}

/* Far enough from the young end: SIEVE counts the youngest by places, these stay full. */
static bool is_old(uint32_t page)
{
    const struct list *list = &naive.list[pages[page].queue];
    return pages[page].state == RESIDENT && index_of(page) + 2 * YOUNGEST < list->n;
}

/* A few, or a phase's: neighbours. */
static void free_some(void)
{
    uint32_t page = draw(N_PAGES), n = draw(30) == 0 ? N_PAGES / 2 : 1 + draw(20);
    for (; n > 0 && page < N_PAGES; n--, page++) {
        if (!is_old(page))
            continue;
        take_at(&naive.list[pages[page].queue], index_of(page));
        die(page);
    }
}

/* What is dead, or was freed and handed out again at once and is where it was: then, if it is old.
 */
static void reuse_some(void)
{
    for (uint32_t page = draw(N_PAGES), n = 1 + draw(20); n > 0 && page < N_PAGES; n--, page++) {
        if (pages[page].state == DEAD) {
            const policy_place place = pages[page].place;
            uint32_t at = 0;
            while (naive.dead.page[at] != page)
                at++;
            take_at(&naive.dead, at);
            policy_reuse(&policy, page, place);
        } else if (is_old(page) &&
                   index_of(page) + 1 + n_held() / 16 < naive.list[pages[page].queue].n) {
            take_at(&naive.list[pages[page].queue], index_of(page));
            policy_reuse(&policy, page, pages[page].place);
        } else {
            continue;
        }
        pages[page].state = RESIDENT;
        models[m].in(page, POLICY_FIRST);
        REQUIRE(policy_has(&policy, page, pages[page].place));
        REQUIRE(!policy_is_freed(pages[page].place));
        n_reused++;
    }
}

static uint32_t draw_page(unsigned step)
{
    switch (pattern) {
    case UNIFORM:
        return draw(N_PAGES);
    case SKEWED: /* small numbers far more often */
        return draw(1 + draw(1 + draw(N_PAGES)));
    case LOOP:
        return step % (MOST_HELD + MOST_HELD / 2);
    default:
        return step % 3 == 0 ? step / 3 % N_PAGES : draw(MOST_HELD / 3);
    }
}

static void run_pattern(void)
{
    const unsigned n_steps = models[m].kind == POLICY_ADAPTIVE ? 4 * N_STEPS : N_STEPS;
    uint32_t most = MOST_HELD;
    for (unsigned i = 0; i < n_steps; i++, at_step++) {
        if (i > n_steps / 2 && i % (n_steps / 12) == 0) /* little, some, and as much as there is */
            most = draw(3) == 0 ? 1 + draw(200) : draw(2) == 0 ? 1 + draw(MOST_HELD) : MOST_HELD;
        refer(draw_page(i), most);
        if (pattern != LOOP && draw(20) == 0)
            see_use(draw(N_PAGES));
        if (pattern != LOOP && i % 4000 == 3999) /* more in a row than are passed over at a time */
            for (uint32_t page = 0; page < N_PAGES; page++)
                see_use(page);
        if (draw(50) == 0)
            lose_one();
        if (pattern != LOOP && draw(100) == 0) /* in a loop the bimodal entrance is to win */
            free_some();
        if (pattern != LOOP && draw(60) == 0)
            reuse_some();
        if (i % 5000 == 0)
            REQUIRE(policy_validate(&policy) == 0 && policy.n_held == n_held() &&
                    policy_n_freed(&policy) == naive.dead.n);
    }
}

static void run_model(void)
{
    size_t before = meta_bytes(), charged = 0;
    at_policy = models[m].name;
    REQUIRE(policy_find(models[m].name) == (int)models[m].kind);
    for (pattern = 0; pattern < N_PATTERNS; pattern++) {
        memset(pages, 0, sizeof pages);
        memset(&naive, 0, sizeof naive);
        REQUIRE(policy_open(&policy, models[m].kind, MOST_HELD, &owner) == 0);
        policy.duel.least = DUEL_LEAST;
        policy.duel.pairs = DUEL_PAIRS;
        run_pattern();
        charged = meta_bytes() - before;
        while (n_held() + naive.dead.n > 0)
            evict_one();
        uint32_t page;
        policy_place place;
        REQUIRE(!policy_next(&policy, &page, &place));
        policy_close(&policy);
        REQUIRE(meta_bytes() == before);
    }
    /* At most as many holes as pages, and some; a queue's first and last page are not full. */
    REQUIRE(charged <= MOST_HELD * 8 + 6 * 3 * SYS_PAGE_SIZE);
}

int main(void)
{
    seed = test_seed();
    printf("QUIRE_TEST_SEED=%llu\n", (unsigned long long)seed);
    random_state = seed * 2 + 1;
    for (m = 0; m < N_MODELS; m++)
        run_model();
    at_policy = "none";
    REQUIRE(n_duels_won > 0 && n_buried > 1000 && n_reused > 1000);
    REQUIRE(policy_find("lru") == -1 && policy_find("") == -1);
    REQUIRE(policy_open(&policy, POLICY_N_KINDS, 1, &owner) == -EINVAL);
    return 0;
}
