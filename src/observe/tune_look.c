/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tune_look: one look at all that the rules want, copied out of the observer.
 *
 * Lists that this user may not see, or that a machine does not have, are empty. What can't be
 * understood is an error, as everywhere.
 */
#include "observe/source.h"

#include <quire/tune.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PARTS                                                                                \
    (QUIRE_OBSERVE_STAT | QUIRE_OBSERVE_STATUS | QUIRE_OBSERVE_OOM | QUIRE_OBSERVE_COMMAND | \
     QUIRE_OBSERVE_RUNS)

static bool is_missing(int error)
{
    return error == -ENOENT || error == -EACCES || error == -EPERM;
}

/* A copy of n elements; NULL for none, or with *failed. */
static void *copy(const void *list, size_t n, size_t element_bytes, bool *failed)
{
    if (n == 0)
        return NULL;
    void *copied = calloc(n, element_bytes);
    if (copied != NULL)
        memcpy(copied, list, n * element_bytes);
    else
        *failed = true;
    return copied;
}

static int look_at_zones(struct quire_observe *observe, struct quire_tune_look *look)
{
    struct quire_observe_zones zones;
    bool failed = false;
    int error = quire_observe_zones(observe, &zones);

    if (error < 0)
        return is_missing(error) ? 0 : error;
    look->zones = copy(zones.zones, zones.n_zones, sizeof *zones.zones, &failed);
    look->n_zones = look->zones != NULL ? zones.n_zones : 0;
    return failed ? -ENOMEM : 0;
}

static int look_at_groups(struct quire_observe *observe, struct quire_tune_look *look)
{
    struct quire_observe_groups groups;
    bool failed = false;
    int error = quire_observe_groups(observe, &groups);

    if (error < 0)
        return is_missing(error) ? 0 : error;
    look->groups = copy(groups.list, groups.n, sizeof *groups.list, &failed);
    look->n_groups = look->groups != NULL ? groups.n : 0;
    return failed ? -ENOMEM : 0;
}

static int look_at_processes(struct quire_observe *observe, struct quire_tune_look *look)
{
    struct quire_observe_processes processes;
    bool failed = false;
    int error = quire_observe_processes(observe, PARTS, &processes);

    if (error < 0)
        return error;
    look->processes = copy(processes.list, processes.n, sizeof *processes.list, &failed);
    look->n_processes = look->processes != NULL ? processes.n : 0;
    for (size_t i = 0; i < look->n_processes; i++) {
        struct quire_observe_process *process = &look->processes[i];
        const char *command = process->command;
        process->command = command != NULL ? strdup(command) : NULL;
        failed = failed || (command != NULL && process->command == NULL);
    }
    return failed ? -ENOMEM : 0;
}

int quire_tune_look(struct quire_observe *observe, struct quire_tune_look **result)
{
    struct quire_tune_look *look = calloc(1, sizeof *look);

    *result = NULL;
    if (look == NULL)
        return -ENOMEM;
    int error = look_at_processes(observe, look);
    if (error == 0)
        error = quire_observe_memory(observe, &look->memory);
    if (error == 0)
        error = quire_observe_counters(observe, &look->counters);
    if (error == 0)
        error = quire_observe_pressure(observe, &look->pressure);
    if (error == 0)
        error = quire_observe_settings(observe, &look->settings);
    if (error == 0)
        error = quire_observe_zram(observe, &look->zram);
    if (error == 0)
        error = look_at_zones(observe, look);
    if (error == 0)
        error = look_at_groups(observe, look);
    if (error < 0) {
        quire_tune_look_free(look);
        return error;
    }
    *result = look;
    return 0;
}

void quire_tune_look_free(struct quire_tune_look *look)
{
    if (look == NULL)
        return;
    for (size_t i = 0; i < look->n_processes; i++)
        free((char *)(uintptr_t)look->processes[i].command);
    free(look->processes);
    free(look->zones);
    free(look->groups);
    free(look);
}
