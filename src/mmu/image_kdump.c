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
 * A page's descriptor is found by its rank: how many pages below it are in the dump. The header is
 * a struct of the dumped kernel's C, in its byte order, with 32 or 64 bits for a long
 * (makedumpfile, IMPLEMENTATION, "The kdump-compressed format"; diskdump_mod.h).
 *
 * Invariants:
 *   K1  there[] has bits below n_pages only; ranks[i] counts those below page i * RANK_PAGES
 *   K2  nothing is read but through image_flat, which knows where the file ends
 *   K3  what is allocated when a file is opened is at most a few times as large as the file
 */
#include "mmu/image_flat.h"
#include "mmu/image_notes.h"
#include "mmu/image_pages.h"
#include "mmu/image_unpack.h"

#include "base/checked.h"

#include <elf.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC "KDUMP   "
#define MAGIC_BYTES 8
#define MACHINE 272 /* utsname.machine */
#define MACHINE_BYTES 65
#define STATUS_32 412 /* behind utsname and a struct timeval */
#define STATUS_64 424
#define HEADER_BYTES (STATUS_64 + 20)
#define SUB_HEADER_BYTES 104
#define MIN_BLOCK 4096u
#define MAX_BLOCK 65536u
#define DESCRIPTOR_BYTES 24
#define STATUS_INCOMPLETE 0x8u
#define RANK_PAGES 512u
#define MAX_RANGES (1u << 16)
#define MAX_NOTES_BYTES ((uint64_t)64 << 20)
#define LAST_DESCRIPTORS 1024u /* that are asked whether the file is cut off */

struct kdump {
    struct image_pages pages; /* the first: they are the same pointer */
    struct image_flat flat;
    bool is_big;
    uint64_t n_pages;
    uint64_t n_there;
    uint64_t *there; /* bitmap 2 */
    uint64_t *ranks;
    uint64_t descriptors; /* where they begin */
};

struct header {
    bool is_big, is_64;
    char machine[MACHINE_BYTES];
    unsigned version, status, block_bytes, sub_blocks, bitmap_blocks, split;
    uint64_t n_pages;
    uint64_t vmcoreinfo, n_vmcoreinfo, notes, n_notes; /* where, and how many bytes */
};

static bool knows(const struct image_file *file)
{
    return image_flat_knows(file) ||
           (file->n_bytes >= MAGIC_BYTES && memcmp(file->bytes, MAGIC, MAGIC_BYTES) == 0);
}

/* The header */

static bool is_block(uint64_t n)
{
    return n >= MIN_BLOCK && n <= MAX_BLOCK && is_power_of_two(n);
}

static void read_sub_header(struct header *header, const unsigned char *at)
{
    /* of phys_base, dump_level, split, start_pfn, end_pfn; then three pairs of an offset, of 64
     * bits, and a size, a long; then start_pfn_64, end_pfn_64, max_mapnr_64. i386 aligns 64 bits
     * to 4. */
    const bool is_aligned = header->is_64 || strncmp(header->machine, "arm", 3) == 0 ||
                            strncmp(header->machine, "ppc", 3) == 0 ||
                            strncmp(header->machine, "mips", 4) == 0;
    const unsigned n_long = header->is_64 ? 8 : 4;
    const unsigned pairs = header->is_64 ? 32 : is_aligned ? 24 : 20;
    const unsigned n_pair = is_aligned ? 16 : 12;
    const bool is_big = header->is_big;

    if (header->version >= 2)
        header->split = (unsigned)image_number(at + (header->is_64 ? 12 : 8), 4, is_big);
    if (header->version >= 3) {
        header->vmcoreinfo = image_number(at + pairs, 8, is_big);
        header->n_vmcoreinfo = image_number(at + pairs + 8, n_long, is_big);
    }
    if (header->version >= 4) {
        header->notes = image_number(at + pairs + n_pair, 8, is_big);
        header->n_notes = image_number(at + pairs + n_pair + 8, n_long, is_big);
    }
    if (header->version >= 6)
        header->n_pages = image_number(at + pairs + 3 * n_pair + 16, 8, is_big);
}

static int read_header(struct header *header, const struct image_flat *flat, char *message)
{
    unsigned char bytes[HEADER_BYTES], sub[SUB_HEADER_BYTES];

    if (!image_flat_copy(flat, 0, sizeof bytes, bytes))
        return image_refuse(-EINVAL, message, "the header is cut off at byte %llu",
                            (unsigned long long)flat->n_bytes);
    if (memcmp(bytes, MAGIC, MAGIC_BYTES) != 0)
        return image_refuse(-EINVAL, message,
                            "it is flattened, but no kdump-compressed dump: `makedumpfile -R FILE' "
                            "makes a plain file of it, from standard input");
    *header = (struct header){.is_big = image_number(bytes + 8, 4, false) > 0xffff};
    const bool is_big = header->is_big;
    header->version = (unsigned)image_number(bytes + 8, 4, is_big);
    memcpy(header->machine, bytes + MACHINE, MACHINE_BYTES - 1);
    /* in 64 bits, what is asked here is a time's microseconds: below 2^32, so the second is 0 */
    header->is_64 = !is_block(image_number(bytes + STATUS_32 + 4, 4, is_big)) ||
                    image_number(bytes + STATUS_32 + 8, 4, is_big) == 0;
    const unsigned char *status = bytes + (header->is_64 ? STATUS_64 : STATUS_32);
    header->status = (unsigned)image_number(status, 4, is_big);
    header->block_bytes = (unsigned)image_number(status + 4, 4, is_big);
    header->sub_blocks = (unsigned)image_number(status + 8, 4, is_big);
    header->bitmap_blocks = (unsigned)image_number(status + 12, 4, is_big);
    header->n_pages = image_number(status + 16, 4, is_big);
    if (!is_block(header->block_bytes))
        return image_refuse(-EINVAL, message,
                            "it is damaged: its header says that pages have %u bytes",
                            header->block_bytes);
    if (header->version < 1)
        return 0; /* without a sub-header */
    if (!image_flat_copy(flat, header->block_bytes, sizeof sub, sub))
        return image_refuse(-EINVAL, message, "the sub-header is cut off at byte %llu",
                            (unsigned long long)flat->n_bytes);
    read_sub_header(header, sub);
    if (header->split != 0)
        return image_refuse(-EINVAL, message,
                            "it is one part of a split dump: `makedumpfile --reassemble PART ... "
                            "DUMP' makes one of all parts");
    return 0;
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

/* One of them, with zeros up to a multiple of RANK_PAGES. NULL: out of memory. */
static uint64_t *read_bitmap(const struct kdump *kdump, uint64_t at)
{
    const uint64_t n_words = round_up(kdump->n_pages, RANK_PAGES) / 64;
    uint64_t *words = calloc(n_words, sizeof *words);

    if (words == NULL)
        return NULL;
    (void)image_flat_copy(&kdump->flat, at, (kdump->n_pages + 7) / 8, words);
    for (uint64_t i = 0; i < n_words; i++)
        words[i] = le64toh(words[i]); /* a bitmap is of bytes, whatever the machine's order */
    if (kdump->n_pages % 64 != 0)
        words[kdump->n_pages / 64] &= ((uint64_t)1 << kdump->n_pages % 64) - 1;
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

static int rank(struct kdump *kdump)
{
    const uint64_t n = round_up(kdump->n_pages, RANK_PAGES) / RANK_PAGES;

    kdump->ranks = calloc(n, sizeof *kdump->ranks);
    if (kdump->ranks == NULL)
        return -ENOMEM;
    for (uint64_t i = 0; i < n; i++) {
        kdump->ranks[i] = kdump->n_there;
        for (unsigned j = 0; j < RANK_PAGES / 64; j++)
            kdump->n_there += (uint64_t)__builtin_popcountll(
                kdump->there[i * (RANK_PAGES / 64) + j]);
    }
    return 0;
}

/* A range for each run of pages that are memory. */
static int add_ranges(struct quire_image *image, const struct image_file *file,
                      const struct kdump *kdump, const uint64_t *is_memory, char *message)
{
    const unsigned shift = kdump->pages.page_shift;
    unsigned n = 0;

    for (uint64_t first = 0, end;; first = end) {
        first = find_bit(is_memory, first, kdump->n_pages, true);
        if (first == kdump->n_pages)
            break;
        end = find_bit(is_memory, first, kdump->n_pages, false);
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

/* Both bitmaps, and where descriptors begin. Of the oldest dumps there is one for both. */
static int read_bitmaps(struct quire_image *image, const struct image_file *file,
                        struct kdump *kdump, const struct header *header, char *message)
{
    const uint64_t block = header->block_bytes, at = block * (1 + (uint64_t)header->sub_blocks);
    const uint64_t n_bytes = block * header->bitmap_blocks;
    const uint64_t n_needed = header->n_pages / 8 + (header->n_pages % 8 != 0);
    const bool has_two = header->bitmap_blocks / 2 >= (n_needed + block - 1) / block;
    const uint64_t second = has_two ? at + header->bitmap_blocks / 2 * block : at;

    if (n_needed == 0 || n_needed > n_bytes || n_needed > file->n_bytes ||
        at + n_bytes > kdump->flat.n_bytes)
        return image_refuse(-EINVAL, message,
                            "the bitmaps of %llu pages, %llu bytes from byte %llu on, are cut off, "
                            "or the header is damaged",
                            (unsigned long long)header->n_pages, (unsigned long long)n_bytes,
                            (unsigned long long)at);
    kdump->n_pages = header->n_pages;
    kdump->descriptors = at + n_bytes;
    kdump->there = read_bitmap(kdump, second);
    uint64_t *is_memory = read_bitmap(kdump, at);
    int error = kdump->there == NULL || is_memory == NULL || rank(kdump) != 0
                    ? image_refuse(-ENOMEM, message, "out of memory")
                    : add_ranges(image, file, kdump, is_memory, message);
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
    return number < kdump->n_pages && (kdump->there[number / 64] >> number % 64 & 1) != 0;
}

static uint64_t next(const struct image_pages *pages, uint64_t number, uint64_t limit,
                     uint64_t *end)
{
    const struct kdump *kdump = of(pages);
    const uint64_t n = limit < kdump->n_pages ? limit : kdump->n_pages;

    number = find_bit(kdump->there, number, n, true);
    *end = find_bit(kdump->there, number, n, false);
    return number < n ? number : limit;
}

static void free_kdump(struct image_pages *pages)
{
    struct kdump *kdump = of(pages);

    image_flat_close(&kdump->flat);
    free(kdump->there);
    free(kdump->ranks);
    free(kdump);
}

struct descriptor {
    uint64_t offset;
    uint32_t size, flags;
};

static bool read_descriptor(const struct kdump *kdump, uint64_t i, struct descriptor *descriptor)
{
    unsigned char bytes[DESCRIPTOR_BYTES];

    if (!image_flat_copy(&kdump->flat, kdump->descriptors + i * DESCRIPTOR_BYTES, sizeof bytes,
                         bytes))
        return false;
    descriptor->offset = image_number(bytes, 8, kdump->is_big);
    descriptor->size = (uint32_t)image_number(bytes + 8, 4, kdump->is_big);
    descriptor->flags = (uint32_t)image_number(bytes + 12, 4, kdump->is_big);
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
    const uint64_t n_page = (uint64_t)1 << pages->page_shift;
    struct descriptor descriptor;

    if (!read_descriptor(kdump, rank_of(kdump, number), &descriptor))
        return -ENODATA;
    if (descriptor.size == 0 || descriptor.size > n_page)
        return -EIO;
    const unsigned char *packed = image_flat_at(&kdump->flat, descriptor.offset, descriptor.size);
    if (packed != NULL)
        return unpack(&descriptor, packed, page, n_page);
    unsigned char *copy = malloc(descriptor.size); /* it lies in two pieces, or is cut off */
    if (copy == NULL)
        return -ENOMEM;
    int error = image_flat_copy(&kdump->flat, descriptor.offset, descriptor.size, copy)
                    ? unpack(&descriptor, copy, page, n_page)
                    : -ENODATA;
    free(copy);
    return error;
}

static const struct image_pages_ops kdump_ops = {is_there, load, next, free_kdump};

/* All of it */

static unsigned machine_of(const struct header *header)
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
static int read_notes(struct quire_image *image, const struct kdump *kdump,
                      const struct header *header, char *message)
{
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
static void tell_cut(const struct kdump *kdump, const struct header *header, char *message)
{
    const uint64_t n = kdump->n_there < LAST_DESCRIPTORS ? kdump->n_there : LAST_DESCRIPTORS;
    struct descriptor descriptor;
    bool is_cut = kdump->flat.is_cut;

    for (uint64_t i = kdump->n_there - n; i < kdump->n_there && !is_cut; i++)
        is_cut = !read_descriptor(kdump, i, &descriptor) ||
                 descriptor.offset > kdump->flat.n_bytes ||
                 kdump->flat.n_bytes - descriptor.offset < descriptor.size;
    if (is_cut)
        image_refuse(0, message, "the dump is cut off at byte %llu: pages lack",
                     (unsigned long long)kdump->flat.n_bytes);
    else if ((header->status & STATUS_INCOMPLETE) != 0)
        image_refuse(0, message, "the dump was not finished, as its header says: pages lack");
}

static int read_kdump(struct quire_image *image, struct image_file *file, uint64_t start,
                      char *message)
{
    struct kdump *kdump = calloc(1, sizeof *kdump);
    struct header header;

    if (kdump == NULL)
        return image_refuse(-ENOMEM, message, "out of memory");
    kdump->pages.ops = &kdump_ops;
    file->pages = &kdump->pages; /* from here on image.c frees it */
    int error = image_flat_open(&kdump->flat, file, message);
    if (error == 0)
        error = read_header(&header, &kdump->flat, message);
    if (error == 0)
        error = check_codecs(header.status, message);
    if (error != 0)
        return error;
    kdump->is_big = header.is_big;
    if (image_pages_init(&kdump->pages, &kdump_ops, log2_floor(header.block_bytes),
                         header.n_pages) != 0)
        return image_refuse(-ENOMEM, message, "out of memory");
    error = read_bitmaps(image, file, kdump, &header, message);
    if (error == 0)
        error = read_notes(image, kdump, &header, message);
    if (error == 0)
        tell_cut(kdump, &header, message);
    return error;
}

const struct image_reader image_kdump = {"kdump-compressed", knows, read_kdump};
