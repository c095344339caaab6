/* SPDX-License-Identifier: Apache-2.0 */
/*
 * radix_build: puts entries into trees of tables, takes them out, changes them.
 *
 *     map      descend from the root, hanging new tables in where there is none, to the page's
 * level unmap    clear the entry; a table that is all zeros then goes, and so on upwards touch what
 * the hardware does to entries on the way of an access
 *
 * What map() took on its way it gives back when it fails, and the tree is as it was. A NAPOT page
 * of RISC-V is 16 entries alike, and changes as one.
 */
#include "mmu/radix.h"

#define MAX_ENTRIES (1u << 13)

struct place {
    uint64_t entry_address, entry, table;
    int level;
    struct radix_path path;
    enum radix_kind kind;
};

static int load(const struct quire_mmu *mmu, struct radix_shape shape, uint64_t address,
                uint64_t *entry)
{
    const struct quire_image_range *hint = NULL;
    const unsigned char *at = image_at(mmu->image, address, shape.entry_bytes, &hint);

    if (at == NULL || !hint->is_writable)
        return -EFAULT;
    *entry = radix_load(shape, at);
    return 0;
}

static int store(struct quire_image *image, struct radix_shape shape, uint64_t address,
                 uint64_t entry)
{
    uint32_t word = htole32((uint32_t)entry);
    uint64_t wide = htole64(entry);

    return quire_image_write(image, address,
                             shape.entry_bytes == 4 ? (const void *)&word : (const void *)&wide,
                             shape.entry_bytes);
}

static uint64_t table_bytes(struct radix_shape shape)
{
    return (uint64_t)shape.entry_bytes << shape.bits;
}

/* The path to what maps va, or to the entry that does not; levels above `bottom` only. */
static int descend(const struct quire_mmu *mmu, const struct radix_format *format, uint64_t va,
                   int bottom, struct place *places, unsigned *n)
{
    struct radix_start start = format->begin(mmu, va);
    struct radix_shape shape = format->shape(mmu, start.half);
    struct radix_path path = {.next = start.root, .rights = QUIRE_MMU_ALL, .half = start.half};

    *n = 0;
    if (start.reason != QUIRE_MMU_OK)
        return -EINVAL;
    for (int level = shape.n_levels - 1; level >= bottom; level--) {
        struct place *place = &places[(*n)++];
        place->table = path.next;
        place->level = level;
        place->entry_address = path.next + radix_index(shape, level, start.va) * shape.entry_bytes;
        int error = load(mmu, shape, place->entry_address, &place->entry);
        if (error != 0)
            return error;
        path.page_shift = (uint8_t)radix_shift(shape, level);
        path.reason = QUIRE_MMU_OK;
        place->kind = place->entry == 0 ? radix_fault(&path, QUIRE_MMU_NOT_PRESENT)
                                        : format->decode(mmu, (unsigned)level, place->entry, &path);
        place->path = path;
        if (place->kind != RADIX_TABLE)
            break;
    }
    return 0;
}

/* The level that has pages of this size, or -1. */
static int level_of(const struct quire_mmu *mmu, const struct radix_format *format,
                    struct radix_shape shape, unsigned page_shift, uint64_t address,
                    uint32_t rights)
{
    for (int level = 0; level < shape.n_levels; level++)
        if (format->leaf(mmu, (unsigned)level, page_shift, address, rights) != 0)
            return level;
    return -1;
}

/* How many entries of the level one page takes: 16 for NAPOT, else 1. */
static unsigned entries_of(struct radix_shape shape, int level, unsigned page_shift)
{
    unsigned shift = radix_shift(shape, level);
    return page_shift > shift ? 1u << (page_shift - shift) : 1;
}

/* Hangs tables in below the last place, down to `level`. The chain is complete before it shows. */
static int hang_tables(const struct quire_mmu *mmu, const struct radix_format *format,
                       struct radix_shape shape, struct quire_image *image,
                       const struct quire_mmu_frames *frames, const struct place *last, int level,
                       uint64_t va, uint64_t *bottom)
{
    uint64_t tables[RADIX_MAX_LEVELS];
    unsigned n = 0;
    int error = 0;

    for (int i = level; i < last->level && error == 0; i++) {
        uint64_t address = frames->take(frames->context, table_bytes(shape)), above;
        if (address == 0) {
            error = -ENOMEM;
            break;
        }
        tables[n++] = address;
        if (i > level) { /* the table above the one before: the parent's entry */
            above = format->table(mmu, (unsigned)i, tables[n - 2]);
            error = above == 0
                        ? -EINVAL
                        : store(image, shape,
                                address + radix_index(shape, i, va) * shape.entry_bytes, above);
        }
    }
    if (error == 0) {
        uint64_t entry = format->table(mmu, (unsigned)last->level, tables[n - 1]);
        error = entry == 0 ? -EINVAL : store(image, shape, last->entry_address, entry);
    }
    while (error != 0 && n > 0)
        frames->give(frames->context, tables[--n], table_bytes(shape));
    if (error == 0)
        *bottom = tables[0];
    return error;
}

int radix_map(const struct quire_mmu *mmu, const struct radix_format *format,
              struct quire_image *image, const struct quire_mmu_frames *frames, uint64_t va,
              uint64_t address, unsigned page_shift, uint32_t rights)
{
    struct place places[RADIX_MAX_LEVELS];
    unsigned n;
    struct radix_start start = format->begin(mmu, va);
    struct radix_shape shape = format->shape(mmu, start.half);

    if (page_shift > 63 || ((va | address) & mmu_mask(0, page_shift)) != 0)
        return -EINVAL;
    int level = level_of(mmu, format, shape, page_shift, address, rights);
    if (level < 0)
        return -EINVAL;
    int error = descend(mmu, format, va, level, places, &n);
    if (error != 0)
        return error;
    struct place *last = &places[n - 1];
    if (last->kind != RADIX_FAULT || last->path.reason != QUIRE_MMU_NOT_PRESENT)
        return -EEXIST;
    uint64_t table = last->table;
    if (last->level > level) {
        error = hang_tables(mmu, format, shape, image, frames, last, level, start.va, &table);
        if (error != 0)
            return error;
    }
    unsigned n_entries = entries_of(shape, level, page_shift);
    uint64_t first = table + radix_index(shape, level, start.va) * shape.entry_bytes;
    for (unsigned i = 0; i < n_entries; i++) {
        uint64_t there;
        error = load(mmu, shape, first + i * shape.entry_bytes, &there);
        if (error == 0 && there != 0)
            error = -EEXIST;
        if (error != 0)
            return error;
    }
    uint64_t entry = format->leaf(mmu, (unsigned)level, page_shift, address, rights);
    for (unsigned i = 0; i < n_entries && error == 0; i++)
        error = store(image, shape, first + i * shape.entry_bytes, entry);
    return error;
}

static bool is_empty(const struct quire_mmu *mmu, struct radix_shape shape, uint64_t table)
{
    const struct quire_image_range *hint = NULL;
    uint64_t n = table_bytes(shape);
    const unsigned char *at = image_at(mmu->image, table, n, &hint);

    if (at == NULL)
        return false;
    return at[0] == 0 && memcmp(at, at + 1, n - 1) == 0;
}

/* The leaf that maps va: its place, and its first entry and their number. */
static int find_leaf(const struct quire_mmu *mmu, const struct radix_format *format, uint64_t va,
                     struct place *places, unsigned *n, struct radix_shape *shape, uint64_t *first,
                     unsigned *n_entries)
{
    struct radix_start start = format->begin(mmu, va);
    *shape = format->shape(mmu, start.half);
    int error = descend(mmu, format, va, 0, places, n);

    if (error != 0)
        return error == -EINVAL ? -ENOENT : error;
    const struct place *last = &places[*n - 1];
    if (last->kind != RADIX_LEAF)
        return -ENOENT;
    *n_entries = entries_of(*shape, last->level, last->path.page_shift);
    *first = last->entry_address & ~((uint64_t)*n_entries * shape->entry_bytes - 1);
    return 0;
}

int radix_unmap(const struct quire_mmu *mmu, const struct radix_format *format,
                struct quire_image *image, const struct quire_mmu_frames *frames, uint64_t va)
{
    struct place places[RADIX_MAX_LEVELS];
    struct radix_shape shape;
    uint64_t first;
    unsigned n = 0, n_entries = 0;
    int error = find_leaf(mmu, format, va, places, &n, &shape, &first, &n_entries);

    for (unsigned i = 0; i < n_entries && error == 0; i++)
        error = store(image, shape, first + i * shape.entry_bytes, 0);
    while (error == 0 && n > 1 && is_empty(mmu, shape, places[n - 1].table)) {
        error = store(image, shape, places[n - 2].entry_address, 0);
        if (error == 0)
            frames->give(frames->context, places[n - 1].table, table_bytes(shape));
        n--;
    }
    return error;
}

int radix_protect(const struct quire_mmu *mmu, const struct radix_format *format,
                  struct quire_image *image, uint64_t va, uint32_t rights)
{
    struct place places[RADIX_MAX_LEVELS];
    struct radix_shape shape;
    uint64_t first;
    unsigned n = 0, n_entries = 0;
    int error = find_leaf(mmu, format, va, places, &n, &shape, &first, &n_entries);

    if (error != 0)
        return error;
    const struct place *last = &places[n - 1];
    uint64_t entry = format->leaf(mmu, (unsigned)last->level, last->path.page_shift,
                                  last->path.next, rights);
    for (unsigned i = 0; i < n_entries && error == 0; i++)
        error = store(image, shape, first + i * shape.entry_bytes, entry);
    return error;
}

int radix_touch(const struct quire_mmu *mmu, const struct radix_format *format,
                struct quire_image *image, uint64_t va, enum quire_mmu_access access)
{
    struct place places[RADIX_MAX_LEVELS];
    struct radix_shape shape = format->shape(mmu, format->begin(mmu, va).half);
    unsigned n;
    int n_changed = 0, error = descend(mmu, format, va, 0, places, &n);

    if (error != 0)
        return error;
    if (places[n - 1].kind != RADIX_LEAF)
        return 0;
    for (unsigned i = 0; i < n; i++) {
        uint64_t entry = format->touched(mmu, (unsigned)places[i].level, i == n - 1,
                                         places[i].entry, access == QUIRE_MMU_WRITE);
        if (entry == places[i].entry)
            continue;
        error = store(image, shape, places[i].entry_address, entry);
        if (error != 0)
            return error;
        n_changed++;
    }
    return n_changed;
}
