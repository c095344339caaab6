/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tlb_cpu: processors whose data TLBs are published.
 *
 * Sizes are of the sources named; walk caches are Quire's assumption (see docs/tlb.md), since few
 * makers publish theirs, and so are times: a second level that adds some seven cycles, and tables
 * that are found in the second cache.
 */
#include "cli/tlb_model.h"

#include <stddef.h>
#include <string.h>

#define INTEL "Intel 64 and IA-32 Architectures Optimization Reference Manual (248966)"
#define AMD "AMD Software Optimization Guide, "

const struct tlb_cpu tlb_cpus[] = {
    {"textbook", "64 entries, fully associative, one level", "l1:64x64,lru", "x86-32", 0, 0,
     "A. Silberschatz et al., Operating System Concepts, 9.3.2"},
    {"i386", "Intel 386", "l1:32x4:4K,lru", "x86-32", 0, 0, "Intel 386 DX data sheet (231630)"},
    {"pentium", "Intel Pentium", "l1:64x4:4K,l1:8x4:4M,lru", "x86-32", 0, 0,
     "Intel Pentium Processor Family Developer's Manual (241428)"},
    {"nehalem", "Intel Nehalem", "l1:64x4:4K,l1:32x4:2M+4M,l2:512x4:4K,walk:32,lru", "x86-48", 2.5,
     4, INTEL},
    {"sandybridge", "Intel Sandy Bridge",
     "l1:64x4:4K,l1:32x4:2M+4M,l1:4x4:1G,l2:512x4:4K,walk:32,lru", "x86-48", 2, 4, INTEL},
    {"haswell", "Intel Haswell", "l1:64x4:4K,l1:32x4:2M+4M,l1:4x4:1G,l2:1024x8:4K+2M,walk:32,lru",
     "x86-48", 2, 4, INTEL},
    {"skylake", "Intel Skylake",
     "l1:64x4:4K,l1:32x4:2M+4M,l1:4x4:1G,l2:1536x12:4K+2M,l2:16x4:1G,walk:32,lru", "x86-48", 2, 4,
     INTEL},
    {"icelake", "Intel Ice Lake",
     "l1:64x4:4K,l1:32x4:2M+4M,l1:8x8:1G,l2:2048x16:4K+2M+1G,walk:32,lru", "x86-57", 2, 4, INTEL},
    {"goldencove", "Intel Golden Cove (Alder Lake, Sapphire Rapids)",
     "l1:96x6:4K,l1:32x4:2M+4M,l1:8x8:1G,l2:2048x16:4K+2M+1G,walk:32,lru", "x86-57", 2, 4, INTEL},
    {"zen2", "AMD Zen 2", "l1:64x64,l2:2048x16:4K+2M,walk:64,lru", "x86-48", 2, 4, AMD "56305"},
    {"zen3", "AMD Zen 3", "l1:64x64,l2:2048x16:4K+2M,walk:64,lru", "x86-48", 2, 4, AMD "56665"},
    {"zen4", "AMD Zen 4", "l1:72x72,l2:3072x24:4K+2M,walk:64,lru", "x86-57", 2, 4, AMD "57647"},
    {"zen5", "AMD Zen 5", "l1:96x96,l2:4096x16:4K+2M,walk:64,lru", "x86-57", 2, 4, AMD "58455"},
    {"cortex-a53", "Arm Cortex-A53", "l1:10x10,l2:512x4,walk:64,lru", "arm64", 3, 8,
     "Arm Cortex-A53 TRM (DDI 0500), 5.2"},
    {"cortex-a72", "Arm Cortex-A72", "l1:32x32,l2:1024x4,walk:64,lru", "arm64", 3, 6,
     "Arm Cortex-A72 TRM (100095), 5.2"},
    {"cortex-a76", "Arm Cortex-A76, Neoverse N1", "l1:48x48,l2:1280x5,walk:64,lru", "arm64", 2, 4,
     "Arm Cortex-A76 TRM (100798), A5.2"},
};
const unsigned tlb_n_cpus = sizeof tlb_cpus / sizeof tlb_cpus[0];

const struct tlb_cpu *tlb_cpu_find(const char *name)
{
    for (unsigned i = 0; i < tlb_n_cpus; i++)
        if (strcmp(tlb_cpus[i].name, name) == 0)
            return &tlb_cpus[i];
    return NULL;
}
