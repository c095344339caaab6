/* SPDX-License-Identifier: Apache-2.0 */
/* image_kdump_header: what the first two blocks of a kdump-compressed file say. */
#ifndef QUIRE_MMU_IMAGE_KDUMP_HEADER_H
#define QUIRE_MMU_IMAGE_KDUMP_HEADER_H

#include "mmu/image_flat.h"

#define KDUMP_MAGIC "KDUMP   "
#define KDUMP_MAGIC_BYTES 8
#define KDUMP_STATUS_INCOMPLETE 0x8u
#define KDUMP_MACHINE_BYTES 65

struct kdump_header {
    bool is_big, is_64; /* the dumped kernel's byte order, and whether its longs have 64 bits */
    char machine[KDUMP_MACHINE_BYTES];
    unsigned version, status, block_bytes, sub_blocks, bitmap_blocks;
    uint64_t n_pages;
    uint64_t vmcoreinfo, n_vmcoreinfo, notes, n_notes; /* where, and how many bytes */
    bool is_split;                                     /* makedumpfile --split: */
    uint64_t first, end;                               /* the file has the pages from first on */
};

/* 0; -EINVAL, with a message. */
int kdump_header_read(struct kdump_header *header, const struct image_flat *flat, char *message);

/* Whether both are parts of the same split dump: of one machine at one moment. */
bool kdump_header_is_same(const struct kdump_header *one, const struct image_flat *its_bytes,
                          const struct kdump_header *other, const struct image_flat *others_bytes);

#endif
