/* SPDX-License-Identifier: Apache-2.0 */
/* translate_options: reads the command line of `quire translate`, and says what is missing. */
#include "cli/translate_options.h"

#include "base/size.h"
#include "cli/cli.h"
#include "cli/command_line.h"
#include "cli/number.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    KEY_NUMBER = 256, /* plus the number's place */
    KEY_FORMAT = 512,
    KEY_ARCH,
    KEY_MODE,
    KEY_SEGMENTS,
    KEY_EXTENSIONS,
    KEY_MAP,
    KEY_RANGE,
    KEY_SVG,
    KEY_REVERSE,
    KEY_READ,
    KEY_ROOTS,
    KEY_ACCESS,
    KEY_USER,
    KEY_TLB,
};

static const struct argp_option option_list[] = {
    {NULL, 0, NULL, 0, "The memory:", 1},
    {"image", 'i', "FILE[@PHYS]", 0,
     "A memory image; a raw one begins at PHYS (default: 0). May be given up to 64 times: also the "
     "files of a split dump",
     1},
    {"format", KEY_FORMAT, "raw|elf|lime|kdump|auto", 0, "Of the images (default: auto)", 1},
    {NULL, 0, NULL, 0, "The machine, by its registers:", 2},
    {"arch", KEY_ARCH, "x86|riscv|arm64|ppc", 0,
     "Which registers there are (default: what the dump says: x86's, if QEMU wrote it, or by "
     "VMCOREINFO those that lead to Linux's own tables)",
     2},
    {"cr0", KEY_NUMBER + NUMBER_CR0, "X", 0, "x86: control registers", 2},
    {"cr3", KEY_NUMBER + NUMBER_CR3, "X", 0, NULL, 2},
    {"cr4", KEY_NUMBER + NUMBER_CR4, "X", 0, NULL, 2},
    {"efer", KEY_NUMBER + NUMBER_EFER, "X", 0,
     "x86: EFER (default with PAE: 0xd00, long mode and NX)", 2},
    {"pat", KEY_NUMBER + NUMBER_PAT, "X", 0, "x86: the PAT (default: as after a reset)", 2},
    {"pkru", KEY_NUMBER + NUMBER_PKRU, "X", 0, "x86: rights of protection keys (default: 0)", 2},
    {"satp", KEY_NUMBER + NUMBER_SATP, "X", 0, "riscv: satp, of 32 or 64 bits", 2},
    {"sstatus", KEY_NUMBER + NUMBER_SSTATUS, "X", 0, "riscv: for SUM and MXR (default: 0)", 2},
    {"extensions", KEY_EXTENSIONS, "LIST", 0,
     "riscv: svnapot, svpbmt, svadu, or none (default: svnapot,svpbmt,svadu)", 2},
    {"tcr", KEY_NUMBER + NUMBER_TCR, "X", 0, "arm64: TCR_EL1", 2},
    {"ttbr0", KEY_NUMBER + NUMBER_TTBR0, "X", 0, "arm64: TTBR0_EL1", 2},
    {"ttbr1", KEY_NUMBER + NUMBER_TTBR1, "X", 0, "arm64: TTBR1_EL1", 2},
    {"mair", KEY_NUMBER + NUMBER_MAIR, "X", 0, "arm64: MAIR_EL1, for memory types", 2},
    {"sdr1", KEY_NUMBER + NUMBER_SDR1, "X", 0, "ppc: where the hash table is", 2},
    {"segments", KEY_SEGMENTS, "X,X,...", 0, "ppc: the 16 segment registers", 2},
    {NULL, 0, NULL, 0, "Or by the format's name:", 3},
    {"mode", KEY_MODE, "NAME", 0,
     "x86-32, x86-pae, x86-48, x86-57, sv32, sv39, sv48, sv57, arm64 (48 bits, 4K), arm64-39, "
     "arm64-16k, arm64-16k-47, arm64-64k, arm64-64k-42, inverted, base-limit or bare",
     3},
    {"root", KEY_NUMBER + NUMBER_ROOT, "PHYS", 0, "Where its first table is", 3},
    {"base", KEY_NUMBER + NUMBER_BASE, "X", 0, "base-limit: the base register", 3},
    {"limit", KEY_NUMBER + NUMBER_LIMIT, "X", 0, "base-limit: how many addresses there are", 3},
    {"process", KEY_NUMBER + NUMBER_PROCESS, "N", 0, "inverted: whose addresses (default: 0)", 3},
    {"phys-bits", KEY_NUMBER + NUMBER_PHYS_BITS, "N", 0,
     "Physical address bits of the machine; entries beyond have reserved bits set (default: the "
     "most that the format has)",
     3},
    {NULL, 0, NULL, 0, "What to do, in place of translating each VA:", 4},
    {"map", KEY_MAP, NULL, 0, "List every mapping, merged", 4},
    {"range", KEY_RANGE, "A-B", 0, "With --map and --reverse: virtual addresses from A to B", 4},
    {"svg", KEY_SVG, "FILE", 0, "With --map: draw it, too", 4},
    {"reverse", KEY_REVERSE, NULL, 0,
     "The arguments are physical: which virtual addresses map them", 4},
    {"read", KEY_READ, "VA:LENGTH", 0, "Write the bytes that are there", 4},
    {"output", 'o', "FILE", 0, "With --read: to FILE, and not to standard output", 4},
    {"find-roots", KEY_ROOTS, NULL, 0,
     "Look for what may be a root of page tables, the best first; --mode or --arch narrows it", 4},
    {NULL, 0, NULL, 0, "How:", 5},
    {"access", KEY_ACCESS, "r|w|x", 0, "Also tell whether this access is let through", 5},
    {"user", KEY_USER, NULL, 0, "The access is the user's, not the supervisor's", 5},
    {"explain", 'e', NULL, 0, "Show the walk, entry by entry", 5},
    {"tlb", KEY_TLB, "SPEC", 0,
     "Put a TLB in front and count: typical, or l1:64x4:4K,l2:1536x12:4K+2M,walk:32,lru", 5},
    {"json", 'j', NULL, 0, "Print JSON", 5},
    {0},
};

static const char documentation[] =
    "Translate virtual addresses by the page tables in a machine's memory, as its MMU would."
    "\v"
    "Prints for each address, in order, `VA PA PAGESIZE RIGHTS', or `VA - REASON'. - reads "
    "addresses from "
    "standard input, one a line. RIGHTS are the supervisor's and the user's, flags (Global, "
    "Accessed, Dirty, Contiguous), and the memory type: rw-/r--,GAD-,wb.\n"
    "\n"
    "Examples:\n"
    "  quire translate -i dump.elf 0xffffffff81000000\n"
    "  quire translate -i ram.bin --arch riscv --satp 0x8000000000080210 \\\n"
    "      --explain 0x40001234\n"
    "  quire translate -i ram.bin@0x40000000 --arch arm64 --tcr 0x5b5103510 \\\n"
    "      --ttbr0 X --ttbr1 Y --map\n"
    "  quire translate -i ram.lime --find-roots\n"
    "  quire translate -i ram.lime --mode x86-48 --root 0x2a10000 \\\n"
    "      --read 0xffffffff82000000:4096 -o page\n"
    "\n"
    "Exit status:\n"
    "  0    every address has a translation (and the access is let through)\n"
    "  1    some have not; nothing is mapped, or found\n"
    "  125  the command line can't be understood, or an image can't be read";

static uint64_t parse_number(struct argp_state *state, const char *what, const char *text)
{
    uint64_t value;

    if (!number_parse(text, &value))
        argp_error(state, "%s %s: that is no number of 64 bits\nwrite it as 0x1000 or 4096", what,
                   text);
    return value;
}

static int choose(const char *word, const char *const *words, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (strcmp(word, words[i]) == 0)
            return (int)i;
    return -1;
}

static void set_action(struct argp_state *state, struct translate_options *options,
                       enum translate_action action)
{
    if (options->action != ACTION_TRANSLATE && options->action != action)
        argp_error(state, "--map, --reverse, --read and --find-roots: give one of them");
    options->action = action;
}

/* "A-B" or "A:B", cut in two. */
static void split(struct argp_state *state, const char *what, char *text, char between,
                  uint64_t *first, uint64_t *second)
{
    char *cut = strchr(text, between);

    if (cut == NULL)
        argp_error(state, "%s %s: there is no '%c' between two numbers", what, text, between);
    *cut = '\0';
    *first = parse_number(state, what, text);
    uint64_t bytes;
    if (between == ':' && strncmp(cut + 1, "0x", 2) != 0 && size_parse(cut + 1, 0, &bytes) == 0)
        *second = bytes;
    else
        *second = parse_number(state, what, cut + 1);
}

static void parse_segments(struct argp_state *state, struct translate_options *options, char *text)
{
    char *rest;
    unsigned n = 0;

    for (char *one = strtok_r(text, ",", &rest); one != NULL; one = strtok_r(NULL, ",", &rest)) {
        if (n == 16)
            argp_error(state, "--segments: there are 16 of them, not more");
        options->segments[n++] = (uint32_t)parse_number(state, "--segments", one);
    }
    if (n != 16)
        argp_error(state, "--segments: give all 16, separated by commas; these are %u", n);
}

static void parse_extensions(struct argp_state *state, struct translate_options *options,
                             char *text)
{
    static const char *const names[] = {"svnapot", "svpbmt", "svadu"};
    char *rest;

    options->extensions = 0;
    for (char *one = strtok_r(text, ",", &rest); one != NULL; one = strtok_r(NULL, ",", &rest)) {
        int which = choose(one, names, 3);
        if (which < 0 && strcmp(one, "none") != 0)
            argp_error(state, "--extensions: '%s' is none of svnapot, svpbmt, svadu and none", one);
        options->extensions |= which < 0 ? 0 : 1u << which;
    }
}

const struct translate_arm64 translate_arm64_kinds[TRANSLATE_N_ARM64] = {
    {"arm64-4k", 12, 48, true},      {"arm64-39", 12, 39, false},  {"arm64-16k", 14, 48, false},
    {"arm64-16k-47", 14, 47, false}, {"arm64-64k", 16, 48, false}, {"arm64-64k-42", 16, 42, false}};

/* TCR_EL1 (DDI 0487, D19.2.139): T0SZ and T1SZ by the bits, TG0 and TG1 by the granule, IPS 48
 * bits. */
uint64_t translate_arm64_tcr(const struct translate_arm64 *arm64)
{
    const uint64_t granules = arm64->granule_shift == 12   ? (uint64_t)2 << 30
                              : arm64->granule_shift == 14 ? 2 << 14 | (uint64_t)1 << 30
                                                           : 1 << 14 | (uint64_t)3 << 30;
    const uint64_t size = 64 - arm64->va_bits;

    return (uint64_t)5 << 32 | size << 16 | size | granules;
}

static void parse_mode(struct argp_state *state, struct translate_options *options,
                       const char *name)
{
    options->mode = -1; /* whatever one before has said */
    options->arm64 = NULL;
    for (unsigned i = 0; i < TRANSLATE_N_ARM64; i++)
        if (strcasecmp(name, translate_arm64_kinds[i].name) == 0) {
            options->mode = QUIRE_MMU_ARM64;
            options->arm64 = &translate_arm64_kinds[i];
        }
    for (int mode = 0; mode < QUIRE_MMU_N_MODES; mode++)
        if (mode != QUIRE_MMU_PPC32 &&
            strcasecmp(name, quire_mmu_mode_name((enum quire_mmu_mode)mode)) == 0)
            options->mode = mode;
    if (options->mode < 0)
        argp_error(state,
                   "--mode %s: it is one of x86-32, x86-pae, x86-48, x86-57, sv32, sv39, sv48, "
                   "sv57, arm64, arm64-39, arm64-16k, arm64-16k-47, arm64-64k, arm64-64k-42, "
                   "inverted, base-limit and bare",
                   name);
}

static void parse_address(struct argp_state *state, struct translate_options *options,
                          const char *text)
{
    if (strcmp(text, "-") == 0) {
        options->from_standard_input = true;
        return;
    }
    uint64_t value;
    if (!number_parse(text, &value) && access(text, F_OK) == 0) /* as `-i dump.*' makes them */
        argp_error(state, "%s is a file, and no address: each image has an --image of its own",
                   text);
    if (options->n_addresses == TRANSLATION_MAX_ADDRESSES)
        argp_error(state, "more than %d addresses: give them on standard input, and - here",
                   TRANSLATION_MAX_ADDRESSES);
    options->addresses[options->n_addresses++] = parse_number(state, "address", text);
}

/* What selects the machine that a number is of. */
enum owner { OF_ANY, OF_X86, OF_RISCV, OF_ARM64, OF_PPC, OF_MODE, OF_BASE_LIMIT, OF_INVERTED };

static bool is_of_machine(enum owner owner, const struct translate_options *options)
{
    switch (owner) {
    case OF_ANY:
        return true;
    case OF_X86: /* also where the image says what the machine is */
        return options->arch == ARCH_X86 || (options->arch == ARCH_NONE && options->mode < 0);
    case OF_MODE:
        return options->mode >= 0;
    case OF_BASE_LIMIT:
        return options->mode == QUIRE_MMU_BASE_LIMIT;
    case OF_INVERTED:
        return options->mode == QUIRE_MMU_INVERTED;
    default:
        return (unsigned)options->arch == (unsigned)owner;
    }
}
_Static_assert((unsigned)OF_X86 == (unsigned)ARCH_X86 && (unsigned)OF_PPC == (unsigned)ARCH_PPC,
               "owners begin with the architectures");

/* A register of another machine would be passed over, and the answer not the one that was wanted.
 */
static void check_numbers(struct argp_state *state, const struct translate_options *options)
{
    static const enum owner owners[N_NUMBERS] = {
        [NUMBER_CR0] = OF_X86,         [NUMBER_CR3] = OF_X86,
        [NUMBER_CR4] = OF_X86,         [NUMBER_EFER] = OF_X86,
        [NUMBER_PAT] = OF_X86,         [NUMBER_PKRU] = OF_X86,
        [NUMBER_SATP] = OF_RISCV,      [NUMBER_SSTATUS] = OF_RISCV,
        [NUMBER_TCR] = OF_ARM64,       [NUMBER_TTBR0] = OF_ARM64,
        [NUMBER_TTBR1] = OF_ARM64,     [NUMBER_MAIR] = OF_ARM64,
        [NUMBER_SDR1] = OF_PPC,        [NUMBER_ROOT] = OF_MODE,
        [NUMBER_BASE] = OF_BASE_LIMIT, [NUMBER_LIMIT] = OF_BASE_LIMIT,
        [NUMBER_PROCESS] = OF_INVERTED};
    static const char *const selectors[] = {
        "",           "--arch x86",  "--arch riscv",      "--arch arm64",
        "--arch ppc", "--mode NAME", "--mode base-limit", "--mode inverted"};

    for (unsigned i = 0; i < N_NUMBERS; i++) {
        const struct argp_option *option = option_list;
        if (!options->given[i] || is_of_machine(owners[i], options))
            continue;
        while (option->key != KEY_NUMBER + (int)i)
            option++;
        argp_error(state, "--%s goes with %s", option->name, selectors[owners[i]]);
    }
    const uint64_t phys_bits = options->numbers[NUMBER_PHYS_BITS];
    if (options->given[NUMBER_PHYS_BITS] && (phys_bits < 20 || phys_bits > 56))
        argp_error(state, "--phys-bits %llu: machines have 20 to 56",
                   (unsigned long long)phys_bits);
}

/* What is missing, or does not go together. */
static void check(struct argp_state *state, const struct translate_options *options)
{
    const struct translation *translation = &options->translation;
    bool has_addresses = options->n_addresses > 0 || options->from_standard_input;
    bool wants_addresses = options->action == ACTION_TRANSLATE || options->action == ACTION_REVERSE;

    if (options->images.n == 0 && options->mode != QUIRE_MMU_BASE_LIMIT &&
        options->mode != QUIRE_MMU_BARE)
        argp_error(state, "which memory? --image FILE[@PHYS] names it");
    if (options->arch != ARCH_NONE && options->mode >= 0)
        argp_error(state, "--arch and --mode: leave out one of both");
    if (wants_addresses && !has_addresses)
        argp_error(state, "which addresses? give them as arguments, or - to read them");
    if (!wants_addresses && has_addresses)
        argp_error(state, "--map, --read and --find-roots take no addresses as arguments");
    if (options->from_standard_input && options->n_addresses > 0)
        argp_error(state, "addresses as arguments and -: leave out one of both");
    if (options->from_standard_input && options->action == ACTION_REVERSE)
        argp_error(state, "--reverse takes addresses as arguments, not from standard input");
    if (options->action == ACTION_ROOTS &&
        (options->arch == ARCH_PPC || options->mode > QUIRE_MMU_ARM64 ||
         (options->mode >= 0 && options->mode < QUIRE_MMU_X86_32)))
        argp_error(state, "--find-roots looks for trees of tables: those of x86, riscv and arm64");
    if (options->has_range && options->action != ACTION_MAP && options->action != ACTION_REVERSE)
        argp_error(state, "--range is for --map and --reverse: give one of them, too");
    if (translation->svg_path != NULL && options->action != ACTION_MAP)
        argp_error(state, "--svg draws what --map lists: give that, too");
    if (translation->out_path != NULL && options->action != ACTION_READ)
        argp_error(state, "--output is for what --read reads: give that, too");
    if (translation->is_user && !translation->has_access)
        argp_error(state, "--user: which access? add --access r, w or x");
    if (translation->tlb_text != NULL && options->action != ACTION_TRANSLATE)
        argp_error(state, "--tlb has no meaning with --map, --reverse, --read and --find-roots");
}

/* What the memory and the machine are. */
static error_t parse_machine(int key, char *argument, struct argp_state *state)
{
    static const char *const formats[] = {"auto", "raw", "elf", "lime", "kdump"};
    static const char *const archs[] = {"", "x86", "riscv", "arm64", "ppc"};
    struct translate_options *options = state->input;
    int which;

    if (key >= KEY_NUMBER && key < KEY_NUMBER + N_NUMBERS) {
        options->numbers[key - KEY_NUMBER] = parse_number(state, "a register or number:", argument);
        options->given[key - KEY_NUMBER] = true;
        return 0;
    }
    switch (key) {
    case 'i':
        images_name(state, &options->images, argument);
        return 0;
    case KEY_FORMAT:
        if ((which = choose(argument, formats, 5)) < 0)
            argp_error(state, "--format %s: it is raw, elf, lime, kdump or auto", argument);
        options->format = (enum quire_image_format)which;
        return 0;
    case KEY_ARCH:
        if ((which = choose(argument, archs, 5)) <= 0)
            argp_error(state, "--arch %s: it is x86, riscv, arm64 or ppc", argument);
        options->arch = (enum translate_arch)which;
        return 0;
    case KEY_MODE:
        parse_mode(state, options, argument);
        return 0;
    case KEY_SEGMENTS:
        parse_segments(state, options, argument);
        return 0;
    case KEY_EXTENSIONS:
        parse_extensions(state, options, argument);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* What to do, in place of translating. */
static error_t parse_action(int key, char *argument, struct argp_state *state)
{
    struct translate_options *options = state->input;
    struct translation *translation = &options->translation;

    switch (key) {
    case KEY_MAP:
        set_action(state, options, ACTION_MAP);
        return 0;
    case KEY_RANGE:
        split(state, "--range", argument, '-', &translation->limits.range.first,
              &translation->limits.range.last);
        if (translation->limits.range.first > translation->limits.range.last)
            argp_error(state, "--range: its end is below its start");
        options->has_range = true;
        return 0;
    case KEY_SVG:
        translation->svg_path = argument;
        return 0;
    case KEY_REVERSE:
        set_action(state, options, ACTION_REVERSE);
        return 0;
    case KEY_READ:
        set_action(state, options, ACTION_READ);
        split(state, "--read", argument, ':', &options->read_va, &options->read_bytes);
        if (options->read_bytes > 0 && options->read_bytes - 1 > UINT64_MAX - options->read_va)
            argp_error(state, "--read: its end is beyond the last address of 64 bits");
        return 0;
    case 'o':
        translation->out_path = argument;
        return 0;
    case KEY_ROOTS:
        set_action(state, options, ACTION_ROOTS);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    static const char *const accesses[] = {"r", "w", "x"};
    struct translate_options *options = state->input;
    struct translation *translation = &options->translation;
    int which;

    switch (key) {
    case KEY_ACCESS:
        if ((which = choose(argument, accesses, 3)) < 0)
            argp_error(state, "--access %s: it is r, w or x", argument);
        translation->has_access = true;
        translation->access = (enum quire_mmu_access)which;
        return 0;
    case KEY_USER:
        translation->is_user = true;
        return 0;
    case KEY_TLB:
        translation->tlb_text = argument;
        return 0;
    case 'e':
        translation->explains = true;
        return 0;
    case 'j':
        translation->as_json = true;
        return 0;
    case ARGP_KEY_ARG:
        parse_address(state, options, argument);
        return 0;
    case ARGP_KEY_END:
        check(state, options);
        check_numbers(state, options);
        return 0;
    default:
        return parse_action(key, argument, state) == 0 ? 0 : parse_machine(key, argument, state);
    }
}

void translate_options_parse(int argc, char **argv, struct translate_options *options)
{
    static const struct argp parser = {.options = option_list,
                                       .parser = parse_option,
                                       .args_doc = "[VA...|-]",
                                       .doc = documentation};

    options->mode = -1;
    options->extensions = QUIRE_MMU_SVNAPOT | QUIRE_MMU_SVPBMT | QUIRE_MMU_SVADU;
    options->translation.limits.range.last = UINT64_MAX;
    command_line_parse(&parser, argc, argv, 0, options);
}
