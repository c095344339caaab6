/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes images and page tables. The first byte chooses:
 *
 *   below 0x80   the rest is memory, at an address and under a mode and root that the next bytes
 *                give: walks and lists of mappings end, read nothing outside, and agree with each
 *                other
 *   below 0xc0   the rest is an image file, of whatever format it says
 *   else         two bytes, and two files of one image: that many pages of 256 bytes are the
 * first's
 */
#include <errno.h>
#include <quire/mmu.h>
#include <quire/segment.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

struct look {
    const struct quire_mmu *mmu;
    unsigned n;
};

static bool look(void *context, const struct quire_mmu_mapping *mapping)
{
    struct look *its = context;
    struct quire_mmu_answer answer;

    quire_mmu_translate(its->mmu, mapping->va, &answer, NULL);
    if (mapping->reason != answer.reason ||
        (answer.reason == QUIRE_MMU_OK && answer.address != mapping->address &&
         its->mmu->mode != QUIRE_MMU_BASE_LIMIT))
        abort();
    return ++its->n < 500;
}

static void walk(const struct quire_image *image, unsigned which, uint64_t root, uint64_t va)
{
    struct quire_mmu mmu;
    struct quire_mmu_answer answer;
    struct quire_mmu_trace trace;
    struct quire_mmu_limits limits = {.range = {0, UINT64_MAX}, .max_tables = 100};
    struct look its = {&mmu, 0};
    struct quire_mmu_ppc32 ppc = {.sdr1 = (uint32_t)root & 0xffff0001};
    char words[200];
    int error = which == QUIRE_MMU_PPC32
                    ? quire_mmu_init_ppc32(&mmu, image, &ppc)
                    : quire_mmu_init_mode(&mmu, image, (enum quire_mmu_mode)which, root, 0);

    if (error != 0)
        return;
    for (unsigned i = 0; i < 16; i++) {
        trace.n_steps = 0;
        quire_mmu_translate(&mmu, va, &answer, &trace);
        for (unsigned j = 0; j < trace.n_steps && j < QUIRE_MMU_MAX_STEPS; j++)
            quire_mmu_describe(&mmu, &trace.steps[j], words, sizeof words);
        (void)quire_mmu_check(&mmu, &answer, QUIRE_MMU_WRITE, i & 1);
        va = va * 0x9e3779b97f4a7c15 + answer.address;
    }
    (void)quire_mmu_each(&mmu, &limits, look, &its);
}

static int read_linear(void *context, uint64_t linear, void *bytes, size_t n)
{
    return quire_image_read(context, linear, bytes, n, NULL);
}

/* Selectors and offsets of tables anywhere: an answer is an address within 32 bits, an exception
 * of segmentation's, or that the table can't be read. */
static void fuzz_segments(struct quire_image *image, uint64_t base, uint64_t random)
{
    struct quire_segment_machine machine = {
        .read = read_linear, .context = image, .gdt_base = base, .gdt_limit = 0xffff};
    struct quire_segment_answer answer;
    struct quire_segment_rights rights;

    for (unsigned i = 0; i < 64; i++) {
        random = random * 0x9e3779b97f4a7c15 + i;
        machine.cpl = random >> 60 & 3;
        machine.is_long_mode = (random >> 59 & 1) != 0;
        machine.is_64_bit = machine.is_long_mode && (random >> 58 & 1) != 0;
        uint16_t selector = (uint16_t)(random >> 16);
        if (i % 16 == 0)
            (void)quire_segment_load_ldt(&machine, selector & ~4u, &answer);
        quire_segment_translate(&machine, selector, (enum quire_segment_use)(random >> 32 & 3),
                                random >> 40, 1 + (random >> 34 & 7),
                                (enum quire_segment_access)((random >> 37) % 3), &answer);
        if (answer.failed == 0 && answer.exception == QUIRE_SEGMENT_OK && !machine.is_long_mode &&
            answer.linear > UINT32_MAX)
            abort();
        if (answer.has_descriptor &&
            quire_segment_type_name(&answer.descriptor, machine.is_long_mode) == NULL)
            abort();
        int error = quire_segment_rights(&machine, selector, &rights);
        if (error == 0 && rights.verw && !rights.verr)
            abort();
    }
}

static void fuzz_memory(const uint8_t *data, size_t n_bytes)
{
    struct quire_image *image;
    uint64_t root, va;

    if (n_bytes < 24)
        return;
    memcpy(&root, data + 8, 8);
    memcpy(&va, data + 16, 8);
    size_t n = n_bytes - 24;
    uint8_t *memory = malloc(n + (n == 0)); /* with nothing behind it */
    if (memory == NULL || quire_image_new(&image) != 0)
        abort();
    memcpy(memory, data + 24, n);
    uint64_t frames_at = (root & 0xffffff) + 6 - ((uint64_t)data[1] << 12);
    if (frames_at + 1 < n) /* an inverted table of 16 million entries takes its time */
        memory[frames_at] = memory[frames_at + 1] = 0;
    if (n > 0 && quire_image_add_memory(image, (uint64_t)data[1] << 12, memory, n, false) != 0)
        abort();
    walk(image, data[0] % QUIRE_MMU_N_MODES, root & 0xffffff, va);
    fuzz_segments(image, root & 0xffffff, va);
    struct quire_mmu_root roots[4];
    const struct quire_mmu_regime regimes[] = {
        {(enum quire_mmu_mode)(data[0] % QUIRE_MMU_N_MODES), data[2]}, {QUIRE_MMU_ARM64, root}};
    (void)quire_mmu_find_roots(image, regimes, 1 + (data[2] & 1), 0, roots, 4);
    quire_image_free(image);
    free(memory);
}

/* Pages that come one by one: each is whole, or refused for a reason; and walks through them end.
 */
static void read_pages(struct quire_image *image, const struct quire_image_range *range)
{
    static unsigned char page[65536];
    const uint64_t step = range->n_bytes / 32 < 4096 ? 4096 : range->n_bytes / 32 & ~(uint64_t)4095;

    if (range->n_present != 0)
        abort();
    for (uint64_t at = 0; at < range->n_bytes; at += step) {
        uint64_t n = range->n_bytes - at < sizeof page ? range->n_bytes - at : sizeof page;
        size_t n_done;
        int error = quire_image_read(image, range->start + at, page, n, &n_done);
        if ((error == 0) != (n_done == n) || error == -EFAULT || error == -EINVAL)
            abort();
    }
    walk(image, (unsigned)(range->n_bytes >> 12) % QUIRE_MMU_N_MODES, range->start, 0x123456789abc);
}

static void read_ranges(struct quire_image *image)
{
    const struct quire_image_range *ranges;
    size_t n = quire_image_ranges(image, &ranges);

    for (size_t i = 0; i < n && i < 100; i++) {
        unsigned char byte;
        if (ranges[i].n_present > ranges[i].n_bytes)
            abort();
        if (i > 0 && ranges[i - 1].start + (ranges[i - 1].n_bytes - 1) >= ranges[i].start)
            abort();
        if (ranges[i].pages != NULL)
            read_pages(image, &ranges[i]);
        if (ranges[i].n_present > 0 &&
            quire_image_read(image, ranges[i].start + ranges[i].n_present - 1, &byte, 1, NULL) != 0)
            abort();
    }
}

static void add_file(struct quire_image *image, const uint8_t *data, size_t n_bytes)
{
    char message[QUIRE_IMAGE_MESSAGE_BYTES], path[64];
    int fd = memfd_create("image", MFD_CLOEXEC);

    if (fd < 0 || write(fd, data, n_bytes) != (ssize_t)n_bytes)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (quire_image_add_file(image, path, 0, QUIRE_IMAGE_AUTO, message) != 0 &&
        (message[0] == '\0' || strlen(message) >= sizeof message))
        abort();
    close(fd);
    if ((quire_image_check_parts(image, message) != 0) != (message[0] != '\0'))
        abort();
}

static void fuzz_files(const uint8_t *data, size_t n_bytes, size_t n_first)
{
    struct quire_image *image;

    if (quire_image_new(&image) != 0)
        abort();
    if (n_first > n_bytes)
        n_first = n_bytes;
    add_file(image, data, n_first);
    if (n_first < n_bytes)
        add_file(image, data + n_first, n_bytes - n_first);
    read_ranges(image);
    quire_image_free(image);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    if (n_bytes == 0)
        return 0;
    if (data[0] < 0x80)
        fuzz_memory(data, n_bytes);
    else if (data[0] < 0xc0)
        fuzz_files(data + 1, n_bytes - 1, n_bytes - 1);
    else if (n_bytes > 3)
        fuzz_files(data + 3, n_bytes - 3, (size_t)(data[1] | data[2] << 8) * 256);
    return 0;
}
