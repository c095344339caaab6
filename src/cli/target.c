/* SPDX-License-Identifier: Apache-2.0 */
/* target: see target.h. */
#include "cli/target.h"

#include "base/sys.h"
#include "cli/cli.h"
#include "observe/running.h"
#include "observe/sample.h"

#include <quire/observe.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PID_MOST (1 << 22)

int target_parse_pid(const char *text)
{
    char *end;

    if (*text < '0' || *text > '9') /* strtol would take spaces and signs */
        return 0;
    errno = 0;
    long pid = strtol(text, &end, 10);
    return errno == 0 && *end == '\0' && pid > 0 && pid <= PID_MOST ? (int)pid : 0;
}

error_t target_parse_argument(int key, const char *text, struct argp_state *state, int *pid)
{
    if (key == ARGP_KEY_NO_ARGS)
        argp_error(state, "which process? give its PID");
    if (key != ARGP_KEY_ARG)
        return ARGP_ERR_UNKNOWN;
    if (state->arg_num > 0)
        argp_error(state, "'%s': there is a PID already", text);
    *pid = target_parse_pid(text);
    if (*pid == 0)
        argp_error(state, "'%s' is no process id", text);
    return 0;
}

static int tell(int pid, int error)
{
    switch (error) {
    case -ESRCH:
        cli_error("there is no process %d", pid);
        break;
    case -EPERM:
    case -EACCES:
        cli_error("cannot look into process %d: not permitted\nbe its user or root", pid);
        break;
    case -ENOENT:
        cli_error(
            "process %d does not belong to a run of Quire\nname a process that was started by "
            "`quire run', without --no-paging, or the `quire' itself",
            pid);
        break;
    case -EPROTO:
        cli_error("process %d was started by another version of Quire than this command\nuse the "
                  "`quire' that it was started by",
                  pid);
        break;
    case -ENXIO:
        cli_error("the run of process %d has lost its keeper (quire-keeper), so it can't be "
                  "reached from outside any more",
                  pid);
        break;
    default:
        cli_error("cannot reach the run of process %d: %s", pid, strerror(-error));
        break;
    }
    return EXIT_FAILURE;
}

int target_find(int pid, struct target *target)
{
    *target = (struct target){.pid = pid};
    int error = running_find(pid, &target->control, &target->keeper);
    return error < 0 ? tell(pid, error) : EXIT_SUCCESS;
}

static uint64_t bytes(int64_t pages)
{
    return (uint64_t)pages << SYS_PAGE_SHIFT;
}

void target_measure(const struct target *target, struct target_memory *memory)
{
    const struct control *control = target->control;
    int64_t held[CONTROL_N_KINDS];

    control_kinds(control->held, held);
    *memory = (struct target_memory){.resident = bytes(held[CONTROL_RESIDENT]),
                                     .staged = bytes(held[CONTROL_STAGED]),
                                     .pool = bytes(held[CONTROL_POOL]),
                                     .tables = bytes(held[CONTROL_METADATA]),
                                     .file = bytes(held[CONTROL_FILE])};
    for (unsigned i = 0; i < control->slots_end; i++) {
        uint32_t pid = control_living_pid(control, i);
        uint64_t resident, share;
        if (pid == 0 || running_process_memory(pid, &resident, &share) < 0)
            continue;
        memory->n_processes++;
        memory->share += share;
        memory->locked += (uint64_t)atomic_load(&control->slot[i].locked_pages) << SYS_PAGE_SHIFT;
    }
}

bool target_is_own(const struct target *target)
{
    for (unsigned i = 0; i < target->control->slots_end; i++)
        if (control_living_pid(target->control, i) == (uint32_t)getpid())
            return true;
    return false;
}

uint64_t target_work_done(const struct target *target)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < target->control->slots_end; i++) {
        const struct control_slot *slot = &target->control->slot[i];
        const struct control_stats *stats = &slot->stats;
        sum += stats->evictions + stats->dropped_dead + stats->stored_pages + stats->written_pages +
               stats->resumed + stats->same_filled + slot->order_done;
    }
    return sum;
}

int target_largest(int pid)
{
    struct quire_observe *observe;
    struct quire_observe_runs runs = {.n = 0};
    int found = 0;

    if (quire_observe_open(NULL, &observe) < 0)
        return pid;
    if (quire_observe_runs(observe, &runs) == 0)
        for (size_t i = 0; i < runs.n && found == 0; i++)
            if (runs.list[i].keeper == (uint64_t)pid || runs.list[i].launcher == (uint64_t)pid)
                found = sample_largest_process(&runs, runs.list[i].keeper);
    quire_observe_close(observe);
    return found != 0 ? found : pid;
}

int target_tell_unreadable(int pid, int error)
{
    switch (error) {
    case -ESRCH:
        cli_error("there is no process %d", pid);
        break;
    case -EPERM:
    case -EACCES:
        cli_error("cannot look into process %d: not permitted\nbe its user or root; a restriction "
                  "of ptrace (kernel.yama.ptrace_scope) counts too",
                  pid);
        break;
    case -ENOENT:
        cli_error(
            "process %d does not use Quire's heap\nname one that `quire run' started, with or "
            "without --no-paging, or that `quire' itself",
            pid);
        break;
    case -EPROTONOSUPPORT:
        cli_error("the Quire library in process %d is of another version than this command\nuse "
                  "the `quire' that it was started by",
                  pid);
        break;
    case -EAGAIN:
        cli_error("the heap of process %d is not set up yet, or changes all the time; try again",
                  pid);
        break;
    case -EUCLEAN:
        cli_error("the heap of process %d can't be made out; try again", pid);
        break;
    default:
        cli_error("cannot read process %d: %s", pid, strerror(-error));
        break;
    }
    return EXIT_FAILURE;
}
