/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quire/sim.h: what a program's references would cost in how much memory, under which policy.
 *
 *   records (quire/trace.h) --quire_sim_feed()--> pages of each size --> a memory for each case
 *                                                                         policy, RAM, page size
 *   quire_sim_finish(), quire_sim_result()  <-- faults, write-backs, bytes
 *   quire_mrc_feed(), quire_mrc_finish()    <-- LRU's faults at every size, in one pass
 *
 * Cases are independent and all are served in one pass over the trace. A reference that spans
 * several pages is one to each of them. Pages of different processes are different pages. A page
 * that is unmapped or dropped is forgotten: it is not written back, and its next touch is a cold
 * fault. What the program's heap frees is known to who may know, as the pager of `quire run` does:
 * a policy with freed(). For others it is as good as before, as it is for a kernel.
 *
 * Adding a policy takes one file: fill in a struct quire_sim_policy; quire_sim_policies() lists
 * Quire's own. Names that begin with "pager:" are the policies of `quire run`, the very code, as
 * user space has to run them: no accessed bits, only faults, and a second chance for what was just
 * evicted. All others see each reference, as hardware with accessed bits or a simulator does.
 *
 * Memory, bytes a page that the trace touches: 5.3 to 10.7 for the hash table and 8 for its number,
 * once a page size; 1 and the policy's page_bytes for each case. LRU has 4, and 8 a page that is
 * resident: 18 to 32 in sum. OPT takes 4 a reference in place of the policy's, once a page size. A
 * curve takes 24 a page that is looked at.
 *
 * Errors: 0 or a negative errno. Functions allocate. A simulation is used by one thread at a time.
 */
#ifndef QUIRE_SIM_H
#define QUIRE_SIM_H

#include <quire/trace.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

#define QUIRE_SIM_MAX_CASES 4096
#define QUIRE_SIM_MIN_PAGE_SHIFT 6 /* pages of 64 bytes ... */
#define QUIRE_SIM_MAX_PAGE_SHIFT 40
#define QUIRE_SIM_MAX_PAGES ((1u << 31) - 16) /* different ones of a size */

/* ---- policies ---- */

struct quire_sim_counts {
    uint64_t references;    /* to pages */
    uint64_t faults;        /* references to pages that were absent; of which */
    uint64_t cold_faults;   /* to pages that had not been touched before, or were new again */
    uint64_t soft_faults;   /* no faults: touches that a second chance made cheap */
    uint64_t evictions;     /* of which */
    uint64_t writebacks;    /* of pages that had been written to; or before, if the policy cleans */
    uint64_t bytes;         /* that the references were to, where their sizes are known */
    uint64_t fault_bytes;   /* the same of those that faulted */
    uint64_t prefetched;    /* pages that were brought in along with others; of which */
    uint64_t prefetch_hits; /* were touched before they went */
    uint64_t resident_sum;  /* of pages that were resident, over all references */
    uint64_t resident_max;  /* pages */
};

#define QUIRE_SIM_RESIDENT 1u
#define QUIRE_SIM_DIRTY 2u
#define QUIRE_SIM_AHEAD 4u /* came along and was not touched yet */
#define QUIRE_SIM_FLAGS 8u /* this and all above are the policy's, also while a page is absent */

#define QUIRE_SIM_FIRST_PAGE 16u /* pages have numbers from here on; below, the policy's own */

struct quire_sim_memory { /* what a policy sees of the memory that it rules */
    uint64_t n_frames;    /* pages that may be resident; 1 or more */
    uint64_t n_budget;    /* of the whole budget (quire_sim_case); n_frames at first, or more */
    uint64_t n_resident;
    uint64_t now;      /* references before this one */
    uint64_t argument; /* as in NAME:ARGUMENT; 0: none */
    uint8_t *flags;    /* of each page */
    void *pages;       /* page_bytes of each, zeroed; stays what it is while a page is absent */
    void *state;       /* state_bytes, zeroed */
    const uint64_t *numbers; /* of each page, in its address space; NULL: they mean nothing */
    const uint32_t *sizes;   /* of references, while they are replayed; NULL: not known */
    struct quire_sim_counts counts;
    const struct quire_sim_policy *policy;
};

struct quire_sim_policy {
    const char *name;
    const char *about; /* in a line */
    bool has_argument; /* NAME:ARGUMENT makes sense */
    size_t page_bytes; /* of each page that the trace touches */
    size_t state_bytes;
    /* 0; -EINVAL: the argument makes no sense; -ENOMEM. NULL: nothing to do. */
    int (*open)(struct quire_sim_memory *memory);
    void (*close)(struct quire_sim_memory *memory); /* NULL: nothing to do */
    /* A resident page was touched. Its flags are up to date, as below. NULL: no difference. */
    void (*hit)(struct quire_sim_memory *memory, uint32_t page);
    /* n_frames are resident, and `incoming` was touched: which page goes? It is taken out of all
     * that the policy keeps of resident pages; the caller evicts it. */
    uint32_t (*victim)(struct quire_sim_memory *memory, uint32_t incoming);
    /* The page is resident from now on. There is room for it. */
    void (*admit)(struct quire_sim_memory *memory, uint32_t page);
    /* These have come in together, read ahead of one who runs through them: the first was missed.
     * NULL: nothing to do. */
    void (*streamed)(struct quire_sim_memory *memory, const uint32_t *pages, size_t n);
    /* A resident page is unmapped: forgotten. NULL: it stays until it is a victim. */
    void (*forget)(struct quire_sim_memory *memory, uint32_t page);
    /* An absent page is unmapped. NULL: nothing to do. */
    void (*forget_absent)(struct quire_sim_memory *memory, uint32_t page);
    /* The program's heap has the page back; if it is resident, it may be handed out again as it is,
     * which is a touch. NULL: the policy can't know. */
    void (*freed)(struct quire_sim_memory *memory, uint32_t page);
    /* An absent page has no contents, so that none have to come in: not touched yet, or dropped
     * when it was free. NULL: it can't be told. */
    bool (*is_new)(const struct quire_sim_memory *memory, uint32_t page);
    /* False: nothing comes along with what is missed, yet. NULL: it does. */
    bool (*is_armed)(const struct quire_sim_memory *memory);
    /* All of the above for many references, faster; NULL: one by one. The highest bit of a
     * reference is a write. See src/sim/rules.h. */
    void (*replay)(struct quire_sim_memory *memory, const uint32_t *references, size_t n);
    /* Its faults are never more with more RAM: no anomaly is looked for. */
    bool is_stack;
};

/* For policies: evicts a resident page now, beside victim(); it has taken it out itself. */
void quire_sim_evict(struct quire_sim_memory *memory, uint32_t page);
/* For policies: a dirty page is written back and stays. */
void quire_sim_clean(struct quire_sim_memory *memory, uint32_t page);

/* Quire's own, in the order of their names' list; NULL behind the last. */
const struct quire_sim_policy *quire_sim_policies(unsigned i);

/* By "NAME" or "NAME:ARGUMENT", a number above 0. Case and hyphens of names do not matter, and what
 * textbooks call them is known, too: belady, min, nfu, lru-2, working-set, page-fault-frequency. 0;
 * -ENOENT: there is none; -EINVAL: that is no such number, or the policy takes none. */
int quire_sim_find_policy(const char *text, const struct quire_sim_policy **policy,
                          uint64_t *argument);

/* ---- simulations ---- */

/* See `quire run --prefetch`; what was never touched can't come along. */
enum quire_sim_prefetch {
    QUIRE_SIM_PREFETCH_NONE,
    QUIRE_SIM_PREFETCH_CLUSTER,
    QUIRE_SIM_PREFETCH_STRIDE,
    QUIRE_SIM_PREFETCH_ADAPTIVE,
    QUIRE_SIM_N_PREFETCH
};

const char *quire_sim_prefetch_name(enum quire_sim_prefetch prefetch);

struct quire_sim_case {
    const struct quire_sim_policy *policy;
    uint64_t argument;     /* of the policy; 0: its default */
    uint64_t ram_bytes;    /* a page at least; what is left over a multiple of pages is unused */
    uint64_t budget_bytes; /* of which these are what pages have: prefetching goes by it, and until
                              the pager is armed it is all the pages'; 0: the same */
    unsigned page_shift;   /* pages of 2^this bytes */
    enum quire_sim_prefetch prefetch; /* not with OPT */
    bool is_local; /* by process: each has a part of the RAM; see quire_sim_options */
};

struct quire_sim_share {
    uint32_t process;
    uint64_t parts; /* of the sum of all parts */
};

struct quire_sim_options {
    bool without_fetches;                 /* of instructions */
    const struct quire_sim_share *shares; /* for local cases: of all processes; others get a part */
    size_t n_shares;
};

struct quire_sim;

/*
 * Prepares n cases, 1 to QUIRE_SIM_MAX_CASES. `info` is the trace's; `options` may be NULL. Returns
 * 0; -EINVAL: case *bad makes no sense: its RAM is less than a page or more than can be simulated,
 * its pages are smaller than the trace's unit, its policy does not know the argument, or it is OPT
 * by process or with prefetching; -ENOMEM.
 */
int quire_sim_open(const struct quire_sim_case *cases, size_t n,
                   const struct quire_trace_info *info, const struct quire_sim_options *options,
                   struct quire_sim **sim, size_t *bad) __attribute__((warn_unused_result));
void quire_sim_close(struct quire_sim *sim);

/* The next records; `trace` tells mappings, and may be NULL if there are none. 0; -ENOMEM;
 * -E2BIG: more than QUIRE_SIM_MAX_PAGES different pages, or, with OPT, 2^31 references. */
int quire_sim_feed(struct quire_sim *sim, const struct quire_trace_record *records, size_t n,
                   const struct quire_trace *trace) __attribute__((warn_unused_result));

/* From the next record on a case's policy has another argument. 0; -EINVAL: there is no such case,
 * or it has no memory that a policy rules, as OPT. Not checked: that the argument makes sense. */
int quire_sim_set_argument(struct quire_sim *sim, size_t i, uint64_t argument);

/* The trace has ended. 0; -ENOMEM. */
int quire_sim_finish(struct quire_sim *sim) __attribute__((warn_unused_result));

/* Of a case, by its index; after quire_sim_finish(). */
const struct quire_sim_counts *quire_sim_result(const struct quire_sim *sim, size_t i);

/* Bytes of memory that are held for it all. */
size_t quire_sim_held(const struct quire_sim *sim);

/* ---- LRU at every size at once ---- */

struct quire_mrc_options {
    unsigned page_shift; /* pages of 2^this bytes; 0: 12 */
    double rate;         /* of the pages, those that are looked at: above 0, below 1; 0 or 1: all */
    bool without_fetches;
};

struct quire_mrc;

/*
 * Miss-ratio curves of LRU. With all pages they are exact: faults are those of a simulation, at
 * each size. With a sample (SHARDS, fixed rate, with count correction) they are estimates, and
 * quire_mrc_bound() says how good. 0; -EINVAL; -ENOMEM.
 *
 * Sources: R. Mattson et al., "Evaluation techniques for storage hierarchies", IBM Systems Journal
 * 9(2), 1970; C. Waldspurger et al., "Efficient MRC Construction with SHARDS", FAST 2015.
 */
int quire_mrc_open(const struct quire_mrc_options *options, const struct quire_trace_info *info,
                   struct quire_mrc **mrc) __attribute__((warn_unused_result));
void quire_mrc_close(struct quire_mrc *mrc);

/* As quire_sim_feed(). */
int quire_mrc_feed(struct quire_mrc *mrc, const struct quire_trace_record *records, size_t n,
                   const struct quire_trace *trace) __attribute__((warn_unused_result));
/*
 * Reads the rest of a trace and feeds it: what quire_trace_read() and quire_mrc_feed() in turns do,
 * and faster where the file's records need no decoding. 0, or an error of either; one of the trace
 * has a quire_trace_message().
 */
int quire_mrc_feed_trace(struct quire_mrc *mrc, struct quire_trace *trace)
    __attribute__((warn_unused_result));
/* The same for page numbers, all of one process: for who has no trace. Not mixed with the above. */
int quire_mrc_feed_pages(struct quire_mrc *mrc, const uint64_t *pages, size_t n)
    __attribute__((warn_unused_result));
/* The trace has ended; then there are results. 0; -ENOMEM. */
int quire_mrc_finish(struct quire_mrc *mrc) __attribute__((warn_unused_result));

uint64_t quire_mrc_references(const struct quire_mrc *mrc);
/* Different pages; of a sample, as it is scaled up. */
uint64_t quire_mrc_pages(const struct quire_mrc *mrc);
/* Those that were looked at. */
uint64_t quire_mrc_sampled(const struct quire_mrc *mrc);

/* Faults with n_pages of RAM, cold ones included; the share of all references. */
uint64_t quire_mrc_faults(const struct quire_mrc *mrc, uint64_t n_pages);
double quire_mrc_ratio(const struct quire_mrc *mrc, uint64_t n_pages);

/*
 * How far quire_mrc_ratio() may be off, either way, with a confidence of 95 %: what 32 parts of the
 * sample differ among themselves, and how much the curve changes as far to either side as distances
 * in a sample are uncertain. 0 if it is exact.
 */
double quire_mrc_bound(const struct quire_mrc *mrc, uint64_t n_pages);

/* References whose reuse distance is from..to-1 different pages. */
uint64_t quire_mrc_distances(const struct quire_mrc *mrc, uint64_t from, uint64_t to);

struct quire_mrc_interval {
    uint64_t first, n_references; /* of the trace */
    uint64_t time_ns;             /* when it began */
    uint64_t n_pages;             /* that were touched in it: its working set */
};

/* The trace in equal intervals, but for the last one: their number, up to 256; the i-th. */
uint32_t quire_mrc_intervals(const struct quire_mrc *mrc);
struct quire_mrc_interval quire_mrc_interval(const struct quire_mrc *mrc, uint32_t i);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
