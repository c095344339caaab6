/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rules: what a policy's file may use: lists of pages, and the loop that all share.
 *
 * Lists are doubly linked, circular, and each has one of the numbers below QUIRE_SIM_FIRST_PAGE as
 * its end. A page stands in one list at most for each array of links.
 *
 *      young                                  old
 *   list.older -> page <-> page <-> page <- list.newer
 */
#ifndef QUIRE_SIM_RULES_H
#define QUIRE_SIM_RULES_H

#include <quire/sim.h>

struct link {
    uint32_t newer, older;
};

static inline void list_init(struct link *links, uint32_t list)
{
    links[list] = (struct link){list, list};
}

static inline bool list_is_empty(const struct link *links, uint32_t list)
{
    return links[list].newer == list;
}

/* The oldest page; the list itself if it is empty. */
static inline uint32_t list_oldest(const struct link *links, uint32_t list)
{
    return links[list].newer;
}

static inline void list_put_after(struct link *links, uint32_t older, uint32_t page)
{
    uint32_t newer = links[older].newer;
    links[page] = (struct link){newer, older};
    links[older].newer = page;
    links[newer].older = page;
}

/* To the young end. */
static inline void list_push(struct link *links, uint32_t list, uint32_t page)
{
    list_put_after(links, links[list].older, page);
}

static inline void list_remove(struct link *links, uint32_t page)
{
    const struct link link = links[page];
    links[link.newer].older = link.older;
    links[link.older].newer = link.newer;
}

static inline uint32_t list_pop(struct link *links, uint32_t list)
{
    uint32_t page = list_oldest(links, list);
    list_remove(links, page);
    return page;
}

/* ---- the loop ---- */

#define REFERENCE_WRITE ((uint32_t)1 << 31)
#define REPLAY_AHEAD 12u /* references whose pages are fetched into the cache */

static inline uint32_t reference_page(uint32_t reference)
{
    return reference & ~REFERENCE_WRITE;
}

static inline void replay_evict(struct quire_sim_memory *memory, uint32_t page)
{
    memory->counts.writebacks += (memory->flags[page] & QUIRE_SIM_DIRTY) != 0;
    memory->counts.evictions++;
    memory->flags[page] &= (uint8_t) ~(QUIRE_SIM_RESIDENT | QUIRE_SIM_DIRTY | QUIRE_SIM_AHEAD);
    memory->n_resident--;
}

static inline void replay_arrive(struct quire_sim_memory *memory, uint32_t page, uint8_t flags)
{
    memory->flags[page] |= QUIRE_SIM_RESIDENT | flags;
    if (++memory->n_resident > memory->counts.resident_max)
        memory->counts.resident_max = memory->n_resident;
}

typedef void replay_hit(struct quire_sim_memory *memory, uint32_t page);
typedef uint32_t replay_victim(struct quire_sim_memory *memory, uint32_t incoming);
typedef void replay_admit(struct quire_sim_memory *memory, uint32_t page);

/* Inlined into each policy's replay(), with its functions; page_bytes 0: only what misses asks. */
static inline __attribute__((always_inline)) void
replay_with(struct quire_sim_memory *memory, const uint32_t *references, size_t n,
            size_t page_bytes, replay_hit *hit, replay_victim *victim, replay_admit *admit)
{
    uint64_t resident_sum = 0;
    for (size_t i = 0; i < n; i++, memory->now++) {
        const uint32_t page = reference_page(references[i]);
        const uint8_t dirty = references[i] & REFERENCE_WRITE ? QUIRE_SIM_DIRTY : 0;
        if (i + REPLAY_AHEAD < n) {
            const uint32_t later = reference_page(references[i + REPLAY_AHEAD]);
            __builtin_prefetch(&memory->flags[later]);
            if (page_bytes > 0)
                __builtin_prefetch((char *)memory->pages + later * page_bytes);
        }
        if (memory->flags[page] & QUIRE_SIM_RESIDENT) {
            memory->flags[page] |= dirty;
            if (hit != NULL)
                hit(memory, page);
        } else {
            memory->counts.faults++;
            if (memory->sizes != NULL)
                memory->counts.fault_bytes += memory->sizes[i];
            if (memory->n_resident >= memory->n_frames)
                replay_evict(memory, victim(memory, page));
            replay_arrive(memory, page, dirty);
            admit(memory, page);
        }
        resident_sum += memory->n_resident;
    }
    memory->counts.resident_sum += resident_sum;
}

#define SIM_REPLAY(page_bytes, hit, victim, admit)                                            \
    static void replay(struct quire_sim_memory *memory, const uint32_t *references, size_t n) \
    {                                                                                         \
        replay_with(memory, references, n, page_bytes, hit, victim, admit);                   \
    }

extern const struct quire_sim_policy sim_opt, sim_lru, sim_fifo, sim_clock, sim_second_chance,
    sim_nru, sim_enhanced_clock, sim_lfu, sim_aging, sim_2q, sim_lru_k, sim_arc, sim_clock_pro,
    sim_lirs, sim_s3_fifo, sim_sieve, sim_segmented_fifo, sim_wsclock, sim_working_set, sim_pff,
    sim_mglru;
extern const struct quire_sim_policy sim_pager[]; /* the last one's name is NULL */

#endif
