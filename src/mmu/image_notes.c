/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image_notes: registers of the dumped machine.
 *
 * A note named QEMU has those of an x86 processor (QEMU, target/i386/arch_dump.c: version, size, 18
 * registers, 10 segments of 24 bytes, then cr[0..4]). EFER is not in it, but of a processor without
 * long mode the note before it has a 32-bit struct, even where the file calls the machine x86_64,
 * as kdump-compressed ones of QEMU's do. Where there is none, a note named VMCOREINFO tells where
 * Linux has its own page tables (Linux, Documentation/admin-guide/kdump/vmcoreinfo.rst): lines
 * NAME(SYMBOL)=VALUE. The tables' address is swapper_pg_dir less the kernel's distance from its
 * physical place:
 *
 *     x86-64    __START_KERNEL_map - phys_base
 *     AArch64   kimage_voffset
 *     RISC-V    va_kernel_pa_offset
 */
#include "mmu/image_notes.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

/* In the note's contents; a segment has selector, limit, flags (of 32 bits each), 32 bits of
 * nothing and the base. */
#define QEMU_CS 152
#define QEMU_LDT (QEMU_CS + 6 * 24)
#define QEMU_GDT (QEMU_CS + 8 * 24)
#define QEMU_CR (QEMU_CS + 10 * 24)
#define QEMU_BYTES (QEMU_CR + 5 * 8)
#define FLAG_L (1u << 21)
#define PRSTATUS_386_BYTES 144 /* on x86-64 it has 336 */

#define START_KERNEL_MAP 0xffffffff80000000u /* Linux, arch/x86: where its image is mapped */
#define CR0_LINUX 0x80050033u
#define CR4_LINUX 0xb0u /* PSE, PAE, PGE */
#define CR4_LA57 0x1000u

static void read_registers(struct quire_image_registers *registers, const struct image_notes *notes,
                           const unsigned char *at)
{
    const bool is_big = notes->is_big;

    *registers = (struct quire_image_registers){
        .has_x86 = true,
        .cr0 = image_number(at + QEMU_CR, 8, is_big),
        .cr3 = image_number(at + QEMU_CR + 24, 8, is_big),
        .cr4 = image_number(at + QEMU_CR + 32, 8, is_big),
        .efer = notes->machine == EM_X86_64 ? 0xd00 : 0x800,
        .gdt_base = image_number(at + QEMU_GDT + 16, 8, is_big),
        .gdt_limit = (uint32_t)image_number(at + QEMU_GDT + 4, 4, is_big),
        .ldt_base = image_number(at + QEMU_LDT + 16, 8, is_big),
        .ldt_limit = (uint32_t)image_number(at + QEMU_LDT + 4, 4, is_big),
        .cs = (uint16_t)image_number(at + QEMU_CS, 4, is_big),
        .ldt = (uint16_t)image_number(at + QEMU_LDT, 4, is_big),
        .is_64_bit = (image_number(at + QEMU_CS + 8, 4, is_big) & FLAG_L) != 0};
}

static bool is_named(const unsigned char *at, uint64_t n_bytes, const char *name)
{
    return n_bytes == strlen(name) + 1 && memcmp(at, name, n_bytes) == 0;
}

void image_notes_read(struct image_notes *notes, const unsigned char *bytes, uint64_t n,
                      struct quire_image_registers *registers)
{
    const bool is_x86 = notes->machine == EM_X86_64 || notes->machine == EM_386;

    for (uint64_t at = 0; n - at >= 12;) {
        uint64_t n_name = image_number(bytes + at, 4, notes->is_big);
        uint64_t n_contents = image_number(bytes + at + 4, 4, notes->is_big);
        uint64_t name = at + 12, contents = name + ((n_name + 3) & ~(uint64_t)3);
        uint64_t next = contents + ((n_contents + 3) & ~(uint64_t)3);
        if (next > n)
            return;
        if (is_x86 && is_named(bytes + name, n_name, "CORE") &&
            image_number(bytes + at + 8, 4, notes->is_big) == NT_PRSTATUS &&
            n_contents == PRSTATUS_386_BYTES)
            notes->machine = EM_386;
        if (is_x86 && is_named(bytes + name, n_name, "QEMU") && n_contents >= QEMU_BYTES &&
            !registers->has_x86)
            read_registers(registers, notes, bytes + contents);
        if (is_named(bytes + name, n_name, "VMCOREINFO")) {
            notes->vmcoreinfo = bytes + contents;
            notes->n_vmcoreinfo = n_contents;
        }
        at = next;
    }
}

/* The value of a line "NAME=VALUE" of the note, in that base or, with 0, as C writes it; false:
 * there is none. */
static bool find_line(const struct image_notes *notes, const char *name, int base, uint64_t *value)
{
    const char *text = (const char *)notes->vmcoreinfo;
    const size_t n = strlen(name);
    char digits[24];

    for (uint64_t left = notes->n_vmcoreinfo; left > n;) {
        const char *end = memchr(text, '\n', left);
        const uint64_t length = end != NULL ? (uint64_t)(end - text) : left;
        if (length > n && length - n < sizeof digits && memcmp(text, name, n) == 0) {
            memcpy(digits, text + n, length - n);
            digits[length - n] = '\0';
            *value = digits[0] == '-' ? (uint64_t)strtoll(digits, NULL, base)
                                      : strtoull(digits, NULL, base);
            return true;
        }
        if (end == NULL)
            break;
        text = end + 1;
        left -= length + 1;
    }
    return false;
}

static void find_x86(const struct image_notes *notes, uint64_t tables,
                     struct quire_image_registers *registers)
{
    uint64_t phys_base, has_5_levels = 0;

    if (!find_line(notes, "NUMBER(phys_base)=", 10, &phys_base))
        return;
    find_line(notes, "NUMBER(pgtable_l5_enabled)=", 10, &has_5_levels);
    *registers = (struct quire_image_registers){.has_x86 = true,
                                                .cr0 = CR0_LINUX,
                                                .cr3 = tables - START_KERNEL_MAP + phys_base,
                                                .cr4 = CR4_LINUX |
                                                       (has_5_levels != 0 ? CR4_LA57 : 0),
                                                .efer = 0xd00,
                                                .is_64_bit = true};
}

/*
 * DDI 0487, D19.2.139, TCR_EL1: T0SZ, EPD0, T1SZ at 0, 7, 16; TG0 and TG1 at 14 and 30; IPS at 32,
 * and DS at 59 where addresses of 52 bits are had with granules below 64 KiB. The lower half, a
 * process's, is not known: EPD0.
 */
static void find_arm64(const struct image_notes *notes, uint64_t tables,
                       struct quire_image_registers *registers)
{
    uint64_t distance, va_bits, t1sz, page_bytes = 4096;

    if (!find_line(notes, "NUMBER(kimage_voffset)=", 0, &distance) ||
        !find_line(notes, "NUMBER(VA_BITS)=", 0, &va_bits))
        return;
    find_line(notes, "PAGESIZE=", 10, &page_bytes);
    if (!find_line(notes, "NUMBER(TCR_EL1_T1SZ)=", 0, &t1sz))
        t1sz = 64 - va_bits;
    const bool is_64k = page_bytes == 65536, is_16k = page_bytes == 16384;
    const bool is_wide = t1sz < 16 && !is_64k; /* LPA2 */
    registers->has_arm64 = true;
    registers->tcr = (t1sz & 63) << 16 | 1u << 7 | 16 |
                     (uint64_t)(is_64k || is_wide ? 6 : 5) << 32 |
                     (is_wide ? (uint64_t)1 << 59 : 0) |
                     (is_64k   ? (uint64_t)3 << 30 | 1u << 14
                      : is_16k ? (uint64_t)1 << 30 | 2u << 14
                               : (uint64_t)2 << 30);
    registers->ttbr1 = tables - distance;
    /* Linux, arch/arm64, offset_ttbr1: a kernel for 52 bits on a processor that has 48 uses the end
     * of its first table, 64 entries of 1024 */
    if (is_64k && va_bits == 52 && t1sz == 16)
        registers->ttbr1 += (1024 - 64) * 8;
}

static void find_riscv(const struct image_notes *notes, uint64_t tables,
                       struct quire_image_registers *registers)
{
    uint64_t distance, va_bits;

    if (!find_line(notes, "NUMBER(va_kernel_pa_offset)=", 0, &distance) ||
        !find_line(notes, "NUMBER(VA_BITS)=", 10, &va_bits) ||
        (va_bits != 39 && va_bits != 48 && va_bits != 57))
        return;
    registers->has_riscv = true;
    registers->satp = (8 + (va_bits - 39) / 9) << 60 | (tables - distance) >> 12;
}

void image_notes_find_kernel(const struct image_notes *notes,
                             struct quire_image_registers *registers)
{
    uint64_t tables;

    if (notes->n_vmcoreinfo == 0 || registers->has_x86 ||
        !find_line(notes, "SYMBOL(swapper_pg_dir)=", 16, &tables))
        return;
    if (notes->machine == EM_X86_64)
        find_x86(notes, tables, registers);
    else if (notes->machine == EM_AARCH64)
        find_arm64(notes, tables, registers);
    else if (notes->machine == EM_RISCV)
        find_riscv(notes, tables, registers);
}
