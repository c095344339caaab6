/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Page tables of every format against a list of what was mapped.
 *
 * Round trip: random pages are mapped, unmapped and protected by the builders; then each address is
 * translated as the list says, one at a time, many at once and explained; all mappings are those of
 * the list, and merging changes none; when all is unmapped every table has come back.
 *
 * Garbage: memory is filled with words that look like entries, tables that hold themselves among
 * them. Walks end and read nothing outside; what is said of all mappings is what a walk of each
 * address says.
 */
#include "mmu_machine.h"
#include "model_random.h"

#include <errno.h>

#define MEMORY_BYTES ((uint64_t)24 << 20)
#define MAX_MAPPED 300
#define N_STEPS 1200

struct mapped {
    uint64_t va, address;
    uint32_t rights;
    unsigned shift;
};

static struct machine machine;
static enum regime regime;
static struct mapped list[MAX_MAPPED];
static unsigned n_mapped;

static bool is_arm(void)
{
    return regime >= REGIME_ARM_4K && regime <= REGIME_ARM_64K_LPA;
}

static uint64_t size_of(const struct mapped *one)
{
    return (uint64_t)1 << one->shift;
}

/* What the format makes of the rights asked for, by its manual and not by its code. */
static uint32_t expected(uint32_t asked, uint64_t va)
{
    uint32_t user = asked >> 3 & 7, supervisor = asked & 7, rights;
    bool is_user = user != 0;

    switch (regime) {
    case REGIME_X86_32:
    case REGIME_X86_PAE:
    case REGIME_X86_48:
    case REGIME_X86_57:
        rights = QUIRE_MMU_SR | ((asked & (QUIRE_MMU_SW | QUIRE_MMU_UW)) ? QUIRE_MMU_SW : 0);
        if ((asked & (QUIRE_MMU_SX | QUIRE_MMU_UX)) != 0 || regime == REGIME_X86_32)
            rights |= QUIRE_MMU_SX;
        return is_user ? rights | rights << 3 : rights;
    case REGIME_SV32:
    case REGIME_SV39:
    case REGIME_SV48:
    case REGIME_SV57:
        rights = supervisor | user;
        if ((rights & QUIRE_MMU_SW) != 0 || rights == 0)
            rights |= QUIRE_MMU_SR;
        return is_user ? rights << 3 : rights;
    case REGIME_PPC32: {
        /* Ks and Kp of the segment, see machine_use() */
        unsigned segment = (unsigned)(va >> 28), keys = segment % 3;
        static const uint32_t by_pp[3][4] = {
            /* PP:       0                   1                   2      3 */
            {033 & 077, 033 & 077, 033 & 077, 011 & 077},
            {003, 013, 033, 011},
            {030, 031, 033, 011},
        };
        uint32_t best = 0;
        int least = 99;
        static const uint8_t order[4] = {3, 1, 0, 2}; /* of equals, what writes least */
        for (unsigned i = 0; i < 4; i++) {
            uint32_t its = by_pp[keys][order[i]];
            if (segment != 7) {
                its |= (its & 1) << 2;
                its |= (its >> 3 & 1) << 5;
            }
            if ((its & (asked & 033)) == (asked & 033) && __builtin_popcount(its) < least) {
                least = __builtin_popcount(its);
                best = its;
            }
        }
        return best;
    }
    case REGIME_INVERTED:
        return is_user ? (supervisor | user) * 9 : supervisor;
    default: /* AArch64 */
        rights = QUIRE_MMU_SR | (asked & (QUIRE_MMU_SX | QUIRE_MMU_UX));
        if ((asked & (QUIRE_MMU_SW | QUIRE_MMU_UW)) != 0)
            rights |= QUIRE_MMU_SW;
        if ((asked & (QUIRE_MMU_UR | QUIRE_MMU_UW)) != 0)
            rights |= QUIRE_MMU_UR | ((rights & QUIRE_MMU_SW) != 0 ? QUIRE_MMU_UW : 0);
        if ((rights & QUIRE_MMU_UW) != 0)
            rights &= ~(unsigned)QUIRE_MMU_SX;
        return rights;
    }
}

static uint64_t draw_word(void)
{
    return draw(1u << 31) << 33 ^ draw(1u << 31) << 11 ^ draw(1u << 11);
}

/* Clustered, so that tables are shared and pages meet; canonical. */
static uint64_t draw_va(unsigned shift)
{
    unsigned bits = quire_mmu_va_bits(&machine.mmu);
    uint64_t va = draw_word() & (((uint64_t)1 << (13 + draw(bits - 13))) - 1);

    if (draw(2) == 0)
        va |= (uint64_t)1 << (bits - 1);
    if (bits < 64 &&
        (is_arm() || machine.mmu.mode == QUIRE_MMU_X86_48 || machine.mmu.mode == QUIRE_MMU_X86_57 ||
         (machine.mmu.mode >= QUIRE_MMU_SV39 && machine.mmu.mode <= QUIRE_MMU_SV57))) {
        bool upper = is_arm() ? draw(2) == 0 : (va >> (bits - 1) & 1) != 0;
        va = upper ? va | ~(uint64_t)0 << bits : va;
    }
    return va & ~(((uint64_t)1 << shift) - 1);
}

static uint64_t draw_address(unsigned shift)
{
    if (regime == REGIME_INVERTED)
        return (16 + draw(5000)) << 12;
    unsigned bits = machine.mmu.phys_bits;
    if (regime == REGIME_X86_32 && shift == 12)
        bits = 32;
    return draw_word() & (((uint64_t)1 << bits) - 1) & ~(((uint64_t)1 << shift) - 1);
}

static unsigned draw_shift(void)
{
    uint64_t sizes = quire_mmu_page_sizes(&machine.mmu);
    unsigned shift;

    do
        shift = (unsigned)draw(60);
    while ((sizes >> shift & 1) == 0);
    return draw(2) == 0 ? shift : (unsigned)__builtin_ctzll(sizes);
}

static struct mapped *find(uint64_t va)
{
    for (unsigned i = 0; i < n_mapped; i++)
        if (va - list[i].va < size_of(&list[i]))
            return &list[i];
    return NULL;
}

static bool overlaps(uint64_t va, unsigned shift)
{
    for (unsigned i = 0; i < n_mapped; i++)
        if (va - list[i].va < size_of(&list[i]) || list[i].va - va < (uint64_t)1 << shift)
            return true;
    return false;
}

static bool has_frame(uint64_t address)
{
    for (unsigned i = 0; i < n_mapped; i++)
        if (list[i].address == address)
            return true;
    return false;
}

static void step_map(void)
{
    struct quire_mmu_frames frames = machine_frames(&machine);
    struct mapped one = {.shift = draw_shift(), .rights = (uint32_t)draw(64)};
    bool is_full = false;

    if (n_mapped == MAX_MAPPED)
        return;
    one.va = draw_va(one.shift);
    one.address = draw_address(one.shift);
    unsigned n_taken = machine.n_taken;
    if (draw(20) == 0)
        machine.fail_in = 1 + (unsigned)draw(3);
    bool may_fail = machine.fail_in != 0;
    int error = quire_mmu_map(&machine.mmu, machine.image, &frames, one.va, one.address, one.shift,
                              one.rights);
    machine.fail_in = 0;
    if (overlaps(one.va, one.shift)) {
        REQUIRE(error == -EEXIST);
    } else if (regime == REGIME_INVERTED && has_frame(one.address)) {
        REQUIRE(error == -EBUSY);
    } else if (error == -ENOMEM || error == -ENOSPC) {
        is_full = may_fail || machine.next + (1 << 18) > MACHINE_START + MEMORY_BYTES ||
                  regime == REGIME_PPC32;
        REQUIRE(is_full);
        REQUIRE(machine.n_taken == n_taken);
    } else {
        REQUIRE(error == 0);
        one.rights = expected(one.rights, one.va);
        list[n_mapped++] = one;
    }
}

static void step_unmap(void)
{
    struct quire_mmu_frames frames = machine_frames(&machine);

    if (n_mapped == 0)
        return;
    unsigned i = (unsigned)draw(n_mapped);
    uint64_t va = list[i].va +
                  draw(size_of(&list[i]) > UINT32_MAX ? UINT32_MAX : size_of(&list[i]));
    REQUIRE(quire_mmu_unmap(&machine.mmu, machine.image, &frames, va) == 0);
    list[i] = list[--n_mapped];
    REQUIRE(quire_mmu_unmap(&machine.mmu, machine.image, &frames, va) == -ENOENT);
}

static void step_protect(void)
{
    if (n_mapped == 0)
        return;
    struct mapped *one = &list[draw(n_mapped)];
    uint32_t rights = (uint32_t)draw(64);
    REQUIRE(quire_mmu_protect(&machine.mmu, machine.image, one->va, rights) == 0);
    one->rights = expected(rights, one->va);
}

static bool is_same(const struct quire_mmu_answer *a, const struct quire_mmu_answer *b)
{
    return a->address == b->address && a->entry == b->entry &&
           a->entry_address == b->entry_address && a->rights == b->rights &&
           a->reason == b->reason && a->level == b->level && a->page_shift == b->page_shift;
}

static void check_one(uint64_t va)
{
    struct quire_mmu_answer answer, again;
    struct quire_mmu_trace trace;
    const struct mapped *one = find(va);

    quire_mmu_translate(&machine.mmu, va, &answer, NULL);
    quire_mmu_translate(&machine.mmu, va, &again, &trace);
    REQUIRE(is_same(&answer, &again));
    REQUIRE(trace.n_steps > 0);
    if (one == NULL) {
        REQUIRE(answer.reason == QUIRE_MMU_NOT_PRESENT || answer.reason == QUIRE_MMU_NO_MATCH);
        return;
    }
    REQUIRE(answer.reason == QUIRE_MMU_OK);
    REQUIRE(answer.address == one->address + (va - one->va));
    REQUIRE(answer.page_shift == one->shift);
    REQUIRE((answer.rights & QUIRE_MMU_ALL) == one->rights);
    for (unsigned user = 0; user < 2; user++)
        for (unsigned access = 0; access < 3; access++)
            if (!is_arm()) /* whose accessed flags are clear, and nobody sets them */
                REQUIRE((quire_mmu_check(&machine.mmu, &answer, (enum quire_mmu_access)access,
                                         user != 0) == QUIRE_MMU_OK) ==
                        ((one->rights >> (3 * user + access) & 1) != 0));
}

static bool count_one(void *context, const struct quire_mmu_mapping *mapping)
{
    unsigned *n = context;
    const struct mapped *one = find(mapping->va);

    REQUIRE(mapping->reason == QUIRE_MMU_OK);
    REQUIRE(one != NULL && one->va == mapping->va && one->address == mapping->address);
    REQUIRE(mapping->n_bytes == size_of(one) && mapping->page_shift == one->shift);
    (*n)++;
    return true;
}

static bool add_bytes(void *context, const struct quire_mmu_mapping *mapping)
{
    *(uint64_t *)context += mapping->n_bytes;
    return true;
}

static void check_all(void)
{
    const struct quire_mmu_limits all = {.range = {0, UINT64_MAX}};
    uint64_t vas[MAX_MAPPED], n_bytes = 0, n_merged = 0;
    struct quire_mmu_answer answers[MAX_MAPPED], answer;
    unsigned n = 0;

    for (unsigned i = 0; i < n_mapped; i++) {
        uint64_t size = size_of(&list[i]);
        check_one(list[i].va + draw(size > UINT32_MAX ? UINT32_MAX : size));
        check_one(list[i].va + size - 1);
        vas[i] = draw(3) == 0 ? draw_word() : list[i].va + size / 2;
        n_bytes += size;
    }
    for (unsigned i = 0; i < 50; i++)
        check_one(draw_va(0));
    quire_mmu_translate_many(&machine.mmu, vas, answers, n_mapped);
    for (unsigned i = 0; i < n_mapped; i++) {
        quire_mmu_translate(&machine.mmu, vas[i], &answer, NULL);
        REQUIRE(is_same(&answer, &answers[i]));
    }
    REQUIRE(quire_mmu_each(&machine.mmu, &all, count_one, &n) == 0);
    REQUIRE(n == n_mapped);
    REQUIRE(quire_mmu_each_merged(&machine.mmu, &all, add_bytes, &n_merged) == 0);
    REQUIRE(n_merged == n_bytes);
}

static void check_part(void)
{
    if (n_mapped == 0)
        return;
    const struct mapped *one = &list[draw(n_mapped)];
    const struct quire_mmu_limits part = {
        .range = {one->va + draw(size_of(one) > UINT32_MAX ? UINT32_MAX : size_of(one)),
                  one->va + size_of(one) - 1}};
    unsigned n = 0;
    REQUIRE(quire_mmu_each(&machine.mmu, &part, count_one, &n) == 0);
    REQUIRE(n == 1);
}

static void round_trip(void)
{
    struct quire_mmu_frames frames = machine_frames(&machine);

    machine_open(&machine, MEMORY_BYTES);
    machine_use(&machine, regime);
    unsigned n_roots = machine.n_taken;
    n_mapped = 0;
    for (step = 0; step < N_STEPS; step++) {
        uint64_t what = draw(10);
        if (what < 6)
            step_map();
        else if (what < 8)
            step_unmap();
        else if (what < 9)
            step_protect();
        else
            check_part();
        if (step % 200 == 199)
            check_all();
    }
    while (n_mapped > 0)
        REQUIRE(quire_mmu_unmap(&machine.mmu, machine.image, &frames, list[--n_mapped].va) == 0);
    REQUIRE(machine.n_taken == n_roots);
    machine_close(&machine);
}

/* Garbage */

/*
 * How far into the mapping the entry lies that told of it. A NAPOT page of RISC-V is told by the
 * first of its 16 entries that lies in the range, and in garbage those before may be anything.
 */
static uint64_t offset_of_entry(const struct quire_mmu_mapping *mapping)
{
    const bool is_riscv = machine.mmu.mode >= QUIRE_MMU_SV39 && machine.mmu.mode <= QUIRE_MMU_SV57;
    if (!is_riscv || mapping->reason != QUIRE_MMU_OK ||
        (mapping->rights & QUIRE_MMU_CONTIGUOUS) == 0)
        return 0;
    return (mapping->entry_address / 8 % 16) << 12;
}

static bool look_again(void *context, const struct quire_mmu_mapping *mapping)
{
    const uint64_t offset = offset_of_entry(mapping);
    struct quire_mmu_answer answer;
    unsigned *n = context;

    quire_mmu_translate(&machine.mmu, mapping->va + offset, &answer, NULL);
    if (mapping->reason == QUIRE_MMU_OUTSIDE) { /* one word for a whole table */
        REQUIRE(answer.reason == QUIRE_MMU_OUTSIDE);
    } else {
        REQUIRE(answer.reason == mapping->reason && answer.entry == mapping->entry);
        REQUIRE(answer.reason != QUIRE_MMU_OK ||
                (answer.address == mapping->address + offset &&
                 answer.page_shift == mapping->page_shift && answer.rights == mapping->rights));
    }
    return ++*n < 3000;
}

/* An entry that leads somewhere, in most formats, or anything. */
static uint64_t draw_entry(void)
{
    uint64_t page = (MACHINE_START >> 12) + draw(machine.n_bytes >> 12), low = draw(4096);

    switch (draw(8)) {
    case 0:
        return draw_word();
    case 1:
        return 0;
    case 2:
        return page << 10 | (low & 0xff) | 1; /* RISC-V */
    case 3:
        return page << 10 | 1;
    case 4:
        return (page << 12 | low | 1) | draw(4) << 62;
    default:
        return page << 12 | (low & 0x67) | 3;
    }
}

static void garbage(void)
{
    machine_open(&machine, 64 << 12);
    for (uint64_t at = 0; at < machine.n_bytes; at += 8) {
        uint64_t entry = draw_entry();
        memcpy(machine.bytes + at, &entry, sizeof entry);
    }
    machine.next = MACHINE_START;
    if (regime != REGIME_INVERTED && regime != REGIME_PPC32)
        machine_use(&machine, regime);
    else if (regime == REGIME_PPC32)
        (void)quire_mmu_init_ppc32(&machine.mmu, machine.image,
                                   &(struct quire_mmu_ppc32){.sdr1 = 0x00100001});
    else
        (void)quire_mmu_init_inverted(&machine.mmu, machine.image, MACHINE_START, 0);
    for (step = 0; step < 300; step++) {
        struct quire_mmu_answer answer;
        struct quire_mmu_trace trace;
        uint64_t va = draw(2) == 0 ? draw_word() : draw_va(0);
        quire_mmu_translate(&machine.mmu, va, &answer, &trace);
        struct quire_mmu_limits one = {.range = {va, va}, .max_tables = 1000};
        unsigned n = 0;
        int error = quire_mmu_each(&machine.mmu, &one, look_again, &n);
        REQUIRE(error == 0);
        REQUIRE(n <= 1);
        if (answer.reason == QUIRE_MMU_OK)
            REQUIRE(n == 1);
    }
    struct quire_mmu_limits all = {.range = {0, UINT64_MAX}, .max_tables = 200};
    unsigned n = 0;
    (void)quire_mmu_each(&machine.mmu, &all, look_again, &n);
    machine_close(&machine);
}

int main(void)
{
    unsigned n_rounds = draw_from_seed(2);

    for (round_number = 0; round_number < n_rounds; round_number++) {
        for (unsigned i = 0; i < N_REGIMES; i++) {
            regime = (enum regime)i;
            printf("regime %u\n", i);
            fflush(stdout);
            round_trip();
            garbage();
        }
    }
    return 0;
}
