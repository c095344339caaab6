/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tlb_model: what a processor's TLB does with a program's references.
 *
 *   reference --fold--> va --quire_tlb_translate()--> hit, or a walk of tables in `memory`
 *                              '-- not mapped: quire_mmu_map() a page, then again
 *
 * The tables are real ones in an image of their own, of the format that <quire/mmu.h> walks. Frames
 * are numbers only: nobody looks into a page. The walk that finds a page missing is counted with
 * its page fault, not among walks.
 *
 * Formats of fewer bits than the trace's addresses: each region that is touched, 1 GiB (64 MiB with
 * 32 bits), takes the next free place of the address space. So pages and tables are as near to each
 * other as they were, within a region.
 */
#include "cli/tlb_model.h"

#include "base/size.h"
#include "cli/cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define TABLES_AT ((uint64_t)1 << 25)       /* physical address; a multiple of the largest table */
#define TABLES_BYTES ((uint64_t)1 << 33)    /* of address space: what is used is what is touched */
#define TABLES_BYTES_32 ((uint64_t)1 << 29) /* tables of formats with 32 physical bits */
#define MAX_SPACES 4096
#define LOG2_REGIONS 15
#define MAX_HASH_BYTES (1u << 25)
#define RIGHTS (QUIRE_MMU_SR | QUIRE_MMU_SW | QUIRE_MMU_UR | QUIRE_MMU_UW | QUIRE_MMU_USER)

struct space {
    uint32_t process;
    struct quire_mmu mmu;
};

struct format {
    const char *name;
    enum quire_mmu_mode mode;
    unsigned fold_bits, region_shift; /* bits that addresses are folded into; 0: they fit */
    unsigned granule_shift;           /* arm64 */
};

static const struct format formats[] = {
    {"x86-32", QUIRE_MMU_X86_32, 32, 26, 12},     {"x86-pae", QUIRE_MMU_X86_PAE, 32, 26, 12},
    {"x86-48", QUIRE_MMU_X86_48, 0, 0, 12},       {"x86-57", QUIRE_MMU_X86_57, 0, 0, 12},
    {"sv32", QUIRE_MMU_SV32, 32, 26, 12},         {"sv39", QUIRE_MMU_SV39, 38, 30, 12},
    {"sv48", QUIRE_MMU_SV48, 0, 0, 12},           {"sv57", QUIRE_MMU_SV57, 0, 0, 12},
    {"arm64", QUIRE_MMU_ARM64, 0, 0, 12},         {"arm64-16k", QUIRE_MMU_ARM64, 0, 0, 14},
    {"arm64-64k", QUIRE_MMU_ARM64, 0, 0, 16},     {"ppc32", QUIRE_MMU_PPC32, 32, 26, 12},
    {"inverted", QUIRE_MMU_INVERTED, 44, 30, 12},
};

struct tlb_model {
    const struct format *format;
    struct tlb_model_config config;
    struct quire_tlb *tlb;
    struct quire_image *image;
    unsigned char *memory;
    uint64_t memory_bytes, next_table, next_frame, frames_at, frames_end;
    struct space *spaces;
    unsigned n_spaces, current;
    uint64_t n_switches, n_pages, until_switch, tables_from;
    uint64_t last_region, last_folded, n_regions;
    struct {
        uint64_t key; /* region + 1; 0: free */
        uint64_t folded;
    } regions[1u << LOG2_REGIONS];
};

static uint64_t take(void *context, uint64_t n_bytes)
{
    struct tlb_model *model = context;
    uint64_t address = (model->next_table + n_bytes - 1) & ~(n_bytes - 1);

    if (address + n_bytes > TABLES_AT + model->memory_bytes)
        return 0;
    model->next_table = address + n_bytes;
    return address; /* fresh from the kernel: zeros */
}

static void give(void *context, uint64_t address, uint64_t n_bytes)
{
}

static uint32_t hashed_bytes(uint64_t frames)
{
    uint64_t bytes = 1u << 16; /* the least: 64 KiB; a group of 64 bytes for two frames */

    while (bytes < MAX_HASH_BYTES && bytes < frames * 32)
        bytes *= 2;
    return (uint32_t)bytes;
}

static unsigned log2_buckets(uint64_t frames)
{
    unsigned n = 4;

    while (n < 24 && ((uint64_t)1 << n) < frames)
        n++;
    return n;
}

/* A table that all processes share: made once. */
static int make_common(struct tlb_model *model)
{
    uint64_t frames = model->config.physical_bytes >> 12;

    if (model->format->mode == QUIRE_MMU_PPC32)
        return take(model, hashed_bytes(frames)) != 0 ? 0 : -ENOMEM;
    if (model->format->mode != QUIRE_MMU_INVERTED)
        return 0;
    if (frames > 1u << 24)
        return -EINVAL;
    size_t n_bytes = quire_mmu_inverted_bytes((uint32_t)frames, log2_buckets(frames));
    if (n_bytes == 0 || TABLES_AT + n_bytes > TABLES_AT + model->memory_bytes)
        return -ENOMEM;
    model->next_table = TABLES_AT + n_bytes;
    return quire_mmu_inverted_format(model->image, TABLES_AT, (uint32_t)(model->frames_at >> 12),
                                     (uint32_t)frames, log2_buckets(frames));
}

static int init_arm64(struct tlb_model *model, struct quire_mmu *mmu, uint64_t root)
{
    static const uint64_t tg0[] = {0, 2, 1}, tg1[] = {2, 1, 3}; /* of 4, 16, 64 KiB */
    unsigned granule = (model->format->granule_shift - 12) / 2;
    uint64_t size = granule == 1 ? 17 : 16; /* 47 bits, or 48 */
    const struct quire_mmu_arm64 registers = {.tcr = size | size << 16 | tg0[granule] << 14 |
                                                     tg1[granule] << 30 | (uint64_t)5 << 32,
                                              .ttbr0 = root,
                                              .ttbr1 = root};

    return quire_mmu_init_arm64(mmu, model->image, &registers, 0);
}

/* The MMU as it is set up while a process runs. */
static int init_mmu(struct tlb_model *model, struct quire_mmu *mmu, uint32_t number)
{
    const struct format *format = model->format;
    struct quire_mmu_ppc32 ppc = {.sdr1 = 0};

    if (format->mode == QUIRE_MMU_INVERTED)
        return quire_mmu_init_inverted(mmu, model->image, TABLES_AT, number);
    if (format->mode == QUIRE_MMU_PPC32) {
        uint32_t n_bytes = hashed_bytes(model->config.physical_bytes >> 12);
        ppc.sdr1 = (uint32_t)TABLES_AT | ((n_bytes >> 16) - 1);
        for (uint32_t i = 0; i < 16; i++) /* multiplied, as kernels do, so that hashes spread */
            ppc.segments[i] = (number * 16 + i) * 897 & 0xffffff;
        return quire_mmu_init_ppc32(mmu, model->image, &ppc);
    }
    uint64_t root = take(model, (uint64_t)1 << format->granule_shift);
    if (root == 0)
        return -ENOMEM;
    if (format->mode == QUIRE_MMU_ARM64)
        return init_arm64(model, mmu, root);
    return quire_mmu_init_mode(mmu, model->image, format->mode, root, 0);
}

static bool add_space(struct tlb_model *model, uint32_t process)
{
    struct space *space = &model->spaces[model->n_spaces];

    if (model->n_spaces == MAX_SPACES) {
        cli_error("the trace has more than %d processes", MAX_SPACES);
        return false;
    }
    if (init_mmu(model, &space->mmu, model->n_spaces + 1) != 0) {
        cli_error("no memory is left for page tables of another process");
        return false;
    }
    space->process = process;
    model->n_spaces++;
    return true;
}

static const struct format *find_format(const char *name)
{
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++)
        if (strcmp(formats[i].name, name) == 0)
            return &formats[i];
    cli_error("--tables %s: there are no such tables\nknown are x86-32, x86-pae, x86-48, x86-57, "
              "sv32, sv39, sv48, sv57, arm64, arm64-16k, arm64-64k, ppc32, inverted",
              name);
    return NULL;
}

static int open_memory(struct tlb_model *model)
{
    bool is_small = model->format->fold_bits == 32;

    model->memory_bytes = is_small ? TABLES_BYTES_32 : TABLES_BYTES;
    model->next_table = TABLES_AT;
    model->frames_at = TABLES_AT + model->memory_bytes;
    model->frames_end = is_small ? (uint64_t)1 << 32 : (uint64_t)1 << 44;
    void *memory = mmap(NULL, model->memory_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return -ENOMEM;
    model->memory = memory;
    int error = quire_image_new(&model->image);
    if (error == 0)
        error = quire_image_add_memory(model->image, TABLES_AT, memory, model->memory_bytes, true);
    return error;
}

static int open_tlb(struct tlb_model *model)
{
    size_t n_bytes = (quire_tlb_bytes(&model->config.hardware) + 63) & ~(size_t)63;
    void *memory = n_bytes > 0 ? aligned_alloc(64, n_bytes) : NULL;
    int error = memory == NULL
                    ? -ENOMEM
                    : quire_tlb_init(&model->config.hardware, memory, n_bytes, &model->tlb);

    if (error != 0)
        free(memory);
    return error;
}

/* Frames begin at a multiple of the page's size. */
static bool check_page(struct tlb_model *model)
{
    uint64_t size = (uint64_t)1 << model->config.page_shift;
    char text[24];

    model->frames_at = (model->frames_at + size - 1) & ~(size - 1);
    model->next_frame = model->frames_at;
    if ((quire_mmu_page_sizes(&model->spaces[0].mmu) & size) != 0 &&
        (model->format->fold_bits == 0 || model->config.page_shift <= model->format->region_shift))
        return true;
    cli_error("--page %s: tables of the format %s have no such pages",
              size_format(size, text, sizeof text), model->format->name);
    return false;
}

struct tlb_model *tlb_model_new(const struct tlb_model_config *config)
{
    struct tlb_model *model = calloc(1, sizeof *model);
    int error = -ENOMEM;

    if (model == NULL) {
        cli_error("%s", strerror(ENOMEM));
        return NULL;
    }
    model->config = *config;
    model->until_switch = config->switch_every;
    model->last_region = UINT64_MAX;
    model->format = find_format(config->tables);
    if (model->format == NULL)
        goto failed;
    model->spaces = calloc(MAX_SPACES, sizeof *model->spaces);
    if (model->spaces != NULL)
        error = open_memory(model);
    if (error == 0)
        error = open_tlb(model);
    if (error == 0)
        error = make_common(model);
    if (error != 0) {
        cli_error("cannot set up tables of the format %s: %s", config->tables, strerror(-error));
        goto failed;
    }
    if (add_space(model, 0) && check_page(model))
        return model;

failed:
    tlb_model_free(model);
    return NULL;
}

void tlb_model_free(struct tlb_model *model)
{
    if (model == NULL)
        return;
    quire_image_free(model->image);
    if (model->memory != NULL)
        munmap(model->memory, model->memory_bytes);
    free(model->tlb);
    free(model->spaces);
    free(model);
}

static void flush(struct tlb_model *model)
{
    quire_tlb_flush_all(model->tlb);
    model->n_switches++;
}

static bool switch_to(struct tlb_model *model, uint32_t process)
{
    unsigned i;

    if (model->n_spaces == 1 && model->spaces[0].process == 0 && model->n_pages == 0)
        model->spaces[0].process = process; /* the first one */
    for (i = 0; i < model->n_spaces && model->spaces[i].process != process; i++)
        ;
    if (i == model->n_spaces && !add_space(model, process))
        return false;
    if (i != model->current) {
        if (model->config.has_no_tags)
            flush(model);
        else
            model->n_switches++;
    }
    model->current = i;
    return true;
}

/* The address in the format's address space; UINT64_MAX with a message: there is no room. */
static uint64_t fold(struct tlb_model *model, uint64_t address)
{
    const struct format *format = model->format;

    if (format->fold_bits == 0)
        return address;
    uint64_t region = address >> format->region_shift,
             offset = address - (region << format->region_shift);
    if (region != model->last_region) {
        uint64_t at = region * 0x9e3779b97f4a7c15u >> (64 - LOG2_REGIONS),
                 most = (uint64_t)1 << (format->fold_bits - format->region_shift);
        while (model->regions[at].key != 0 && model->regions[at].key != region + 1)
            at = (at + 1) & ((1u << LOG2_REGIONS) - 1);
        if (model->regions[at].key == 0) {
            if (model->n_regions == most || model->n_regions == 1u << (LOG2_REGIONS - 1)) {
                cli_error("the trace touches more regions than the %u bits of %s have room for",
                          format->fold_bits, format->name);
                return UINT64_MAX;
            }
            model->regions[at].key = region + 1;
            model->regions[at].folded = model->n_regions++ << format->region_shift;
        }
        model->last_region = region;
        model->last_folded = model->regions[at].folded;
    }
    return model->last_folded + offset;
}

static bool map_page(struct tlb_model *model, uint64_t va)
{
    uint64_t size = (uint64_t)1 << model->config.page_shift;
    const struct quire_mmu_frames frames = {take, give, model};

    if (model->next_frame + size > model->frames_end && model->format->mode != QUIRE_MMU_INVERTED)
        model->next_frame = model->frames_at; /* numbers only: used again */
    int error = quire_mmu_map(&model->spaces[model->current].mmu, model->image, &frames,
                              va & ~(size - 1), model->next_frame, model->config.page_shift,
                              RIGHTS);
    if (error == 0) {
        model->next_frame += size;
        model->n_pages++;
        return true;
    }
    cli_error("cannot map a page at 0x%llx in tables of the format %s: %s%s",
              (unsigned long long)va, model->format->name, strerror(-error),
              error == -ENOSPC || error == -EINVAL ? "\nmake them for more memory: --ram SIZE"
                                                   : "");
    return false;
}

bool tlb_model_reference(struct tlb_model *model, uint32_t process, uint64_t address)
{
    struct quire_mmu_answer answer;

    if (process != model->spaces[model->current].process && !switch_to(model, process))
        return false;
    if (model->config.switch_every > 0 && model->until_switch-- == 0) {
        model->until_switch = model->config.switch_every - 1;
        flush(model);
    }
    uint64_t va = fold(model, address);
    if (va == UINT64_MAX && model->format->fold_bits > 0)
        return false;
    const struct quire_mmu *mmu = &model->spaces[model->current].mmu;
    if (quire_tlb_translate(model->tlb, mmu, model->current, va, &answer) > 0 ||
        answer.reason == QUIRE_MMU_OK)
        return true;
    if (answer.reason != QUIRE_MMU_NOT_PRESENT && answer.reason != QUIRE_MMU_NO_MATCH) {
        cli_error("the address 0x%llx is none of the format %s: %s", (unsigned long long)address,
                  model->format->name, quire_mmu_reason_text((enum quire_mmu_reason)answer.reason));
        return false;
    }
    if (!map_page(model, va))
        return false;
    quire_tlb_translate(model->tlb, mmu, model->current, va, &answer);
    return true;
}

void tlb_model_counts(const struct tlb_model *model, struct tlb_model_counts *counts)
{
    struct quire_tlb_counts its;

    quire_tlb_counts(model->tlb, &its);
    *counts = (struct tlb_model_counts){
        .n_references = its.n_lookups - its.n_faults,
        .n_hits = {its.n_hits[0], its.n_hits[1]},
        .n_walks = its.n_walks - its.n_faults,
        .n_entries_read = its.n_entries_read - its.n_fault_entries,
        .n_entries_saved = its.n_entries_saved,
        .n_switches = model->n_switches,
        .n_flushed = its.n_flushed,
        .n_pages = model->n_pages,
        .n_table_bytes = model->next_table - TABLES_AT,
    };
}

unsigned tlb_model_levels(const struct tlb_model *model)
{
    const struct quire_mmu *mmu = &model->spaces[0].mmu;
    unsigned shift = model->config.page_shift;

    if (mmu->mode == QUIRE_MMU_PPC32)
        return 1;
    if (mmu->mode == QUIRE_MMU_INVERTED) /* the bucket, then the entry */
        return 2;
    if (mmu->mode == QUIRE_MMU_ARM64) {
        const struct quire_mmu_half *half = &mmu->halves[0];
        return half->n_levels - (shift - half->page_shift) / half->bits;
    }
    unsigned bits = mmu->mode == QUIRE_MMU_X86_32 || mmu->mode == QUIRE_MMU_SV32 ? 10 : 9;
    unsigned va_bits = mmu->mode == QUIRE_MMU_X86_PAE ? 39 : quire_mmu_va_bits(mmu);
    return (va_bits - 12 + bits - 1) / bits - (shift - 12) / bits;
}
