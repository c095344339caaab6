/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The planner against brute force, on small random problems: the least peak, what fits and what
 * does not, whatever the order of the input; the quick placement; and the verifier against a
 * comparison of all pairs.
 */
#include "model_random.h"

#include "tensor/quick.h"
#include <quire/tensor.h>

#define MAX_BUFFERS 6u
#define N_PROBLEMS 400u

struct trial {
    struct quire_tensor_buffer buffers[64];
    struct quire_tensor_gap gaps[64];
    uint64_t offsets[64];
    size_t n;
};

static bool lives_at(const struct quire_tensor_buffer *buffer, int64_t time)
{
    for (uint32_t g = 0; g < buffer->n_gaps; g++)
        if (buffer->gaps[g].lower <= time && time < buffer->gaps[g].upper)
            return false;
    return buffer->lower <= time && time < buffer->upper;
}

/* By looking at each tick. */
static bool meet(const struct quire_tensor_buffer *a, const struct quire_tensor_buffer *b)
{
    if (a->size == 0 || b->size == 0)
        return false;
    if (a->group != 0 && a->group == b->group)
        return true;
    for (int64_t time = a->lower; time < a->upper; time++)
        if (lives_at(a, time) && lives_at(b, time))
            return true;
    return false;
}

static bool is_sound(const struct trial *trial, const uint64_t *offsets, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < i; k++)
            if (meet(&trial->buffers[i], &trial->buffers[k]) &&
                offsets[i] < offsets[k] + trial->buffers[k].size &&
                offsets[k] < offsets[i] + trial->buffers[i].size)
                return false;
    return true;
}

/* Whether buffers i and after can be placed within `capacity`: every offset is tried. */
static bool fits(struct trial *trial, size_t i, uint64_t capacity)
{
    const struct quire_tensor_buffer *buffer = &trial->buffers[i];
    uint64_t unit = buffer->alignment > 1 ? buffer->alignment : 1;
    if (i == trial->n)
        return true;
    for (uint64_t offset = 0; offset + buffer->size <= capacity; offset += unit) {
        trial->offsets[i] = buffer->is_fixed ? buffer->offset : offset;
        bool is_free = trial->offsets[i] + buffer->size <= capacity || buffer->size == 0;
        for (size_t k = 0; k < i && is_free; k++)
            is_free = !meet(buffer, &trial->buffers[k]) ||
                      trial->offsets[i] >= trial->offsets[k] + trial->buffers[k].size ||
                      trial->offsets[k] >= trial->offsets[i] + buffer->size;
        if (is_free && fits(trial, i + 1, capacity))
            return true;
        if (buffer->is_fixed || buffer->size == 0)
            break;
    }
    return false;
}

static uint64_t least_peak(struct trial *trial)
{
    uint64_t capacity = 0;
    while (!fits(trial, 0, capacity))
        capacity++;
    return capacity;
}

static void make_buffer(struct trial *trial, size_t i)
{
    struct quire_tensor_buffer *buffer = &trial->buffers[i];
    int64_t lower = (int64_t)draw(6) - 2;
    *buffer = (struct quire_tensor_buffer){
        .lower = lower, .upper = lower + 1 + draw(4), .size = draw(6)};
    if (draw(4) == 0)
        buffer->alignment = 1 + draw(4);
    if (draw(6) == 0)
        buffer->group = 1 + (uint32_t)draw(2);
    if (buffer->upper - lower >= 3 && draw(3) == 0) {
        trial->gaps[i] = (struct quire_tensor_gap){lower + 1, lower + 2};
        buffer->gaps = &trial->gaps[i];
        buffer->n_gaps = 1;
    }
}

static void make(struct trial *trial, size_t n)
{
    trial->n = n;
    for (size_t i = 0; i < n; i++)
        make_buffer(trial, i);
    if (n > 0 && draw(4) == 0) {
        struct quire_tensor_buffer *first = &trial->buffers[0];
        uint64_t unit = first->alignment > 1 ? first->alignment : 1;
        first->is_fixed = true;
        first->offset = draw(4) * unit;
    }
}

static struct quire_tensor_plan place(const struct quire_tensor_problem *problem, uint64_t capacity,
                                      enum quire_tensor_strategy strategy)
{
    struct quire_tensor_options options = {.strategy = strategy, .capacity = capacity};
    if (strategy == QUIRE_TENSOR_AUTO)
        options.max_steps = 1000000;
    struct quire_tensor_plan plan;
    struct quire_tensor_fault fault;
    int error = quire_tensor_place(problem, &options, &plan, &fault);
    if (error != 0)
        fprintf(stderr, "%d, %s\n", error, quire_tensor_fault_text(fault.kind));
    REQUIRE(error == 0);
    REQUIRE(plan.peak >= plan.bound);
    return plan;
}

/* What is there in little time is sound, and its bound is one. */
static void check_quick(const struct trial *trial, uint64_t least)
{
    const struct quire_tensor_problem problem = {trial->buffers, trial->n, NULL, 0};
    const struct tensor_limits limits = {.deadline_ns = UINT64_MAX};
    const uint64_t alignment = 1 + draw(3) * 3;
    uint64_t offsets[64], peak = 0;
    struct tensor_quick quick;

    if (trial->n > 0 && trial->buffers[0].is_fixed && trial->buffers[0].offset % alignment != 0)
        return;
    REQUIRE(tensor_quick_place(&problem, alignment, &limits, offsets, &quick) == 0);
    for (size_t i = 0; i < trial->n; i++) {
        const struct quire_tensor_buffer *buffer = &trial->buffers[i];
        REQUIRE(!buffer->is_fixed || offsets[i] == buffer->offset);
        REQUIRE(buffer->size == 0 || offsets[i] % alignment == 0);
        REQUIRE(buffer->size == 0 || buffer->alignment < 2 || offsets[i] % buffer->alignment == 0);
        if (buffer->size > 0 && offsets[i] + buffer->size > peak)
            peak = offsets[i] + buffer->size;
    }
    REQUIRE(is_sound(trial, offsets, trial->n));
    REQUIRE(quick.peak == peak && quick.bound <= peak && quick.bound <= least);
}

static void check_small(struct trial *trial)
{
    struct quire_tensor_problem problem = {trial->buffers, trial->n, NULL, 0};
    uint64_t least = least_peak(trial);
    struct quire_tensor_plan plan = place(&problem, 0, QUIRE_TENSOR_SEARCH);

    REQUIRE(plan.peak == least && plan.is_proved && plan.bound == least);
    REQUIRE(is_sound(trial, plan.offsets, trial->n));
    quire_tensor_plan_free(&plan);
    if (least > 0) {
        plan = place(&problem, least, QUIRE_TENSOR_SEARCH);
        REQUIRE(plan.verdict == QUIRE_TENSOR_FITS && plan.peak <= least);
        quire_tensor_plan_free(&plan);
    }
    if (least > 1) {
        plan = place(&problem, least - 1, QUIRE_TENSOR_SEARCH);
        REQUIRE(plan.verdict == QUIRE_TENSOR_DOES_NOT_FIT && plan.is_proved);
        quire_tensor_plan_free(&plan);
    }
    plan = place(&problem, 0, QUIRE_TENSOR_GREEDY);
    REQUIRE(plan.peak >= least && plan.bound <= least);
    REQUIRE(is_sound(trial, plan.offsets, trial->n));
    quire_tensor_plan_free(&plan);
    check_quick(trial, least);
}

/* What is proved of one order of the buffers holds for another. */
static void check_permuted(struct trial *trial)
{
    struct quire_tensor_problem problem = {trial->buffers, trial->n, NULL, 0};
    struct quire_tensor_plan plan = place(&problem, 0, QUIRE_TENSOR_AUTO);
    REQUIRE(is_sound(trial, plan.offsets, trial->n));
    check_quick(trial, plan.peak);
    for (size_t i = trial->n; i > 1; i--) {
        size_t k = draw(i);
        struct quire_tensor_buffer other = trial->buffers[i - 1];
        trial->buffers[i - 1] = trial->buffers[k];
        trial->buffers[k] = other;
    }
    struct quire_tensor_plan again = place(&problem, 0, QUIRE_TENSOR_AUTO);
    REQUIRE(is_sound(trial, again.offsets, trial->n));
    REQUIRE(again.bound <= plan.peak && plan.bound <= again.peak);
    quire_tensor_plan_free(&plan);
    quire_tensor_plan_free(&again);
}

/* Any offsets: the verifier says what comparing all pairs says. */
static void check_verifier(const struct trial *trial)
{
    struct quire_tensor_problem problem = {trial->buffers, trial->n, NULL, 0};
    struct quire_tensor_fault fault = {QUIRE_TENSOR_SOUND, 0, 0};
    uint64_t offsets[64], peak = 0, highest = 0;
    for (size_t i = 0; i < trial->n; i++) {
        const struct quire_tensor_buffer *buffer = &trial->buffers[i];
        uint64_t unit = buffer->alignment > 1 ? buffer->alignment : 1;
        offsets[i] = buffer->is_fixed ? buffer->offset : draw(12) * unit;
        if (buffer->size > 0 && offsets[i] + buffer->size > highest)
            highest = offsets[i] + buffer->size;
    }
    int error = quire_tensor_verify(&problem, offsets, NULL, 0, 0, &peak, &fault);
    REQUIRE((error == 0) == is_sound(trial, offsets, trial->n));
    REQUIRE(error == 0 ? peak == highest : fault.kind == QUIRE_TENSOR_OVERLAP);
    if (error != 0)
        REQUIRE(meet(&trial->buffers[fault.first], &trial->buffers[fault.second]));
}

int main(void)
{
    unsigned n_rounds = draw_from_seed(N_PROBLEMS);
    static struct trial trial;
    for (round_number = 0; round_number < n_rounds; round_number++) {
        make(&trial, draw(MAX_BUFFERS));
        check_small(&trial);
        check_verifier(&trial);
        if (round_number % 32 != 0)
            continue;
        make(&trial, 20 + draw(40));
        check_permuted(&trial);
        for (step = 0; step < 20; step++)
            check_verifier(&trial);
    }
    return 0;
}
