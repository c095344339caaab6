/* SPDX-License-Identifier: Apache-2.0 */
/*
 * object: a packed page as it lies in the pool and in the file, and the references that name it.
 *
 *   reference, 48 bits     bits 0-1: 0 nothing, 1 same-filled, 2 RAM, 3 file
 *     same-filled   | pattern 32                                     | 01 |
 *     RAM           | block 37               | slot 9                | 10 |
 *     file          | cluster 29   | first unit 10   | n units 7     | 11 |
 *
 * An object is a header of 16 bytes and its data. In the file an object starts at a multiple of 64
 * bytes (a unit) and is sealed (seal.h): a prefix, then header, data, and zeros up to where the
 * next object may start, encrypted and authenticated, bound to this use of this cluster. So what an
 * earlier use left behind, and what a misdirected write put in the wrong place, does not verify.
 *
 *   | tag 16 | length 1 | header 16 | data | zeros |
 *   '---- prefix -------'------ encrypted ---------'
 */
#ifndef QUIRE_STORE_OBJECT_H
#define QUIRE_STORE_OBJECT_H

#include "store/seal.h"
#include "store/store.h"
#include "store/swap.h"

#include <assert.h>
#include <stdatomic.h>

enum object_state {
    OBJECT_KEPT,    /* in the pool */
    OBJECT_LEAVING, /* in the pool, and listed in a batch */
    OBJECT_DEAD,    /* dropped while leaving: its slot is freed when the batch commits */
};

struct object_header {
    uint64_t checksum; /* XXH3 of the original page */
    uint32_t page;     /* the owner's page number */
    uint16_t n_bytes;  /* of data behind the header */
    uint8_t codec;     /* enum store_codec */
    uint8_t state;     /* enum object_state; under the owner's lock, load does not look at it */
};
static_assert(sizeof(struct object_header) == 16, "the header is a format");

#define OBJECT_HEADER_BYTES sizeof(struct object_header)
#define OBJECT_MAX_BYTES (OBJECT_HEADER_BYTES + SYS_PAGE_SIZE)
#define OBJECT_UNIT_BYTES ((size_t)64)
#define CLUSTER_UNITS (SWAP_CLUSTER_BYTES / OBJECT_UNIT_BYTES)

/* At most one object starts in each granule, so that a bit a granule tells the living. */
#define GRANULE_UNITS 8
#define CLUSTER_GRANULES (CLUSTER_UNITS / GRANULE_UNITS)

#define REF_SLOT_BITS 9
#define REF_UNITS_BITS 7
#define REF_START_BITS 10
static_assert(CLUSTER_UNITS == 1u << REF_START_BITS, "a unit's number fits its field");
static_assert((SEAL_PREFIX_BYTES + OBJECT_MAX_BYTES) / OBJECT_UNIT_BYTES < 1u << REF_UNITS_BITS,
              "so does a length");

struct file_ref {
    uint32_t cluster;
    uint32_t unit;    /* of the cluster: where the header lies */
    uint32_t n_units; /* of prefix, header and data */
};

static inline size_t object_units(size_t n_data_bytes)
{
    return (SEAL_PREFIX_BYTES + OBJECT_HEADER_BYTES + n_data_bytes + OBJECT_UNIT_BYTES - 1) /
           OBJECT_UNIT_BYTES;
}

/* Where the next object of a cluster starts, after one of `n_units` at `unit`: F2. */
static inline uint32_t object_next_start(uint32_t unit, uint32_t n_units)
{
    const uint32_t next_granule = (unit / GRANULE_UNITS + 1) * GRANULE_UNITS;
    return unit + n_units > next_granule ? unit + n_units : next_granule;
}

/* What an object takes of its cluster: up to there. */
static inline uint32_t object_taken_units(uint32_t unit, uint32_t n_units)
{
    return object_next_start(unit, n_units) - unit;
}

/* So many bytes are sealed with it. */
static inline size_t object_sealed_bytes(uint32_t unit, uint32_t n_units)
{
    return object_taken_units(unit, n_units) * OBJECT_UNIT_BYTES;
}

static inline store_ref ref_of_pattern(uint32_t pattern)
{
    return (store_ref)pattern << 2 | (STORE_SAME_FILLED + 1);
}

static inline uint32_t ref_pattern(store_ref ref)
{
    return (uint32_t)(ref >> 2);
}

/* A slot's number in the pool: block << REF_SLOT_BITS | slot within the block. */
static inline store_ref ref_of_slot(uint64_t slot)
{
    return slot << 2 | (STORE_RAM + 1);
}

static inline uint64_t ref_slot(store_ref ref)
{
    return ref >> 2;
}

static inline store_ref ref_of_file(struct file_ref f)
{
    return (store_ref)f.cluster << (REF_START_BITS + REF_UNITS_BITS + 2) |
           (store_ref)f.unit << (REF_UNITS_BITS + 2) | (store_ref)f.n_units << 2 | (STORE_FILE + 1);
}

static inline struct file_ref ref_file(store_ref ref)
{
    return (struct file_ref){
        .cluster = (uint32_t)(ref >> (REF_START_BITS + REF_UNITS_BITS + 2)),
        .unit = (uint32_t)(ref >> (REF_UNITS_BITS + 2)) & (CLUSTER_UNITS - 1),
        .n_units = (uint32_t)(ref >> 2) & ((1u << REF_UNITS_BITS) - 1),
    };
}

#endif
