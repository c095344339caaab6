/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quire/tensor.h: places buffers with known sizes and lifetimes in one arena, so that it is small.
 *
 *     offset                        A buffer is a rectangle: as wide as it lives, as high as it is
 *       |    +-----------+          large. Only its offset is free. No two may overlap.
 *       |    |     b     |
 *       | +--+----+--+---+--+       peak    the highest end of a buffer
 *       | |   a   |  |  c   |       bound   no placement has a lower peak; at least the most that
 *       +-+-------+--+------+--->           lives at one time
 *                         time
 *
 * Two questions. With a capacity: does it fit? The answer is a placement, a proof that there is
 * none, or that time ran out. Without: what is the least peak? The answer is the best placement
 * found, the lower bound, and whether the two meet.
 *
 * A placement is checked by quire_tensor_verify(), which shares no code with the search, before it
 * is given out.
 *
 * Repeatability: the search counts its work in steps, not in seconds. Two calls with the same
 * problem, seed, strategy and `max_steps` return the same plan whatever the number of threads and
 * the machine, unless the time limit, a cancellation or a lack of memory ends one of them early;
 * `stopped` of the plan tells. Without a time limit nothing depends on the clock.
 *
 * No state is global, and nothing is kept between calls: calls may run at the same time in several
 * threads. Memory comes from malloc(): some 200 bytes a buffer, no pairs of buffers. Nothing
 * prints.
 *
 * Sources: M. Moffitt, "MiniMalloc: A Lightweight Memory Allocator for Hardware-Accelerated Machine
 * Learning", ASPLOS 2023 (sections, canonical solutions, dominance); E. Burke, G. Kendall,
 * G. Whitwell, "A New Placement Heuristic for the Orthogonal Stock-Cutting Problem", Operations
 * Research 52(4), 2004 (the skyline); T. Sekiyama et al., "Profile-guided memory optimization for
 * deep neural networks", 2018 (the same for buffers).
 */
#ifndef QUIRE_TENSOR_H
#define QUIRE_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

/* The limits of a problem. */
#define QUIRE_TENSOR_MAX_BUFFERS 16777216u        /* 2^24 */
#define QUIRE_TENSOR_MAX_SIZE ((uint64_t)1 << 62) /* bytes: the sum of sizes and alignments */
#define QUIRE_TENSOR_MAX_SPACES 32u               /* bits of `spaces` */
#define QUIRE_TENSOR_ANY_SPACE 0u                 /* for `spaces`: whichever */

/* Half-open: the buffer is not there from `lower` up to but without `upper`. */
struct quire_tensor_gap {
    int64_t lower, upper;
};

struct quire_tensor_buffer {
    const char *name;     /* for messages and pictures; NULL: its index */
    int64_t lower, upper; /* it lives from `lower` up to but without `upper`; lower < upper */
    uint64_t size;        /* bytes, 0 or more; one of 0 bytes meets nobody */
    uint64_t alignment;   /* its offset is a multiple of this; 0 or 1: any. Need be no power of 2 */
    bool is_fixed;        /* `offset` is given, in the first space that `spaces` allows */
    uint64_t offset;      /* bytes; a multiple of the alignment */
    uint32_t group;       /* not 0: never shares memory with another of its group, at any time */
    uint32_t spaces;      /* bit i: may lie in space i; QUIRE_TENSOR_ANY_SPACE */
    uint32_t weight;      /* how much it gains from an early (fast) space: its accesses, say */
    uint32_t n_gaps;      /* times at which it is dead and others may have its memory */
    const struct quire_tensor_gap *gaps; /* within its lifetime, ascending, apart; or NULL */
};

/* A memory, such as the one on the chip. The first is preferred, the last takes what is left. */
struct quire_tensor_space {
    const char *name;
    uint64_t capacity; /* bytes; 0: no limit */
};

/* All of it is the caller's, and is only read. */
struct quire_tensor_problem {
    const struct quire_tensor_buffer *buffers;
    size_t n_buffers;
    const struct quire_tensor_space *spaces; /* NULL: one, whose capacity the options have */
    uint32_t n_spaces;                       /* 0 or 1 to QUIRE_TENSOR_MAX_SPACES */
};

enum quire_tensor_strategy {
    QUIRE_TENSOR_AUTO,   /* greedy, then search for as long as it is worth it */
    QUIRE_TENSOR_GREEDY, /* a few passes: milliseconds a thousand buffers, no proof but the bound */
    QUIRE_TENSOR_SEARCH  /* until it is proved, or a limit */
};

struct quire_tensor_progress {
    uint64_t peak;  /* of the best so far, bytes */
    uint64_t bound; /* bytes */
    uint64_t n_steps;
    double seconds; /* since the call began */
};

struct quire_tensor_options {
    enum quire_tensor_strategy strategy;
    uint64_t capacity;      /* bytes; 0: the least peak is asked for. Of the only space */
    double time_limit;      /* seconds, by the monotonic clock; 0: none */
    uint64_t max_steps;     /* of search; 0: what the strategy takes for enough */
    uint64_t min_alignment; /* bytes, for every buffer beside its own; 0: none */
    uint32_t n_threads;     /* 0 or 1: the caller's alone */
    uint64_t seed;
    /* Called by the caller's thread, several times a second; not 0: stop. NULL: none. */
    int (*progress)(void *context, const struct quire_tensor_progress *progress);
    void *context;
    const int *cancel; /* not NULL: another thread stores something but 0 (atomically) to stop */
};

enum quire_tensor_verdict {
    QUIRE_TENSOR_PLACED,       /* the least peak was asked for: here is a placement */
    QUIRE_TENSOR_FITS,         /* a capacity was asked for: here is a placement within it */
    QUIRE_TENSOR_DOES_NOT_FIT, /* it is proved; the placement is the best found beyond it */
    QUIRE_TENSOR_UNDECIDED     /* neither; the placement is the best found beyond it */
};

/* Why a search ended. */
enum quire_tensor_stop {
    QUIRE_TENSOR_STOP_DONE, /* proved, or the capacity is met */
    QUIRE_TENSOR_STOP_STEPS,
    QUIRE_TENSOR_STOP_TIME,
    QUIRE_TENSOR_STOP_CANCEL /* by the callback or `cancel` */
};

struct quire_tensor_plan {
    enum quire_tensor_verdict verdict;
    enum quire_tensor_stop stopped;
    size_t n_buffers;
    uint64_t *offsets;    /* of each buffer, bytes, within its space */
    uint32_t *spaces;     /* of each buffer: the index of its space */
    uint32_t n_spaces;    /* 1 or more */
    uint64_t *peaks;      /* of each space, bytes */
    uint64_t peak;        /* bytes; with several spaces: their sum */
    uint64_t bound;       /* bytes: no placement has a lower peak; several spaces: for their sum */
    bool is_proved;       /* peak == bound, or verdict DOES_NOT_FIT */
    uint64_t n_steps;     /* of search */
    double seconds;       /* from the call to the return */
    const char *found_by; /* which part found the placement; a static string */
};

/* What is wrong with a problem or a placement. */
enum quire_tensor_fault_kind {
    QUIRE_TENSOR_SOUND,
    QUIRE_TENSOR_BAD_LIFETIME,  /* first: lower is not below upper */
    QUIRE_TENSOR_BAD_GAP,       /* first: a gap is empty, outside, out of order or leaves nothing */
    QUIRE_TENSOR_BAD_SPACE,     /* first: no such space, or one that it may not lie in */
    QUIRE_TENSOR_TOO_LARGE,     /* first: here the sum of the sizes exceeds QUIRE_TENSOR_MAX_SIZE */
    QUIRE_TENSOR_TOO_MANY,      /* buffers, spaces, or gaps: 2^30 with the buffers */
    QUIRE_TENSOR_MISALIGNED,    /* first: its offset is no multiple of its alignment */
    QUIRE_TENSOR_OVERLAP,       /* first and second share bytes at a time */
    QUIRE_TENSOR_OVER_CAPACITY, /* first ends beyond the capacity of its space */
    QUIRE_TENSOR_MOVED          /* first does not lie at its fixed offset */
};

struct quire_tensor_fault {
    enum quire_tensor_fault_kind kind;
    size_t first, second; /* indices of buffers */
};

/* A sentence without a full stop, as "overlap"; static. */
const char *quire_tensor_fault_text(enum quire_tensor_fault_kind kind);

/*
 * Checks a problem without solving it: O(number of buffers and gaps), but for fixed offsets
 * O(n log n). Returns 0; -EINVAL with *fault (may be NULL); -ENOMEM.
 */
int quire_tensor_check(const struct quire_tensor_problem *problem,
                       struct quire_tensor_fault *fault);

/*
 * Answers. Returns 0 and *plan, to be freed by quire_tensor_plan_free(), whatever the verdict;
 * -EINVAL: the problem is wrong, *fault (may be NULL) says where, or an option is out of its range
 * (then its kind is QUIRE_TENSOR_SOUND); -ENOMEM; -EUCLEAN: the placement failed its own check: a
 * fault of this library. *plan is empty then. Runs for as long as the options say; may start
 * threads, which are gone when it returns.
 *
 * There is always a placement, however short the time limit is. A million buffers in one space take
 * half a second to be placed in the order of time and checked; with less, or with several spaces,
 * each is put behind the one before where nothing else is in time.
 */
int quire_tensor_place(const struct quire_tensor_problem *problem,
                       const struct quire_tensor_options *options, struct quire_tensor_plan *plan,
                       struct quire_tensor_fault *fault) __attribute__((warn_unused_result));

/* Of a plan that is empty or was freed: nothing happens. */
void quire_tensor_plan_free(struct quire_tensor_plan *plan);

/*
 * Checks anybody's placement in O(n log n): a sweep over time with the live buffers in the order of
 * their offsets. `spaces` may be NULL where the problem has one space. `capacity` is that of the
 * only space; 0: no limit. Returns 0 and *peak (may be NULL; of several spaces the sum); -EINVAL
 * with *fault (may be NULL): the problem is wrong; -EUCLEAN with *fault: the placement is; -ENOMEM.
 */
int quire_tensor_verify(const struct quire_tensor_problem *problem, const uint64_t *offsets,
                        const uint32_t *spaces, uint64_t capacity, uint64_t min_alignment,
                        uint64_t *peak, struct quire_tensor_fault *fault)
    __attribute__((warn_unused_result));

/* From `time` to that of the next point, `live` bytes are needed; the last point has 0. */
struct quire_tensor_point {
    int64_t time;
    uint64_t live;
};

/*
 * The lower-bound profile: what lives when, in ascending times. Groups and alignments don't count.
 * Returns 0, *points (to be freed by free()) and their number; -EINVAL; -ENOMEM. O(n log n).
 */
int quire_tensor_profile(const struct quire_tensor_problem *problem,
                         struct quire_tensor_point **points, size_t *n_points)
    __attribute__((warn_unused_result));

/*
 * Buffers as CSV. The first line names the columns, in any order: `id`, `lower`, `upper` and `size`
 * have to be there, `alignment`, `offset` (fixed if the field is not empty), `gaps` ("3-5 8-9"),
 * `group`, `spaces` (numbers joined by +), `weight` and `space` may. `start` and `begin` are
 * `lower`, `end` is `upper` minus 1, `buffer` and `buffer_id` are `id`. Numbers are decimal; fields
 * may be quoted by "; lines end in LF or CR LF.
 */
struct quire_tensor_table {
    struct quire_tensor_buffer *buffers; /* with names and gaps */
    size_t n_buffers;
    uint32_t *spaces; /* the column `space`: where each lies; NULL: there is none */
    bool has_offsets; /* the column `offset` is there, and no field of it is empty */
    void *storage;    /* of names and gaps */
};

#define QUIRE_TENSOR_MESSAGE_BYTES 256

/*
 * Returns 0 and *table, to be freed by quire_tensor_table_free(); -EINVAL and the reason with its
 * line in `message` (QUIRE_TENSOR_MESSAGE_BYTES); -ENOMEM.
 */
int quire_tensor_table_read(const char *text, size_t n_bytes, struct quire_tensor_table *table,
                            char *message) __attribute__((warn_unused_result));

void quire_tensor_table_free(struct quire_tensor_table *table);

/*
 * The buffers of a problem and where they lie as CSV that quire_tensor_table_read() reads; columns
 * that say nothing are left out. `spaces` may be NULL. Returns 0, *text (to be freed by free(),
 * ends in a 0 byte) and its length; -ENOMEM.
 */
int quire_tensor_table_write(const struct quire_tensor_problem *problem, const uint64_t *offsets,
                             const uint32_t *spaces, char **text, size_t *n_bytes)
    __attribute__((warn_unused_result));

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
