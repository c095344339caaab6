/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image_kdump_header: a struct of the dumped kernel's C, in its byte order, with 32 or 64 bits for
 * a long (makedumpfile, IMPLEMENTATION, "The kdump-compressed format"; diskdump_mod.h).
 */
#include "mmu/image_kdump_header.h"

#include "mmu/image.h"
#include "mmu/image_notes.h"

#include "base/checked.h"

#include <errno.h>
#include <string.h>

#define MACHINE 272   /* utsname.machine */
#define STATUS_32 412 /* behind utsname and a struct timeval */
#define STATUS_64 424
#define HEADER_BYTES (STATUS_64 + 20)
#define SUB_HEADER_BYTES 104
#define MIN_BLOCK 4096u
#define MAX_BLOCK 65536u

static bool is_block(uint64_t n)
{
    return n >= MIN_BLOCK && n <= MAX_BLOCK && is_power_of_two(n);
}

static void read_sub_header(struct kdump_header *header, const unsigned char *at)
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

    if (header->version >= 2) {
        header->is_split = image_number(at + (header->is_64 ? 12 : 8), 4, is_big) != 0;
        header->first = image_number(at + (header->is_64 ? 16 : 12), n_long, is_big);
        header->end = image_number(at + (header->is_64 ? 24 : 16), n_long, is_big);
    }
    if (header->version >= 3) {
        header->vmcoreinfo = image_number(at + pairs, 8, is_big);
        header->n_vmcoreinfo = image_number(at + pairs + 8, n_long, is_big);
    }
    if (header->version >= 4) {
        header->notes = image_number(at + pairs + n_pair, 8, is_big);
        header->n_notes = image_number(at + pairs + n_pair + 8, n_long, is_big);
    }
    if (header->version >= 6) {
        header->first = image_number(at + pairs + 3 * n_pair, 8, is_big);
        header->end = image_number(at + pairs + 3 * n_pair + 8, 8, is_big);
        header->n_pages = image_number(at + pairs + 3 * n_pair + 16, 8, is_big);
    }
}

int kdump_header_read(struct kdump_header *header, const struct image_flat *flat, char *message)
{
    unsigned char bytes[HEADER_BYTES], sub[SUB_HEADER_BYTES];

    if (!image_flat_copy(flat, 0, sizeof bytes, bytes))
        return image_refuse(-EINVAL, message, "the header is cut off at byte %llu",
                            (unsigned long long)flat->n_bytes);
    if (memcmp(bytes, KDUMP_MAGIC, KDUMP_MAGIC_BYTES) != 0)
        return image_refuse(-EINVAL, message, "it is flattened, but no kdump-compressed dump");
    *header = (struct kdump_header){.is_big = image_number(bytes + 8, 4, false) > 0xffff};
    const bool is_big = header->is_big;
    header->version = (unsigned)image_number(bytes + 8, 4, is_big);
    memcpy(header->machine, bytes + MACHINE, KDUMP_MACHINE_BYTES - 1);
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
    if (header->is_split && (header->first > header->end || header->end > header->n_pages))
        return image_refuse(-EINVAL, message,
                            "it is damaged: its header says that it has pages %llu to %llu of a "
                            "split dump of %llu",
                            (unsigned long long)header->first, (unsigned long long)header->end,
                            (unsigned long long)header->n_pages);
    return 0;
}

/* makedumpfile writes the same header into each part, and whether that part was finished. Two dumps
 * of a machine may have the same, too: their notes tell the registers and the time of the crash. */
bool kdump_header_is_same(const struct kdump_header *one, const struct image_flat *its_bytes,
                          const struct kdump_header *other, const struct image_flat *others_bytes)
{
    const unsigned status = one->status & ~KDUMP_STATUS_INCOMPLETE;
    const uint64_t n_before = one->is_64 ? STATUS_64 : STATUS_32;

    return one->is_64 == other->is_64 && status == (other->status & ~KDUMP_STATUS_INCOMPLETE) &&
           one->n_pages == other->n_pages && one->vmcoreinfo == other->vmcoreinfo &&
           one->n_vmcoreinfo == other->n_vmcoreinfo && one->notes == other->notes &&
           one->n_notes == other->n_notes &&
           image_flat_same(its_bytes, others_bytes, 0, n_before) &&
           image_flat_same(its_bytes, others_bytes, n_before + 4, 12) && /* sizes in blocks */
           image_flat_same(its_bytes, others_bytes, one->block_bytes + (one->is_64 ? 8 : 4),
                           4) && /* the level */
           image_flat_same(its_bytes, others_bytes, one->vmcoreinfo, one->n_vmcoreinfo) &&
           image_flat_same(its_bytes, others_bytes, one->notes, one->n_notes);
}
