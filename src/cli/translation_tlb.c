/* SPDX-License-Identifier: Apache-2.0 */
/*
 * translation_tlb: `--tlb l1:64x4:4K,l1:32x4:2M,l2:1536x12:4K+2M,walk:32,lru`.
 *
 * Items: lLEVEL:ENTRIESxWAYS[:SIZE+SIZE...], walk:ENTRIES, lru, fifo, random; `typical` stands for
 * the example.
 */
#include "cli/translation_tlb.h"

#include "base/size.h"
#include "cli/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TYPICAL "l1:64x4:4K,l1:32x4:2M,l1:4x4:1G,l2:1536x12:4K+2M,l2:16x4:1G,walk:32,lru"

struct translation_tlb {
    struct quire_tlb *tlb;
    const struct quire_mmu *mmu;
};

static bool parse_sizes(char *text, uint64_t *sizes)
{
    char *rest;

    for (char *one = strtok_r(text, "+", &rest); one != NULL; one = strtok_r(NULL, "+", &rest)) {
        uint64_t bytes;
        if (size_parse(one, 0, &bytes) != 0 || bytes == 0 || (bytes & (bytes - 1)) != 0)
            return false;
        *sizes |= bytes;
    }
    return *sizes != 0;
}

/* "64x4[:4K+2M]" behind "l1:". */
static bool parse_array(char *text, unsigned level, struct quire_tlb_config *config)
{
    char *end;
    unsigned long n_entries = strtoul(text, &end, 10);
    struct quire_tlb_array *array = &config->arrays[config->n_arrays];

    if (config->n_arrays == QUIRE_TLB_MAX_ARRAYS || *text < '0' || *text > '9' || *end != 'x')
        return false;
    text = end + 1;
    unsigned long n_ways = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || (*end != '\0' && *end != ':') || n_ways == 0 ||
        n_entries == 0 || n_entries % n_ways != 0 || n_entries > QUIRE_TLB_MAX_ENTRIES)
        return false;
    *array = (struct quire_tlb_array){
        .level = level, .n_sets = (uint32_t)(n_entries / n_ways), .n_ways = (uint32_t)n_ways};
    config->n_arrays++;
    return *end == '\0' || parse_sizes(end + 1, &array->page_sizes);
}

static bool parse_item(char *item, struct quire_tlb_config *config)
{
    static const char *const replacements[] = {"lru", "fifo", "random"};
    char *end;

    for (unsigned i = 0; i < 3; i++) {
        if (strcmp(item, replacements[i]) == 0) {
            config->replacement = (enum quire_tlb_replacement)i;
            return true;
        }
    }
    if (strncmp(item, "walk:", 5) == 0) {
        unsigned long n = strtoul(item + 5, &end, 10);
        config->n_walk_entries = (uint32_t)n;
        return item[5] >= '0' && item[5] <= '9' && *end == '\0' && n <= QUIRE_TLB_MAX_WALK_ENTRIES;
    }
    if (item[0] != 'l' || (item[1] != '1' && item[1] != '2') || item[2] != ':')
        return false;
    return parse_array(item + 3, (unsigned)(item[1] - '0'), config);
}

bool translation_tlb_parse(const char *option, const char *text, struct quire_tlb_config *config)
{
    char *copy = strdup(strcmp(text, "typical") == 0 ? TYPICAL : text), *rest;
    bool good = copy != NULL;

    if (!good)
        cli_error("%s %s: out of memory", option, text);
    for (char *item = good ? strtok_r(copy, ",", &rest) : NULL; good && item != NULL;
         item = strtok_r(NULL, ",", &rest)) {
        char whole[64];
        snprintf(whole, sizeof whole, "%s", item);
        good = parse_item(item, config);
        if (!good)
            cli_error("%s %s: '%s' can't be understood\n"
                      "items are l1:ENTRIESxWAYS[:SIZE+SIZE], l2:..., walk:ENTRIES, lru, fifo and "
                      "random, as in " TYPICAL,
                      option, text, whole);
    }
    free(copy);
    if (good && quire_tlb_bytes(config) == 0) {
        cli_error("%s %s: it needs an array of level 1, and powers of two for ENTRIES / WAYS",
                  option, text);
        good = false;
    }
    return good;
}

struct translation_tlb *translation_tlb_open(const char *text, const struct quire_mmu *mmu)
{
    struct quire_tlb_config config = {0};

    if (!translation_tlb_parse("--tlb", text, &config))
        return NULL;
    size_t n_bytes = (quire_tlb_bytes(&config) + 63) & ~(size_t)63;
    struct translation_tlb *tlb = malloc(sizeof *tlb);
    void *memory = aligned_alloc(64, n_bytes);
    if (tlb == NULL || memory == NULL || quire_tlb_init(&config, memory, n_bytes, &tlb->tlb) != 0) {
        cli_error("--tlb %s: out of memory", text);
        free(memory);
        free(tlb);
        return NULL;
    }
    tlb->mmu = mmu;
    return tlb;
}

void translation_tlb_close(struct translation_tlb *tlb)
{
    if (tlb != NULL)
        free(tlb->tlb);
    free(tlb);
}

void translation_tlb_run(struct translation_tlb *tlb, const uint64_t *vas,
                         struct quire_mmu_answer *answers, size_t n)
{
    for (size_t i = 0; i < n; i++)
        quire_tlb_translate(tlb->tlb, tlb->mmu, 0, vas[i], &answers[i]);
}

void translation_tlb_print(const struct translation_tlb *tlb)
{
    struct quire_tlb_counts counts;

    quire_tlb_counts(tlb->tlb, &counts);
    double n = counts.n_lookups > 0 ? (double)counts.n_lookups : 1;
    printf("# tlb: %" PRIu64 " lookups, level 1 hits %" PRIu64 " (%.2f %%), level 2 hits %" PRIu64
           " (%.2f %%), walks %" PRIu64 " (%.2f %%)\n",
           counts.n_lookups, counts.n_hits[0], 100 * (double)counts.n_hits[0] / n, counts.n_hits[1],
           100 * (double)counts.n_hits[1] / n, counts.n_walks, 100 * (double)counts.n_walks / n);
    printf("# tlb: entries read by walks %" PRIu64 ", saved by the page-walk cache %" PRIu64
           ", evictions %" PRIu64 "\n",
           counts.n_entries_read, counts.n_entries_saved, counts.n_evictions);
}

void translation_tlb_print_json(const struct translation_tlb *tlb)
{
    struct quire_tlb_counts counts;

    quire_tlb_counts(tlb->tlb, &counts);
    printf(",\n  \"tlb\": {\"lookups\": %" PRIu64 ", \"level1_hits\": %" PRIu64
           ", \"level2_hits\": %" PRIu64 ", \"walks\": %" PRIu64 ", \"faults\": %" PRIu64
           ", \"entries_read\": %" PRIu64 ", \"entries_saved\": %" PRIu64
           ", \"evictions\": %" PRIu64 "}",
           counts.n_lookups, counts.n_hits[0], counts.n_hits[1], counts.n_walks, counts.n_faults,
           counts.n_entries_read, counts.n_entries_saved, counts.n_evictions);
}
