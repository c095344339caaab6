/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bump: memory that is taken piece by piece and given back as a whole.
 *
 *     newest block -> older -> oldest
 *     [ used | free ]
 *
 * One lives as long as what was built in it: a model, a plan. Not safe for several threads.
 */
#ifndef QUIRE_TENSOR_BUMP_H
#define QUIRE_TENSOR_BUMP_H

#include <stddef.h>
#include <stdint.h>

struct bump {
    struct bump_block *newest;
    size_t n_bytes; /* taken from the system */
};

/* Zeroed and aligned to 16 bytes; n may be 0. NULL: no memory, or n * size does not fit. */
void *bump_take(struct bump *bump, size_t n, size_t size);
/* A copy, terminated. */
char *bump_text(struct bump *bump, const char *text, size_t n_bytes);
char *bump_format(struct bump *bump, const char *format, ...) __attribute__((format(printf, 2, 3)));
void bump_free(struct bump *bump);

#endif
