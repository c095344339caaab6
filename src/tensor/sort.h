/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sort: keys with a number beside them, ascending and stable. Without function pointers: sorting
 * some fifty keys is the inner loop of every search here.
 */
#ifndef QUIRE_TENSOR_SORT_H
#define QUIRE_TENSOR_SORT_H

#include <stddef.h>
#include <stdint.h>

struct tensor_key {
    uint64_t key;
    uint32_t value;
};

/* `scratch` has room for n. */
void tensor_sort(struct tensor_key *keys, struct tensor_key *scratch, size_t n);

#endif
