/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image_elf: ELF core files of machines. Each PT_LOAD is a range at its physical address.
 *
 * QEMU writes several PT_LOADs over the same bytes when it dumps with paging: image_add() leaves
 * out what is there. PT_NOTEs tell of the processor: image_notes.c.
 */
#include "mmu/image_notes.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

struct elf {
    const struct image_file *file;
    bool is_big, is_64;
    uint64_t headers, n_headers, header_bytes;
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
    return image_number(elf->file->bytes + at, n, elf->is_big);
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

static void read_notes(struct quire_image *image, const struct elf *elf, struct image_notes *notes,
                       const struct program_header *header)
{
    uint64_t room = elf->file->n_bytes;

    if (header->offset <= room && header->file_bytes <= room - header->offset)
        image_notes_read(notes, elf->file->bytes + header->offset, header->file_bytes,
                         &image->registers);
}

static int read_elf(struct quire_image *image, struct image_file *file, uint64_t start,
                    char *message)
{
    struct elf elf = {.file = file};
    uint64_t n_loads = 0;
    int error = read_head(&elf, message);

    if (error != 0)
        return error;
    struct image_notes notes = {.machine = (unsigned)field(&elf, 18, 2), .is_big = elf.is_big};
    for (uint64_t i = 0; i < elf.n_headers; i++) {
        struct program_header header = read_program_header(&elf, i);
        if (header.type == PT_NOTE)
            read_notes(image, &elf, &notes, &header);
        if (header.type != PT_LOAD || header.file_bytes == 0 || header.address == UINT64_MAX)
            continue; /* without bytes, or (as /proc/kcore says) without a physical address */
        error = image_add(image, file, header.address, header.file_bytes, header.offset, message);
        if (error != 0)
            return error;
        n_loads++;
    }
    image_notes_find_kernel(&notes, &image->registers);
    if (n_loads == 0)
        return image_refuse(-EINVAL, message, "the core file holds no memory");
    return 0;
}

const struct image_reader image_elf = {"ELF", knows, read_elf};
