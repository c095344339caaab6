/* SPDX-License-Identifier: Apache-2.0 */
/*
 * protection: whether pages that come in to be read should be write-protected.
 *
 * A page that is known not to have been written to since it came in is cheaper to evict. To know
 * costs nothing as long as it is not written to, and a fault when it is. So it pays where few of
 * these pages are written to before they go.
 *
 *             a window of PROTECTION_WINDOW pages, more than 1 in PROTECTION_SHARE written to
 *       ON --------------------------------------------------------------------> OFF
 *        ^                                                                        |
 *        '------------------------------------------------------------------------'
 *             after so many pages; twice as many each time, up to PROTECTION_MOST_OFF
 *
 * A good window halves that time again. Not thread-safe.
 */
#ifndef QUIRE_POLICY_PROTECTION_H
#define QUIRE_POLICY_PROTECTION_H

#include <stdbool.h>
#include <stdint.h>

#define PROTECTION_WINDOW 256
#define PROTECTION_SHARE 6
#define PROTECTION_LEAST_OFF 2048
#define PROTECTION_MOST_OFF 131072

struct protection {                  /* all zeros: on, nothing known */
    uint32_t n_protected, n_written; /* in this window */
    uint32_t n_off;                  /* pages to come in until the next try */
    uint32_t next_off;               /* what n_off will be set to */
};

/* n_pages come in to be read: should they be protected? */
bool protection_wanted(struct protection *protection, uint32_t n_pages);

/* A page that was protected is written to. */
void protection_failed(struct protection *protection);

#endif
