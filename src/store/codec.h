/* SPDX-License-Identifier: Apache-2.0 */
/*
 * codec: how a page becomes an object's data and comes back; private to the store.
 * store_pack() and the packer are declared in store.h.
 */
#ifndef QUIRE_STORE_CODEC_H
#define QUIRE_STORE_CODEC_H

#include "store/object.h"

/* A page that needs more than this after coding is kept raw. */
#define CODEC_WORTH_BYTES (SYS_PAGE_SIZE / 8 * 7)

/* Checksum of SYS_PAGE_SIZE bytes. */
uint64_t codec_checksum(const void *page);

/*
 * Decodes the `header->n_bytes` of data into `out`, SYS_PAGE_SIZE bytes, and verifies them against
 * header->checksum (unsealed). `capacity` is how many bytes may be read at `data`. Trusts nothing
 * in the header. 0 or -EBADMSG; then `out` is undefined. A packer decodes what its own codec and
 * the cheaper ones made (enum store_codec is in that order).
 */
int codec_decode(struct store_packer *packer, const struct object_header *header, const void *data,
                 size_t capacity, void *out);

/* Whether all of a page is one 32-bit word. */
bool codec_same_filled(const void *page, uint32_t *pattern);

#endif
