/* SPDX-License-Identifier: Apache-2.0 */
/* processes: what an observer remembers of processes between samples. Private to src/observe. */
#ifndef QUIRE_OBSERVE_PROCESSES_H
#define QUIRE_OBSERVE_PROCESSES_H

#include "observe/source.h"

#define PROCESS_NO_ADJUST INT64_MIN

struct idle; /* idle.h */

struct shares { /* of smaps_rollup, bytes */
    uint64_t rss, pss, pss_anonymous, pss_file, pss_shmem;
    uint64_t shared_clean, shared_dirty, private_clean, private_dirty, private_huge;
    uint64_t referenced, huge, swap_pss;
};

struct tracked { /* one process, from sample to sample */
    int pid;
    int stat_fd;       /* of /proc/PID/stat, -1: not kept */
    struct idle *idle; /* or NULL */
    int shares_fd; /* of smaps_rollup, -1: not kept; it is of the memory that it was opened for */
    bool has_no_idle;  /* its files can't be had */
    bool was_read;     /* in this sample; false: taken over from the one before */
    uint64_t start_ms; /* tells a reused pid */
    uint64_t minor_faults, major_faults, cpu_ms, at_ns;
    bool has_shares;      /* `shares` were read once */
    struct shares shares; /* when they were read last */
    /* of the sample before: when these are the same, so are its pages */
    struct pages_seen {
        int parent;
        uint64_t minor_faults, major_faults, virtual_bytes, rss;
        char name[64];
    } seen;
    struct quire_observe_process *last; /* with QUIRE_OBSERVE_LAZY: what was read of it, or NULL */
    unsigned n_still, last_parts;       /* samples in a row in which it did nothing */
    char *command;                      /* or NULL */
    char name[64];                      /* that the command was read under */
};

void processes_free(struct process_table *table);

/*
 * Reads one process, all parts but QUIRE_OBSERVE_SHARES: with that, its RSS is that of stat, since
 * smaps_rollup will have an exact one. `tracked` is what is known of it, of whom descriptors and
 * command are renewed; `may_keep`: these may stay open. 0; -ESRCH: it has ended; -EBADMSG or
 * another error with a message.
 */
int process_read(struct quire_observe *observe, struct tracked *tracked, unsigned parts,
                 bool may_keep, struct quire_observe_process *process);

/* Makes the RSS of stat exact: see idle_resident(). */
void process_settle_rss(struct quire_observe *observe, struct quire_observe_process *process);

/* Fills in the columns of `quire run`. */
void runs_join(struct quire_observe *observe, const struct quire_observe_runs *runs,
               struct quire_observe_process *list, size_t n);
void runs_free(struct runs_table *table);

#endif
