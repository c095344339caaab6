/* SPDX-License-Identifier: Apache-2.0 */
/* segment_print: an access and what came of it, as lines or as JSON. All strings are this program's
 * own, but for the access itself, which is made of digits, colons and letters. */
#include "cli/segment.h"

#include "cli/cli.h"

#include <inttypes.h>

static void print_descriptor(const struct quire_segment_descriptor *its, bool is_long_mode,
                             bool as_json)
{
    const char *name = quire_segment_type_name(its, is_long_mode);

    if (as_json) {
        printf("\"descriptor\": \"0x%016" PRIx64 "\", \"type\": \"%s\", \"dpl\": %u, "
               "\"present\": %s, ",
               its->raw, name, its->dpl, its->is_present ? "true" : "false");
        if (its->is_gate)
            printf("\"selector\": \"0x%x\", \"offset\": \"0x%" PRIx64 "\"", its->gate_selector,
                   its->gate_offset);
        else
            printf("\"base\": \"0x%" PRIx64 "\", \"limit\": \"0x%x\"", its->base, its->limit);
        return;
    }
    printf("0x%016" PRIx64 " %s, DPL %u%s", its->raw, name, its->dpl,
           its->is_present ? "" : ", not present");
    if (its->is_gate)
        printf(", to 0x%x:0x%" PRIx64, its->gate_selector, its->gate_offset);
    else
        printf(", base 0x%" PRIx64 ", limit 0x%x%s%s", its->base, its->limit,
               its->is_4k ? " (4K units)" : "",
               !its->is_code_or_data            ? ""
               : its->is_long && its->is_32_bit ? ", L and D both set: reserved"
               : its->is_long                   ? ", 64 bit"
               : its->is_32_bit                 ? ", 32 bit"
                                                : ", 16 bit");
}

static void print_rights(const struct quire_segment_rights *rights, unsigned cpl)
{
    printf("\n  CPL %u: LAR ", cpl);
    printf(rights->lar_valid ? "0x%x" : "ZF=0", rights->lar);
    printf(", LSL ");
    printf(rights->lsl_valid ? "0x%x" : "ZF=0", rights->lsl);
    printf(", VERR %s, VERW %s\n", rights->verr ? "ZF=1" : "ZF=0", rights->verw ? "ZF=1" : "ZF=0");
}

static void print_json_rights(const struct quire_segment_rights *rights)
{
    printf(rights->lar_valid ? ", \"lar\": \"0x%x\"" : ", \"lar\": null", rights->lar);
    printf(rights->lsl_valid ? ", \"lsl\": \"0x%x\"" : ", \"lsl\": null", rights->lsl);
    printf(", \"verr\": %s, \"verw\": %s", rights->verr ? "true" : "false",
           rights->verw ? "true" : "false");
}

unsigned segment_print_descriptor(const struct quire_segment_machine *machine,
                                  const uint64_t *descriptors, unsigned n, uint16_t selector,
                                  bool as_json)
{
    struct quire_segment_descriptor its;
    struct quire_segment_rights rights;

    quire_segment_decode(descriptors[0], 0, machine->is_long_mode, &its);
    bool has_upper = machine->is_long_mode && !its.is_code_or_data && n > 1;
    if (has_upper)
        quire_segment_decode(descriptors[0], descriptors[1], true, &its);
    print_descriptor(&its, machine->is_long_mode, as_json);
    if (quire_segment_rights(machine, selector, &rights) != 0)
        rights = (struct quire_segment_rights){0};
    if (as_json)
        print_json_rights(&rights);
    else
        print_rights(&rights, machine->cpl);
    return has_upper ? 2 : 1;
}

const char *segment_exception_name(int exception)
{
    switch (exception) {
    case QUIRE_SEGMENT_NP:
        return "#NP";
    case QUIRE_SEGMENT_SS:
        return "#SS";
    case QUIRE_SEGMENT_TASK:
        return "task-switch";
    default:
        return "#GP";
    }
}

static void print_head(const struct translation *translation, const struct segment_access *access,
                       const struct segment_result *result)
{
    const struct quire_segment_answer *answer = &result->answer;
    char rights[TRANSLATION_RIGHTS_BYTES], size[16];

    printf("%s ", access->text);
    if (answer->exception == QUIRE_SEGMENT_TASK) {
        printf("- task-switch %s\n", answer->reason);
    } else if (answer->exception != QUIRE_SEGMENT_OK) {
        printf("- %s(0x%x) %s\n", segment_exception_name(answer->exception), answer->error,
               answer->reason);
    } else if (!result->is_paged) {
        printf("0x%" PRIx64 "\n", answer->linear);
    } else if (result->reason != QUIRE_MMU_OK) {
        printf("0x%" PRIx64 " - %s", answer->linear, quire_mmu_reason_name(result->reason));
        if (result->error_code >= 0)
            printf(" #PF(0x%x) at 0x%" PRIx64, (unsigned)result->error_code, result->fault_at);
        putchar('\n');
    } else {
        printf("0x%" PRIx64 " 0x%" PRIx64 " %s %s\n", answer->linear, result->page.address,
               translation_size(result->page.page_shift, size),
               translation_rights(translation, result->page.rights, rights));
    }
}

void segment_print(const struct translation *translation, const struct segment_access *access,
                   const struct quire_segment_machine *machine, const struct segment_result *result)
{
    const struct quire_segment_rights *rights = &result->rights;

    print_head(translation, access, result);
    if (!result->answer.has_descriptor)
        return;
    printf("  ");
    print_descriptor(&result->answer.descriptor, machine->is_long_mode, false);
    if (result->answer.is_through_gate) {
        printf("\n  -> ");
        print_descriptor(&result->answer.target, machine->is_long_mode, false);
    }
    if (result->answer.cpl != machine->cpl)
        printf("\n  CPL %u -> %u", machine->cpl, result->answer.cpl);
    print_rights(rights, machine->cpl);
}

static void print_json_page(const struct translation *translation,
                            const struct segment_result *result)
{
    char rights[TRANSLATION_RIGHTS_BYTES];

    if (result->reason == QUIRE_MMU_OK) {
        printf(", \"pa\": \"0x%" PRIx64 "\", \"page_bytes\": %" PRIu64 ", \"rights\": \"%s\"",
               result->page.address, (uint64_t)1 << result->page.page_shift,
               translation_rights(translation, result->page.rights, rights));
        return;
    }
    printf(", \"pa\": null, \"page_reason\": \"%s\", \"fault_address\": \"0x%" PRIx64 "\"",
           quire_mmu_reason_name(result->reason), result->fault_at);
    if (result->error_code >= 0)
        printf(", \"page_error_code\": \"0x%x\"", (unsigned)result->error_code);
}

void segment_print_json(const struct translation *translation, const struct segment_access *access,
                        const struct quire_segment_machine *machine,
                        const struct segment_result *result)
{
    const struct quire_segment_answer *answer = &result->answer;
    const struct quire_segment_rights *rights = &result->rights;

    printf("{\"access\": \"%s\", ", access->text);
    if (answer->exception == QUIRE_SEGMENT_OK)
        printf("\"linear\": \"0x%" PRIx64 "\"", answer->linear);
    else
        printf("\"linear\": null, \"exception\": \"%s\", \"error_code\": \"0x%x\", "
               "\"reason\": \"%s\"",
               segment_exception_name(answer->exception), answer->error, answer->reason);
    if (result->is_paged)
        print_json_page(translation, result);
    if (answer->has_descriptor) {
        printf(", ");
        print_descriptor(&answer->descriptor, machine->is_long_mode, true);
        print_json_rights(rights);
    }
    if (answer->is_through_gate) {
        printf(", \"cpl\": %u, \"target\": {", answer->cpl);
        print_descriptor(&answer->target, machine->is_long_mode, true);
        putchar('}');
    }
    putchar('}');
}
