/* SPDX-License-Identifier: Apache-2.0 */
/*
 * radix: what all formats with trees of tables share. A format gives the shape of its tree and
 * decodes one entry; everything else is here, inlined into its file with both as constants, so
 * that no call and no branch on the format is left in a walk.
 *
 *     va --begin()--> stripped va, root
 *        level n-1:  entry --decode()--> TABLE: its address, the rights that are left
 *        level n-2:  entry --decode()--> LEAF:  the page's address, rights, size
 *                                        FAULT: a reason
 *
 * A single walk, many at a time, an explained one, all mappings, and what changes tables: they all
 * call the same decode() on the same path, and differ in who asks for the next entry.
 *
 * Invariants:
 *   R1  a step lowers the level by one, and level 0 has no tables: walks end
 *   R2  an entry is read through image_get() only
 *   R3  an entry of zero is not present, in every format
 */
#ifndef QUIRE_MMU_RADIX_H
#define QUIRE_MMU_RADIX_H

#include "mmu/format.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#define RADIX_INLINE static inline __attribute__((always_inline))
#define RADIX_LANES 16 /* walks that overlap */
#define RADIX_MAX_LEVELS 6
#define RADIX_MAX_TABLES (1u << 24)

struct radix_shape {
    uint8_t page_shift, bits, n_levels, va_bits, entry_bytes;
    bool is_signed; /* addresses above the lower half are sign-extended */
};

enum radix_kind { RADIX_TABLE, RADIX_LEAF, RADIX_FAULT };

/* What the levels above have left, and what an entry says. */
struct radix_path {
    uint64_t next;      /* TABLE: of the next; LEAF: of the page */
    uint32_t rights;    /* quire_mmu_rights */
    uint8_t page_shift; /* LEAF: may be changed by decode (NAPOT) */
    uint8_t reason;     /* FAULT */
    uint8_t half;       /* AArch64 */
};

struct radix_start {
    uint64_t va; /* stripped to va_bits */
    uint64_t root;
    uint8_t half, reason;
};

struct radix_format {
    struct radix_shape (*shape)(const struct quire_mmu *mmu, unsigned half);
    struct radix_start (*begin)(const struct quire_mmu *mmu, uint64_t va);
    enum radix_kind (*decode)(const struct quire_mmu *mmu, unsigned level, uint64_t entry,
                              struct radix_path *path);
    /* Builders. leaf: 0 if there is no such page at that level. touched: the entry as hardware
     * leaves it. */
    uint64_t (*table)(const struct quire_mmu *mmu, unsigned level, uint64_t address);
    uint64_t (*leaf)(const struct quire_mmu *mmu, unsigned level, unsigned page_shift,
                     uint64_t address, uint32_t rights);
    uint64_t (*touched)(const struct quire_mmu *mmu, unsigned level, bool is_leaf, uint64_t entry,
                        bool is_write);
    unsigned n_halves;
};

struct radix_lane {
    const unsigned char *at; /* the entry; NULL: outside */
    uint64_t va, entry_address;
    struct radix_path path;
    int level;
};

RADIX_INLINE enum radix_kind radix_fault(struct radix_path *path, enum quire_mmu_reason reason)
{
    path->reason = (uint8_t)reason;
    return RADIX_FAULT;
}

RADIX_INLINE unsigned radix_shift(struct radix_shape shape, int level)
{
    return shape.page_shift + (unsigned)level * shape.bits;
}

RADIX_INLINE uint64_t radix_index(struct radix_shape shape, int level, uint64_t va)
{
    return mmu_bits(va, radix_shift(shape, level), shape.bits);
}

RADIX_INLINE uint64_t radix_load(struct radix_shape shape, const unsigned char *at)
{
    uint32_t word;
    uint64_t wide;

    if (shape.entry_bytes == 4) {
        memcpy(&word, at, 4);
        return le32toh(word);
    }
    memcpy(&wide, at, 8);
    return le64toh(wide);
}

RADIX_INLINE void radix_aim(const struct quire_mmu *mmu, struct radix_shape shape,
                            struct radix_lane *lane, const struct quire_image_range **hint,
                            uint64_t *room)
{
    lane->entry_address = lane->path.next +
                          radix_index(shape, lane->level, lane->va) * shape.entry_bytes;
    lane->at = image_get(mmu->image, lane->entry_address, shape.entry_bytes, hint, room);
}

RADIX_INLINE void radix_finish(const struct radix_lane *lane, struct radix_shape shape,
                               uint64_t entry, struct quire_mmu_answer *answer)
{
    uint64_t offset = lane->va & (((uint64_t)1 << lane->path.page_shift) - 1);

    *answer = (struct quire_mmu_answer){
        .address = lane->path.reason == QUIRE_MMU_OK ? lane->path.next + offset : 0,
        .entry = entry,
        .entry_address = lane->entry_address,
        .rights = lane->path.reason == QUIRE_MMU_OK ? lane->path.rights : 0,
        .reason = lane->path.reason,
        .level = (uint8_t)lane->level,
        .page_shift = lane->path.page_shift};
}

/* False, and the answer: there is nothing to walk. */
RADIX_INLINE bool radix_begin(const struct quire_mmu *mmu, struct radix_format format, uint64_t va,
                              struct radix_lane *lane, struct quire_mmu_answer *answer,
                              const struct quire_image_range **hint, uint64_t *room)
{
    struct radix_start start = format.begin(mmu, va);
    struct radix_shape shape = format.shape(mmu, start.half);

    lane->va = start.va;
    lane->level = shape.n_levels - 1;
    lane->path = (struct radix_path){
        .next = start.root, .rights = QUIRE_MMU_ALL, .reason = start.reason, .half = start.half};
    if (__builtin_expect(start.reason != QUIRE_MMU_OK, 0)) {
        *answer = (struct quire_mmu_answer){.reason = start.reason, .level = (uint8_t)lane->level};
        return false;
    }
    radix_aim(mmu, shape, lane, hint, room);
    return true;
}

/* One entry. True: there is a next; false: the answer is complete. */
RADIX_INLINE bool radix_step(const struct quire_mmu *mmu, struct radix_format format,
                             struct radix_lane *lane, struct quire_mmu_answer *answer,
                             const struct quire_image_range **hint, uint64_t *room)
{
    struct radix_shape shape = format.shape(mmu, lane->path.half);
    uint64_t entry = 0;

    lane->path.page_shift = (uint8_t)radix_shift(shape, lane->level);
    if (__builtin_expect(lane->at == NULL, 0)) {
        lane->path.reason = (uint8_t)mmu_lack(mmu->image, lane->entry_address);
    } else {
        entry = radix_load(shape, lane->at);
        if (format.decode(mmu, (unsigned)lane->level, entry, &lane->path) == RADIX_TABLE) {
            lane->level--; /* R1: decode() knows no tables at level 0 */
            radix_aim(mmu, shape, lane, hint, room);
            return true;
        }
    }
    radix_finish(lane, shape, entry, answer);
    return false;
}

RADIX_INLINE void radix_walk(const struct quire_mmu *mmu, struct radix_format format, uint64_t va,
                             struct quire_mmu_answer *answer)
{
    const struct quire_image_range *hint = NULL;
    struct radix_lane lane;
    uint64_t room;

    if (!radix_begin(mmu, format, va, &lane, answer, &hint, &room))
        return;
    while (radix_step(mmu, format, &lane, answer, &hint, &room))
        continue;
}

RADIX_INLINE void radix_explain(const struct quire_mmu *mmu, struct radix_format format,
                                uint64_t va, struct quire_mmu_answer *answer,
                                struct quire_mmu_trace *trace)
{
    const struct quire_image_range *hint = NULL;
    struct radix_lane lane;
    uint64_t room;
    bool goes_on;

    /* taken for the argument of another call: */
    /* cppcheck-suppress ctunullpointer */
    trace->n_steps = 0;
    if (!radix_begin(mmu, format, va, &lane, answer, &hint, &room))
        return;
    do {
        struct radix_shape shape = format.shape(mmu, lane.path.half);
        struct quire_mmu_step *step = &trace->steps[trace->n_steps++];
        *step = (struct quire_mmu_step){.entry_address = lane.entry_address,
                                        .entry = lane.at != NULL ? radix_load(shape, lane.at) : 0,
                                        .index = (uint32_t)radix_index(shape, lane.level, lane.va),
                                        .level = (uint8_t)lane.level,
                                        .kind = QUIRE_MMU_STEP_TABLE};
        goes_on = radix_step(mmu, format, &lane, answer, &hint, &room);
        step->next = lane.path.next;
        if (!goes_on && answer->reason == QUIRE_MMU_OK)
            step->kind = QUIRE_MMU_STEP_PAGE;
        else if (!goes_on)
            step->kind = QUIRE_MMU_STEP_FAULT;
    } while (goes_on);
}

/* In rounds of one step each: while one entry is on its way from memory, others are looked at. */
RADIX_INLINE void radix_walk_many(const struct quire_mmu *mmu, struct radix_format format,
                                  const uint64_t *vas, struct quire_mmu_answer *answers, size_t n)
{
    const struct quire_image_range *hint = NULL;
    struct radix_lane lanes[RADIX_LANES];
    uint64_t rooms[RADIX_LANES]; /* by place: lanes move */
    uint8_t places[RADIX_LANES];

    for (size_t first = 0; first < n; first += RADIX_LANES) {
        size_t n_here = n - first < RADIX_LANES ? n - first : RADIX_LANES;
        size_t n_open = 0;
        for (size_t i = 0; i < n_here; i++) {
            if (!radix_begin(mmu, format, vas[first + i], &lanes[n_open], &answers[first + i],
                             &hint, &rooms[i]))
                continue;
            __builtin_prefetch(lanes[n_open].at);
            places[n_open++] = (uint8_t)i;
        }
        while (n_open > 0) {
            size_t n_left = 0;
            for (size_t i = 0; i < n_open; i++) {
                struct radix_lane *lane = &lanes[i];
                if (!radix_step(mmu, format, lane, &answers[first + places[i]], &hint,
                                &rooms[places[i]]))
                    continue;
                __builtin_prefetch(lane->at);
                if (n_left != i) {
                    lanes[n_left] = *lane;
                    places[n_left] = places[i];
                }
                n_left++;
            }
            n_open = n_left;
        }
    }
}

/* All mappings */

struct radix_tour {
    const struct quire_mmu *mmu;
    const struct quire_image_range *hint;
    uint64_t first, last; /* stripped addresses */
    uint64_t above;       /* bits of virtual addresses that are not translated */
    uint32_t n_tables, max_tables;
    mmu_visit *visit;
    void *context;
    bool is_signed;
    uint8_t va_bits;
};

RADIX_INLINE uint64_t radix_whole_va(const struct radix_tour *tour, uint64_t va)
{
    if (tour->is_signed && (va >> (tour->va_bits - 1) & 1) != 0)
        return va | (tour->va_bits < 64 ? ~(uint64_t)0 << tour->va_bits : 0);
    return va | tour->above;
}

RADIX_INLINE int radix_tell(const struct radix_tour *tour, uint64_t va, unsigned shift,
                            const struct radix_path *path, int level, uint64_t entry,
                            uint64_t entry_address)
{
    bool good = path->reason == QUIRE_MMU_OK;
    uint64_t size = (uint64_t)1 << path->page_shift, slot = (uint64_t)1 << shift;
    if (good && path->page_shift > shift && (va & (size - 1)) != 0 && va > tour->first)
        return 0; /* a NAPOT page is shown once, by the first entry of it that is in the range */
    struct quire_mmu_mapping mapping = {.va = radix_whole_va(tour, good ? va & ~(size - 1) : va),
                                        .address = good ? path->next : 0,
                                        .n_bytes = good ? size : slot,
                                        .rights = good ? path->rights : 0,
                                        .page_shift = path->page_shift,
                                        .reason = path->reason,
                                        .level = (uint8_t)level,
                                        .entry = entry,
                                        .entry_address = entry_address};
    return tour->visit(tour->context, &mapping) ? 0 : -ECANCELED;
}

/* A table. `level` is a constant in the callers of radix_each(), so that this unrolls into a
 * function for each level of the format. */
RADIX_INLINE int radix_tour_entries(struct radix_tour *tour, struct radix_format format,
                                    const struct radix_path *above, int level, uint64_t va,
                                    int (*below)(struct radix_tour *tour,
                                                 const struct radix_path *path, int level,
                                                 uint64_t va))
{
    struct radix_shape shape = format.shape(tour->mmu, above->half);
    unsigned shift = radix_shift(shape, level);
    uint64_t n = (uint64_t)1 << (shape.va_bits - shift < shape.bits ? shape.va_bits - shift
                                                                    : shape.bits);
    uint64_t from = tour->first > va ? (tour->first - va) >> shift : 0;
    uint64_t to = (tour->last - va) >> shift;
    int error = 0;

    if (to > n - 1)
        to = n - 1;
    for (uint64_t i = from; i <= to && error == 0; i++) {
        uint64_t address = above->next + i * shape.entry_bytes, entry = 0, room;
        const unsigned char *at = image_get(tour->mmu->image, address, shape.entry_bytes,
                                            &tour->hint, &room);
        struct radix_path path = *above;
        path.page_shift = (uint8_t)shift;
        if (at == NULL) {
            path.reason = (uint8_t)mmu_lack(tour->mmu->image, address);
        } else {
            entry = radix_load(shape, at);
            if (entry == 0) /* R3 */
                continue;
            enum radix_kind kind = format.decode(tour->mmu, (unsigned)level, entry, &path);
            if (kind == RADIX_TABLE) {
                error = below(tour, &path, level - 1, va + (i << shift));
                continue;
            }
            if (path.reason == QUIRE_MMU_NOT_PRESENT)
                continue;
        }
        error = radix_tell(tour, va + (i << shift), shift, &path, level, entry, address);
        if (at == NULL) { /* one word for all of the table that lacks */
            uint64_t n_bytes;
            (void)image_lacks(tour->mmu->image, address, &n_bytes);
            if (n_bytes / shape.entry_bytes > to - i)
                break;
            i += n_bytes / shape.entry_bytes - (n_bytes >= shape.entry_bytes);
        }
    }
    return error;
}

/* Sets up the tour of one half. False: the range does not touch it. */
RADIX_INLINE bool radix_tour_init(struct radix_tour *tour, const struct quire_mmu *mmu,
                                  struct radix_shape shape, unsigned half,
                                  const struct quire_mmu_limits *limits, mmu_visit *visit,
                                  void *context)
{
    uint64_t span = shape.va_bits < 64 ? ((uint64_t)1 << shape.va_bits) - 1 : UINT64_MAX;
    uint64_t above = half == 1 ? ~span : 0;
    uint64_t first = limits->range.first, last = limits->range.last;

    *tour = (struct radix_tour){.mmu = mmu,
                                .above = above,
                                .max_tables = limits->max_tables == 0 ||
                                                      limits->max_tables > UINT32_MAX
                                                  ? RADIX_MAX_TABLES
                                                  : (uint32_t)limits->max_tables,
                                .visit = visit,
                                .context = context,
                                .is_signed = shape.is_signed,
                                .va_bits = shape.va_bits};
    if (first > last)
        return false;
    if (shape.is_signed) { /* half 0 and 1 are the lower and upper half of one table */
        uint64_t middle = (span >> 1) + 1;
        uint64_t low = half == 1 ? ~span | middle : 0, high = half == 1 ? UINT64_MAX : middle - 1;
        if (first > high || last < low)
            return false;
        tour->first = (first > low ? first : low) & span;
        tour->last = (last < high ? last : high) & span;
        return true;
    }
    if (first > (above | span) || last < above)
        return false;
    tour->first = (first > above ? first : above) & span;
    tour->last = (last < (above | span) ? last : above | span) & span;
    return true;
}

/* Defines NAME_each() and what it needs: a function that recurses over the levels. */
#define RADIX_DEFINE_EACH(NAME, FORMAT)                                                        \
    static int NAME##_tour(struct radix_tour *tour, const struct radix_path *path, int level,  \
                           uint64_t va)                                                        \
    {                                                                                          \
        if (tour->n_tables++ == tour->max_tables)                                              \
            return -E2BIG;                                                                     \
        if (level == 0)                                                                        \
            return radix_tour_entries(tour, FORMAT, path, 0, va, NAME##_tour);                 \
        return radix_tour_entries(tour, FORMAT, path, level, va, NAME##_tour);                 \
    }                                                                                          \
    static int NAME##_each(const struct quire_mmu *mmu, const struct quire_mmu_limits *limits, \
                           mmu_visit *visit, void *context)                                    \
    {                                                                                          \
        uint32_t n_tables = 0;                                                                 \
        int error = 0;                                                                         \
        for (unsigned half = 0; half < 2 && error == 0; half++) {                              \
            struct radix_tour tour;                                                            \
            struct radix_shape shape = FORMAT.shape(mmu, half);                                \
            if ((half == 1 && !shape.is_signed && FORMAT.n_halves == 1) ||                     \
                !radix_tour_init(&tour, mmu, shape, half, limits, visit, context))             \
                continue;                                                                      \
            struct radix_start start = FORMAT.begin(mmu, radix_whole_va(&tour, tour.first));   \
            struct radix_path path = {                                                         \
                .next = start.root, .rights = QUIRE_MMU_ALL, .half = start.half};              \
            if (start.reason != QUIRE_MMU_OK)                                                  \
                continue;                                                                      \
            tour.n_tables = n_tables;                                                          \
            error = NAME##_tour(&tour, &path, shape.n_levels - 1, 0);                          \
            n_tables = tour.n_tables;                                                          \
        }                                                                                      \
        return error;                                                                          \
    }

/* What changes tables: see radix_build.c. They are not in a hurry and take the format as it is. */
int radix_map(const struct quire_mmu *mmu, const struct radix_format *format,
              struct quire_image *image, const struct quire_mmu_frames *frames, uint64_t va,
              uint64_t address, unsigned page_shift, uint32_t rights);
int radix_unmap(const struct quire_mmu *mmu, const struct radix_format *format,
                struct quire_image *image, const struct quire_mmu_frames *frames, uint64_t va);
int radix_protect(const struct quire_mmu *mmu, const struct radix_format *format,
                  struct quire_image *image, uint64_t va, uint32_t rights);
int radix_touch(const struct quire_mmu *mmu, const struct radix_format *format,
                struct quire_image *image, uint64_t va, enum quire_mmu_access access);

/* Defines the format NAME of `struct quire_mmu_format` from the constant FORMAT. */
#define RADIX_DEFINE(NAME, FORMAT, LEVEL_NAME, DESCRIBE, PAGE_SIZES)                               \
    RADIX_DEFINE_EACH(NAME, FORMAT)                                                                \
    static void NAME##_walk(const struct quire_mmu *mmu, uint64_t va,                              \
                            struct quire_mmu_answer *answer)                                       \
    {                                                                                              \
        radix_walk(mmu, FORMAT, va, answer);                                                       \
    }                                                                                              \
    static void NAME##_explain(const struct quire_mmu *mmu, uint64_t va,                           \
                               struct quire_mmu_answer *answer, struct quire_mmu_trace *trace)     \
    {                                                                                              \
        radix_explain(mmu, FORMAT, va, answer, trace);                                             \
    }                                                                                              \
    static void NAME##_walk_many(const struct quire_mmu *mmu, const uint64_t *vas,                 \
                                 struct quire_mmu_answer *answers, size_t n)                       \
    {                                                                                              \
        radix_walk_many(mmu, FORMAT, vas, answers, n);                                             \
    }                                                                                              \
    static int NAME##_map(const struct quire_mmu *mmu, struct quire_image *image,                  \
                          const struct quire_mmu_frames *frames, uint64_t va, uint64_t address,    \
                          unsigned page_shift, uint32_t rights)                                    \
    {                                                                                              \
        return radix_map(mmu, &FORMAT, image, frames, va, address, page_shift, rights);            \
    }                                                                                              \
    static int NAME##_unmap(const struct quire_mmu *mmu, struct quire_image *image,                \
                            const struct quire_mmu_frames *frames, uint64_t va)                    \
    {                                                                                              \
        return radix_unmap(mmu, &FORMAT, image, frames, va);                                       \
    }                                                                                              \
    static int NAME##_protect(const struct quire_mmu *mmu, struct quire_image *image, uint64_t va, \
                              uint32_t rights)                                                     \
    {                                                                                              \
        return radix_protect(mmu, &FORMAT, image, va, rights);                                     \
    }                                                                                              \
    static int NAME##_touch(const struct quire_mmu *mmu, struct quire_image *image, uint64_t va,   \
                            enum quire_mmu_access access)                                          \
    {                                                                                              \
        return radix_touch(mmu, &FORMAT, image, va, access);                                       \
    }                                                                                              \
    const struct quire_mmu_format mmu_##NAME = {                                                   \
        NAME##_walk, NAME##_explain, NAME##_walk_many, NAME##_each,  LEVEL_NAME, DESCRIBE,         \
        NAME##_map,  NAME##_unmap,   NAME##_protect,   NAME##_touch, PAGE_SIZES,                   \
    }

#endif
