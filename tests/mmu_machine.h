/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mmu_machine: what the tests of mmu/ share: a machine whose memory is this process's, with a
 * simple allocator of frames, and a set-up for each mode.
 */
#ifndef QUIRE_TESTS_MMU_MACHINE_H
#define QUIRE_TESTS_MMU_MACHINE_H

#include <quire/mmu.h>
#include <stdlib.h>
#include <string.h>

#define MACHINE_START ((uint64_t)1 << 20)
#define MACHINE_MAX_FRAMES 4096

struct machine {
    unsigned char *bytes;
    uint64_t n_bytes, next; /* next: never given out from here on */
    struct quire_image *image;
    struct quire_mmu mmu;
    struct {
        uint64_t address, n_bytes;
    } spare[MACHINE_MAX_FRAMES];
    unsigned n_spare, n_taken;
    unsigned fail_in; /* the take() that fails, counted down; 0: none */
};

static uint64_t machine_take(void *context, uint64_t n_bytes)
{
    struct machine *machine = context;
    uint64_t address;

    if (machine->fail_in != 0 && --machine->fail_in == 0)
        return 0;
    for (unsigned i = 0; i < machine->n_spare; i++) {
        if (machine->spare[i].n_bytes != n_bytes)
            continue;
        address = machine->spare[i].address;
        machine->spare[i] = machine->spare[--machine->n_spare];
        memset(machine->bytes + (address - MACHINE_START), 0, n_bytes);
        machine->n_taken++;
        return address;
    }
    address = (machine->next + n_bytes - 1) & ~(n_bytes - 1);
    if (address + n_bytes > MACHINE_START + machine->n_bytes)
        return 0;
    machine->next = address + n_bytes;
    machine->n_taken++;
    return address;
}

static void machine_give(void *context, uint64_t address, uint64_t n_bytes)
{
    struct machine *machine = context;

    if (machine->n_spare == MACHINE_MAX_FRAMES || machine->n_taken == 0)
        abort();
    machine->spare[machine->n_spare].address = address;
    machine->spare[machine->n_spare++].n_bytes = n_bytes;
    machine->n_taken--;
}

static inline void machine_open(struct machine *machine, uint64_t n_bytes)
{
    *machine = (struct machine){.n_bytes = n_bytes, .next = MACHINE_START};
    machine->bytes = calloc(1, n_bytes);
    if (machine->bytes == NULL || quire_image_new(&machine->image) != 0 ||
        quire_image_add_memory(machine->image, MACHINE_START, machine->bytes, n_bytes, true) != 0)
        abort();
}

static inline void machine_close(struct machine *machine)
{
    quire_image_free(machine->image);
    free(machine->bytes);
}

static inline struct quire_mmu_frames machine_frames(struct machine *machine)
{
    return (struct quire_mmu_frames){machine_take, machine_give, machine};
}

/* AArch64's granules, LPA and LPA2 are regimes of their own here. */
enum regime {
    REGIME_X86_32,
    REGIME_X86_PAE,
    REGIME_X86_48,
    REGIME_X86_57,
    REGIME_SV32,
    REGIME_SV39,
    REGIME_SV48,
    REGIME_SV57,
    REGIME_ARM_4K,
    REGIME_ARM_4K_39, /* 39 bits */
    REGIME_ARM_16K,
    REGIME_ARM_64K,
    REGIME_ARM_4K_LPA2,
    REGIME_ARM_16K_LPA2,
    REGIME_ARM_64K_LPA,
    REGIME_PPC32,
    REGIME_INVERTED,
    N_REGIMES
};

#define TCR_BASE(size, tg0, tg1, ips)                                                            \
    ((uint64_t)(size) | (uint64_t)(size) << 16 | (uint64_t)(tg0) << 14 | (uint64_t)(tg1) << 30 | \
     (uint64_t)(ips) << 32)

static const uint64_t machine_tcr[N_REGIMES] = {
    [REGIME_ARM_4K] = TCR_BASE(16, 0, 2, 5),
    [REGIME_ARM_4K_39] = TCR_BASE(25, 0, 2, 2),
    [REGIME_ARM_16K] = TCR_BASE(17, 2, 1, 5),
    [REGIME_ARM_64K] = TCR_BASE(16, 1, 3, 5),
    [REGIME_ARM_4K_LPA2] = TCR_BASE(12, 0, 2, 6) | (uint64_t)1 << 59,
    [REGIME_ARM_16K_LPA2] = TCR_BASE(12, 2, 1, 6) | (uint64_t)1 << 59,
    [REGIME_ARM_64K_LPA] = TCR_BASE(12, 1, 3, 6),
};

/* Makes the regime over an empty root table. False: it has none and was set up another way. */
static inline void machine_use(struct machine *machine, enum regime regime)
{
    int error = 0;

    if (regime == REGIME_PPC32) {
        struct quire_mmu_ppc32 registers = {.sdr1 = 0x00200001}; /* 2048 groups at 2 MiB */
        for (uint32_t i = 0; i < 16; i++)
            registers.segments[i] = i * 0x1357 | (i % 3 << 29) | (i == 7 ? 1u << 28 : 0);
        error = quire_mmu_init_ppc32(&machine->mmu, machine->image, &registers);
    } else if (regime == REGIME_INVERTED) {
        error = quire_mmu_inverted_format(machine->image, MACHINE_START, 16, 5000, 6);
        if (error == 0)
            error = quire_mmu_init_inverted(&machine->mmu, machine->image, MACHINE_START, 42);
    } else if (regime >= REGIME_ARM_4K) {
        uint64_t size = (uint64_t)1
                        << (regime == REGIME_ARM_64K || regime == REGIME_ARM_64K_LPA    ? 16
                            : regime == REGIME_ARM_16K || regime == REGIME_ARM_16K_LPA2 ? 14
                                                                                        : 12);
        struct quire_mmu_arm64 registers = {.tcr = machine_tcr[regime],
                                            .ttbr0 = machine_take(machine, size),
                                            .ttbr1 = machine_take(machine, size),
                                            .mair = 0xff440c0400bbff,
                                            .has_mair = true};
        error = quire_mmu_init_arm64(&machine->mmu, machine->image, &registers, 0);
    } else {
        error = quire_mmu_init_mode(&machine->mmu, machine->image,
                                    (enum quire_mmu_mode)(QUIRE_MMU_X86_32 + regime),
                                    machine_take(machine, 4096), 0);
    }
    if (error != 0)
        abort();
}

#endif
