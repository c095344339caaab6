/* SPDX-License-Identifier: Apache-2.0 */
/* tlb_options: the command line of `quire tlb`; and how its numbers are written. */
#include "base/size.h"
#include "cli/cli.h"
#include "cli/command_line.h"
#include "cli/number.h"
#include "cli/tlb.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { BITS, SIZE, COUNT, RATIO, TIME, FACTOR };
enum {
    KEY_AMOUNT = 256,
    KEY_SPLIT = KEY_AMOUNT + TLB_N_AMOUNTS,
    KEY_ADDRESS,
    KEY_ARRAYS,
    KEY_TABLES,
    KEY_NO_TAGS,
    KEY_LIST
};

static const struct {
    const char *option;
    enum kind kind;
} amounts[TLB_N_AMOUNTS] = {
    [TLB_VA_BITS] = {"--va-bits", BITS},
    [TLB_PTE] = {"--pte", SIZE},
    [TLB_LEVELS] = {"--levels", COUNT},
    [TLB_HIT] = {"--hit", RATIO},
    [TLB_HIT2] = {"--hit2", RATIO},
    [TLB_TIME] = {"--tlb", TIME},
    [TLB_TIME2] = {"--tlb2", TIME},
    [TLB_MEMORY] = {"--mem", TIME},
    [TLB_WALK] = {"--walk", TIME},
    [TLB_WALK_SAVED] = {"--walk-saved", RATIO},
    [TLB_CACHE_HIT] = {"--cache-hit", RATIO},
    [TLB_CACHE] = {"--cache", TIME},
    [TLB_FAULT_RATE] = {"--fault-rate", RATIO},
    [TLB_FAULT] = {"--fault", TIME},
    [TLB_DIRTY] = {"--dirty", RATIO},
    [TLB_WRITE_BACK] = {"--write-back", TIME},
    [TLB_EAT] = {"--eat", TIME},
    [TLB_SLOWDOWN] = {"--slowdown", FACTOR},
    [TLB_RAM] = {"--ram", SIZE},
    [TLB_USED] = {"--used", SIZE},
    [TLB_PAGES] = {"--pages", COUNT},
    [TLB_FRAMES] = {"--frames", COUNT},
    [TLB_ENTRIES] = {"--entries", COUNT},
    [TLB_BUCKETS] = {"--buckets", COUNT},
    [TLB_PROCESSES] = {"--processes", COUNT},
    [TLB_SWITCH] = {"--switch", COUNT},
};

#define AMOUNT(which) (KEY_AMOUNT + (which))

static const struct argp_option option_list[] = {
    {"ask", 'a', "QUESTION", 0, "Answer a question, with the derivation; the questions are below",
     1},
    {"json", 'j', NULL, 0, "Print JSON", 1},
    {"list-cpus", KEY_LIST, NULL, 0, "List the processors that --cpu knows, and where that is from",
     1},
    {NULL, 0, NULL, 0, "The hardware:", 2},
    {"cpu", 'c', "LIST", 0, "Processors by name (default: skylake)", 0},
    {"arrays", KEY_ARRAYS, "LIST", 0,
     "A TLB of your own: l1:ENTRIESxWAYS[:SIZE+SIZE], l2:..., walk:ENTRIES, lru, fifo, random", 0},
    {"tables", KEY_TABLES, "NAME", 0,
     "Page tables: x86-32, x86-pae, x86-48, x86-57, sv32, sv39, sv48, sv57, arm64, ppc32 (hashed), "
     "inverted (default: the processor's)",
     0},
    {"page", 'p', "LIST", 0, "Page sizes (default: 4K)", 0},
    {"no-tags", KEY_NO_TAGS, NULL, 0, "No address-space tags: a switch empties the TLB", 0},
    {"switch", AMOUNT(TLB_SWITCH), "N", 0,
     "Another process runs each N references, and the TLB is emptied for it", 0},
    {NULL, 0, NULL, 0, "Times (10ns, 2us, 8ms, 1s), ratios (0.98, 98%):", 3},
    {"tlb", AMOUNT(TLB_TIME), "TIME", 0, "Look-up in the TLB (its first level)", 0},
    {"tlb2", AMOUNT(TLB_TIME2), "TIME", 0, "Look-up in its second level", 0},
    {"mem", AMOUNT(TLB_MEMORY), "TIME", 0, "Access to memory", 0},
    {"walk", AMOUNT(TLB_WALK), "TIME", 0, "Reading a page-table entry (default: as --mem)", 0},
    {"walk-saved", AMOUNT(TLB_WALK_SAVED), "RATIO", 0,
     "Entries above the last level that the page-walk cache spares", 0},
    {"hit", AMOUNT(TLB_HIT), "RATIO", 0, "Hits of the TLB", 0},
    {"hit2", AMOUNT(TLB_HIT2), "RATIO", 0, "Hits of its second level, of what missed the first", 0},
    {"cache", AMOUNT(TLB_CACHE), "TIME", 0, "Access to the data cache", 0},
    {"cache-hit", AMOUNT(TLB_CACHE_HIT), "RATIO", 0, "Its hits", 0},
    {"fault", AMOUNT(TLB_FAULT), "TIME", 0, "Serving a page fault", 0},
    {"fault-rate", AMOUNT(TLB_FAULT_RATE), "RATIO", 0, "Page faults an access", 0},
    {"dirty", AMOUNT(TLB_DIRTY), "RATIO", 0, "Victims that were modified", 0},
    {"write-back", AMOUNT(TLB_WRITE_BACK), "TIME", 0, "Added to the fault of such a one", 0},
    {"eat", AMOUNT(TLB_EAT), "TIME", 0, "The effective access time that is wanted", 0},
    {"slowdown", AMOUNT(TLB_SLOWDOWN), "FACTOR", 0, "The slowdown that is allowed: 1.1, 10%", 0},
    {NULL, 0, NULL, 0, "Sizes and numbers:", 4},
    {"va-bits", AMOUNT(TLB_VA_BITS), "N", 0, "Bits of a virtual address", 0},
    {"pte", AMOUNT(TLB_PTE), "SIZE", 0, "Size of a page-table entry", 0},
    {"levels", AMOUNT(TLB_LEVELS), "N", 0, "Levels of page tables", 0},
    {"split", KEY_SPLIT, "LIST", 0, "Bits of each part of an address, the offset last: 10,10,12",
     0},
    {"address", KEY_ADDRESS, "ADDRESS", 0, "A virtual address, decimal or 0x", 0},
    {"ram", AMOUNT(TLB_RAM), "SIZE", 0, "Physical memory", 0},
    {"used", AMOUNT(TLB_USED), "SIZE", 0, "What a process uses of its address space", 0},
    {"pages", AMOUNT(TLB_PAGES), "N", 0, "Pages of a logical address space", 0},
    {"frames", AMOUNT(TLB_FRAMES), "N", 0, "Frames of physical memory", 0},
    {"entries", AMOUNT(TLB_ENTRIES), "N", 0, "Entries of a TLB", 0},
    {"buckets", AMOUNT(TLB_BUCKETS), "N", 0, "Buckets of a hashed table", 0},
    {"processes", AMOUNT(TLB_PROCESSES), "N", 0, "How many processes", 0},
    {0},
};

const char *tlb_amount_option(enum tlb_amount amount)
{
    return amounts[amount].option;
}

/* Numbers from text */

/* A number without sign, and what stands behind it. */
static bool parse_number(const char *text, double *value, const char **unit)
{
    char *end;

    errno = 0;
    *value = strtod(text, &end);
    *unit = end;
    return (*text == '.' || (*text >= '0' && *text <= '9')) && errno == 0 && isfinite(*value) &&
           text[1] != 'x' && text[1] != 'X';
}

static bool parse_time(const char *text, double *ns)
{
    static const struct {
        const char *unit;
        double ns;
    } units[] = {{"ns", 1}, {"", 1}, {"us", 1e3}, {"µs", 1e3}, {"ms", 1e6}, {"s", 1e9}};
    const char *unit;

    if (!parse_number(text, ns, &unit))
        return false;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(unit, units[i].unit) == 0) {
            *ns *= units[i].ns;
            return true;
        }
    }
    return false;
}

static bool parse_ratio(const char *text, double *ratio)
{
    const char *unit;

    if (!parse_number(text, ratio, &unit) || (strcmp(unit, "") != 0 && strcmp(unit, "%") != 0))
        return false;
    *ratio /= *unit == '%' ? 100 : 1;
    return *ratio <= 1;
}

/* "1.1" or "10%": as many times the time. */
static bool parse_factor(const char *text, double *factor)
{
    const char *unit;

    if (!parse_number(text, factor, &unit) || (strcmp(unit, "") != 0 && strcmp(unit, "%") != 0))
        return false;
    if (*unit == '%')
        *factor = 1 + *factor / 100;
    return *factor >= 1;
}

static bool parse_size(const char *text, double *bytes)
{
    uint64_t size = 0;

    if (size_parse(text, 0, &size) != 0 || size == 0)
        return false;
    *bytes = (double)size;
    return true;
}

static bool parse_count(const char *text, double max, double *count)
{
    const char *unit;

    return parse_number(text, count, &unit) && *unit == '\0' && *count >= 1 && *count <= max &&
           *count == floor(*count);
}

static void parse_amount(struct argp_state *state, struct tlb_options *options,
                         enum tlb_amount which, const char *text)
{
    static const char *const wanted[] = {
        [BITS] = "a number of bits from 1 to 64",
        [SIZE] = "a size such as 8, 4K or 512M",
        [COUNT] = "a whole number, 1 or more",
        [RATIO] = "a ratio from 0 to 1, such as 0.98 or 98%",
        [TIME] = "a time such as 10ns, 2us, 8ms or 1s",
        [FACTOR] = "a factor of 1 or more, such as 1.1, or a percentage on top",
    };
    enum kind kind = amounts[which].kind;
    double *value = &options->amount[which];
    bool good = kind == BITS     ? parse_count(text, 64, value)
                : kind == SIZE   ? parse_size(text, value)
                : kind == COUNT  ? parse_count(text, 1e15, value)
                : kind == RATIO  ? parse_ratio(text, value)
                : kind == FACTOR ? parse_factor(text, value)
                                 : parse_time(text, value);

    if (!good)
        argp_error(state, "%s %s: give %s", amounts[which].option, text, wanted[kind]);
}

/* Lists */

static void parse_list(struct argp_state *state, const char *option, char *list,
                       void (*take)(struct argp_state *state, char *one))
{
    char *rest, *copy = strdup(list);

    if (copy == NULL)
        argp_failure(state, CLI_EXIT_FAILED, ENOMEM, "%s", option);
    if (*copy == '\0')
        argp_error(state, "%s: the list is empty", option);
    for (char *one = strtok_r(copy, ",", &rest); one != NULL; one = strtok_r(NULL, ",", &rest))
        take(state, one);
    free(copy);
}

static void check_room(struct argp_state *state, const char *option, unsigned n)
{
    if (n == TLB_MAX_LIST)
        argp_error(state, "%s: more than %d", option, TLB_MAX_LIST);
}

static void take_page(struct argp_state *state, char *one)
{
    struct tlb_options *options = state->input;
    uint64_t size = 0;

    check_room(state, "--page", options->n_pages);
    if (size_parse(one, 0, &size) != 0 || size == 0 || (size & (size - 1)) != 0)
        argp_error(state, "--page %s: a page's size is a power of two, such as 4K or 2M", one);
    options->pages[options->n_pages++] = (double)size;
}

static void take_cpu(struct argp_state *state, char *one)
{
    struct tlb_options *options = state->input;

    check_room(state, "--cpu", options->n_cpus);
    options->cpus[options->n_cpus] = strdup(one);
    if (options->cpus[options->n_cpus++] == NULL)
        argp_failure(state, CLI_EXIT_FAILED, ENOMEM, "--cpu");
}

static void take_split(struct argp_state *state, char *one)
{
    struct tlb_options *options = state->input;
    double bits;
    unsigned sum = 0;

    check_room(state, "--split", options->n_split);
    if (!parse_count(one, 64, &bits))
        argp_error(state, "--split: '%s' is no number of bits from 1 to 64", one);
    options->split[options->n_split++] = (unsigned)bits;
    for (unsigned i = 0; i < options->n_split; i++)
        sum += options->split[i];
    if (sum > 64)
        argp_error(state, "--split: more than 64 bits in all");
}

static void parse_address(struct argp_state *state, struct tlb_options *options, const char *text)
{
    if (!number_parse(text, &options->address))
        argp_error(state, "--address %s: give it in decimal, or in hexadecimal with 0x", text);
    options->has_address = true;
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct tlb_options *options = state->input;

    if (key >= KEY_AMOUNT && key < KEY_AMOUNT + TLB_N_AMOUNTS) {
        parse_amount(state, options, (enum tlb_amount)(key - KEY_AMOUNT), argument);
        return 0;
    }
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &options->trace;
        return 0;
    case 'a':
        options->question = argument;
        return 0;
    case 'j':
        options->as_json = true;
        return 0;
    case 'c':
        parse_list(state, "--cpu", argument, take_cpu);
        return 0;
    case 'p':
        parse_list(state, "--page", argument, take_page);
        return 0;
    case KEY_SPLIT:
        parse_list(state, "--split", argument, take_split);
        return 0;
    case KEY_ADDRESS:
        parse_address(state, options, argument);
        return 0;
    case KEY_ARRAYS:
        options->arrays = argument;
        return 0;
    case KEY_TABLES:
        options->tables = argument;
        return 0;
    case KEY_NO_TAGS:
        options->has_no_tags = true;
        return 0;
    case KEY_LIST:
        options->lists_cpus = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "'%s': a trace is given by --trace FILE, a question by --ask", argument);
        return 0;
    case ARGP_KEY_END:
        if (!options->lists_cpus && (options->question == NULL) == (options->trace.path == NULL))
            argp_error(state, "give a question by --ask, or a trace by --trace FILE");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const char documentation[] =
    "Model the hardware that translates addresses: TLBs, page-walk caches and page tables. Answer "
    "the textbooks' questions about them with the derivation, or send a trace through the model of "
    "a real processor, and tell hit rates and the effective access time."
    "\v";

static const char ending[] = "\n"
                             "Examples:\n"
                             "  quire tlb --ask levels --va-bits 48 --page 4K --pte 8\n"
                             "  quire tlb --ask eat --hit 0.98 --tlb 10ns --mem 100ns --levels 1\n"
                             "  quire tlb --trace run.qtr --cpu skylake,zen4 --page 4K,2M\n"
                             "\n"
                             "Exit status:\n"
                             "  0    it was answered, or the trace was replayed\n"
                             "  125  the command line or the trace can't be understood; no answer";

void tlb_options_parse(int argc, char **argv, struct tlb_options *options)
{
    static char text[4096];
    char questions[2048];
    const struct argp_child children[] = {{&trace_input_argp, 0, NULL, 1}, {0}};
    const struct argp parser = {
        .options = option_list, .parser = parse_option, .doc = text, .children = children};

    *options = (struct tlb_options){.trace = {.is_optional = true}};
    for (int i = 0; i < TLB_N_AMOUNTS; i++)
        options->amount[i] = NAN;
    tlb_ask_help(questions, sizeof questions);
    snprintf(text, sizeof text, "%s%s%s", documentation, questions, ending);
    command_line_parse(&parser, argc, argv, 0, options);
}

/* Numbers to text */

const char *tlb_bytes(double bytes, struct tlb_text *text)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB"};
    unsigned unit = 0;

    for (; bytes >= 1024 && unit < 7; unit++)
        bytes /= 1024;
    snprintf(text->buffer, sizeof text->buffer, "%.5g %s", bytes, units[unit]);
    return text->buffer;
}

const char *tlb_nanoseconds(double ns, struct tlb_text *text)
{
    const char *unit = ns < 1e4 ? "ns" : ns < 1e6 ? "µs" : ns < 1e9 ? "ms" : "s";
    double divisor = ns < 1e4 ? 1 : ns < 1e6 ? 1e3 : ns < 1e9 ? 1e6 : 1e9;

    snprintf(text->buffer, sizeof text->buffer, "%.7g %s", ns / divisor, unit);
    return text->buffer;
}

const char *tlb_count(double count, struct tlb_text *text)
{
    int exponent;

    if (count > 1 && frexp(count, &exponent) == 0.5) {
        if (count < 1e7)
            snprintf(text->buffer, sizeof text->buffer, "%.0f (2^%d)", count, exponent - 1);
        else
            snprintf(text->buffer, sizeof text->buffer, "2^%d", exponent - 1);
    } else {
        snprintf(text->buffer, sizeof text->buffer, "%.10g", count);
    }
    return text->buffer;
}

const char *tlb_ratio_text(double ratio, struct tlb_text *text)
{
    snprintf(text->buffer, sizeof text->buffer, "%.6g %%", 100 * ratio);
    return text->buffer;
}
