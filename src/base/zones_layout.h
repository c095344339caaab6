/* SPDX-License-Identifier: Apache-2.0 */
/*
 * zones_layout: how the buddy system describes its zones to those who read them from outside: the
 * exported object `quire_zones_layout`, which pages/shown.c fills in and observe/run_zones.c reads.
 * Offsets and sizes in bytes, but for `_shift`. A change of meaning changes the version.
 */
#ifndef QUIRE_BASE_ZONES_LAYOUT_H
#define QUIRE_BASE_ZONES_LAYOUT_H

#include <stdint.h>

#define ZONES_LAYOUT_MAGIC "QUIRZONE" /* without its terminator */
#define ZONES_LAYOUT_VERSION 1u
#define ZONES_LAYOUT_SYMBOL "quire_zones_layout"

struct zones_layout {
    char magic[8];
    uint32_t version, n_bytes;  /* of this struct */
    const void *buddy;          /* a pointer to it; NULL there: not set up */
    uint32_t n_zones;           /* in the buddy system: uint32_t */
    uint32_t zones, zone_bytes; /* there: an array */
    /* in a zone, uint32_t each */
    uint32_t first, end, base, frontier; /* pages; base: of group 0 */
    uint32_t n_free, min, low, high;
    uint32_t n_types, block_groups, top_order;
    uint32_t name, name_bytes;
    uint32_t groups, types; /* size_t: where in the zone these tables begin */
    /* a group of 64 pages: two uint64_t, the first a bit a page: used */
    uint32_t kind_shift, kind_carved, kind_free; /* 2 bits of the second word */
    uint32_t offer_shift;                        /* 5 bits: the order of a free block */
};

#endif
