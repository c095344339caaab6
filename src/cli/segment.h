/* SPDX-License-Identifier: Apache-2.0 */
/* segment: what the files of `quire segment` share. */
#ifndef QUIRE_CLI_SEGMENT_H
#define QUIRE_CLI_SEGMENT_H

#include "cli/translation.h"

#include <quire/segment.h>

#define SEGMENT_TEXT_BYTES 96

struct segment_access { /* SELECTOR:OFFSET[:SIZE[:r|w|x]] */
    uint16_t selector;
    uint64_t offset;
    uint32_t size;
    enum quire_segment_access kind;
    char text[SEGMENT_TEXT_BYTES];
};

/* What came of one. */
struct segment_result {
    struct quire_segment_answer answer;
    struct quire_segment_rights rights;
    bool is_paged; /* the linear address was looked up: */
    enum quire_mmu_reason reason;
    uint64_t fault_at; /* the first byte that is refused */
    int error_code;    /* of the page fault */
    struct quire_mmu_answer page;
};

const char *segment_exception_name(int exception);

/* By `translation` come the paging's rights. */
void segment_print(const struct translation *translation, const struct segment_access *access,
                   const struct quire_segment_machine *machine,
                   const struct segment_result *result);
void segment_print_json(const struct translation *translation, const struct segment_access *access,
                        const struct quire_segment_machine *machine,
                        const struct segment_result *result);

/* The first of `n` descriptors, which the machine's GDT has at `selector`. Returns how many it was:
 * 2 of a system's in long mode. */
unsigned segment_print_descriptor(const struct quire_segment_machine *machine,
                                  const uint64_t *descriptors, unsigned n, uint16_t selector,
                                  bool as_json);

#endif
