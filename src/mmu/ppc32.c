/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ppc32: the hash table of 32-bit PowerPC (Programming Environments Manual for 32-bit
 * Implementations, 7.5 and 7.6).
 *
 *     EA  31..28: segment register --> VSID     27..12: page index     11..0: offset
 *         hash = VSID xor page index            its complement is the second hash
 *         group of 8 entries at HTABORG | (hash & mask) * 64
 *         entry  word 0: V, VSID, H, API (upper 6 bits of the page index)
 *                word 1: RPN, R, C, WIMG, PP
 *
 * All is big endian. The first entry that matches counts. BATs are not looked at.
 */
#include "mmu/format.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#define GROUP_ENTRIES 8u
#define ENTRY_BYTES 8u
#define GROUP_BYTES (GROUP_ENTRIES * ENTRY_BYTES)
#define SR_T (1u << 31) /* direct-store */
#define SR_KS (1u << 30)
#define SR_KP (1u << 29)
#define SR_N (1u << 28)
#define SR_VSID 0xffffffu
#define PTE_V (1u << 31)
#define PTE_H (1u << 6)
#define PTE_R (1u << 8)
#define PTE_C (1u << 7)
#define PTE_W (1u << 6)
#define PTE_I (1u << 5)
#define NONE UINT32_MAX

static uint32_t hash_of(uint32_t segment, uint32_t page_index, bool is_second)
{
    uint32_t hash = (segment & 0x7ffff) ^ page_index;
    return (is_second ? ~hash : hash) & 0x7ffff;
}

/* 7.6.1.1: figure "Generation of addresses for page tables". */
static uint64_t group_of(const struct quire_mmu *mmu, uint32_t hash)
{
    uint32_t sdr1 = (uint32_t)mmu->root, mask = sdr1 & 0x1ff;
    return (sdr1 & 0xffff0000u) | (hash >> 10 & mask) << 16 | (hash & 0x3ff) * GROUP_BYTES;
}

static uint32_t tag_of(uint32_t segment, uint32_t page_index, bool is_second)
{
    return PTE_V | (segment & SR_VSID) << 7 | (is_second ? PTE_H : 0) | page_index >> 10;
}

static bool load(const struct quire_mmu *mmu, uint64_t address, uint32_t words[2])
{
    const struct quire_image_range *hint = NULL;
    uint64_t room;
    const unsigned char *at = image_get(mmu->image, address, ENTRY_BYTES, &hint, &room);

    if (at == NULL)
        return false;
    memcpy(words, at, ENTRY_BYTES);
    words[0] = be32toh(words[0]);
    words[1] = be32toh(words[1]);
    return true;
}

/* 7.5.4, table "Page protection": what PP allows for a key. */
static unsigned allowed(unsigned pp, bool key)
{
    static const uint8_t with_key[4] = {0, QUIRE_MMU_SR, QUIRE_MMU_SR | QUIRE_MMU_SW, QUIRE_MMU_SR};
    if (key)
        return with_key[pp];
    return pp == 3 ? QUIRE_MMU_SR : QUIRE_MMU_SR | QUIRE_MMU_SW;
}

static uint32_t rights_of(uint32_t segment, uint32_t word)
{
    unsigned pp = word & 3;
    unsigned supervisor = allowed(pp, (segment & SR_KS) != 0);
    unsigned user = allowed(pp, (segment & SR_KP) != 0);
    uint32_t rights;

    if ((segment & SR_N) == 0) { /* what may be read may be executed */
        supervisor |= (supervisor & QUIRE_MMU_SR) << 2;
        user |= (user & QUIRE_MMU_SR) << 2;
    }
    rights = supervisor | user << 3 | (user != 0 ? (uint32_t)QUIRE_MMU_USER : 0);
    rights |= (word & PTE_R) != 0 ? (uint32_t)QUIRE_MMU_ACCESSED : 0;
    rights |= (word & PTE_C) != 0 ? (uint32_t)QUIRE_MMU_DIRTY : 0;
    uint32_t type = (word & PTE_I) != 0   ? QUIRE_MMU_TYPE_NC
                    : (word & PTE_W) != 0 ? QUIRE_MMU_TYPE_WT
                                          : QUIRE_MMU_TYPE_WB;
    return rights | type << QUIRE_MMU_TYPE_SHIFT;
}

static void explain(const struct quire_mmu *mmu, uint64_t va, struct quire_mmu_answer *answer,
                    struct quire_mmu_trace *trace)
{
    uint32_t segment = mmu->segments[va >> 28 & 15], page = (uint32_t)(va >> 12) & 0xffff;
    unsigned n = 0;

    *answer = (struct quire_mmu_answer){.reason = QUIRE_MMU_NO_MATCH, .page_shift = 12};
    if (va >> 32 != 0)
        answer->reason = QUIRE_MMU_NOT_CANONICAL;
    else if ((segment & SR_T) != 0)
        answer->reason = QUIRE_MMU_DISABLED;
    for (unsigned i = 0; i < 2 * GROUP_ENTRIES && answer->reason == QUIRE_MMU_NO_MATCH; i++) {
        bool is_second = i >= GROUP_ENTRIES;
        uint32_t words[2] = {0, 0};
        uint64_t at = group_of(mmu, hash_of(segment, page, is_second)) +
                      i % GROUP_ENTRIES * ENTRY_BYTES;
        unsigned kind = QUIRE_MMU_STEP_OTHER;
        answer->entry_address = at;
        if (!load(mmu, at, words)) {
            answer->reason = (uint8_t)mmu_lack(mmu->image, at);
            kind = QUIRE_MMU_STEP_FAULT;
        } else if (words[0] == tag_of(segment, page, is_second)) {
            answer->reason = QUIRE_MMU_OK;
            answer->address = (words[1] & 0xfffff000u) | (va & 0xfff);
            answer->entry = (uint64_t)words[0] << 32 | words[1];
            answer->rights = rights_of(segment, words[1]);
            kind = QUIRE_MMU_STEP_PAGE;
        }
        if (trace != NULL)
            trace->steps[n++] = (struct quire_mmu_step){.entry_address = at,
                                                        .entry = words[0],
                                                        .second = words[1],
                                                        .next = words[1] & 0xfffff000u,
                                                        .index = i % GROUP_ENTRIES,
                                                        .level = is_second ? 1 : 0,
                                                        .kind = (uint8_t)kind};
    }
    if (trace != NULL)
        trace->n_steps = n;
}

static void walk(const struct quire_mmu *mmu, uint64_t va, struct quire_mmu_answer *answer)
{
    explain(mmu, va, answer, NULL);
}

static void walk_many(const struct quire_mmu *mmu, const uint64_t *vas,
                      struct quire_mmu_answer *answers, size_t n)
{
    for (size_t i = 0; i < n; i++)
        walk(mmu, vas[i], &answers[i]);
}

/* An entry tells its page: the tag has the upper bits, the group it stands in the lower ten. */
static bool visit_entry(const struct quire_mmu *mmu, const struct quire_mmu_limits *limits,
                        uint32_t group, uint64_t at, const uint32_t words[2], mmu_visit *visit,
                        void *context)
{
    uint32_t vsid = words[0] >> 7 & SR_VSID;
    uint32_t low = ((words[0] & PTE_H) != 0 ? ~group : group) & 0x3ff;
    uint32_t page = (words[0] & 0x3f) << 10 | (low ^ (vsid & 0x3ff));

    for (uint64_t i = 0; i < 16; i++) {
        uint64_t va = i << 28 | (uint64_t)page << 12;
        struct quire_mmu_answer answer;
        if ((mmu->segments[i] & (SR_VSID | SR_T)) != vsid || va > limits->range.last ||
            va + 4095 < limits->range.first)
            continue;
        walk(mmu, va, &answer);
        if (answer.reason != QUIRE_MMU_OK || answer.entry_address != at)
            continue; /* another entry comes first */
        struct quire_mmu_mapping mapping = {.va = va,
                                            .address = answer.address,
                                            .n_bytes = 4096,
                                            .rights = answer.rights,
                                            .page_shift = 12,
                                            .entry = answer.entry,
                                            .entry_address = at};
        if (!visit(context, &mapping))
            return false;
    }
    return true;
}

static int each(const struct quire_mmu *mmu, const struct quire_mmu_limits *limits,
                mmu_visit *visit, void *context)
{
    uint32_t n_groups = 1024;

    for (unsigned bit = 0; bit < 9; bit++) /* masks are of ones from the right; others as far */
        if (((uint32_t)mmu->root >> bit & 1) != 0)
            n_groups = 1024u << (bit + 1);
    for (uint32_t group = 0; group < n_groups; group++) {
        uint64_t start = group_of(mmu, group);
        for (unsigned i = 0; i < GROUP_ENTRIES; i++) {
            uint32_t words[2];
            if (load(mmu, start + i * ENTRY_BYTES, words) && (words[0] & PTE_V) != 0 &&
                !visit_entry(mmu, limits, group, start + i * ENTRY_BYTES, words, visit, context))
                return -ECANCELED;
        }
    }
    return 0;
}

static const char *level_name(const struct quire_mmu *mmu, unsigned level)
{
    return level == 0 ? "PTE" : "PTE, second hash";
}

static size_t describe(const struct quire_mmu *mmu, const struct quire_mmu_step *step, char *buffer,
                       size_t n_bytes)
{
    uint32_t tag = (uint32_t)step->entry, word = (uint32_t)step->second;

    if ((tag & PTE_V) == 0)
        return mmu_append(buffer, n_bytes, 0, "not valid");
    return mmu_append(buffer, n_bytes, 0, "VSID 0x%x API 0x%x%s%s%s PP %u", tag >> 7 & SR_VSID,
                      tag & 0x3f, (tag & PTE_H) != 0 ? " H" : "", (word & PTE_R) != 0 ? " R" : "",
                      (word & PTE_C) != 0 ? " C" : "", word & 3);
}

/* Building */

static int store(struct quire_image *image, uint64_t at, uint32_t tag, uint32_t word)
{
    uint32_t words[2] = {htobe32(tag), htobe32(word)};
    return quire_image_write(image, at, words, sizeof words);
}

/* The PP that allows all that is asked for, and the least besides. */
static uint32_t word_of(uint32_t segment, uint64_t address, uint32_t rights)
{
    static const uint8_t order[4] = {3, 1, 0, 2}; /* from the least to the most */
    uint32_t type = rights >> QUIRE_MMU_TYPE_SHIFT & 15, word = (uint32_t)address, best = 2;
    uint32_t wanted = rights & (QUIRE_MMU_SR | QUIRE_MMU_SW | QUIRE_MMU_UR | QUIRE_MMU_UW);
    int least = 99;

    for (unsigned i = 0; i < 4; i++) {
        uint32_t its = rights_of(segment, order[i]) & QUIRE_MMU_ALL;
        int n = __builtin_popcount(its);
        if ((its & wanted) == wanted && n < least) {
            least = n;
            best = order[i];
        }
    }
    word |= best | ((rights & QUIRE_MMU_ACCESSED) != 0 ? PTE_R : 0) |
            ((rights & QUIRE_MMU_DIRTY) != 0 ? PTE_C : 0);
    if (type == QUIRE_MMU_TYPE_WT)
        word |= PTE_W;
    if (type == QUIRE_MMU_TYPE_NC || type == QUIRE_MMU_TYPE_UC)
        word |= PTE_I;
    return word;
}

static int map(const struct quire_mmu *mmu, struct quire_image *image,
               const struct quire_mmu_frames *frames, uint64_t va, uint64_t address,
               unsigned page_shift, uint32_t rights)
{
    struct quire_mmu_answer answer;
    uint32_t segment = mmu->segments[va >> 28 & 15], page = (uint32_t)(va >> 12) & 0xffff;

    walk(mmu, va, &answer);
    if (answer.reason == QUIRE_MMU_OUTSIDE)
        return -EFAULT;
    if (page_shift != 12 || ((va | address) & 0xfff) != 0 || address >> 32 != 0 ||
        (answer.reason != QUIRE_MMU_OK && answer.reason != QUIRE_MMU_NO_MATCH))
        return -EINVAL;
    if (answer.reason == QUIRE_MMU_OK)
        return -EEXIST;
    for (unsigned i = 0; i < 2 * GROUP_ENTRIES; i++) {
        bool is_second = i >= GROUP_ENTRIES;
        uint32_t words[2];
        uint64_t at = group_of(mmu, hash_of(segment, page, is_second)) +
                      i % GROUP_ENTRIES * ENTRY_BYTES;
        if (!load(mmu, at, words))
            return -EFAULT;
        if ((words[0] & PTE_V) == 0)
            return store(image, at, tag_of(segment, page, is_second),
                         word_of(segment, address, rights));
    }
    return -ENOSPC;
}

static int unmap(const struct quire_mmu *mmu, struct quire_image *image,
                 const struct quire_mmu_frames *frames, uint64_t va)
{
    struct quire_mmu_answer answer;

    walk(mmu, va, &answer);
    return answer.reason == QUIRE_MMU_OK ? store(image, answer.entry_address, 0, 0) : -ENOENT;
}

static int protect(const struct quire_mmu *mmu, struct quire_image *image, uint64_t va,
                   uint32_t rights)
{
    struct quire_mmu_answer answer;
    uint32_t segment = mmu->segments[va >> 28 & 15];

    walk(mmu, va, &answer);
    if (answer.reason != QUIRE_MMU_OK)
        return -ENOENT;
    return store(image, answer.entry_address, (uint32_t)(answer.entry >> 32),
                 word_of(segment, answer.address & ~(uint64_t)0xfff, rights));
}

/* 7.5.3: "Page history recording". */
static int touch(const struct quire_mmu *mmu, struct quire_image *image, uint64_t va,
                 enum quire_mmu_access access)
{
    struct quire_mmu_answer answer;

    walk(mmu, va, &answer);
    if (answer.reason != QUIRE_MMU_OK)
        return 0;
    uint32_t word = (uint32_t)answer.entry | PTE_R | (access == QUIRE_MMU_WRITE ? PTE_C : 0);
    if (word == (uint32_t)answer.entry)
        return 0;
    int error = store(image, answer.entry_address, (uint32_t)(answer.entry >> 32), word);
    return error == 0 ? 1 : error;
}

int quire_mmu_init_ppc32(struct quire_mmu *mmu, const struct quire_image *image,
                         const struct quire_mmu_ppc32 *registers)
{
    *mmu = (struct quire_mmu){.mode = QUIRE_MMU_PPC32,
                              .image = image,
                              .format = &mmu_ppc32,
                              .root = registers->sdr1,
                              .phys_bits = 32};
    memcpy(mmu->segments, registers->segments, sizeof mmu->segments);
    return 0;
}

const struct quire_mmu_format mmu_ppc32 = {walk, explain, walk_many, each,  level_name, describe,
                                           map,  unmap,   protect,   touch, 1 << 12};
