/* SPDX-License-Identifier: Apache-2.0 */
/* ring_create: `quire ring create` and `quire ring rm`. */
#include "base/checked.h"
#include "base/size.h"
#include "base/sys.h"
#include "cli/cli.h"
#include "cli/command_line.h"
#include "cli/ring.h"
#include "cli/ring_keeper.h"
#include "observe/machine.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_BYTES ((uint64_t)1 << 20)
#define LOOK_NS 10000000u
#define REMOVAL_LOOKS 3000 /* half a minute: on a busy machine the keeper may be slow */

struct create_options {
    struct ring_keeping keeping;
    uint64_t n_bytes, frame_bytes;
};

static const struct argp_option option_list[] = {
    {"size", 's', "SIZE", 0, "Of all frames together: 1M if it is not given", 0},
    {"frame", 'f', "BYTES", 0, "Of each frame: 1, a byte stream, if it is not given", 0},
    {"full", 'F', "wait|fail|overwrite", 0,
     "What a producer does when the ring is full: wait (default), fail, or overwrite the oldest",
     0},
    {"many", 'm', NULL, 0, "Many producers and many consumers, in place of one of each", 0},
    {"mode", 'M', "OCTAL", 0, "Who may use it, as of a file: 600 if it is not given", 0},
    {"keep", 'k', NULL, 0, "It stays until it is removed, even if both sides have left", 0},
    {0},
};

static const char documentation[] =
    "Make a ring under NAME. It is there until both sides have come and gone, or until `quire ring "
    "rm NAME'."
    "\v"
    "A NAME with a '/' is the path of a socket, in a directory that is there: other users do not "
    "have this one's directory of names.\n"
    "\n"
    "The number of frames is a power of two; what SIZE asks for is rounded up to one. Sizes take "
    "K, M and G, powers of 1024.\n"
    "\n"
    "Exit status:\n"
    "  0    the ring is there\n"
    "  1    it can't be made; a message says why\n"
    "  125  the command line can't be understood";

static void parse_size(struct argp_state *state, const char *text, uint64_t *bytes)
{
    if (size_parse(text, 0, bytes) != 0 || *bytes == 0)
        argp_error(state, "'%s' is no size: write it as 64K, 1M", text);
}

static void parse_full(struct argp_state *state, const char *text, enum quire_ring_full *full)
{
    static const char *const names[] = {"wait", "fail", "overwrite"};

    for (unsigned i = 0; i < 3; i++) {
        if (strcmp(text, names[i]) == 0) {
            *full = (enum quire_ring_full)i;
            return;
        }
    }
    argp_error(state, "'%s': a producer can wait, fail or overwrite", text);
}

static void parse_mode(struct argp_state *state, const char *text, mode_t *mode)
{
    char *end;
    const unsigned long value = strtoul(text, &end, 8);

    /* Who may look may change: each digit but the first is 0 or 6. */
    if (*text == '\0' || *end != '\0' || (value & ~0666ul) != 0 || (value & 0600) != 0600 ||
        (value & 0022) << 1 != (value & 0044))
        argp_error(state, "'%s' is no mode of a ring: 600, 660 or 666", text);
    *mode = (mode_t)value;
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct create_options *options = state->input;

    switch (key) {
    case 's':
        parse_size(state, argument, &options->n_bytes);
        return 0;
    case 'f':
        parse_size(state, argument, &options->frame_bytes);
        if (options->frame_bytes > QUIRE_RING_MAX_FRAME_BYTES)
            argp_error(state, "'%s': a frame has 1G at most", argument);
        return 0;
    case 'F':
        parse_full(state, argument, &options->keeping.config.full);
        return 0;
    case 'm':
        options->keeping.config.kind = QUIRE_RING_MANY_TO_MANY;
        return 0;
    case 'M':
        parse_mode(state, argument, &options->keeping.mode);
        return 0;
    case 'k':
        options->keeping.stays = true;
        return 0;
    case ARGP_KEY_ARG:
        if (options->keeping.name != NULL)
            argp_error(state, "'%s': there is a NAME already", argument);
        options->keeping.name = argument;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "under which NAME?");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* The keeper has a working directory of its own: a path that means one here is made absolute. 0 or
 * a negative errno. */
static int settle_name(struct ring_keeping *keeping, char path[PATH_MAX])
{
    const char *slash = strrchr(keeping->name, '/');
    char directory[PATH_MAX], real[PATH_MAX];

    if (slash == NULL || keeping->name[0] == '/')
        return 0;
    if (slash[1] == '\0')
        return -EINVAL;
    if (snprintf(directory, sizeof directory, "%.*s", (int)(slash - keeping->name),
                 keeping->name) >= (int)sizeof directory)
        return -ENAMETOOLONG;
    if (realpath(directory, real) == NULL)
        return -errno;
    if (snprintf(path, PATH_MAX, "%s%s", real, slash) >= PATH_MAX)
        return -ENAMETOOLONG;
    keeping->name = path;
    return 0;
}

/* Frames as many as the size asks for, and then up to a power of two. */
static bool set_geometry(struct create_options *options)
{
    const uint64_t wanted = (options->n_bytes + options->frame_bytes - 1) / options->frame_bytes;
    struct quire_ring_config *config = &options->keeping.config;

    if (wanted > QUIRE_RING_MAX_FRAMES)
        return false;
    config->n_frames = (uint64_t)1 << log2_ceil(wanted);
    config->frame_bytes = (uint32_t)options->frame_bytes;
    return quire_ring_bytes(config) != 0;
}

/* Its memory is taken as it fills up; who fills one that does not fit is ended by the kernel. */
static bool fits(const struct quire_ring_config *config)
{
    char wanted[32], there[32];
    struct machine_memory memory;
    const uint64_t n_bytes = quire_ring_bytes(config);

    if (machine_memory("", &memory) != 0 || n_bytes <= memory.physical_bytes)
        return true;
    cli_error("a ring of %s does not fit in the memory of this machine, %s\nask for less by --size",
              size_format(n_bytes, wanted, sizeof wanted),
              size_format(memory.physical_bytes, there, sizeof there));
    return false;
}

static void tell_not_made(const char *name, int error)
{
    if (error == -EEXIST)
        cli_error(
            strchr(name, '/') == NULL
                ? "there is a ring '%s' already\nuse it, or remove it: quire ring rm %s"
                : "'%s' is there already\nif it is a ring, use or remove it: quire ring rm %s",
            name, name);
    else if (error == -ENOENT)
        cli_error("the directory of '%s' is not there", name);
    else if (error == -EINVAL || error == -ENAMETOOLONG)
        ring_tell_bad_name(name);
    else if (error == -EPERM)
        cli_error("the directory of the names is not yours alone; set XDG_RUNTIME_DIR to one that "
                  "is");
    else
        cli_error("ring '%s' can't be made: %s", name, strerror(-error));
}

int ring_create(int argc, char **argv)
{
    static const struct argp parser = {
        .options = option_list, .parser = parse_option, .args_doc = "NAME", .doc = documentation};
    struct create_options options = {
        .keeping = {.mode = 0600}, .n_bytes = DEFAULT_BYTES, .frame_bytes = 1};
    char path[PATH_MAX];

    command_line_parse(&parser, argc, argv, 0, &options);
    if (!set_geometry(&options)) {
        cli_error(
            "a ring of that size can't be: 2^40 frames at most, and what the machine can map");
        return CLI_EXIT_FAILED;
    }
    if (!fits(&options.keeping.config))
        return EXIT_FAILURE;
    int error = settle_name(&options.keeping, path);
    if (error == 0)
        error = ring_keeper_start(&options.keeping);
    if (error != 0)
        tell_not_made(options.keeping.name, error);
    return error == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int ring_rm(int argc, char **argv)
{
    const char *name = ring_parse_name(
        argc, argv,
        "Remove the name of a ring. Who uses it goes on; nobody else can come."
        "\v"
        "Exit status:\n"
        "  0    the name is gone\n"
        "  1    it could not be removed; a message says why\n"
        "  125  the command line can't be understood",
        NULL, NULL);
    struct ring_open open;

    if (ring_open(name, QUIRE_RING_OBSERVER, &open) != EXIT_SUCCESS)
        return EXIT_FAILURE;
    const bool may = geteuid() == open.share.publisher.uid || geteuid() == 0;
    int error = may ? quire_share_ask_removal(&open.share) : -EPERM;
    ring_close(&open);
    for (int tries = 0; error == 0 && tries < REMOVAL_LOOKS; tries++) { /* until it is done */
        struct quire_share_opened again;
        if (quire_share_open(name, &again) == -ENOENT)
            return EXIT_SUCCESS;
        quire_share_close_opened(&again);
        sys_sleep_ns(LOOK_NS);
    }
    if (error == -EPERM)
        cli_error("ring '%s' was not removed\nonly the user who made it, and root, may do that",
                  name);
    else
        cli_error("ring '%s' was not removed: %s", name,
                  error ? strerror(-error) : "its keeper does not answer");
    return EXIT_FAILURE;
}
