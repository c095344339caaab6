/* SPDX-License-Identifier: Apache-2.0 */
/*
 * portfolio: from a placement at once to the best or a proof.
 *
 *     sweep          at once, as an allocator would do it at run time
 *     stack          bad: for what `sweep` does not take
 *     blocks         what fits together is joined, the rest placed by first fit
 *     first fit      in a few orders
 *     rounds of      lane 0 |--------|--------|----------|   exact, order A, target = bound
 *     lanes          lane 1 |--------|--------|----------|   exact, order B, target = bound
 *                    ...    |--------|--------|----------|   ejection, bound + gap / 8, ...
 *                             quota   2 quota   4 quota
 *
 * A placement within the target that a lane looks for, or a proof that there is none, brings the
 * best peak and the bound towards each other. The targets of a round lie between the two: some at
 * the bound, for the answer that ends it all, others above it, where it is easier to get better.
 *
 * Threads take lanes in their order; a round ends when all its lanes have. So the number of threads
 * changes nothing but the time. A final answer of lane k (a placement at the bound or within the
 * capacity; a proof where a capacity was asked for) makes the lanes after k useless: they stop, and
 * don't count. Those before k go on, for theirs would be taken.
 *
 * Invariants
 *   1. bound <= the least peak <= best.peak, and best.offsets is a placement of that peak.
 *   2. The state after a round depends on instance, request and the number of the round only,
 *      unless a limit stopped it.
 *
 * Locks: none. next_lane and final_lane are atomic, relaxed: lanes are handed over by creating and
 * joining threads. Fails with -ENOMEM, before there is a placement; later that ends the search.
 */
#include "tensor/portfolio.h"
#include "tensor/blocks.h"
#include "tensor/lane.h"
#include "tensor/order.h"
#include "tensor/stack.h"
#include "tensor/sweep.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define MAX_THREADS 64u
#define STACK_BYTES ((size_t)8 << 20) /* exact.c recurses */
#define FIRST_QUOTA 20000u
#define MANY_ITEMS 20000u       /* one order and few lanes */
#define ENOUGH_STEPS 120000000u /* a second or two */
#define FEW 600u                /* items: lanes of exact search are worth it */
#define ALL TENSOR_EXACT_MAX_ITEMS
#define BLOCK_STEPS 40000000u /* for the blocks, before the items */
#define NO_LIMIT ((uint64_t)1 << 63)
#define FIRST_PART 16u /* the first capacity is so much of the bound above it, the last ... */
#define LAST_PART 512u

static const struct tensor_lane_kind lane_kinds[TENSOR_MAX_LANES] = {
    {"search, fullest section, duration", true, "da", true, 0, ALL},
    {"search, duration", true, "dat", false, 0, ALL},
    {"search, fullest section, sections", true, "tsa", false, 0, FEW},
    {"search, fullest section, area", true, "ad", true, 0, FEW},
    {"search, fullest section at first", true, "tda", false, 0, FEW},
    {"ejection", false, "ad", false, 0, ALL},
    {"search, fullest section, duration", true, "da", true, 6, ALL},
    {"ejection", false, "da", false, 5, ALL},
    {"search, duration", true, "dat", false, 4, FEW},
    {"search, fullest section at first", true, "tda", false, 7, FEW},
    {"ejection", false, "ad", false, 7, ALL},
};

struct portfolio {
    struct tensor_instance *instance;
    const struct tensor_request *request;
    struct tensor_limits *limits;
    struct tensor_solution *best;
    struct tensor_work work; /* the caller's */
    struct tensor_lane lanes[TENSOR_MAX_LANES];
    uint32_t n_lanes;
    uint64_t pass;                  /* steps that first fit takes */
    uint32_t next_lane, final_lane; /* atomic */
};

static bool is_answered(const struct portfolio *portfolio)
{
    const struct tensor_solution *best = portfolio->best;
    uint64_t capacity = portfolio->request->capacity;
    if (capacity != 0)
        return best->peak <= capacity || best->bound > capacity;
    return best->peak <= best->bound;
}

static bool is_stopped(const struct portfolio *portfolio)
{
    return tensor_work_is_stopped(&portfolio->work);
}

/* Takes a placement that is better than the best. */
static void take(struct portfolio *portfolio, const uint64_t *offsets, const char *found_by)
{
    uint64_t peak = tensor_peak(portfolio->instance, offsets);
    if (peak >= portfolio->best->peak)
        return;
    memcpy(portfolio->best->offsets, offsets,
           portfolio->instance->n_items * sizeof *portfolio->best->offsets);
    portfolio->best->peak = peak;
    portfolio->best->found_by = found_by;
}

/* First fit */

/* In the order of `keys`; within `capacity`, if there is a limit, by ejection. `start`: a placement
 * of which those within the capacity are in already; NULL: none are. Whether all are in. */
static bool fit(struct portfolio *portfolio, const char *keys, const uint64_t *start,
                uint64_t capacity, uint64_t *offsets)
{
    const struct tensor_instance *instance = portfolio->instance;
    size_t n = instance->n_items + 1;
    if (!tensor_has_time(portfolio->limits))
        return false;
    struct tensor_eject *eject = tensor_eject_new(instance, portfolio->request->seed);
    struct tensor_key *room = malloc(2 * n * sizeof *room);
    uint32_t *ranks = malloc(n * sizeof *ranks);
    bool is_good = eject != NULL && room != NULL && ranks != NULL;

    if (is_good) {
        tensor_order(instance, keys, ranks, room);
        tensor_eject_start(eject, start, capacity, ranks);
        portfolio->work.quota = capacity == NO_LIMIT
                                    ? UINT64_MAX
                                    : portfolio->work.n_steps + 2 * portfolio->pass;
        is_good = tensor_eject_run(eject, &portfolio->work);
    }
    if (is_good)
        tensor_eject_offsets(eject, offsets);
    tensor_eject_free(eject);
    free(room);
    free(ranks);
    return is_good;
}

/*
 * Where blocks are few, placing them is a small problem, and worth a search; its bound says nothing
 * about the items.
 */
static void fit_blocks(struct portfolio *portfolio, uint64_t *offsets)
{
    struct tensor_blocks blocks;
    struct tensor_request request = *portfolio->request;
    struct tensor_solution solution;

    if (tensor_blocks_join(&blocks, portfolio->instance) != 0)
        return;
    if (blocks.joined.n_items > portfolio->instance->n_items / 2)
        request.strategy = QUIRE_TENSOR_GREEDY;
    if (request.max_steps == 0 || request.max_steps > BLOCK_STEPS)
        request.max_steps = BLOCK_STEPS;
    if (tensor_portfolio(&blocks.joined, &request, portfolio->limits, &solution) == 0) {
        tensor_blocks_expand(&blocks, solution.offsets, offsets);
        take(portfolio, offsets, "blocks");
        portfolio->best->n_steps += solution.n_steps;
        free(solution.offsets);
    }
    tensor_blocks_free(&blocks);
}

static void fit_orders(struct portfolio *portfolio, uint64_t *offsets)
{
    static const char *const orders[][2] = {{"ad", "first fit by area"},
                                            {"da", "first fit by duration"},
                                            {"za", "first fit by size"},
                                            {"tda", "first fit by fullest section"}};
    for (unsigned i = 0; i < 4 && !is_answered(portfolio) && !is_stopped(portfolio); i++)
        if (fit(portfolio, orders[i][0], NULL, NO_LIMIT, offsets))
            take(portfolio, offsets, orders[i][1]);
}

/*
 * Of many items: each pass counts. Where most lives is a short time as a rule, and only there the
 * best placement is too high: what is above the capacity is put out, and in again by ejection,
 * which takes much less than a pass. Capacities come nearer to the bound as long as that works.
 */
static void lower_many(struct portfolio *portfolio, uint64_t *offsets)
{
    const struct tensor_solution *best = portfolio->best;
    uint64_t capacity = portfolio->request->capacity, bound = best->bound;
    for (uint64_t part = FIRST_PART; part <= LAST_PART; part *= 2) {
        uint64_t target = capacity != 0 ? capacity : bound + bound / part;
        if (target >= best->peak)
            continue;
        if (is_stopped(portfolio) || !fit(portfolio, "ad", best->offsets, target, offsets))
            break;
        take(portfolio, offsets, "ejection");
    }
}

/* One pass with a capacity takes no longer than one without. */
static void fit_many(struct portfolio *portfolio, uint64_t *offsets)
{
    uint64_t bound = portfolio->best->bound, capacity = portfolio->request->capacity;
    lower_many(portfolio, offsets);
    capacity = capacity != 0 ? capacity : bound + bound / 100;
    if (portfolio->best->peak <= capacity || is_stopped(portfolio))
        return;
    if (fit(portfolio, "ad", NULL, capacity, offsets))
        take(portfolio, offsets, "ejection");
    else if (!is_stopped(portfolio) && fit(portfolio, "za", NULL, NO_LIMIT, offsets))
        take(portfolio, offsets, "first fit by size");
}

static bool is_sparse(const struct tensor_instance *instance)
{
    return instance->n_pairs / 64 < instance->n_items;
}

/* All that is done before the rounds. Blocks come first where they cost little beside a pass. */
static void fit_all(struct portfolio *portfolio, uint64_t *offsets)
{
    const struct tensor_instance *instance = portfolio->instance;
    bool is_large = instance->n_items > MANY_ITEMS;

    if (is_large && is_sparse(instance) && !is_answered(portfolio) && !is_stopped(portfolio))
        fit_many(portfolio, offsets);
    if (!is_answered(portfolio) && tensor_has_time(portfolio->limits))
        fit_blocks(portfolio, offsets);
    bool has_blocks = strcmp(portfolio->best->found_by, "blocks") == 0;
    if (is_large && !is_sparse(instance) && !has_blocks && !is_stopped(portfolio) &&
        !is_answered(portfolio) && fit(portfolio, "za", NULL, NO_LIMIT, offsets))
        take(portfolio, offsets, "first fit by size"); /* a pass with a capacity would take long */
    if (!is_large)
        fit_orders(portfolio, offsets);
}

/* Rounds of lanes */

static void *run_lanes(struct portfolio *portfolio, bool is_caller)
{
    for (;;) {
        uint32_t k = __atomic_fetch_add(&portfolio->next_lane, 1, __ATOMIC_RELAXED);
        uint32_t final = __atomic_load_n(&portfolio->final_lane, __ATOMIC_RELAXED);
        if (k >= portfolio->n_lanes || k > final)
            return NULL;
        struct tensor_lane *lane = &portfolio->lanes[k];
        if (lane->is_idle)
            continue;
        struct tensor_work work = {.limits = portfolio->limits,
                                   .is_caller = is_caller,
                                   .final_lane = &portfolio->final_lane,
                                   .lane = k};
        tensor_lane_run(lane, portfolio->instance, portfolio->best->offsets, &work);
        uint64_t capacity = portfolio->request->capacity;
        bool is_final = lane->result == TENSOR_LANE_NONE && capacity != 0;
        if (lane->result == TENSOR_LANE_FOUND)
            is_final = true; /* it looks for better until there is none */
        while (is_final && k < final &&
               !__atomic_compare_exchange_n(&portfolio->final_lane, &final, k, false,
                                            __ATOMIC_RELAXED, __ATOMIC_RELAXED))
            ;
    }
}

static void *start_thread(void *portfolio)
{
    return run_lanes(portfolio, false);
}

static void run_round(struct portfolio *portfolio)
{
    pthread_t threads[MAX_THREADS];
    uint32_t n = 0, wanted = portfolio->request->n_threads;
    pthread_attr_t attributes;

    portfolio->next_lane = 0;
    portfolio->final_lane = UINT32_MAX;
    if (pthread_attr_init(&attributes) == 0) {
        pthread_attr_setstacksize(&attributes, STACK_BYTES);
        for (; n + 1 < wanted && n < MAX_THREADS && n + 1 < portfolio->n_lanes; n++)
            if (pthread_create(&threads[n], &attributes, start_thread, portfolio) != 0)
                break; /* the others do its work */
        pthread_attr_destroy(&attributes);
    }
    run_lanes(portfolio, true);
    while (n > 0)
        pthread_join(threads[--n], NULL);
}

/* The next multiple of what divides every peak. */
static uint64_t above(const struct portfolio *portfolio, uint64_t peak)
{
    return tensor_align_up(peak + 1, portfolio->instance->unit);
}

/* Enough to come down to the last item a few times; of an ejection, to put all in once. */
static uint64_t first_quota(const struct portfolio *portfolio, const struct tensor_lane *lane)
{
    uint64_t n = portfolio->instance->n_items, quota = FIRST_QUOTA;
    uint64_t once = lane->kind->is_exact ? 2 * n * n + 2 * portfolio->pass
                    : n <= MANY_ITEMS    ? 8 * portfolio->pass
                                         : portfolio->pass / 2;
    return quota > once ? quota : once;
}

/* Between the bound and the best. Whether lanes are left that have something to do. */
static bool set_targets(struct portfolio *portfolio, uint64_t n_left, unsigned round)
{
    const struct tensor_solution *best = portfolio->best;
    uint64_t unit = portfolio->instance->unit, capacity = portfolio->request->capacity;
    uint64_t highest = tensor_align_down(best->peak - 1, unit), quotas = 0;
    bool is_any = false;

    for (uint32_t k = 0; k < portfolio->n_lanes; k++) {
        struct tensor_lane *lane = &portfolio->lanes[k];
        uint64_t gap = highest > best->bound ? highest - best->bound : 0;
        lane->eighths = lane->kind->eighths;
        if (lane->eighths != 0) /* from round to round another, 4 to 7 */
            lane->eighths = 4 + (lane->eighths + 3 * round) % 4;
        uint64_t target = best->bound + tensor_align_down(gap / 8 * lane->eighths, unit);
        if (capacity != 0)
            target = capacity;
        lane->is_new = lane->is_new || target != lane->target;
        lane->target = target;
        lane->is_idle = lane->result == TENSOR_LANE_NO_MEMORY ||
                        (lane->eighths != 0 && (capacity != 0 || target <= best->bound));
        lane->bound = capacity != 0 ? capacity : best->bound;
        lane->quota = first_quota(portfolio, lane) << (round < 32 ? round : 32);
        quotas += lane->is_idle ? 0 : lane->quota;
        is_any = is_any || !lane->is_idle;
        lane->result = lane->is_idle ? lane->result : TENSOR_LANE_OVER;
    }
    for (uint32_t k = 0; quotas > n_left && k < portfolio->n_lanes; k++)
        portfolio->lanes[k].quota = (uint64_t)((double)portfolio->lanes[k].quota * (double)n_left /
                                               (double)quotas);
    return is_any;
}

/* What the lanes up to the final one have found, in their order. */
static void harvest(struct portfolio *portfolio)
{
    uint64_t bound = portfolio->best->bound;
    for (uint32_t k = 0; k < portfolio->n_lanes && k <= portfolio->final_lane; k++) {
        const struct tensor_lane *lane = &portfolio->lanes[k];
        if (lane->is_idle)
            continue;
        portfolio->best->n_steps += lane->n_steps;
        if (lane->has_found)
            take(portfolio, lane->offsets, lane->kind->name);
        if (lane->result == TENSOR_LANE_NONE && above(portfolio, lane->target) > bound)
            bound = above(portfolio, lane->target);
    }
    portfolio->best->bound = bound;
}

static void run_rounds(struct portfolio *portfolio)
{
    const struct tensor_instance *instance = portfolio->instance;
    const struct tensor_request *request = portfolio->request;
    uint64_t max_steps = request->max_steps;

    if (max_steps == 0)
        max_steps = request->strategy == QUIRE_TENSOR_SEARCH ? UINT64_MAX
                                                             : ENOUGH_STEPS + 2 * portfolio->pass;
    if (instance->n_items <= MANY_ITEMS &&
        tensor_instance_list_neighbours(portfolio->instance) != 0)
        return;
    for (unsigned k = 0; k < TENSOR_MAX_LANES; k++) {
        const struct tensor_lane_kind *kind = &lane_kinds[k];
        bool is_wanted = kind->is_exact ? instance->n_items <= kind->max_items &&
                                              instance->first_neighbour != NULL
                                        : instance->n_items <= MANY_ITEMS || kind->eighths < 6;
        if (is_wanted)
            portfolio->lanes[portfolio->n_lanes++] = (struct tensor_lane){
                .kind = kind, .seed = request->seed + k};
    }
    for (unsigned round = 0; !is_answered(portfolio) && !is_stopped(portfolio); round++) {
        uint64_t done = portfolio->best->n_steps;
        if (done >= max_steps || !set_targets(portfolio, max_steps - done, round))
            break;
        run_round(portfolio);
        harvest(portfolio);
    }
    for (uint32_t k = 0; k < portfolio->n_lanes; k++)
        tensor_lane_deinit(&portfolio->lanes[k]);
}

int tensor_portfolio(struct tensor_instance *instance, const struct tensor_request *request,
                     struct tensor_limits *limits, struct tensor_solution *solution)
{
    struct portfolio portfolio = {.instance = instance,
                                  .request = request,
                                  .limits = limits,
                                  .best = solution,
                                  .work = {.limits = limits, .is_caller = true},
                                  .pass = 16 * (uint64_t)instance->n_items + 8 * instance->n_pairs};
    uint64_t *offsets = malloc((instance->n_items + 1) * sizeof *offsets);

    *solution = (struct tensor_solution){.bound = instance->bound, .found_by = "sweep over time"};
    solution->offsets = malloc((instance->n_items + 1) * sizeof *solution->offsets);
    bool has_room = offsets != NULL && solution->offsets != NULL;
    int error = has_room ? tensor_sweep(instance, solution->offsets) : -ENOMEM;
    if (has_room && error != 0) {
        solution->found_by = "stack";
        error = tensor_stack(instance, solution->offsets);
    }
    if (error != 0) {
        free(offsets);
        free(solution->offsets);
        return -ENOMEM;
    }
    solution->peak = tensor_peak(instance, solution->offsets);
    fit_all(&portfolio, offsets);
    free(offsets);
    if (request->strategy != QUIRE_TENSOR_GREEDY && !is_answered(&portfolio))
        run_rounds(&portfolio);
    return 0;
}
