/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pager_run: a run of the pager inside a test, without LD_PRELOAD.
 *
 *   test (the launcher) ── control block, swap file
 *     └── child          ── pager_init(), a body that uses the pager, then exits 0
 *
 * The launcher waits for the child with a watchdog: a child that hangs is killed and reported. It
 * stays outside of the arena, as does all of the test's own memory: only what the body gets from
 * the pager is paged.
 */
#ifndef QUIRE_TESTS_PAGER_RUN_H
#define QUIRE_TESTS_PAGER_RUN_H

#include "sanitizers.h"
#include "store_pages.h"

#include "base/control.h"
#include "base/uffd.h"
#include "pager/pager.h"
#include "policy/policy.h"
#include "policy/prefetch.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define RUN_SKIPPED 77 /* meson's exit status for a test that can't run here */

struct run_config {
    uint64_t budget_bytes, swap_bytes; /* swap_bytes 0: no file */
    enum store_codec codec;
    bool codec_adapts;
    enum policy_kind policy;
    enum prefetch_kind prefetch;
};

enum run_end { RUN_DONE, RUN_FAILED, RUN_VERDICT, RUN_HUNG };

static struct control *run_control;
static int run_control_fd = -1, run_swap_fd = -1, run_key_fd = -1;
static struct seal *run_seal;

/* What this machine lacks for a pager, or NULL. */
static inline const char *run_missing_rights(void)
{
    enum uffd_way way;
    int uffd = uffd_open((uint64_t)UFFD_FEATURE_MOVE, &way);
    if (uffd < 0)
        return uffd == -EPERM ? "no right to open a userfaultfd" : "no userfaultfd with MOVE";
    close(uffd);
    return NULL;
}

/* Why the pager can't run here with threads of its own, or NULL. */
static inline const char *run_missing(void)
{
    if (UNDER_THREAD_SANITIZER)
        return "the pager's threads are unknown to ThreadSanitizer";
    return run_missing_rights();
}

/* Whether the pager can't run here; says why. The test then ends with RUN_SKIPPED. */
static inline bool run_is_skipped(void)
{
    const char *missing = run_missing();
    if (missing)
        printf("skipped: %s\n", missing);
    return missing != NULL;
}

static inline void run_create(const struct run_config *config)
{
    struct control_options options = {
        .budget_bytes = config->budget_bytes,
        .swap_max_bytes = config->swap_bytes,
        .codec = config->codec,
        .codec_adapts = config->codec_adapts,
        .policy = (uint32_t)config->policy,
        .prefetch = (uint32_t)config->prefetch,
        .keeper_pid = getpid(),
        .swap_fd = -1,
        .key_fd = -1,
    };
    if (config->swap_bytes > 0) {
        options.swap_fd = run_swap_fd = new_swap_file(config->swap_bytes);
        run_seal = new_seal(0, &run_key_fd);
        options.key_fd = run_key_fd;
    }
    run_control_fd = control_create(
        &options, config->swap_bytes > 0 ? swap_space_bytes(config->swap_bytes) : 0, &run_control);
    if (run_control_fd < 0)
        abort();
    if (config->swap_bytes > 0)
        swap_space_init(control_swap_space(run_control), config->swap_bytes);
}

static inline void run_destroy(void)
{
    munmap(run_control, run_control->total_bytes);
    close(run_control_fd);
    if (run_swap_fd >= 0)
        close(run_swap_fd);
    if (run_key_fd >= 0)
        close(run_key_fd);
    run_swap_fd = run_key_fd = -1;
}

static inline enum run_end run_judge(int status)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return RUN_DONE;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL &&
        atomic_load(&run_control->verdict) != CONTROL_RUNNING)
        return RUN_VERDICT;
    return RUN_FAILED;
}

/* Runs `body` in a child, at most so long. *status is waitpid's. */
static inline enum run_end run_child(void (*body)(void *argument), void *argument, unsigned seconds,
                                     int *status)
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        setpgid(0, 0);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        body(argument);
        _exit(0);
    }
    for (unsigned i = 0; i < seconds * 1000; i++) {
        if (waitpid(child, status, WNOHANG) == child)
            return run_judge(*status);
        usleep(1000);
    }
    kill(-child, SIGKILL); /* and what it forked */
    kill(child, SIGKILL);
    waitpid(child, status, 0);
    return RUN_HUNG;
}

#endif
