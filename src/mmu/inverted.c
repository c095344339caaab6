/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inverted: an entry for each frame of memory, however large the address spaces are. The layout is
 * described at quire_mmu_init_inverted().
 *
 *     page, process --hash--> bucket --> entry 7 --next--> entry 2 --next--> ~0
 *                                        is it (page, process)? then the frame is first_frame + 7
 *
 * A chain has at most n_frames entries; one that goes on has a loop.
 */
#include "mmu/format.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#define MAGIC 0x31545049u
#define HEADER_BYTES 24u
#define ENTRY_BYTES 16u
#define MAX_FRAMES (1u << 24)
#define MAX_LOG2_BUCKETS 24u
#define NONE UINT32_MAX
#define GOLDEN 0x9e3779b1u /* 2^32 / the golden ratio, and odd */
#define VA_BITS 44
#define LANES 16 /* walks that overlap */

enum { VALID = 1, READ = 2, WRITE = 4, EXECUTE = 8, USER = 16, ACCESSED = 32, DIRTY = 64 };

struct table {
    uint32_t magic, n_frames, log2_buckets, unused, first_frame, unused2;
};

struct entry {
    uint32_t page, process, next, flags;
};
_Static_assert(sizeof(struct table) == HEADER_BYTES && sizeof(struct entry) == ENTRY_BYTES,
               "as they lie in memory");

static uint32_t bucket_of(uint32_t page, uint32_t process, uint32_t log2_buckets)
{
    uint32_t hash = (page ^ process * GOLDEN) * GOLDEN;
    return log2_buckets == 0 ? 0 : hash >> (32 - log2_buckets);
}

static uint64_t entries_at(uint64_t root, uint32_t log2_buckets)
{
    uint64_t end = root + HEADER_BYTES + ((uint64_t)4 << log2_buckets);
    return (end + 15) & ~(uint64_t)15;
}

static const unsigned char *words_at(const struct quire_mmu *mmu, uint64_t address, uint64_t n,
                                     void *room)
{
    const struct quire_image_range *hint = NULL;
    return image_get(mmu->image, address, n, &hint, room);
}

static uint32_t word(const unsigned char *at, unsigned i)
{
    uint32_t value;
    memcpy(&value, at + 4 * i, 4);
    return le32toh(value);
}

/* 0, or the reason why there is no table. */
static enum quire_mmu_reason load_table(const struct quire_mmu *mmu, struct table *table)
{
    unsigned char room[HEADER_BYTES];
    const unsigned char *at = words_at(mmu, mmu->root, HEADER_BYTES, room);

    if (at == NULL)
        return mmu_lack(mmu->image, mmu->root);
    *table = (struct table){.magic = word(at, 0),
                            .n_frames = word(at, 1),
                            .log2_buckets = word(at, 2),
                            .first_frame = word(at, 4)};
    bool good = table->magic == MAGIC && table->n_frames != 0 && table->n_frames <= MAX_FRAMES &&
                table->log2_buckets <= MAX_LOG2_BUCKETS;
    return good ? QUIRE_MMU_OK : QUIRE_MMU_ROOT;
}

static bool load_entry(const struct quire_mmu *mmu, const struct table *table, uint32_t index,
                       struct entry *entry, uint64_t *address)
{
    unsigned char room[ENTRY_BYTES];

    *address = entries_at(mmu->root, table->log2_buckets) + (uint64_t)index * ENTRY_BYTES;
    const unsigned char *at = words_at(mmu, *address, ENTRY_BYTES, room);
    if (at == NULL)
        return false;
    *entry = (struct entry){word(at, 0), word(at, 1), word(at, 2), word(at, 3)};
    return true;
}

static uint32_t rights_of(uint32_t flags)
{
    uint32_t own = flags >> 1 & 7; /* R W X, as SR SW SX */
    uint32_t rights = own | ((flags & USER) != 0 ? own << 3 | QUIRE_MMU_USER : 0);
    rights |= (flags & ACCESSED) != 0 ? (uint32_t)QUIRE_MMU_ACCESSED : 0;
    return rights | ((flags & DIRTY) != 0 ? (uint32_t)QUIRE_MMU_DIRTY : 0);
}

static uint32_t flags_of(uint32_t rights)
{
    uint32_t user = rights >> 3 & 7, flags = VALID | ((rights | user) & 7) << 1;
    flags |= user != 0 || (rights & QUIRE_MMU_USER) != 0 ? (uint32_t)USER : 0;
    flags |= (rights & QUIRE_MMU_ACCESSED) != 0 ? (uint32_t)ACCESSED : 0;
    return flags | ((rights & QUIRE_MMU_DIRTY) != 0 ? (uint32_t)DIRTY : 0);
}

static void keep(struct quire_mmu_trace *trace, const struct quire_mmu_step *step)
{
    if (trace == NULL)
        return;
    if (trace->n_steps < QUIRE_MMU_MAX_STEPS)
        trace->steps[trace->n_steps] = *step;
    trace->n_steps++;
}

/* Follows the bucket's chain from `index` on. */
static void follow(const struct quire_mmu *mmu, const struct table *table, uint32_t index,
                   uint64_t va, struct quire_mmu_answer *answer, struct quire_mmu_trace *trace)
{
    for (uint32_t n = 0; index != NONE; n++) {
        struct entry entry = {0};
        if (index >= table->n_frames || n == table->n_frames) {
            answer->reason = QUIRE_MMU_CHAIN;
            return;
        }
        bool is_there = load_entry(mmu, table, index, &entry, &answer->entry_address);
        struct quire_mmu_step step = {.entry_address = answer->entry_address,
                                      .entry = (uint64_t)entry.process << 32 | entry.page,
                                      .second = (uint64_t)entry.flags << 32 | entry.next,
                                      .next = ((uint64_t)table->first_frame + index) << 12,
                                      .index = index,
                                      .kind = QUIRE_MMU_STEP_OTHER};
        if (!is_there) {
            answer->reason = (uint8_t)mmu_lack(mmu->image, answer->entry_address);
            step.kind = QUIRE_MMU_STEP_FAULT;
        } else if (entry.page == (uint32_t)(va >> 12) && entry.process == mmu->process &&
                   (entry.flags & VALID) != 0) {
            answer->reason = QUIRE_MMU_OK;
            answer->address = step.next | (va & 0xfff);
            answer->entry = step.entry;
            answer->rights = rights_of(entry.flags);
            step.kind = QUIRE_MMU_STEP_PAGE;
        }
        keep(trace, &step);
        if (step.kind != QUIRE_MMU_STEP_OTHER)
            return;
        index = entry.next;
    }
    answer->reason = QUIRE_MMU_NO_MATCH;
}

static void explain(const struct quire_mmu *mmu, uint64_t va, struct quire_mmu_answer *answer,
                    struct quire_mmu_trace *trace)
{
    struct table table;

    *answer = (struct quire_mmu_answer){.page_shift = 12, .entry_address = mmu->root};
    if (trace != NULL)
        trace->n_steps = 0;
    answer->reason = (uint8_t)load_table(mmu, &table);
    if (va >> VA_BITS != 0)
        answer->reason = QUIRE_MMU_NOT_CANONICAL;
    if (answer->reason != QUIRE_MMU_OK)
        return;
    uint32_t bucket = bucket_of((uint32_t)(va >> 12), mmu->process, table.log2_buckets);
    answer->entry_address = mmu->root + HEADER_BYTES + (uint64_t)4 * bucket;
    unsigned char room[4];
    const unsigned char *head = words_at(mmu, answer->entry_address, 4, room);
    struct quire_mmu_step step = {.entry_address = answer->entry_address,
                                  .entry = head != NULL ? word(head, 0) : 0,
                                  .index = bucket,
                                  .level = 1,
                                  .kind = head != NULL && word(head, 0) != NONE
                                              ? QUIRE_MMU_STEP_TABLE
                                              : QUIRE_MMU_STEP_FAULT};
    if (head != NULL && word(head, 0) != NONE)
        step.next = entries_at(mmu->root, table.log2_buckets) + word(head, 0) * 16ull;
    keep(trace, &step);
    if (head == NULL)
        answer->reason = (uint8_t)mmu_lack(mmu->image, answer->entry_address);
    else
        follow(mmu, &table, word(head, 0), va, answer, trace);
}

static void walk(const struct quire_mmu *mmu, uint64_t va, struct quire_mmu_answer *answer)
{
    explain(mmu, va, answer, NULL);
}

/* Asks for the buckets, then for the first entries, of some walks: they come while others are on
 * their way. */
static void prefetch(const struct quire_mmu *mmu, const struct table *table, const uint64_t *vas,
                     size_t n)
{
    const unsigned char *heads[LANES];
    uint64_t entries = entries_at(mmu->root, table->log2_buckets);
    const struct quire_image_range *hint = NULL;

    for (size_t i = 0; i < n; i++) {
        uint32_t bucket = bucket_of((uint32_t)(vas[i] >> 12), mmu->process, table->log2_buckets);
        heads[i] = image_at(mmu->image, mmu->root + HEADER_BYTES + (uint64_t)4 * bucket, 4, &hint);
        __builtin_prefetch(heads[i]);
    }
    for (size_t i = 0; i < n; i++) {
        uint64_t index = heads[i] != NULL ? word(heads[i], 0) : 0;
        __builtin_prefetch(image_at(mmu->image, entries + index * ENTRY_BYTES, ENTRY_BYTES, &hint));
    }
}

static void walk_many(const struct quire_mmu *mmu, const uint64_t *vas,
                      struct quire_mmu_answer *answers, size_t n)
{
    struct table table;
    bool has_table = load_table(mmu, &table) == QUIRE_MMU_OK;

    for (size_t first = 0; first < n; first += LANES) {
        size_t n_here = n - first < LANES ? n - first : LANES;
        if (has_table)
            prefetch(mmu, &table, vas + first, n_here);
        for (size_t i = first; i < first + n_here; i++)
            walk(mmu, vas[i], &answers[i]);
    }
}

static int each(const struct quire_mmu *mmu, const struct quire_mmu_limits *limits,
                mmu_visit *visit, void *context)
{
    struct table table;

    if (load_table(mmu, &table) != QUIRE_MMU_OK)
        return 0;
    for (uint32_t i = 0; i < table.n_frames; i++) {
        struct entry entry;
        uint64_t at;
        struct quire_mmu_answer answer;
        if (!load_entry(mmu, &table, i, &entry, &at) || (entry.flags & VALID) == 0 ||
            entry.process != mmu->process)
            continue;
        uint64_t va = (uint64_t)entry.page << 12;
        if (va > limits->range.last || va + 4095 < limits->range.first)
            continue;
        walk(mmu, va, &answer);
        if (answer.reason != QUIRE_MMU_OK || answer.entry_address != at)
            continue; /* it is in no chain, or behind another for the same page */
        struct quire_mmu_mapping mapping = {.va = va,
                                            .address = answer.address,
                                            .n_bytes = 4096,
                                            .rights = answer.rights,
                                            .page_shift = 12,
                                            .entry = answer.entry,
                                            .entry_address = at};
        if (!visit(context, &mapping))
            return -ECANCELED;
    }
    return 0;
}

static const char *level_name(const struct quire_mmu *mmu, unsigned level)
{
    return level == 1 ? "bucket" : "entry";
}

static size_t describe(const struct quire_mmu *mmu, const struct quire_mmu_step *step, char *buffer,
                       size_t n_bytes)
{
    uint32_t flags = (uint32_t)(step->second >> 32);
    static const char letters[] = "VRWXUAD";
    char text[8];

    if (step->level == 1)
        return mmu_append(buffer, n_bytes, 0,
                          (uint32_t)step->entry == NONE ? "empty" : "chain begins at entry 0x%x",
                          (uint32_t)step->entry);
    for (unsigned i = 0; i < 7; i++)
        text[i] = (flags >> i & 1) != 0 ? letters[i] : '-';
    text[7] = '\0';
    return mmu_append(buffer, n_bytes, 0, "%s page 0x%x of process %u, next 0x%x", text,
                      (uint32_t)step->entry, (uint32_t)(step->entry >> 32), (uint32_t)step->second);
}

/* Building */

static int store(struct quire_image *image, uint64_t at, const struct entry *entry)
{
    uint32_t words[4] = {htole32(entry->page), htole32(entry->process), htole32(entry->next),
                         htole32(entry->flags)};
    return quire_image_write(image, at, words, sizeof words);
}

static int map(const struct quire_mmu *mmu, struct quire_image *image,
               const struct quire_mmu_frames *frames, uint64_t va, uint64_t address,
               unsigned page_shift, uint32_t rights)
{
    struct quire_mmu_answer answer;
    struct table table;
    struct entry entry;
    uint64_t at, frame = address >> 12;

    if (page_shift != 12 || ((va | address) & 0xfff) != 0 || va >> VA_BITS != 0 ||
        load_table(mmu, &table) != QUIRE_MMU_OK)
        return -EINVAL;
    if (frame < table.first_frame || frame - table.first_frame >= table.n_frames)
        return -ENOSPC;
    walk(mmu, va, &answer);
    if (answer.reason == QUIRE_MMU_OK)
        return -EEXIST;
    uint32_t index = (uint32_t)(frame - table.first_frame);
    uint32_t bucket = bucket_of((uint32_t)(va >> 12), mmu->process, table.log2_buckets);
    uint64_t head_at = mmu->root + HEADER_BYTES + (uint64_t)4 * bucket;
    unsigned char room[4];
    const unsigned char *head = words_at(mmu, head_at, 4, room);
    if (head == NULL || !load_entry(mmu, &table, index, &entry, &at))
        return -EFAULT;
    if ((entry.flags & VALID) != 0)
        return -EBUSY;
    entry = (struct entry){(uint32_t)(va >> 12), mmu->process, word(head, 0), flags_of(rights)};
    int error = store(image, at, &entry);
    uint32_t first = htole32(index);
    return error != 0 ? error : quire_image_write(image, head_at, &first, sizeof first);
}

/* Where the index of the entry at `target` stands: in the bucket, or in the one before it. */
static int find_link(const struct quire_mmu *mmu, const struct table *table, uint64_t va,
                     uint64_t target, uint64_t *link)
{
    uint32_t bucket = bucket_of((uint32_t)(va >> 12), mmu->process, table->log2_buckets);
    *link = mmu->root + HEADER_BYTES + (uint64_t)4 * bucket;
    for (uint32_t n = 0; n <= table->n_frames; n++) {
        struct entry entry;
        uint64_t at;
        unsigned char room[4];
        const unsigned char *index = words_at(mmu, *link, 4, room);
        if (index == NULL || word(index, 0) >= table->n_frames ||
            !load_entry(mmu, table, word(index, 0), &entry, &at))
            return -EFAULT;
        if (at == target)
            return 0;
        *link = at + 8;
    }
    return -EFAULT;
}

static int unmap(const struct quire_mmu *mmu, struct quire_image *image,
                 const struct quire_mmu_frames *frames, uint64_t va)
{
    struct quire_mmu_answer answer;
    struct table table;
    static const struct entry nothing;
    uint64_t link;

    walk(mmu, va, &answer);
    if (answer.reason != QUIRE_MMU_OK || load_table(mmu, &table) != QUIRE_MMU_OK)
        return -ENOENT;
    int error = find_link(mmu, &table, va, answer.entry_address, &link);
    if (error != 0)
        return error;
    uint32_t next;
    unsigned char room[sizeof next];
    const unsigned char *next_at = words_at(mmu, answer.entry_address + 8, sizeof next, room);
    if (next_at == NULL)
        return -EFAULT;
    memcpy(&next, next_at, sizeof next);
    error = quire_image_write(image, link, &next, sizeof next);
    return error != 0 ? error : store(image, answer.entry_address, &nothing);
}

static int set_flags(const struct quire_mmu *mmu, struct quire_image *image, uint64_t at,
                     uint32_t flags)
{
    uint32_t stored = htole32(flags);
    return quire_image_write(image, at + 12, &stored, sizeof stored);
}

static int protect(const struct quire_mmu *mmu, struct quire_image *image, uint64_t va,
                   uint32_t rights)
{
    struct quire_mmu_answer answer;

    walk(mmu, va, &answer);
    if (answer.reason != QUIRE_MMU_OK)
        return -ENOENT;
    return set_flags(mmu, image, answer.entry_address, flags_of(rights));
}

static int touch(const struct quire_mmu *mmu, struct quire_image *image, uint64_t va,
                 enum quire_mmu_access access)
{
    struct quire_mmu_answer answer;

    walk(mmu, va, &answer);
    if (answer.reason != QUIRE_MMU_OK)
        return 0;
    uint32_t flags = flags_of(answer.rights);
    uint32_t new_flags = flags | ACCESSED | (access == QUIRE_MMU_WRITE ? (uint32_t)DIRTY : 0);
    if (flags == new_flags)
        return 0;
    int error = set_flags(mmu, image, answer.entry_address, new_flags);
    return error == 0 ? 1 : error;
}

int quire_mmu_init_inverted(struct quire_mmu *mmu, const struct quire_image *image, uint64_t root,
                            uint32_t process)
{
    *mmu = (struct quire_mmu){.mode = QUIRE_MMU_INVERTED,
                              .image = image,
                              .format = &mmu_inverted,
                              .root = root,
                              .process = process,
                              .phys_bits = 44};
    return 0;
}

size_t quire_mmu_inverted_bytes(uint32_t n_frames, unsigned log2_buckets)
{
    if (n_frames == 0 || n_frames > MAX_FRAMES || log2_buckets > MAX_LOG2_BUCKETS)
        return 0;
    return (size_t)(entries_at(0, log2_buckets) + 16 + (uint64_t)n_frames * ENTRY_BYTES);
}

int quire_mmu_inverted_format(struct quire_image *image, uint64_t root, uint32_t first_frame,
                              uint32_t n_frames, unsigned log2_buckets)
{
    size_t n_bytes = quire_mmu_inverted_bytes(n_frames, log2_buckets);
    uint32_t header[6] = {
        htole32(MAGIC), htole32(n_frames), htole32(log2_buckets), 0, htole32(first_frame), 0};
    const uint32_t none = NONE;
    static const struct entry nothing;

    if (n_bytes == 0)
        return -EINVAL;
    const struct quire_image_range *range = image_range_at(image, root);
    if (range == NULL || !range->is_writable || range->start + range->n_bytes - root < n_bytes)
        return -EFAULT;
    int error = quire_image_write(image, root, header, sizeof header);
    for (uint32_t i = 0; error == 0 && i >> log2_buckets == 0; i++)
        error = quire_image_write(image, root + HEADER_BYTES + (uint64_t)4 * i, &none, sizeof none);
    uint64_t entries = entries_at(root, log2_buckets);
    for (uint32_t i = 0; error == 0 && i < n_frames; i++)
        error = store(image, entries + (uint64_t)i * ENTRY_BYTES, &nothing);
    return error;
}

const struct quire_mmu_format mmu_inverted = {walk, explain, walk_many, each,  level_name, describe,
                                              map,  unmap,   protect,   touch, 1 << 12};
