/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quire/tune.h: what about a machine's memory is worth changing, and why.
 *
 *   quire_tune_look() ── before ──┐
 *      ... a while ...            ├── quire_tune_judge() ── findings: figures, and what to set
 *   quire_tune_look() ── after ───┘
 *
 * Nothing is ever changed here. A finding comes from a rule; each rule looks at what happened
 * between two looks, or since boot, and at the settings. What a rule can't see (a figure that is
 * absent or denied) makes it silent, never wrong.
 *
 * Functions return 0 or a negative errno, as <quire/observe.h> has them. Looks are plain memory:
 * threads may read them side by side; an observer is used by one thread at a time.
 */
#ifndef QUIRE_TUNE_H
#define QUIRE_TUNE_H

#include <quire/observe.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

/* All that the rules look at, at one moment. Lists belong to the look. */
struct quire_tune_look {
    struct quire_observe_memory memory;
    struct quire_observe_counters counters;
    struct quire_observe_pressure pressure;
    struct quire_observe_settings settings;
    struct quire_observe_zram zram;
    struct quire_observe_zone *zones; /* n_zones 0: not known */
    size_t n_zones;
    struct quire_observe_process *processes; /* by pid; with stat, status, OOM, command, runs */
    size_t n_processes;
    struct quire_observe_group *groups; /* control groups that have a limit */
    size_t n_groups;
};

/* Looks. *look is NULL after a failure; else give it to quire_tune_look_free(). */
int quire_tune_look(struct quire_observe *observe, struct quire_tune_look **look)
    __attribute__((warn_unused_result));
void quire_tune_look_free(struct quire_tune_look *look);

enum quire_tune_severity {
    QUIRE_TUNE_NOTE,   /* worth knowing; costs little as it is */
    QUIRE_TUNE_ADVICE, /* time or memory is lost */
    QUIRE_TUNE_URGENT, /* much of it is, or processes are killed */
};

#define QUIRE_TUNE_MAX_FIGURES 12

struct quire_tune_figure { /* one piece of evidence */
    char name[96];
    char unit[12]; /* "bytes", "/s", "pages/s", "%", "s", "" for a bare number */
    double value;
};

struct quire_tune_finding {
    const char *rule; /* its name, as quire_tune_rule_at() has it */
    enum quire_tune_severity severity;
    char what[240];   /* what was seen */
    char why[480];    /* what it costs, and what the change does about it */
    char now[240];    /* the setting as it is; "" where nothing is set */
    char change[480]; /* commands, one a line, that change it */
    unsigned n_figures;
    struct quire_tune_figure figures[QUIRE_TUNE_MAX_FIGURES];
};

/*
 * Applies all rules to what happened from `before` to `after`, two looks at the same machine at
 * least a second apart; `before` NULL: since boot. Fills in at most `room` findings, the most
 * severe first, and returns how many; quire_tune_n_rules() are always enough.
 */
size_t quire_tune_judge(const struct quire_tune_look *before, const struct quire_tune_look *after,
                        struct quire_tune_finding *findings, size_t room);

/* The rules there are: name, and a line that says what it looks for. */
struct quire_tune_rule {
    const char *name, *about;
};
size_t quire_tune_n_rules(void);
const struct quire_tune_rule *quire_tune_rule_at(size_t i); /* i below quire_tune_n_rules() */

/* "note", "advice", "urgent" */
const char *quire_tune_severity_name(enum quire_tune_severity severity);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
