/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replay: the trace's events in order, and between them what ends by itself.
 *
 * States of a request and the functions that change them:
 *
 *     NEW --arrive--> RUNNING --depart--> ENDED
 *      |                 ^
 *      |                 | begin, when something ended
 *      +--arrive--> WAITING --depart (its `free' line), finish--> FAILED
 *      '--arrive--> FAILED
 *
 * What ends at a time ends before what arrives then. Variable partitions have one queue in order of
 * arrival here, and whatever fits when something ended begins; fixed ones have theirs in the
 * library. Shares are weighed with the time for which they held.
 *
 * Fails by lack of memory only.
 */
#include "cli/replay.h"

#include "base/checked.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum state { NEW, WAITING, RUNNING, ENDED, FAILED };

struct job {
    enum state state;
    uint64_t arrived, length; /* rounded up */
    quire_extent extent;
    uint32_t partition;
    uint32_t box; /* its open one, if it is drawn */
};

struct departure {
    uint64_t time;
    uint32_t request;
};

struct replay {
    const struct trace *trace;
    const struct replay_policy *policy;
    const struct replay_options *options;
    struct replay_result *result;
    struct job *jobs;
    struct quire_extent_space *space;
    struct quire_partitions *partitions;
    uint32_t *queue; /* of variable partitions */
    uint32_t n_queue;
    struct departure *departures; /* a heap, the soonest first */
    uint32_t n_departures;
    uint32_t *owners; /* requests by the node of their extent: 2 * n_requests + 2, see move() */
    size_t boxes_max;
    uint64_t now, used, held; /* asked for, and with the rounding or the partition's rest */
    double external_now, internal_now, external_sum, internal_sum;
    double wait_sum;
    bool out_of_memory;
};

/* The heap of departures */

static bool is_sooner(struct departure a, struct departure b)
{
    return a.time < b.time || (a.time == b.time && a.request < b.request);
}

static void push_departure(struct replay *replay, uint64_t time, uint32_t request)
{
    struct departure *heap = replay->departures, new = {time, request};
    uint32_t i = replay->n_departures++;
    for (; i > 0 && is_sooner(new, heap[(i - 1) / 2]); i = (i - 1) / 2)
        heap[i] = heap[(i - 1) / 2];
    heap[i] = new;
}

static struct departure pop_departure(struct replay *replay)
{
    struct departure *heap = replay->departures, first = heap[0];
    struct departure last = heap[--replay->n_departures];
    uint32_t n = replay->n_departures, i = 0;
    for (uint32_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && is_sooner(heap[child + 1], heap[child]))
            child++;
        if (!is_sooner(heap[child], last))
            break;
        heap[i] = heap[child];
    }
    heap[i] = last;
    return first;
}

/* Boxes */

static void open_box(struct replay *replay, uint32_t request, uint64_t offset, uint64_t length)
{
    struct replay_result *result = replay->result;
    if (!replay->options->draws)
        return;
    if (result->n_boxes == replay->boxes_max) {
        size_t more = replay->boxes_max < 64 ? 64 : 2 * replay->boxes_max;
        void *larger = reallocarray(result->boxes, more, sizeof *result->boxes);
        if (larger == NULL) {
            replay->out_of_memory = true;
            return;
        }
        result->boxes = larger;
        replay->boxes_max = more;
    }
    replay->jobs[request].box = (uint32_t)result->n_boxes;
    result->boxes[result->n_boxes++] = (struct replay_box){
        replay->now, UINT64_MAX, offset, length, replay->trace->requests[request].length, request};
}

static void close_box(struct replay *replay, uint32_t request)
{
    if (replay->options->draws && !replay->out_of_memory)
        replay->result->boxes[replay->jobs[request].box].end = replay->now;
}

/* Figures */

static void weigh(struct replay_share *share, double *sum, double now, double time)
{
    *sum += now * time;
    share->max = now > share->max ? now : share->max;
    share->end = now;
}

static void go_to(struct replay *replay, uint64_t time)
{
    double passed = (double)(time - replay->now);
    if (passed > 0) { /* what held for no time is not counted */
        weigh(&replay->result->external, &replay->external_sum, replay->external_now, passed);
        weigh(&replay->result->internal, &replay->internal_sum, replay->internal_now, passed);
    }
    replay->now = time;
}

static void look(struct replay *replay)
{
    uint64_t n_free, largest;
    if (replay->partitions != NULL) {
        struct quire_partition_stats stats;
        quire_partition_stats(replay->partitions, &stats);
        n_free = stats.n_free;
        largest = stats.largest;
    } else {
        struct quire_extent_stats stats;
        quire_extent_stats(replay->space, &stats);
        n_free = stats.n_free;
        largest = stats.largest;
    }
    replay->external_now = n_free > 0 ? 1 - (double)largest / (double)n_free : 0;
    replay->internal_now = replay->held > 0 ? 1 - (double)replay->used / (double)replay->held : 0;
}

static void fail(struct replay *replay, uint32_t request)
{
    uint64_t length = replay->trace->requests[request].length;
    struct replay_result *result = replay->result;
    replay->jobs[request].state = FAILED;
    result->n_failed++;
    result->largest_failed = length > result->largest_failed ? length : result->largest_failed;
}

static void begin(struct replay *replay, uint32_t request, uint64_t offset, uint64_t length)
{
    struct job *job = &replay->jobs[request];
    const struct trace_request *its = &replay->trace->requests[request];
    struct replay_result *result = replay->result;
    uint64_t waited = replay->now - job->arrived;
    job->state = RUNNING;
    result->n_placed++;
    result->n_waited += waited > 0;
    result->wait_max = waited > result->wait_max ? waited : result->wait_max;
    replay->wait_sum += (double)waited;
    replay->used += its->length;
    replay->held += length;
    job->length = length;
    if (offset + length > result->highest_end)
        result->highest_end = offset + length;
    result->peak_used = replay->used > result->peak_used ? replay->used : result->peak_used;
    open_box(replay, request, offset, length);
    if (its->duration > 0) {
        uint64_t end;
        if (!checked_add(replay->now, its->duration, &end))
            end = UINT64_MAX;
        push_departure(replay, end, request);
    }
}

/* Variable partitions */

static int move(void *context, quire_extent extent, uint64_t from, uint64_t to, uint64_t length)
{
    struct replay *replay = context;
    uint32_t request = replay->owners[(uint32_t)extent];
    (void)from;
    close_box(replay, request);
    open_box(replay, request, to, length);
    return 0;
}

static int compact(struct replay *replay, uint64_t length)
{
    struct quire_extent_compaction compaction = {
        .wanted = length,
        .budget = replay->options->compact,
        .move = move,
        .context = replay,
    };
    struct quire_extent_advice advice;
    quire_extent_advise(replay->space, length, &advice);
    if (!advice.pays)
        return -ENOMEM;
    int result = quire_extent_compact(replay->space, &compaction);
    replay->result->n_moved += compaction.n_moved;
    replay->result->n_moves += compaction.n_extents_moved;
    return result;
}

static bool place(struct replay *replay, uint32_t request)
{
    struct job *job = &replay->jobs[request];
    uint64_t offset;
    int error = quire_extent_alloc(replay->space, job->length, 1, &job->extent, &offset);
    if (error == -ENOMEM && replay->options->compact > 0 && compact(replay, job->length) == 0)
        error = quire_extent_alloc(replay->space, job->length, 1, &job->extent, &offset);
    if (error != 0)
        return false;
    replay->owners[(uint32_t)job->extent] = request;
    begin(replay, request, offset, job->length);
    return true;
}

static void serve_queue(struct replay *replay)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < replay->n_queue; i++) {
        uint32_t request = replay->queue[i];
        if (replay->jobs[request].state == WAITING && !place(replay, request))
            replay->queue[n++] = request;
    }
    replay->n_queue = n;
}

/* Fixed partitions */

static void begin_in(struct replay *replay, uint32_t request, uint32_t partition)
{
    struct quire_partition_piece piece;
    if (quire_partition_find(replay->partitions, partition, &piece) != 0)
        abort(); /* the library said so just now */
    replay->jobs[request].partition = partition;
    begin(replay, request, piece.offset, piece.length);
}

static bool submit(struct replay *replay, uint32_t request, bool waits)
{
    uint32_t partition;
    int error = quire_partition_submit(replay->partitions, request,
                                       replay->trace->requests[request].length, &partition);
    if (error == 0)
        begin_in(replay, request, partition);
    else if (error == -EAGAIN && waits)
        replay->jobs[request].state = WAITING;
    else if (error == -EAGAIN)
        error = quire_partition_cancel(replay->partitions, request) == 0 ? -ENOMEM : -EINVAL;
    return error == 0 || error == -EAGAIN;
}

/* Events */

static void arrive(struct replay *replay, uint32_t request)
{
    const struct trace_request *its = &replay->trace->requests[request];
    struct job *job = &replay->jobs[request];
    uint64_t granule = replay->options->granule;
    bool waits = its->duration > 0 || replay->options->waits;
    job->arrived = replay->now;
    if (replay->partitions != NULL) {
        if (!submit(replay, request, waits))
            fail(replay, request);
        return;
    }
    job->length = (its->length + granule - 1) / granule * granule;
    if (place(replay, request))
        return;
    if (waits && job->length <= replay->result->space) {
        job->state = WAITING;
        replay->queue[replay->n_queue++] = request;
    } else {
        fail(replay, request);
    }
}

static void depart(struct replay *replay, uint32_t request)
{
    struct job *job = &replay->jobs[request];
    uint64_t next;
    int error = 0;
    if (job->state == WAITING) { /* variable: serve_queue() leaves it out */
        if (replay->partitions != NULL)
            error = quire_partition_cancel(replay->partitions, request);
        fail(replay, request);
    } else if (job->state == RUNNING) {
        close_box(replay, request);
        job->state = ENDED;
        replay->used -= replay->trace->requests[request].length;
        replay->held -= job->length;
        if (replay->partitions == NULL) {
            error = quire_extent_free(replay->space, job->extent);
            serve_queue(replay);
        } else if ((error = quire_partition_release(replay->partitions, job->partition, &next)) ==
                   1) {
            begin_in(replay, (uint32_t)next, job->partition);
        }
    }
    if (error < 0)
        abort(); /* what runs is held, what waits is queued */
}

static void depart_until(struct replay *replay, uint64_t time)
{
    while (replay->n_departures > 0 && replay->departures[0].time <= time) {
        struct departure departure = pop_departure(replay);
        go_to(replay, departure.time);
        depart(replay, departure.request);
        look(replay);
    }
}

static void play(struct replay *replay)
{
    const struct trace *trace = replay->trace;
    struct replay_result *result = replay->result;
    replay->now = result->first_time = trace->events[0].time;
    for (uint32_t i = 0; i < trace->n_events && !replay->out_of_memory; i++) {
        const struct trace_event *event = &trace->events[i];
        depart_until(replay, event->time);
        go_to(replay, event->time);
        if (event->is_end)
            depart(replay, event->request);
        else
            arrive(replay, event->request);
        look(replay);
    }
    double external_end = replay->external_now, internal_end = replay->internal_now;
    depart_until(replay, UINT64_MAX);
    double time = (double)(replay->now - result->first_time);
    result->last_time = replay->now;
    for (uint32_t i = 0; i < trace->n_requests; i++) {
        if (replay->jobs[i].state == WAITING)
            fail(replay, i);
        else if (replay->jobs[i].state == RUNNING)
            close_box(replay, i);
    }
    result->external.mean = time > 0 ? replay->external_sum / time : external_end;
    result->internal.mean = time > 0 ? replay->internal_sum / time : internal_end;
    result->external.end = external_end;
    result->internal.end = internal_end;
    result->external.max = external_end > result->external.max ? external_end
                                                               : result->external.max;
    result->internal.max = internal_end > result->internal.max ? internal_end
                                                               : result->internal.max;
    result->wait_mean = result->n_placed > 0 ? replay->wait_sum / (double)result->n_placed : 0;
}

/* Setting up */

static int make_partitions(struct replay *replay)
{
    const struct replay_policy *policy = replay->policy;
    struct quire_partition_config config = {
        .assignment = policy->assignment,
        .n_partitions = policy->n_partitions,
        .lengths = policy->lengths,
        .max_waiting = replay->trace->n_requests,
    };
    size_t n_bytes = quire_partition_metadata_bytes(&config);
    void *metadata = malloc(n_bytes);
    if (metadata == NULL)
        return -ENOMEM;
    int error = quire_partition_init(&config, metadata, n_bytes, &replay->partitions);
    struct quire_partition_stats stats;
    if (error == 0) {
        quire_partition_stats(replay->partitions, &stats);
        replay->result->space = stats.length;
    } else {
        free(metadata);
    }
    return error;
}

static int make_space(struct replay *replay)
{
    struct quire_extent_config config = {
        .length = replay->options->space,
        .max_extents = replay->trace->n_requests,
        .policy = replay->policy->policy,
    };
    size_t n_bytes = quire_extent_metadata_bytes(&config);
    void *metadata = aligned_alloc(QUIRE_EXTENT_ALIGNMENT,
                                   round_up(n_bytes, QUIRE_EXTENT_ALIGNMENT));
    if (metadata == NULL)
        return -ENOMEM;
    replay->result->space = config.length;
    int error = quire_extent_init(&config, metadata, n_bytes, &replay->space);
    if (error)
        free(metadata);
    return error;
}

int replay_run(const struct trace *trace, const struct replay_policy *policy,
               const struct replay_options *options, struct replay_result *result)
{
    struct replay replay = {.trace = trace, .policy = policy, .options = options, .result = result};
    size_t n = trace->n_requests;
    *result = (struct replay_result){0};
    replay.jobs = calloc(n, sizeof *replay.jobs);
    replay.queue = calloc(n, sizeof *replay.queue);
    replay.departures = calloc(n, sizeof *replay.departures);
    replay.owners = calloc(2 * n + 2, sizeof *replay.owners);
    int error = replay.jobs && replay.queue && replay.departures && replay.owners ? 0 : -ENOMEM;
    if (error == 0)
        error = policy->is_fixed ? make_partitions(&replay) : make_space(&replay);
    if (error == 0) {
        play(&replay);
        error = replay.out_of_memory ? -ENOMEM : 0;
    }
    free(replay.space);
    free(replay.partitions);
    free(replay.owners);
    free(replay.departures);
    free(replay.queue);
    free(replay.jobs);
    return error;
}

void replay_free(struct replay_result *result)
{
    free(result->boxes);
    result->boxes = NULL;
    result->n_boxes = 0;
}
