/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tlb: sets of entries, searched by page size; see quire/tlb.h.
 *
 *     memory:  struct quire_tlb | entries of array 0 | array 1 ... | page-walk cache: a row a level
 *
 * Invariants:
 *   T1  an entry lies in the set that its page number and its array's size give
 *   T2  a page of an address space is in the arrays of a level once at most
 *   T3  n_lookups = n_hits[0] + n_hits[1] + n_walks
 */
#include "mmu/format.h"

#include <quire/tlb.h>

#include <errno.h>
#include <string.h>

struct entry {
    uint64_t page; /* va >> page_shift */
    uint64_t address;
    uint64_t stamp; /* of the last use (LRU), of the fill (FIFO) */
    uint32_t rights, asid;
    uint8_t page_shift, is_valid;
};

struct passed { /* a table that a walk went through */
    uint64_t key;
    uint64_t stamp; /* 0: free */
    uint32_t asid;
};

struct quire_tlb {
    struct quire_tlb_config config;
    struct quire_tlb_counts counts;
    uint64_t clock, random_state;
    size_t entries_at[QUIRE_TLB_MAX_ARRAYS], passed_at, n_bytes;
    uint64_t shifts[QUIRE_TLB_MAX_ARRAYS]; /* page sizes that it has held so far */
};

static struct entry *set_of(struct quire_tlb *tlb, unsigned array, uint64_t page)
{
    const struct quire_tlb_array *its = &tlb->config.arrays[array];
    struct entry *entries = (struct entry *)((char *)tlb + tlb->entries_at[array]);
    return entries + (page & (its->n_sets - 1)) * its->n_ways;
}

static struct passed *row_of(struct quire_tlb *tlb, unsigned depth)
{
    return (struct passed *)((char *)tlb + tlb->passed_at) +
           (size_t)depth * tlb->config.n_walk_entries;
}

static bool is_valid_array(const struct quire_tlb_array *array)
{
    return (array->level == 1 || array->level == 2) && array->n_sets != 0 &&
           (array->n_sets & (array->n_sets - 1)) == 0 && array->n_ways != 0 &&
           (uint64_t)array->n_sets * array->n_ways <= QUIRE_TLB_MAX_ENTRIES;
}

size_t quire_tlb_bytes(const struct quire_tlb_config *config)
{
    size_t n = (sizeof(struct quire_tlb) + 63) & ~(size_t)63;
    bool has_first = false;

    if (config->n_arrays == 0 || config->n_arrays > QUIRE_TLB_MAX_ARRAYS ||
        config->replacement > QUIRE_TLB_RANDOM ||
        config->n_walk_entries > QUIRE_TLB_MAX_WALK_ENTRIES)
        return 0;
    for (unsigned i = 0; i < config->n_arrays; i++) {
        const struct quire_tlb_array *array = &config->arrays[i];
        if (!is_valid_array(array))
            return 0;
        has_first |= array->level == 1;
        n += (size_t)array->n_sets * array->n_ways * sizeof(struct entry);
    }
    return has_first ? n + QUIRE_TLB_MAX_LEVELS * config->n_walk_entries * sizeof(struct passed)
                     : 0;
}

int quire_tlb_init(const struct quire_tlb_config *config, void *memory, size_t n_bytes,
                   struct quire_tlb **tlb)
{
    size_t wanted = quire_tlb_bytes(config), at = (sizeof(struct quire_tlb) + 63) & ~(size_t)63;

    if (wanted == 0 || ((uintptr_t)memory & 63) != 0)
        return -EINVAL;
    if (n_bytes < wanted)
        return -ENOSPC;
    memset(memory, 0, wanted);
    *tlb = memory;
    (*tlb)->config = *config;
    (*tlb)->random_state = config->seed * 2 + 1;
    (*tlb)->n_bytes = wanted;
    for (unsigned i = 0; i < config->n_arrays; i++) {
        (*tlb)->entries_at[i] = at;
        at += (size_t)config->arrays[i].n_sets * config->arrays[i].n_ways * sizeof(struct entry);
    }
    (*tlb)->passed_at = at;
    return 0;
}

static bool is_match(const struct entry *entry, uint64_t page, unsigned shift, uint32_t asid)
{
    return entry->is_valid && entry->page == page && entry->page_shift == shift &&
           (entry->asid == asid || (entry->rights & QUIRE_MMU_GLOBAL) != 0);
}

/* The entry of a level that translates va, or NULL. */
static struct entry *find(struct quire_tlb *tlb, unsigned level, uint32_t asid, uint64_t va)
{
    for (unsigned i = 0; i < tlb->config.n_arrays; i++) {
        const struct quire_tlb_array *array = &tlb->config.arrays[i];
        if (array->level != level)
            continue;
        for (uint64_t shifts = tlb->shifts[i]; shifts != 0; shifts &= shifts - 1) {
            unsigned shift = (unsigned)__builtin_ctzll(shifts);
            struct entry *set = set_of(tlb, i, va >> shift);
            for (uint32_t way = 0; way < array->n_ways; way++)
                if (is_match(&set[way], va >> shift, shift, asid))
                    return &set[way];
        }
    }
    return NULL;
}

/* The entry of a set that a new one takes: its own, a free one, or who has to go. */
static struct entry *victim(struct quire_tlb *tlb, struct entry *set, uint32_t n_ways,
                            const struct entry *entry)
{
    uint32_t oldest = 0, free_way = n_ways;

    for (uint32_t way = n_ways; way-- > 0;) {
        if (is_match(&set[way], entry->page, entry->page_shift, entry->asid)) /* T2 */
            return &set[way];
        if (!set[way].is_valid)
            free_way = way;
    }
    if (free_way < n_ways)
        return &set[free_way];
    if (tlb->config.replacement == QUIRE_TLB_RANDOM) { /* D. Knuth's multiplier, MMIX */
        tlb->random_state = tlb->random_state * 6364136223846793005u + 1442695040888963407u;
        return &set[(uint32_t)((tlb->random_state >> 32) * n_ways >> 32)];
    }
    for (uint32_t way = 1; way < n_ways; way++)
        if (set[way].stamp < set[oldest].stamp)
            oldest = way;
    return &set[oldest];
}

/* Of all arrays of the level that may hold it: T2, then a free entry, then the oldest. */
static void keep(struct quire_tlb *tlb, unsigned level, const struct entry *entry)
{
    const uint64_t size = (uint64_t)1 << entry->page_shift;
    struct entry *place = NULL;
    bool is_there = false;
    unsigned at = 0;

    for (unsigned i = 0; i < tlb->config.n_arrays && !is_there; i++) {
        const struct quire_tlb_array *array = &tlb->config.arrays[i];
        if (array->level != level || (array->page_sizes != 0 && (array->page_sizes & size) == 0))
            continue;
        struct entry *one = victim(tlb, set_of(tlb, i, entry->page), array->n_ways, entry); /* T1 */
        is_there = is_match(one, entry->page, entry->page_shift, entry->asid);
        if (is_there || place == NULL ||
            (place->is_valid && (!one->is_valid || one->stamp < place->stamp))) {
            place = one;
            at = i;
        }
    }
    if (place == NULL)
        return;
    tlb->counts.n_evictions += place->is_valid && !is_there;
    *place = *entry;
    place->stamp = ++tlb->clock;
    tlb->shifts[at] |= size;
}

/* Remembers the table that the walk reached after `depth` others; true: it was there. */
static bool pass(struct quire_tlb *tlb, uint32_t asid, unsigned depth, uint64_t key)
{
    struct passed *row = row_of(tlb, depth);
    uint32_t oldest = 0;

    for (uint32_t i = 0; i < tlb->config.n_walk_entries; i++) {
        if (row[i].stamp != 0 && row[i].key == key && row[i].asid == asid) {
            row[i].stamp = ++tlb->clock;
            return true;
        }
        if (row[i].stamp < row[oldest].stamp)
            oldest = i;
    }
    row[oldest] = (struct passed){key, ++tlb->clock, asid};
    return false;
}

/* A walk begins below the lowest table that the page-walk cache knows. */
static unsigned count_walk(struct quire_tlb *tlb, uint32_t asid, uint64_t va,
                           const struct quire_tlb_walk *walk)
{
    uint32_t n_kept = tlb->config.n_walk_entries == 0 || walk->n_entries > QUIRE_TLB_MAX_LEVELS
                          ? 0
                          : walk->n_tables;
    unsigned n_saved = 0;

    for (uint32_t i = 0; i < n_kept && i < QUIRE_TLB_MAX_LEVELS; i++)
        if (pass(tlb, asid, i, va >> walk->shifts[i]))
            n_saved = i + 1;
    tlb->counts.n_entries_read += walk->n_entries - n_saved;
    tlb->counts.n_entries_saved += n_saved;
    return n_saved;
}

static void answer_from(const struct entry *entry, uint64_t va, struct quire_mmu_answer *answer)
{
    uint64_t offset = va & (((uint64_t)1 << entry->page_shift) - 1);

    *answer = (struct quire_mmu_answer){.address = entry->address + offset,
                                        .rights = entry->rights,
                                        .page_shift = entry->page_shift};
}

int quire_tlb_lookup(struct quire_tlb *tlb, uint32_t asid, uint64_t va,
                     struct quire_mmu_answer *answer)
{
    tlb->counts.n_lookups++;
    for (unsigned level = 1; level <= 2; level++) {
        struct entry *entry = find(tlb, level, asid, va);
        if (entry == NULL)
            continue;
        if (tlb->config.replacement == QUIRE_TLB_LRU)
            entry->stamp = ++tlb->clock;
        answer_from(entry, va, answer);
        tlb->counts.n_hits[level - 1]++;
        if (level == 2) {
            struct entry copy = *entry;
            keep(tlb, 1, &copy);
        }
        return (int)level;
    }
    tlb->counts.n_walks++; /* T3 */
    return 0;
}

unsigned quire_tlb_fill(struct quire_tlb *tlb, uint32_t asid, uint64_t va,
                        const struct quire_tlb_walk *walk, const struct quire_mmu_answer *answer)
{
    unsigned n_saved = count_walk(tlb, asid, va, walk);

    if (answer->reason != QUIRE_MMU_OK) {
        tlb->counts.n_faults++;
        tlb->counts.n_fault_entries += walk->n_entries - n_saved;
        return n_saved;
    }
    uint64_t offset = va & (((uint64_t)1 << answer->page_shift) - 1);
    struct entry entry = {.page = va >> answer->page_shift,
                          .address = answer->address - offset,
                          .rights = answer->rights,
                          .asid = asid,
                          .page_shift = answer->page_shift,
                          .is_valid = 1};
    keep(tlb, 1, &entry);
    keep(tlb, 2, &entry);
    return n_saved;
}

/* How far up from the page the address bits of a level begin. */
static unsigned level_shift(const struct quire_mmu *mmu, unsigned level, uint64_t va)
{
    const struct quire_mmu_half *half = &mmu->halves[va >> 55 & 1];

    if (mmu->mode == QUIRE_MMU_ARM64)
        return half->page_shift + level * half->bits;
    return 12 + level * (mmu->mode == QUIRE_MMU_X86_32 || mmu->mode == QUIRE_MMU_SV32 ? 10 : 9);
}

/* Hashed and inverted tables have entries, and none that leads to a table. */
static void walk_of(const struct quire_mmu *mmu, uint64_t va, const struct quire_mmu_trace *trace,
                    struct quire_tlb_walk *walk)
{
    *walk = (struct quire_tlb_walk){.n_entries = trace->n_steps};
    for (unsigned i = 0; i < trace->n_steps && i < QUIRE_TLB_MAX_LEVELS; i++)
        if (trace->steps[i].kind == QUIRE_MMU_STEP_TABLE)
            walk->shifts[walk->n_tables++] = (uint8_t)level_shift(mmu, trace->steps[i].level, va);
}

int quire_tlb_translate(struct quire_tlb *tlb, const struct quire_mmu *mmu, uint32_t asid,
                        uint64_t va, struct quire_mmu_answer *answer)
{
    struct quire_mmu_trace trace;
    struct quire_tlb_walk walk;
    int level = quire_tlb_lookup(tlb, asid, va, answer);

    if (level != 0)
        return level;
    quire_mmu_translate(mmu, va, answer, &trace);
    walk_of(mmu, va, &trace, &walk);
    quire_tlb_fill(tlb, asid, va, &walk, answer);
    return 0;
}

/* Flushing */

struct what {
    uint32_t asid;
    uint64_t va;
    bool is_page, is_all;
};

static bool is_meant(const struct entry *entry, const struct what *what)
{
    if (what->is_all)
        return true;
    if (!what->is_page)
        return entry->asid == what->asid && (entry->rights & QUIRE_MMU_GLOBAL) == 0;
    return is_match(entry, what->va >> entry->page_shift, entry->page_shift, what->asid);
}

static unsigned flush(struct quire_tlb *tlb, const struct what *what)
{
    unsigned n = 0;

    for (unsigned i = 0; i < tlb->config.n_arrays; i++) {
        const struct quire_tlb_array *array = &tlb->config.arrays[i];
        struct entry *entries = set_of(tlb, i, 0);
        for (size_t j = 0; j < (size_t)array->n_sets * array->n_ways; j++) {
            if (!entries[j].is_valid || !is_meant(&entries[j], what))
                continue;
            entries[j].is_valid = 0;
            n++;
        }
    }
    /* SDM 3A, 4.10.4.1: INVLPG, too, drops all of the address space's paging structures */
    struct passed *passed = row_of(tlb, 0);
    for (size_t i = 0; i < (size_t)QUIRE_TLB_MAX_LEVELS * tlb->config.n_walk_entries; i++)
        if (what->is_all || passed[i].asid == what->asid)
            passed[i].stamp = 0;
    tlb->counts.n_flushes++;
    tlb->counts.n_flushed += n;
    return n;
}

unsigned quire_tlb_flush_page(struct quire_tlb *tlb, uint32_t asid, uint64_t va)
{
    return flush(tlb, &(struct what){.asid = asid, .va = va, .is_page = true});
}

unsigned quire_tlb_flush_space(struct quire_tlb *tlb, uint32_t asid)
{
    return flush(tlb, &(struct what){.asid = asid});
}

unsigned quire_tlb_flush_all(struct quire_tlb *tlb)
{
    return flush(tlb, &(struct what){.is_all = true});
}

void quire_tlb_counts(const struct quire_tlb *tlb, struct quire_tlb_counts *counts)
{
    *counts = tlb->counts;
}
