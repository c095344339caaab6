/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shares: what a process has of memory that others may have, too: PSS, USS and the rest of
 * smaps_rollup. By far the dearest figures, since the kernel walks the process's page tables for
 * them. Private to src/observe.
 *
 *   its own pages    change with its faults, its size or its RSS, which are known by then
 *   who shares them  forked from it, or it from them, or runs the same program: kin
 *
 * So with QUIRE_OBSERVE_KEEP_SHARES a process is read again when it, its parent (unless it has many
 * children), a child or more than a sixteenth of those of its name have changed (one of a thousand
 * that map the same pages changes the others' shares by a thousandth), and else after some samples,
 * for what strangers share with it: pages of libraries, shared memory.
 */
#ifndef QUIRE_OBSERVE_SHARES_H
#define QUIRE_OBSERVE_SHARES_H

#include "observe/processes.h"

/*
 * Who has changed since the sample before. Numbers and names that fall together in these tables are
 * taken for one: some processes are then read for nothing.
 */
#define SHARES_N_PLACES 4096u
struct shares_news {
    bool changed[SHARES_N_PLACES];        /* the processes, by pid */
    bool parents[SHARES_N_PLACES];        /* their parents, likewise */
    uint32_t n_children[SHARES_N_PLACES]; /* of each process, whether they have changed or not */
    /* by name: how many there are, how many of these (or that there were) have changed */
    uint32_t n_named[SHARES_N_PLACES], n_changed[SHARES_N_PLACES];
};

/* Of each process; then of those that have changed, and those that have ended. */
void shares_note(struct shares_news *news, const struct quire_observe_process *process);
void shares_note_change(struct shares_news *news, int pid, int parent, const char *name);
/* Whether the process may have other shares by that. */
bool shares_concern(const struct shares_news *news, const struct quire_observe_process *process);

/*
 * Reads them. `tracked` as for process_read(). 0; -ESRCH: the process has ended; or another error
 * with a message. Denied, or absent, is no error.
 */
int shares_read(struct quire_observe *observe, struct tracked *tracked, bool may_keep,
                struct quire_observe_process *process);

/* Those that were read last. */
void shares_take_over(const struct tracked *tracked, struct quire_observe_process *process);

#endif
