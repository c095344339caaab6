/* SPDX-License-Identifier: Apache-2.0 */
/* flat: see flat.h. Numbers are little-endian, and so is this machine (checked below). */
#include "tensor/flat.h"

#include <assert.h>
#include <string.h>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "FlatBuffers are read as they lie");

bool flat_holds(struct flat *flat, size_t at, uint64_t n_bytes)
{
    if (at <= flat->n_bytes && n_bytes <= flat->n_bytes - at)
        return true;
    flat->broken = true;
    return false;
}

static uint64_t read_at(struct flat *flat, size_t at, unsigned n_bytes)
{
    uint64_t value = 0;
    if (flat_holds(flat, at, n_bytes))
        memcpy(&value, flat->bytes + at, n_bytes);
    return value;
}

/* Where the offset at `at` leads. */
static size_t follow(struct flat *flat, size_t at)
{
    uint64_t offset = read_at(flat, at, 4);
    if (offset == 0 || !flat_holds(flat, at, offset + 4)) {
        flat->broken = true;
        return 0;
    }
    return at + offset;
}

static struct flat_table table_at(struct flat *flat, size_t at)
{
    struct flat_table table = {0}, none = {0};
    if (at == 0)
        return none;
    int32_t back = (int32_t)read_at(flat, at, 4);
    int64_t vtable = (int64_t)at - back;
    if (vtable < 0 || !flat_holds(flat, (size_t)vtable, 4)) {
        flat->broken = true;
        return none;
    }
    table.at = at;
    table.vtable = (size_t)vtable;
    table.vtable_bytes = (uint32_t)read_at(flat, table.vtable, 2);
    table.table_bytes = (uint32_t)read_at(flat, table.vtable + 2, 2);
    if (table.vtable_bytes < 4 || !flat_holds(flat, table.vtable, table.vtable_bytes) ||
        !flat_holds(flat, at, table.table_bytes)) {
        flat->broken = true;
        return none;
    }
    return table;
}

struct flat_table flat_root(struct flat *flat)
{
    return table_at(flat, follow(flat, 0));
}

/* Where the field lies; 0: it is left out. */
static size_t field_at(struct flat *flat, const struct flat_table *table, unsigned field,
                       unsigned n_bytes)
{
    if (table->at == 0 || 4 + 2 * field + 2 > table->vtable_bytes)
        return 0;
    uint64_t offset = read_at(flat, table->vtable + 4 + 2 * field, 2);
    if (offset == 0)
        return 0;
    if (offset + n_bytes > table->table_bytes) {
        flat->broken = true;
        return 0;
    }
    return table->at + offset;
}

uint64_t flat_unsigned(struct flat *flat, const struct flat_table *table, unsigned field,
                       unsigned n_bytes, uint64_t absent)
{
    size_t at = field_at(flat, table, field, n_bytes);
    return at == 0 ? absent : read_at(flat, at, n_bytes);
}

int64_t flat_signed(struct flat *flat, const struct flat_table *table, unsigned field,
                    unsigned n_bytes, int64_t absent)
{
    size_t at = field_at(flat, table, field, n_bytes);
    if (at == 0)
        return absent;
    unsigned shift = 64 - 8 * n_bytes;
    return (int64_t)(read_at(flat, at, n_bytes) << shift) >> shift;
}

struct flat_table flat_table_field(struct flat *flat, const struct flat_table *table,
                                   unsigned field)
{
    const struct flat_table none = {0};
    size_t at = field_at(flat, table, field, 4);
    return at == 0 ? none : table_at(flat, follow(flat, at));
}

struct flat_vector flat_vector_field(struct flat *flat, const struct flat_table *table,
                                     unsigned field, unsigned size)
{
    struct flat_vector vector = {0};
    size_t at = field_at(flat, table, field, 4);
    if (at != 0)
        at = follow(flat, at);
    if (at == 0)
        return vector;
    uint32_t n = (uint32_t)read_at(flat, at, 4);
    if (!flat_holds(flat, at + 4, (uint64_t)n * size))
        return vector;
    vector.at = at + 4;
    vector.n = n;
    return vector;
}

struct flat_table flat_vector_table(struct flat *flat, const struct flat_vector *vector, uint32_t i)
{
    return table_at(flat, follow(flat, vector->at + 4 * (size_t)i));
}

int32_t flat_vector_int(const struct flat *flat, const struct flat_vector *vector, uint32_t i)
{
    int32_t value;
    memcpy(&value, flat->bytes + vector->at + 4 * (size_t)i, sizeof value);
    return value;
}
