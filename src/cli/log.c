/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log: `quire log`. Records the system's memory, its zones and slab caches, all processes and the
 * runs of Quire, for the commands that have --replay. The file has a bound; the oldest goes first.
 *
 *   every --interval:  sample_take() ── recorder_append() ── FILE
 *
 * Exit status 0, also when a signal ends it; 1 when the machine can't be read; 125 for a bad
 * command line, or a file that can't be written.
 */
#include "cli/cli.h"
#include "cli/command_line.h"
#include "cli/figures.h"
#include "cli/when.h"
#include "observe/recorder.h"
#include "observe/recording.h"

#include "base/size.h"
#include "base/sys.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_MS 5000
#define LEAST_BYTES ((uint64_t)1 << 20)
#define MOST_BYTES ((uint64_t)1 << 40)
#define PARTS                                                                                \
    (QUIRE_OBSERVE_STAT | QUIRE_OBSERVE_STATUS | QUIRE_OBSERVE_OOM | QUIRE_OBSERVE_COMMAND | \
     QUIRE_OBSERVE_IO | QUIRE_OBSERVE_RUNS | SAMPLE_ZONES | SAMPLE_SLABS | SAMPLE_HEAPS |    \
     SAMPLE_SETTINGS)

enum { KEY_INTERVAL = 800, KEY_MAX_SIZE, KEY_PSS, KEY_INFO, KEY_ROOT };

struct log_options {
    const char *path, *info, *root;
    uint64_t interval_ms, max_bytes; /* 0: the default, or what the file has */
    unsigned long count;             /* 0: for ever */
    bool has_pss, as_json;
};

static int open_failed(const char *path, int error)
{
    static const struct {
        int error;
        const char *text;
    } reasons[] = {
        {-EBADMSG,
         "there is a file that `quire log' did not write\nname another one, or remove it"},
        {-EPROTO, "it is of another version of Quire\nname another file"},
        {-EXDEV, "another version of Quire wrote it, which records other figures\n"
                 "name another file; this one can still be shown"},
        {-EBUSY, "another `quire log' writes to it"},
        {-EINVAL,
         "it was made with another --max-size\nleave the option out, or name another file"},
        {-ESPIPE, "it is no regular file\na recording needs one, to write over its oldest part"},
    };

    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
        if (reasons[i].error == error) {
            cli_error("cannot record to %s: %s", path, reasons[i].text);
            return CLI_EXIT_FAILED;
        }
    cli_error("cannot record to %s: %s", path, strerror(-error));
    return CLI_EXIT_FAILED;
}

static int append_failed(const struct log_options *options, int error)
{
    if (error == -EFBIG)
        cli_error("cannot record to %s: one sample takes more than an eighth of it\n"
                  "give a larger --max-size, and another file",
                  options->path);
    else
        cli_error("cannot record to %s: %s\nwhat was recorded before is whole", options->path,
                  strerror(-error));
    return CLI_EXIT_FAILED;
}

static bool tell(const struct log_options *options, const struct recorder *recorder)
{
    uint64_t n = recorder_n_samples(recorder), n_bytes = recorder_n_bytes(recorder);

    if (options->as_json)
        return figures_print_json(json_pack("{s:s, s:s, s:I, s:I}", "schema", "quire.log/1", "file",
                                            options->path, "samples", (json_int_t)n,
                                            "written_bytes", (json_int_t)n_bytes),
                                  false);
    fprintf(stderr, "quire: %llu samples, %s written to %s\n", (unsigned long long)n,
            figure_size(n_bytes, FIGURE), options->path);
    return true;
}

/* Samples keep to the clock: what one takes does not add up. */
static int record(const struct log_options *options, struct quire_observe *observe,
                  struct recorder *recorder)
{
    unsigned parts = PARTS;
    if (options->has_pss)
        parts |= (unsigned)QUIRE_OBSERVE_SHARES | (unsigned)QUIRE_OBSERVE_KEEP_SHARES;
    uint64_t next_ms = sys_now_ns() / 1000000;
    struct sample sample;

    for (;;) {
        int error = sample_take(observe, parts, NULL, &sample);
        if (error < 0)
            return figures_failed(observe, error);
        error = recorder_append(recorder, &sample);
        if (error < 0)
            return append_failed(options, error);
        if (options->count > 0 && recorder_n_samples(recorder) >= options->count)
            break;
        uint64_t now_ms = sys_now_ns() / 1000000;
        next_ms += options->interval_ms;
        if (next_ms < now_ms) /* the machine stood still, or slept */
            next_ms = now_ms;
        if (!figures_sleep_ms(next_ms - now_ms))
            break;
    }
    return tell(options, recorder) ? EXIT_SUCCESS : CLI_EXIT_FAILED;
}

static int run(const struct log_options *options)
{
    const struct figure_options figures = {.root = options->root};
    struct recorder *recorder;
    struct quire_observe *observe = figures_open(&figures);

    if (observe == NULL)
        return EXIT_FAILURE;
    figures_catch_signals();
    int error = recorder_open(options->path, options->max_bytes, options->interval_ms, &recorder);
    int status = error < 0 ? open_failed(options->path, error) : record(options, observe, recorder);
    if (error == 0)
        recorder_close(recorder);
    quire_observe_close(observe);
    return status;
}

/* What is in a recording. */
static int show_info(const struct log_options *options)
{
    char message[RECORDING_MESSAGE_BYTES], first[40], last[40];
    struct feed *feed;
    int error = feed_open_recorded(options->info, &feed, message);
    bool good = true;

    if (error < 0) {
        cli_error("%s", message);
        return EXIT_FAILURE;
    }
    if (options->as_json) {
        good = figures_print_json(
            json_pack("{s:s, s:s, s:s, s:s, s:f, s:I}", "schema", "quire.log-info/1", "host",
                      feed->host, "first", when_utc(feed->first_ms, first, sizeof first), "last",
                      when_utc(feed->last_ms, last, sizeof last), "interval_seconds",
                      (double)feed->interval_ms / 1e3, "samples", (json_int_t)feed->n_samples),
            false);
    } else {
        printf("machine   %s\nfrom      %s\nto        %s\nsamples   %llu, every %g s\n", feed->host,
               when_text(feed->first_ms, first, sizeof first),
               when_text(feed->last_ms, last, sizeof last), (unsigned long long)feed->n_samples,
               (double)feed->interval_ms / 1e3);
    }
    feed_close(feed);
    return good ? EXIT_SUCCESS : CLI_EXIT_FAILED;
}

static const struct argp_option option_list[] = {
    {"output", 'o', "FILE", 0, "Record to FILE; goes on in a recording that is there", 0},
    {"interval", KEY_INTERVAL, "SECONDS", 0, "How often (default: 5)", 0},
    {"max-size", KEY_MAX_SIZE, "SIZE", 0,
     "How large FILE may become before its oldest part is written over (default: 64M)", 0},
    {"count", 'n', "COUNT", 0, "End after so many samples (default: never)", 0},
    {"pss", KEY_PSS, NULL, 0, "PSS and USS of all processes, which costs much more", 0},
    {"info", KEY_INFO, "FILE", 0, "Show what is in a recording, and record nothing", 0},
    {"json", 'j', NULL, 0, "Print JSON at the end, or of --info", 0},
    {"root", KEY_ROOT, "DIR", 0,
     "Read a recorded machine: DIR/proc and DIR/sys in place of /proc and /sys", 90},
    {0},
};

static const char documentation[] =
    "Record the system's memory, its zones and (for root) its slab caches, all processes and the "
    "runs of Quire, until it is ended. What was recorded is shown by `quire top --replay FILE', "
    "`quire vmstat --replay FILE', and of one moment by `quire zones --replay FILE --at TIME' and "
    "`quire slabs --kernel --replay FILE'."
    "\v"
    "A file that was cut, or whose writer was killed, can be read up to there.\n"
    "\n"
    "Examples:\n"
    "  quire log -o memory.log\n"
    "  quire log -o /var/log/quire.log --interval 1 --max-size 256M\n"
    "  quire log --info memory.log\n"
    "\n"
    "Exit status:\n"
    "  0    it was ended, or COUNT samples are recorded\n"
    "  1    the machine, or the recording of --info, can't be read\n"
    "  125  the command line can't be understood, or FILE can't be written";

static void parse_count(const char *argument, struct argp_state *state)
{
    struct log_options *options = state->input;

    options->count = figures_parse_count(argument);
    if (options->count == 0)
        argp_error(state, "'%s' is no count: a whole number above 0", argument);
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct log_options *options = state->input;

    switch (key) {
    case 'o':
        options->path = argument;
        return 0;
    case KEY_INTERVAL:
        options->interval_ms = figures_parse_seconds(argument);
        if (options->interval_ms == 0)
            argp_error(state, "'%s' is no interval: a number of seconds, from 0.001 to 86400",
                       argument);
        return 0;
    case KEY_MAX_SIZE:
        if (size_parse(argument, 0, &options->max_bytes) < 0 || options->max_bytes < LEAST_BYTES ||
            options->max_bytes > MOST_BYTES)
            argp_error(state, "'%s' is no size for a recording: from 1M to 1T", argument);
        return 0;
    case 'n':
        parse_count(argument, state);
        return 0;
    case KEY_PSS:
        options->has_pss = true;
        return 0;
    case KEY_INFO:
        options->info = argument;
        return 0;
    case 'j':
        options->as_json = true;
        return 0;
    case KEY_ROOT:
        options->root = argument;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "'%s': `quire log' takes options only; give the file by -o", argument);
        return 0;
    case ARGP_KEY_END:
        if ((options->path == NULL) == (options->info == NULL))
            argp_error(state, "give -o FILE to record, or --info FILE");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int cli_log(int argc, char **argv)
{
    static const struct argp parser = {
        .options = option_list, .parser = parse_option, .doc = documentation};
    struct log_options options = {.interval_ms = DEFAULT_MS};

    command_line_parse(&parser, argc, argv, 0, &options);
    return options.info != NULL ? show_info(&options) : run(&options);
}
