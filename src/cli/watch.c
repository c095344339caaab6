/* SPDX-License-Identifier: Apache-2.0 */
/* watch: see watch.h. */
#include "cli/watch.h"

#include "cli/figures.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define DEFAULT_MS 2000

static const struct argp_option option_list[] = {
    {"watch", 'w', "SECONDS", OPTION_ARG_OPTIONAL, "Again every SECONDS (2), until ^C", 0},
    {"count", 'n', "N", 0, "With --watch: N times", 0},
    {0},
};

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct watch_options *options = state->input;

    switch (key) {
    case 'w':
        options->ms = argument != NULL ? figures_parse_seconds(argument) : DEFAULT_MS;
        if (options->ms == 0)
            argp_error(state, "--watch=%s: that is no number of seconds from 0.001 to 86400",
                       argument);
        return 0;
    case 'n':
        options->count = figures_parse_count(argument);
        if (options->count == 0)
            argp_error(state, "--count %s: that is no whole number above 0", argument);
        return 0;
    case ARGP_KEY_END:
        if (options->count > 0 && options->ms == 0)
            argp_error(state, "--count has no meaning without --watch");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp watch_argp = {.options = option_list, .parser = parse_option};

int watch_run(const struct watch_options *options, bool as_json, watch_look *look, void *context)
{
    const bool clears = options->ms > 0 && !as_json && isatty(STDOUT_FILENO);

    if (options->ms == 0)
        return look(context);
    figures_allow_descriptors();
    figures_catch_signals();
    setvbuf(stdout, NULL, _IOFBF, BUFSIZ); /* what is cleared comes back in one go */
    for (unsigned long n = 1;; n++) {
        if (clears)
            fputs("\033[H\033[2J", stdout);
        const int status = look(context);
        fflush(stdout);
        if (status != EXIT_SUCCESS || ferror(stdout) || n == options->count ||
            !figures_sleep_ms(options->ms))
            return status;
        if (!clears && !as_json)
            putchar('\n');
    }
}
