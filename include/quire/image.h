/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quire/image.h: the physical memory of a machine, as one or several files or the caller's memory
 * hold it.
 *
 *     physical addresses   0 ......... 640K   1M ................. 3G      4G ........ 5G
 *                          [ file a      ]    [ file b            ]        [ file b   ]
 *
 * Files are mapped, not read: an image may be sparse and larger than RAM. Formats: raw (the bytes
 * from an address on), ELF core files as QEMU's dump-guest-memory and the kernel write them (32 and
 * 64 bit, either byte order), LiME, and kdump-compressed files as makedumpfile and QEMU write them,
 * flattened ones, too. A range that its file is too short for is kept; reading what lacks fails at
 * the byte where the file ends.
 *
 * Of a kdump-compressed file pages are unpacked when they are read (zlib, LZO, Snappy, zstd), and
 * up to 64 MiB of them are kept. Pages that it has left out are in its ranges; to read them fails.
 *
 * A file must not be cut while it is mapped: that ends the reader by SIGBUS, as with any mapping.
 *
 * Thread safety: an image may be read by any number of threads while nobody adds to it or writes.
 *
 * Sources: System V ABI, chapter 5 (program headers, PN_XNUM); LiME's documentation, "LiME format";
 * makedumpfile's IMPLEMENTATION, "The kdump-compressed format" and "The flattened format".
 */
#ifndef QUIRE_IMAGE_H
#define QUIRE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

#define QUIRE_IMAGE_MESSAGE_BYTES 256

struct quire_image;

enum quire_image_format {
    QUIRE_IMAGE_AUTO, /* by the file's first bytes; what is none of the others is raw */
    QUIRE_IMAGE_RAW,
    QUIRE_IMAGE_ELF,
    QUIRE_IMAGE_LIME,
    QUIRE_IMAGE_KDUMP,
};

struct image_pages; /* the library's */

struct quire_image_range {
    uint64_t start;       /* physical address */
    uint64_t n_bytes;     /* 1 or more; start + n_bytes - 1 does not wrap */
    uint64_t n_present;   /* fewer than n_bytes: the file ends there */
    uint64_t offset;      /* of the first byte in its file; 0 for memory */
    unsigned char *bytes; /* of the first byte; only n_present of them may be read */
    bool is_writable;     /* by quire_image_write() */
    /* Not NULL: the file has them compressed, quire_image_read() gets at them, n_present is 0. */
    struct image_pages *pages;
};

/*
 * Registers of the first processor that a dump of QEMU's has a note of. Of one of Linux without
 * that note, as kdump's, those that lead to the kernel's own tables, by its VMCOREINFO: on x86-64
 * no GDT, on AArch64 and RISC-V what is below.
 */
struct quire_image_registers {
    bool has_x86;
    uint64_t cr0, cr3, cr4;
    uint64_t efer; /* not noted; by the file's kind: 0xd00 for x86-64 (LME, LMA, NXE), 0x800 */
    uint64_t gdt_base, ldt_base;
    uint32_t gdt_limit, ldt_limit; /* the last byte's offset; gdt_limit 0: not known */
    uint16_t cs, ldt;              /* selectors; ldt 0: there is none */
    bool is_64_bit;                /* CS.L */
    bool has_arm64;
    uint64_t tcr, ttbr1; /* TTBR0's half is switched off: EPD0 */
    bool has_riscv;
    uint64_t satp;
};

/* Returns 0; -ENOMEM. */
int quire_image_new(struct quire_image **image) __attribute__((warn_unused_result));

/* Unmaps files; memory that was added stays the caller's. NULL is fine. */
void quire_image_free(struct quire_image *image);

/*
 * Adds a file. `start` is where a raw file begins; all others say that themselves, `start` has to
 * be 0. `message` (QUIRE_IMAGE_MESSAGE_BYTES) says what is wrong, with the byte, when
 * something is; of a file that is used but is cut off it says where; else it is empty. Returns 0;
 * -EINVAL: the file is not of that format or damaged; -ENOTSUP: a library that unpacks its pages
 * lacks; -EEXIST: it overlaps what is there with other
 * bytes; -ENOMEM; what open(2), fstat(2) and mmap(2) fail with. On failure nothing was added.
 */
int quire_image_add_file(struct quire_image *image, const char *path, uint64_t start,
                         enum quire_image_format format, char *message)
    __attribute__((warn_unused_result));

/*
 * Whether all files of a dump that makedumpfile --split wrote were added. Each is added as any
 * other file, in any order; one that is not of the same dump (its header and notes) or whose pages
 * are there is refused (-EINVAL, -EEXIST). Returns 0; -ENODATA: `message`
 * (QUIRE_IMAGE_MESSAGE_BYTES) says which physical addresses lack, which are the image's and can't
 * be read (-ENODATA).
 */
int quire_image_check_parts(const struct quire_image *image, char *message)
    __attribute__((warn_unused_result));

/* Adds the caller's memory, which has to outlive the image. Returns 0; -EINVAL: empty, or it wraps;
 * -EEXIST: it overlaps; -ENOMEM. */
int quire_image_add_memory(struct quire_image *image, uint64_t start, void *bytes, size_t n_bytes,
                           bool is_writable) __attribute__((warn_unused_result));

/* All ranges by rising address; they never overlap. Returns how many. */
size_t quire_image_ranges(const struct quire_image *image, const struct quire_image_range **ranges);

/* What the files say of the processor. */
const struct quire_image_registers *quire_image_registers(const struct quire_image *image);

/*
 * Copies bytes, across ranges. Returns 0; -EFAULT: not all of it is in the image; -ENODATA: a file
 * is too short; -ENOENT: the dump has left that page out; -EIO: a compressed page is damaged;
 * -ENOTSUP: the library that unpacks it lacks; -ENOMEM. `*n_done` (may be NULL): how many bytes
 * were copied before that one.
 */
int quire_image_read(const struct quire_image *image, uint64_t address, void *buffer,
                     size_t n_bytes, size_t *n_done) __attribute__((warn_unused_result));

/* Stores bytes within one writable range. Returns 0; -EFAULT and nothing is changed. */
int quire_image_write(struct quire_image *image, uint64_t address, const void *bytes,
                      size_t n_bytes) __attribute__((warn_unused_result));

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
