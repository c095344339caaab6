/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine with 4 MiB of memory and two processes: demand-zero pages, fork, copy on write, and the
 * walk that the hardware does, step by step.
 *
 *     cc -o mmu mmu.c $(pkg-config --cflags --libs quire) && ./mmu
 */
#include <quire/space.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define START ((uint64_t)1 << 20)
#define N_FRAMES 1024u
#define HEAP 0x7f0000000000
#define RIGHTS (QUIRE_MMU_SR | QUIRE_MMU_SW | QUIRE_MMU_UR | QUIRE_MMU_UW)

static struct quire_space_memory memory = {.start = START, .n_frames = N_FRAMES};

static void check(int error, const char *what)
{
    if (error == 0)
        return;
    fprintf(stderr, "mmu: %s: %s\n", what, strerror(-error));
    exit(1);
}

static void *new_memory(size_t n_bytes)
{
    void *bytes = aligned_alloc(4096, (n_bytes + 4095) & ~(size_t)4095);
    check(bytes == NULL ? -12 : 0, "memory");
    memset(bytes, 0, n_bytes);
    return bytes;
}

/* Physical memory, and the buddy system that hands its frames out. */
static void make_machine(void)
{
    const struct quire_buddy_zone zone = {0, N_FRAMES, "ram"};
    const struct quire_buddy_config config = {.max_order = 8, .n_zones = 1, .zones = &zone};
    size_t n_bytes = quire_buddy_metadata_bytes(&config);

    check(quire_buddy_init(&config, new_memory(n_bytes), n_bytes, &memory.buddy), "a buddy system");
    check(quire_image_new(&memory.image), "an image");
    check(quire_image_add_memory(memory.image, START, new_memory(N_FRAMES * 4096ul),
                                 N_FRAMES * 4096ul, true),
          "physical memory");
    memory.references = new_memory(N_FRAMES * sizeof *memory.references);
}

static void make_process(struct quire_space *space, uint32_t asid)
{
    static struct quire_space_area areas[2][8];
    struct quire_mmu mmu;

    check(quire_mmu_init_mode(&mmu, memory.image, QUIRE_MMU_X86_48,
                              quire_space_take_table(&memory, 4096), 48),
          "page tables");
    check(quire_space_init(space, &memory, &mmu, NULL, asid, areas[asid], 8), "a process");
}

static void show_walk(const struct quire_space *space, uint64_t va)
{
    struct quire_mmu_answer answer;
    struct quire_mmu_trace trace;
    char words[100];

    quire_mmu_translate(&space->mmu, va, &answer, &trace);
    for (unsigned i = 0; i < trace.n_steps; i++) {
        quire_mmu_describe(&space->mmu, &trace.steps[i], words, sizeof words);
        printf("    %-6s index %3u  %s\n", quire_mmu_level_name(&space->mmu, trace.steps[i].level),
               trace.steps[i].index, words);
    }
    if (answer.reason == QUIRE_MMU_OK)
        printf("    = frame 0x%llx\n", (unsigned long long)answer.address);
    else
        printf("    = %s\n", quire_mmu_reason_text((enum quire_mmu_reason)answer.reason));
}

static void show_text(struct quire_space *space, const char *who)
{
    char text[16] = "";
    check(quire_space_read(space, HEAP, text, sizeof text - 1), "a read");
    printf("%s reads \"%s\"\n", who, text);
}

int main(void)
{
    struct quire_space parent, child;

    make_machine();
    make_process(&parent, 0);
    make_process(&child, 1);
    check(quire_space_map(&parent, HEAP, 64 << 12, RIGHTS, false), "an area");
    printf("64 pages are promised, none is there:\n");
    show_walk(&parent, HEAP);
    check(quire_space_write(&parent, HEAP, "parent", 7), "a write");
    printf("after the first write:\n");
    show_walk(&parent, HEAP);

    check(quire_space_clone(&parent, &child), "fork");
    printf("after fork the page has lost RW, in both:\n");
    show_walk(&child, HEAP);
    check(quire_space_write(&child, HEAP, "child", 6), "a write");
    printf("the child has written, and so copied:\n");
    show_walk(&child, HEAP);
    show_text(&parent, "the parent");
    show_text(&child, "the child");
    printf("%llu pages filled with zeros, %llu copied\n",
           (unsigned long long)parent.counts.n_zero_fills,
           (unsigned long long)child.counts.n_copies);
    check(quire_space_read(&parent, HEAP - 4096, &(char){0}, 1) == -14 ? 0 : -22,
          "an access outside of the area is refused");

    quire_space_deinit(&parent);
    quire_space_deinit(&child);
    const struct quire_image_range *ranges;
    (void)quire_image_ranges(memory.image, &ranges);
    free(ranges[0].bytes);
    quire_image_free(memory.image);
    free(memory.buddy);
    free(memory.references);
    return 0;
}
