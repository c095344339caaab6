/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quire/mmu.h: what the memory management unit of a real machine makes of a virtual address, given
 * the machine's registers and its memory (quire/image.h).
 *
 *     registers --quire_mmu_init_*--> struct quire_mmu --quire_mmu_translate(va)--> answer:
 *         physical address, page size, rights after all levels, memory type; or exactly why not
 *
 * Formats: a base and a limit register; x86 with two levels (4 MiB pages, PSE-36), PAE, and 4 and 5
 * levels; RISC-V Sv32, Sv39, Sv48, Sv57 (Svnapot, Svpbmt, Svade, Svadu); AArch64 (EL1&0, stage 1)
 * with 4, 16 and 64 KiB granules, 25 to 52 bits of virtual and up to 52 of physical address (LVA,
 * LPA, LPA2); the hash table of 32-bit PowerPC; and a textbook inverted page table.
 *
 * A walk has a bounded number of steps whatever memory holds, and reads nothing outside the image.
 *
 * Thread safety: a struct quire_mmu is only read by translations, so any number of threads may use
 * it, as long as nobody writes to the image. Nothing here allocates but where it says so.
 *
 * Sources: Intel SDM volume 3A, chapter 4 ("Paging"); AMD64 APM volume 2, chapter 5; The RISC-V
 * Instruction Set Manual, volume II, chapter "Supervisor-Level ISA"; Arm Architecture Reference
 * Manual for A-profile (DDI 0487), chapter D8; Programming Environments Manual for 32-bit
 * PowerPC, chapter 7.
 */
#ifndef QUIRE_MMU_H
#define QUIRE_MMU_H

#include <quire/image.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

enum quire_mmu_mode {
    QUIRE_MMU_BARE,       /* no translation: physical addresses */
    QUIRE_MMU_BASE_LIMIT, /* physical = base + virtual, if virtual < limit */
    QUIRE_MMU_X86_32,
    QUIRE_MMU_X86_PAE,
    QUIRE_MMU_X86_48,
    QUIRE_MMU_X86_57,
    QUIRE_MMU_SV32,
    QUIRE_MMU_SV39,
    QUIRE_MMU_SV48,
    QUIRE_MMU_SV57,
    QUIRE_MMU_ARM64,
    QUIRE_MMU_PPC32,    /* hashed */
    QUIRE_MMU_INVERTED, /* a textbook's; its layout is described at quire_mmu_init_inverted() */
    QUIRE_MMU_N_MODES
};

/* "bare", "base-limit", "x86-32", "x86-pae", "x86-48", "x86-57", "sv32" ..., "arm64", "ppc32",
 * "inverted". */
const char *quire_mmu_mode_name(enum quire_mmu_mode mode);

/* Rights and attributes of a page, after all levels. */
enum quire_mmu_rights {
    QUIRE_MMU_SR = 1 << 0, /* supervisor (kernel, EL1) may read */
    QUIRE_MMU_SW = 1 << 1,
    QUIRE_MMU_SX = 1 << 2,
    QUIRE_MMU_UR = 1 << 3, /* user (problem state, EL0) */
    QUIRE_MMU_UW = 1 << 4,
    QUIRE_MMU_UX = 1 << 5,
    QUIRE_MMU_USER = 1 << 6, /* it is a user's page, whoever may access it: SUM, SMAP, SMEP */
    QUIRE_MMU_GLOBAL = 1 << 7,
    QUIRE_MMU_ACCESSED = 1 << 8,
    QUIRE_MMU_DIRTY = 1 << 9,
    QUIRE_MMU_CONTIGUOUS = 1 << 10, /* AArch64's hint; or a NAPOT page of RISC-V */
    QUIRE_MMU_TYPE_SHIFT = 12,      /* 4 bits: enum quire_mmu_type */
    QUIRE_MMU_KEY_SHIFT = 16,       /* 4 bits: protection key of x86 */
    QUIRE_MMU_ALL = 0x3f,
    QUIRE_MMU_SUPERVISOR = 7,
};

/* How the memory may be cached, as far as the page tables say. */
enum quire_mmu_type {
    QUIRE_MMU_TYPE_DEFAULT, /* as the machine's other registers say (PMA, MTRR, MAIR not given) */
    QUIRE_MMU_TYPE_WB,
    QUIRE_MMU_TYPE_WT,
    QUIRE_MMU_TYPE_WC,
    QUIRE_MMU_TYPE_WP,
    QUIRE_MMU_TYPE_UC,
    QUIRE_MMU_TYPE_UC_MINUS,
    QUIRE_MMU_TYPE_NC,     /* not cached, but memory */
    QUIRE_MMU_TYPE_IO,     /* RISC-V: strongly ordered */
    QUIRE_MMU_TYPE_DEVICE, /* AArch64: any of the device types */
    QUIRE_MMU_N_TYPES
};
const char *quire_mmu_type_name(enum quire_mmu_type type); /* "wb", "uc-" ...; NULL: no such */

/* Why there is no physical address, or no access. */
enum quire_mmu_reason {
    QUIRE_MMU_OK,
    QUIRE_MMU_NOT_CANONICAL, /* the address has bits that the format does not translate */
    QUIRE_MMU_DISABLED,      /* AArch64: the walk of this half is switched off (EPD) */
    QUIRE_MMU_NOT_PRESENT,   /* the entry is not valid */
    QUIRE_MMU_RESERVED,      /* a reserved bit or encoding */
    QUIRE_MMU_MISALIGNED,    /* a large page that is not aligned to its size */
    QUIRE_MMU_ADDRESS_SIZE,  /* the entry's address is larger than the machine allows */
    QUIRE_MMU_ROOT,          /* the root register has reserved bits set */
    QUIRE_MMU_OUTSIDE,       /* the entry lies outside the image */
    QUIRE_MMU_NOT_IN_DUMP,   /* the entry's page was left out when the dump was written */
    QUIRE_MMU_DAMAGED_PAGE,  /* the entry's page is compressed, and can't be unpacked */
    QUIRE_MMU_BOUNDS,        /* at or above the limit */
    QUIRE_MMU_NO_MATCH,      /* hashed, inverted: no entry for this page */
    QUIRE_MMU_CHAIN,         /* inverted: the chain leaves the table or does not end */
    QUIRE_MMU_NO_READ,       /* from here on: it is mapped, the access is refused */
    QUIRE_MMU_NO_WRITE,
    QUIRE_MMU_NO_EXECUTE,
    QUIRE_MMU_KEY,          /* the protection key */
    QUIRE_MMU_NOT_ACCESSED, /* the accessed flag is clear, and the hardware does not set it */
    QUIRE_MMU_NOT_DIRTY,
    QUIRE_MMU_N_REASONS
};
const char *quire_mmu_reason_name(enum quire_mmu_reason reason); /* a word: "not-present" */
const char *quire_mmu_reason_text(enum quire_mmu_reason reason); /* a sentence's part */

struct quire_mmu_answer {
    uint64_t address; /* physical; if reason is not OK: 0, or (from NO_READ on) as if it were */
    uint64_t entry;   /* the last entry that was read */
    uint64_t entry_address; /* where it lies, or would lie (OUTSIDE and the next two) */
    uint32_t rights;        /* enum quire_mmu_rights */
    uint8_t reason;         /* enum quire_mmu_reason */
    uint8_t level;          /* of that entry: 0 is the one nearest to the page */
    uint8_t page_shift; /* log2 of the page's size; of a missing one: what the entry would map */
};

/* A walk, step by step */

enum quire_mmu_step_kind {
    QUIRE_MMU_STEP_TABLE, /* leads to another table */
    QUIRE_MMU_STEP_PAGE,  /* maps */
    QUIRE_MMU_STEP_FAULT, /* ends the walk */
    QUIRE_MMU_STEP_OTHER, /* hashed, inverted: looked at, not the one */
};

struct quire_mmu_step {
    uint64_t entry_address, entry, second; /* `second`: the other word of entries that have two */
    uint64_t next;                         /* TABLE: the table's address; PAGE: the page's */
    uint32_t index;
    uint8_t level, kind;
};

#define QUIRE_MMU_MAX_STEPS 64

struct quire_mmu_trace {
    unsigned n_steps; /* further ones than fit are counted, not kept */
    struct quire_mmu_step steps[QUIRE_MMU_MAX_STEPS];
};

/* Registers */

struct quire_mmu_x86 {
    uint64_t cr0, cr3, cr4, efer;
    uint64_t pat;  /* 0: as after a reset */
    uint32_t pkru; /* looked at if CR4.PKE */
};

enum quire_mmu_riscv_extension {
    QUIRE_MMU_SVNAPOT = 1, /* 64 KiB pages of 16 entries */
    QUIRE_MMU_SVPBMT = 2,  /* memory types */
    QUIRE_MMU_SVADU = 4,   /* the hardware sets A and D; else (Svade) a clear one faults */
};

struct quire_mmu_riscv {
    uint64_t satp;       /* of 32 or 64 bits: bit 31 alone stands for Sv32 */
    uint64_t sstatus;    /* SUM and MXR are looked at */
    unsigned extensions; /* enum quire_mmu_riscv_extension */
};

struct quire_mmu_arm64 {
    uint64_t tcr, ttbr0, ttbr1;
    uint64_t mair;
    bool has_mair; /* else types are DEFAULT */
};

struct quire_mmu_ppc32 {
    uint32_t sdr1;
    uint32_t segments[16];
};

struct quire_mmu_format; /* private */

/* One translation regime. Its fields are private, but for `mode` and `image`. */
struct quire_mmu {
    enum quire_mmu_mode mode;
    const struct quire_image *image; /* NULL: none of the formats that have tables work */
    const struct quire_mmu_format *format;
    uint64_t root, reserved, pat, leaf_mask; /* leaf_mask: address bits that an entry may have */
    uint64_t limit;
    uint32_t base_rights, pkru, process;
    uint32_t segments[16];
    struct quire_mmu_half {
        uint64_t root;
        uint8_t page_shift, bits, n_levels, va_bits;
        bool is_disabled, ignores_top, flat; /* flat: no rights of tables */
    } halves[2];
    uint8_t phys_bits;
    uint8_t bad_root; /* enum quire_mmu_reason */
    uint8_t oa_bits;
    bool nx, wp, smep, smap, pke, pse, pge, sum, mxr, napot, pbmt, updates, updates_dirty, wide;
};

/*
 * Sets `mmu` up from registers. `image` has to live as long. phys_bits is the machine's number of
 * physical address bits, beyond which entries are reserved; 0: the most that the format has.
 * Return 0; -EINVAL: the registers select no mode that exists, or phys_bits is above that.
 */
int quire_mmu_init_x86(struct quire_mmu *mmu, const struct quire_image *image,
                       const struct quire_mmu_x86 *registers, unsigned phys_bits);
int quire_mmu_init_riscv(struct quire_mmu *mmu, const struct quire_image *image,
                         const struct quire_mmu_riscv *registers, unsigned phys_bits);
int quire_mmu_init_arm64(struct quire_mmu *mmu, const struct quire_image *image,
                         const struct quire_mmu_arm64 *registers, unsigned phys_bits);
int quire_mmu_init_ppc32(struct quire_mmu *mmu, const struct quire_image *image,
                         const struct quire_mmu_ppc32 *registers);

/*
 * An inverted page table: an entry for each frame, found by hashing. All fields are 32-bit, little
 * endian. At `root`:
 *
 *     0   magic "IPT1" (0x31545049)       16  first frame that the table has an entry for
 *     4   n_frames                        20  0
 *     8   log2 of the number of buckets   24  buckets: 2^n times the index of an entry, or ~0
 *     12  0                                   then entries, aligned to 16 bytes
 *
 *     entry   0  virtual page number      8  index of the next in the chain, or ~0
 *             4  process                 12  flags: 1 valid, 2 R, 4 W, 8 X, 16 user, 32 A, 64 D
 *
 * Virtual addresses have 44 bits, pages 4 KiB. The bucket of a page is the upper n bits of
 * ((page number ^ process * 0x9e3779b1) * 0x9e3779b1) mod 2^32.
 */
int quire_mmu_init_inverted(struct quire_mmu *mmu, const struct quire_image *image, uint64_t root,
                            uint32_t process);
/* Bytes of such a table; 0: n_frames is 0 or above 2^24, or log2_buckets is above 24. */
size_t quire_mmu_inverted_bytes(uint32_t n_frames, unsigned log2_buckets);
/* Writes an empty one. Returns 0; -EINVAL; -EFAULT: it is not all in writable memory of the image.
 */
int quire_mmu_inverted_format(struct quire_image *image, uint64_t root, uint32_t first_frame,
                              uint32_t n_frames, unsigned log2_buckets);

/* `rights` of any address below `limit` (quire_mmu_rights). */
int quire_mmu_init_base_limit(struct quire_mmu *mmu, uint64_t base, uint64_t limit,
                              uint32_t rights);

/*
 * A mode by name with a table at `root`, and its registers as a plain kernel sets them: for x86
 * everything on that a 64-bit kernel uses, for arm64 48 bits with 4 KiB, both halves at `root`.
 * Not for BASE_LIMIT and PPC32.
 */
int quire_mmu_init_mode(struct quire_mmu *mmu, const struct quire_image *image,
                        enum quire_mmu_mode mode, uint64_t root, unsigned phys_bits);

/* Translation */

/* Fills `answer`. `trace` may be NULL. */
void quire_mmu_translate(const struct quire_mmu *mmu, uint64_t va, struct quire_mmu_answer *answer,
                         struct quire_mmu_trace *trace);

/* The same for n addresses, faster: walks overlap, so that the memory's latency is paid once. */
void quire_mmu_translate_many(const struct quire_mmu *mmu, const uint64_t *vas,
                              struct quire_mmu_answer *answers, size_t n);

enum quire_mmu_access { QUIRE_MMU_READ, QUIRE_MMU_WRITE, QUIRE_MMU_EXECUTE };

/* Whether an access is let through: OK, the answer's reason, or what refuses it. */
enum quire_mmu_reason quire_mmu_check(const struct quire_mmu *mmu,
                                      const struct quire_mmu_answer *answer,
                                      enum quire_mmu_access access, bool is_user);

/*
 * The error code that x86 pushes with the page fault of such an access (SDM 3A, 4.7), -1 where the
 * access is no page fault (not canonical: #GP or #SS), 0xffff where there is no fault.
 */
int quire_mmu_x86_error(const struct quire_mmu *mmu, enum quire_mmu_reason reason,
                        enum quire_mmu_access access, bool is_user);

/* The words for a level ("PDE", "level 1") and for an entry's bits, for people. */
const char *quire_mmu_level_name(const struct quire_mmu *mmu, unsigned level);
size_t quire_mmu_describe(const struct quire_mmu *mmu, const struct quire_mmu_step *step,
                          char *buffer, size_t n_bytes);

/* The bits of virtual addresses: below 64, addresses above are sign-extended or another half. */
unsigned quire_mmu_va_bits(const struct quire_mmu *mmu);

/* All mappings */

struct quire_mmu_mapping {
    uint64_t va, address, n_bytes;
    uint32_t rights;
    uint8_t page_shift;
    uint8_t reason; /* not OK: a bad entry, that would map n_bytes from va on */
    uint8_t level;  /* of the entry */
    uint64_t entry, entry_address;
};

struct quire_mmu_range {
    uint64_t first, last; /* virtual, inclusive */
};

struct quire_mmu_limits {
    struct quire_mmu_range range;
    uint64_t max_tables; /* to look into; 0: 2^24. Tables that hold themselves have no end */
};

/*
 * Calls visit() for each page mapped in the range by rising address (unsigned; hashed and inverted
 * tables: in the order of the table), and for each entry that is present but bad. A page that
 * reaches out of the range is shown whole. `visit` returns false to end it. Returns 0; -E2BIG:
 * max_tables were seen and there is more; -ECANCELED: visit ended it.
 */
int quire_mmu_each(const struct quire_mmu *mmu, const struct quire_mmu_limits *limits,
                   bool (*visit)(void *context, const struct quire_mmu_mapping *mapping),
                   void *context);

/* The same, and what is contiguous in both with the same page size and rights is one. */
int quire_mmu_each_merged(const struct quire_mmu *mmu, const struct quire_mmu_limits *limits,
                          bool (*visit)(void *context, const struct quire_mmu_mapping *mapping),
                          void *context);

/* Building tables */

/* Where tables come from. take() returns the physical address of n_bytes of zeros, aligned to
 * n_bytes, in writable memory of the image; 0: there is no more. give() takes it back. */
struct quire_mmu_frames {
    uint64_t (*take)(void *context, uint64_t n_bytes);
    void (*give)(void *context, uint64_t address, uint64_t n_bytes);
    void *context;
};

/*
 * Maps the page of 2^page_shift bytes at va to `address`, both aligned to it. Rights that the
 * format can't have become those it has that allow all that is asked for. Returns 0; -EINVAL: no
 * such page size, bad alignment, address too large; -EEXIST: something is mapped there; -ENOMEM: no
 * frame for a table; -ENOSPC: hashed: both groups are full, inverted: the frame has no entry;
 * -EBUSY: inverted: the frame is mapped already; -EFAULT: a table is not writable memory.
 */
int quire_mmu_map(const struct quire_mmu *mmu, struct quire_image *image,
                  const struct quire_mmu_frames *frames, uint64_t va, uint64_t address,
                  unsigned page_shift, uint32_t rights) __attribute__((warn_unused_result));

/* Takes the mapping of the page that va lies in away, and tables that became empty, but the root.
 * Returns 0; -ENOENT: nothing is mapped there; -EFAULT. */
int quire_mmu_unmap(const struct quire_mmu *mmu, struct quire_image *image,
                    const struct quire_mmu_frames *frames, uint64_t va)
    __attribute__((warn_unused_result));

/* Changes the rights (and type, key, A and D) of a page. Returns 0; -ENOENT; -EFAULT. */
int quire_mmu_protect(const struct quire_mmu *mmu, struct quire_image *image, uint64_t va,
                      uint32_t rights) __attribute__((warn_unused_result));

/* Sets accessed and dirty bits on the way to va, as the hardware does for an access that passed
 * quire_mmu_check(). Returns the number of entries changed; -EFAULT. */
int quire_mmu_touch(const struct quire_mmu *mmu, struct quire_image *image, uint64_t va,
                    enum quire_mmu_access access);

/* Bytes of the root table that quire_mmu_map() begins with; 0: the format has none. */
uint64_t quire_mmu_root_bytes(const struct quire_mmu *mmu);

/* Page sizes that the format maps: bit n stands for 2^n bytes. */
uint64_t quire_mmu_page_sizes(const struct quire_mmu *mmu);

/* Roots */

/* What a root may be of: a mode whose tables are a tree, QUIRE_MMU_X86_32 to QUIRE_MMU_ARM64. */
struct quire_mmu_regime {
    enum quire_mmu_mode mode;
    uint64_t tcr; /* QUIRE_MMU_ARM64: granule and address bits as TTBR0 has them; 0: 48 and 4 KiB */
};

#define QUIRE_MMU_MAX_REGIMES 16

struct quire_mmu_root {
    uint64_t root;
    uint64_t n_pages; /* good ones among those looked at */
    uint64_t n_bad;   /* entries that no machine would have */
    double score;     /* 0 to 1 */
    unsigned regime;  /* its place among those that were given */
    bool maps_itself; /* some virtual address maps the root's own frame */
};

/*
 * Looks at every page of the image as if it were the root of a table of each regime, and stores the
 * best `max` of all at roots, the best first: by score, then by pages; of equal ones the lower
 * address, then the regime given first. Memory is gone through once, whatever the number of regimes
 * (QUIRE_MMU_MAX_REGIMES at most). Of AArch64 the rest of TCR is not looked at, and roots are
 * looked for at multiples of the granule, as Linux has the kernel's. phys_bits: the machine's, or
 * 0. Returns how many; 0 also where a regime is none.
 */
size_t quire_mmu_find_roots(const struct quire_image *image, const struct quire_mmu_regime *regimes,
                            size_t n_regimes, unsigned phys_bits, struct quire_mmu_root *roots,
                            size_t max);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
