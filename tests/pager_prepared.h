/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pager_prepared: how model/pager_stepping.c brings two pages into the state that an execution
 * starts from, always in the same way.
 */
#ifndef QUIRE_TESTS_PAGER_PREPARED_H
#define QUIRE_TESTS_PAGER_PREPARED_H

#include "pager_stepped.h"

#define N_FILLERS 40u /* more than the pager keeps resident in any case: the youngest */

static char *fillers;

static enum page_state expected_state(enum state state)
{
    switch (state) {
    case EMPTY:
        return PAGE_EMPTY;
    case STAGED:
        return PAGE_STAGED;
    case RAM:
    case IN_FILE:
        return PAGE_STORED;
    default:
        return PAGE_RESIDENT;
    }
}

static bool is_prepared(uint32_t page)
{
    const enum state state = now.scenario.state;
    const page_entry entry = table_get(&pager.table, page);
    const page_entry marks = entry & (PAGE_CLEAN | PAGE_KEPT | PAGE_SHARED | PAGE_DEAD | PAGE_BUSY);
    static const page_entry expected[N_STATES] = {[CLEAN] = PAGE_CLEAN,
                                                  [KEPT] = PAGE_CLEAN | PAGE_KEPT,
                                                  [SHARED] = PAGE_SHARED,
                                                  [HELD] = PAGE_SHARED,
                                                  [DEAD] = PAGE_DEAD};
    if (page_state(entry) != expected_state(state) || marks != expected[state])
        return false;
    return page_state(entry) != PAGE_STORED ||
           store_tier(page_payload(entry)) == (state == RAM ? STORE_RAM : STORE_FILE);
}

static void fill(uint32_t at)
{
    static uint64_t n_filled;
    uint64_t *words = (uint64_t *)(void *)address_at(at);
    const uint64_t base = ++n_filled << 8;
    bring(address_at(at), true);
    for (unsigned i = 0; i < PAGE_WORDS; i++)
        words[i] = i < WRITE_WORDS ? 0 : base + i % 8;
    now.base_word[at] = base;
}

/* A process that has the frames of the pages, and nothing else of the arena. */
static pid_t fork_holder(void)
{
    const size_t n_bytes = (now.scenario.is_heap ? N_PAGES : N_MAPPED) * SYS_PAGE_SIZE;
    madvise(now.base, n_bytes, MADV_DOFORK);
    const pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        while (now.scenario.state == HELD)
            pause();
        _exit(0);
    }
    madvise(now.base, n_bytes, MADV_DONTFORK);
    require(pid > 0, "no process could be forked");
    return pid;
}

static void end_holder(void)
{
    if (now.holder == 0)
        return;
    kill(now.holder, SIGKILL);
    waitpid(now.holder, NULL, 0);
    now.holder = 0;
}

/* Since a fork, what is resident is protected. */
static void fork_now(void)
{
    service_fork_prepare();
    if (now.scenario.state == HELD)
        now.holder = fork_holder();
    lock_release(&pager.lock);
    service_fork_parent();
}

/* The sharing ends during the execution, so it has to begin before. */
static bool shares(const struct scenario *scenario)
{
    for (unsigned i = 0; i < scenario->n; i++)
        if (scenario->tasks[i].operation == &operations[END])
            return true;
    return false;
}

static void put_into(enum state state)
{
    lock_take(&pager.pass);
    if (state == STAGED || state == RAM || state == IN_FILE || state == CLEAN || state == KEPT)
        reclaim_range(now.page, N_PAGES);
    if (state == RAM || state == IN_FILE || state == CLEAN || state == KEPT) {
        pack_oldest(POOL_LIMIT);
        pack_release(true);
    }
    if (state == IN_FILE || state == KEPT)
        writeback_cluster();
    lock_release(&pager.pass);
    for (uint32_t at = 0; at < N_PAGES && (state == CLEAN || state == KEPT); at++)
        bring(address_at(at), false);
    if (state == SHARED || state == HELD)
        fork_now();
    if (state == FORKED)
        now.holder = fork_holder();
    if (state == FORKED)
        end_holder();
    for (uint32_t at = 0; at < N_PAGES && state == DEAD; at++) {
        pager_heap_free(address_at(at), 1);
        now.base_word[at] = 0;
        now.is_gone[at] = true;
    }
}

/* The fillers become the youngest. */
static void requeue_fillers(void)
{
    for (uint32_t i = 0; i < N_FILLERS; i++)
        if (page_state(table_get(&pager.table, page_of(fillers) + i)) != PAGE_RESIDENT)
            bring(fillers + (size_t)i * SYS_PAGE_SIZE, false);
    lock_take(&pager.lock);
    for (uint32_t i = 0; i < N_FILLERS; i++)
        evict_requeue(page_of(fillers) + i);
    lock_release(&pager.lock);
}

/*
 * What the pager has learnt would lead an execution another way. A fault of the first page brings
 * in both, whatever came before.
 */
static void forget_history(void)
{
    struct readahead fresh = {.clock = READAHEAD_STREAMS};
    for (unsigned i = 0; i < READAHEAD_STREAMS; i++) {
        fresh.stream[i].next = now.page + (i % 2 ? N_PAGES : 0); /* and where pages move to */
        fresh.stream[i].window = 1;
        fresh.stream[i].hits = READAHEAD_PATIENCE;
        fresh.stream[i].used = i + 1;
    }
    pager.touch = fresh;
    pager.prefetch = (struct prefetch){.kind = pager.prefetch.kind, .streams = fresh};
    pager.protection = (struct protection){0};
    pager.behind.n_windows = 0;
    pager.n_to_pass_over = pager.n_raw_to_pass_over = 0;
}

/* A fault that was served after the page was unmapped has left a page of zeros there. */
static char *map_fresh(void)
{
    const size_t n_bytes = N_MAPPED * SYS_PAGE_SIZE;
    char *base = pager_map(n_bytes, PROT_READ | PROT_WRITE);
    for (uint32_t at = 0; base && at < N_MAPPED; at++) {
        const char *address = base + (size_t)at * SYS_PAGE_SIZE;
        if (table_get(&pager.table, page_of(address)) == 0)
            continue;
        bring(address, false);
        require(is_filled((const uint64_t *)(const void *)address, 0), "a mapping is not zeros");
        require(pager_advise(base, n_bytes, MADV_DONTNEED) == 0, "DONTNEED failed");
    }
    return base;
}

static void prepare(const struct scenario *scenario)
{
    bool zeroed;
    memset(&now, 0, sizeof now);
    now.scenario = *scenario;
    now.base = scenario->is_heap ? pager_heap_alloc(N_PAGES, 1, &zeroed) : map_fresh();
    require(now.base != NULL, "no memory");
    now.page = page_of(now.base);
    pager.touch = (struct readahead){0};
    if (shares(scenario))
        fork_now();
    for (uint32_t at = 0; at < N_PAGES && scenario->state != EMPTY; at++)
        fill(at);
    put_into(scenario->state);
    requeue_fillers();
    forget_history();
    for (uint32_t at = 0; at < N_PAGES; at++)
        require(is_prepared(now.page + at), "a page is not in the state that it should start in");
}

#endif
