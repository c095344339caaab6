/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Address spaces against arrays of bytes: random mapping, unmapping, protecting, sharing, cloning,
 * reading and writing, with and without a TLB, over several formats. What is read is what was
 * written; what is refused is what has no area or no right; in the end every frame is free.
 */
#include "model_random.h"

#include <errno.h>
#include <quire/space.h>
#include <string.h>

#define N_FRAMES 2048u
#define START ((uint64_t)16 << 20)
#define N_SPACES 3
#define N_PAGES 24 /* of the window that each space uses */
#define MAX_AREAS 64
#define N_STEPS 1500

/* A page of the model: what it holds is a number, at its start. */
struct cell {
    uint64_t value;
    unsigned n_users;
};

struct page {
    bool is_mapped, is_shared;
    uint32_t rights;
    struct cell *cell; /* shared pages of several spaces have one cell */
};

static struct quire_space_memory memory;
static struct quire_space spaces[N_SPACES];
static struct quire_space_area areas[N_SPACES][MAX_AREAS];
static struct page pages[N_SPACES][N_PAGES];
static uint64_t roots[N_SPACES][2], root_bytes, base;
static void *tlb_memory;

static uint64_t va_of(unsigned page)
{
    return base + (uint64_t)page * spaces[0].page_bytes;
}

static void open_memory(void)
{
    const struct quire_buddy_zone zone = {0, N_FRAMES, "frames"};
    const struct quire_buddy_config config = {.max_order = 6, .n_zones = 1, .zones = &zone};
    size_t n_bytes = quire_buddy_metadata_bytes(&config);
    void *metadata = aligned_alloc(4096, (n_bytes + 4095) & ~(size_t)4095);

    memset(metadata, 0, n_bytes);
    memory = (struct quire_space_memory){.start = START, .n_frames = N_FRAMES};
    memory.references = calloc(N_FRAMES, sizeof *memory.references);
    REQUIRE(quire_buddy_init(&config, metadata, n_bytes, &memory.buddy) == 0);
    REQUIRE(quire_image_new(&memory.image) == 0);
    REQUIRE(quire_image_add_memory(memory.image, START, aligned_alloc(4096, N_FRAMES * 4096ul),
                                   N_FRAMES * 4096ul, true) == 0);
}

static void open_space(unsigned i, unsigned kind, struct quire_tlb *tlb)
{
    static const enum quire_mmu_mode modes[] = {QUIRE_MMU_X86_48, QUIRE_MMU_SV39, QUIRE_MMU_X86_32,
                                                QUIRE_MMU_ARM64};
    struct quire_mmu mmu;

    root_bytes = kind == 4 ? 65536 : 4096;
    for (unsigned j = 0; j < 2; j++)
        REQUIRE((roots[i][j] = quire_space_take_table(&memory, root_bytes)) != 0);
    if (kind < 3) {
        REQUIRE(quire_mmu_init_mode(&mmu, memory.image, modes[kind], roots[i][0], 0) == 0);
    } else { /* AArch64 that sets flags itself (HA, HD), with 4 KiB and 64 KiB */
        uint64_t tcr = kind == 3 ? 0x5b5103510 : 0x500000000 | 3ul << 30 | 1 << 14 | 22 | 22 << 16;
        struct quire_mmu_arm64 registers = {
            .tcr = tcr | 3ul << 39, .ttbr0 = roots[i][0], .ttbr1 = roots[i][1]};
        REQUIRE(quire_mmu_init_arm64(&mmu, memory.image, &registers, 0) == 0);
    }
    REQUIRE(quire_space_init(&spaces[i], &memory, &mmu, tlb, i + 1, areas[i], MAX_AREAS) == 0);
}

static void leave(struct page *page)
{
    if (page->cell != NULL && --page->cell->n_users == 0)
        free(page->cell);
    *page = (struct page){0};
}

static struct cell *new_cell(uint64_t value)
{
    struct cell *cell = malloc(sizeof *cell);
    *cell = (struct cell){value, 1};
    return cell;
}

static void draw_range(unsigned *first, unsigned *n)
{
    *first = (unsigned)draw(N_PAGES);
    *n = 1 + (unsigned)draw(N_PAGES - *first < 6 ? N_PAGES - *first : 6);
}

static uint32_t draw_rights(void)
{
    static const uint32_t rights[] = {QUIRE_MMU_SR | QUIRE_MMU_UR, 033, 077,
                                      QUIRE_MMU_SR | QUIRE_MMU_UR | QUIRE_MMU_SX | QUIRE_MMU_UX};
    return rights[draw(4)];
}

static void step_map(unsigned i)
{
    unsigned first, n;
    uint32_t rights = draw_rights();
    bool is_shared = draw(4) == 0, is_free = true;

    draw_range(&first, &n);
    for (unsigned j = first; j < first + n; j++)
        is_free &= !pages[i][j].is_mapped;
    int error = quire_space_map(&spaces[i], va_of(first), (uint64_t)n * spaces[i].page_bytes,
                                rights, is_shared);
    REQUIRE(error == (is_free ? 0 : -EEXIST));
    for (unsigned j = first; error == 0 && j < first + n; j++)
        pages[i][j] = (struct page){true, is_shared, rights, new_cell(0)};
}

static void step_unmap(unsigned i)
{
    unsigned first, n;
    draw_range(&first, &n);
    REQUIRE(quire_space_unmap(&spaces[i], va_of(first), (uint64_t)n * spaces[i].page_bytes) == 0);
    for (unsigned j = first; j < first + n; j++)
        leave(&pages[i][j]);
}

static void step_protect(unsigned i)
{
    unsigned first, n;
    uint32_t rights = draw_rights();
    bool is_whole = true;

    draw_range(&first, &n);
    for (unsigned j = first; j < first + n; j++)
        is_whole &= pages[i][j].is_mapped;
    int error = quire_space_protect(&spaces[i], va_of(first), (uint64_t)n * spaces[i].page_bytes,
                                    rights);
    REQUIRE(error == (is_whole ? 0 : -ENOENT));
    for (unsigned j = first; error == 0 && j < first + n; j++)
        pages[i][j].rights = rights;
}

static void step_access(unsigned i)
{
    unsigned j = (unsigned)draw(N_PAGES);
    struct page *page = &pages[i][j];
    uint64_t value = draw(1u << 30), got = 0, address;
    bool may_write = page->is_mapped && (page->rights & QUIRE_MMU_UW) != 0;
    bool may_execute = page->is_mapped && (page->rights & QUIRE_MMU_UX) != 0;

    switch (draw(3)) {
    case 0:
        REQUIRE(quire_space_write(&spaces[i], va_of(j), &value, sizeof value) ==
                (may_write ? 0 : -EFAULT));
        if (!may_write)
            return;
        if (!page->is_shared && page->cell->n_users > 1) {
            page->cell->n_users--;
            page->cell = new_cell(value);
        }
        page->cell->value = value;
        return;
    case 1:
        REQUIRE(quire_space_read(&spaces[i], va_of(j), &got, sizeof got) ==
                (page->is_mapped ? 0 : -EFAULT));
        REQUIRE(!page->is_mapped || got == page->cell->value);
        return;
    default: /* without NX all is executable */
        if (spaces[i].mmu.mode != QUIRE_MMU_X86_32)
            REQUIRE(quire_space_access(&spaces[i], va_of(j) + 5, QUIRE_MMU_EXECUTE, true,
                                       &address) == (may_execute ? 0 : -EFAULT));
    }
}

static void step_share(unsigned i)
{
    unsigned first, n, k = (i + 1) % N_SPACES;
    bool is_one = true, is_free = true;

    draw_range(&first, &n);
    for (unsigned j = first; j < first + n; j++) {
        is_one &= pages[i][j].is_mapped;
        is_free &= !pages[k][j].is_mapped;
    }
    int error = quire_space_share(&spaces[i], &spaces[k], va_of(first),
                                  (uint64_t)n * spaces[i].page_bytes);
    if (error == -ENOENT) /* several areas */
        return;
    REQUIRE(is_one);
    REQUIRE(error == (is_free ? 0 : -EEXIST));
    for (unsigned j = first; error == 0 && j < first + n; j++) {
        struct page *page = &pages[i][j];
        if (!page->is_shared && page->cell->n_users > 1) {
            page->cell->n_users--;
            page->cell = new_cell(page->cell->value);
        }
        page->is_shared = true;
        pages[k][j] = *page;
        page->cell->n_users++;
    }
}

static void step_clone(unsigned i)
{
    unsigned k = (i + 1) % N_SPACES;

    quire_space_deinit(&spaces[k]);
    for (unsigned j = 0; j < N_PAGES; j++)
        leave(&pages[k][j]);
    REQUIRE(quire_space_clone(&spaces[i], &spaces[k]) == 0);
    for (unsigned j = 0; j < N_PAGES; j++) {
        pages[k][j] = pages[i][j];
        if (pages[i][j].cell != NULL)
            pages[i][j].cell->n_users++;
    }
}

static void check_flags(unsigned i)
{
    unsigned j = (unsigned)draw(N_PAGES);
    struct quire_mmu_answer answer;
    uint64_t value;

    if (!pages[i][j].is_mapped || quire_space_read(&spaces[i], va_of(j), &value, 1) != 0)
        return;
    quire_mmu_translate(&spaces[i].mmu, va_of(j), &answer, NULL);
    REQUIRE(answer.reason == QUIRE_MMU_OK && (answer.rights & QUIRE_MMU_ACCESSED) != 0);
    if (quire_space_write(&spaces[i], va_of(j), &pages[i][j].cell->value, 8) != 0)
        return;
    if (!pages[i][j].is_shared && pages[i][j].cell->n_users > 1) {
        pages[i][j].cell->n_users--;
        pages[i][j].cell = new_cell(pages[i][j].cell->value);
    }
    quire_mmu_translate(&spaces[i].mmu, va_of(j), &answer, NULL);
    REQUIRE((answer.rights & QUIRE_MMU_DIRTY) != 0);
}

static struct quire_tlb *open_tlb(void)
{
    const struct quire_tlb_config config = {.n_arrays = 2,
                                            .arrays = {{1, 2, 2, 0}, {2, 8, 2, 0}},
                                            .replacement = QUIRE_TLB_LRU,
                                            .n_walk_entries = 4};
    struct quire_tlb *tlb;
    size_t n_bytes = (quire_tlb_bytes(&config) + 63) & ~(size_t)63;

    tlb_memory = aligned_alloc(64, n_bytes);
    REQUIRE(quire_tlb_init(&config, tlb_memory, n_bytes, &tlb) == 0);
    return tlb;
}

static void close_all(void)
{
    struct quire_buddy_counts counts;

    for (unsigned i = 0; i < N_SPACES; i++) {
        quire_space_deinit(&spaces[i]);
        for (unsigned j = 0; j < N_PAGES; j++)
            leave(&pages[i][j]);
        quire_space_give_table(&memory, roots[i][0], root_bytes);
        quire_space_give_table(&memory, roots[i][1], root_bytes);
    }
    REQUIRE(quire_buddy_counts(memory.buddy, 0, &counts) == 0 && counts.n_allocated == 0);
    for (unsigned i = 0; i < N_FRAMES; i++)
        REQUIRE(memory.references[i] == 0);
    const struct quire_image_range *ranges;
    REQUIRE(quire_image_ranges(memory.image, &ranges) == 1);
    free(ranges[0].bytes);
    quire_image_free(memory.image);
    free(memory.buddy);
    free(memory.references);
    free(tlb_memory);
}

int main(void)
{
    unsigned n_rounds = draw_from_seed(10);

    for (round_number = 0; round_number < n_rounds; round_number++) {
        unsigned kind = round_number % 5;
        open_memory();
        struct quire_tlb *tlb = open_tlb();
        for (unsigned i = 0; i < N_SPACES; i++)
            open_space(i, kind, round_number % 2 == 0 ? tlb : NULL);
        base = (uint64_t)0x3ff << 20;
        for (step = 0; step < N_STEPS; step++) {
            unsigned i = (unsigned)draw(N_SPACES);
            uint64_t what = draw(40);
            if (what < 6)
                step_map(i);
            else if (what < 8)
                step_unmap(i);
            else if (what < 11)
                step_protect(i);
            else if (what < 13)
                step_share(i);
            else if (what < 14)
                step_clone(i);
            else if (what < 16)
                check_flags(i);
            else
                step_access(i);
            if (step % 50 == 0)
                for (unsigned k = 0; k < N_SPACES; k++)
                    REQUIRE(quire_space_validate(&spaces[k]) == 0);
        }
        REQUIRE(quire_buddy_validate(memory.buddy) == 0);
        close_all();
    }
    return 0;
}
