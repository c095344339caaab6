/* SPDX-License-Identifier: Apache-2.0 */
/* native: the layout of Quire's own traces; see quire/trace.h. Private to src/sim. */
#ifndef QUIRE_SIM_NATIVE_H
#define QUIRE_SIM_NATIVE_H

#include <quire/trace.h>

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#define NATIVE_MAGIC "\x89QTRACE\n"
#define NATIVE_VERSION 2
#define NATIVE_OLDEST 1 /* without FREE and DROP */
#define NATIVE_MOST_GRANULE 30
#define NATIVE_MOST_PACKED (QUIRE_TRACE_BLOCK_BYTES + (4u << 10)) /* more than zstd needs */

struct native_header {
    char magic[8];
    uint16_t version;
    uint8_t granule, every;
    uint32_t period;
    uint64_t began_ns;
    uint32_t n_command_bytes, zero;
};
static_assert(sizeof(struct native_header) == 32, "as documented");

struct native_block {
    uint32_t n_packed, n_unpacked; /* bytes */
    uint64_t first;                /* record */
};
static_assert(sizeof(struct native_block) == 16, "as documented");

#define NATIVE_KIND 7u
#define NATIVE_HAS_TIME 8u
#define NATIVE_HAS_SIZE 16u
#define NATIVE_HAS_PROCESS 32u
#define NATIVE_KNOWN 63u

/* What a record is coded against; all zeros at a block's start, but for the time. */
struct native_state {
    uint64_t time_ns;
    uint32_t process;
    struct {
        uint64_t granules; /* address */
        uint32_t n_bytes;
    } last[QUIRE_TRACE_N_KINDS]; /* of each kind; mappings have none */
};

static inline bool native_is_mapping(unsigned kind)
{
    return kind == QUIRE_TRACE_MAP || kind == QUIRE_TRACE_UNMAP;
}

/* A reference takes at most so many bytes; a mapping that and its name. */
#define NATIVE_REFERENCE_BYTES 36u
#define NATIVE_MAPPING_BYTES 72u

#endif
