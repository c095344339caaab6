/* SPDX-License-Identifier: Apache-2.0 */
/*
 * segment: `quire segment`. What x86 segmentation makes of SELECTOR:OFFSET, by the tables in a
 * memory image; or what a descriptor says, without one.
 *
 *     registers: the command line's, else those of a dump that QEMU wrote
 *     tables, at linear addresses --paging, if CR0.PG--> the image's physical ones
 *     SELECTOR:OFFSET --> linear address or exception --paging--> physical address or #PF
 *
 * Exit status 0; 1: an access raises an exception; 125: bad command line, or nothing to read.
 */
#include "cli/segment.h"

#include "cli/cli.h"
#include "cli/command_line.h"
#include "cli/images.h"
#include "cli/line_input.h"
#include "cli/number.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ACCESSES 256
#define CR0_PG ((uint64_t)1 << 31)
#define CR4_LA57 ((uint64_t)1 << 12)

enum {
    KEY_GDT = 256,
    KEY_LDT,
    KEY_CPL,
    KEY_DESCRIPTOR,
    KEY_STACK,
    KEY_FS,
    KEY_CALL,
    KEY_LONG,
    KEY_64,
    KEY_CR0, /* and the other registers, in this order */
    KEY_CR3,
    KEY_CR4,
    KEY_EFER,
};

struct segment_options {
    struct images images;
    bool has_gdt, has_ldt, has_cpl, decodes, is_stack, is_fs, is_call, from_standard_input;
    bool has_register[4];
    uint64_t registers[4]; /* CR0, CR3, CR4, EFER */
    uint16_t ldt;
    struct quire_segment_machine machine;
    struct translation translation; /* its image, paging, and as_json */
    bool is_paged;
    struct segment_access accesses[MAX_ACCESSES];
    uint64_t descriptors[MAX_ACCESSES];
    unsigned n_accesses;
};

static const struct argp_option option_list[] = {
    {"image", 'i', "FILE[@PHYS]", 0,
     "The memory that the tables are in; may be given several times", 0},
    {"gdt", KEY_GDT, "BASE:LIMIT", 0, "GDTR (default: that of a dump that QEMU wrote)", 0},
    {"ldt", KEY_LDT, "SELECTOR", 0, "LDTR: the LDT's descriptor in the GDT", 0},
    {"cpl", KEY_CPL, "N", 0, "Current privilege level (default: the selector's RPL)", 0},
    {"stack", KEY_STACK, NULL, 0, "By SS, in place of DS", 0},
    {"fs", KEY_FS, NULL, 0, "By FS or GS, in place of DS", 0},
    {"call", KEY_CALL, NULL, 0, "x is by a far call, in place of a far jump", 0},
    {"long-mode", KEY_LONG, NULL, 0, "EFER.LMA: system descriptors have 16 bytes", 0},
    {"64", KEY_64, NULL, 0, "64-bit code; includes --long-mode", 0},
    {"cr0", KEY_CR0, "X", 0,
     "With paging on (bit 31), the tables are read through it, and physical addresses are told", 0},
    {"cr3", KEY_CR3, "X", 0, "For paging: where its tables are", 0},
    {"cr4", KEY_CR4, "X", 0, "For paging (default: 0)", 0},
    {"efer", KEY_EFER, "X", 0, "For paging (default: 0, with --long-mode 0xd00)", 0},
    {"descriptor", KEY_DESCRIPTOR, NULL, 0,
     "The arguments are descriptors of 64 bits, to be decoded and checked; no image is needed. "
     "With --long-mode one of the system's takes two of them",
     0},
    {"json", 'j', NULL, 0, "Print JSON", 0},
    {0},
};

static const char documentation[] =
    "Tell the linear address that x86 segmentation makes of SELECTOR:OFFSET, or the exception that "
    "it raises, with its error code; with paging on, the physical one, too."
    "\v"
    "An access is SELECTOR:OFFSET[:SIZE[:r|w|x]]; the default is 1 byte, read. x loads CS by a far "
    "jump (--call: a far call), through a call gate where the selector names one. - reads accesses "
    "from standard input, one a line.\n"
    "\n"
    "Examples:\n"
    "  quire segment -i ram.bin --gdt 0x1000:0x7f --cpl 3 0x23:0x1000:4:w\n"
    "  quire segment -i dump.elf 0x10:0xffffffff81000000:1:x\n"
    "  quire segment --descriptor 0x00cf9a000000ffff 0x00009200b8000fff\n"
    "\n"
    "Exit status:\n"
    "  0    every access has a linear address (and, with paging, a physical one)\n"
    "  1    some raise an exception\n"
    "  125  the command line can't be understood, or the image can't be read";

/* False: it is no number up to max. */
static bool read_number(const char *text, uint64_t max, uint64_t *value)
{
    return number_parse(text, value) && *value <= max;
}

static uint64_t parse_number(struct argp_state *state, const char *what, const char *text,
                             uint64_t max)
{
    uint64_t value;

    if (!read_number(text, max, &value))
        argp_error(state, "%s: '%s' is no number up to 0x%llx", what, text,
                   (unsigned long long)max);
    return value;
}

/* Hexadecimal, as manuals write it, with 0x or without. */
static uint64_t parse_descriptor(struct argp_state *state, const char *text)
{
    char *end;

    errno = 0;
    const uint64_t value = strtoull(text, &end, 16);
    if (!isxdigit((unsigned char)*text) || *end != '\0' || errno != 0)
        argp_error(state, "'%s' is no descriptor: give its 8 bytes as one hexadecimal number",
                   text);
    return value;
}

static void parse_gdt(struct argp_state *state, struct segment_options *options, char *text)
{
    char *cut = strchr(text, ':');

    if (cut == NULL)
        argp_error(state, "--gdt %s: it is BASE:LIMIT, as the GDTR has it", text);
    *cut = '\0';
    options->machine.gdt_base = parse_number(state, "--gdt", text, UINT64_MAX);
    options->machine.gdt_limit = (uint32_t)parse_number(state, "--gdt", cut + 1, 0xffff);
    options->has_gdt = true;
}

/* NULL, or what is wrong with it. */
static const char *read_access(const char *text, struct segment_access *access)
{
    static const char kinds[] = "rwx";
    char copy[SEGMENT_TEXT_BYTES], *parts[4] = {NULL}, *rest;
    uint64_t selector, size = 1;
    unsigned n = 0;

    if (strlen(text) >= sizeof copy)
        return "an access is SELECTOR:OFFSET[:SIZE[:r|w|x]]";
    strcpy(copy, text);
    strcpy(access->text, text);
    for (char *one = strtok_r(copy, ":", &rest); one != NULL; one = strtok_r(NULL, ":", &rest)) {
        if (n == 4)
            return "it has too many parts";
        parts[n++] = one;
    }
    if (n < 2)
        return "an access is SELECTOR:OFFSET[:SIZE[:r|w|x]]";
    if (!read_number(parts[0], 0xffff, &selector))
        return "the selector is no number up to 0xffff";
    if (!read_number(parts[1], UINT64_MAX, &access->offset))
        return "the offset is no number of 64 bits";
    if (n > 2 && (!read_number(parts[2], 1u << 20, &size) || size == 0))
        return "SIZE is a number from 1 to 0x100000";
    const char *kind = n > 3 && parts[3][1] == '\0' ? strchr(kinds, parts[3][0]) : kinds;
    if (kind == NULL)
        return "an access is r, w or x";
    access->selector = (uint16_t)selector;
    access->size = (uint32_t)size;
    access->kind = (enum quire_segment_access)(kind - kinds);
    return NULL;
}

static void parse_argument(struct argp_state *state, struct segment_options *options,
                           const char *text)
{
    if (!options->decodes && strcmp(text, "-") == 0) {
        options->from_standard_input = true;
        return;
    }
    if (options->n_accesses == MAX_ACCESSES)
        argp_error(state, "more than %d: give accesses on standard input, and - here",
                   MAX_ACCESSES);
    unsigned i = options->n_accesses++;
    if (options->decodes) {
        options->descriptors[i] = parse_descriptor(state, text);
        return;
    }
    const char *wrong = read_access(text, &options->accesses[i]);
    if (wrong != NULL)
        argp_error(state, "'%s': %s", text, wrong);
}

static void check(struct argp_state *state, const struct segment_options *options)
{
    if (options->n_accesses == 0 && !options->decodes && !options->from_standard_input)
        argp_error(state, "which access? give SELECTOR:OFFSET, or --descriptor and a descriptor");
    if (options->n_accesses == 0 && options->decodes)
        argp_error(state, "which descriptor? give its 8 bytes as one number");
    if (options->n_accesses > 0 && options->from_standard_input)
        argp_error(state, "accesses as arguments and -: leave out one of both");
    if (!options->decodes && options->images.n == 0)
        argp_error(state, "where are the descriptors? give --image FILE@PHYS and --gdt BASE:LIMIT");
    if (options->is_stack && options->is_fs)
        argp_error(state, "--stack and --fs: leave out one of both");
}

static error_t parse_register(int key, char *argument, struct argp_state *state)
{
    struct segment_options *options = state->input;

    switch (key) {
    case KEY_GDT:
        parse_gdt(state, options, argument);
        return 0;
    case KEY_LDT:
        options->ldt = (uint16_t)parse_number(state, "--ldt", argument, 0xffff);
        options->has_ldt = true;
        return 0;
    case KEY_CPL:
        options->machine.cpl = (uint8_t)parse_number(state, "--cpl", argument, 3);
        options->has_cpl = true;
        return 0;
    case KEY_CR0:
    case KEY_CR3:
    case KEY_CR4:
    case KEY_EFER:
        options->registers[key - KEY_CR0] = parse_number(state, "a register", argument, UINT64_MAX);
        options->has_register[key - KEY_CR0] = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct segment_options *options = state->input;

    switch (key) {
    case 'i':
        images_name(state, &options->images, argument);
        return 0;
    case KEY_STACK:
        options->is_stack = true;
        return 0;
    case KEY_FS:
        options->is_fs = true;
        return 0;
    case KEY_CALL:
        options->is_call = true;
        return 0;
    case KEY_64:
        options->machine.is_64_bit = true;
        __attribute__((fallthrough));
    case KEY_LONG:
        options->machine.is_long_mode = true;
        return 0;
    case KEY_DESCRIPTOR:
        options->decodes = true;
        return 0;
    case 'j':
        options->translation.as_json = true;
        return 0;
    case ARGP_KEY_ARG:
        parse_argument(state, options, argument);
        return 0;
    case ARGP_KEY_END:
        check(state, options);
        return 0;
    default:
        return parse_register(key, argument, state);
    }
}

/* Descriptors behind a null one, as a table of their own. */
static int read_listed(void *context, uint64_t linear, void *bytes, size_t n)
{
    const struct segment_options *options = context;

    memcpy(bytes, (const char *)options->descriptors + (linear - 8), n);
    return 0;
}

static int decode_all(struct segment_options *options)
{
    bool as_json = options->translation.as_json;
    struct quire_segment_machine *machine = &options->machine;

    machine->read = read_listed;
    machine->context = options;
    machine->gdt_limit = 8 * options->n_accesses + 7;
    if (as_json)
        printf("{\n  \"version\": \"" QUIRE_VERSION "\",\n  \"descriptors\": [");
    for (unsigned i = 0; i < options->n_accesses;) {
        if (as_json)
            fputs(i > 0 ? ",\n    {" : "\n    {", stdout);
        i += segment_print_descriptor(machine, &options->descriptors[i], options->n_accesses - i,
                                      (uint16_t)(8 * i + 8), as_json);
        if (as_json)
            putchar('}');
    }
    if (as_json)
        puts("\n  ]\n}");
    return EXIT_SUCCESS;
}

/* Set-up */

static int read_linear(void *context, uint64_t linear, void *bytes, size_t n)
{
    const struct segment_options *options = context;
    struct quire_mmu_answer answer;

    for (size_t done = 0; done < n; done++, linear++) { /* 8 bytes, which may lie in two pages */
        answer = (struct quire_mmu_answer){.address = linear};
        if (options->is_paged)
            quire_mmu_translate(&options->translation.mmu, linear, &answer, NULL);
        if (answer.reason != QUIRE_MMU_OK)
            return -EFAULT;
        int error = quire_image_read(options->translation.image, answer.address,
                                     (char *)bytes + done, 1, NULL);
        if (error != 0)
            return error;
    }
    return 0;
}

/* What the command line leaves open a dump of QEMU's may say. */
static void take_noted(struct segment_options *options, const struct quire_image_registers *noted)
{
    const uint64_t values[4] = {noted->cr0, noted->cr3, noted->cr4, noted->efer};
    struct quire_segment_machine *machine = &options->machine;

    if (!noted->has_x86)
        return;
    for (unsigned i = 0; i < 4; i++)
        if (!options->has_register[i])
            options->registers[i] = values[i];
    options->has_register[1] = true;
    machine->is_long_mode |= (noted->efer & 0x400) != 0;
    machine->is_64_bit |= noted->is_64_bit;
    if (options->has_gdt || noted->gdt_limit == 0)
        return;
    options->has_gdt = true;
    machine->gdt_base = noted->gdt_base;
    machine->gdt_limit = noted->gdt_limit;
    if (!options->has_ldt && noted->ldt != 0) {
        machine->has_ldt = true;
        machine->ldt_base = noted->ldt_base;
        machine->ldt_limit = noted->ldt_limit;
    }
}

static bool init_paging(struct segment_options *options)
{
    uint64_t efer = options->registers[3];
    struct quire_mmu_x86 registers = {.cr0 = options->registers[0],
                                      .cr3 = options->registers[1],
                                      .cr4 = options->registers[2],
                                      .efer = efer == 0 && options->machine.is_long_mode ? 0xd00
                                                                                         : efer};

    options->is_paged = (registers.cr0 & CR0_PG) != 0;
    options->machine.is_57_bit = (registers.cr4 & CR4_LA57) != 0;
    if (!options->is_paged)
        return true;
    if (!options->has_register[1])
        cli_error("--cr0: paging is on, so where are its tables? give --cr3");
    else if (quire_mmu_init_x86(&options->translation.mmu, options->translation.image, &registers,
                                0) != 0)
        cli_error("these control registers select no paging mode\n"
                  "`man quire-translate' says which values do");
    else
        return true;
    return false;
}

static bool load_ldt(struct segment_options *options)
{
    struct quire_segment_answer answer;

    if (!options->has_ldt || quire_segment_load_ldt(&options->machine, options->ldt, &answer) == 0)
        return true;
    if (answer.failed != 0)
        cli_error("--ldt 0x%x: its descriptor is not in the image", options->ldt);
    else
        cli_error("--ldt 0x%x: %s(0x%x): %s", options->ldt,
                  segment_exception_name(answer.exception), answer.error, answer.reason);
    return false;
}

static bool set_up(struct segment_options *options)
{
    struct quire_image **image = &options->translation.image;

    if (!images_open(&options->images, QUIRE_IMAGE_AUTO, image))
        return false;
    take_noted(options, quire_image_registers(*image));
    options->machine.read = read_linear;
    options->machine.context = options;
    if (!options->has_gdt) {
        cli_error("where are the descriptors? give --gdt BASE:LIMIT, as the GDTR has it");
        return false;
    }
    return init_paging(options) && load_ldt(options);
}

/* Accesses */

/* Looks every page up that the access touches. */
static void look_up(const struct segment_options *options, const struct segment_access *access,
                    struct segment_result *result)
{
    const struct quire_mmu *mmu = &options->translation.mmu;
    enum quire_mmu_access kind = (enum quire_mmu_access)access->kind;
    bool is_user = result->answer.cpl == 3;
    uint64_t first = result->answer.linear, size = kind == QUIRE_MMU_EXECUTE ? 1 : access->size;

    result->is_paged = true;
    for (uint64_t at = 0; at < size; at = ((first + at) | 0xfff) + 1 - first) {
        struct quire_mmu_answer answer;
        quire_mmu_translate(mmu, first + at, &answer, NULL);
        if (at == 0)
            result->page = answer;
        result->reason = quire_mmu_check(mmu, &answer, kind, is_user);
        if (result->reason == QUIRE_MMU_OK)
            continue;
        result->fault_at = first + at;
        result->error_code = quire_mmu_x86_error(mmu, result->reason, kind, is_user);
        return;
    }
}

/* 0 or 1, as the exit status; -1 with a message. */
static int access_one(struct segment_options *options, const struct segment_access *access,
                      bool is_first)
{
    struct quire_segment_machine *machine = &options->machine;
    bool is_code = access->kind == QUIRE_SEGMENT_EXECUTE;
    enum quire_segment_use use = is_code && options->is_call ? QUIRE_SEGMENT_CALL
                                 : is_code                   ? QUIRE_SEGMENT_CODE
                                 : options->is_stack         ? QUIRE_SEGMENT_STACK
                                 : options->is_fs            ? QUIRE_SEGMENT_FS
                                                             : QUIRE_SEGMENT_DATA;
    struct segment_result result = {.error_code = -1};

    if (!options->has_cpl)
        machine->cpl = access->selector & 3;
    quire_segment_translate(machine, access->selector, use, access->offset, access->size,
                            access->kind, &result.answer);
    int error = result.answer.failed;
    if (error == 0)
        error = quire_segment_rights(machine, access->selector, &result.rights);
    if (error != 0) {
        cli_error("%s: the descriptor is not in the image\n"
                  "check --gdt and where the image begins: --image FILE@PHYS",
                  access->text);
        return -1;
    }
    if (options->is_paged && result.answer.exception == QUIRE_SEGMENT_OK)
        look_up(options, access, &result);
    if (options->translation.as_json) {
        fputs(is_first ? "\n    " : ",\n    ", stdout);
        segment_print_json(&options->translation, access, machine, &result);
    } else {
        segment_print(&options->translation, access, machine, &result);
    }
    return result.answer.exception != QUIRE_SEGMENT_OK || result.reason != QUIRE_MMU_OK;
}

/* The same of each line; empty ones and what follows a # do not count. */
static int access_lines(struct segment_options *options)
{
    static struct line_input input;
    int status = EXIT_SUCCESS;
    bool is_first = true;
    char *line;

    while ((line = line_input_next(&input)) != NULL) {
        struct segment_access access;
        char *text = line + strspn(line, " \t");
        text[strcspn(text, " \t#\r")] = '\0';
        if (*text == '\0')
            continue;
        const char *wrong = read_access(text, &access);
        if (wrong != NULL) {
            cli_error("line %zu of standard input: '%.80s': %s", input.number, text, wrong);
            return -1;
        }
        int result = access_one(options, &access, is_first);
        if (result < 0)
            return result;
        status = result > status ? result : status;
        is_first = false;
        if (!line_input_has(&input))
            fflush(stdout);
    }
    if (input.error != 0)
        cli_error("cannot read standard input behind line %zu: %s", input.number,
                  input.error == -E2BIG ? "the line is too long" : strerror(-input.error));
    return input.error != 0 ? -1 : status;
}

static int access_all(struct segment_options *options)
{
    int status = EXIT_SUCCESS;

    if (options->translation.as_json)
        printf("{\n  \"version\": \"" QUIRE_VERSION "\",\n  \"accesses\": [");
    if (options->from_standard_input)
        status = access_lines(options);
    for (unsigned i = 0; i < options->n_accesses && status >= 0; i++) {
        int result = access_one(options, &options->accesses[i], i == 0);
        status = result < 0 || result > status ? result : status;
    }
    if (status < 0)
        return CLI_EXIT_FAILED;
    if (options->translation.as_json)
        puts("\n  ]\n}");
    return status;
}

int cli_segment(int argc, char **argv)
{
    static const struct argp parser = {.options = option_list,
                                       .parser = parse_option,
                                       .args_doc = "SELECTOR:OFFSET[:SIZE[:r|w|x]]...|-\n"
                                                   "--descriptor HEX64...",
                                       .doc = documentation};
    static struct segment_options options;
    int status = CLI_EXIT_FAILED;

    command_line_parse(&parser, argc, argv, ARGP_IN_ORDER, &options);
    if (options.decodes)
        return decode_all(&options);
    if (set_up(&options))
        status = access_all(&options);
    quire_image_free(options.translation.image);
    return status;
}
