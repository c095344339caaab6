/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tlb_cpu: processors whose data TLBs are published.
 *
 * Entries and ways are what the source says: a maker's manual, or what the CPUID instruction
 * reports (Intel: leaf 2, whose descriptors are explained in the SDM, 2A, "CPUID", or leaf 18h;
 * AMD: leaves 80000005h, 80000006h and 80000019h). Times and walk caches are Quire's assumption
 * (see docs/tlb.md), since few makers publish theirs: a second level that adds some seven cycles,
 * and tables that are found in the second cache.
 */
#include "cli/tlb_model.h"

#include <stddef.h>
#include <string.h>

#define STLB_IN_HALVES "l2:1024x8:4K+2M+4M,l2:1024x8:4K+1G"
#define SKEWED "ways of the second level in sum: 4 KiB pages use 8 of them, 2 MiB "

const struct tlb_cpu tlb_cpus[] = {
    {"textbook", "64 entries, fully associative, one level", "l1:64x64,lru", "x86-32", 0, 0,
     "A. Silberschatz et al., Operating System Concepts, 9.3.2", "entries: 32 to 1024 there"},
    {"i386", "Intel 386", "l1:32x4:4K,lru", "x86-32", 0, 0,
     "Intel 80386 data sheet (231630), 4.5.4", ""},
    {"pentiumpro", "Intel Pentium Pro", "l1:64x4:4K,l1:8x4:4M,lru", "x86-32", 0, 0,
     "CPUID of 617h: 03h, 04h", ""},
    {"nehalem", "Intel Nehalem", "l1:64x4:4K,l1:32x4:2M+4M,l2:512x4:4K,walk:32,lru", "x86-48", 2.5,
     4, "CPUID of 106A4h: 03h, 5Ah, CAh", ""},
    {"sandybridge", "Intel Sandy Bridge",
     "l1:64x4:4K,l1:32x4:2M+4M,l1:4x4:1G,l2:512x4:4K,walk:32,lru", "x86-48", 2, 4,
     "CPUID of 206A7h: 03h, 5Ah, CAh", "entries of 1 GiB: Haswell's"},
    {"haswell", "Intel Haswell", "l1:64x4:4K,l1:32x4:2M+4M,l1:4x4:1G,l2:1024x8:4K+2M,walk:32,lru",
     "x86-48", 2, 4, "CPUID of 306C3h: 03h, 63h, C1h", ""},
    {"skylake", "Intel Skylake",
     "l1:64x4:4K,l1:32x4:2M+4M,l1:4x4:1G,l2:1536x12:4K+2M,l2:16x4:1G,walk:32,lru", "x86-48", 2, 4,
     "CPUID of 506E3h: 03h, 63h, C3h; Intel Optimization Reference Manual (248966), table of TLBs",
     "12 ways are the manual's, C3h says 6"},
    {"icelake", "Intel Ice Lake",
     "l1:64x4:4K,l1:32x4:2M+4M,l1:8x8:1G," STLB_IN_HALVES ",walk:32,lru", "x86-48", 2, 4,
     "CPUID of 706E5h: leaf 18h", "stores use the loads' first level, not 16 entries of their own"},
    {"goldencove", "Intel Golden Cove (Alder Lake, Sapphire Rapids)",
     "l1:96x6:4K,l1:32x4:2M+4M,l1:8x8:1G," STLB_IN_HALVES ",walk:32,lru", "x86-48", 2, 4,
     "CPUID of 90675h: leaf 18h; Intel's publications, by jia.je",
     "96x6 is published and was measured, leaf 18h says 64x4; stores as Ice Lake's"},
    {"zen2", "AMD Zen 2", "l1:64x64,l2:2048x16:4K+2M,walk:64,lru", "x86-48", 2, 4,
     "CPUID of 870F10h", SKEWED "4"},
    {"zen3", "AMD Zen 3", "l1:64x64,l2:2048x16:4K+2M,l2:64x64:1G,walk:64,lru", "x86-48", 2, 4,
     "CPUID of A20F10h", SKEWED "4"},
    {"zen4", "AMD Zen 4", "l1:72x72,l2:3072x24:4K+2M,l2:64x64:1G,walk:64,lru", "x86-48", 2, 4,
     "CPUID of A60F12h", SKEWED "6"},
    {"zen5", "AMD Zen 5", "l1:96x96,l2:4096x16:4K+2M,walk:64,lru", "x86-48", 2, 4,
     "CPUID of B40F40h; AMD Software Optimization Guide (58455), by jia.je",
     "no 1 GiB pages in the second level; CPUID says 32"},
    {"cortex-a53", "Arm Cortex-A53", "l1:10x10,l2:512x4,walk:64,lru", "arm64", 3, 8,
     "Arm Cortex-A53 TRM (DDI 0500), 5.2",
     "micro TLB fully associative; pieces of large pages are whole pages"},
    {"cortex-a72", "Arm Cortex-A72", "l1:32x32,l2:1024x4,walk:64,lru", "arm64", 3, 6,
     "Arm Cortex-A72 TRM (100095), 5.2", "the first level's pieces of 1 MiB are whole pages"},
    {"cortex-a76", "Arm Cortex-A76, Neoverse N1", "l1:48x48,l2:1280x5,walk:64,lru", "arm64", 2, 4,
     "Arm Cortex-A76 TRM (100798), A5.1, A5.2",
     "the first level's pieces of 1 GiB pages are whole pages"},
    {"neoverse-v2", "Arm Neoverse V2", "l1:48x48,l2:2048x8,walk:64,lru", "arm64", 2, 4,
     "Arm Neoverse V2 Core TRM, by jia.je",
     "the first level's pieces of 1 GiB pages are whole pages"},
    {"sifive-u54", "SiFive U54 (FU540, PolarFire SoC)", "l1:32x32,walk:8,lru", "sv39", 0, 8,
     "Microchip PolarFire SoC MSS Technical Reference Manual, U54: MMU", ""},
};
const unsigned tlb_n_cpus = sizeof tlb_cpus / sizeof tlb_cpus[0];

const struct tlb_cpu *tlb_cpu_find(const char *name)
{
    for (unsigned i = 0; i < tlb_n_cpus; i++)
        if (strcmp(tlb_cpus[i].name, name) == 0)
            return &tlb_cpus[i];
    return NULL;
}
