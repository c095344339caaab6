/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quire/tlb.h: a translation lookaside buffer in front of an mmu (quire/mmu.h).
 *
 *     va --> level 1: arrays, one or several page sizes each --> level 2: arrays --> walk
 *                 ^-------- a hit of level 2 is copied up ------'                     |
 *                 '------------------ what a walk found goes into both -------------'
 *
 * An array has sets and ways; a page that several arrays of a level may hold takes a free entry of
 * any, or the oldest of theirs. Entries are tagged with the address space (ASID, PCID), and global
 * ones match all. Translations that are in it are answered from it, as stale as they are, until
 * they are flushed: as the hardware does. What is not mapped is never kept. The page-walk cache
 * holds, for each level of tables, which of them were passed lately; it tells how many entries a
 * walk has to read, it does not change the answer.
 *
 * The memory is the caller's; it has no pointers in it. Thread safety: one thread at a time.
 *
 * Sources: Intel SDM 3A, 4.10 ("Caching translation information"); T. Barr, A. Cox, S. Rixner,
 * "Translation caching: skip, don't walk (the page table)", ISCA 2010.
 */
#ifndef QUIRE_TLB_H
#define QUIRE_TLB_H

#include <quire/mmu.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

#define QUIRE_TLB_MAX_ARRAYS 8
#define QUIRE_TLB_MAX_ENTRIES (1u << 20) /* of an array */
#define QUIRE_TLB_MAX_WALK_ENTRIES 4096
#define QUIRE_TLB_MAX_LEVELS 6 /* of tables */

enum quire_tlb_replacement { QUIRE_TLB_LRU, QUIRE_TLB_FIFO, QUIRE_TLB_RANDOM };

struct quire_tlb_array {
    unsigned level;      /* 1 or 2 */
    uint32_t n_sets;     /* a power of two */
    uint32_t n_ways;     /* 1 or more; n_sets 1: fully associative */
    uint64_t page_sizes; /* bit n: pages of 2^n bytes; 0: all */
};

struct quire_tlb_config {
    unsigned n_arrays; /* 1 to QUIRE_TLB_MAX_ARRAYS, at least one of level 1 */
    struct quire_tlb_array arrays[QUIRE_TLB_MAX_ARRAYS];
    enum quire_tlb_replacement replacement;
    uint32_t n_walk_entries; /* of the page-walk cache, for each level of tables; 0: none */
    uint64_t seed;           /* of RANDOM */
};

struct quire_tlb_counts {
    uint64_t n_lookups; /* = n_hits[0] + n_hits[1] + n_walks */
    uint64_t n_hits[2]; /* of level 1, of level 2 */
    uint64_t n_walks;   /* of which n_faults found no mapping */
    uint64_t n_faults;
    uint64_t n_entries_read;  /* by walks; of which */
    uint64_t n_fault_entries; /* by those that found no mapping */
    uint64_t n_entries_saved; /* by the page-walk cache */
    uint64_t n_evictions;     /* entries that made room, of any array */
    uint64_t n_flushes;       /* calls that flush: shoot-downs */
    uint64_t n_flushed;       /* entries that these dropped, the page-walk cache's not counted */
};

struct quire_tlb; /* lies at the start of the memory */

/* Bytes of memory that init wants; 0: the configuration is invalid. */
size_t quire_tlb_bytes(const struct quire_tlb_config *config);

/* Makes an empty one in `memory` (aligned to 64). Returns 0; -EINVAL; -ENOSPC. */
int quire_tlb_init(const struct quire_tlb_config *config, void *memory, size_t n_bytes,
                   struct quire_tlb **tlb) __attribute__((warn_unused_result));

/* As quire_mmu_translate(), by way of the TLB, for address space `asid`. Of answers from the TLB
 * entry, entry_address and level are 0. Returns 1, 2: the level that had it; 0: a walk. */
int quire_tlb_translate(struct quire_tlb *tlb, const struct quire_mmu *mmu, uint32_t asid,
                        uint64_t va, struct quire_mmu_answer *answer);

/*
 * The two halves of quire_tlb_translate(), for machines whose tables are not quire/mmu.h's: a
 * simulator's, or none at all. A lookup that returns 0 counts as a walk; the caller walks and hands
 * over what it found.
 */

/* Returns 1, 2: the level that had it, and the answer; 0: neither, and `answer` is untouched. */
int quire_tlb_lookup(struct quire_tlb *tlb, uint32_t asid, uint64_t va,
                     struct quire_mmu_answer *answer);

/* What a walk read: entries that led to a table, the root's first, then the last one. */
struct quire_tlb_walk {
    uint32_t n_entries;                   /* all; more than QUIRE_TLB_MAX_LEVELS: a hashed table's,
                                             or others that no page-walk cache is for */
    uint32_t n_tables;                    /* of which led to a table */
    uint8_t shifts[QUIRE_TLB_MAX_LEVELS]; /* of these: log2 of the bytes that one entry covers */
};

/*
 * Keeps the answer, if its reason is QUIRE_MMU_OK (else it is a fault), under its page_shift; what
 * was kept of that page before is replaced. Returns how many entries the page-walk cache saved.
 */
unsigned quire_tlb_fill(struct quire_tlb *tlb, uint32_t asid, uint64_t va,
                        const struct quire_tlb_walk *walk, const struct quire_mmu_answer *answer);

/* Drop what is kept of the page at va (global entries too), of an address space (but global
 * entries), of all; the page-walk cache goes with it, as far as the manuals want it. Return how
 * many entries. */
unsigned quire_tlb_flush_page(struct quire_tlb *tlb, uint32_t asid, uint64_t va);
unsigned quire_tlb_flush_space(struct quire_tlb *tlb, uint32_t asid);
unsigned quire_tlb_flush_all(struct quire_tlb *tlb);

void quire_tlb_counts(const struct quire_tlb *tlb, struct quire_tlb_counts *counts);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
