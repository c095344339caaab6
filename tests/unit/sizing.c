/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The controller of `--ram auto` against programs that are made up: each tick tells how much it
 * holds and how long it waited, which follows from its working set and the budget. No clock, no
 * luck.
 */
#include "policy/sizing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define MIB ((uint64_t)1 << 20)
#define LEAST (8 * MIB)
#define MOST (1024 * MIB)
#define TARGET_PPM 20000u /* 2 % */
#define SECOND 1000000000ull

struct program {
    uint64_t total_bytes;       /* it has touched */
    uint64_t working_set_bytes; /* below that it waits */
    uint64_t firm_bytes;        /* less it can't be made to hold */
    uint32_t stall_ppm;         /* how much of the time, then */
    uint64_t step_stall_ns;     /* what each step down costs, whatever the budget */
    bool computes;
};

struct simulation {
    struct sizing sizing;
    struct sizing_sample sample;
    struct program program;
    uint64_t touched_bytes; /* of the total, at the last tick */
    uint64_t highest_bytes; /* budget, since somebody has set this to 0 */
};

static void begin(struct simulation *simulation, const struct program *program)
{
    *simulation = (struct simulation){.program = *program};
    simulation->sample = (struct sizing_sample){.budget_bytes = MOST, .most_bytes = MOST};
    sizing_init(&simulation->sizing, LEAST, TARGET_PPM, &simulation->sample);
}

static uint64_t least_of(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* What was evicted and is not in the working set does not come back, whatever the budget. */
static uint64_t what_is_held(struct simulation *simulation, uint64_t most)
{
    const struct program *program = &simulation->program;
    uint64_t grown = program->total_bytes - simulation->touched_bytes;
    uint64_t held = simulation->sample.held_bytes + grown;
    simulation->touched_bytes = program->total_bytes;
    if (held < program->working_set_bytes)
        held = program->working_set_bytes;
    held = least_of(held, most);
    return held > program->firm_bytes ? held : program->firm_bytes;
}

static void tick(struct simulation *simulation)
{
    const struct program *program = &simulation->program;
    struct sizing_sample *sample = &simulation->sample;
    uint64_t before = sample->budget_bytes;
    bool thrashes = before < program->working_set_bytes;

    sample->now_ns += SIZING_TICK_NS;
    sample->held_bytes = what_is_held(simulation, before - before / 100);
    if (program->computes)
        sample->cpu_ns += SIZING_TICK_NS;
    if (thrashes)
        sample->stall_ns += SIZING_TICK_NS / 1000 * program->stall_ppm / 1000;
    uint64_t budget = sizing_update(&simulation->sizing, sample);
    if (budget < before && budget < program->total_bytes)
        sample->stall_ns += program->step_stall_ns;
    sample->budget_bytes = budget;
    if (budget > simulation->highest_bytes)
        simulation->highest_bytes = budget;
}

static void run(struct simulation *simulation, uint64_t seconds)
{
    for (uint64_t end = simulation->sample.now_ns + seconds * SECOND;
         simulation->sample.now_ns < end;)
        tick(simulation);
}

static const struct program usual = {.total_bytes = 400 * MIB,
                                     .working_set_bytes = 100 * MIB,
                                     .stall_ppm = 500000,
                                     .computes = true};

static void a_budget_comes_down_to_the_working_set_and_stays_there(void **state)
{
    struct simulation simulation;
    begin(&simulation, &usual);
    run(&simulation, 60);
    assert_in_range(simulation.sample.held_bytes, 93 * MIB, 107 * MIB);
    simulation.highest_bytes = 0;
    run(&simulation, 60);
    assert_in_range(simulation.sample.held_bytes, 93 * MIB, 107 * MIB);
    assert_true(simulation.highest_bytes < 150 * MIB);
}

static void the_stall_stays_below_the_target_on_the_average(void **state)
{
    struct simulation simulation;
    struct program program = usual;
    program.step_stall_ns = 30000000;
    begin(&simulation, &program);
    run(&simulation, 300);
    assert_in_range(simulation.sample.stall_ns, 1, 300 * SECOND / 50 + SECOND / 4);
    assert_true(simulation.sample.budget_bytes < 130 * MIB);
}

static void a_working_set_that_grows_gets_its_room_at_once(void **state)
{
    struct simulation simulation;
    begin(&simulation, &usual);
    run(&simulation, 60);
    simulation.program.working_set_bytes = 300 * MIB;
    run(&simulation, 2);
    assert_true(simulation.sample.budget_bytes >= 300 * MIB);
}

static void one_that_shrinks_is_followed(void **state)
{
    struct simulation simulation;
    struct program program = usual;
    program.working_set_bytes = 300 * MIB;
    begin(&simulation, &program);
    run(&simulation, 60);
    assert_true(simulation.sample.budget_bytes > 270 * MIB);
    simulation.program.working_set_bytes = 50 * MIB;
    run(&simulation, 120);
    assert_true(simulation.sample.budget_bytes < 60 * MIB);
}

static void a_program_that_grows_is_left_alone(void **state)
{
    struct simulation simulation;
    struct program program = usual;
    program.total_bytes = 10 * MIB;
    program.working_set_bytes = 0;
    begin(&simulation, &program);
    for (int i = 0; i < 30; i++) {
        simulation.program.total_bytes += 10 * MIB;
        tick(&simulation);
    }
    assert_int_equal(simulation.sample.budget_bytes, MOST);
}

static void an_idle_program_comes_down_to_the_floor(void **state)
{
    struct simulation simulation;
    struct program program = usual;
    program.working_set_bytes = 0;
    program.computes = false;
    begin(&simulation, &program);
    run(&simulation, 120);
    assert_int_equal(simulation.sample.budget_bytes, LEAST);
}

static void a_budget_that_cannot_be_reached_is_given_up(void **state)
{
    struct simulation simulation;
    struct program program = usual;
    program.working_set_bytes = 0;
    program.firm_bytes = 200 * MIB;
    begin(&simulation, &program);
    run(&simulation, 60);
    simulation.highest_bytes = 0;
    uint64_t n_low = 0;
    for (int i = 0; i < 600; i++) {
        tick(&simulation);
        n_low += simulation.sample.budget_bytes < 200 * MIB;
    }
    assert_true(n_low < 200); /* it is tried again, but not for long and not often */
    assert_true(simulation.highest_bytes < 220 * MIB);
}

static void the_ceiling_holds_and_may_be_changed(void **state)
{
    struct simulation simulation;
    struct program program = usual;
    program.working_set_bytes = 2 * MOST;
    begin(&simulation, &program);
    run(&simulation, 30);
    assert_true(simulation.highest_bytes <= MOST);
    simulation.sample.most_bytes = 64 * MIB;
    tick(&simulation);
    assert_int_equal(simulation.sample.budget_bytes, 64 * MIB);
    run(&simulation, 5);
    assert_int_equal(simulation.sample.budget_bytes, 64 * MIB);
}

static void what_is_skipped_does_not_count(void **state)
{
    struct simulation simulation;
    begin(&simulation, &usual);
    run(&simulation, 60);
    uint64_t before = simulation.sample.budget_bytes;
    simulation.sample.now_ns += 100 * SECOND;
    simulation.sample.stall_ns += 90 * SECOND;
    sizing_skip(&simulation.sizing, &simulation.sample);
    tick(&simulation);
    assert_true(simulation.sample.budget_bytes <= before);
}

/*
 * A program whose memory is evicted in order of age, and of which what is in use comes back, a
 * piece at a time, each of which takes a while and makes it young.
 */
#define PIECE (MIB / 4)
#define N_PIECES 4096u

struct plant {
    struct sizing sizing;
    struct sizing_sample sample;
    bool in_use[N_PIECES]; /* of the pieces that are held, a ring, the oldest at the tail */
    uint32_t tail, head, n_missed;
    uint64_t fault_ns; /* for a piece */
};

static void come_in(struct plant *plant, bool in_use)
{
    plant->in_use[plant->head++ % N_PIECES] = in_use;
    plant->sample.held_bytes += PIECE;
}

static void evict_down_to(struct plant *plant, uint64_t bytes)
{
    while (plant->sample.held_bytes > bytes) {
        plant->n_missed += plant->in_use[plant->tail++ % N_PIECES];
        plant->sample.held_bytes -= PIECE;
    }
}

static void run_plant(struct plant *plant, uint64_t seconds)
{
    struct sizing_sample *sample = &plant->sample;
    for (uint64_t end = sample->now_ns + seconds * SECOND; sample->now_ns < end;) {
        uint64_t left = SIZING_TICK_NS;
        evict_down_to(plant, sample->budget_bytes);
        for (; plant->n_missed > 0 && left >= plant->fault_ns; left -= plant->fault_ns) {
            plant->n_missed--;
            come_in(plant, true);
            evict_down_to(plant, sample->budget_bytes);
            sample->stall_ns += plant->fault_ns;
        }
        sample->cpu_ns += left;
        sample->now_ns += SIZING_TICK_NS;
        sample->budget_bytes = sizing_update(&plant->sizing, sample);
    }
}

/* 400 MiB, of which 100 are in use: the oldest, each fourth piece, or the youngest. */
enum { OLDEST, SPREAD, YOUNGEST, N_PLACES };

static void begin_plant(struct plant *plant, int place, uint64_t page_ns)
{
    *plant = (struct plant){.fault_ns = page_ns * (PIECE >> 12)};
    plant->sample = (struct sizing_sample){.budget_bytes = MOST, .most_bytes = MOST};
    for (uint32_t i = 0; i < 1600; i++)
        come_in(plant, place == OLDEST ? i < 400 : place == SPREAD ? i % 4 == 0 : i >= 1200);
    sizing_init(&plant->sizing, LEAST, TARGET_PPM, &plant->sample);
}

static void the_first_steps_do_not_cost_much_more_than_is_allowed(void **state)
{
    static const uint64_t page_ns[] = {30000, 100000, 300000};
    struct plant plant;
    for (int place = 0; place < N_PLACES; place++) {
        for (int i = 0; i < 3; i++) {
            begin_plant(&plant, place, page_ns[i]);
            run_plant(&plant, 5); /* 2 % of it are 100 ms; a step that goes wrong costs some more */
            assert_in_range(plant.sample.stall_ns, 0, 3 * SECOND / 10);
            run_plant(&plant, 25);
            assert_in_range(plant.sample.stall_ns, 0, 30 * SECOND * 3 / 100);
        }
    }
}

static void what_is_cold_is_given_up_within_seconds(void **state)
{
    struct plant plant;
    begin_plant(&plant, YOUNGEST, 100000);
    run_plant(&plant, 11);
    assert_in_range(plant.sample.held_bytes, 90 * MIB, 110 * MIB);
    begin_plant(&plant, SPREAD, 30000);
    run_plant(&plant, 70);
    assert_in_range(plant.sample.held_bytes, 90 * MIB, 110 * MIB);
}

/* Before it is paged all that a program has allocated counts as held; then only what it touched. */
static void one_that_is_being_filled_is_left_alone(void **state)
{
    struct sizing sizing;
    struct sizing_sample sample = {
        .held_bytes = 300 * MIB, .budget_bytes = MOST, .most_bytes = MOST};
    sizing_init(&sizing, LEAST, TARGET_PPM, &sample);
    while (sample.budget_bytes > 310 * MIB) {
        sample.now_ns += SIZING_TICK_NS;
        sample.budget_bytes = sizing_update(&sizing, &sample);
    }
    for (sample.held_bytes = 20 * MIB; sample.held_bytes < 280 * MIB;
         sample.held_bytes += 6 * MIB) {
        sample.now_ns += SIZING_TICK_NS;
        sample.budget_bytes = sizing_update(&sizing, &sample);
        assert_true(sample.budget_bytes >= 290 * MIB);
    }
}

/* A budget of far more than is held is lowered by halves: it might still be wanted. */
static void room_that_is_left_is_taken_bit_by_bit(void **state)
{
    struct sizing sizing;
    struct sizing_sample sample = {
        .held_bytes = 20 * MIB, .budget_bytes = MOST, .most_bytes = MOST};
    sizing_init(&sizing, LEAST, TARGET_PPM, &sample);
    for (int i = 0; i < 100; i++) {
        uint64_t before = sample.budget_bytes;
        sample.now_ns += SIZING_TICK_NS;
        sample.budget_bytes = sizing_update(&sizing, &sample);
        assert_true(sample.budget_bytes >= before / 2);
    }
    assert_true(sample.budget_bytes < 24 * MIB);
}

/* Each raise that does not suffice is followed by a larger one. */
static void raises_in_a_row_grow(void **state)
{
    struct sizing sizing;
    struct sizing_sample sample = {
        .held_bytes = 16 * MIB, .budget_bytes = 16 * MIB, .most_bytes = MOST};
    sizing_init(&sizing, LEAST, TARGET_PPM, &sample);
    for (int i = 0; i < 25;
         i++) { /* 2.5 s in which it waits 10 % of its time, and takes all it gets */
        sample.now_ns += SIZING_TICK_NS;
        sample.stall_ns += SIZING_TICK_NS / 10;
        sample.budget_bytes = sizing_update(&sizing, &sample);
        sample.held_bytes = sample.budget_bytes;
    }
    assert_true(sample.budget_bytes > 64 * MIB);
}

static void stall_is_a_share_of_wall_time_or_of_the_threads_time(void **state)
{
    struct sizing_sample from = {.now_ns = 0}, to = {.now_ns = SECOND, .stall_ns = SECOND / 10};
    assert_int_equal(sizing_busy_ns(&from, &to), SECOND); /* mostly idle */
    to.cpu_ns = SECOND / 2;
    assert_int_equal(sizing_busy_ns(&from, &to), SECOND);
    to.cpu_ns = 4 * SECOND; /* four threads */
    assert_int_equal(sizing_busy_ns(&from, &to), 4 * SECOND + SECOND / 10);
    from.cpu_ns = 5 * SECOND; /* a process ended between two looks */
    assert_int_equal(sizing_busy_ns(&from, &to), SECOND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_budget_comes_down_to_the_working_set_and_stays_there),
        cmocka_unit_test(the_stall_stays_below_the_target_on_the_average),
        cmocka_unit_test(a_working_set_that_grows_gets_its_room_at_once),
        cmocka_unit_test(one_that_shrinks_is_followed),
        cmocka_unit_test(a_program_that_grows_is_left_alone),
        cmocka_unit_test(an_idle_program_comes_down_to_the_floor),
        cmocka_unit_test(a_budget_that_cannot_be_reached_is_given_up),
        cmocka_unit_test(the_ceiling_holds_and_may_be_changed),
        cmocka_unit_test(what_is_skipped_does_not_count),
        cmocka_unit_test(the_first_steps_do_not_cost_much_more_than_is_allowed),
        cmocka_unit_test(what_is_cold_is_given_up_within_seconds),
        cmocka_unit_test(one_that_is_being_filled_is_left_alone),
        cmocka_unit_test(room_that_is_left_is_taken_bit_by_bit),
        cmocka_unit_test(raises_in_a_row_grow),
        cmocka_unit_test(stall_is_a_share_of_wall_time_or_of_the_threads_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
