/* SPDX-License-Identifier: Apache-2.0 */
/* trace_input: see trace_input.h. */
#include "cli/trace_input.h"

#include "base/size.h"
#include "cli/cli.h"
#include "cli/record_note.h"

#include <quire/sim.h>

#include <errno.h>
#include <string.h>

#define RECORDS 4096

enum { FORMAT = 0x100, UNIT, COLUMNS, DELIMITER };

static const struct argp_option option_list[] = {
    {"trace", 't', "FILE", 0, "The trace; - is standard input; zstd is unpacked", 1},
    {"format", FORMAT, "NAME", 0,
     "quire, lackey, plain, perf, csv or oracle (default: by what it looks like)", 1},
    {"unit", UNIT, "UNIT", 0, "Addresses of text are counts of this: byte (default) or page", 1},
    {"columns", COLUMNS, "LIST", 0,
     "Columns of csv, from 1: time=N,id=N (or addr=N),size=N,write=N,process=N (default: by their "
     "names)",
     1},
    {"delimiter", DELIMITER, "CHAR", 0, "Between columns of csv (default: a comma)", 1},
    {0},
};

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct trace_input *input = state->input;

    switch (key) {
    case 't':
        input->path = argument;
        return 0;
    case FORMAT:
        input->options.format = argument;
        return 0;
    case UNIT:
        if (strcmp(argument, "page") != 0 && strcmp(argument, "byte") != 0)
            argp_error(state, "--unit is byte or page, not '%s'", argument);
        input->options.in_pages = argument[0] == 'p';
        return 0;
    case COLUMNS:
        input->options.columns = argument;
        return 0;
    case DELIMITER:
        input->options.delimiter = strcmp(argument, "tab") == 0 ? '\t' : argument[0];
        if (strlen(argument) != 1 && input->options.delimiter != '\t')
            argp_error(state, "--delimiter is one character, or tab, not '%s'", argument);
        return 0;
    case ARGP_KEY_END:
        if (input->path == NULL && !input->is_optional)
            argp_error(state, "which trace? --trace FILE names it, --trace - is standard input");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp trace_input_argp = {.options = option_list, .parser = parse_option};

unsigned trace_input_page_shift(struct argp_state *state, const char *text)
{
    uint64_t bytes = 0;
    if (size_parse(text, 0, &bytes) != 0 || bytes < (uint64_t)1 << QUIRE_SIM_MIN_PAGE_SHIFT ||
        bytes > (uint64_t)1 << QUIRE_SIM_MAX_PAGE_SHIFT || (bytes & (bytes - 1)) != 0)
        argp_error(state, "--page-size: '%s' is no power of two from 64 to 1T, such as 4K or 2M",
                   text);
    return (unsigned)__builtin_ctzll(bytes);
}

struct quire_trace *trace_input_open(const struct trace_input *input)
{
    char message[QUIRE_TRACE_MESSAGE_BYTES];
    struct quire_trace *trace;
    if (quire_trace_open(input->path, &input->options, message, &trace) == 0)
        return trace;
    cli_error("%s", message);
    return NULL;
}

bool trace_input_end(struct quire_trace *trace, int error)
{
    if (quire_trace_message(trace)[0] != '\0')
        cli_error("%s", quire_trace_message(trace));
    else if (error == -E2BIG)
        cli_error("the trace is too long: more than 2^31 references or pages\n"
                  "larger pages, or quire mrc --sample, take less");
    else if (error != 0)
        cli_error("the trace: %s", strerror(-error));
    else if (!quire_trace_is_whole(trace))
        cli_error("the trace has no end mark: it was cut off while it was recorded");
    return error == 0;
}

bool trace_input_read(struct quire_trace *trace,
                      int (*take)(void *context, const struct quire_trace_record *records, size_t n,
                                  const struct quire_trace *trace),
                      void *context)
{
    static struct quire_trace_record records[RECORDS];
    long got;
    int error = 0;
    while (error == 0 && (got = quire_trace_read(trace, records, RECORDS)) != 0)
        error = got < 0 ? (int)got : take(context, records, (size_t)got, trace);
    return trace_input_end(trace, error);
}

/* Of the recording's window, which its note tells at its end; 0: it is not known. */
static uint64_t window_bytes(const struct quire_trace *trace)
{
    struct record_note note = {0};
    for (uint32_t i = quire_trace_mappings(trace); i-- > 0;) {
        const struct quire_trace_mapping *mapping = quire_trace_mapping(trace, i);
        if (mapping != NULL && record_note_read(mapping->name, &note) && note.window_bytes > 0)
            return note.window_bytes;
    }
    return 0;
}

void trace_input_tell_gaps(const struct quire_trace *trace, uint64_t ram_bytes)
{
    const struct quire_trace_info *info = quire_trace_info(trace);
    const uint64_t unseen = window_bytes(trace);
    char window[24];
    if (info->every == QUIRE_TRACE_EVERY_PAGE && ram_bytes < unseen)
        cli_error("note: the recording does not see touches of the %s that were touched last: with "
                  "less RAM there are more faults than this, and misses are a part of the touches "
                  "that it has seen",
                  size_format(unseen, window, sizeof window));
    else if (info->every == QUIRE_TRACE_EVERY_PAGE && unseen == 0)
        cli_error("note: the recording does not see all touches: misses are a part of those that "
                  "it has seen");
    else if (info->every == QUIRE_TRACE_EVERY_SAMPLE && ram_bytes == 0)
        cli_error("note: the recording has samples: a run has more references and more faults");
}

const char *trace_input_name(const struct trace_input *input)
{
    const char *slash = strrchr(input->path, '/');
    if (strcmp(input->path, "-") == 0)
        return "standard input";
    return slash != NULL ? slash + 1 : input->path;
}
