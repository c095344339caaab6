/* SPDX-License-Identifier: Apache-2.0 */
/* image_notes: what the notes of a dump say of the processor. ELF core files and kdump-compressed
 * ones have the same. */
#ifndef QUIRE_MMU_IMAGE_NOTES_H
#define QUIRE_MMU_IMAGE_NOTES_H

#include "mmu/image.h"

struct image_notes {
    unsigned machine; /* EM_X86_64 ... of elf.h; 0: not known */
    bool is_big;
    const unsigned char *vmcoreinfo; /* of n_vmcoreinfo bytes; 0: there is none */
    uint64_t n_vmcoreinfo;
};

/* n bytes in that order. */
static inline uint64_t image_number(const unsigned char *at, unsigned n, bool is_big)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < n; i++)
        value |= (uint64_t)at[i] << 8 * (is_big ? n - 1 - i : i);
    return value;
}

/* Of all notes in n bytes the registers of the first of QEMU's, if there are none yet, and where
 * Linux's note is, in notes->vmcoreinfo. */
void image_notes_read(struct image_notes *notes, const unsigned char *bytes, uint64_t n,
                      struct quire_image_registers *registers);

/* By notes->vmcoreinfo, the registers that lead to the kernel's own tables; nothing, if registers
 * are known or the note does not tell enough. */
void image_notes_find_kernel(const struct image_notes *notes,
                             struct quire_image_registers *registers);

#endif
