/* SPDX-License-Identifier: Apache-2.0 */
/* layout_bench: how long a conversion takes here. */
#ifndef QUIRE_CLI_LAYOUT_BENCH_H
#define QUIRE_CLI_LAYOUT_BENCH_H

#include <quire/layout.h>

struct layout_speed {
    uint64_t n_bytes;      /* read and written by a conversion */
    double seconds;        /* of one */
    double copy_seconds;   /* memcpy() of as many bytes as are written */
    uint64_t copied_bytes; /* read and written by that */
};

/* Runs both by turns for `seconds`; the medians of the thread's time. Returns 0; -ENOMEM. */
int layout_bench(const struct quire_layout_conversion *conversion, double seconds,
                 struct layout_speed *speed);

#endif
