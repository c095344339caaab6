/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image_kdump: kdump-compressed files, as makedumpfile and QEMU's dump-guest-memory write them.
 *
 *     block 0    header: "KDUMP   ", version, utsname, time, status, sizes in blocks
 *     block 1    sub-header: level of the dump, whether it is split, where notes are
 *     then       two bitmaps, a bit a page:  1 it is memory    2 it is in the dump
 *     then       a descriptor for each bit of 2:  offset, size, flags, page flags   (24 bytes)
 *                pages, compressed or not; several descriptors may share one
 *
 * A page's descriptor is found by its rank: how many pages below it are in the dump. Of a dump that
 * makedumpfile split, each file has both bitmaps, and descriptors of its own pages: the first one
 * that is added makes the memory, the others become parts of it.
 *
 *     there[]   | 1 0 1 1 . . . | 1 1 0 . . . . | . . . . |     pages whose part is not there are
 *     parts[]   [ file 1        )               [ file 2  )     the memory's, and can't be had
 *
 * Invariants:
 *   K1  there[] has bits below n_pages only; ranks[i] counts those below page i * RANK_PAGES
 *   K2  nothing is read but through image_flat, which knows where the file ends
 *   K3  what is allocated when a file is opened is at most a few times as large as the file
 *   K4  parts rise by their first page, none is empty, and they do not overlap
 */
#include "mmu/image_kdump_header.h"
#include "mmu/image_notes.h"
#include "mmu/image_pages.h"
#include "mmu/image_unpack.h"

#include "base/checked.h"

#include <elf.h>
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DESCRIPTOR_BYTES 24
#define RANK_PAGES 512u
#define MAX_RANGES (1u << 16)
#define MAX_NOTES_BYTES ((uint64_t)64 << 20)
#define LAST_DESCRIPTORS 1024u /* that are asked whether the file is cut off */
#define MAX_GAPS_TOLD 3u

/* What one file has: the pages from first on, whose descriptors are one after the other. */
struct part {
    struct image_flat flat; /* the file's, which closes it */
    uint64_t first, end;
    uint64_t descriptors; /* where they begin */
};

struct kdump {
    struct image_pages pages;   /* the first: they are the same pointer */
    struct kdump_header header; /* of the file that was added first */
    struct image_flat flat;     /* the same file's */
    uint64_t *there;            /* bitmap 2 */
    uint64_t *ranks;
    struct part *parts;
    size_t n_parts;
};

static bool knows(const struct image_file *file)
{
    const unsigned char *magic = image_flat_at(&file->flat, 0, KDUMP_MAGIC_BYTES);

    return file->flat.is_flattened ||
           (magic != NULL && memcmp(magic, KDUMP_MAGIC, KDUMP_MAGIC_BYTES) == 0);
}

static int check_codecs(unsigned status, char *message)
{
    static const struct {
        enum image_codec codec;
        const char *name, *package;
    } codecs[] = {{IMAGE_CODEC_ZLIB, "zlib", "zlib1g"},
                  {IMAGE_CODEC_LZO, "LZO", "liblzo2-2"},
                  {IMAGE_CODEC_SNAPPY, "Snappy", "libsnappy1v5"}};

    for (size_t i = 0; i < sizeof codecs / sizeof codecs[0]; i++) {
        const char *library = image_unpack_lacks(codecs[i].codec);
        if ((status & codecs[i].codec) != 0 && library != NULL)
            return image_refuse(-ENOTSUP, message,
                                "its pages are compressed by %s, and %s can't be loaded: install "
                                "it (Debian: %s)",
                                codecs[i].name, library, codecs[i].package);
    }
    return 0;
}

/* Bitmaps */

static uint64_t n_words(uint64_t n_pages)
{
    return round_up(n_pages + 1, RANK_PAGES) / 64; /* so that rank_of(n_pages) can be asked */
}

/* Where the first of both is. */
static uint64_t bitmaps_at(const struct kdump_header *header)
{
    return (uint64_t)header->block_bytes * (1 + (uint64_t)header->sub_blocks);
}

static uint64_t descriptors_at(const struct kdump_header *header)
{
    return bitmaps_at(header) + (uint64_t)header->block_bytes * header->bitmap_blocks;
}

/* Of the oldest dumps there is one for both. */
static uint64_t second_at(const struct kdump_header *header)
{
    const uint64_t block = header->block_bytes;
    const uint64_t n_needed = header->n_pages / 8 + (header->n_pages % 8 != 0);
    const bool has_two = header->bitmap_blocks / 2 >= (n_needed + block - 1) / block;

    return bitmaps_at(header) + (has_two ? header->bitmap_blocks / 2 * block : 0);
}

static int check_bitmaps(const struct kdump_header *header, const struct image_file *file,
                         char *message)
{
    const uint64_t n_bytes = descriptors_at(header) - bitmaps_at(header);
    const uint64_t n_needed = header->n_pages / 8 + (header->n_pages % 8 != 0);

    /* a part without pages ends with the last byte that is needed, not with the block */
    if (n_needed == 0 || n_needed > n_bytes || n_needed > file->n_bytes ||
        second_at(header) + n_needed > file->flat.n_bytes)
        return image_refuse(-EINVAL, message,
                            "the bitmaps of %llu pages, %llu bytes from byte %llu on, are cut off, "
                            "or the header is damaged",
                            (unsigned long long)header->n_pages, (unsigned long long)n_bytes,
                            (unsigned long long)bitmaps_at(header));
    return 0;
}

/* One of them, with zeros behind it. NULL: out of memory. */
static uint64_t *read_bitmap(const struct image_flat *flat, uint64_t at, uint64_t n_pages)
{
    uint64_t *words = calloc(n_words(n_pages), sizeof *words);

    if (words == NULL)
        return NULL;
    (void)image_flat_copy(flat, at, (n_pages + 7) / 8, words);
    for (uint64_t i = 0; i < n_words(n_pages); i++)
        words[i] = le64toh(words[i]); /* a bitmap is of bytes, whatever the machine's order */
    if (n_pages % 64 != 0)
        words[n_pages / 64] &= ((uint64_t)1 << n_pages % 64) - 1;
    return words;
}

/* The first page from `from` on whose bit is `wanted`; `limit`: there is none before. */
static uint64_t find_bit(const uint64_t *words, uint64_t from, uint64_t limit, bool wanted)
{
    while (from < limit) {
        uint64_t word = (wanted ? words[from / 64] : ~words[from / 64]) >> from % 64;
        if (word != 0) {
            from += (uint64_t)__builtin_ctzll(word);
            break;
        }
        from = (from / 64 + 1) * 64;
    }
    return from < limit ? from : limit;
}

static void copy_bits(uint64_t *to, const uint64_t *from, uint64_t first, uint64_t end)
{
    for (uint64_t at = first; at < end; at = (at / 64 + 1) * 64) {
        uint64_t mask = ~(uint64_t)0 << at % 64;
        if (end - at < 64 - at % 64)
            mask &= ((uint64_t)1 << end % 64) - 1;
        to[at / 64] = (to[at / 64] & ~mask) | (from[at / 64] & mask);
    }
}

/* K1 */
static void rank(struct kdump *kdump)
{
    uint64_t n = 0;

    for (uint64_t i = 0; i < n_words(kdump->header.n_pages); i++) {
        if (i % (RANK_PAGES / 64) == 0)
            kdump->ranks[i / (RANK_PAGES / 64)] = n;
        n += (uint64_t)__builtin_popcountll(kdump->there[i]);
    }
}

/* A range for each run of pages that are memory. */
static int add_ranges(struct quire_image *image, const struct image_file *file,
                      const struct kdump *kdump, const uint64_t *is_memory, char *message)
{
    const unsigned shift = kdump->pages.page_shift;
    const uint64_t n_pages = kdump->header.n_pages;
    unsigned n = 0;

    for (uint64_t first = 0, end;; first = end) {
        first = find_bit(is_memory, first, n_pages, true);
        if (first == n_pages)
            break;
        end = find_bit(is_memory, first, n_pages, false);
        if (n++ == MAX_RANGES)
            return image_refuse(-EINVAL, message,
                                "it is damaged: its memory lies in more than %u pieces",
                                MAX_RANGES);
        int error = image_add_pages(image, file, first << shift, (end - first) << shift, message);
        if (error != 0)
            return error;
    }
    if (n == 0)
        return image_refuse(-EINVAL, message, "the dump holds no memory");
    return 0;
}

/* Both of the file that is added first. */
static int read_bitmaps(struct quire_image *image, const struct image_file *file,
                        struct kdump *kdump, char *message)
{
    const struct kdump_header *header = &kdump->header;
    const uint64_t n_ranks = n_words(header->n_pages) / (RANK_PAGES / 64);

    kdump->there = read_bitmap(&file->flat, second_at(header), header->n_pages);
    kdump->ranks = calloc(n_ranks, sizeof *kdump->ranks);
    uint64_t *is_memory = read_bitmap(&file->flat, bitmaps_at(header), header->n_pages);
    int error;
    if (kdump->there == NULL || kdump->ranks == NULL || is_memory == NULL) {
        error = image_refuse(-ENOMEM, message, "out of memory");
    } else {
        rank(kdump);
        error = add_ranges(image, file, kdump, is_memory, message);
    }
    free(is_memory);
    return error;
}

/* Pages */

static struct kdump *of(const struct image_pages *pages)
{
    return (struct kdump *)(uintptr_t)pages; /* the first in it */
}

static bool is_there(const struct image_pages *pages, uint64_t number)
{
    const struct kdump *kdump = of(pages);
    return number < kdump->header.n_pages && (kdump->there[number / 64] >> number % 64 & 1) != 0;
}

static uint64_t next(const struct image_pages *pages, uint64_t number, uint64_t limit,
                     uint64_t *end)
{
    const struct kdump *kdump = of(pages);

    for (size_t i = 0; i < kdump->n_parts && kdump->parts[i].first < limit; i++) {
        const struct part *part = &kdump->parts[i];
        const uint64_t stop = part->end < limit ? part->end : limit;
        number = find_bit(kdump->there, number > part->first ? number : part->first, stop, true);
        if (number < stop) {
            *end = find_bit(kdump->there, number, stop, false);
            return number;
        }
    }
    *end = limit;
    return limit;
}

static void free_kdump(struct image_pages *pages)
{
    struct kdump *kdump = of(pages);

    free(kdump->parts);
    free(kdump->there);
    free(kdump->ranks);
    free(kdump);
}

struct descriptor {
    uint64_t offset;
    uint32_t size, flags;
};

/* The part's i-th. */
static bool read_descriptor(const struct part *part, uint64_t i, bool is_big,
                            struct descriptor *descriptor)
{
    unsigned char bytes[DESCRIPTOR_BYTES];

    if (!image_flat_copy(&part->flat, part->descriptors + i * DESCRIPTOR_BYTES, sizeof bytes,
                         bytes))
        return false;
    descriptor->offset = image_number(bytes, 8, is_big);
    descriptor->size = (uint32_t)image_number(bytes + 8, 4, is_big);
    descriptor->flags = (uint32_t)image_number(bytes + 12, 4, is_big);
    return descriptor->offset != 0; /* else it was never written */
}

static uint64_t rank_of(const struct kdump *kdump, uint64_t number)
{
    uint64_t count = kdump->ranks[number / RANK_PAGES], word = number / 64;

    for (uint64_t i = number / RANK_PAGES * (RANK_PAGES / 64); i < word; i++)
        count += (uint64_t)__builtin_popcountll(kdump->there[i]);
    return count +
           (uint64_t)__builtin_popcountll(kdump->there[word] & (((uint64_t)1 << number % 64) - 1));
}

/* The part that has that page, or NULL. */
static const struct part *part_of(const struct kdump *kdump, uint64_t number)
{
    for (size_t i = 0; i < kdump->n_parts; i++)
        if (number >= kdump->parts[i].first && number < kdump->parts[i].end)
            return &kdump->parts[i];
    return NULL;
}

static int unpack(const struct descriptor *descriptor, const unsigned char *packed,
                  unsigned char *page, uint64_t n_page)
{
    const unsigned codec = descriptor->flags & IMAGE_CODECS;

    if (codec != 0)
        return image_unpack(codec, packed, descriptor->size, page, n_page);
    if (descriptor->size != n_page)
        return -EIO;
    memcpy(page, packed, n_page);
    return 0;
}

static int load(struct image_pages *pages, uint64_t number, unsigned char *page)
{
    const struct kdump *kdump = of(pages);
    const struct part *part = part_of(kdump, number);
    const uint64_t n_page = (uint64_t)1 << pages->page_shift;
    struct descriptor descriptor;

    if (part == NULL || !read_descriptor(part, rank_of(kdump, number) - rank_of(kdump, part->first),
                                         kdump->header.is_big, &descriptor))
        return -ENODATA;
    if (descriptor.size == 0 || descriptor.size > n_page)
        return -EIO;
    const unsigned char *packed = image_flat_at(&part->flat, descriptor.offset, descriptor.size);
    if (packed != NULL)
        return unpack(&descriptor, packed, page, n_page);
    unsigned char *copy = malloc(descriptor.size); /* it lies in two pieces, or is cut off */
    if (copy == NULL)
        return -ENOMEM;
    int error = image_flat_copy(&part->flat, descriptor.offset, descriptor.size, copy)
                    ? unpack(&descriptor, copy, page, n_page)
                    : -ENODATA;
    free(copy);
    return error;
}

/* Says which parts of a split dump lack. */
static int check(const struct image_pages *pages, char *message)
{
    const struct kdump *kdump = of(pages);
    char gaps[160] = "";
    uint64_t from = 0;
    unsigned n = 0;

    for (size_t i = 0; i <= kdump->n_parts; i++) {
        const bool is_last = i == kdump->n_parts;
        const uint64_t to = is_last ? kdump->header.n_pages : kdump->parts[i].first;
        if (from < to && n++ < MAX_GAPS_TOLD) {
            const size_t length = strlen(gaps);
            snprintf(gaps + length, sizeof gaps - length, "%s0x%llx-0x%llx", n > 1 ? ", " : "",
                     (unsigned long long)from << pages->page_shift,
                     ((unsigned long long)to << pages->page_shift) - 1);
        }
        from = is_last ? to : kdump->parts[i].end;
    }
    if (n == 0)
        return 0;
    return image_refuse(
        -ENODATA, message,
        "of a split dump the part with physical addresses %s%s is missing: give its "
        "file, too",
        gaps, n > MAX_GAPS_TOLD ? " and more" : "");
}

static const struct image_pages_ops kdump_ops = {is_there, load, next, check, free_kdump};

/* All of it */

static unsigned machine_of(const struct kdump_header *header)
{
    static const struct {
        const char *name;
        unsigned machine;
    } machines[] = {{"x86_64", EM_X86_64}, {"aarch64", EM_AARCH64}, {"riscv64", EM_RISCV},
                    {"i386", EM_386},      {"i486", EM_386},        {"i586", EM_386},
                    {"i686", EM_386}};

    for (size_t i = 0; i < sizeof machines / sizeof machines[0]; i++)
        if (strcmp(header->machine, machines[i].name) == 0)
            return machines[i].machine;
    return EM_NONE;
}

/* Registers, of QEMU's note or by VMCOREINFO, which makedumpfile leaves in either place. What can't
 * be read is left out: the memory can be. */
static int read_notes(struct quire_image *image, const struct kdump *kdump, char *message)
{
    const struct kdump_header *header = &kdump->header;
    const uint64_t room = kdump->flat.n_bytes;
    const uint64_t max = room < MAX_NOTES_BYTES ? room : MAX_NOTES_BYTES;
    const uint64_t n_notes = header->n_notes <= max ? header->n_notes : 0;
    const uint64_t n_info = header->n_vmcoreinfo <= max ? header->n_vmcoreinfo : 0;
    struct image_notes notes = {.machine = machine_of(header), .is_big = header->is_big};
    unsigned char *bytes = calloc(1, n_notes + n_info + 1);

    if (bytes == NULL)
        return image_refuse(-ENOMEM, message, "out of memory");
    if (image_flat_copy(&kdump->flat, header->notes, n_notes, bytes))
        image_notes_read(&notes, bytes, n_notes, &image->registers);
    if (n_info > 0 && image_flat_copy(&kdump->flat, header->vmcoreinfo, n_info, bytes + n_notes)) {
        notes.vmcoreinfo = bytes + n_notes;
        notes.n_vmcoreinfo = n_info;
    }
    image_notes_find_kernel(&notes, &image->registers);
    free(bytes);
    return 0;
}

/* Says so, if the file ends before its pages do. Those that were written last are asked. */
static void tell_cut(const struct kdump *kdump, const struct part *part,
                     const struct kdump_header *header, char *message)
{
    const uint64_t n_there = rank_of(kdump, part->end) - rank_of(kdump, part->first);
    const uint64_t n = n_there < LAST_DESCRIPTORS ? n_there : LAST_DESCRIPTORS;
    const uint64_t n_bytes = part->flat.n_bytes;
    struct descriptor descriptor;
    bool is_cut = part->flat.is_cut;

    for (uint64_t i = n_there - n; i < n_there && !is_cut; i++)
        is_cut = !read_descriptor(part, i, header->is_big, &descriptor) ||
                 descriptor.offset > n_bytes || n_bytes - descriptor.offset < descriptor.size;
    if (is_cut)
        image_refuse(0, message, "the dump is cut off at byte %llu: pages lack",
                     (unsigned long long)n_bytes);
    else if ((header->status & KDUMP_STATUS_INCOMPLETE) != 0)
        image_refuse(0, message, "the dump was not finished, as its header says: pages lack");
}

/* Puts it where it belongs. */
static int add_part(struct kdump *kdump, const struct part *part, char *message)
{
    const unsigned shift = kdump->pages.page_shift;
    size_t at = 0;

    if (part->first == part->end)
        return 0; /* there were more parts than pages to be written */
    while (at < kdump->n_parts && kdump->parts[at].end <= part->first)
        at++;
    if (at < kdump->n_parts && kdump->parts[at].first < part->end)
        return image_refuse(-EEXIST, message,
                            "it has physical addresses 0x%llx to 0x%llx of a split dump, which "
                            "overlap a part that is there: is one given twice?",
                            (unsigned long long)part->first << shift,
                            ((unsigned long long)part->end << shift) - 1);
    struct part *larger = realloc(kdump->parts, (kdump->n_parts + 1) * sizeof *larger);
    if (larger == NULL)
        return image_refuse(-ENOMEM, message, "out of memory");
    kdump->parts = larger;
    memmove(&larger[at + 1], &larger[at], (kdump->n_parts - at) * sizeof *larger);
    larger[at] = *part;
    kdump->n_parts++;
    return 0;
}

static struct part make_part(const struct image_file *file, const struct kdump_header *header)
{
    return (struct part){.flat = file->flat,
                         .first = header->is_split ? header->first : 0,
                         .end = header->is_split ? header->end : header->n_pages,
                         .descriptors = descriptors_at(header)};
}

/* The dump whose part was added before, or NULL. */
static struct kdump *find_split(const struct quire_image *image)
{
    for (size_t i = 0; i < image->n_files; i++) {
        const struct image_pages *pages = image->files[i].pages;
        if (pages != NULL && pages->ops == &kdump_ops && of(pages)->header.is_split)
            return of(pages);
    }
    return NULL;
}

/* Makes the file a part of that dump. Its own bitmap says which of its pages there are. */
static int join(struct kdump *kdump, const struct image_file *file,
                const struct kdump_header *header, char *message)
{
    const struct part part = make_part(file, header);

    if (!kdump_header_is_same(&kdump->header, &kdump->flat, header, &file->flat))
        return image_refuse(-EINVAL, message,
                            "it is a part of another split dump than the one before it: their "
                            "headers or notes differ");
    uint64_t *there = read_bitmap(&file->flat, second_at(header), header->n_pages);
    int error = there == NULL ? image_refuse(-ENOMEM, message, "out of memory")
                              : add_part(kdump, &part, message);
    if (error == 0) {
        copy_bits(kdump->there, there, part.first, part.end);
        rank(kdump);
        tell_cut(kdump, &part, header, message);
    }
    free(there);
    return error;
}

/* Makes memory of the file. */
static int make(struct quire_image *image, struct image_file *file,
                const struct kdump_header *header, char *message)
{
    struct kdump *kdump = calloc(1, sizeof *kdump);
    const struct part part = make_part(file, header);

    if (kdump == NULL)
        return image_refuse(-ENOMEM, message, "out of memory");
    file->pages = &kdump->pages; /* from here on image.c frees it */
    if (image_pages_init(&kdump->pages, &kdump_ops, log2_floor(header->block_bytes),
                         header->n_pages) != 0)
        return image_refuse(-ENOMEM, message, "out of memory");
    kdump->header = *header;
    kdump->flat = file->flat;
    int error = read_bitmaps(image, file, kdump, message);
    if (error == 0)
        error = add_part(kdump, &part, message);
    if (error == 0)
        error = read_notes(image, kdump, message);
    if (error == 0)
        tell_cut(kdump, &part, header, message);
    return error;
}

static int read_kdump(struct quire_image *image, struct image_file *file, uint64_t start,
                      char *message)
{
    struct kdump_header header;
    int error = kdump_header_read(&header, &file->flat, message);

    if (error == 0)
        error = check_codecs(header.status, message);
    if (error == 0)
        error = check_bitmaps(&header, file, message);
    if (error != 0)
        return error;
    struct kdump *split = header.is_split ? find_split(image) : NULL;
    return split != NULL ? join(split, file, &header, message)
                         : make(image, file, &header, message);
}

const struct image_reader image_kdump = {"kdump-compressed", knows, read_kdump};
