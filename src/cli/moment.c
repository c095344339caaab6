/* SPDX-License-Identifier: Apache-2.0 */
/* moment: see moment.h. */
#include "cli/moment.h"

#include "cli/cli.h"
#include "cli/when.h"
#include "observe/recording.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_REPLAY = 700, KEY_AT };

static const struct argp_option option_list[] = {
    {"replay", KEY_REPLAY, "FILE", 0, "Of a moment that `quire log' recorded, not of now", 80},
    {"at", KEY_AT, "TIME", 0,
     "With --replay: which; 14:30, 2026-11-26T14:30, or -10m before its end (default: the last)",
     80},
    {0},
};

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct moment_options *options = state->input;

    switch (key) {
    case KEY_REPLAY:
        options->replay = argument;
        return 0;
    case KEY_AT:
        options->at = argument;
        return 0;
    case ARGP_KEY_END:
        if (options->at != NULL && options->replay == NULL)
            argp_error(state, "--at goes with --replay FILE");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp moment_argp = {.options = option_list, .parser = parse_option};

const struct sample *moment_open(const struct moment_options *options, struct feed **feed,
                                 int *status)
{
    char message[RECORDING_MESSAGE_BYTES];
    const struct sample *sample = NULL;
    uint64_t at_ms;

    *status = EXIT_FAILURE;
    if (feed_open_recorded(options->replay, feed, message) < 0) {
        cli_error("%s", message);
        return NULL;
    }
    at_ms = (*feed)->last_ms;
    if (options->at != NULL && !when_parse(options->at, (*feed)->last_ms, &at_ms)) {
        cli_error("--at '%s' is no time: 14:30, 14:30:05, 2026-11-26T14:30 or -10m", options->at);
        *status = CLI_EXIT_FAILED;
    } else if (feed_seek(*feed, at_ms, &sample) < 0) {
        cli_error("%s", feed_message(*feed));
        sample = NULL;
    }
    if (sample == NULL)
        feed_close(*feed);
    return sample;
}

int moment_lacks(const char *what, int error)
{
    if (error == -EACCES || error == -EPERM)
        cli_error("the recording has no %s: they were denied to who wrote it\nroot's `quire log' "
                  "records them",
                  what);
    else
        cli_error("the recording has no %s", what);
    return EXIT_FAILURE;
}
