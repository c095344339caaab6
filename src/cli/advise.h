/* SPDX-License-Identifier: Apache-2.0 */
/*
 * advise: what the files of `quire advise` share.
 *
 *   trace --advise_trace.c--> what the program uses, faults at each size --advise_model.c--> time
 *   this machine --advise_cost.c--> what a fault takes                     '--> advise.c: advice
 */
#ifndef QUIRE_CLI_ADVISE_H
#define QUIRE_CLI_ADVISE_H

#include "base/control.h"
#include "cli/record_note.h"

#include <quire/sim.h>

#include <stdbool.h>
#include <stdint.h>

#define ADVISE_SIZES 24
#define ADVISE_POLICIES 8

/* What faults of `quire run` take here, nanoseconds of the program's time. */
struct advise_costs {
    double ram, first, stream, file; /* stream: a page that comes along with a fault */
    double cpu;                      /* of one from RAM, of all processors */
};

/* Measures them, by `quire run` on this very command's probe. False, with a message. */
bool advise_measure(const char *swap_directory, struct advise_costs *costs);
/* The probe itself: what stands behind --probe. An exit status. */
int advise_probe(const char *what);

/* What a trace says before anything is simulated. */
struct advise_trace {
    const char *path;
    char *command; /* allocated; "" where it is not known */
    enum quire_trace_every every;
    bool has_note;
    struct record_note note;
    uint64_t references, touched_bytes; /* of pages of 4 KiB */
    uint64_t peak_bytes;                /* at the same time */
    uint64_t peak_huge_bytes;           /* if pages had 2 MiB */
    uint64_t duration_ns;               /* from the first to the last record; 0: no times */
    uint64_t *first_faults; /* allocated: of each first touch, the most bytes in use by then */
    size_t n_first_faults;
};

/* A size, and what the simulation says of it. */
struct advise_point {
    uint64_t ram_bytes;   /* the budget */
    uint64_t frame_bytes; /* what of it pages can have, stored ones included */
    const struct quire_sim_policy *policy;
    unsigned stored_percent; /* what a stored page takes of RAM, in hundredths of its size */
    unsigned most_percent;   /* at most: what is beyond is in the file */
    uint64_t first, again;   /* faults on new memory; on what was evicted */
    uint64_t never;          /* of the first, those on what had never been touched */
    uint64_t ahead;          /* pages that came along */
    bool fits;               /* else allocations would fail: RAM holds too little of it */
    double in_file;          /* of what is stored, the part that RAM has no room for */
    double stall_ns;
    double with_less, with_more; /* faults where the budget differs by what it may be off */
    uint64_t least,
        most; /* between which the faults lie; ADVISE_UNKNOWN: nothing was seen of them */
};

#define ADVISE_UNKNOWN UINT64_MAX
#define ADVISE_TOLERANCE 0.2 /* of the fault count, where the budget is what it should be */
#define ADVISE_SIZE_ERROR 32 /* the budget is known to one part in so many, and to 1 MiB */

/* What is to be found out, and how it comes out. */
struct advise_question {
    double slowdown;    /* that is allowed: 1.1 */
    uint64_t ram_bytes; /* not 0: this budget, in place of the least one with that slowdown */
    double compression; /* 0: the trace's own, or an assumption */
    uint64_t base_ns;   /* what the program takes with RAM to spare; 0: the recording's */
    bool has_file;      /* there is a swap file */
};

struct advise {
    const struct advise_trace *trace;
    struct advise_costs costs;
    double compression;
    bool is_compression_known; /* else assumed */
    bool follows_compression;  /* as it was at each time of the recording */
    uint64_t metadata_bytes;   /* of Quire's own tables; by the page where it is not known */
    double base_ns;            /* 0: not known */
    struct advise_point points[ADVISE_SIZES];
    unsigned n_points, knee;                      /* the one where the curve bends */
    struct advise_point choices[ADVISE_POLICIES]; /* at the budget, by policy; the default first */
    unsigned n_choices, chosen;
    bool is_met; /* the slowdown is */
};

/* Fills in all but `costs`, which are given; false, with a message. */
bool advise_find(const struct advise_trace *trace, const struct advise_question *question,
                 struct advise *advise);
/* How many times the time with RAM to spare; 0: it is not known. */
double advise_slowdown(const struct advise *advise, const struct advise_point *point);

/* How many times at most, if the RAM is a little less than it seems: over the edge of a cliff. */
double advise_slowdown_beside(const struct advise *advise, unsigned i);

/* The curve is steep: the count with as much less or more RAM as may be off differs by more than
 * ADVISE_TOLERANCE, so that only `least` and `most` hold. */
bool advise_is_steep(const struct advise_point *point);
/* That much, bytes. */
uint64_t advise_size_error(uint64_t ram_bytes);

/* Whether the recording says anything about it: more is resident than its window. */
bool advise_is_told(const struct advise *advise, const struct advise_point *point);

bool advise_read(const char *path, struct advise_trace *trace);
void advise_trace_free(struct advise_trace *trace);
/* Fills in what the simulation says of each; false, with a message. */
bool advise_simulate(const struct advise *advise, struct advise_point *points, size_t n);

#endif
