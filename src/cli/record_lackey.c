/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record_lackey: `quire record --every access`, by valgrind's tool lackey, which prints a line for
 * each access of the program.
 *
 *   launcher ── valgrind ── pipe ──> a thread: reader of lackey's text --> the trace
 *
 * The program runs some hundred times slower, one thread at a time; its children are not followed.
 */
#include "cli/cli.h"
#include "cli/launch.h"
#include "cli/record.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct reading {
    int fd;
    struct record_file *file;
    struct record_summary *summary;
    bool good;
};

static void *read_lines(void *context)
{
    struct reading *reading = context;
    char rest[4096];

    reading->good = record_copy(reading->fd, "lackey", "lackey", reading->file, reading->summary);
    while (read(reading->fd, rest, sizeof rest) > 0) /* so that the program does not wait for us */
        continue;
    return NULL;
}

/* valgrind's own options, then the command. */
static char **build_command(char **command, int log)
{
    static char name[] = "valgrind", tool[] = "--tool=lackey", memory[] = "--trace-mem=yes",
                counts[] = "--basic-counts=no", children[] = "--trace-children=no", end[] = "--";
    static char log_option[32];
    static char *const own[] = {name, tool, memory, counts, children, log_option, end};
    size_t n = 0;

    snprintf(log_option, sizeof log_option, "--log-fd=%d", log);
    while (command[n] != NULL)
        n++;
    char **words = calloc(n + sizeof own / sizeof own[0] + 1, sizeof *words);
    if (words != NULL) {
        memcpy(words, own, sizeof own);
        memcpy(words + sizeof own / sizeof own[0], command, n * sizeof *words);
    }
    return words;
}

static int launch(char **words, const char *valgrind, struct reading *reading, int log,
                  struct launch_result *result)
{
    sigset_t all, old;
    pthread_t thread;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    int error = -pthread_create(&thread, NULL, read_lines, reading);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (error == 0)
        error = launch_program(valgrind, words, NULL, result);
    close(log); /* the pipe ends when valgrind has ended */
    if (reading->fd >= 0 && error == 0)
        pthread_join(thread, NULL);
    return error;
}

int record_lackey(const struct record_options *options, struct record_file *file,
                  struct record_summary *summary)
{
    char valgrind[PATH_MAX];
    struct launch_result result = {0};
    int ends[2];

    if (!record_find_tool("valgrind", valgrind)) {
        cli_error("--every access takes valgrind, which is not installed\n"
                  "install it: apt-get install valgrind; or record by --every page");
        return CLI_EXIT_FAILED;
    }
    int status = record_check_command(options->command[0]);
    if (status != 0)
        return status;
    if (pipe(ends) != 0 || fcntl(ends[0], F_SETFD, FD_CLOEXEC) != 0) {
        cli_error("cannot make a pipe: %s", strerror(errno));
        return CLI_EXIT_FAILED;
    }
    struct reading reading = {.fd = ends[0], .file = file, .summary = summary};
    char **words = build_command(options->command, ends[1]);
    int error = words == NULL ? -ENOMEM : launch(words, valgrind, &reading, ends[1], &result);
    close(ends[0]);
    free(words);
    if (error != 0 || result.exec_error != 0) {
        cli_error("cannot run valgrind: %s", strerror(error != 0 ? -error : result.exec_error));
        return CLI_EXIT_FAILED;
    }
    summary->exit_status = launch_exit_status(&result);
    return reading.good ? 0 : CLI_EXIT_FAILED;
}
