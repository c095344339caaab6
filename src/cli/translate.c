/* SPDX-License-Identifier: Apache-2.0 */
/*
 * translate: `quire translate`. What an MMU makes of addresses, given a machine's memory and
 * registers.
 *
 *     translate_options: command line --> images, registers --> struct quire_mmu
 *         translation_print: VA ... | -       translation_map: --map, --reverse, --read
 *         translation_roots: --find-roots     translation_tlb: --tlb
 */
#include "cli/cli.h"
#include "cli/translate_options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool need(const struct translate_options *options, const char *arch,
                 const enum translate_number *which, const char *const *names, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (options->given[which[i]])
            continue;
        cli_error("--arch %s: the register %s is missing\n"
                  "give it, as the machine's debugger shows it; or name the format: --mode NAME "
                  "--root PHYS",
                  arch, names[i]);
        return false;
    }
    return true;
}

static int init_x86(struct translate_options *options, struct quire_image *image,
                    struct quire_mmu *mmu, unsigned phys_bits)
{
    static const enum translate_number which[] = {NUMBER_CR3, NUMBER_CR0, NUMBER_CR4};
    static const char *const names[] = {"--cr3", "--cr0", "--cr4"};
    const struct quire_image_registers *noted = quire_image_registers(image);
    const uint64_t values[] = {noted->cr3, noted->cr0, noted->cr4};

    for (unsigned i = 0; i < 3 && noted->has_x86; i++) {
        if (!options->given[which[i]])
            options->numbers[which[i]] = values[i];
        options->given[which[i]] = true;
    }
    if (!need(options, "x86", which, names, 3))
        return -ENODATA;
    bool has_pae = (options->numbers[NUMBER_CR4] & 0x20) != 0;
    struct quire_mmu_x86 registers = {.cr0 = options->numbers[NUMBER_CR0],
                                      .cr3 = options->numbers[NUMBER_CR3],
                                      .cr4 = options->numbers[NUMBER_CR4],
                                      .efer = options->given[NUMBER_EFER]
                                                  ? options->numbers[NUMBER_EFER]
                                              : !has_pae       ? 0
                                              : noted->has_x86 ? noted->efer
                                                               : 0xd00,
                                      .pat = options->numbers[NUMBER_PAT],
                                      .pkru = (uint32_t)options->numbers[NUMBER_PKRU]};
    return quire_mmu_init_x86(mmu, image, &registers, phys_bits);
}

/* What the command line leaves open an image may say of these. */
static void take_noted(struct translate_options *options, const struct quire_image *image)
{
    const struct quire_image_registers *noted = quire_image_registers(image);
    uint64_t *numbers = options->numbers;
    bool *given = options->given;

    if (options->arch == ARCH_RISCV && noted->has_riscv && !given[NUMBER_SATP]) {
        numbers[NUMBER_SATP] = noted->satp;
        given[NUMBER_SATP] = true;
    }
    if (options->arch == ARCH_ARM64 && noted->has_arm64 && !given[NUMBER_TCR] &&
        !given[NUMBER_TTBR0] && !given[NUMBER_TTBR1]) {
        numbers[NUMBER_TCR] = noted->tcr; /* which switches TTBR0's half off */
        numbers[NUMBER_TTBR1] = noted->ttbr1;
        given[NUMBER_TCR] = given[NUMBER_TTBR0] = given[NUMBER_TTBR1] = true;
    }
}

static int init_arch(struct translate_options *options, struct quire_image *image,
                     struct quire_mmu *mmu, unsigned phys_bits)
{
    static const enum translate_number satp[] = {NUMBER_SATP}, sdr1[] = {NUMBER_SDR1},
                                       arm[] = {NUMBER_TCR, NUMBER_TTBR0};
    static const char *const satp_name[] = {"--satp"}, *const sdr1_name[] = {"--sdr1"},
                             *const arm_names[] = {"--tcr", "--ttbr0"};
    const uint64_t *numbers = options->numbers;

    take_noted(options, image);
    switch (options->arch) {
    case ARCH_X86:
        return init_x86(options, image, mmu, phys_bits);
    case ARCH_RISCV:
        if (!need(options, "riscv", satp, satp_name, 1))
            return -ENODATA;
        return quire_mmu_init_riscv(mmu, image,
                                    &(struct quire_mmu_riscv){.satp = numbers[NUMBER_SATP],
                                                              .sstatus = numbers[NUMBER_SSTATUS],
                                                              .extensions = options->extensions},
                                    phys_bits);
    case ARCH_ARM64:
        if (!need(options, "arm64", arm, arm_names, 2))
            return -ENODATA;
        return quire_mmu_init_arm64(
            mmu, image,
            &(struct quire_mmu_arm64){
                /* without TTBR1 its half is switched off: EPD1 */
                .tcr = numbers[NUMBER_TCR] | (options->given[NUMBER_TTBR1] ? 0 : (uint64_t)1 << 23),
                .ttbr0 = numbers[NUMBER_TTBR0],
                .ttbr1 = numbers[NUMBER_TTBR1],
                .mair = numbers[NUMBER_MAIR],
                .has_mair = options->given[NUMBER_MAIR]},
            phys_bits);
    default: {
        struct quire_mmu_ppc32 registers = {.sdr1 = (uint32_t)numbers[NUMBER_SDR1]};
        if (!need(options, "ppc", sdr1, sdr1_name, 1))
            return -ENODATA;
        memcpy(registers.segments, options->segments, sizeof registers.segments);
        return quire_mmu_init_ppc32(mmu, image, &registers);
    }
    }
}

static int init_mode(const struct translate_options *options, struct quire_image *image,
                     struct quire_mmu *mmu, unsigned phys_bits)
{
    const uint64_t *numbers = options->numbers;

    if (options->mode == QUIRE_MMU_BASE_LIMIT) {
        if (options->given[NUMBER_BASE] && options->given[NUMBER_LIMIT])
            return quire_mmu_init_base_limit(mmu, numbers[NUMBER_BASE], numbers[NUMBER_LIMIT],
                                             QUIRE_MMU_ALL);
        cli_error("--mode base-limit: give both registers, --base and --limit");
        return -ENODATA;
    }
    if (options->mode != QUIRE_MMU_BARE && !options->given[NUMBER_ROOT]) {
        cli_error(
            "--mode %s: where is its first table? give --root PHYS; --find-roots looks for it",
            quire_mmu_mode_name((enum quire_mmu_mode)options->mode));
        return -ENODATA;
    }
    if (options->mode == QUIRE_MMU_INVERTED)
        return quire_mmu_init_inverted(mmu, image, numbers[NUMBER_ROOT],
                                       (uint32_t)numbers[NUMBER_PROCESS]);
    if (options->arm64 != NULL)
        return quire_mmu_init_arm64(
            mmu, image,
            &(struct quire_mmu_arm64){.tcr = translate_arm64_tcr(options->arm64),
                                      .ttbr0 = numbers[NUMBER_ROOT],
                                      .ttbr1 = numbers[NUMBER_ROOT]},
            phys_bits);
    return quire_mmu_init_mode(mmu, image, (enum quire_mmu_mode)options->mode, numbers[NUMBER_ROOT],
                               phys_bits);
}

static bool init(struct translate_options *options, struct quire_image *image)
{
    struct quire_mmu *mmu = &options->translation.mmu;
    unsigned phys_bits = (unsigned)options->numbers[NUMBER_PHYS_BITS];
    int error;

    const struct quire_image_registers *noted = quire_image_registers(image);
    if (options->arch == ARCH_NONE && options->mode < 0)
        options->arch = noted->has_x86     ? ARCH_X86
                        : noted->has_arm64 ? ARCH_ARM64
                        : noted->has_riscv ? ARCH_RISCV
                                           : ARCH_NONE;
    if (options->arch != ARCH_NONE) {
        error = init_arch(options, image, mmu, phys_bits);
    } else if (options->mode >= 0) {
        error = init_mode(options, image, mmu, phys_bits);
    } else {
        cli_error("which machine? give --arch and its registers, or --mode NAME --root PHYS\n"
                  "where the root is not known, --find-roots looks for it");
        return false;
    }
    if (error == -EINVAL)
        cli_error(options->given[NUMBER_PHYS_BITS]
                      ? "these registers select no mode that this format has, or not with "
                        "--phys-bits %u: x86 has 32 to 52, Sv32 20 to 34, RISC-V 20 to 56, "
                        "AArch64 20 to 52"
                      : "these registers select no mode that this format has\n"
                        "`man quire-translate' says which values do",
                  phys_bits);
    return error == 0;
}

static int act(struct translate_options *options)
{
    const struct translation *translation = &options->translation;

    switch (options->action) {
    case ACTION_MAP:
        return translation_map(translation);
    case ACTION_REVERSE:
        return translation_reverse(translation, options->addresses, options->n_addresses);
    case ACTION_READ:
        return translation_read(translation, options->read_va, options->read_bytes);
    default:
        if (options->from_standard_input)
            return translation_stream(translation);
        return translation_addresses(translation, options->addresses, options->n_addresses);
    }
}

int cli_translate(int argc, char **argv)
{
    static struct translate_options options;
    struct quire_image *image = NULL;
    int status = CLI_EXIT_FAILED;

    translate_options_parse(argc, argv, &options);
    if (images_open(&options.images, options.format, &image)) {
        options.translation.image = image;
        if (options.action == ACTION_ROOTS)
            status = translation_roots(&options);
        else if (init(&options, image))
            status = act(&options);
    }
    quire_image_free(image);
    return status;
}
