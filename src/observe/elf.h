/* SPDX-License-Identifier: Apache-2.0 */
/*
 * elf: what a program file says about how it wants to be loaded.
 *
 * Only what decides whether Quire can serve the program: class, machine, interpreter, sanitizer.
 * The file is read piece by piece and nothing in it is trusted: every offset, count and string is
 * checked, every loop is bounded. Nothing here allocates or touches errno; thread-safe.
 * Source: System V ABI (gABI) chapters 4 and 5; elf(5).
 */
#ifndef QUIRE_OBSERVE_ELF_H
#define QUIRE_OBSERVE_ELF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where the bytes come from: memory when `data` is set, else the descriptor (by pread). */
struct elf_file {
    const void *data;
    uint64_t n_bytes; /* of data */
    int fd;
};

enum elf_kind {
    ELF_NONE,    /* not an ELF file */
    ELF_BROKEN,  /* starts like one, but the rest does not hold together */
    ELF_32BIT,   /* for this machine's family or another one, with 32-bit addresses */
    ELF_FOREIGN, /* 64-bit, for another machine or byte order, or no program at all */
    ELF_STATIC,  /* asks for no interpreter: static, static-pie */
    ELF_DYNAMIC, /* asks for `interpreter`, or is a dynamic loader itself */
};

struct elf_facts {
    enum elf_kind kind;
    uint16_t machine;      /* e_machine */
    bool is_loader;        /* a dynamic loader, started as a command */
    bool is_go;            /* carries Go's build note */
    const char *sanitizer; /* "AddressSanitizer" and the like, or NULL */
    char interpreter[256]; /* "" when there is none */
};

/* Reads the facts; a file that can't be read is ELF_NONE. */
void elf_inspect(const struct elf_file *file, struct elf_facts *facts);

#endif
