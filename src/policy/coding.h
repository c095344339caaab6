/* SPDX-License-Identifier: Apache-2.0 */
/*
 * coding: which of two codecs pays, a quick one or a dense one.
 *
 * A page that is stored in the fraction s of its size leaves the rest to a resident one. With B
 * bytes for D bytes of data, (B - sD) / (1 - s) are resident and (D - B) / (1 - s) are not. So a
 * denser codec cuts what is absent to (1 - s_quick) / (1 - s_dense); faults at least as much, more
 * where some pages are used more than others; and makes each of them dearer. It pays where the gain
 * (1 - s_dense) / (1 - s_quick) is large enough, whatever the budget is.
 *
 *                every CODING_INTERVAL-th page is packed by both
 *   gain above what it takes -----------------------> DENSE
 *   below, less a little     -----------------------> QUICK
 *
 * Where room for stored pages runs short and there is none elsewhere, any gain pays. A file behind
 * it is no such case: a small gain moves few pages out of there, and makes all others dearer.
 *
 * Not thread-safe.
 */
#ifndef QUIRE_POLICY_CODING_H
#define QUIRE_POLICY_CODING_H

#include <stdbool.h>
#include <stdint.h>

#define CODING_INTERVAL 64u /* pages between samples */
#define CODING_FIRST 8u     /* the first samples: so many, in the first such interval */
#define CODING_WEIGHT 32u   /* samples that the averages remember */

/* Gains in 1/1024. */
#define CODING_GAIN 1152u       /* 1.125: see docs/adr/0007 */
#define CODING_SHORT_GAIN 1034u /* 1.01 */
#define CODING_SLACK 32u

struct coding { /* all zeros: quick, nothing known */
    uint32_t n_pages, n_samples;
    uint32_t quick_bytes, dense_bytes; /* of a page, averages, in 1/16 */
    bool dense;
};

/* A page is about to be packed: should both be tried on it? */
bool coding_samples(struct coding *coding);

/* What both made of a page, bytes. `is_short`: there is no room left for much more. */
void coding_note(struct coding *coding, uint32_t quick_bytes, uint32_t dense_bytes, bool is_short);

/* Whether the dense one pays. */
static inline bool coding_is_dense(const struct coding *coding)
{
    return coding->dense;
}

#endif
