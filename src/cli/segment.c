/* SPDX-License-Identifier: Apache-2.0 */
/*
 * segment: `quire segment`. What x86 segmentation makes of SELECTOR:OFFSET, by the tables in a
 * memory image; or what a descriptor says, without one.
 *
 * Exit status 0; 1: an access raises an exception; 125: bad command line, or nothing to read.
 */
#include "base/size.h"
#include "cli/cli.h"
#include "cli/translate_options.h"

#include <quire/segment.h>

#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ACCESSES 256

enum { KEY_GDT = 256, KEY_LDT, KEY_CPL, KEY_DESCRIPTOR, KEY_STACK, KEY_FS, KEY_LONG, KEY_64 };

struct access {
    uint16_t selector;
    uint64_t offset;
    uint32_t size;
    enum quire_segment_access kind;
    const char *text;
};

struct segment_options {
    const char *image;
    bool has_gdt, has_ldt, has_cpl, decodes, as_json, is_stack, is_fs;
    uint16_t ldt;
    struct quire_segment_machine machine;
    struct access accesses[MAX_ACCESSES];
    unsigned n_accesses;
};

static const struct argp_option option_list[] = {
    {"image", 'i', "FILE[@PHYS]", 0, "The memory that the tables are in, at linear addresses", 0},
    {"gdt", KEY_GDT, "BASE:LIMIT", 0, "GDTR", 0},
    {"ldt", KEY_LDT, "SELECTOR", 0, "LDTR: the LDT's descriptor in the GDT", 0},
    {"cpl", KEY_CPL, "N", 0, "Current privilege level (default: the selector's RPL)", 0},
    {"stack", KEY_STACK, NULL, 0, "By SS, in place of DS", 0},
    {"fs", KEY_FS, NULL, 0, "By FS or GS, in place of DS", 0},
    {"long-mode", KEY_LONG, NULL, 0, "EFER.LMA: system descriptors have 16 bytes", 0},
    {"64", KEY_64, NULL, 0, "64-bit code; includes --long-mode", 0},
    {"descriptor", KEY_DESCRIPTOR, NULL, 0,
     "The arguments are descriptors of 64 bits, to be decoded; no image is needed", 0},
    {"json", 'j', NULL, 0, "Print JSON", 0},
    {NULL, 'h', NULL, OPTION_HIDDEN, NULL, -1},
    {0},
};

static const char documentation[] =
    "Tell the linear address that x86 segmentation makes of SELECTOR:OFFSET, or the exception that "
    "it raises, with its error code."
    "\v"
    "An access is SELECTOR:OFFSET[:SIZE[:r|w|x]]; the default is 1 byte, read. x loads CS by a far "
    "jump.\n"
    "\n"
    "Examples:\n"
    "  quire segment -i ram.bin --gdt 0x1000:0x7f --cpl 3 0x23:0x1000:4:w\n"
    "  quire segment --descriptor 0x00cf9a000000ffff 0x00009200b8000fff\n"
    "\n"
    "Exit status:\n"
    "  0    every access has a linear address\n"
    "  1    some raise an exception\n"
    "  125  the command line can't be understood, or the image can't be read";

static uint64_t parse_number(struct argp_state *state, const char *what, const char *text,
                             uint64_t max)
{
    char *end;

    errno = 0;
    uint64_t value = strtoull(text, &end, 0);
    if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || value > max)
        argp_error(state, "%s: '%s' is no number up to 0x%llx", what, text,
                   (unsigned long long)max);
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

static void parse_access(struct argp_state *state, struct segment_options *options, char *text)
{
    static const char kinds[] = "rwx";
    struct access *access = &options->accesses[options->n_accesses];
    char *parts[4] = {NULL}, *rest;
    unsigned n = 0;

    if (options->n_accesses++ == MAX_ACCESSES)
        argp_error(state, "more than %d accesses", MAX_ACCESSES);
    access->text = strdup(text);
    for (char *one = strtok_r(text, ":", &rest); one != NULL; one = strtok_r(NULL, ":", &rest)) {
        if (n == 4)
            argp_error(state, "'%s' has too many parts", access->text);
        parts[n++] = one;
    }
    if (n < 2)
        argp_error(state, "'%s': an access is SELECTOR:OFFSET[:SIZE[:r|w|x]]", access->text);
    access->selector = (uint16_t)parse_number(state, "selector", parts[0], 0xffff);
    access->offset = parse_number(state, "offset", parts[1], UINT64_MAX);
    access->size = n > 2 ? (uint32_t)parse_number(state, "size", parts[2], 1u << 20) : 1;
    const char *kind = n > 3 && parts[3][1] == '\0' ? strchr(kinds, parts[3][0]) : NULL;
    if ((n > 3 && kind == NULL) || access->size == 0)
        argp_error(state, "'%s': SIZE is 1 or more, and an access is r, w or x", access->text);
    access->kind = n > 3 ? (enum quire_segment_access)(kind - kinds) : QUIRE_SEGMENT_READ;
}

static void check(struct argp_state *state, const struct segment_options *options)
{
    if (options->n_accesses == 0 && !options->decodes)
        argp_error(state, "which access? give SELECTOR:OFFSET, or --descriptor and a descriptor");
    if (!options->decodes && (options->image == NULL || !options->has_gdt))
        argp_error(state, "where are the descriptors? give --image FILE@PHYS and --gdt BASE:LIMIT");
    if (options->is_stack && options->is_fs)
        argp_error(state, "--stack and --fs: leave out one of both");
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct segment_options *options = state->input;

    switch (key) {
    case 'i':
        options->image = argument;
        return 0;
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
    case KEY_STACK:
        options->is_stack = true;
        return 0;
    case KEY_FS:
        options->is_fs = true;
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
        options->as_json = true;
        return 0;
    case 'h':
        argp_state_help(state, stdout, ARGP_HELP_STD_HELP);
        return 0;
    case ARGP_KEY_ARG:
        if (!options->decodes) {
            parse_access(state, options, argument);
            return 0;
        }
        if (options->n_accesses == MAX_ACCESSES)
            argp_error(state, "more than %d descriptors", MAX_ACCESSES);
        options->accesses[options->n_accesses++].offset = parse_number(state, "descriptor",
                                                                       argument, UINT64_MAX);
        return 0;
    case ARGP_KEY_END:
        check(state, options);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static int read_image(void *context, uint64_t linear, void *bytes, size_t n)
{
    return quire_image_read(context, linear, bytes, n, NULL);
}

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
               !its->is_code_or_data ? ""
               : its->is_long        ? ", 64 bit"
               : its->is_32_bit      ? ", 32 bit"
                                     : ", 16 bit");
}

static int decode_all(const struct segment_options *options)
{
    bool is_long = options->machine.is_long_mode;

    if (options->as_json)
        printf("{\n  \"version\": \"" QUIRE_VERSION "\",\n  \"descriptors\": [");
    for (unsigned i = 0; i < options->n_accesses; i++) {
        struct quire_segment_descriptor its;
        quire_segment_decode(options->accesses[i].offset, 0, is_long, &its);
        if (options->as_json)
            fputs(i > 0 ? ",\n    {" : "\n    {", stdout);
        print_descriptor(&its, is_long, options->as_json);
        putchar(options->as_json ? '}' : '\n');
    }
    if (options->as_json)
        puts("\n  ]\n}");
    return EXIT_SUCCESS;
}

static const char *exception_name(int exception)
{
    return exception == QUIRE_SEGMENT_NP ? "#NP" : exception == QUIRE_SEGMENT_SS ? "#SS" : "#GP";
}

static void print_text(const struct access *access, const struct quire_segment_machine *machine,
                       const struct quire_segment_answer *answer,
                       const struct quire_segment_rights *rights)
{
    if (answer->exception == QUIRE_SEGMENT_OK)
        printf("%s 0x%" PRIx64 "\n", access->text, answer->linear);
    else
        printf("%s - %s(0x%x) %s\n", access->text, exception_name(answer->exception), answer->error,
               answer->reason);
    if (!answer->has_descriptor)
        return;
    printf("  ");
    print_descriptor(&answer->descriptor, machine->is_long_mode, false);
    printf("\n  CPL %u: LAR ", machine->cpl);
    printf(rights->lar_valid ? "0x%x" : "ZF=0", rights->lar);
    printf(", LSL ");
    printf(rights->lsl_valid ? "0x%x" : "ZF=0", rights->lsl);
    printf(", VERR %s, VERW %s\n", rights->verr ? "ZF=1" : "ZF=0", rights->verw ? "ZF=1" : "ZF=0");
}

static void print_json(const struct access *access, const struct quire_segment_machine *machine,
                       const struct quire_segment_answer *answer,
                       const struct quire_segment_rights *rights)
{
    printf("{\"access\": \"%s\", ", access->text);
    if (answer->exception == QUIRE_SEGMENT_OK)
        printf("\"linear\": \"0x%" PRIx64 "\"", answer->linear);
    else
        printf("\"linear\": null, \"exception\": \"%s\", \"error_code\": \"0x%x\", "
               "\"reason\": \"%s\"",
               exception_name(answer->exception), answer->error, answer->reason);
    if (answer->has_descriptor) {
        printf(", ");
        print_descriptor(&answer->descriptor, machine->is_long_mode, true);
        printf(rights->lar_valid ? ", \"lar\": \"0x%x\"" : ", \"lar\": null", rights->lar);
        printf(rights->lsl_valid ? ", \"lsl\": \"0x%x\"" : ", \"lsl\": null", rights->lsl);
        printf(", \"verr\": %s, \"verw\": %s", rights->verr ? "true" : "false",
               rights->verw ? "true" : "false");
    }
    putchar('}');
}

/* 0 or 1, as the exit status; -1 with a message. */
static int access_one(struct segment_options *options, const struct access *access, bool is_first)
{
    struct quire_segment_machine *machine = &options->machine;
    enum quire_segment_use use = access->kind == QUIRE_SEGMENT_EXECUTE ? QUIRE_SEGMENT_CODE
                                 : options->is_stack                   ? QUIRE_SEGMENT_STACK
                                 : options->is_fs                      ? QUIRE_SEGMENT_FS
                                                                       : QUIRE_SEGMENT_DATA;
    struct quire_segment_answer answer;
    struct quire_segment_rights rights;

    if (!options->has_cpl)
        machine->cpl = access->selector & 3;
    quire_segment_translate(machine, access->selector, use, access->offset, access->size,
                            access->kind, &answer);
    int error = answer.failed;
    if (error == 0)
        error = quire_segment_rights(machine, access->selector, &rights);
    if (error != 0) {
        cli_error("%s: the descriptor is not in the image\n"
                  "check --gdt and where the image begins: --image FILE@PHYS",
                  access->text);
        return -1;
    }
    if (options->as_json) {
        fputs(is_first ? "\n    " : ",\n    ", stdout);
        print_json(access, machine, &answer, &rights);
    } else {
        print_text(access, machine, &answer, &rights);
    }
    return answer.exception != QUIRE_SEGMENT_OK;
}

static int access_all(struct segment_options *options)
{
    struct quire_segment_answer answer;
    int status = EXIT_SUCCESS;

    if (options->has_ldt && quire_segment_load_ldt(&options->machine, options->ldt, &answer) != 0) {
        if (answer.failed != 0)
            cli_error("--ldt 0x%x: its descriptor is not in the image", options->ldt);
        else
            cli_error("--ldt 0x%x: %s(0x%x): %s", options->ldt, exception_name(answer.exception),
                      answer.error, answer.reason);
        return CLI_EXIT_FAILED;
    }
    if (options->as_json)
        printf("{\n  \"version\": \"" QUIRE_VERSION "\",\n  \"accesses\": [");
    for (unsigned i = 0; i < options->n_accesses; i++) {
        int result = access_one(options, &options->accesses[i], i == 0);
        if (result < 0)
            return CLI_EXIT_FAILED;
        status = result > status ? result : status;
    }
    if (options->as_json)
        puts("\n  ]\n}");
    return status;
}

int cli_segment(int argc, char **argv)
{
    static const struct argp parser = {.options = option_list,
                                       .parser = parse_option,
                                       .args_doc = "SELECTOR:OFFSET[:SIZE[:r|w|x]]...\n"
                                                   "--descriptor HEX64...",
                                       .doc = documentation};
    static struct segment_options options;
    char message[QUIRE_IMAGE_MESSAGE_BYTES];
    struct quire_image *image = NULL;
    uint64_t start;
    int status = CLI_EXIT_FAILED;

    argp_err_exit_status = CLI_EXIT_FAILED;
    if (argp_parse(&parser, argc, argv, ARGP_IN_ORDER, NULL, &options) != 0)
        return CLI_EXIT_FAILED;
    if (options.decodes)
        return decode_all(&options);
    char *path = strndup(options.image, translate_split_image(options.image, &start));
    if (path == NULL || quire_image_new(&image) != 0)
        cli_error("cannot open the image: out of memory");
    else if (quire_image_add_file(image, path, start, QUIRE_IMAGE_AUTO, message) != 0)
        cli_error("cannot use the image %s: %s", options.image, message);
    else {
        options.machine.read = read_image;
        options.machine.context = image;
        status = access_all(&options);
    }
    quire_image_free(image);
    free(path);
    for (unsigned i = 0; i < options.n_accesses; i++)
        free((char *)(uintptr_t)options.accesses[i].text);
    return status;
}
