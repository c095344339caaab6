/* SPDX-License-Identifier: Apache-2.0 */
/*
 * roster: looks through the control block's slots now and then.
 *
 * A process is known by its pid and its start time, since pids are used again. The list is bounded:
 * when it is full, a newcomer takes the place of the one that had the least memory, if that was
 * less, so what matters stays.
 */
#include "cli/roster.h"

#include "base/log.h"
#include "base/sys.h"
#include "cli/json_text.h"
#include "observe/procfs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NAMED_OFTEN 8 /* looks, since a program executes another one soon after a fork; then */
#define NAMED_EVERY 16

static uint64_t held_pages(const struct control_slot *slot)
{
    int64_t sum = 0;

    for (int kind = 0; kind < CONTROL_FILE; kind++)
        sum += atomic_load_explicit(&slot->held[kind], memory_order_relaxed);
    return sum > 0 ? (uint64_t)sum : 0;
}

static struct roster_entry *find(struct roster *roster, uint32_t pid, uint64_t start_time)
{
    for (unsigned i = roster->n_entries; i-- > 0;)
        if (roster->entry[i].pid == pid && roster->entry[i].start_time == start_time)
            return &roster->entry[i];
    return NULL;
}

/* A place for a process that holds so much, or NULL. */
static struct roster_entry *make_place(struct roster *roster, uint64_t n_pages)
{
    struct roster_entry *least = &roster->entry[0];

    if (roster->n_entries < ROSTER_MOST)
        return &roster->entry[roster->n_entries++];
    for (unsigned i = 1; i < ROSTER_MOST; i++)
        if (roster->entry[i].peak_held_pages < least->peak_held_pages)
            least = &roster->entry[i];
    return least->peak_held_pages < n_pages ? least : NULL;
}

static void look_for_name(struct roster_entry *entry)
{
    char path[32], name[sizeof entry->name];

    if (entry->n_looks++ >= NAMED_OFTEN && entry->n_looks % NAMED_EVERY != 0)
        return;
    log_format(path, sizeof path, "/proc/%u/comm", entry->pid);
    if (procfs_read_line(path, name, sizeof name) == 0 && name[0] != '\0')
        memcpy(entry->name, name, sizeof name);
}

static void look_at(struct roster *roster, const struct control_slot *slot, uint64_t at_ns)
{
    const struct control_stats *stats = &slot->stats;
    uint32_t pid = atomic_load(&slot->pid);
    uint64_t start_time = atomic_load(&slot->start_time), held = held_pages(slot);
    bool is_alive = atomic_load(&slot->zone_base[0]) != 0 && sys_kill((int)pid, 0) != -ESRCH;

    if (pid == 0 || pid > INT32_MAX)
        return;
    struct roster_entry *entry = find(roster, pid, start_time);
    if (entry == NULL && (entry = make_place(roster, held)) != NULL)
        *entry = (struct roster_entry){.pid = pid, .start_time = start_time, .first_ns = at_ns};
    if (entry == NULL)
        return;
    if (is_alive || entry->n_looks == 0) {
        entry->last_ns = at_ns;
        look_for_name(entry);
    }
    if (held > entry->peak_held_pages)
        entry->peak_held_pages = held;
    entry->n_faults = 0;
    for (int kind = 0; kind < CONTROL_N_FAULTS; kind++)
        entry->n_faults += atomic_load_explicit(&stats->faults[kind], memory_order_relaxed);
    entry->n_evictions = atomic_load_explicit(&stats->evictions, memory_order_relaxed);
    entry->fault_ns = atomic_load_explicit(&stats->fault_ns, memory_order_relaxed);
}

void roster_take(struct roster *roster, const struct control *control, uint64_t at_ns)
{
    for (unsigned i = 0; i < control->slots_end; i++)
        look_at(roster, &control->slot[i], at_ns);
}

static json_t *entry_json(const struct roster_entry *entry)
{
    return json_pack("{s:I, s:o, s:f, s:f, s:I, s:I, s:I, s:I}", "pid", (json_int_t)entry->pid,
                     "name", json_text(entry->name), "first_seconds", (double)entry->first_ns / 1e9,
                     "last_seconds", (double)entry->last_ns / 1e9, "peak_held_bytes",
                     (json_int_t)(entry->peak_held_pages << SYS_PAGE_SHIFT), "faults",
                     (json_int_t)entry->n_faults, "evictions", (json_int_t)entry->n_evictions,
                     "fault_wait_ns", (json_int_t)entry->fault_ns);
}

static int by_peak(const void *a, const void *b)
{
    uint64_t first = (*(const struct roster_entry *const *)a)->peak_held_pages;
    uint64_t second = (*(const struct roster_entry *const *)b)->peak_held_pages;

    return first > second ? -1 : first < second;
}

json_t *roster_json(const struct roster *roster)
{
    const struct roster_entry *order[ROSTER_MOST] = {NULL};
    json_t *list = json_array();
    int bad = list == NULL;

    for (unsigned i = 0; i < roster->n_entries; i++)
        order[i] = &roster->entry[i];
    qsort(order, roster->n_entries, sizeof order[0], by_peak);
    for (unsigned i = 0; i < roster->n_entries; i++)
        bad |= json_array_append_new(list, entry_json(order[i]));
    if (!bad)
        return list;
    json_decref(list);
    return NULL;
}
