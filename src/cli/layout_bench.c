/* SPDX-License-Identifier: Apache-2.0 */
/*
 * layout_bench: a conversion and memcpy() by turns, in the same buffers, so that what else the
 * machine does at the time slows both.
 */
#include "cli/layout_bench.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_TURNS 200
#define MIN_TURNS 3
#define TURN_SECONDS 0.5e-3
#define PAGE_BYTES 4096

struct sides {
    const struct quire_layout_conversion *conversion;
    char *source, *target;
    size_t from_bytes, to_bytes;
    bool copies; /* memcpy()'s turn */
};

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static double turn(const struct sides *sides, unsigned n)
{
    double start = now();

    for (unsigned i = 0; i < n; i++) {
        if (sides->copies)
            memcpy(sides->target, sides->source,
                   sides->from_bytes < sides->to_bytes ? sides->from_bytes : sides->to_bytes);
        else if (quire_layout_convert(sides->conversion, sides->source, sides->from_bytes,
                                      sides->target, sides->to_bytes) != 0)
            return 0; /* the buffers are ours: it can't be */
        __asm__ volatile("" ::: "memory");
    }
    return (now() - start) / n;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, unsigned n)
{
    qsort(values, n, sizeof *values, ascending);
    return values[n / 2];
}

static void measure(struct sides *sides, double seconds, double medians[2])
{
    double times[2][MAX_TURNS];
    unsigned n[2], n_turns = 0;

    for (unsigned i = 0; i < 2; i++) {
        sides->copies = i == 1;
        (void)turn(sides, 1);
        double once = turn(sides, 1);
        n[i] = once >= TURN_SECONDS ? 1 : once <= 0 ? 1000 : (unsigned)(TURN_SECONDS / once) + 1;
    }
    for (double end = now() + seconds; n_turns < MAX_TURNS && (n_turns < MIN_TURNS || now() < end);
         n_turns++)
        for (unsigned i = 0; i < 2; i++) {
            sides->copies = i == 1;
            times[i][n_turns] = turn(sides, n[i]);
        }
    for (unsigned i = 0; i < 2; i++)
        medians[i] = median(times[i], n_turns);
}

static char *take(size_t n_bytes)
{
    size_t room = (n_bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    char *bytes = aligned_alloc(PAGE_BYTES, room);

    if (bytes != NULL)
        memset(bytes, 1, n_bytes);
    return bytes;
}

int layout_bench(const struct quire_layout_conversion *conversion, double seconds,
                 struct layout_speed *speed)
{
    struct sides sides = {.conversion = conversion,
                          .from_bytes = quire_layout_bytes(&conversion->from),
                          .to_bytes = quire_layout_bytes(&conversion->to)};
    double medians[2];

    sides.source = take(sides.from_bytes);
    sides.target = take(sides.to_bytes);
    int error = sides.source == NULL || sides.target == NULL ? -ENOMEM : 0;
    if (error == 0) {
        size_t copied = sides.from_bytes < sides.to_bytes ? sides.from_bytes : sides.to_bytes;
        measure(&sides, seconds, medians);
        *speed = (struct layout_speed){.n_bytes = sides.from_bytes + sides.to_bytes,
                                       .seconds = medians[0],
                                       .copy_seconds = medians[1],
                                       .copied_bytes = 2 * copied};
    }
    free(sides.source);
    free(sides.target);
    return error;
}
