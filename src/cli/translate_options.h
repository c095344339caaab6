/* SPDX-License-Identifier: Apache-2.0 */
/* translate_options: the command line of `quire translate`. */
#ifndef QUIRE_CLI_TRANSLATE_OPTIONS_H
#define QUIRE_CLI_TRANSLATE_OPTIONS_H

#include "cli/images.h"
#include "cli/translation.h"

/* Registers and other numbers of the command line, each given or not. */
enum translate_number {
    NUMBER_CR0,
    NUMBER_CR3,
    NUMBER_CR4,
    NUMBER_EFER,
    NUMBER_PAT,
    NUMBER_PKRU,
    NUMBER_SATP,
    NUMBER_SSTATUS,
    NUMBER_TCR,
    NUMBER_TTBR0,
    NUMBER_TTBR1,
    NUMBER_MAIR,
    NUMBER_SDR1,
    NUMBER_ROOT,
    NUMBER_BASE,
    NUMBER_LIMIT,
    NUMBER_PROCESS,
    NUMBER_PHYS_BITS,
    N_NUMBERS
};

enum translate_arch { ARCH_NONE, ARCH_X86, ARCH_RISCV, ARCH_ARM64, ARCH_PPC };

enum translate_action { ACTION_TRANSLATE, ACTION_MAP, ACTION_REVERSE, ACTION_READ, ACTION_ROOTS };

/* AArch64 as Linux can be built, without 52 bits. */
struct translate_arm64 {
    const char *name;
    unsigned granule_shift, va_bits;
    bool is_default; /* also QUIRE_MMU_ARM64 */
};
#define TRANSLATE_N_ARM64 6
extern const struct translate_arm64 translate_arm64_kinds[TRANSLATE_N_ARM64];
uint64_t translate_arm64_tcr(const struct translate_arm64 *arm64);

struct translate_options {
    struct images images;
    enum quire_image_format format;
    enum translate_arch arch;
    int mode; /* enum quire_mmu_mode; -1: not given */
    /* Of arm64 by its name: its TCR_EL1, with which both halves have one table. NULL: 48 bits, 4K.
     */
    const struct translate_arm64 *arm64;
    uint64_t numbers[N_NUMBERS];
    bool given[N_NUMBERS];
    uint32_t segments[16];
    unsigned extensions;
    enum translate_action action;
    uint64_t read_va, read_bytes;
    uint64_t addresses[TRANSLATION_MAX_ADDRESSES];
    size_t n_addresses;
    bool from_standard_input, has_range;
    struct translation translation; /* what the command line says of it */
};

/* Ends the process for --help, and with 125 and a message for what can't be understood. */
void translate_options_parse(int argc, char **argv, struct translate_options *options);

#endif
