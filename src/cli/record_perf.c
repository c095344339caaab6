/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record_perf: `quire record --every sample`, by `perf mem`, where the processor samples the
 * addresses of loads and stores (Intel's PEBS, AMD's IBS, Arm's SPE).
 *
 *   perf mem record -o TEMPORARY -- COMMAND;  perf script -i TEMPORARY --pipe--> the trace
 */
#include "cli/cli.h"
#include "cli/launch.h"
#include "cli/record.h"
#include "cli/temporary.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORDS_BEFORE 16

/* Starts a command with its output, standard error included if `all`, in a pipe. The reading end,
 * or a negative errno. */
static int start(const char *path, char *const *words, bool all, pid_t *child)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0)
        return -errno;
    *child = fork();
    if (*child == 0) {
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        dup2(null, STDIN_FILENO);
        dup2(ends[1], STDOUT_FILENO);
        if (all)
            dup2(ends[1], STDERR_FILENO);
        execv(path, words);
        _exit(CLI_EXIT_NOT_EXECUTABLE);
    }
    int error = *child < 0 ? -errno : 0;
    close(ends[1]);
    if (error != 0)
        close(ends[0]);
    return error != 0 ? error : ends[0];
}

static bool has_ended_well(pid_t child)
{
    int status;
    pid_t pid;

    do
        pid = waitpid(child, &status, 0);
    while (pid < 0 && errno == EINTR);
    return pid == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* Whether samples can be had here; else what perf says, in a line. */
static bool can_sample(const char *perf, char *file, char *reason, size_t n_bytes)
{
    char *words[] = {(char[]){"perf"},
                     (char[]){"mem"},
                     (char[]){"record"},
                     (char[]){"-o"},
                     file,
                     (char[]){"--"},
                     (char[]){"true"},
                     NULL};
    pid_t child;
    int fd = start(perf, words, true, &child);
    size_t n = 0;
    ssize_t got;

    if (fd < 0) {
        snprintf(reason, n_bytes, "%s", strerror(-fd));
        return false;
    }
    while (n + 1 < n_bytes && (got = read(fd, reason + n, n_bytes - 1 - n)) > 0)
        n += (size_t)got;
    reason[n] = '\0';
    reason[strcspn(reason, "\n")] = '\0';
    close(fd);
    return has_ended_well(child);
}

static int run_sampled(const struct record_options *options, const char *perf, char *file,
                       struct launch_result *result)
{
    char period[24], option[] = "-c", end[] = "--";
    char *before[WORDS_BEFORE] = {(char[]){"perf"}, (char[]){"mem"}, (char[]){"record"},
                                  (char[]){"-o"}, file};
    size_t n_before = 5, n = 0;

    if (options->period > 0) {
        snprintf(period, sizeof period, "%u", options->period);
        before[n_before++] = option;
        before[n_before++] = period;
    }
    before[n_before++] = end;
    while (options->command[n] != NULL)
        n++;
    char **words = calloc(n_before + n + 1, sizeof *words);
    if (words == NULL)
        return -ENOMEM;
    memcpy(words, before, n_before * sizeof *words);
    memcpy(words + n_before, options->command, n * sizeof *words);
    int error = launch_program(perf, words, NULL, result);
    free(words);
    return error;
}

static bool convert(const char *perf, char *from, struct record_file *file,
                    struct record_summary *summary)
{
    char *words[] = {(char[]){"perf"},
                     (char[]){"script"},
                     (char[]){"-i"},
                     from,
                     (char[]){"-F"},
                     (char[]){"comm,pid,time,event,addr"},
                     NULL};
    pid_t child;
    int fd = start(perf, words, false, &child);

    if (fd < 0) {
        cli_error("cannot run perf script: %s", strerror(-fd));
        return false;
    }
    bool good = record_copy(fd, "perf script", "perf", file, summary);
    close(fd);
    if (has_ended_well(child))
        return good;
    if (good)
        cli_error("perf script failed: the samples are not all there");
    return false;
}

int record_perf(const struct record_options *options, struct record_file *file,
                struct record_summary *summary)
{
    char perf[PATH_MAX], temporary[PATH_MAX], reason[256];
    struct launch_result result = {0};

    if (!record_find_tool("perf", perf)) {
        cli_error("--every sample takes perf, which is not installed\n"
                  "install it (Debian: linux-perf), or record by --every page");
        return CLI_EXIT_FAILED;
    }
    int status = record_check_command(options->command[0]);
    if (status != 0)
        return status;
    if (temporary_file("perf", temporary) != 0)
        return CLI_EXIT_FAILED;
    status = CLI_EXIT_FAILED;
    if (!can_sample(perf, temporary, reason, sizeof reason)) {
        cli_error("this machine gives no samples of memory addresses: perf mem: %s\n"
                  "virtual machines seldom do; record by --every page or --every access",
                  reason);
    } else {
        int error = run_sampled(options, perf, temporary, &result);
        if (error != 0 || result.exec_error != 0)
            cli_error("cannot run perf: %s", strerror(error != 0 ? -error : result.exec_error));
        else if (convert(perf, temporary, file, summary))
            status = 0;
        summary->exit_status = launch_exit_status(&result);
    }
    unlink(temporary);
    char old[sizeof temporary + 4]; /* perf keeps what it replaces */
    snprintf(old, sizeof old, "%s.old", temporary);
    unlink(old);
    return status;
}
