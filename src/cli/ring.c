/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ring: `quire ring`. Byte streams and frames between processes, from the shell.
 *
 *     quire ring create NAME      a keeper process holds the ring (ring_keeper.c) until ...
 *     producer | quire ring put NAME
 *     quire ring get NAME | consumer                       ... both sides have come and gone
 */
#include "cli/ring.h"

#include "base/sys.h"
#include "cli/cli.h"
#include "cli/command_line.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define HANG_UP_MS 10000 /* on a busy machine; a keeper that has died is noticed at once */

static const struct subcommand {
    const char *name, *title;
    int (*main)(int argc, char **argv);
    const char *summary;
} subcommands[] = {
    {"create", "quire ring create", ring_create, "Make a ring under a name"},
    {"put", "quire ring put", ring_put, "Copy standard input into it"},
    {"get", "quire ring get", ring_get, "Copy it to standard output"},
    {"stat", "quire ring stat", ring_stat, "Show its figures"},
    {"ls", "quire ring ls", ring_ls, "List all rings of the user"},
    {"rm", "quire ring rm", ring_rm, "Remove its name"},
    {"bench", "quire ring bench", ring_bench, "Measure a ring beside a pipe and a socket"},
};
#define N_SUBCOMMANDS (sizeof subcommands / sizeof subcommands[0])

static void print_help(FILE *to)
{
    fputs("Usage: quire ring COMMAND [OPTION...] [NAME]\n"
          "Rings of shared memory between processes, faster than pipes.\n"
          "\n"
          "Commands:\n",
          to);
    for (size_t i = 0; i < N_SUBCOMMANDS; i++)
        fprintf(to, "  %-8s %s\n", subcommands[i].name, subcommands[i].summary);
    fputs("\n"
          "`quire ring COMMAND --help' shows the options of each.\n"
          "\n"
          "A ring is there from `create' until both sides have come and gone, or `rm'.\n"
          "Names are sockets in $XDG_RUNTIME_DIR/quire, or /dev/shm/quire-UID; one with a\n"
          "'/' is a path.\n"
          "\n"
          "Example:\n"
          "  quire ring create samples --size 4M\n"
          "  produce | quire ring put samples &\n"
          "  quire ring get samples | consume\n"
          "\n"
          "Exit status:\n"
          "  0    all went well\n"
          "  1    it did not; a message says what\n"
          "  125  the command line can't be understood\n",
          to);
}

int cli_ring(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";

    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "-?") == 0) {
        print_help(stdout);
        return EXIT_SUCCESS;
    }
    for (size_t i = 0; i < N_SUBCOMMANDS; i++) {
        if (strcmp(name, subcommands[i].name) != 0)
            continue;
        argv[1] = (char *)(uintptr_t)subcommands[i].title;
        return subcommands[i].main(argc - 1, argv + 1);
    }
    if (argc < 2)
        print_help(stderr);
    else
        cli_error("there is no command 'ring %s'; `quire ring --help' lists them", name);
    return CLI_EXIT_FAILED;
}

struct name_options {
    bool wants_name;
    const char *name;
    bool *as_json, *watch;
};

static error_t parse_name(int key, char *argument, struct argp_state *state)
{
    struct name_options *options = state->input;

    switch (key) {
    case 'j':
    case 'w':
        if ((key == 'j' ? options->as_json : options->watch) == NULL)
            argp_error(state, "there is no option '--%s' here", key == 'j' ? "json" : "watch");
        *(key == 'j' ? options->as_json : options->watch) = true;
        return 0;
    case ARGP_KEY_ARG:
        if (!options->wants_name)
            return ARGP_ERR_UNKNOWN;
        if (options->name != NULL)
            argp_error(state, "'%s': there is a NAME already", argument);
        options->name = argument;
        return 0;
    case ARGP_KEY_NO_ARGS:
        if (options->wants_name)
            argp_error(state, "which ring? give its NAME");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void parse(int argc, char **argv, const char *documentation, struct name_options *options)
{
    const struct argp_option list[] = {
        {"json", 'j', NULL, options->as_json != NULL ? 0 : OPTION_HIDDEN,
         "Print the figures as JSON", 0},
        {"watch", 'w', NULL, options->watch != NULL ? 0 : OPTION_HIDDEN,
         "Once a second, until it is gone", 0},
        {0},
    };
    const struct argp parser = {.options = list,
                                .parser = parse_name,
                                .args_doc = options->wants_name ? "NAME" : NULL,
                                .doc = documentation};

    command_line_parse(&parser, argc, argv, 0, options);
}

const char *ring_parse_name(int argc, char **argv, const char *documentation, bool *as_json,
                            bool *watch)
{
    struct name_options options = {true, NULL, as_json, watch};

    parse(argc, argv, documentation, &options);
    return options.name;
}

bool ring_parse_json(int argc, char **argv, const char *documentation)
{
    bool as_json = false;
    struct name_options options = {false, NULL, &as_json, NULL};

    parse(argc, argv, documentation, &options);
    return as_json;
}

/* Opening */

void ring_tell_bad_name(const char *name)
{
    cli_error("'%s' is no name: letters, digits, '.', '_' and '-', not '.' first, %u at most, or "
              "the path of a socket, of 107 bytes at most",
              name, QUIRE_SHARE_MAX_NAME_BYTES);
}

static void tell_not_opened(const char *name, int error)
{
    if (error == -ENOENT)
        cli_error("there is no ring '%s'\n`quire ring ls' lists them; `quire ring create %s' makes "
                  "one",
                  name, name);
    else if (error == -EINVAL || error == -ENAMETOOLONG)
        ring_tell_bad_name(name);
    else if (error == -EACCES)
        cli_error("ring '%s' is not open to you; its owner can make it with --mode, in a directory "
                  "that you may enter",
                  name);
    else if (error == -EPROTO)
        cli_error("ring '%s' was made by another version of quire, or for another word size", name);
    else if (error == -EPERM)
        cli_error("the directory of the names is not yours alone; set XDG_RUNTIME_DIR to one that "
                  "is");
    else
        cli_error("ring '%s' can't be opened: %s", name, strerror(-error));
}

static void tell_not_attached(const char *name, enum quire_ring_side side, int error)
{
    if (error == -EBUSY)
        cli_error("ring '%s' has a %s already\nmake it with --many for more than one of a side",
                  name, side == QUIRE_RING_PRODUCER ? "producer" : "consumer");
    else if (error == -EUSERS)
        cli_error("ring '%s' has %u members, no more fit", name, QUIRE_RING_MAX_MEMBERS);
    else
        tell_not_opened(name, error);
}

static int attach(struct ring_open *open, enum quire_ring_side side)
{
    bool writable;
    int error = quire_share_map(open->share.fds[RING_FD_MEMORY], &open->memory, &open->n_bytes,
                                &writable);

    if (error != 0)
        return error == -EINVAL ? -EPROTO : error;
    if (!writable && side != QUIRE_RING_OBSERVER)
        error = -EACCES;
    if (error == 0)
        error = quire_ring_attach(open->memory, open->n_bytes, side, &open->ring);
    if (error != 0)
        return error;
    if (side == QUIRE_RING_PRODUCER)
        quire_ring_set_events(&open->ring, open->share.fds[RING_FD_DATA_EVENT]);
    if (side == QUIRE_RING_CONSUMER)
        quire_ring_set_events(&open->ring, open->share.fds[RING_FD_SPACE_EVENT]);
    return 0;
}

int ring_open(const char *name, enum quire_ring_side side, struct ring_open *open)
{
    memset(open, 0, sizeof *open);
    int error = quire_share_open(name, &open->share);
    if (error != 0) {
        tell_not_opened(name, error);
        return EXIT_FAILURE;
    }
    if (strcmp(open->share.tag, RING_TAG) != 0 || open->share.n_fds != RING_N_FDS) {
        cli_error("'%s' is no ring, but a %s", name, open->share.tag);
        error = -EPROTO;
    } else if ((error = attach(open, side)) != 0) {
        tell_not_attached(name, side, error);
    }
    if (error == 0)
        return EXIT_SUCCESS;
    ring_close(open);
    return EXIT_FAILURE;
}

/* Its keeper looks at once, unless it was stopped. */
void ring_hang_up(struct ring_open *open)
{
    struct pollfd end = {.fd = open->share.socket, .events = POLLIN};

    if (shutdown(end.fd, SHUT_WR) == 0)
        (void)poll(&end, 1, HANG_UP_MS);
}

void ring_close(struct ring_open *open)
{
    quire_ring_detach(&open->ring);
    if (open->memory != NULL)
        sys_munmap(open->memory, open->n_bytes);
    open->memory = NULL;
    quire_share_close_opened(&open->share);
}
