/* SPDX-License-Identifier: Apache-2.0 */
/* translation_roots: `quire translate --find-roots`. */
#include "cli/cli.h"
#include "cli/translate_options.h"

#include <inttypes.h>
#include <stdlib.h>

#define MAX_ROOTS 16

static void print(const struct quire_mmu_root *roots, const char *const *names, size_t n,
                  bool as_json)
{
    if (as_json)
        printf("{\n  \"version\": \"" QUIRE_VERSION "\",\n  \"roots\": [");
    else
        printf("%-18s  %-12s  %5s  %9s  %5s  %s\n", "root", "mode", "score", "pages", "bad",
               "maps itself");
    for (size_t i = 0; i < n; i++) {
        const struct quire_mmu_root *root = &roots[i];
        const char *mode = names[root->regime];
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

static unsigned add(struct quire_mmu_regime *regimes, const char **names, unsigned n,
                    enum quire_mmu_mode mode, const struct translate_arm64 *arm64)
{
    regimes[n] = (struct quire_mmu_regime){mode, arm64 != NULL ? translate_arm64_tcr(arm64) : 0};
    names[n] = arm64 != NULL ? arm64->name : quire_mmu_mode_name(mode);
    return n + 1;
}

int translation_roots(const struct translation *translation, int mode,
                      const struct translate_arm64 *arm64, unsigned phys_bits)
{
    static const enum quire_mmu_mode usual[] = {QUIRE_MMU_X86_48, QUIRE_MMU_X86_57,
                                                QUIRE_MMU_SV39,   QUIRE_MMU_SV48,
                                                QUIRE_MMU_SV57,   QUIRE_MMU_ARM64};
    struct quire_mmu_regime regimes[QUIRE_MMU_MAX_REGIMES];
    const char *names[QUIRE_MMU_MAX_REGIMES];
    struct quire_mmu_root roots[MAX_ROOTS];
    unsigned n_regimes = 0;

    if (mode >= 0) {
        n_regimes = add(regimes, names, 0, (enum quire_mmu_mode)mode, arm64);
    } else {
        for (unsigned i = 0; i < sizeof usual / sizeof usual[0]; i++)
            n_regimes = add(regimes, names, n_regimes, usual[i], NULL);
        for (unsigned i = 0; i < TRANSLATE_N_ARM64; i++)
            if (!translate_arm64_kinds[i].is_default)
                n_regimes = add(regimes, names, n_regimes, QUIRE_MMU_ARM64,
                                &translate_arm64_kinds[i]);
    }
    const size_t n = quire_mmu_find_roots(translation->image, regimes, n_regimes, phys_bits, roots,
                                          MAX_ROOTS);
    print(roots, names, n, translation->as_json);
    return n > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
