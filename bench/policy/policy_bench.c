/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy_bench: the replacement policies on made-up references, without a pager.
 *
 *   policy_bench [PAGES [REFERENCES]]
 *
 * For each pattern, share of the pages that is held, and policy: faults in 100 references, beside
 * LRU and the best that is possible (Belady's OPT), and nanoseconds of the policy's own code for a
 * fault. A fault is a touch of what was evicted; pages that are read come back from the store,
 * pages that are written to may be taken back from staging, which holds a 64th. The first fifth of
 * the references is not counted.
 */
#include "policy/policy.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint32_t n_pages = 32768;
static size_t n_references = 1000000;
static uint32_t *references;

struct page {
    policy_place place;
    policy_mark mark;
    enum { ABSENT, RESIDENT, STAGED } state;
    bool was_there, is_dirty;
};
static struct page *pages;

static uint64_t mix(uint64_t x) /* splitmix64's finalizer */
{
    x += 0x9e3779b97f4a7c15;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
}

static uint32_t below(uint64_t *state, uint32_t n)
{
    return (uint32_t)((mix((*state)++) >> 32) * n >> 32);
}

/* Zipf's law, s = 0.99, by a table of the sums. */
static uint32_t zipf(uint64_t *state)
{
    static double *sums;
    if (!sums) {
        double sum = 0;
        sums = malloc(n_pages * sizeof *sums);
        for (uint32_t i = 0; i < n_pages; i++)
            sums[i] = sum += pow(1.0 / (i + 1), 0.99);
    }
    double u = (double)(mix((*state)++) >> 11) * 0x1p-53 * sums[n_pages - 1];
    uint32_t from = 0, to = n_pages - 1;
    while (from < to) {
        uint32_t middle = (from + to) / 2;
        if (sums[middle] < u)
            from = middle + 1;
        else
            to = middle;
    }
    return (uint32_t)((uint64_t)from * 2654435761u % n_pages); /* n_pages is a power of two */
}

static uint32_t of_random(size_t i, uint64_t *state)
{
    return below(state, n_pages);
}

static uint32_t of_zipf(size_t i, uint64_t *state)
{
    return zipf(state);
}

static uint32_t of_loop(size_t i, uint64_t *state)
{
    return (uint32_t)(i % n_pages);
}

/* Nine in ten by Zipf's law, among them a scan of all pages, a page at a time. */
static uint32_t of_zipf_and_scan(size_t i, uint64_t *state)
{
    return i % 10 ? zipf(state) : (uint32_t)(i / 10 % n_pages);
}

/* A working set of a quarter of the pages, another one after every 200000 references. */
static uint32_t of_phases(size_t i, uint64_t *state)
{
    uint32_t part = n_pages / 4, at = (uint32_t)(i / 200000 * part);
    return (at + (below(state, 20) ? below(state, part) : below(state, n_pages))) % n_pages;
}

/* Four in five references to a fifth of the pages. */
static uint32_t of_hot_and_cold(size_t i, uint64_t *state)
{
    uint32_t hot = n_pages / 5;
    return below(state, 5) ? below(state, hot) : hot + below(state, n_pages - hot);
}

static const struct pattern {
    const char *name;
    uint32_t (*next)(size_t i, uint64_t *state);
} patterns[] = {{"zipf", of_zipf},     {"zipf and a scan", of_zipf_and_scan},
                {"random", of_random}, {"loop", of_loop},
                {"phases", of_phases}, {"hot and cold", of_hot_and_cold}};
#define N_PATTERNS (sizeof patterns / sizeof patterns[0])

static policy_mark mark(void *context, uint32_t page)
{
    return pages[page].mark;
}

static void set_mark(void *context, uint32_t page, policy_mark to)
{
    pages[page].mark = to;
}

static void set_place(void *context, uint32_t page, policy_place to)
{
    pages[page].place = to;
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

struct result {
    size_t n_faults, n_staged;
    double ns;
};

/* A ring of what is staged, the oldest of which is absent when another comes. */
static struct {
    uint32_t *page, n, head;
} staging;

static void stage(uint32_t page)
{
    uint32_t *slot = &staging.page[staging.head++ % staging.n];
    if (*slot != UINT32_MAX && pages[*slot].state == STAGED)
        pages[*slot].state = ABSENT;
    *slot = page;
    pages[page].state = STAGED;
}

static void evict_one(struct policy *policy)
{
    uint32_t page;
    policy_place place;
    if (!policy_next(policy, &page, &place))
        abort();
    policy_evicted(policy, page, place);
    if (pages[page].is_dirty)
        stage(page);
    else
        pages[page].state = ABSENT;
}

static enum policy_arrival arrival_of(const struct page *page)
{
    if (!page->was_there)
        return POLICY_FIRST;
    return page->state == STAGED ? POLICY_TAKEN_BACK : POLICY_FETCHED;
}

static struct result replay(enum policy_kind kind, uint32_t n_held, bool writes)
{
    const struct policy_owner owner = {mark, set_mark, set_place, NULL};
    struct result result = {0};
    struct policy policy;
    uint64_t began = now_ns();
    memset(pages, 0, n_pages * sizeof *pages);
    memset(staging.page, 0xff, staging.n * sizeof *staging.page);
    if (policy_open(&policy, kind, n_held, &owner) < 0)
        abort();
    for (size_t i = 0; i < n_references; i++) {
        struct page *page = &pages[references[i]];
        if (page->state == RESIDENT)
            continue;
        enum policy_arrival arrival = arrival_of(page);
        if (policy.n_held >= n_held)
            evict_one(&policy);
        *page = (struct page){page->place, page->mark, RESIDENT, true, writes};
        policy_insert(&policy, references[i], arrival);
        result.n_faults += i >= n_references / 5;
        result.n_staged += i >= n_references / 5 && arrival == POLICY_TAKEN_BACK;
    }
    result.ns = (double)(now_ns() - began);
    if (policy_validate(&policy) < 0)
        abort();
    policy_close(&policy);
    return result;
}

static uint32_t *links[2], *next_use;

static void unlink_page(uint32_t page)
{
    links[1][links[0][page]] = links[1][page];
    links[0][links[1][page]] = links[0][page];
}

static double lru(uint32_t n_held)
{
    const uint32_t end = n_pages;
    size_t n_faults = 0, n = 0;
    uint8_t *held = calloc(n_pages, 1);
    links[0][end] = links[1][end] = end;
    for (size_t i = 0; i < n_references; i++) {
        uint32_t page = references[i];
        if (held[page]) {
            unlink_page(page);
        } else {
            n_faults += i >= n_references / 5;
            if (n == n_held) {
                held[links[0][end]] = 0;
                unlink_page(links[0][end]);
                n--;
            }
            held[page] = 1;
            n++;
        }
        links[0][page] = end;
        links[1][page] = links[1][end];
        links[0][links[1][end]] = page;
        links[1][end] = page;
    }
    free(held);
    return (double)n_faults;
}

/* Belady's: a heap would be faster; a tree of maxima over the pages' next uses is shorter. */
static double opt(uint32_t n_held)
{
    uint32_t width = 1, n = 0;
    size_t n_faults = 0;
    while (width < n_pages)
        width *= 2;
    uint32_t *tree = calloc(2 * (size_t)width, sizeof *tree);
    for (uint32_t i = 0; i < n_pages; i++)
        next_use[i] = UINT32_MAX;
    uint32_t *following = malloc(n_references * sizeof *following);
    for (size_t i = n_references; i-- > 0;) {
        following[i] = next_use[references[i]];
        next_use[references[i]] = (uint32_t)i;
    }
    for (size_t i = 0; i < n_references; i++) {
        uint32_t at = width + references[i];
        if (tree[at] == 0) {
            n_faults += i >= n_references / 5;
            if (n == n_held) {
                uint32_t victim = 1;
                while (victim < width)
                    victim = 2 * victim + (tree[2 * victim + 1] > tree[2 * victim]);
                for (tree[victim] = 0; victim /= 2;)
                    tree[victim] = tree[2 * victim] > tree[2 * victim + 1] ? tree[2 * victim]
                                                                           : tree[2 * victim + 1];
            } else {
                n++;
            }
        }
        for (tree[at] = following[i]; at /= 2;)
            tree[at] = tree[2 * at] > tree[2 * at + 1] ? tree[2 * at] : tree[2 * at + 1];
    }
    free(following);
    free(tree);
    return (double)n_faults;
}

static void compare(const struct pattern *pattern, unsigned percent)
{
    const uint32_t n_held = (uint32_t)((uint64_t)n_pages * percent / 100);
    const double n_counted = (double)n_references * 0.8 / 100;
    uint64_t state = 1;
    for (size_t i = 0; i < n_references; i++)
        references[i] = pattern->next(i, &state);
    printf("%-16s %2u %%  OPT %5.2f  LRU %5.2f\n", pattern->name, percent, opt(n_held) / n_counted,
           lru(n_held) / n_counted);
    for (int kind = 0; kind < POLICY_N_KINDS; kind++) {
        struct result reads = replay(kind, n_held, false), writes = replay(kind, n_held, true);
        printf("    %-12s read %5.2f   written %5.2f, of which from staging %5.2f   %4.0f ns\n",
               policy_name(kind), (double)reads.n_faults / n_counted,
               (double)writes.n_faults / n_counted, (double)writes.n_staged / n_counted,
               reads.ns / (double)(reads.n_faults + 1));
    }
}

int main(int argc, char **argv)
{
    static const unsigned percents[] = {75, 50, 25};
    if (argc > 1)
        n_pages = (uint32_t)strtoul(argv[1], NULL, 10);
    if (argc > 2)
        n_references = strtoul(argv[2], NULL, 10);
    if (n_pages < 256 || n_pages & (n_pages - 1) || n_references < 1000) {
        fprintf(stderr, "usage: policy_bench [PAGES, a power of two from 256 on [REFERENCES]]\n");
        return 2;
    }
    references = malloc(n_references * sizeof *references);
    pages = malloc(n_pages * sizeof *pages);
    staging.n = n_pages / 64;
    staging.page = malloc(staging.n * sizeof *staging.page);
    next_use = malloc(n_pages * sizeof *next_use);
    for (int i = 0; i < 2; i++)
        links[i] = malloc((n_pages + 1) * sizeof **links);
    for (size_t i = 0; i < N_PATTERNS; i++)
        for (size_t j = 0; j < sizeof percents / sizeof percents[0]; j++)
            compare(&patterns[i], percents[j]);
    return 0;
}
