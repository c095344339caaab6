/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peer: what a placement allocator exports, as a shared library, to be measured by extent_bench.
 *
 * Write these functions over the allocator in question, link both into one shared library and
 * give its path:  cc -shared -fPIC -O3 -o peer.so adapter.c allocator.c
 *
 * The space is [0, length) bytes. An allocator that keeps its metadata within the managed memory
 * gets real memory by way of peer_new() itself, and may make the space as much longer as its own
 * headers need for max_extents. Handles are opaque; ~0 is none.
 */
#ifndef QUIRE_BENCH_PEER_H
#define QUIRE_BENCH_PEER_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PEER_NONE UINT64_MAX

const char *peer_name(void);
/* A fresh space; NULL: it can't be had. */
void *peer_new(uint64_t length, uint32_t max_extents);
void peer_delete(void *space);
/* A handle, or PEER_NONE: no room. */
uint64_t peer_alloc(void *space, uint64_t length);
void peer_free(void *space, uint64_t handle);
/* Where what a handle holds begins, from the start of the space. */
uint64_t peer_offset(void *space, uint64_t handle);
/* Of the managed memory, before each extent. */
uint64_t peer_header_bytes(void);

#ifdef __cplusplus
}
#endif

#endif
