/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flat: reads FlatBuffers from untrusted bytes, in place.
 *
 *     table:  | i32 back to its vtable | fields ...
 *     vtable: | u16 size | u16 table size | u16 at ...
 *     vector: | u32 n | elements ...
 *     string: a vector of bytes, terminated
 *
 * Every access is checked against the file's length; a reference that leaves the file, or fields
 * outside of their table, set `broken` and read as 0 or nothing from there on. So an importer reads
 * what it needs and looks at `broken` afterwards. Whoever follows references has to bound how many:
 * tables may be shared, and so refer to each other in a circle.
 *
 * Source: "FlatBuffer Internals" of the FlatBuffers documentation.
 */
#ifndef QUIRE_TENSOR_FLAT_H
#define QUIRE_TENSOR_FLAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct flat {
    const uint8_t *bytes;
    size_t n_bytes;
    bool broken;
};

struct flat_table {
    size_t at; /* 0: there is none */
    size_t vtable;
    uint32_t vtable_bytes, table_bytes;
};

struct flat_vector {
    size_t at; /* of the first element */
    uint32_t n;
};

/* Whether n bytes at `at` lie in the file. */
bool flat_holds(struct flat *flat, size_t at, uint64_t n_bytes);

struct flat_table flat_root(struct flat *flat);
/* A field that is left out is `absent`. */
uint64_t flat_unsigned(struct flat *flat, const struct flat_table *table, unsigned field,
                       unsigned n_bytes, uint64_t absent);
int64_t flat_signed(struct flat *flat, const struct flat_table *table, unsigned field,
                    unsigned n_bytes, int64_t absent);
struct flat_table flat_table_field(struct flat *flat, const struct flat_table *table,
                                   unsigned field);
/* `size`: of an element. */
struct flat_vector flat_vector_field(struct flat *flat, const struct flat_table *table,
                                     unsigned field, unsigned size);
struct flat_table flat_vector_table(struct flat *flat, const struct flat_vector *vector,
                                    uint32_t i);
int32_t flat_vector_int(const struct flat *flat, const struct flat_vector *vector, uint32_t i);

#endif
