/* SPDX-License-Identifier: Apache-2.0 */
/*
 * options: argp reads the words, then the sizes are settled against the machine.
 *
 * Reading stops at the first word that is no option: that is COMMAND, and all that follows is its
 * own. Settling comes second because a percentage needs the machine's memory, and the default of
 * --swap-max the directory's room.
 */
#include "cli/options.h"

#include "base/control.h"
#include "base/size.h"
#include "cli/cli.h"
#include "cli/command_line.h"
#include "observe/directory.h"
#include "observe/machine.h"
#include "policy/policy.h"
#include "policy/prefetch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_SWAP_DIRECTORY "/var/tmp"
#define DEFAULT_CODEC "auto"
#define LEAST_STALL_PPM 1000
#define MOST_STALL_PPM 500000
#define DEFAULT_SWAP_MAX_BYTES ((uint64_t)64 << 30)
#define MIN_SWAP_BYTES ((uint64_t)16 << 20) /* less than this is a full disk, not a swap file */

#define POLICIES "adaptive, fifo, clock, gclock, 2q, s3-fifo, sieve, working-set"
#define PREFETCHES "adaptive, none, cluster, stride"

enum {
    KEY_RAM = 256,
    KEY_MAX_STALL,
    KEY_SWAP,
    KEY_SWAP_MAX,
    KEY_CODEC,
    KEY_POLICY,
    KEY_PREFETCH,
    KEY_STATS,
    KEY_NO_PUBLISH,
    KEY_NO_PAGING,
    KEY_HARDEN
};

static const struct argp_option option_list[] = {
    {"ram", KEY_RAM, "SIZE|PERCENT|auto[:MOST]", 0,
     "Hold at most this much RAM for the program and all its children, everything counted. A "
     "percentage is of the machine's memory, or of the cgroup's limit where that is smaller "
     "(default: " OPTIONS_DEFAULT_RAM
     "). auto: the least that the program's progress tolerates, at "
     "any time, up to MOST (a size or a percentage; without it the default)",
     0},
    {"max-stall", KEY_MAX_STALL, "PERCENT", 0,
     "With --ram auto: how much of its time the program may wait for pages "
     "(default: " OPTIONS_DEFAULT_MAX_STALL ")",
     0},
    {"swap", KEY_SWAP, "DIR|none", 0,
     "Put the swap file in this directory; it has no name there and is gone with the run (default: "
     "$QUIRE_SWAP_DIR, else " DEFAULT_SWAP_DIRECTORY ")",
     0},
    {"swap-max", KEY_SWAP_MAX, "SIZE", 0,
     "Let the swap file grow to this size (default: 64G, or 90% of the room in DIR if that is "
     "less)",
     0},
    {"codec", KEY_CODEC, "auto|lz4|zstd|none", 0,
     "Compress evicted pages by this: fast, small, not at all, or whichever of the first two pays "
     "for these pages (default: " DEFAULT_CODEC ")",
     0},
    {"policy", KEY_POLICY, "RULE", 0,
     "What to evict: " POLICIES
     ". adaptive tries two of the others on a part of the pages each and "
     "takes the one that misses less (default: adaptive)",
     0},
    {"prefetch", KEY_PREFETCH, "RULE", 0,
     "What to bring in along with a page that was missed: " PREFETCHES ". cluster: its neighbours; "
     "stride: the next at the same distance; adaptive: what pays (default: adaptive)",
     0},
    {"stats", KEY_STATS, "FILE", 0, "Write the summary's figures to FILE as JSON", 0},
    {"no-publish", KEY_NO_PUBLISH, NULL, 0,
     "Do not publish the run's figures while it goes on: `quire top', `ps' and `zones' don't show "
     "it as a run then",
     0},
    {"no-paging", KEY_NO_PAGING, NULL, 0,
     "Give COMMAND Quire's heap and nothing else: no budget, no swap file, no summary. Needs no "
     "userfaultfd",
     0},
    {"harden", KEY_HARDEN, NULL, 0,
     "Put guards behind the heap's objects, hold freed ones back, and end COMMAND by SIGABRT with "
     "a message when it frees wrongly or writes beyond",
     0},
    {"quiet", 'q', NULL, 0, "Print no summary; errors are still printed", 0},
    {0},
};

static const char documentation[] =
    "Run COMMAND, unmodified, within a bound of RAM. What does not fit is compressed in memory, "
    "then written to a swap file, and comes back when it is touched."
    "\v"
    "Sizes take K, M, G and T, powers of 1024.\n"
    "\n"
    "Examples:\n"
    "  quire run --ram 512M -- python3 job.py\n"
    "  quire run --ram 25% --swap /mnt/fast make -j8\n"
    "  quire run --ram auto --max-stall 1% ./server\n"
    "  quire run --ram 2G --swap none --codec zstd --stats run.json ./solver input\n"
    "  quire run --no-paging --harden -- ./server\n"
    "\n"
    "Exit status: that of COMMAND, or\n"
    "  125    Quire itself failed, or refused to start\n"
    "  126    COMMAND can't be executed\n"
    "  127    COMMAND was not found\n"
    "  128+N  COMMAND was ended by signal N\n"
    "\n"
    "Environment:\n"
    "  QUIRE_SWAP_DIR  where the swap file goes without --swap\n"
    "\n"
    "`quire doctor' tells whether this machine lets it work.";

static int parse_codec(const char *name, struct run_options *options)
{
    static const struct {
        const char *name;
        enum store_codec codec;
        bool adapts;
    } codecs[] = {{DEFAULT_CODEC, STORE_CODEC_ZSTD, true},
                  {"lz4", STORE_CODEC_LZ4, false},
                  {"zstd", STORE_CODEC_ZSTD, false},
                  {"none", STORE_CODEC_NONE, false}};

    for (unsigned i = 0; i < sizeof codecs / sizeof codecs[0]; i++) {
        if (strcmp(name, codecs[i].name) == 0) {
            options->codec = codecs[i].codec;
            options->codec_adapts = codecs[i].adapts;
            return 0;
        }
    }
    return -EINVAL;
}

static error_t parse_kind(int kind, uint32_t *into, const char *option, char *name,
                          const char *names, const char **text, struct argp_state *state)
{
    if (kind < 0)
        argp_error(state, "--%s %s: it is one of %s", option, name, names);
    *into = (uint32_t)kind;
    *text = name;
    return 0;
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct run_options *options = state->input;

    switch (key) {
    case KEY_RAM:
        options->ram_text = argument;
        return 0;
    case KEY_MAX_STALL:
        options->max_stall_text = argument;
        return 0;
    case KEY_SWAP:
        options->swap_text = argument;
        return 0;
    case KEY_SWAP_MAX:
        options->swap_max_text = argument;
        return 0;
    case KEY_CODEC:
        if (parse_codec(argument, options) != 0)
            argp_error(state, "--codec %s: it is auto, lz4, zstd or none", argument);
        options->codec_text = argument;
        return 0;
    case KEY_POLICY:
        return parse_kind(policy_find(argument), &options->policy, "policy", argument, POLICIES,
                          &options->policy_text, state);
    case KEY_PREFETCH:
        return parse_kind(prefetch_find(argument), &options->prefetch, "prefetch", argument,
                          PREFETCHES, &options->prefetch_text, state);
    case KEY_STATS:
        options->stats_path = argument;
        return 0;
    case KEY_NO_PUBLISH:
        options->no_publish = true;
        return 0;
    case KEY_NO_PAGING:
        options->no_paging = true;
        return 0;
    case KEY_HARDEN:
        options->harden = true;
        return 0;
    case 'q':
        options->quiet = true;
        return 0;
    case ARGP_KEY_ARG: /* the rest is the command's */
        options->command = state->argv + state->next - 1;
        state->next = state->argc;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "there is no COMMAND to run");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

void run_options_parse(int argc, char **argv, struct run_options *options)
{
    static const struct argp parser = {
        .options = option_list,
        .parser = parse_option,
        .args_doc = "[--] COMMAND [ARG...]",
        .doc = documentation,
    };

    *options = (struct run_options){0};
    parse_codec(DEFAULT_CODEC, options);
    command_line_parse(&parser, argc, argv, ARGP_IN_ORDER, options);
}

static bool parse_size(const char *option, const char *text, uint64_t whole_bytes, uint64_t *bytes)
{
    int error = size_parse(text, whole_bytes, bytes);

    if (error == -ERANGE)
        cli_error("%s %s: that is %s", option, text,
                  strchr(text, '%') != NULL ? "over 100 %" : "more than any machine has");
    else if (error < 0)
        cli_error("%s %s: that is no size\nwrite it as 512M, 1.5G%s", option, text,
                  whole_bytes != 0 ? " or 25%" : "");
    return error == 0;
}

/* "2%", "0.5%" or "2". */
static bool settle_max_stall(struct run_options *options)
{
    const char *text = options->max_stall_text != NULL ? options->max_stall_text
                                                       : OPTIONS_DEFAULT_MAX_STALL;
    char *end;
    double percent = strtod(text, &end);

    if (*end == '%')
        end++;
    if (*text < '0' || *text > '9' || *end != '\0') {
        cli_error("--max-stall %s: that is no percentage\nwrite it as 2%% or 0.5%%", text);
        return false;
    }
    if (percent < LEAST_STALL_PPM / 1e4 || percent > MOST_STALL_PPM / 1e4) {
        cli_error("--max-stall %s: it takes %g%% to %g%%", text, LEAST_STALL_PPM / 1e4,
                  MOST_STALL_PPM / 1e4);
        return false;
    }
    options->max_stall_ppm = (uint32_t)(percent * 1e4);
    return true;
}

/* Takes "auto" off; what it may grow to is left, or the default. Only that can have a stall. */
static bool settle_auto(struct run_options *options, const char **text)
{
    if (strncmp(*text, "auto", 4) == 0 && ((*text)[4] == '\0' || (*text)[4] == ':')) {
        *text = (*text)[4] == ':' ? *text + 5 : OPTIONS_DEFAULT_RAM;
        return settle_max_stall(options);
    }
    if (options->max_stall_text != NULL)
        cli_error("--max-stall %s has no meaning without --ram auto\nadd that, or leave it out",
                  options->max_stall_text);
    return options->max_stall_text == NULL;
}

static bool settle_budget(struct run_options *options)
{
    const char *text = options->ram_text != NULL ? options->ram_text : OPTIONS_DEFAULT_RAM;
    if (!settle_auto(options, &text))
        return false;
    uint64_t whole_bytes = machine_whole_bytes("");
    char budget[32], least[32];

    if (whole_bytes == 0 && strchr(text, '%') != NULL) {
        cli_error("cannot tell how much memory the machine has: /proc/meminfo can't be read\n"
                  "give --ram as a size, such as --ram 512M");
        return false;
    }
    if (!parse_size("--ram", text, whole_bytes, &options->budget_bytes))
        return false;
    if (options->budget_bytes >= CONTROL_MIN_BUDGET_BYTES)
        return true;
    cli_error("--ram %s: a budget of %s is too small to start a program in\n"
              "it takes at least %s",
              text, size_format(options->budget_bytes, budget, sizeof budget),
              size_format(CONTROL_MIN_BUDGET_BYTES, least, sizeof least));
    return false;
}

const char *run_options_default_swap(void)
{
    const char *directory = getenv("QUIRE_SWAP_DIR");

    return directory != NULL && directory[0] != '\0' ? directory : DEFAULT_SWAP_DIRECTORY;
}

#define OTHER_PLACE \
    "name another directory by --swap DIR or QUIRE_SWAP_DIR, or do without: --swap none"

/* Settles the file's size against the room that the directory has. */
static bool settle_swap_max(struct run_options *options, uint64_t free_bytes)
{
    const char *directory = options->swap_directory;
    char free_text[32], least[32];
    uint64_t max_bytes = free_bytes / 10 * 9;

    size_format(free_bytes, free_text, sizeof free_text);
    if (max_bytes > DEFAULT_SWAP_MAX_BYTES)
        max_bytes = DEFAULT_SWAP_MAX_BYTES;
    if (options->swap_max_text != NULL) {
        if (!parse_size("--swap-max", options->swap_max_text, 0, &max_bytes))
            return false;
        if (max_bytes > free_bytes) {
            cli_error("--swap-max %s: %s has room for %s only\nask for less, or " OTHER_PLACE,
                      options->swap_max_text, directory, free_text);
            return false;
        }
    }
    options->swap_max_bytes = max_bytes;
    if (max_bytes >= MIN_SWAP_BYTES)
        return true;
    size_format(MIN_SWAP_BYTES, least, sizeof least);
    if (options->swap_max_text != NULL)
        cli_error("--swap-max %s: a swap file takes at least %s\nask for more, or do without: "
                  "--swap none",
                  options->swap_max_text, least);
    else
        cli_error("cannot put the swap file in %s: there is room for %s only\n" OTHER_PLACE,
                  directory, free_text);
    return false;
}

static bool settle_swap(struct run_options *options)
{
    const char *directory = options->swap_text != NULL ? options->swap_text
                                                       : run_options_default_swap();
    struct directory_facts facts;

    if (strcmp(directory, "none") == 0) {
        if (options->swap_max_text != NULL)
            cli_error("--swap-max %s has no meaning without a swap file\nleave out one of "
                      "--swap none and --swap-max",
                      options->swap_max_text);
        return options->swap_max_text == NULL;
    }
    options->swap_directory = directory;
    int error = directory_inspect(directory, &facts);
    if (error < 0) {
        cli_error("cannot put the swap file in %s: %s\n" OTHER_PLACE, directory, strerror(-error));
        return false;
    }
    if (facts.in_memory) {
        cli_error("cannot put the swap file in %s: it is on a %s, which keeps files in RAM, so "
                  "nothing would be saved\n" OTHER_PLACE,
                  directory, facts.file_system);
        return false;
    }
    return settle_swap_max(options, facts.free_bytes);
}

/* What is about paging has no meaning without. */
static bool settle_no_paging(const struct run_options *options)
{
    const struct {
        const char *name, *text;
    } others[] = {{"--ram", options->ram_text},
                  {"--max-stall", options->max_stall_text},
                  {"--swap", options->swap_text},
                  {"--swap-max", options->swap_max_text},
                  {"--codec", options->codec_text},
                  {"--policy", options->policy_text},
                  {"--prefetch", options->prefetch_text},
                  {"--stats", options->stats_path},
                  {"--no-publish", options->no_publish ? "" : NULL}};

    for (unsigned i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (others[i].text == NULL)
            continue;
        cli_error("%s%s%s has no meaning with --no-paging\nleave out one of both", others[i].name,
                  others[i].text[0] != '\0' ? " " : "", others[i].text);
        return false;
    }
    return true;
}

bool run_options_settle(struct run_options *options)
{
    if (options->no_paging)
        return settle_no_paging(options);
    return settle_budget(options) && settle_swap(options);
}
