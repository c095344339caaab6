/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Schedules of evictions and prefetches for random work, carried out: by a machine that counts what
 * is in RAM at each step and destroys what is dropped, and by the library's runner on real memory.
 * Small ones with buffers of one size are also compared with all ways there are.
 *
 * QUIRE_TEST_SEED replays a run; QUIRE_TEST_ROUNDS makes it longer.
 */
#include "model_random.h"

#include <quire/tensor_schedule.h>

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAX_STEPS 40u
#define MAX_BUFFERS 12u
#define MAX_TOUCHES (MAX_STEPS * 4)
#define N_ROUNDS 6u /* of the machine, where work repeats */

static struct quire_tensor_touch touches[MAX_TOUCHES];
static uint64_t sizes[MAX_BUFFERS];
static bool kept[MAX_BUFFERS];
static struct quire_tensor_work work = {.sizes = sizes, .touches = touches, .kept = kept};
static struct quire_tensor_schedule schedule;

static void draw_work(uint32_t most_steps, uint32_t most_buffers, uint64_t most_bytes)
{
    work.n_steps = (uint32_t)(1 + draw(most_steps));
    work.n_buffers = (uint32_t)(1 + draw(most_buffers));
    work.n_touches = 0;
    work.repeats = draw(2) == 0;
    for (uint32_t b = 0; b < work.n_buffers; b++) {
        sizes[b] = most_bytes == 1 ? 1 : draw(most_bytes);
        kept[b] = most_bytes > 1 && draw(6) == 0;
    }
    for (uint32_t step_at = 0; step_at < work.n_steps; step_at++) {
        for (uint64_t n = draw(4); n > 0; n--)
            touches[work.n_touches++] = (struct quire_tensor_touch){
                step_at, (uint32_t)draw(work.n_buffers), draw(3) == 0};
    }
}

/* The machine */

enum place { NOWHERE, IN_RAM, AWAY };

static struct {
    enum place place[MAX_BUFFERS];
    bool has_contents[MAX_BUFFERS];
    uint64_t fetched, late; /* bytes in the last round: by orders; by touches, as nobody had */
} machine;

static void carry_out(uint32_t at)
{
    for (size_t i = 0; i < schedule.n_orders; i++) {
        const struct quire_tensor_order *order = &schedule.orders[i];
        if (order->step != at)
            continue;
        uint32_t b = order->buffer;
        if (order->move == QUIRE_TENSOR_PREFETCH && machine.place[b] == AWAY) {
            machine.place[b] = IN_RAM;
            machine.fetched += sizes[b];
        } else if (order->move == QUIRE_TENSOR_EVICT && machine.place[b] == IN_RAM) {
            machine.place[b] = AWAY;
        } else if (order->move == QUIRE_TENSOR_DROP) {
            machine.place[b] = NOWHERE;
            machine.has_contents[b] = false;
        }
    }
}

/* What is read has to be there: its contents, if it ever was written. */
static void touch_all(uint32_t at, bool *was_touched)
{
    bool is_first[MAX_BUFFERS];
    memset(is_first, true, sizeof is_first);
    for (size_t i = 0; i < work.n_touches; i++) {
        const struct quire_tensor_touch *touch = &touches[i];
        uint32_t b = touch->buffer;
        if (touch->step != at || !is_first[b])
            continue;
        is_first[b] = false;
        if (!touch->overwrites && was_touched[b]) {
            REQUIRE(machine.has_contents[b]);
            machine.late += machine.place[b] == AWAY ? sizes[b] : 0;
        }
        machine.place[b] = IN_RAM;
        machine.has_contents[b] = was_touched[b] = true;
    }
}

static uint64_t in_ram(void)
{
    uint64_t sum = 0;
    for (uint32_t b = 0; b < work.n_buffers; b++)
        sum += machine.place[b] == IN_RAM ? sizes[b] : 0;
    return sum;
}

static void run_machine(uint64_t budget)
{
    bool was_touched[MAX_BUFFERS] = {false};
    unsigned n_rounds = work.repeats ? N_ROUNDS : 1;
    memset(&machine, 0, sizeof machine);
    for (unsigned r = 0; r < n_rounds; r++) {
        machine.fetched = machine.late = 0;
        for (step = 0; step < work.n_steps; step++) {
            carry_out(step);
            touch_all(step, was_touched);
            if (r + 1 == n_rounds && schedule.fits)
                REQUIRE(in_ram() <= budget);
        }
    }
    REQUIRE(machine.late == 0 && machine.fetched == schedule.moved_bytes);
    for (uint32_t b = 0; !work.repeats && b < work.n_buffers; b++)
        REQUIRE(!kept[b] || !was_touched[b] || machine.has_contents[b]);
}

static uint64_t most_of_a_step(void)
{
    uint64_t most = 0;
    for (uint32_t at = 0; at < work.n_steps; at++) {
        uint64_t sum = 0;
        for (uint32_t b = 0; b < work.n_buffers; b++) {
            bool is_touched = false;
            for (size_t i = 0; i < work.n_touches; i++)
                is_touched = is_touched || (touches[i].step == at && touches[i].buffer == b);
            sum += is_touched ? sizes[b] : 0;
        }
        most = sum > most ? sum : most;
    }
    return most;
}

static void test_machine(void)
{
    draw_work(MAX_STEPS, MAX_BUFFERS, 100);
    uint64_t floor = most_of_a_step(), budget = draw(2 * floor + 2);
    REQUIRE(quire_tensor_schedule_make(&work, budget, (uint32_t)draw(8), &schedule) == 0);
    REQUIRE(schedule.floor_bytes == floor);
    REQUIRE(schedule.fits == (schedule.peak_bytes <= budget));
    REQUIRE(budget < floor || schedule.fits);
    run_machine(budget);
    for (size_t i = 1; i < schedule.n_orders; i++)
        REQUIRE(schedule.orders[i - 1].step <= schedule.orders[i].step);
    quire_tensor_schedule_free(&schedule);
    REQUIRE(quire_tensor_schedule_make(&work, UINT64_MAX, 0, &schedule) == 0);
    REQUIRE(schedule.n_orders == 0 && schedule.moved_bytes == 0); /* all fits: nothing to do */
    quire_tensor_schedule_free(&schedule);
}

/* All ways there are */

static bool touch_at(uint32_t at, uint32_t buffer, bool *reads)
{
    for (size_t i = 0; i < work.n_touches; i++) {
        if (touches[i].step == at && touches[i].buffer == buffer) {
            *reads = !touches[i].overwrites;
            return true;
        }
    }
    return false;
}

/* The least number of fetches from step `at` on, with the buffers of the set in RAM. */
static unsigned least_fetches(uint32_t at, unsigned set, unsigned seen, unsigned budget)
{
    unsigned needed = 0, n_fetches = 0, best = UINT32_MAX;
    if (at == work.n_steps)
        return 0;
    for (uint32_t b = 0; b < work.n_buffers; b++) {
        bool reads;
        if (!touch_at(at, b, &reads))
            continue;
        needed |= 1u << b;
        n_fetches += reads && (seen >> b & 1) && !(set >> b & 1);
    }
    unsigned all = set | needed;
    for (unsigned next = all;; next = (next - 1) & all) { /* each subset */
        if ((next & needed) == needed && (unsigned)__builtin_popcount(next) <= budget) {
            unsigned rest = least_fetches(at + 1, next, seen | needed, budget);
            best = rest < best ? rest : best;
        }
        if (next == 0)
            break;
    }
    return best + n_fetches;
}

static void test_optimal(void)
{
    draw_work(6, 5, 1);
    work.repeats = false;
    uint64_t floor = most_of_a_step(), budget = floor + draw(2);
    REQUIRE(quire_tensor_schedule_make(&work, budget, 0, &schedule) == 0);
    REQUIRE(schedule.moved_bytes == least_fetches(0, 0, 0, (unsigned)budget));
    quire_tensor_schedule_free(&schedule);
}

/* The runner, on real memory */

static void test_runner(void)
{
    struct quire_tensor_extent extents[MAX_BUFFERS];
    struct quire_tensor_runner *runner;
    struct quire_tensor_runner_stats stats;
    size_t page = (size_t)sysconf(_SC_PAGESIZE), at = 100; /* not at a page's beginning */
    uint8_t written[MAX_BUFFERS] = {0}, *memory;
    draw_work(MAX_STEPS, MAX_BUFFERS, 5 * page);
    memory = mmap(NULL, MAX_BUFFERS * 6 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                  -1, 0);
    REQUIRE(memory != MAP_FAILED);
    for (uint32_t b = 0; b < work.n_buffers; b++) {
        extents[b] = (struct quire_tensor_extent){memory + at, sizes[b]};
        at += sizes[b];
    }
    uint64_t budget = most_of_a_step() + draw(page);
    REQUIRE(quire_tensor_schedule_make(&work, budget, 0, &schedule) == 0);
    REQUIRE(quire_tensor_runner_open(&schedule, extents, &runner) == 0);
    REQUIRE(quire_tensor_schedule_apply(runner, work.n_steps) == -EINVAL);
    for (unsigned r = 0; r < (work.repeats ? 3 : 1); r++) {
        for (step = 0; step < work.n_steps; step++) {
            REQUIRE(quire_tensor_schedule_apply(runner, step) == 0);
            bool is_first[MAX_BUFFERS];
            memset(is_first, true, sizeof is_first);
            for (size_t i = 0; i < work.n_touches; i++) {
                uint32_t b = touches[i].buffer;
                uint8_t *bytes = extents[b].address;
                if (touches[i].step != step || !is_first[b])
                    continue;
                is_first[b] = false;
                for (size_t k = 0; k < sizes[b] && !touches[i].overwrites; k += 61)
                    REQUIRE(bytes[k] == written[b]);
                memset(bytes, written[b] = (uint8_t)draw(256), sizes[b]);
            }
        }
    }
    quire_tensor_runner_stats(runner, &stats);
    quire_tensor_runner_close(runner);
    quire_tensor_runner_close(NULL);
    munmap(memory, MAX_BUFFERS * 6 * page);
    quire_tensor_schedule_free(&schedule);
    REQUIRE(stats.dropped_bytes % page == 0 && stats.evicted_bytes % page == 0);
}

/* A drop really drops: whole pages of the buffer, and not what else is on its first and last. */
static void test_drop(void)
{
    const struct quire_tensor_order order = {.move = QUIRE_TENSOR_DROP};
    const struct quire_tensor_schedule one = {.orders = (struct quire_tensor_order *)&order,
                                              .n_orders = 1,
                                              .n_steps = 1,
                                              .repeats = true};
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *memory = mmap(NULL, 4 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                           0);
    struct quire_tensor_runner *runner;
    struct quire_tensor_runner_stats stats;
    REQUIRE(memory != MAP_FAILED);
    const struct quire_tensor_extent extent = {memory + page - 1, 2 * page + 2};
    memset(memory, 7, 4 * page);
    REQUIRE(quire_tensor_runner_open(&one, &extent, &runner) == 0);
    REQUIRE(quire_tensor_schedule_apply(runner, 0) == 0);
    quire_tensor_runner_stats(runner, &stats);
    quire_tensor_runner_close(runner);
    REQUIRE(stats.dropped_bytes == 2 * page && stats.failed == 0);
    REQUIRE(memory[page - 1] == 7 && memory[page] == 0 && memory[3 * page - 1] == 0);
    REQUIRE(memory[3 * page] == 7);
    munmap(memory, 4 * page);
}

static void test_refused(void)
{
    draw_work(3, 3, 10);
    work.n_touches = 2;
    touches[0] = (struct quire_tensor_touch){work.n_steps - 1, 0, false};
    touches[1] = (struct quire_tensor_touch){work.n_steps, 0, false};
    REQUIRE(quire_tensor_schedule_make(&work, 10, 0, &schedule) == -EINVAL);
    touches[1] = (struct quire_tensor_touch){work.n_steps - 1, work.n_buffers, false};
    REQUIRE(quire_tensor_schedule_make(&work, 10, 0, &schedule) == -EINVAL);
    work.n_touches = 0;
    sizes[0] = (uint64_t)1 << 62;
    REQUIRE(quire_tensor_schedule_make(&work, 10, 0, &schedule) == -EINVAL);
    work.n_steps = 0;
    REQUIRE(quire_tensor_schedule_make(&work, 10, 0, &schedule) == -EINVAL);
}

int main(void)
{
    unsigned n_rounds = draw_from_seed(300);
    test_drop();
    for (round_number = 0; round_number < n_rounds; round_number++) {
        test_machine();
        test_optimal();
        if (round_number % 8 == 0)
            test_runner();
    }
    test_refused();
    return 0;
}
