/* SPDX-License-Identifier: Apache-2.0 */
/* The TLB: what it keeps, what makes room, what a flush drops, and what walks are counted to read.
 */
#include "mmu_machine.h"

#include <quire/tlb.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define RIGHTS (QUIRE_MMU_SR | QUIRE_MMU_SW | QUIRE_MMU_UR | QUIRE_MMU_ACCESSED)
#define SIZE_4K (1u << 12)
#define SIZE_2M (1u << 21)

static const struct quire_tlb_walk four_levels = {
    .n_entries = 4, .n_tables = 3, .shifts = {39, 30, 21}};

static struct quire_tlb *make(const struct quire_tlb_config *config)
{
    size_t n_bytes = (quire_tlb_bytes(config) + 63) & ~(size_t)63;
    void *memory = aligned_alloc(64, n_bytes);
    struct quire_tlb *tlb;

    assert_true(n_bytes > 0);
    assert_int_equal(quire_tlb_init(config, memory, n_bytes, &tlb), 0);
    return tlb;
}

static struct quire_tlb *make_one(uint32_t n_sets, uint32_t n_ways,
                                  enum quire_tlb_replacement replacement)
{
    struct quire_tlb_config config = {
        .n_arrays = 1, .arrays = {{1, n_sets, n_ways, 0}}, .replacement = replacement};
    return make(&config);
}

/* A lookup, and on a miss a fill with a page of that size, at its own address. 1, 2, 0: a walk. */
static int touch(struct quire_tlb *tlb, uint32_t asid, uint64_t va, unsigned shift, uint32_t rights)
{
    struct quire_mmu_answer answer = {
        .address = va, .rights = rights, .page_shift = (uint8_t)shift};
    struct quire_mmu_answer kept = {0};
    int level = quire_tlb_lookup(tlb, asid, va, &kept);

    if (level == 0) {
        quire_tlb_fill(tlb, asid, va, &four_levels, &answer);
    } else {
        assert_int_equal(kept.address, va);
        assert_int_equal(kept.rights, rights);
        assert_int_equal(kept.page_shift, shift);
        assert_int_equal(kept.reason, QUIRE_MMU_OK);
    }
    return level;
}

static bool has(struct quire_tlb *tlb, uint32_t asid, uint64_t va)
{
    struct quire_mmu_answer answer;
    return quire_tlb_lookup(tlb, asid, va, &answer) != 0;
}

static void configurations(void **state)
{
    struct quire_tlb_config good = {.n_arrays = 1, .arrays = {{1, 16, 4, SIZE_4K}}}, bad;
    static uint64_t memory[8192] __attribute__((aligned(64)));
    struct quire_tlb *tlb;

    assert_true(quire_tlb_bytes(&good) >= 64 * 40);
    assert_int_equal(quire_tlb_init(&good, memory, quire_tlb_bytes(&good) - 1, &tlb), -ENOSPC);
    assert_int_equal(quire_tlb_init(&good, memory + 1, sizeof memory - 8, &tlb), -EINVAL);
    assert_int_equal(quire_tlb_init(&good, memory, sizeof memory, &tlb), 0);
    bad = good, bad.n_arrays = 0;
    assert_int_equal(quire_tlb_bytes(&bad), 0);
    bad = good, bad.n_arrays = QUIRE_TLB_MAX_ARRAYS + 1;
    assert_int_equal(quire_tlb_bytes(&bad), 0);
    bad = good, bad.arrays[0].n_sets = 3; /* no power of two */
    assert_int_equal(quire_tlb_bytes(&bad), 0);
    bad = good, bad.arrays[0].n_ways = 0;
    assert_int_equal(quire_tlb_bytes(&bad), 0);
    bad = good, bad.arrays[0].level = 2; /* and none of level 1 */
    assert_int_equal(quire_tlb_bytes(&bad), 0);
    bad = good, bad.arrays[0].n_ways = QUIRE_TLB_MAX_ENTRIES;
    assert_int_equal(quire_tlb_bytes(&bad), 0);
    bad = good, bad.n_walk_entries = QUIRE_TLB_MAX_WALK_ENTRIES + 1;
    assert_int_equal(quire_tlb_bytes(&bad), 0);
    assert_int_equal(quire_tlb_init(&bad, memory, sizeof memory, &tlb), -EINVAL);
}

/* Four pages that fall into one set of two ways; others that do not. */
static void sets_and_ways(void **state)
{
    struct quire_tlb *tlb = make_one(4, 2, QUIRE_TLB_LRU);
    struct quire_tlb_counts counts;

    for (uint64_t page = 0; page < 8; page++)
        assert_int_equal(touch(tlb, 0, page << 12, 12, RIGHTS), 0);
    for (uint64_t page = 0; page < 8; page++)
        assert_int_equal(touch(tlb, 0, page << 12 | 0x123, 12, RIGHTS), 1);
    quire_tlb_counts(tlb, &counts);
    assert_int_equal(counts.n_evictions, 0);
    assert_int_equal(touch(tlb, 0, 8 << 12, 12, RIGHTS), 0); /* set 0 has pages 0 and 4 */
    assert_false(has(tlb, 0, 0));
    assert_true(has(tlb, 0, 4 << 12));
    assert_true(has(tlb, 0, 1 << 12));
    quire_tlb_counts(tlb, &counts);
    assert_int_equal(counts.n_evictions, 1);
    assert_int_equal(counts.n_lookups, counts.n_hits[0] + counts.n_hits[1] + counts.n_walks);
    free(tlb);
}

/* The reference string 1 2 1 3 1 2 in two entries: LRU drops 2 for 3, FIFO drops 1. */
static void replacement(void **state)
{
    static const uint8_t string[] = {1, 2, 1, 3, 1, 2};
    static const int lru[] = {0, 0, 1, 0, 1, 0}, fifo[] = {0, 0, 1, 0, 0, 0};
    struct quire_tlb *tlb = make_one(1, 2, QUIRE_TLB_LRU);

    for (unsigned i = 0; i < sizeof string; i++)
        assert_int_equal(touch(tlb, 0, (uint64_t)string[i] << 12, 12, RIGHTS), lru[i]);
    free(tlb);
    tlb = make_one(1, 2, QUIRE_TLB_FIFO);
    for (unsigned i = 0; i < sizeof string; i++)
        assert_int_equal(touch(tlb, 0, (uint64_t)string[i] << 12, 12, RIGHTS), fifo[i]);
    free(tlb);
}

/* A loop over one page more than there are entries: LRU never hits, chance does. */
static void random_replacement(void **state)
{
    struct quire_tlb *tlb = make_one(1, 16, QUIRE_TLB_LRU);
    struct quire_tlb_counts counts;

    for (unsigned i = 0; i < 17 * 50; i++)
        touch(tlb, 0, (uint64_t)(i % 17) << 12, 12, RIGHTS);
    quire_tlb_counts(tlb, &counts);
    assert_int_equal(counts.n_hits[0], 0);
    free(tlb);
    tlb = make_one(1, 16, QUIRE_TLB_RANDOM);
    for (unsigned i = 0; i < 17 * 50; i++)
        touch(tlb, 0, (uint64_t)(i % 17) << 12, 12, RIGHTS);
    quire_tlb_counts(tlb, &counts);
    assert_in_range(counts.n_hits[0], 17 * 50 / 2, 17 * 50 - 17);
    free(tlb);
}

static void page_sizes(void **state)
{
    struct quire_tlb_config config = {
        .n_arrays = 3,
        .arrays = {{1, 1, 1, SIZE_4K}, {1, 1, 1, SIZE_2M}, {2, 1, 4, SIZE_4K | SIZE_2M}}};
    struct quire_tlb *tlb = make(&config);

    assert_int_equal(touch(tlb, 0, 0x1000, 12, RIGHTS), 0);
    assert_int_equal(touch(tlb, 0, 0x40000000, 21, RIGHTS), 0);
    assert_int_equal(touch(tlb, 0, 0x1fff, 12, RIGHTS), 1); /* neither has pushed the other out */
    assert_int_equal(touch(tlb, 0, 0x401fffff, 21, RIGHTS), 1);
    assert_int_equal(touch(tlb, 0, 0x2000, 12, RIGHTS), 0);
    assert_int_equal(touch(tlb, 0, 0x1000, 12, RIGHTS), 2); /* level 2 has it still */
    assert_int_equal(touch(tlb, 0, 0x1000, 12, RIGHTS), 1); /* and has copied it up */
    assert_int_equal(touch(tlb, 0, 0x1c0000000, 30, RIGHTS), 0);
    assert_int_equal(touch(tlb, 0, 0x1c0000000, 30, RIGHTS), 0); /* no array is for 1 GiB */
    free(tlb);
}

static void spaces_and_global_pages(void **state)
{
    struct quire_tlb *tlb = make_one(4, 4, QUIRE_TLB_LRU);

    touch(tlb, 1, 0x5000, 12, RIGHTS);
    assert_false(has(tlb, 2, 0x5000));
    touch(tlb, 2, 0x5000, 12, RIGHTS);
    touch(tlb, 1, 0x6000, 12, RIGHTS | QUIRE_MMU_GLOBAL);
    assert_true(has(tlb, 2, 0x6000));
    assert_int_equal(quire_tlb_flush_space(tlb, 1), 1); /* but the global one */
    assert_false(has(tlb, 1, 0x5000));
    assert_true(has(tlb, 2, 0x5000));
    assert_true(has(tlb, 1, 0x6000));
    assert_int_equal(quire_tlb_flush_page(tlb, 2, 0x6abc), 1); /* of any space: it is global */
    assert_false(has(tlb, 1, 0x6000));
    free(tlb);
}

static void flushes_are_counted(void **state)
{
    struct quire_tlb_config config = {.n_arrays = 2, .arrays = {{1, 4, 4, 0}, {2, 16, 4, 0}}};
    struct quire_tlb *tlb = make(&config);
    struct quire_tlb_counts counts;

    for (uint64_t page = 0; page < 8; page++)
        touch(tlb, 3, page << 12, 12, RIGHTS);
    assert_int_equal(quire_tlb_flush_page(tlb, 3, 0x7fff), 2); /* both levels' */
    assert_int_equal(quire_tlb_flush_page(tlb, 3, 0x7fff), 0);
    assert_int_equal(quire_tlb_flush_page(tlb, 4, 0x6000), 0);
    assert_int_equal(quire_tlb_flush_all(tlb), 14);
    quire_tlb_counts(tlb, &counts);
    assert_int_equal(counts.n_flushes, 4);
    assert_int_equal(counts.n_flushed, 16);
    for (uint64_t page = 0; page < 8; page++)
        assert_false(has(tlb, 3, page << 12));
    free(tlb);
}

/* A flush that was forgotten: the TLB goes on with what it knows, as the hardware does. */
static void stale_until_flushed(void **state)
{
    struct quire_tlb *tlb = make_one(1, 4, QUIRE_TLB_LRU);
    struct machine machine;
    struct quire_mmu_answer answer;

    machine_open(&machine, 1 << 20);
    machine_use(&machine, REGIME_X86_48);
    struct quire_mmu_frames frames = machine_frames(&machine);
    assert_int_equal(
        quire_mmu_map(&machine.mmu, machine.image, &frames, 0x400000, 0x7000, 12, RIGHTS), 0);
    assert_int_equal(quire_tlb_translate(tlb, &machine.mmu, 0, 0x400123, &answer), 0);
    assert_int_equal(answer.address, 0x7123);
    assert_int_equal(quire_mmu_unmap(&machine.mmu, machine.image, &frames, 0x400000), 0);
    assert_int_equal(quire_tlb_translate(tlb, &machine.mmu, 0, 0x400456, &answer), 1);
    assert_int_equal(answer.address, 0x7456);
    assert_int_equal(quire_tlb_flush_page(tlb, 0, 0x400000), 1);
    assert_int_equal(quire_tlb_translate(tlb, &machine.mmu, 0, 0x400456, &answer), 0);
    assert_int_equal(answer.reason, QUIRE_MMU_NOT_PRESENT);
    assert_int_equal(quire_tlb_translate(tlb, &machine.mmu, 0, 0x400456, &answer),
                     0); /* not kept */
    free(tlb);
    machine_close(&machine);
}

/* Two arrays of a level that both hold 4 KiB pages: a second level in halves, as Intel's. */
static void a_size_that_two_arrays_hold(void **state)
{
    struct quire_tlb_config config = {
        .n_arrays = 2, .arrays = {{1, 2, 2, SIZE_4K | SIZE_2M}, {1, 2, 2, SIZE_4K | 1u << 30}}};
    struct quire_tlb *tlb = make(&config);
    struct quire_tlb_counts counts;

    (void)state;
    for (uint64_t page = 0; page < 8; page++) /* 4 go into each set, 2 of each array */
        assert_int_equal(touch(tlb, 1, page << 12, 12, RIGHTS), 0);
    for (uint64_t page = 0; page < 8; page++)
        assert_int_equal(touch(tlb, 1, page << 12, 12, RIGHTS), 1);
    quire_tlb_counts(tlb, &counts);
    assert_int_equal(counts.n_evictions, 0);
    assert_int_equal(touch(tlb, 1, 8 << 12, 12, RIGHTS), 0); /* the oldest of both makes room */
    assert_false(has(tlb, 1, 0));
    for (uint64_t page = 1; page < 9; page++)
        assert_true(has(tlb, 1, page << 12));
    quire_tlb_counts(tlb, &counts);
    assert_int_equal(counts.n_evictions, 1);
    for (uint64_t page = 0; page < 3; page++) /* of 2 MiB: in the first array only */
        assert_int_equal(touch(tlb, 1, (page * 2 + 512) << 21, 21, RIGHTS), 0);
    assert_false(has(tlb, 1, (uint64_t)512 << 21));
    assert_true(has(tlb, 1, (uint64_t)514 << 21));
    free(tlb);
}

static void filling_again_replaces(void **state)
{
    struct quire_tlb *tlb = make_one(1, 4, QUIRE_TLB_LRU);
    struct quire_mmu_answer answer = {.address = 0x9000, .rights = RIGHTS, .page_shift = 12};

    touch(tlb, 0, 0x1000, 12, RIGHTS);
    quire_tlb_fill(tlb, 0, 0x1000, &four_levels, &answer);
    assert_int_equal(quire_tlb_lookup(tlb, 0, 0x1234, &answer), 1);
    assert_int_equal(answer.address, 0x9234);
    assert_int_equal(quire_tlb_flush_all(tlb), 1); /* T2: there was one */
    free(tlb);
}

/* Barr, Cox and Rixner's skipping: a walk begins below the lowest table that is known. */
static void page_walk_cache(void **state)
{
    struct quire_tlb_config config = {.n_arrays = 1, .arrays = {{1, 1, 1, 0}}, .n_walk_entries = 2};
    struct quire_tlb *tlb = make(&config);
    struct quire_mmu_answer answer = {.rights = RIGHTS, .page_shift = 12};
    struct quire_tlb_walk large = {.n_entries = 3, .n_tables = 2, .shifts = {39, 30}},
                          hashed = {.n_entries = 9};
    struct quire_tlb_counts counts;

    assert_int_equal(quire_tlb_fill(tlb, 0, 0x1000, &four_levels, &answer), 0);
    assert_int_equal(quire_tlb_fill(tlb, 0, 0x2000, &four_levels, &answer), 3); /* the last table */
    assert_int_equal(quire_tlb_fill(tlb, 0, 0x200000, &four_levels, &answer), 2);
    assert_int_equal(quire_tlb_fill(tlb, 0, 0x40000000, &four_levels, &answer), 1);
    assert_int_equal(quire_tlb_fill(tlb, 0, 0x8000000000, &four_levels, &answer), 0);
    assert_int_equal(quire_tlb_fill(tlb, 1, 0x8000000000, &four_levels, &answer),
                     0); /* another's */
    assert_int_equal(quire_tlb_fill(tlb, 1, 0x8000200000, &large, &answer), 2);
    assert_int_equal(quire_tlb_fill(tlb, 1, 0x8000200000, &hashed, &answer), 0);
    quire_tlb_counts(tlb, &counts);
    assert_int_equal(counts.n_entries_saved, 3 + 2 + 1 + 2);
    assert_int_equal(counts.n_entries_read + counts.n_entries_saved, 6 * 4 + 3 + 9);
    quire_tlb_flush_page(tlb, 1, 0); /* takes the space's tables along */
    assert_int_equal(quire_tlb_fill(tlb, 1, 0x8000200000, &four_levels, &answer), 0);
    free(tlb);
}

/* What the simulator gets when it hands walks over is what translation itself counts. */
static void two_halves_are_the_whole(void **state)
{
    struct quire_tlb_config config = {
        .n_arrays = 2, .arrays = {{1, 4, 4, 0}, {2, 16, 4, 0}}, .n_walk_entries = 4};
    struct quire_tlb *whole = make(&config), *halves = make(&config);
    struct quire_tlb_counts counts[2];
    struct machine machine;
    uint64_t random = 7;

    machine_open(&machine, 4 << 20);
    machine_use(&machine, REGIME_X86_48);
    struct quire_mmu_frames frames = machine_frames(&machine);
    for (uint64_t page = 0; page < 512; page++)
        assert_int_equal(quire_mmu_map(&machine.mmu, machine.image, &frames, page * 0x3f000,
                                       page << 12, 12, RIGHTS),
                         0);
    for (unsigned i = 0; i < 20000; i++) {
        struct quire_mmu_answer answer, other;
        random = random * 6364136223846793005u + 1442695040888963407u;
        uint64_t va = (random >> 33) % 512 * 0x3f000 + (random & 0xfff);
        int level = quire_tlb_translate(whole, &machine.mmu, 5, va, &answer);
        assert_int_equal(quire_tlb_lookup(halves, 5, va, &other), level);
        if (level == 0)
            quire_tlb_fill(halves, 5, va, &four_levels, &answer);
    }
    quire_tlb_counts(whole, &counts[0]);
    quire_tlb_counts(halves, &counts[1]);
    assert_memory_equal(&counts[0], &counts[1], sizeof counts[0]);
    assert_true(counts[0].n_hits[1] > 0 && counts[0].n_entries_saved > 0);
    free(whole);
    free(halves);
    machine_close(&machine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(configurations),
                                       cmocka_unit_test(sets_and_ways),
                                       cmocka_unit_test(replacement),
                                       cmocka_unit_test(random_replacement),
                                       cmocka_unit_test(page_sizes),
                                       cmocka_unit_test(spaces_and_global_pages),
                                       cmocka_unit_test(flushes_are_counted),
                                       cmocka_unit_test(stale_until_flushed),
                                       cmocka_unit_test(a_size_that_two_arrays_hold),
                                       cmocka_unit_test(filling_again_replaces),
                                       cmocka_unit_test(page_walk_cache),
                                       cmocka_unit_test(two_halves_are_the_whole)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
