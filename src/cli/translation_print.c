/* SPDX-License-Identifier: Apache-2.0 */
/*
 * translation_print: addresses in, answers out: lines, a table of the walk, or JSON.
 *
 *     addresses --1024 at a time--> quire_mmu_translate_many() --> checked --> printed, in order
 *
 * Lines are put together by hand: a million of them should not wait for printf.
 */
#include "cli/cli.h"
#include "cli/line_input.h"
#include "cli/number.h"
#include "cli/translation.h"
#include "cli/translation_tlb.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define BATCH 1024

struct output {
    const struct translation *translation;
    size_t n_printed;
    bool has_fault;
    struct translation_tlb *tlb; /* NULL: none */
};

const char *translation_rights(const struct translation *translation, uint32_t rights,
                               char buffer[TRANSLATION_RIGHTS_BYTES])
{
    static const char letters[] = "rwx";
    static const struct {
        uint32_t flag;
        char letter;
    } flags[] = {{QUIRE_MMU_GLOBAL, 'G'},
                 {QUIRE_MMU_ACCESSED, 'A'},
                 {QUIRE_MMU_DIRTY, 'D'},
                 {QUIRE_MMU_CONTIGUOUS, 'C'}};
    size_t n = 0;

    for (unsigned i = 0; i < 6; i++) {
        if (i == 3)
            buffer[n++] = '/';
        buffer[n++] = (rights >> i & 1) != 0 ? letters[i % 3] : '-';
    }
    buffer[n++] = ',';
    for (unsigned i = 0; i < 4; i++)
        buffer[n++] = (rights & flags[i].flag) != 0 ? flags[i].letter : '-';
    buffer[n++] = ',';
    const char *type = quire_mmu_type_name(
        (enum quire_mmu_type)(rights >> QUIRE_MMU_TYPE_SHIFT & 15));
    for (; type != NULL && *type != '\0'; type++)
        buffer[n++] = *type;
    buffer[n] = '\0';
    if (translation->mmu.pke && (rights & QUIRE_MMU_USER) != 0)
        snprintf(buffer + n, TRANSLATION_RIGHTS_BYTES - n, ",key%u",
                 rights >> QUIRE_MMU_KEY_SHIFT & 15);
    return buffer;
}

const char *translation_size(unsigned page_shift, char buffer[16])
{
    static const char units[] = {'\0', 'K', 'M', 'G', 'T', 'P'};

    if (page_shift == 0)
        return strcpy(buffer, "-");
    snprintf(buffer, 16, "%u%c", 1u << page_shift % 10, units[page_shift / 10]);
    return buffer;
}

static char *put_hex(char *at, uint64_t value)
{
    static const char digits[] = "0123456789abcdef";
    unsigned n = value == 0 ? 1 : (67 - (unsigned)__builtin_clzll(value)) / 4;

    *at++ = '0';
    *at++ = 'x';
    for (unsigned i = n; i-- > 0;)
        *at++ = digits[value >> 4 * i & 15];
    return at;
}

static char *put_text(char *at, const char *text)
{
    while (*text != '\0')
        *at++ = *text++;
    return at;
}

static enum quire_mmu_reason judge(const struct translation *translation,
                                   const struct quire_mmu_answer *answer)
{
    if (!translation->has_access)
        return (enum quire_mmu_reason)answer->reason;
    return quire_mmu_check(&translation->mmu, answer, translation->access, translation->is_user);
}

static void print_line(const struct translation *translation, uint64_t va,
                       const struct quire_mmu_answer *answer, enum quire_mmu_reason reason)
{
    char line[160], buffer[TRANSLATION_RIGHTS_BYTES];
    char *at = put_hex(line, va);

    *at++ = ' ';
    if (reason == QUIRE_MMU_OK) {
        at = put_hex(at, answer->address);
        *at++ = ' ';
        at = put_text(at, translation_size(answer->page_shift, buffer));
        *at++ = ' ';
        at = put_text(at, translation_rights(translation, answer->rights, buffer));
    } else {
        at = put_text(at, "- ");
        at = put_text(at, quire_mmu_reason_name(reason));
    }
    *at++ = '\n';
    fwrite(line, 1, (size_t)(at - line), stdout);
}

/* What x86 pushes with the page fault; -1: there is none, or no access to fault. */
static int page_fault_code(const struct translation *translation, enum quire_mmu_reason reason)
{
    if (!translation->has_access || reason == QUIRE_MMU_OK)
        return -1;
    return quire_mmu_x86_error(&translation->mmu, reason, translation->access,
                               translation->is_user);
}

/* Where and on which entry the walk ended, in words. */
static void print_reason(const struct translation *translation,
                         const struct quire_mmu_answer *answer, enum quire_mmu_reason reason)
{
    const struct quire_mmu *mmu = &translation->mmu;

    printf("  = %s: %s", quire_mmu_reason_name(reason), quire_mmu_reason_text(reason));
    if (reason >= QUIRE_MMU_OUTSIDE && reason <= QUIRE_MMU_DAMAGED_PAGE)
        printf(" (%s at 0x%" PRIx64 ")", quire_mmu_level_name(mmu, answer->level),
               answer->entry_address);
    else if (reason > QUIRE_MMU_DISABLED && reason < QUIRE_MMU_NO_READ &&
             reason != QUIRE_MMU_BOUNDS && reason != QUIRE_MMU_NO_MATCH && reason != QUIRE_MMU_ROOT)
        printf(" (%s 0x%" PRIx64 ")", quire_mmu_level_name(mmu, answer->level), answer->entry);
    int code = page_fault_code(translation, reason);
    if (code >= 0)
        printf("; #PF, error code 0x%x", (unsigned)code);
    putchar('\n');
}

static void print_steps(const struct translation *translation, const struct quire_mmu_trace *trace)
{
    const struct quire_mmu *mmu = &translation->mmu;
    unsigned n = trace->n_steps < QUIRE_MMU_MAX_STEPS ? trace->n_steps : QUIRE_MMU_MAX_STEPS;

    if (n > 0)
        printf("  %-16s %6s  %-18s  %-18s  %s\n", "entry", "index", "at", "value", "meaning");
    for (unsigned i = 0; i < n; i++) {
        const struct quire_mmu_step *step = &trace->steps[i];
        char words[160];
        quire_mmu_describe(mmu, step, words, sizeof words);
        printf("  %-16s %6u  0x%016" PRIx64 "  0x%016" PRIx64 "  %s",
               quire_mmu_level_name(mmu, step->level), step->index, step->entry_address,
               mmu->mode == QUIRE_MMU_PPC32 ? step->entry << 32 | step->second : step->entry,
               words);
        if (step->kind == QUIRE_MMU_STEP_TABLE)
            printf("  -> table 0x%" PRIx64, step->next);
        else if (step->kind == QUIRE_MMU_STEP_PAGE)
            printf("  -> page 0x%" PRIx64, step->next);
        putchar('\n');
    }
    if (trace->n_steps > n)
        printf("  ... and %u more\n", trace->n_steps - n);
}

static void explain(const struct translation *translation, uint64_t va)
{
    struct quire_mmu_answer answer;
    struct quire_mmu_trace trace;
    char rights[TRANSLATION_RIGHTS_BYTES], size[16];

    quire_mmu_translate(&translation->mmu, va, &answer, &trace);
    enum quire_mmu_reason reason = judge(translation, &answer);
    printf("0x%" PRIx64 "  (%s)\n", va, quire_mmu_mode_name(translation->mmu.mode));
    print_steps(translation, &trace);
    if (translation->mmu.mode == QUIRE_MMU_BASE_LIMIT)
        printf("  base 0x%" PRIx64 ", limit 0x%" PRIx64 "\n", translation->mmu.root,
               translation->mmu.limit);
    if (reason != QUIRE_MMU_OK) {
        print_reason(translation, &answer, reason);
        return;
    }
    uint64_t mask = ((uint64_t)1 << answer.page_shift) - 1;
    if (answer.page_shift != 0)
        printf("  %-16s 0x%" PRIx64 " of a page of %s\n", "offset", va & mask,
               translation_size(answer.page_shift, size));
    printf("  = 0x%" PRIx64 "  %s  %s\n", answer.address, translation_size(answer.page_shift, size),
           translation_rights(translation, answer.rights, rights));
}

/* JSON; every string here is this program's own. */

static void print_json_steps(const struct translation *translation, uint64_t va)
{
    struct quire_mmu_answer answer;
    struct quire_mmu_trace trace;

    quire_mmu_translate(&translation->mmu, va, &answer, &trace);
    printf(", \"steps\": [");
    for (unsigned i = 0; i < trace.n_steps && i < QUIRE_MMU_MAX_STEPS; i++) {
        const struct quire_mmu_step *step = &trace.steps[i];
        char words[160];
        quire_mmu_describe(&translation->mmu, step, words, sizeof words);
        printf("%s{\"entry\": \"%s\", \"index\": %u, \"address\": \"0x%" PRIx64
               "\", \"value\": \"0x%" PRIx64 "\", \"meaning\": \"%s\"}",
               i > 0 ? ", " : "", quire_mmu_level_name(&translation->mmu, step->level), step->index,
               step->entry_address, step->entry, words);
    }
    putchar(']');
}

static void print_json(const struct output *output, uint64_t va,
                       const struct quire_mmu_answer *answer, enum quire_mmu_reason reason)
{
    char rights[TRANSLATION_RIGHTS_BYTES];

    printf("%s\n    {\"va\": \"0x%" PRIx64 "\", ", output->n_printed > 0 ? "," : "", va);
    if (reason == QUIRE_MMU_OK)
        printf("\"pa\": \"0x%" PRIx64 "\", \"page_bytes\": %" PRIu64
               ", \"level\": \"%s\", \"rights\": \"%s\"",
               answer->address, answer->page_shift != 0 ? (uint64_t)1 << answer->page_shift : 0,
               quire_mmu_level_name(&output->translation->mmu, answer->level),
               translation_rights(output->translation, answer->rights, rights));
    else
        printf("\"pa\": null, \"reason\": \"%s\", \"level\": \"%s\", \"entry\": \"0x%" PRIx64
               "\", \"entry_address\": \"0x%" PRIx64 "\"",
               quire_mmu_reason_name(reason),
               quire_mmu_level_name(&output->translation->mmu, answer->level), answer->entry,
               answer->entry_address);
    int code = page_fault_code(output->translation, reason);
    if (code >= 0)
        printf(", \"error_code\": \"0x%x\"", (unsigned)code);
    if (output->translation->explains)
        print_json_steps(output->translation, va);
    putchar('}');
}

static void print_batch(struct output *output, const uint64_t *vas, size_t n)
{
    static struct quire_mmu_answer answers[BATCH];
    const struct translation *translation = output->translation;

    if (output->tlb != NULL)
        translation_tlb_run(output->tlb, vas, answers, n);
    else
        quire_mmu_translate_many(&translation->mmu, vas, answers, n);
    for (size_t i = 0; i < n; i++) {
        enum quire_mmu_reason reason = judge(translation, &answers[i]);
        output->has_fault |= reason != QUIRE_MMU_OK;
        if (translation->as_json)
            print_json(output, vas[i], &answers[i], reason);
        else if (translation->explains)
            explain(translation, vas[i]);
        else
            print_line(translation, vas[i], &answers[i], reason);
        output->n_printed++;
    }
}

static bool begin(struct output *output, const struct translation *translation)
{
    *output = (struct output){.translation = translation};
    if (translation->tlb_text != NULL) {
        output->tlb = translation_tlb_open(translation->tlb_text, &translation->mmu);
        if (output->tlb == NULL)
            return false;
    }
    if (translation->as_json)
        printf("{\n  \"version\": \"" QUIRE_VERSION "\",\n  \"mode\": \"%s\",\n  \"answers\": [",
               quire_mmu_mode_name(translation->mmu.mode));
    return true;
}

static int end(struct output *output)
{
    if (output->translation->as_json) {
        fputs(output->n_printed > 0 ? "\n  ]" : "]", stdout);
        if (output->tlb != NULL)
            translation_tlb_print_json(output->tlb);
        puts("\n}");
    } else if (output->tlb != NULL) {
        translation_tlb_print(output->tlb);
    }
    translation_tlb_close(output->tlb);
    return output->has_fault ? EXIT_FAILURE : EXIT_SUCCESS;
}

int translation_addresses(const struct translation *translation, const uint64_t *vas, size_t n)
{
    struct output output;

    if (!begin(&output, translation))
        return CLI_EXIT_FAILED;
    for (size_t i = 0; i < n; i += BATCH)
        print_batch(&output, vas + i, n - i < BATCH ? n - i : BATCH);
    return end(&output);
}

/* An address in a line; 1: nothing but a comment; -EINVAL. */
static int parse_line(char *line, uint64_t *va)
{
    char *text = line + strspn(line, " \t");
    size_t n = strcspn(text, "#\r\n");

    while (n > 0 && (text[n - 1] == ' ' || text[n - 1] == '\t'))
        n--;
    text[n] = '\0';
    if (n == 0)
        return 1;
    return number_parse(text, va) ? 0 : -EINVAL;
}

int translation_stream(const struct translation *translation)
{
    static uint64_t vas[BATCH];
    static struct line_input input;
    struct output output;
    size_t n = 0;
    int error = 0;
    char *line = NULL;

    if (!begin(&output, translation))
        return CLI_EXIT_FAILED;
    while (error >= 0) {
        if (n == BATCH || !line_input_has(&input)) {
            print_batch(&output, vas, n);
            fflush(stdout);
            n = 0;
        }
        line = line_input_next(&input);
        if (line == NULL)
            break;
        error = parse_line(line, &vas[n]);
        n += error == 0;
    }
    print_batch(&output, vas, n);
    int status = end(&output);
    if (error < 0)
        cli_error("line %zu of standard input is no address: '%.80s'\nwrite one a line, as "
                  "0x7fff12345000",
                  input.number, line);
    else if (input.error != 0)
        cli_error("cannot read standard input behind line %zu: %s", input.number,
                  input.error == -E2BIG ? "the line is too long" : strerror(-input.error));
    return error < 0 || input.error != 0 ? CLI_EXIT_FAILED : status;
}
