/* SPDX-License-Identifier: Apache-2.0 */
/* opt: see future.h. */
#include "sim/future.h"
#include "sim/rules.h"

#include <errno.h>
#include <string.h>

#define NEVER ((uint32_t)FUTURE_MOST)
#define UNMAPPED (NEVER - 1) /* in place of its next use: nor is it written back */
#define AHEAD 16u
#define MOST_LEVELS 6

int future_add(struct future *future, const uint32_t *references, const uint32_t *sizes, size_t n,
               uint32_t end_page)
{
    if (n > UNMAPPED - future->n)
        return -E2BIG;
    int error = array_grow(&future->next, (future->n + n) * sizeof(uint32_t));
    if (!error)
        error = array_grow(&future->last, end_page * sizeof(uint32_t));
    if (!error && sizes != NULL)
        error = array_grow(&future->sizes, (future->n + n) * sizeof(uint32_t));
    if (error)
        return error;
    uint32_t *next = future->next.base, *last = future->last.base;
    for (size_t i = 0; i < n; i++) {
        const uint32_t page = reference_page(references[i]), now = (uint32_t)(future->n + i);
        if (i + 2 * AHEAD < n)
            __builtin_prefetch(&last[reference_page(references[i + 2 * AHEAD])]);
        if (i + AHEAD < n)
            __builtin_prefetch(&next[last[reference_page(references[i + AHEAD])]]);
        if (last[page] != 0)
            next[last[page] - 1] = (next[last[page] - 1] & REFERENCE_WRITE) | now;
        next[now] = NEVER | (references[i] & REFERENCE_WRITE);
        last[page] = now + 1;
    }
    if (sizes != NULL) {
        memcpy((uint32_t *)future->sizes.base + future->n, sizes, n * sizeof *sizes);
        future->has_sizes = true;
    }
    future->n += n;
    return 0;
}

void future_forget(struct future *future, uint32_t page)
{
    uint32_t *last = future->last.base, *next = future->next.base;
    if ((size_t)page * sizeof(uint32_t) >= future->last.n_bytes || last[page] == 0)
        return;
    next[last[page] - 1] = (next[last[page] - 1] & REFERENCE_WRITE) | UNMAPPED;
    last[page] = 0;
}

void future_free(struct future *future)
{
    array_free(&future->next);
    array_free(&future->last);
    array_free(&future->sizes);
}

/* ---- a set of times ---- */

struct set {
    struct array table;
    uint64_t *level[MOST_LEVELS]; /* bits; bit i of a level: word i of the one below is not 0 */
    unsigned n_levels;
};

static int set_open(struct set *set, uint64_t n)
{
    size_t at[MOST_LEVELS], n_words = 0;
    set->n_levels = 0;
    do {
        n = (n + 63) / 64;
        at[set->n_levels++] = n_words;
        n_words += n;
    } while (n > 1);
    int error = array_grow(&set->table, n_words * sizeof(uint64_t));
    for (unsigned i = 0; !error && i < set->n_levels; i++)
        set->level[i] = (uint64_t *)set->table.base + at[i];
    return error;
}

static inline void set_add(struct set *set, uint32_t time)
{
    for (unsigned i = 0; i < set->n_levels; i++, time >>= 6) {
        uint64_t *word = &set->level[i][time >> 6], before = *word;
        *word |= (uint64_t)1 << (time & 63);
        if (before != 0)
            return;
    }
}

static inline void set_remove(struct set *set, uint32_t time)
{
    for (unsigned i = 0; i < set->n_levels; i++, time >>= 6) {
        uint64_t *word = &set->level[i][time >> 6];
        *word &= ~((uint64_t)1 << (time & 63));
        if (*word != 0)
            return;
    }
}

static inline bool set_has(const struct set *set, uint32_t time)
{
    return set->level[0][time >> 6] >> (time & 63) & 1;
}

static inline uint32_t set_last(const struct set *set) /* it is not empty */
{
    uint32_t at = 0;
    for (unsigned i = set->n_levels; i-- > 0;)
        at = at << 6 | (63u - (uint32_t)__builtin_clzll(set->level[i][at]));
    return at;
}

/* ---- replay ---- */

struct opt {
    struct set resident; /* times of next use */
    uint64_t *dirty;     /* bits, by time of next use */
    uint64_t n_dead[2];  /* resident, never used again: clean, dirty */
    uint64_t n_resident;
};

static inline bool take_dirty(struct opt *opt, uint32_t time)
{
    uint64_t bit = (uint64_t)1 << (time & 63), *word = &opt->dirty[time >> 6];
    bool was = (*word & bit) != 0;
    *word &= ~bit;
    return was;
}

/* Whether what went was dirty. */
static bool evict(struct opt *opt)
{
    opt->n_resident--;
    for (unsigned dirty = 0; dirty < 2; dirty++)
        if (opt->n_dead[dirty] > 0) {
            opt->n_dead[dirty]--;
            return dirty;
        }
    uint32_t last = set_last(&opt->resident);
    set_remove(&opt->resident, last);
    return take_dirty(opt, last);
}

static void replay(const struct future *future, struct opt *opt, uint64_t n_frames,
                   struct quire_sim_counts *counts)
{
    const uint32_t *next = future->next.base, *sizes = future->sizes.base;
    for (uint32_t now = 0; now < future->n; now++) {
        const uint32_t then = reference_page(next[now]);
        bool is_dirty = next[now] & REFERENCE_WRITE;
        if (set_has(&opt->resident, now)) {
            set_remove(&opt->resident, now);
            is_dirty |= take_dirty(opt, now);
        } else {
            counts->faults++;
            if (future->has_sizes)
                counts->fault_bytes += sizes[now];
            if (opt->n_resident == n_frames) {
                counts->evictions++;
                counts->writebacks += evict(opt);
            }
            opt->n_resident++;
        }
        if (then >= UNMAPPED) {
            opt->n_dead[is_dirty && then == NEVER]++;
        } else {
            set_add(&opt->resident, then);
            if (is_dirty)
                opt->dirty[then >> 6] |= (uint64_t)1 << (then & 63);
        }
        counts->resident_sum += opt->n_resident;
    }
    counts->resident_max = opt->n_resident;
}

int future_replay(const struct future *future, uint64_t n_frames, struct quire_sim_counts *counts)
{
    struct opt opt = {0};
    struct array dirty = {0};
    int error = set_open(&opt.resident, future->n + 1);
    if (!error)
        error = array_grow(&dirty, (future->n / 64 + 1) * sizeof(uint64_t));
    opt.dirty = dirty.base;
    if (!error)
        replay(future, &opt, n_frames, counts);
    array_free(&dirty);
    array_free(&opt.resident.table);
    return error;
}

/* The engine asks future_replay() instead of these. */
const struct quire_sim_policy sim_opt = {
    .name = "opt", .about = "the best there is: what is used last goes (Belady)", .is_stack = true};
