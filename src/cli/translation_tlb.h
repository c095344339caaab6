/* SPDX-License-Identifier: Apache-2.0 */
/* translation_tlb: a TLB that --tlb describes, in front of the addresses of `quire translate`. */
#ifndef QUIRE_CLI_TRANSLATION_TLB_H
#define QUIRE_CLI_TRANSLATION_TLB_H

#include <quire/tlb.h>

struct translation_tlb;

/* What `option` describes; false, with a message: it can't be understood. */
bool translation_tlb_parse(const char *option, const char *text, struct quire_tlb_config *config);

/* NULL with a message: the description can't be understood, or there is no memory. */
struct translation_tlb *translation_tlb_open(const char *text, const struct quire_mmu *mmu);
void translation_tlb_close(struct translation_tlb *tlb); /* NULL is fine */

void translation_tlb_run(struct translation_tlb *tlb, const uint64_t *vas,
                         struct quire_mmu_answer *answers, size_t n);

/* Lines of comments; a member "tlb" of the object that is being printed. */
void translation_tlb_print(const struct translation_tlb *tlb);
void translation_tlb_print_json(const struct translation_tlb *tlb);

#endif
