/* SPDX-License-Identifier: Apache-2.0 */
/* translation_roots: `quire translate --find-roots`. */
#include "cli/cli.h"
#include "cli/translate_options.h"

#include <inttypes.h>
#include <stdlib.h>

#define MAX_ROOTS 16

struct candidate {
    struct quire_mmu_root root;
    const char *mode; /* its name */
};

static int compare(const void *a, const void *b)
{
    const struct candidate *one = a, *other = b;
    if (one->root.score != other->root.score)
        return one->root.score < other->root.score ? 1 : -1;
    return one->root.root < other->root.root ? -1 : one->root.root > other->root.root;
}

static void print(const struct candidate *candidates, size_t n, bool as_json)
{
    if (as_json)
        printf("{\n  \"version\": \"" QUIRE_VERSION "\",\n  \"roots\": [");
    else
        printf("%-18s  %-12s  %5s  %9s  %5s  %s\n", "root", "mode", "score", "pages", "bad",
               "maps itself");
    for (size_t i = 0; i < n; i++) {
        const struct quire_mmu_root *root = &candidates[i].root;
        const char *mode = candidates[i].mode;
        if (as_json)
            printf("%s\n    {\"root\": \"0x%" PRIx64 "\", \"mode\": \"%s\", \"score\": %.3f, "
                   "\"pages\": %" PRIu64 ", \"bad_entries\": %" PRIu64 ", \"maps_itself\": %s}",
                   i > 0 ? "," : "", root->root, mode, root->score, root->n_pages, root->n_bad,
                   root->maps_itself ? "true" : "false");
        else
            printf("0x%-16" PRIx64 "  %-12s  %5.2f  %9" PRIu64 "  %5" PRIu64 "  %s\n", root->root,
                   mode, root->score, root->n_pages, root->n_bad, root->maps_itself ? "yes" : "no");
    }
    if (as_json)
        puts(n > 0 ? "\n  ]\n}" : "]\n}");
}

int translation_roots(const struct translation *translation, int mode,
                      const struct translate_arm64 *arm64, unsigned phys_bits)
{
    static const enum quire_mmu_mode usual[] = {QUIRE_MMU_X86_48, QUIRE_MMU_X86_57,
                                                QUIRE_MMU_SV39,   QUIRE_MMU_SV48,
                                                QUIRE_MMU_SV57,   QUIRE_MMU_ARM64};
    static struct candidate candidates[6 * MAX_ROOTS];
    struct quire_mmu_root roots[MAX_ROOTS];
    size_t n = 0;

    for (unsigned i = 0; i < 6; i++) {
        enum quire_mmu_mode which = mode >= 0 ? (enum quire_mmu_mode)mode : usual[i];
        size_t n_here = arm64 != NULL ? quire_mmu_find_roots_arm64(translation->image,
                                                                   translate_arm64_tcr(arm64),
                                                                   phys_bits, roots, MAX_ROOTS)
                                      : quire_mmu_find_roots(translation->image, which, phys_bits,
                                                             roots, MAX_ROOTS);
        for (size_t j = 0; j < n_here; j++)
            candidates[n++] = (struct candidate){
                roots[j], arm64 != NULL ? arm64->name : quire_mmu_mode_name(which)};
        if (mode >= 0)
            break;
    }
    qsort(candidates, n, sizeof candidates[0], compare);
    n = n < MAX_ROOTS ? n : MAX_ROOTS;
    print(candidates, n, translation->as_json);
    return n > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
