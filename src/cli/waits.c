/* SPDX-License-Identifier: Apache-2.0 */
/*
 * waits: see waits.h. What major faults cost is a wait, and the kernel counts waits only where
 * delay accounting is on (kernel.task_delayacct, off by default), and tells all of it to who may
 * listen to taskstats. What is left without is said, with what would help.
 */
#include "cli/waits.h"

#include "base/sys.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void waits_begin(struct waits *waits, struct quire_observe *observe)
{
    struct quire_observe_settings settings;

    *waits = (struct waits){.source = WAITS_UNKNOWN, .start_ns = sys_now_ns()};
    if (quire_observe_settings(observe, &settings) < 0 ||
        !quire_observe_known(settings.delay_accounting)) {
        waits->reason = "this kernel has no delay accounting that can be switched on";
        return;
    }
    if (settings.delay_accounting == 0) {
        waits->reason = "delay accounting is off; as root: sysctl kernel.task_delayacct=1";
        return;
    }
    int error = delays_open(&waits->delays);
    waits->source = error == 0 ? WAITS_TASKSTATS : WAITS_STAT;
    waits->reason = error == 0        ? NULL
                    : error == -EPERM ? "taskstats are told to root only (CAP_NET_ADMIN)"
                                      : "this kernel does not tell taskstats here";
}

void waits_note(struct waits *waits, const struct quire_observe_process *process)
{
    size_t low = 0, high = waits->n;

    while (low < high) {
        size_t middle = (low + high) / 2;
        if (waits->list[middle].pid < process->pid)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == waits->n || waits->list[low].pid != process->pid) {
        if (waits->n == waits->room) {
            size_t room = waits->room > 0 ? waits->room * 2 : 64;
            struct waits_process *grown = reallocarray(waits->list, room, sizeof *grown);
            if (grown == NULL)
                return;
            waits->list = grown;
            waits->room = room;
        }
        memmove(&waits->list[low + 1], &waits->list[low], (waits->n - low) * sizeof *waits->list);
        waits->n++;
    }
    waits->list[low] = (struct waits_process){
        .pid = process->pid,
        .start_ms = process->start_ms,
        .blocked_ms = quire_observe_known(process->blocked_ms) ? process->blocked_ms : 0};
}

void waits_drain(struct waits *waits)
{
    if (waits->delays != NULL)
        delays_drain(waits->delays);
}

void waits_end(struct waits *waits, int self)
{
    const uint64_t tick_ns = 10000000;
    uint64_t most_ns = sys_now_ns() - waits->start_ns + tick_ns;
    int *pids = NULL;

    if (waits->source == WAITS_STAT)
        for (size_t i = 0; i < waits->n; i++)
            if (waits->list[i].blocked_ms * 1000000 <= most_ns)
                waits->sums.block_io += waits->list[i].blocked_ms * 1000000;
    if (waits->source == WAITS_TASKSTATS) {
        pids = calloc(waits->n + 1, sizeof *pids);
        for (size_t i = 0; pids != NULL && i < waits->n; i++)
            pids[i] = waits->list[i].pid;
        waits->is_complete = delays_below(waits->delays, self, pids, pids != NULL ? waits->n : 0,
                                          most_ns, &waits->sums);
        if (!waits->is_complete)
            waits->reason =
                "more tasks ended than could be told, or the kernel told nonsense of one";
    }
    free(pids);
    delays_close(waits->delays);
    free(waits->list);
    waits->delays = NULL;
    waits->list = NULL;
}

const char *waits_source_name(enum waits_source source)
{
    static const char *const names[] = {NULL, "taskstats", "stat"};

    return names[source];
}
