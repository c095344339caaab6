/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image_elf: ELF core files of machines. Each PT_LOAD is a range at its physical address.
 *
 * QEMU writes several PT_LOADs over the same bytes when it dumps with paging: image_add() leaves
 * out what is there. A note named QEMU has the registers of an x86 processor (QEMU,
 * target/i386/arch_dump.c: version, size, 18 registers, 10 segments of 24 bytes, then cr[0..4]).
 * Where there is none, a note named VMCOREINFO tells where Linux has its own page tables (Linux,
 * Documentation/admin-guide/kdump/vmcoreinfo.rst): lines NAME(SYMBOL)=VALUE.
 */
#include "mmu/image.h"

#include <elf.h>
#include <endian.h>
#include <errno.h>
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

#define START_KERNEL_MAP 0xffffffff80000000u /* Linux, arch/x86: where its image is mapped */
#define CR0_LINUX 0x80050033u
#define CR4_LINUX 0xb0u /* PSE, PAE, PGE */
#define CR4_LA57 0x1000u

struct elf {
    const struct image_file *file;
    bool is_big, is_64;
    uint64_t headers, n_headers, header_bytes;
    uint64_t vmcoreinfo, n_vmcoreinfo; /* the note's contents; 0 bytes: there is none */
};

struct program_header {
    uint64_t type, offset, address, file_bytes;
};

static bool knows(const struct image_file *file)
{
    return file->n_bytes >= EI_NIDENT && memcmp(file->bytes, ELFMAG, SELFMAG) == 0;
}

/* n bytes at `at`, which the caller has checked, in the file's byte order. */
static uint64_t field(const struct elf *elf, uint64_t at, unsigned n)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < n; i++) {
        uint64_t byte = elf->file->bytes[at + i];
        value |= byte << 8 * (elf->is_big ? n - 1 - i : i);
    }
    return value;
}

/* The number of program headers, where 16 bits are too few: in the first section header. */
static int read_count(struct elf *elf, char *message)
{
    uint64_t at = field(elf, elf->is_64 ? 40 : 32, elf->is_64 ? 8 : 4);
    uint64_t n = elf->is_64 ? sizeof(Elf64_Shdr) : sizeof(Elf32_Shdr);

    if (at > elf->file->n_bytes || elf->file->n_bytes - at < n)
        return image_refuse(-EINVAL, message, "the section header at byte %llu is cut off",
                            (unsigned long long)at);
    elf->n_headers = field(elf, at + (elf->is_64 ? 44 : 28), 4);
    return 0;
}

static int read_head(struct elf *elf, char *message)
{
    const unsigned char *ident = elf->file->bytes;

    elf->is_64 = ident[EI_CLASS] == ELFCLASS64;
    elf->is_big = ident[EI_DATA] == ELFDATA2MSB;
    if (elf->file->n_bytes < (elf->is_64 ? sizeof(Elf64_Ehdr) : sizeof(Elf32_Ehdr)))
        return image_refuse(-EINVAL, message, "the ELF header is cut off at byte %llu",
                            (unsigned long long)elf->file->n_bytes);
    if (field(elf, 16, 2) != ET_CORE)
        return image_refuse(-EINVAL, message,
                            "it is an ELF file, but no core file\n"
                            "--format raw takes its bytes as they are");
    elf->headers = field(elf, elf->is_64 ? 32 : 28, elf->is_64 ? 8 : 4);
    elf->header_bytes = field(elf, elf->is_64 ? 54 : 42, 2);
    elf->n_headers = field(elf, elf->is_64 ? 56 : 44, 2);
    if (elf->n_headers == PN_XNUM) {
        int error = read_count(elf, message);
        if (error != 0)
            return error;
    }
    if (elf->header_bytes < (elf->is_64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr)))
        return image_refuse(-EINVAL, message, "program headers of %llu bytes are too short",
                            (unsigned long long)elf->header_bytes);
    uint64_t room = elf->file->n_bytes;
    if (elf->headers > room || (room - elf->headers) / elf->header_bytes < elf->n_headers)
        return image_refuse(-EINVAL, message,
                            "the %llu program headers at byte %llu are cut off at byte %llu",
                            (unsigned long long)elf->n_headers, (unsigned long long)elf->headers,
                            (unsigned long long)room);
    return 0;
}

static struct program_header read_program_header(const struct elf *elf, uint64_t i)
{
    uint64_t at = elf->headers + i * elf->header_bytes;
    struct program_header header = {.type = field(elf, at, 4)};

    if (elf->is_64) {
        header.offset = field(elf, at + 8, 8);
        header.address = field(elf, at + 24, 8);
        header.file_bytes = field(elf, at + 32, 8);
    } else {
        header.offset = field(elf, at + 4, 4);
        header.address = field(elf, at + 12, 4);
        header.file_bytes = field(elf, at + 16, 4);
    }
    return header;
}

static void read_registers(struct quire_image_registers *registers, const struct elf *elf,
                           uint64_t at)
{
    *registers = (struct quire_image_registers){
        .has_x86 = true,
        .cr0 = field(elf, at + QEMU_CR, 8),
        .cr3 = field(elf, at + QEMU_CR + 24, 8),
        .cr4 = field(elf, at + QEMU_CR + 32, 8),
        .efer = field(elf, 18, 2) == EM_X86_64 ? 0xd00 : 0x800,
        .gdt_base = field(elf, at + QEMU_GDT + 16, 8),
        .gdt_limit = (uint32_t)field(elf, at + QEMU_GDT + 4, 4),
        .ldt_base = field(elf, at + QEMU_LDT + 16, 8),
        .ldt_limit = (uint32_t)field(elf, at + QEMU_LDT + 4, 4),
        .cs = (uint16_t)field(elf, at + QEMU_CS, 4),
        .ldt = (uint16_t)field(elf, at + QEMU_LDT, 4),
        .is_64_bit = (field(elf, at + QEMU_CS + 8, 4) & FLAG_L) != 0};
}

static bool is_named(const struct elf *elf, uint64_t at, uint64_t n_bytes, const char *name)
{
    return n_bytes == strlen(name) + 1 && memcmp(elf->file->bytes + at, name, n_bytes) == 0;
}

/* The first note of QEMU's with registers, and Linux's, if there are. */
static void read_notes(struct quire_image *image, struct elf *elf,
                       const struct program_header *header)
{
    uint64_t at = header->offset, room = elf->file->n_bytes;

    if (at > room || header->file_bytes > room - at)
        return;
    uint64_t end = at + header->file_bytes;
    while (end - at >= 12) {
        uint64_t n_name = field(elf, at, 4), n_contents = field(elf, at + 4, 4);
        uint64_t name = at + 12, contents = name + ((n_name + 3) & ~(uint64_t)3);
        uint64_t next = contents + ((n_contents + 3) & ~(uint64_t)3);
        if (next > end)
            return;
        if (is_named(elf, name, n_name, "QEMU") && n_contents >= QEMU_BYTES &&
            !image->registers.has_x86)
            read_registers(&image->registers, elf, contents);
        if (is_named(elf, name, n_name, "VMCOREINFO")) {
            elf->vmcoreinfo = contents;
            elf->n_vmcoreinfo = n_contents;
        }
        at = next;
    }
}

/* The value of a line "NAME=VALUE" of the note; false: there is none. */
static bool find_line(const struct elf *elf, const char *name, int base, uint64_t *value)
{
    const char *text = (const char *)elf->file->bytes + elf->vmcoreinfo;
    const size_t n = strlen(name);
    char digits[24];

    for (uint64_t left = elf->n_vmcoreinfo; left > n;) {
        const char *end = memchr(text, '\n', left);
        const uint64_t length = end != NULL ? (uint64_t)(end - text) : left;
        if (length > n && length - n < sizeof digits && memcmp(text, name, n) == 0) {
            memcpy(digits, text + n, length - n);
            digits[length - n] = '\0';
            *value = base == 16 ? strtoull(digits, NULL, 16) : (uint64_t)strtoll(digits, NULL, 10);
            return true;
        }
        if (end == NULL)
            break;
        text = end + 1;
        left -= length + 1;
    }
    return false;
}

/* Registers as x86-64's Linux has them, with its own tables. */
static void read_vmcoreinfo(struct quire_image_registers *registers, const struct elf *elf)
{
    uint64_t tables, phys_base, has_5_levels = 0;

    if (!find_line(elf, "SYMBOL(swapper_pg_dir)=", 16, &tables) ||
        !find_line(elf, "NUMBER(phys_base)=", 10, &phys_base))
        return;
    find_line(elf, "NUMBER(pgtable_l5_enabled)=", 10, &has_5_levels);
    *registers = (struct quire_image_registers){.has_x86 = true,
                                                .cr0 = CR0_LINUX,
                                                .cr3 = tables - START_KERNEL_MAP + phys_base,
                                                .cr4 = CR4_LINUX |
                                                       (has_5_levels != 0 ? CR4_LA57 : 0),
                                                .efer = 0xd00,
                                                .is_64_bit = true};
}

static int read_elf(struct quire_image *image, const struct image_file *file, uint64_t start,
                    char *message)
{
    struct elf elf = {.file = file};
    uint64_t n_loads = 0;
    int error = read_head(&elf, message);

    if (error != 0)
        return error;
    uint64_t machine = field(&elf, 18, 2);
    for (uint64_t i = 0; i < elf.n_headers; i++) {
        struct program_header header = read_program_header(&elf, i);
        if (header.type == PT_NOTE && (machine == EM_X86_64 || machine == EM_386))
            read_notes(image, &elf, &header);
        if (header.type != PT_LOAD || header.file_bytes == 0 || header.address == UINT64_MAX)
            continue; /* without bytes, or (as /proc/kcore says) without a physical address */
        error = image_add(image, file, header.address, header.file_bytes, header.offset, message);
        if (error != 0)
            return error;
        n_loads++;
    }
    if (machine == EM_X86_64 && elf.n_vmcoreinfo > 0 && !image->registers.has_x86)
        read_vmcoreinfo(&image->registers, &elf);
    if (n_loads == 0)
        return image_refuse(-EINVAL, message, "the core file holds no memory");
    return 0;
}

const struct image_reader image_elf = {"ELF", knows, read_elf};
