/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image_elf: ELF core files of machines. Each PT_LOAD is a range at its physical address.
 *
 * QEMU writes several PT_LOADs over the same bytes when it dumps with paging, and Linux its kernel
 * a second time, for the addresses that it runs at: image_add() leaves out what is there. PT_NOTEs
 * tell of the processor: image_notes.c.
 *
 * A flattened one (makedumpfile -E -F) has its memory in pieces that begin anywhere: its pages are
 * put together when they are asked for, as if they were compressed.
 */
#include "mmu/image_notes.h"
#include "mmu/image_pages.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_NOTES_BYTES ((uint64_t)64 << 20)
#define PAGE_SHIFT 12

struct elf {
    const struct image_flat *flat;
    bool is_big, is_64;
    uint64_t headers, n_headers, header_bytes;
    unsigned char *notes; /* of all PT_NOTEs */
    uint64_t n_notes;
};

struct program_header {
    uint64_t type, offset, address, file_bytes;
};

static bool knows(const struct image_file *file)
{
    const unsigned char *ident = image_flat_at(&file->flat, 0, EI_NIDENT);

    return ident != NULL && memcmp(ident, ELFMAG, SELFMAG) == 0;
}

/* n bytes, 8 at most, at `at`, which the caller has checked, in the file's byte order. */
static uint64_t field(const struct elf *elf, uint64_t at, unsigned n)
{
    unsigned char bytes[8] = {0};

    (void)image_flat_copy(elf->flat, at, n, bytes);
    return image_number(bytes, n, elf->is_big);
}

/* The number of program headers, where 16 bits are too few: in the first section header. */
static int read_count(struct elf *elf, char *message)
{
    uint64_t at = field(elf, elf->is_64 ? 40 : 32, elf->is_64 ? 8 : 4);
    uint64_t n = elf->is_64 ? sizeof(Elf64_Shdr) : sizeof(Elf32_Shdr);

    if (at > elf->flat->n_bytes || elf->flat->n_bytes - at < n)
        return image_refuse(-EINVAL, message, "the section header at byte %llu is cut off",
                            (unsigned long long)at);
    elf->n_headers = field(elf, at + (elf->is_64 ? 44 : 28), 4);
    return 0;
}

static int read_head(struct elf *elf, char *message)
{
    const unsigned char *ident = image_flat_at(elf->flat, 0, EI_NIDENT);

    elf->is_64 = ident[EI_CLASS] == ELFCLASS64;
    elf->is_big = ident[EI_DATA] == ELFDATA2MSB;
    if (elf->flat->n_bytes < (elf->is_64 ? sizeof(Elf64_Ehdr) : sizeof(Elf32_Ehdr)))
        return image_refuse(-EINVAL, message, "the ELF header is cut off at byte %llu",
                            (unsigned long long)elf->flat->n_bytes);
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
    uint64_t room = elf->flat->n_bytes;
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

/* Appends what a PT_NOTE has. What can't be read is left out: the memory can be. */
static int keep_notes(struct elf *elf, const struct program_header *header, char *message)
{
    const uint64_t room = elf->flat->n_bytes, n = header->file_bytes;
    const uint64_t n_padded = (n + 3) & ~(uint64_t)3; /* as each note is */

    if (n == 0 || header->offset > room || n > room - header->offset ||
        n > MAX_NOTES_BYTES - elf->n_notes)
        return 0;
    unsigned char *notes = realloc(elf->notes, elf->n_notes + n_padded);
    if (notes == NULL)
        return image_refuse(-ENOMEM, message, "out of memory");
    elf->notes = notes;
    memset(notes + elf->n_notes, 0, n_padded);
    (void)image_flat_copy(elf->flat, header->offset, n, notes + elf->n_notes);
    elf->n_notes += n_padded;
    return 0;
}

/* Pages of a flattened file */

struct load {
    uint64_t address, n_bytes, offset;
    uint64_t last_below; /* the highest address of this and of all before it */
};

struct elf_pages {
    struct image_pages pages; /* the first: they are the same pointer */
    struct image_flat flat;   /* the file's, which closes it */
    struct load *loads;       /* by rising address; they may overlap */
    size_t n_loads;
};

static struct elf_pages *of(const struct image_pages *pages)
{
    return (struct elf_pages *)(uintptr_t)pages;
}

static bool is_there(const struct image_pages *pages, uint64_t number)
{
    return true; /* of what is asked for, which is in a range */
}

static uint64_t next(const struct image_pages *pages, uint64_t number, uint64_t limit,
                     uint64_t *end)
{
    *end = limit;
    return number;
}

static int compare(const void *a, const void *b)
{
    const struct load *one = a, *other = b;
    return one->address < other->address ? -1 : one->address > other->address;
}

static void sort_loads(struct elf_pages *elf)
{
    uint64_t last = 0;

    qsort(elf->loads, elf->n_loads, sizeof elf->loads[0], compare);
    for (size_t i = 0; i < elf->n_loads; i++) {
        struct load *load = &elf->loads[i];
        if (last < load->address + (load->n_bytes - 1))
            last = load->address + (load->n_bytes - 1);
        load->last_below = last;
    }
}

/* No load before this one reaches as far as that address. */
static size_t first_load(const struct elf_pages *elf, uint64_t address)
{
    size_t low = 0, high = elf->n_loads;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (elf->loads[middle].last_below < address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Two loads may have parts of one page. */
static int assemble(struct image_pages *pages, uint64_t number, unsigned char *page)
{
    const struct elf_pages *elf = of(pages);
    const uint64_t n_page = (uint64_t)1 << PAGE_SHIFT, start = number << PAGE_SHIFT;

    memset(page, 0, n_page);
    for (size_t i = first_load(elf, start); i < elf->n_loads; i++) {
        const struct load *load = &elf->loads[i];
        const uint64_t skip = start > load->address ? start - load->address : 0;
        const uint64_t at = load->address > start ? load->address - start : 0;
        if (at >= n_page)
            break;
        if (skip >= load->n_bytes)
            continue;
        const uint64_t left = load->n_bytes - skip, room = n_page - at;
        if (!image_flat_copy(&elf->flat, load->offset + skip, left < room ? left : room, page + at))
            return -ENODATA;
    }
    return 0;
}

static int check(const struct image_pages *pages, char *message)
{
    return 0;
}

static void free_pages(struct image_pages *pages)
{
    free(of(pages)->loads);
    free(of(pages));
}

static const struct image_pages_ops elf_ops = {is_there, assemble, next, check, free_pages};

static int make_pages(struct image_file *file, uint64_t max_loads, char *message)
{
    struct elf_pages *elf = calloc(1, sizeof *elf);

    if (elf == NULL)
        return image_refuse(-ENOMEM, message, "out of memory");
    elf->pages.ops = &elf_ops;
    file->pages = &elf->pages; /* from here on image.c frees it */
    const int error = image_pages_init(&elf->pages, &elf_ops, PAGE_SHIFT,
                                       file->flat.n_bytes >> PAGE_SHIFT);
    elf->flat = file->flat;
    elf->loads = calloc(max_loads, sizeof *elf->loads);
    if (error != 0 || elf->loads == NULL)
        return image_refuse(-ENOMEM, message, "out of memory");
    return 0;
}

/* All of it */

static int add_load(struct quire_image *image, struct image_file *file,
                    const struct program_header *header, char *message)
{
    if (file->pages == NULL)
        return image_add(image, file, header->address, header->file_bytes, header->offset, message);
    struct elf_pages *elf = of(file->pages);
    elf->loads[elf->n_loads++] = (struct load){
        .address = header->address, .n_bytes = header->file_bytes, .offset = header->offset};
    return image_add_pages(image, file, header->address, header->file_bytes, message);
}

static int read_headers(struct quire_image *image, struct image_file *file, struct elf *elf,
                        char *message)
{
    uint64_t n_loads = 0;

    for (uint64_t i = 0; i < elf->n_headers; i++) {
        struct program_header header = read_program_header(elf, i);
        int error = 0;
        if (header.type == PT_NOTE)
            error = keep_notes(elf, &header, message);
        /* without bytes, or (as /proc/kcore says) without a physical address */
        if (header.type == PT_LOAD && header.file_bytes > 0 && header.address != UINT64_MAX) {
            error = add_load(image, file, &header, message);
            n_loads++;
        }
        if (error != 0)
            return error;
    }
    if (n_loads > 0)
        return 0;
    if (elf->flat->is_cut)
        return image_refuse(-EINVAL, message,
                            "it is flattened, and cut off before the end, where it says what "
                            "memory it has: write it again");
    return image_refuse(-EINVAL, message, "the core file holds no memory");
}

static int read_elf(struct quire_image *image, struct image_file *file, uint64_t start,
                    char *message)
{
    struct elf elf = {.flat = &file->flat};
    int error = read_head(&elf, message);

    file->may_repeat = true;
    if (error == 0 && file->flat.is_flattened)
        error = make_pages(file, elf.n_headers, message);
    if (error == 0)
        error = read_headers(image, file, &elf, message);
    if (error == 0 && file->pages != NULL)
        sort_loads(of(file->pages));
    if (error == 0) {
        struct image_notes notes = {.machine = (unsigned)field(&elf, 18, 2), .is_big = elf.is_big};
        image_notes_read(&notes, elf.notes, elf.n_notes, &image->registers);
        image_notes_find_kernel(&notes, &image->registers);
    }
    if (error == 0 && file->flat.is_cut)
        image_refuse(0, message, "the dump is cut off at byte %llu: pages lack",
                     (unsigned long long)file->flat.n_bytes);
    free(elf.notes);
    return error;
}

const struct image_reader image_elf = {"ELF", knows, read_elf};
