/* SPDX-License-Identifier: Apache-2.0 */
/*
 * array: zeroed memory that grows. What is behind the last use costs address space only.
 *
 * It may move when it grows. Straight from the kernel: doubling costs no copying and no memory.
 */
#ifndef QUIRE_SIM_ARRAY_H
#define QUIRE_SIM_ARRAY_H

#include <stddef.h>

struct array {
    void *base;
    size_t n_bytes; /* mapped */
};

/* At least n_bytes. 0; -ENOMEM. */
int array_grow(struct array *array, size_t n_bytes);
void array_free(struct array *array);

#endif
