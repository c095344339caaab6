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

struct choice {
    struct quire_mmu_regime regimes[QUIRE_MMU_MAX_REGIMES];
    const char *names[QUIRE_MMU_MAX_REGIMES];
    unsigned n;
};

static void add(struct choice *choice, enum quire_mmu_mode mode,
                const struct translate_arm64 *arm64)
{
    choice->regimes[choice->n] = (struct quire_mmu_regime){
        mode, arm64 != NULL ? translate_arm64_tcr(arm64) : 0};
    choice->names[choice->n++] = arm64 != NULL ? arm64->name : quire_mmu_mode_name(mode);
}

/* All of an architecture; those with 32 bits, of which much that is none looks like one, only if it
 * was named. */
static void choose(struct choice *choice, enum translate_arch arch)
{
    static const struct {
        enum quire_mmu_mode mode;
        enum translate_arch arch;
        bool is_usual;
    } modes[] = {{QUIRE_MMU_X86_48, ARCH_X86, true},   {QUIRE_MMU_X86_57, ARCH_X86, true},
                 {QUIRE_MMU_X86_PAE, ARCH_X86, false}, {QUIRE_MMU_X86_32, ARCH_X86, false},
                 {QUIRE_MMU_SV39, ARCH_RISCV, true},   {QUIRE_MMU_SV48, ARCH_RISCV, true},
                 {QUIRE_MMU_SV57, ARCH_RISCV, true},   {QUIRE_MMU_SV32, ARCH_RISCV, false},
                 {QUIRE_MMU_ARM64, ARCH_ARM64, true}};

    for (unsigned i = 0; i < sizeof modes / sizeof modes[0]; i++)
        if (arch == modes[i].arch || (arch == ARCH_NONE && modes[i].is_usual))
            add(choice, modes[i].mode, NULL);
    for (unsigned i = 0; i < TRANSLATE_N_ARM64; i++)
        if ((arch == ARCH_ARM64 || arch == ARCH_NONE) && !translate_arm64_kinds[i].is_default)
            add(choice, QUIRE_MMU_ARM64, &translate_arm64_kinds[i]);
}

int translation_roots(const struct translate_options *options)
{
    struct choice choice = {.n = 0};
    struct quire_mmu_root roots[MAX_ROOTS];

    if (options->mode >= 0)
        add(&choice, (enum quire_mmu_mode)options->mode, options->arm64);
    else
        choose(&choice, options->arch);
    const size_t n = quire_mmu_find_roots(options->translation.image, choice.regimes, choice.n,
                                          (unsigned)options->numbers[NUMBER_PHYS_BITS], roots,
                                          MAX_ROOTS);
    print(roots, choice.names, n, options->translation.as_json);
    return n > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
