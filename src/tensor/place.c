/* SPDX-License-Identifier: Apache-2.0 */
/*
 * place: a problem in, a checked plan out.
 *
 *     check --> one space:  portfolio ------------------------------> verify --> plan
 *           \-> several:    for each, the preferred first:           /
 *                           choose, portfolio, what is over goes on -
 *           \-> little time: in the order of time (quick), in one space
 *           \-> no time:     one behind the other                    /
 *
 * With a time limit, the quick placement of one space is made first: whether the portfolio will be
 * in time shows only on the way, and then this one is there.
 *
 * Several spaces: into a space go the buffers that may lie in no later one, then as many others as
 * its capacity holds at every time, those first that gain the most a byte and tick (`weight`). What
 * does not lie within the capacity in the best placement found moves on to the next space it may
 * lie in.
 *
 * Nothing is given out that quire_tensor_verify() does not accept. A placement beyond the capacity
 * is checked without it. Fails with -EINVAL, -ENOMEM, and -EUCLEAN, which is a fault here.
 */
#include "base/checked.h"
#include "tensor/instance.h"
#include "tensor/portfolio.h"
#include "tensor/quick.h"
#include "tensor/spaces.h"
#include <quire/tensor.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PROGRESS_NS 100000000u
#define MAX_SECONDS 1e9

struct placing {
    const struct quire_tensor_problem *problem;
    const struct quire_tensor_options *options;
    struct quire_tensor_plan *plan;
    struct tensor_limits limits;
    uint64_t start_ns, told_ns;
    uint32_t *chosen; /* room for the indices of all buffers */
    struct tensor_quick quick;
    bool has_quick; /* the offsets of the plan are that placement's */
};

static int poll_caller(void *context)
{
    struct placing *placing = context;
    uint64_t now = tensor_now_ns();
    if (now - placing->told_ns < PROGRESS_NS)
        return 0;
    placing->told_ns = now;
    struct quire_tensor_progress progress = {.seconds = (double)(now - placing->start_ns) / 1e9};
    if (placing->limits.best != NULL) {
        progress.peak = placing->limits.best->peak;
        progress.bound = placing->limits.best->bound;
        progress.n_steps = placing->limits.best->n_steps;
    }
    return placing->options->progress(placing->options->context, &progress);
}

/* The problem */

/* The fixed buffers alone have to be sound, and every offset to suit `min_alignment`. */
static int check_fixed(const struct placing *placing, struct quire_tensor_fault *fault)
{
    const struct quire_tensor_problem *problem = placing->problem;
    uint64_t alignment = placing->options->min_alignment, sum = 0;
    struct quire_tensor_buffer *fixed = NULL;
    uint64_t *offsets = NULL;
    uint32_t *spaces = NULL;
    size_t n = 0;
    int error = -ENOMEM;

    for (size_t i = 0; i < problem->n_buffers; i++) {
        const struct quire_tensor_buffer *buffer = &problem->buffers[i];
        uint64_t both = tensor_common_alignment(buffer->alignment, alignment), need;
        enum quire_tensor_fault_kind kind = QUIRE_TENSOR_SOUND;
        if (!checked_add(buffer->size, both > 1 ? both : 0, &need) ||
            !checked_add(sum, need, &sum) || sum > QUIRE_TENSOR_MAX_SIZE)
            kind = QUIRE_TENSOR_TOO_LARGE;
        else if (buffer->is_fixed && buffer->size > 0 && buffer->offset % both != 0)
            kind = QUIRE_TENSOR_MISALIGNED;
        if (kind != QUIRE_TENSOR_SOUND) {
            if (fault != NULL)
                *fault = (struct quire_tensor_fault){kind, i, i};
            return -EINVAL;
        }
        if (buffer->is_fixed)
            placing->chosen[n++] = (uint32_t)i;
    }
    fixed = malloc((n + 1) * sizeof *fixed);
    offsets = malloc((n + 1) * sizeof *offsets);
    spaces = malloc((n + 1) * sizeof *spaces);
    if (fixed != NULL && offsets != NULL && spaces != NULL) {
        for (size_t k = 0; k < n; k++) {
            fixed[k] = problem->buffers[placing->chosen[k]];
            offsets[k] = fixed[k].offset;
            spaces[k] = fixed[k].spaces == 0 ? 0 : (uint32_t)__builtin_ctz(fixed[k].spaces);
        }
        struct quire_tensor_problem only = {fixed, n, problem->spaces, problem->n_spaces};
        struct quire_tensor_fault found = {QUIRE_TENSOR_SOUND, 0, 0};
        error = quire_tensor_verify(&only, offsets, spaces, 0, 0, NULL, &found);
        if (error == -EUCLEAN) {
            error = -EINVAL;
            if (fault != NULL)
                *fault = (struct quire_tensor_fault){found.kind, placing->chosen[found.first],
                                                     placing->chosen[found.second]};
        }
    }
    free(fixed);
    free(offsets);
    free(spaces);
    return error;
}

static bool options_are_good(const struct quire_tensor_problem *problem,
                             const struct quire_tensor_options *options)
{
    return (unsigned)options->strategy <= QUIRE_TENSOR_SEARCH && options->time_limit >= 0 &&
           options->capacity <= QUIRE_TENSOR_MAX_SIZE &&
           options->min_alignment <= QUIRE_TENSOR_MAX_SIZE &&
           (options->capacity == 0 || problem->n_spaces <= 1);
}

static uint64_t capacity_of(const struct placing *placing, uint32_t space)
{
    if (placing->problem->n_spaces > 0 && placing->problem->spaces[space].capacity != 0)
        return placing->problem->spaces[space].capacity;
    return placing->options->capacity;
}

/* One space */

/* Time for the check at the end, which counts. */
static void reserve_time(struct placing *placing, uint64_t took_ns)
{
    struct tensor_limits *limits = &placing->limits;
    limits->pass_ns = took_ns;
    if (limits->deadline_ns != UINT64_MAX && !tensor_is_late(limits, TENSOR_CHECK_NS(took_ns)))
        limits->deadline_ns -= TENSOR_CHECK_NS(took_ns);
}

/* Places the first `n` of `chosen` in a space, and writes it into the plan. */
static int place_in(struct placing *placing, uint32_t space, size_t n,
                    struct tensor_solution *solution)
{
    const struct quire_tensor_options *options = placing->options;
    struct quire_tensor_plan *plan = placing->plan;
    struct tensor_instance instance;
    struct tensor_request request = {.capacity = capacity_of(placing, space),
                                     .strategy = options->strategy,
                                     .max_steps = options->max_steps,
                                     .n_threads = options->n_threads > 1 ? options->n_threads : 1,
                                     .seed = options->seed};
    uint64_t before_ns = tensor_now_ns();
    int error = tensor_instance_init(&instance, placing->problem, placing->chosen, n,
                                     options->min_alignment, &placing->limits);
    if (error != 0)
        return error;
    reserve_time(placing, tensor_now_ns() - before_ns);
    placing->limits.best = solution;
    error = tensor_portfolio(&instance, &request, &placing->limits, solution);
    placing->limits.best = NULL;
    if (error == 0) {
        for (size_t k = 0; k < n; k++) {
            plan->spaces[placing->chosen[k]] = space;
            plan->offsets[placing->chosen[k]] = 0; /* those of 0 bytes */
            if (placing->problem->buffers[placing->chosen[k]].is_fixed)
                plan->offsets[placing->chosen[k]] =
                    placing->problem->buffers[placing->chosen[k]].offset;
        }
        for (uint32_t i = 0; i < instance.n_items; i++)
            plan->offsets[instance.origin[i]] = solution->offsets[i];
        plan->n_steps += solution->n_steps;
        plan->found_by = solution->found_by;
        free(solution->offsets);
        solution->offsets = NULL;
    }
    tensor_instance_deinit(&instance);
    return error;
}

/* What a peak and a bound in the only space say. */
static void judge(struct placing *placing, uint64_t peak, uint64_t bound)
{
    struct quire_tensor_plan *plan = placing->plan;
    uint64_t capacity = capacity_of(placing, 0);

    plan->peak = plan->peaks[0] = peak;
    plan->bound = bound;
    plan->verdict = QUIRE_TENSOR_PLACED;
    if (capacity != 0)
        plan->verdict = peak <= capacity   ? QUIRE_TENSOR_FITS
                        : bound > capacity ? QUIRE_TENSOR_DOES_NOT_FIT
                                           : QUIRE_TENSOR_UNDECIDED;
    plan->is_proved = peak == bound || plan->verdict == QUIRE_TENSOR_DOES_NOT_FIT;
}

/* First what is there in little time, if time is short. */
static int prepare(struct placing *placing)
{
    uint64_t before_ns = tensor_now_ns();
    if (placing->limits.deadline_ns == UINT64_MAX)
        return 0;
    int error = tensor_quick_place(placing->problem, placing->options->min_alignment,
                                   &placing->limits, placing->plan->offsets, &placing->quick);
    placing->has_quick = error == 0;
    if (error == 0 && tensor_is_late(&placing->limits, TENSOR_ALL_NS(tensor_now_ns() - before_ns)))
        return -ETIME;
    return error == -EINVAL ? 0 : error;
}

static int place_in_one(struct placing *placing)
{
    struct tensor_solution solution = {0};
    size_t n = placing->problem->n_buffers;

    int error = prepare(placing);
    for (size_t i = 0; i < n; i++)
        placing->chosen[i] = (uint32_t)i;
    if (error == 0)
        error = place_in(placing, 0, n, &solution);
    if (error == 0)
        judge(placing, solution.peak, solution.bound);
    return error;
}

/* Several spaces */

/* What lies beyond the capacity and may go on to another space is taken out again. */
static uint64_t spill(struct placing *placing, uint32_t space, size_t n)
{
    struct quire_tensor_plan *plan = placing->plan;
    uint64_t capacity = capacity_of(placing, space), peak = 0;
    for (size_t k = 0; k < n; k++) {
        uint32_t buffer = placing->chosen[k];
        uint64_t end = plan->offsets[buffer] + placing->problem->buffers[buffer].size;
        if (capacity != 0 && end > capacity &&
            tensor_spaces_may_go_on(placing->problem, buffer, space))
            plan->spaces[buffer] = UINT32_MAX;
        else if (placing->problem->buffers[buffer].size > 0)
            peak = end > peak ? end : peak;
    }
    return peak;
}

/* The most that lives at one time, in whichever space. */
static int find_load(struct placing *placing)
{
    struct tensor_instance instance;
    size_t n = placing->problem->n_buffers;
    for (size_t i = 0; i < n; i++)
        placing->chosen[i] = (uint32_t)i;
    int error = tensor_instance_init(&instance, placing->problem, placing->chosen, n, 0,
                                     &placing->limits);
    if (error == 0) {
        placing->plan->bound = instance.load;
        tensor_instance_deinit(&instance);
    }
    return error;
}

static int place_in_several(struct placing *placing)
{
    const struct quire_tensor_problem *problem = placing->problem;
    struct quire_tensor_plan *plan = placing->plan;
    bool has_capacity = false, is_over = false, is_impossible = false;

    int error = find_load(placing);
    for (size_t i = 0; i < problem->n_buffers; i++)
        plan->spaces[i] = UINT32_MAX;
    for (uint32_t space = 0; error == 0 && space < problem->n_spaces; space++) {
        struct tensor_solution solution = {0};
        uint64_t capacity = capacity_of(placing, space);
        size_t n = 0, n_forced = 0;
        error = tensor_spaces_choose(problem, space, plan->spaces, placing->options->min_alignment,
                                     &placing->limits, placing->chosen, &n);
        if (error == 0)
            error = place_in(placing, space, n, &solution);
        if (error != 0)
            break;
        for (size_t k = 0; k < n; k++)
            n_forced += problem->buffers[placing->chosen[k]].spaces == (uint32_t)1 << space;
        plan->peaks[space] = spill(placing, space, n);
        plan->peak += plan->peaks[space];
        has_capacity = has_capacity || capacity != 0;
        if (capacity != 0 && plan->peaks[space] > capacity) {
            is_over = true; /* a proof only if nothing here could have lain elsewhere */
            is_impossible = is_impossible || (solution.bound > capacity && n_forced == n);
        }
    }
    if (error != 0)
        return error;
    plan->verdict = !has_capacity   ? QUIRE_TENSOR_PLACED
                    : !is_over      ? QUIRE_TENSOR_FITS
                    : is_impossible ? QUIRE_TENSOR_DOES_NOT_FIT
                                    : QUIRE_TENSOR_UNDECIDED;
    plan->is_proved = plan->peak == plan->bound || plan->verdict == QUIRE_TENSOR_DOES_NOT_FIT;
    return 0;
}

/* No time */

static void take_quick(struct placing *placing)
{
    judge(placing, placing->quick.peak, placing->quick.bound);
    placing->plan->found_by = "first fit over time";
    placing->limits.stopped = QUIRE_TENSOR_STOP_TIME;
}

/*
 * There is no time to find out who meets whom: each buffer lies behind the one before, in the first
 * space that it may lie in, and those that are not fixed above all that are. That such a plan is
 * sound shows at a glance, to the verifier too.
 */
static void place_in_a_row(struct placing *placing)
{
    const struct quire_tensor_problem *problem = placing->problem;
    struct quire_tensor_plan *plan = placing->plan;
    uint64_t ends[QUIRE_TENSOR_MAX_SPACES] = {0}, largest = 0;
    bool has_capacity = false, is_over = false;

    for (unsigned pass = 0; pass < 2; pass++) { /* the fixed ones first */
        for (size_t i = 0; i < problem->n_buffers; i++) {
            const struct quire_tensor_buffer *buffer = &problem->buffers[i];
            uint32_t space = buffer->spaces == 0 ? 0 : (uint32_t)__builtin_ctz(buffer->spaces);
            uint64_t alignment = tensor_common_alignment(buffer->alignment,
                                                         placing->options->min_alignment);
            if (buffer->is_fixed != (pass == 0))
                continue;
            plan->spaces[i] = space;
            plan->offsets[i] = buffer->is_fixed    ? buffer->offset
                               : buffer->size == 0 ? 0
                                                   : tensor_align_up(ends[space], alignment);
            uint64_t end = plan->offsets[i] + buffer->size;
            if (buffer->size > 0 && end > ends[space])
                ends[space] = end;
            uint64_t least = buffer->is_fixed && problem->n_spaces < 2 ? end : buffer->size;
            largest = buffer->size > 0 && least > largest ? least : largest;
        }
    }
    plan->peak = 0;
    for (uint32_t s = 0; s < plan->n_spaces; s++) {
        uint64_t capacity = capacity_of(placing, s);
        plan->peaks[s] = ends[s];
        plan->peak += ends[s];
        has_capacity = has_capacity || capacity != 0;
        is_over = is_over || (capacity != 0 && ends[s] > capacity);
    }
    plan->bound = largest;
    plan->verdict = !has_capacity ? QUIRE_TENSOR_PLACED
                    : !is_over    ? QUIRE_TENSOR_FITS
                    : problem->n_spaces < 2 && largest > capacity_of(placing, 0)
                        ? QUIRE_TENSOR_DOES_NOT_FIT
                        : QUIRE_TENSOR_UNDECIDED;
    plan->is_proved = plan->peak == plan->bound || plan->verdict == QUIRE_TENSOR_DOES_NOT_FIT;
    plan->found_by = "one behind the other";
    placing->limits.stopped = QUIRE_TENSOR_STOP_TIME;
}

/* The plan */

static int make_room(struct placing *placing)
{
    struct quire_tensor_plan *plan = placing->plan;
    size_t n = placing->problem->n_buffers;

    plan->n_buffers = n;
    plan->n_spaces = placing->problem->n_spaces > 1 ? placing->problem->n_spaces : 1;
    plan->found_by = "nothing";
    plan->offsets = calloc(n + 1, sizeof *plan->offsets);
    plan->spaces = calloc(n + 1, sizeof *plan->spaces);
    plan->peaks = calloc(plan->n_spaces, sizeof *plan->peaks);
    placing->chosen = malloc((n + 1) * sizeof *placing->chosen);
    return plan->offsets && plan->spaces && plan->peaks && placing->chosen ? 0 : -ENOMEM;
}

/* The independent check. Capacities count where the verdict says that they are kept. */
static int verify(struct placing *placing)
{
    struct quire_tensor_plan *plan = placing->plan;
    struct quire_tensor_space spaces[QUIRE_TENSOR_MAX_SPACES];
    struct quire_tensor_problem problem = *placing->problem;
    bool is_within = plan->verdict == QUIRE_TENSOR_FITS || plan->verdict == QUIRE_TENSOR_PLACED;
    uint64_t peak = 0;

    if (!is_within && problem.n_spaces > 0) {
        for (uint32_t s = 0; s < problem.n_spaces; s++)
            spaces[s] = (struct quire_tensor_space){NULL, 0};
        problem.spaces = spaces;
    }
    int error = quire_tensor_verify(&problem, plan->offsets, plan->spaces,
                                    is_within ? placing->options->capacity : 0,
                                    placing->options->min_alignment, &peak, NULL);
    if (error == 0 && (peak != plan->peak || plan->peak < plan->bound))
        error = -EUCLEAN;
    return error == -EINVAL ? -EUCLEAN : error;
}

int quire_tensor_place(const struct quire_tensor_problem *problem,
                       const struct quire_tensor_options *options, struct quire_tensor_plan *plan,
                       struct quire_tensor_fault *fault)
{
    struct placing placing = {
        .problem = problem, .options = options, .plan = plan, .start_ns = tensor_now_ns()};
    *plan = (struct quire_tensor_plan){0};
    placing.told_ns = placing.start_ns;
    placing.limits = (struct tensor_limits){.deadline_ns = UINT64_MAX, .cancel = options->cancel};
    if (options->time_limit > 0 && options->time_limit < MAX_SECONDS)
        placing.limits.deadline_ns = placing.start_ns + (uint64_t)(options->time_limit * 1e9);
    if (options->progress != NULL) {
        placing.limits.poll = poll_caller;
        placing.limits.poll_context = &placing;
    }
    int error = quire_tensor_check(problem, fault);
    if (error == 0 && !options_are_good(problem, options))
        error = -EINVAL;
    if (error == 0)
        error = make_room(&placing);
    if (error == 0)
        error = check_fixed(&placing, fault);
    if (error == 0)
        error = problem->n_spaces > 1 ? place_in_several(&placing) : place_in_one(&placing);
    if (error == -ETIME && placing.has_quick)
        take_quick(&placing);
    else if (error == -ETIME)
        place_in_a_row(&placing);
    error = error == -ETIME ? 0 : error;
    if (error == 0)
        error = verify(&placing);
    free(placing.chosen);
    if (error != 0) {
        quire_tensor_plan_free(plan);
        return error;
    }
    int stopped = placing.limits.stopped;
    bool is_done = plan->is_proved || plan->verdict == QUIRE_TENSOR_FITS;
    plan->stopped = is_done        ? QUIRE_TENSOR_STOP_DONE
                    : stopped != 0 ? (enum quire_tensor_stop)stopped
                                   : QUIRE_TENSOR_STOP_STEPS;
    plan->seconds = (double)(tensor_now_ns() - placing.start_ns) / 1e9;
    return 0;
}

void quire_tensor_plan_free(struct quire_tensor_plan *plan)
{
    free(plan->offsets);
    free(plan->spaces);
    free(plan->peaks);
    *plan = (struct quire_tensor_plan){0};
}
