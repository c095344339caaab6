/* SPDX-License-Identifier: Apache-2.0 */
/*
 * table: zeroed memory that grows. What is behind the last use costs address space only.
 *
 * It may move when it grows. Straight from the kernel: doubling costs no copying and no memory.
 */
#ifndef QUIRE_SIM_TABLE_H
#define QUIRE_SIM_TABLE_H

#include <stddef.h>

struct table {
    void *base;
    size_t n_bytes; /* mapped */
};

/* At least n_bytes. 0; -ENOMEM. */
int table_grow(struct table *table, size_t n_bytes);
void table_free(struct table *table);

#endif
