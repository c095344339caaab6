/* SPDX-License-Identifier: Apache-2.0 */
/* translation: what the files of `quire translate` share. */
#ifndef QUIRE_CLI_TRANSLATION_H
#define QUIRE_CLI_TRANSLATION_H

#include <quire/mmu.h>

#include <stdbool.h>
#include <stdio.h>

#define TRANSLATION_MAX_ADDRESSES 4096 /* on a command line */
#define TRANSLATION_RIGHTS_BYTES 40

struct translation {
    struct quire_image *image;
    struct quire_mmu mmu;
    struct quire_mmu_limits limits; /* --range */
    bool as_json, explains;
    bool has_access, is_user;
    enum quire_mmu_access access;
    const char *svg_path, *out_path;
    const char *tlb_text; /* NULL: no TLB is simulated */
};

/* "rw-/r--,GAD,wb,key3": supervisor's, user's, flags, memory type, protection key. */
const char *translation_rights(const struct translation *translation, uint32_t rights,
                               char buffer[TRANSLATION_RIGHTS_BYTES]);

/* "4K", "2M", "1G"; "-": there are no pages. */
const char *translation_size(unsigned page_shift, char buffer[16]);

/*
 * translation_print.c: each address, in order. Return 0; 1: some address has no translation, or
 * the access is refused; 125 with a message.
 */
int translation_addresses(const struct translation *translation, const uint64_t *vas, size_t n);
int translation_stream(const struct translation *translation); /* of standard input */

/* translation_map.c: as above. 1: nothing is mapped, or not all could be listed. */
int translation_map(const struct translation *translation);
int translation_reverse(const struct translation *translation, const uint64_t *addresses, size_t n);
int translation_read(const struct translation *translation, uint64_t va, uint64_t n_bytes);

/* translation_roots.c: of the mode or the architecture that was named, else of those with 64 bits.
 * As above; 1: none is found. */
struct translate_options;
int translation_roots(const struct translate_options *options);

#endif
