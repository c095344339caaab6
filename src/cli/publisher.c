/* SPDX-License-Identifier: Apache-2.0 */
/*
 * publisher: see publisher.h. While figures change they are published four times a second; where
 * they don't, more and more seldom, down to once a second. A look costs some microseconds, and less
 * than 1/10000 of a processor.
 */
#include "cli/publisher.h"

#include "base/sys.h"
#include "policy/policy.h"
#include "policy/prefetch.h"
#include "store/codec.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FIRST_NS ((uint64_t)50 * 1000 * 1000)
#define BUSY_NS ((uint64_t)250 * 1000 * 1000)
#define IDLE_NS ((uint64_t)1000 * 1000 * 1000)
#define MOMENT_NS ((uint64_t)1000 * 1000 * 1000)

static_assert(QUIRE_OBSERVE_N_LATENCIES == CONTROL_N_LATENCY_BUCKETS, "the same buckets");
static_assert(PUBLISHED_MAX_PROCESSES >= CONTROL_SLOTS, "all processes of a run");

static uint64_t bytes(int64_t pages)
{
    return pages > 0 ? (uint64_t)pages << SYS_PAGE_SHIFT : 0;
}

static uint64_t load(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void take_counters(const struct control *control, struct quire_observe_run *run)
{
    struct control_stats totals;

    control_totals(control, &totals);
    for (int i = 0; i < CONTROL_N_FAULTS; i++)
        run->faults[i] = totals.faults[i];
    run->prefetched_pages = totals.prefetched;
    run->prefetch_hits = totals.prefetch_hits;
    run->resumed_pages = totals.resumed;
    run->evicted_pages = totals.evictions;
    run->dead_pages = totals.dropped_dead;
    run->scrubbed_bytes = totals.scrubbed_bytes;
    run->same_filled_pages = totals.same_filled;
    run->packed_pages = totals.stored_pages;
    run->packed_bytes = totals.stored_bytes;
    run->written_pages = totals.written_pages;
    run->waits_for_room = totals.waits_for_room;
    run->fault_ns = totals.fault_ns;
    run->stall_ns = totals.stall_ns;
    for (unsigned i = 0; i < CONTROL_N_LATENCY_BUCKETS; i++)
        run->latency[i] = totals.latency[i];
}

static uint64_t faults_of(const struct control_stats *stats)
{
    uint64_t sum = 0;

    for (int i = 0; i < CONTROL_N_FAULTS; i++)
        sum += load(&stats->faults[i]);
    return sum;
}

/* The processes of the slots; slots that are about to be taken or cleared have no pid. */
static void take_processes(const struct control *control, struct quire_observe_run *run,
                           struct quire_observe_run_process *processes)
{
    uint32_t end = atomic_load(&control->slots_end);

    for (uint32_t i = 0; i < end && i < CONTROL_SLOTS; i++) {
        const struct control_slot *slot = &control->slot[i];
        uint32_t pid = atomic_load(&slot->pid);
        run->stored += bytes((int64_t)load(&slot->stored_pages));
        run->unmanaged += bytes((int64_t)load(&slot->unmanaged_pages));
        if (pid == 0 || pid > INT32_MAX)
            continue;
        int64_t held[CONTROL_N_KINDS];
        control_kinds(slot->held, held);
        processes[run->n_alive++] = (struct quire_observe_run_process){
            .pid = pid,
            .start_ticks = load(&slot->start_time),
            .resident = bytes(held[CONTROL_RESIDENT]),
            .staged = bytes(held[CONTROL_STAGED]),
            .compressed = bytes(held[CONTROL_POOL]),
            .metadata = bytes(held[CONTROL_METADATA]),
            .file = bytes(held[CONTROL_FILE]),
            .stored = bytes((int64_t)load(&slot->stored_pages)),
            .unmanaged = bytes((int64_t)load(&slot->unmanaged_pages)),
            .armed = atomic_load(&slot->armed),
            .faults = faults_of(&slot->stats),
            .fault_ns = load(&slot->stats.fault_ns),
            .evicted_pages = load(&slot->stats.evictions),
        };
    }
}

static uint64_t order_of(const struct control *control)
{
    switch (control_order_kind(atomic_load(&control->order))) {
    case CONTROL_PARK:
        return 1;
    case CONTROL_PARK_AND_STOP:
        return 2;
    case CONTROL_RESUME:
        return 3;
    default:
        return 0;
    }
}

static void take_settings(const struct publisher *publisher, struct quire_observe_run *run)
{
    const struct control_options *options = &publisher->control->options;

    memcpy(run->command, publisher->command, sizeof run->command);
    snprintf(run->policy, sizeof run->policy, "%s", policy_name((enum policy_kind)options->policy));
    snprintf(run->prefetch, sizeof run->prefetch, "%s",
             prefetch_name((enum prefetch_kind)options->prefetch));
    snprintf(run->codec, sizeof run->codec, "%s",
             options->codec == STORE_CODEC_NONE  ? "none"
             : options->codec == STORE_CODEC_LZ4 ? "lz4"
                                                 : "zstd");
    run->codec_adapts = options->codec_adapts;
    run->max_stall_ppm = options->max_stall_ppm;
    run->swap_most = options->swap_max_bytes;
}

static void take(const struct publisher *publisher, struct quire_observe_run *run,
                 struct quire_observe_run_process *processes)
{
    const struct control *control = publisher->control;
    int64_t held[CONTROL_N_KINDS];

    control_kinds(control->held, held);
    *run = (struct quire_observe_run){.at_ns = sys_now_ns()};
    take_settings(publisher, run);
    run->keeper = (uint64_t)control->options.keeper_pid;
    run->launcher = atomic_load(&control->launcher_ended) ? 0 : publisher->launcher;
    run->order = order_of(control);
    run->budget = bytes(control_budget(control));
    run->budget_most = load(&control->budget_most_bytes);
    run->held = bytes(control_held(control));
    run->resident = bytes(held[CONTROL_RESIDENT]);
    run->staged = bytes(held[CONTROL_STAGED]);
    run->compressed = bytes(held[CONTROL_POOL]);
    run->metadata = bytes(held[CONTROL_METADATA]);
    run->file = bytes(held[CONTROL_FILE]);
    run->peak_held = bytes(atomic_load(&control->peak_held));
    run->n_processes = load(&control->n_processes);
    take_counters(control, run);
    take_processes(control, run, processes);
}

static struct quire_observe_run_moment moment_of(const struct quire_observe_run *run)
{
    struct quire_observe_run_moment moment = {
        .at_ns = run->at_ns,
        .budget = run->budget,
        .resident = run->resident,
        .staged = run->staged,
        .compressed = run->compressed,
        .metadata = run->metadata,
        .file = run->file,
        .stored = run->stored,
        .unmanaged = run->unmanaged,
        .fault_ns = run->fault_ns,
        .evicted_pages = run->evicted_pages,
        .packed_pages = run->packed_pages,
        .packed_bytes = run->packed_bytes,
    };

    memcpy(moment.faults, run->faults, sizeof moment.faults);
    return moment;
}

static void publish(struct publisher *publisher, uint64_t now_ns)
{
    static struct quire_observe_run_process processes[PUBLISHED_MAX_PROCESSES];
    struct quire_observe_run run;

    take(publisher, &run, processes);
    publication_update(&publisher->publication, &run, processes);
    if (now_ns >= publisher->next_moment_ns) {
        const struct quire_observe_run_moment moment = moment_of(&run);
        publication_add_moment(&publisher->publication, &moment);
        publisher->next_moment_ns = now_ns + MOMENT_NS;
    }
    uint64_t changes = run.held + run.file + run.fault_ns + run.evicted_pages + run.packed_bytes +
                       run.budget + run.n_alive + run.order;
    bool changed = changes != publisher->changes;
    publisher->changes = changes;
    publisher->interval_ns = changed                                ? BUSY_NS
                             : publisher->interval_ns * 2 < IDLE_NS ? publisher->interval_ns * 2
                                                                    : IDLE_NS;
}

void publisher_open(struct publisher *publisher, const struct control *control,
                    char *const *command)
{
    size_t n = 0;

    *publisher = (struct publisher){
        .control = control, .interval_ns = FIRST_NS / 2, .launcher = (uint64_t)getpid()};
    for (; *command != NULL && n < sizeof publisher->command; command++)
        n += (size_t)snprintf(publisher->command + n, sizeof publisher->command - n, "%s%s",
                              n > 0 ? " " : "", *command);
    if (publication_open(&publisher->publication))
        publisher_tick(publisher); /* whole before it has its name */
}

void publisher_start(struct publisher *publisher, int keeper)
{
    publication_name(&publisher->publication, keeper);
}

int publisher_tick(struct publisher *publisher)
{
    uint64_t now_ns = sys_now_ns();

    if (publisher->publication.file == NULL)
        return -1;
    if (now_ns >= publisher->next_ns) {
        publish(publisher, now_ns);
        publisher->next_ns = now_ns + publisher->interval_ns;
    }
    return (int)((publisher->next_ns - now_ns) / 1000000) + 1;
}

void publisher_end(struct publisher *publisher)
{
    publication_remove(&publisher->publication);
}
