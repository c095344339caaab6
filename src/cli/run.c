/* SPDX-License-Identifier: Apache-2.0 */
/*
 * run: `quire run`. Everything that can go wrong is found out before the program starts.
 *
 *   options -> command -> rights -> library -> swap file, key, control block -> launch -> summary
 *              126, 127   125       125        125                         the program's status
 *                                    '-- --no-paging: exec
 *
 * The keeper (keeper.h) holds the control block, the swap file and its key for as long as a process
 * of the run lives: all find them as /proc/KEEPER/fd/N, so none needs a name, and all are gone when
 * the last process that uses them is.
 */
#include "base/control.h"
#include "base/sys.h"
#include "cli/cli.h"
#include "cli/keeper.h"
#include "cli/launch.h"
#include "cli/options.h"
#include "cli/out_file.h"
#include "cli/preload.h"
#include "cli/publisher.h"
#include "cli/resolve.h"
#include "cli/rights.h"
#include "cli/sampler.h"
#include "cli/summary.h"
#include "observe/machine.h"
#include "store/seal.h"
#include "store/swap.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A run inside a run would hold memory that the outer one's budget does not see. */
static bool is_inside_run(void)
{
    const char *outer = getenv(CONTROL_ENVIRONMENT);

    if (outer == NULL || access(outer, F_OK) != 0) /* left over from a run that has ended */
        return false;
    cli_error("this is inside a `quire run' already; its budget holds for what is started here\n"
              "start COMMAND without `quire run'");
    return true;
}

static bool have_rights(void)
{
    struct rights rights;

    rights_find(&rights);
    if (rights.problem == NULL)
        return true;
    cli_error("cannot page this program: %s\n%s%s`quire doctor' tells more", rights.problem,
              rights.fix, rights.fix[0] != '\0' ? "\n" : "");
    return false;
}

/* Makes the key of the swap file. Its descriptor, or a negative errno, told. */
static int create_seal(struct seal **seal)
{
    int fd = seal_prepare();

    if (fd == 0)
        fd = seal_create(seal_best_cipher(), seal);
    if (fd == -EPERM)
        cli_error("cannot lock the page of memory that holds the swap file's key\n"
                  "allow one to be locked by `ulimit -l 64', or do without a file: --swap none");
    else if (fd < 0)
        cli_error("cannot make a key for the swap file: %s\ndo without a file: --swap none",
                  strerror(-fd));
    return fd;
}

/* Opens the swap file and makes the control block. Its descriptor, or a negative errno, told. */
static int create_run(const struct run_options *options, struct control **control,
                      struct seal **seal)
{
    struct control_options shared = {
        .budget_bytes = options->budget_bytes,
        .budget_most_bytes = machine_whole_bytes(""),
        .swap_max_bytes = options->swap_max_bytes,
        .max_stall_ppm = options->max_stall_ppm,
        .codec = options->codec,
        .codec_adapts = options->codec_adapts,
        .policy = options->policy,
        .prefetch = options->prefetch,
        .swap_fd = -1,
        .key_fd = -1,
    };
    size_t space_bytes = 0;

    if (options->swap_directory != NULL) {
        space_bytes = swap_space_bytes(options->swap_max_bytes);
        if (space_bytes == 0) {
            cli_error("--swap-max %s: a swap file can't be that large", options->swap_max_text);
            return -EFBIG;
        }
        int fd = -1;
        int error = swap_open(options->swap_directory, options->swap_max_bytes, &fd);
        if (error < 0) {
            cli_error("cannot make a swap file in %s: %s\nname another directory by --swap DIR, or "
                      "do without: --swap none",
                      options->swap_directory, swap_open_reason(error));
            return error;
        }
        shared.swap_fd = fd;
        shared.key_fd = create_seal(seal);
        if (shared.key_fd < 0)
            return shared.key_fd;
    }
    int fd = control_create(&shared, space_bytes, control);
    if (fd < 0) {
        cli_error("cannot make the memory that the run's processes share: %s", strerror(-fd));
        return fd;
    }
    if (space_bytes > 0)
        swap_space_init(control_swap_space(*control), options->swap_max_bytes);
    if (options->max_stall_ppm > 0) { /* what turns out to be too little is never meant */
        atomic_store(&(*control)->sizing.most_bytes, options->budget_bytes);
        atomic_store(&(*control)->retreat_bytes, options->budget_bytes);
    }
    return fd;
}

static int tell_exec_failed(const char *path, int error)
{
    cli_error("cannot run %s: %s", path, strerror(error));
    return error == ENOENT || error == ENOTDIR ? CLI_EXIT_NOT_FOUND : CLI_EXIT_NOT_EXECUTABLE;
}

/* After the program's end: what Quire has to say, and the exit status. */
static int conclude(const struct run_options *options, const struct control *control,
                    const struct launch_result *result, const struct sampler *sampler,
                    const struct publisher *publisher)
{
    struct summary summary = {
        .control = control,
        .options = options,
        .run = result,
        .sampler = sampler,
        .published = publisher != NULL ? &publisher->publication : NULL,
        .exit_status = launch_exit_status(result),
        .swap_directory = options->swap_directory,
    };

    if (atomic_load(&control->verdict) != CONTROL_RUNNING) {
        cli_error("%.*s", (int)sizeof control->message, control->message);
        summary.exit_status = CLI_EXIT_FAILED;
    } else if (control->message[0] != '\0') { /* something to be told once, though all went on */
        cli_error("%.*s", (int)sizeof control->message, control->message);
    }
    control_totals(control, &summary.totals);
    summary_tell_of_core_file(&summary);
    if (!options->quiet)
        summary_print(&summary, stderr);
    int error = options->stats_path != NULL ? summary_write_json(&summary, options->stats_path) : 0;
    if (error < 0) {
        cli_error("cannot write the figures to %s: %s", options->stats_path, strerror(-error));
        if (summary.exit_status == EXIT_SUCCESS) /* a failure of the program's own says more */
            return CLI_EXIT_FAILED;
    }
    return summary.exit_status;
}

/* The heap alone: the program takes this process's place, so that nothing stands between it and
 * whoever started `quire`. */
static int execute(const struct run_options *options, const char *path, const char *library)
{
    int error = preload_set_environment(library, NULL, options->harden);

    if (error == 0) {
        launch_execute(path, options->command);
        error = -errno;
    }
    return tell_exec_failed(path, -error);
}

struct watched {
    struct control *control;
    struct sampler *sampler;
};

static uint64_t look_at(void *context)
{
    const struct watched *watched = context;

    control_collect(watched->control, NULL, NULL); /* who has ended holds nothing any more */
    return sampler_tick(watched->sampler);
}

/* The program, from its start to its end. 0 or a negative errno. */
static int run_watched(const struct run_options *options, const char *path, struct control *control,
                       struct sampler *sampler, struct launch_result *result)
{
    struct watched watched = {control, sampler};
    const struct launch_ticker ticker = {look_at, &watched};

    return launch_program(path, options->command, sampler != NULL ? &ticker : NULL, result);
}

static int launch(const struct run_options *options, const char *path, const char *library)
{
    struct launch_result result = {0};
    struct control *control;
    struct seal *seal = NULL;
    struct keeper keeper;
    static struct publisher shown;
    struct publisher *publisher = options->no_publish ? NULL : &shown;
    char control_path[64];
    int fd = create_run(options, &control, &seal);

    if (fd < 0)
        return CLI_EXIT_FAILED;
    if (publisher != NULL)
        publisher_open(publisher, control, options->command);
    struct sampler *sampler = options->stats_path != NULL ? sampler_new(control) : NULL;
    if (options->stats_path != NULL && sampler == NULL) {
        cli_error("cannot keep a time line for --stats: %s", strerror(ENOMEM));
        return CLI_EXIT_FAILED;
    }
    int error = keeper_start(control, seal, publisher, &keeper);
    if (error < 0) {
        cli_error("cannot start a process: %s", strerror(-error));
        return CLI_EXIT_FAILED;
    }
    snprintf(control_path, sizeof control_path, "/proc/%d/fd/%d", (int)keeper.pid, fd);
    error = preload_set_environment(library, control_path, options->harden);
    if (error == 0)
        error = run_watched(options, path, control, sampler, &result);
    keeper_release(&keeper, control, publisher);
    if (error < 0) {
        cli_error("cannot start %s: %s", path, strerror(-error));
        return CLI_EXIT_FAILED;
    }
    if (result.exec_error != 0)
        return tell_exec_failed(path, result.exec_error);
    int status = conclude(options, control, &result, sampler, publisher);
    sampler_free(sampler);
    return status;
}

int cli_run(int argc, char **argv)
{
    struct run_options options;
    char path[PATH_MAX], library[PATH_MAX], problem[PATH_MAX + 256];

    run_options_parse(argc, argv, &options);
    if (is_inside_run() || !run_options_settle(&options))
        return CLI_EXIT_FAILED;
    int status = resolve_command(options.command[0], path, sizeof path);
    if (status != 0)
        return status;
    if (!options.no_paging && !have_rights())
        return CLI_EXIT_FAILED;
    if (preload_find(options.no_paging ? PRELOAD_HEAP : PRELOAD_PAGED, library, problem,
                     sizeof problem) != 0) {
        cli_error("%s", problem);
        return CLI_EXIT_FAILED;
    }
    if (options.no_paging)
        return execute(&options, path, library);
    int error = options.stats_path != NULL ? out_file_check(options.stats_path) : 0;
    if (error < 0) {
        cli_error("cannot write the figures to %s: %s\nname another file by --stats FILE",
                  options.stats_path, strerror(-error));
        return CLI_EXIT_FAILED;
    }
    return launch(&options, path, library);
}
