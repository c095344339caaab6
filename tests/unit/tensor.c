/* SPDX-License-Identifier: Apache-2.0 */
/* The planner, one behaviour a test. Large random problems are in tests/model/tensor_model.c. */
#include <quire/tensor.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h> /* wants the headers above */

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static struct quire_tensor_fault fault;
static struct quire_tensor_plan plan;

static int place(const struct quire_tensor_buffer *buffers, size_t n,
                 const struct quire_tensor_options *options)
{
    struct quire_tensor_problem problem = {buffers, n, NULL, 0};
    fault = (struct quire_tensor_fault){QUIRE_TENSOR_SOUND, 0, 0};
    return quire_tensor_place(&problem, options, &plan, &fault);
}

/* The example of MiniMalloc's documentation: 12 is the least. */
static const struct quire_tensor_buffer five[] = {
    {.lower = 0, .upper = 3, .size = 4},  {.lower = 3, .upper = 9, .size = 4},
    {.lower = 0, .upper = 9, .size = 4},  {.lower = 9, .upper = 21, .size = 4},
    {.lower = 0, .upper = 21, .size = 4},
};

static void test_least_peak(void **state)
{
    (void)state;
    assert_int_equal(place(five, COUNT(five), &(struct quire_tensor_options){0}), 0);
    assert_int_equal(plan.verdict, QUIRE_TENSOR_PLACED);
    assert_int_equal(plan.peak, 12);
    assert_int_equal(plan.bound, 12);
    assert_true(plan.is_proved);
    assert_int_equal(plan.stopped, QUIRE_TENSOR_STOP_DONE);
    quire_tensor_plan_free(&plan);
    quire_tensor_plan_free(&plan); /* nothing happens */
}

static void test_capacity(void **state)
{
    (void)state;
    assert_int_equal(place(five, COUNT(five), &(struct quire_tensor_options){.capacity = 12}), 0);
    assert_int_equal(plan.verdict, QUIRE_TENSOR_FITS);
    quire_tensor_plan_free(&plan);
    assert_int_equal(place(five, COUNT(five), &(struct quire_tensor_options){.capacity = 11}), 0);
    assert_int_equal(plan.verdict, QUIRE_TENSOR_DOES_NOT_FIT);
    assert_true(plan.is_proved);
    quire_tensor_plan_free(&plan);
}

static void test_nothing(void **state)
{
    static const struct quire_tensor_buffer empty[] = {{.lower = 0, .upper = 1, .size = 0}};
    (void)state;
    assert_int_equal(place(NULL, 0, &(struct quire_tensor_options){0}), 0);
    assert_int_equal(plan.peak, 0);
    assert_true(plan.is_proved);
    quire_tensor_plan_free(&plan);
    assert_int_equal(place(empty, 1, &(struct quire_tensor_options){.capacity = 1}), 0);
    assert_int_equal(plan.verdict, QUIRE_TENSOR_FITS);
    quire_tensor_plan_free(&plan);
}

/* The extremes of time, and sizes whose sum is just what is allowed. */
static void test_extremes(void **state)
{
    static const struct quire_tensor_buffer wide[] = {
        {.lower = INT64_MIN, .upper = INT64_MAX, .size = QUIRE_TENSOR_MAX_SIZE / 2},
        {.lower = 0, .upper = 1, .size = QUIRE_TENSOR_MAX_SIZE / 2},
    };
    struct quire_tensor_buffer over[] = {wide[0], wide[1], {.lower = 5, .upper = 6, .size = 1}};
    (void)state;
    assert_int_equal(place(wide, 2, &(struct quire_tensor_options){0}), 0);
    assert_int_equal(plan.peak, QUIRE_TENSOR_MAX_SIZE);
    quire_tensor_plan_free(&plan);
    assert_int_equal(place(over, 3, &(struct quire_tensor_options){0}), -EINVAL);
    assert_int_equal(fault.kind, QUIRE_TENSOR_TOO_LARGE);
    assert_int_equal(fault.first, 2);
}

static void test_gaps_and_groups(void **state)
{
    static const struct quire_tensor_gap gap = {2, 8};
    struct quire_tensor_buffer buffers[] = {
        {.lower = 0, .upper = 10, .size = 6, .gaps = &gap, .n_gaps = 1},
        {.lower = 2, .upper = 8, .size = 5},
    };
    (void)state;
    assert_int_equal(place(buffers, 2, &(struct quire_tensor_options){0}), 0);
    assert_int_equal(plan.peak, 6);
    quire_tensor_plan_free(&plan);
    buffers[0].group = buffers[1].group = 7;
    assert_int_equal(place(buffers, 2, &(struct quire_tensor_options){0}), 0);
    assert_int_equal(plan.peak, 11);
    quire_tensor_plan_free(&plan);
}

static void test_alignment_and_fixed(void **state)
{
    static const struct quire_tensor_buffer buffers[] = {
        {.lower = 0, .upper = 10, .size = 10, .is_fixed = true, .offset = 12},
        {.lower = 0, .upper = 5, .size = 9, .alignment = 12},
        {.lower = 5, .upper = 10, .size = 9, .alignment = 12},
        {.lower = 3, .upper = 4, .size = 1, .alignment = 24},
    };
    (void)state;
    assert_int_equal(place(buffers, 4, &(struct quire_tensor_options){0}), 0);
    assert_int_equal(plan.offsets[0], 12);
    assert_int_equal(plan.offsets[1], 0);
    assert_int_equal(plan.offsets[2], 0);
    assert_int_equal(plan.offsets[3], 24);
    assert_int_equal(plan.peak, 25);
    quire_tensor_plan_free(&plan);
    assert_int_equal(place(buffers, 4, &(struct quire_tensor_options){.min_alignment = 5}),
                     -EINVAL);
    assert_int_equal(fault.kind, QUIRE_TENSOR_MISALIGNED);
}

/* What the topmost may do without is that of a buffer that lives then, not of one that lives at
 * another time. */
static void test_alignment_in_the_bound(void **state)
{
    static const struct quire_tensor_buffer buffers[] = {
        {.lower = 0, .upper = 2, .size = 112, .alignment = 64},
        {.lower = 1, .upper = 3, .size = 112, .alignment = 64},
        {.lower = 3, .upper = 4, .size = 16, .alignment = 64},
    };
    (void)state;
    assert_int_equal(place(buffers, 3, &(struct quire_tensor_options){0}), 0);
    assert_int_equal(plan.peak, 240);
    assert_int_equal(plan.bound, 240);
    assert_int_equal(plan.n_steps, 0); /* there is nothing to search for */
    quire_tensor_plan_free(&plan);
}

static void test_wrong_problems(void **state)
{
    static const struct quire_tensor_gap whole = {0, 5}, outside = {3, 9};
    static const struct {
        struct quire_tensor_buffer buffer;
        enum quire_tensor_fault_kind kind;
    } wrong[] = {
        {{.lower = 5, .upper = 5, .size = 1}, QUIRE_TENSOR_BAD_LIFETIME},
        {{.lower = 0, .upper = 5, .gaps = &whole, .n_gaps = 1}, QUIRE_TENSOR_BAD_GAP},
        {{.lower = 0, .upper = 5, .gaps = &outside, .n_gaps = 1}, QUIRE_TENSOR_BAD_GAP},
        {{.lower = 0, .upper = 5, .n_gaps = 1}, QUIRE_TENSOR_BAD_GAP},
        {{.lower = 0, .upper = 5, .size = UINT64_MAX}, QUIRE_TENSOR_TOO_LARGE},
        {{.lower = 0, .upper = 5, .size = 1, .alignment = UINT64_MAX}, QUIRE_TENSOR_TOO_LARGE},
        {{.lower = 0, .upper = 5, .size = 9, .is_fixed = true, .offset = UINT64_MAX},
         QUIRE_TENSOR_TOO_LARGE},
        {{.lower = 0, .upper = 5, .size = 9, .is_fixed = true, .offset = 2, .alignment = 4},
         QUIRE_TENSOR_MISALIGNED},
        {{.lower = 0, .upper = 5, .size = 9, .spaces = 2}, QUIRE_TENSOR_BAD_SPACE},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(wrong); i++) {
        struct quire_tensor_buffer buffers[] = {five[0], wrong[i].buffer};
        assert_int_equal(place(buffers, 2, &(struct quire_tensor_options){0}), -EINVAL);
        assert_int_equal(fault.kind, wrong[i].kind);
        assert_int_equal(fault.first, 1);
        assert_string_not_equal(quire_tensor_fault_text(fault.kind), "sound");
        assert_null(plan.offsets);
    }
}

static void test_fixed_that_overlap(void **state)
{
    struct quire_tensor_buffer buffers[] = {
        five[0],
        {.lower = 0, .upper = 5, .size = 9, .is_fixed = true, .offset = 2},
        {.lower = 4, .upper = 6, .size = 9, .is_fixed = true, .offset = 10},
    };
    (void)state;
    assert_int_equal(place(buffers, 3, &(struct quire_tensor_options){0}), -EINVAL);
    assert_int_equal(fault.kind, QUIRE_TENSOR_OVERLAP);
    assert_int_equal(fault.first + fault.second, 3);
}

static void test_wrong_options(void **state)
{
    (void)state;
    assert_int_equal(place(five, 5, &(struct quire_tensor_options){.time_limit = -1}), -EINVAL);
    assert_int_equal(fault.kind, QUIRE_TENSOR_SOUND);
    assert_int_equal(
        place(five, 5, &(struct quire_tensor_options){.strategy = (enum quire_tensor_strategy)9}),
        -EINVAL);
}

/* A fast space of 8 holds those that gain the most; the rest goes to the slow one. */
static void test_spaces(void **state)
{
    static const struct quire_tensor_space spaces[] = {{"fast", 8}, {"slow", 0}};
    static const struct quire_tensor_buffer buffers[] = {
        {.lower = 0, .upper = 10, .size = 5, .weight = 1},
        {.lower = 0, .upper = 10, .size = 5, .weight = 9},
        {.lower = 0, .upper = 10, .size = 3, .weight = 2},
        {.lower = 0, .upper = 10, .size = 1, .weight = 1000, .spaces = 2},
    };
    struct quire_tensor_problem problem = {buffers, 4, spaces, 2};
    (void)state;
    assert_int_equal(quire_tensor_place(&problem, &(struct quire_tensor_options){0}, &plan, &fault),
                     0);
    assert_int_equal(plan.verdict, QUIRE_TENSOR_FITS);
    assert_int_equal(plan.spaces[0], 1);
    assert_int_equal(plan.spaces[1], 0);
    assert_int_equal(plan.spaces[2], 0);
    assert_int_equal(plan.spaces[3], 1);
    assert_int_equal(plan.peaks[0], 8);
    assert_int_equal(plan.peaks[1], 6);
    assert_int_equal(plan.peak, 14);
    quire_tensor_plan_free(&plan);
    assert_int_equal(
        quire_tensor_place(&problem, &(struct quire_tensor_options){.capacity = 9}, &plan, &fault),
        -EINVAL);
}

static void test_spaces_that_are_too_small(void **state)
{
    static const struct quire_tensor_space spaces[] = {{"fast", 8}, {"slow", 9}};
    static const struct quire_tensor_buffer only_slow[] = {
        {.lower = 0, .upper = 10, .size = 5, .spaces = 2},
        {.lower = 0, .upper = 10, .size = 5, .spaces = 2},
    };
    struct quire_tensor_problem problem = {only_slow, 2, spaces, 2};
    (void)state;
    assert_int_equal(quire_tensor_place(&problem, &(struct quire_tensor_options){0}, &plan, &fault),
                     0);
    assert_int_equal(plan.verdict, QUIRE_TENSOR_DOES_NOT_FIT);
    quire_tensor_plan_free(&plan);
}

/* Larger ones, from a recurrence, so that the search has work. */
static void make_many(struct quire_tensor_buffer *buffers, size_t n)
{
    uint32_t x = 12345;
    for (size_t i = 0; i < n; i++) {
        x = x * 1664525 + 1013904223;
        int64_t lower = x >> 8 & 255;
        buffers[i] = (struct quire_tensor_buffer){
            .lower = lower, .upper = lower + 1 + (x >> 16 & 63), .size = 1 + (x >> 20 & 1023)};
    }
}

/* The same plan, whatever the number of threads; and each time. */
static void test_threads_change_nothing(void **state)
{
    static struct quire_tensor_buffer buffers[120];
    struct quire_tensor_options options = {.max_steps = 2000000, .seed = 3};
    uint64_t first[COUNT(buffers)];
    (void)state;
    make_many(buffers, COUNT(buffers));
    for (uint32_t n_threads = 1; n_threads <= 5; n_threads += 2) {
        options.n_threads = n_threads;
        assert_int_equal(place(buffers, COUNT(buffers), &options), 0);
        if (n_threads == 1)
            memcpy(first, plan.offsets, sizeof first);
        assert_memory_equal(first, plan.offsets, sizeof first);
        quire_tensor_plan_free(&plan);
    }
}

static int count_calls(void *context, const struct quire_tensor_progress *progress)
{
    unsigned *n = context;
    assert_true(progress->peak >= progress->bound && progress->bound > 0);
    return ++*n == 2;
}

#ifndef MANY
#define MANY 100000u /* -DMANY=1000000u takes some seconds */
#endif

/* Many buffers, about 25 of them at a time: near the bound after a few passes, and sound. */
static void test_many(void **state)
{
    (void)state;
    struct quire_tensor_buffer *buffers = calloc(MANY, sizeof *buffers);
    uint64_t random = 1, peak;
    assert_non_null(buffers);
    for (uint32_t i = 0; i < MANY; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        int64_t lower = (int64_t)((random >> 33) % (10 * (uint64_t)MANY));
        buffers[i] = (struct quire_tensor_buffer){.lower = lower,
                                                  .upper = lower + 1 +
                                                           (int64_t)(random >> 24) % 500,
                                                  .size = 1024 + (random >> 40) % 1048576};
    }
    const struct quire_tensor_problem problem = {buffers, MANY, NULL, 0};
    const struct quire_tensor_options options = {.strategy = QUIRE_TENSOR_GREEDY};
    assert_int_equal(quire_tensor_place(&problem, &options, &plan, &fault), 0);
    assert_int_equal(quire_tensor_verify(&problem, plan.offsets, NULL, 0, 0, &peak, &fault), 0);
    assert_true(peak == plan.peak && plan.peak >= plan.bound);
    assert_true(plan.peak - plan.bound <= plan.bound / 32);
    quire_tensor_plan_free(&plan);
    free(buffers);
}

static void test_progress_stops(void **state)
{
    static struct quire_tensor_buffer buffers[400];
    unsigned n_calls = 0;
    struct quire_tensor_options options = {
        .strategy = QUIRE_TENSOR_SEARCH, .progress = count_calls, .context = &n_calls};
    (void)state;
    make_many(buffers, COUNT(buffers));
    assert_int_equal(place(buffers, COUNT(buffers), &options), 0);
    if (!plan.is_proved) {
        assert_int_equal(plan.stopped, QUIRE_TENSOR_STOP_CANCEL);
        assert_int_equal(n_calls, 2);
    }
    quire_tensor_plan_free(&plan);
}

static void test_cancelled_before(void **state)
{
    static struct quire_tensor_buffer buffers[400];
    int cancel = 1;
    struct quire_tensor_options options = {.cancel = &cancel, .n_threads = 2};
    (void)state;
    make_many(buffers, COUNT(buffers));
    assert_int_equal(place(buffers, COUNT(buffers), &options), 0);
    assert_true(plan.is_proved || plan.stopped == QUIRE_TENSOR_STOP_CANCEL);
    quire_tensor_plan_free(&plan);
}

/* The limit is over before it is known who meets whom: a sound plan all the same. */
static void test_no_time(void **state)
{
    (void)state;
    const struct quire_tensor_options none = {.time_limit = 1e-9, .min_alignment = 16};
    const struct quire_tensor_space two[] = {{"fast", 100}, {"slow", 0}};
    struct quire_tensor_buffer buffers[1000];
    uint64_t sum = 0, peak;
    make_many(buffers, COUNT(buffers));
    for (size_t i = 0; i < COUNT(buffers); i++)
        sum += (buffers[i].size + 15) / 16 * 16;
    assert_int_equal(place(buffers, COUNT(buffers), &none), 0);
    assert_string_equal(plan.found_by, "one behind the other");
    assert_int_equal(plan.stopped, QUIRE_TENSOR_STOP_TIME);
    assert_in_range(plan.peak, sum - 15, sum);
    quire_tensor_plan_free(&plan);
    buffers[7] = (struct quire_tensor_buffer){
        .lower = 0, .upper = 9, .size = 40, .is_fixed = true, .offset = 4096, .spaces = 2};
    buffers[8] = (struct quire_tensor_buffer){.lower = 0, .upper = 9, .size = 101, .spaces = 1};
    buffers[9].size = 0;
    struct quire_tensor_problem problem = {buffers, 10, two, 2};
    for (size_t i = 0; i < 7; i++)
        buffers[i].spaces = 2;
    assert_int_equal(quire_tensor_place(&problem, &none, &plan, &fault), 0);
    assert_string_equal(plan.found_by, "one behind the other");
    assert_int_equal(plan.verdict, QUIRE_TENSOR_UNDECIDED); /* 101 of 100 bytes */
    assert_int_equal(plan.peaks[0], 101);
    assert_int_equal(plan.offsets[0], 4144); /* above what is fixed */
    problem.spaces = NULL;
    problem.n_spaces = 0;
    for (size_t i = 0; i < 10; i++)
        buffers[i].spaces = 0;
    quire_tensor_plan_free(&plan);
    assert_int_equal(quire_tensor_place(&problem, &none, &plan, &fault), 0);
    assert_int_equal(quire_tensor_verify(&problem, plan.offsets, NULL, 0, 16, &peak, NULL), 0);
    assert_int_equal(peak, plan.peak);
    quire_tensor_plan_free(&plan);
}

static void test_profile(void **state)
{
    struct quire_tensor_problem problem = {five, COUNT(five), NULL, 0};
    struct quire_tensor_point *points;
    size_t n;
    (void)state;
    assert_int_equal(quire_tensor_profile(&problem, &points, &n), 0);
    assert_int_equal(n, 3);
    assert_int_equal(points[0].time, 0);
    assert_int_equal(points[0].live, 12);
    assert_int_equal(points[1].time, 9);
    assert_int_equal(points[1].live, 8);
    assert_int_equal(points[2].time, 21);
    assert_int_equal(points[2].live, 0);
    free(points);
}

/* Each kind of fault in a placement is found. */
static void test_verify(void **state)
{
    static const struct quire_tensor_buffer buffers[] = {
        {.lower = 0, .upper = 10, .size = 8, .alignment = 4},
        {.lower = 5, .upper = 15, .size = 8, .is_fixed = true, .offset = 8},
        {.lower = 10, .upper = 20, .size = 8},
    };
    struct quire_tensor_problem problem = {buffers, 3, NULL, 0};
    uint64_t peak, offsets[] = {0, 8, 0};
    (void)state;
    assert_int_equal(quire_tensor_verify(&problem, offsets, NULL, 16, 0, &peak, &fault), 0);
    assert_int_equal(peak, 16);
    assert_int_equal(quire_tensor_verify(&problem, offsets, NULL, 15, 0, &peak, &fault), -EUCLEAN);
    assert_int_equal(fault.kind, QUIRE_TENSOR_OVER_CAPACITY);
    assert_int_equal(quire_tensor_verify(&problem, offsets, NULL, 0, 16, &peak, &fault), -EUCLEAN);
    assert_int_equal(fault.kind, QUIRE_TENSOR_MISALIGNED);
    offsets[0] = 2;
    assert_int_equal(quire_tensor_verify(&problem, offsets, NULL, 0, 0, &peak, &fault), -EUCLEAN);
    assert_int_equal(fault.kind, QUIRE_TENSOR_MISALIGNED);
    offsets[0] = 4;
    assert_int_equal(quire_tensor_verify(&problem, offsets, NULL, 0, 0, &peak, &fault), -EUCLEAN);
    assert_int_equal(fault.kind, QUIRE_TENSOR_OVERLAP);
    assert_int_equal(fault.first + fault.second, 1);
    offsets[0] = 0;
    offsets[1] = 9;
    assert_int_equal(quire_tensor_verify(&problem, offsets, NULL, 0, 0, &peak, &fault), -EUCLEAN);
    assert_int_equal(fault.kind, QUIRE_TENSOR_MOVED);
    offsets[1] = 8;
    offsets[2] = UINT64_MAX;
    assert_int_equal(quire_tensor_verify(&problem, offsets, NULL, 0, 0, &peak, &fault), -EUCLEAN);
    assert_int_equal(fault.kind, QUIRE_TENSOR_TOO_LARGE);
}

/* The CSV */

static const char table_text[] =
    "\xef\xbb\xbf"
    "size, id,lower,upper,alignment,offset,gaps,group,spaces,weight,space,note\r\n"
    "100,\"a,\"\"b\"\"\",-3,9,16,32,-1-2 4-5,1,0+1,7,1,anything\r\n"
    "\r\n"
    "0,b,0,1,,,,,,,,";

static void test_table(void **state)
{
    struct quire_tensor_table table, again;
    char message[QUIRE_TENSOR_MESSAGE_BYTES], *text;
    size_t n_bytes;
    (void)state;
    assert_int_equal(quire_tensor_table_read(table_text, strlen(table_text), &table, message), 0);
    assert_int_equal(table.n_buffers, 2);
    const struct quire_tensor_buffer *a = &table.buffers[0];
    assert_string_equal(a->name, "a,\"b\"");
    assert_true(a->lower == -3 && a->upper == 9 && a->size == 100 && a->alignment == 16);
    assert_true(a->is_fixed && a->offset == 32 && a->group == 1 && a->spaces == 3);
    assert_true(a->weight == 7 && a->n_gaps == 2 && table.spaces[0] == 1);
    assert_true(a->gaps[0].lower == -1 && a->gaps[0].upper == 2 && a->gaps[1].upper == 5);
    assert_false(table.buffers[1].is_fixed || table.has_offsets);

    static const struct quire_tensor_space spaces[] = {{"x", 0}, {"y", 0}};
    const uint64_t offsets[] = {32, 0};
    struct quire_tensor_problem problem = {table.buffers, 2, spaces, 2};
    assert_int_equal(quire_tensor_table_write(&problem, offsets, table.spaces, &text, &n_bytes), 0);
    assert_int_equal(quire_tensor_table_read(text, n_bytes, &again, message), 0);
    assert_true(again.has_offsets && again.n_buffers == 2 && again.spaces[0] == 1);
    assert_string_equal(again.buffers[0].name, a->name);
    assert_memory_equal(again.buffers[0].gaps, a->gaps, 2 * sizeof *a->gaps);
    quire_tensor_table_free(&again);
    quire_tensor_table_free(&table);
    free(text);
}

/* Found by tests/fuzz/table_fuzz.c: a blank at the end of a name was lost. */
static void test_blanks_in_names(void **state)
{
    (void)state;
    static const char text[] = "id,lower,upper,size\n\"a \",0,1,1\n\" b\",0,1,1\n\"\tc\",0,1,1\n";
    const uint64_t offsets[] = {0, 1, 2};
    struct quire_tensor_table table, again;
    char message[QUIRE_TENSOR_MESSAGE_BYTES], *written;
    size_t n_bytes;
    assert_int_equal(quire_tensor_table_read(text, strlen(text), &table, message), 0);
    const struct quire_tensor_problem problem = {table.buffers, table.n_buffers, NULL, 0};
    assert_int_equal(quire_tensor_table_write(&problem, offsets, NULL, &written, &n_bytes), 0);
    assert_int_equal(quire_tensor_table_read(written, n_bytes, &again, message), 0);
    assert_string_equal(again.buffers[0].name, "a ");
    assert_string_equal(again.buffers[1].name, " b");
    assert_string_equal(again.buffers[2].name, "\tc");
    quire_tensor_table_free(&table);
    quire_tensor_table_free(&again);
    free(written);
}

static void test_last_ticks(void **state)
{
    static const char text[] = "buffer,start,end,size\nx,0,4,1\n";
    struct quire_tensor_table table;
    char message[QUIRE_TENSOR_MESSAGE_BYTES];
    (void)state;
    assert_int_equal(quire_tensor_table_read(text, strlen(text), &table, message), 0);
    assert_int_equal(table.buffers[0].upper, 5);
    quire_tensor_table_free(&table);
}

/* Whatever is cut off or put in its place: refused with a reason, or read as something sound. */
static void test_broken_tables(void **state)
{
    struct quire_tensor_table table;
    char message[QUIRE_TENSOR_MESSAGE_BYTES], text[sizeof table_text];
    size_t n = strlen(table_text);
    (void)state;
    for (size_t cut = 0; cut <= n; cut++) {
        for (int c = 0; c < 256; c += cut < n ? 17 : 256) {
            memcpy(text, table_text, n);
            if (cut < n)
                text[cut] = (char)c;
            int error = quire_tensor_table_read(text, c == 0 ? cut : n, &table, message);
            assert_true(error == 0 || (error == -EINVAL && message[0] != '\0'));
            quire_tensor_table_free(&table);
        }
    }
}

static void test_refused_tables(void **state)
{
    static const char *const wrong[][2] = {
        {"", "the column 'id' is missing"},
        {"id,lower,upper\n", "the column 'size' is missing"},
        {"id,lower,upper,size,size\n", "is there twice"},
        {"id,lower,upper,size\na,0,1\n", "line 2: at 'a' there are fewer fields"},
        {"id,lower,upper,size\na,0,1,2,3\n", "more fields"},
        {"id,lower,upper,size\na,0,1,-2\n", "size '-2' is no number"},
        {"id,lower,upper,size\na,0,1,18446744073709551616\n", "is no number"},
        {"id,lower,upper,size\na,0,9223372036854775808,1\n", "upper '9223372036854775808'"},
        {"id,lower,end,size\na,0,9223372036854775807,1\n", "upper"},
        {"id,lower,upper,size\n\n\na,3,3,1\n", "line 4: the lifetime of 'a'"},
        {"id,lower,upper,size\n\"a,0,1,1\n", "no closing quote"},
        {"id,lower,upper,size\n\"a\"b,0,1,1\n", "stands something else"},
        {"id,lower,upper,size,gaps\na,0,9,1,3\n", "is not like 3-5"},
        {"id,lower,upper,size,spaces\na,0,9,1,32\n", "spaces '32'"},
        {"id,lower,upper,size,offset,alignment\na,0,9,1,3,2\n", "no multiple"},
        {"id,lower,upper,size,group\na,0,9,1,4294967296\n", "group '4294967296' is too large"},
    };
    struct quire_tensor_table table;
    char message[QUIRE_TENSOR_MESSAGE_BYTES];
    (void)state;
    for (size_t i = 0; i < COUNT(wrong); i++) {
        assert_int_equal(quire_tensor_table_read(wrong[i][0], strlen(wrong[i][0]), &table, message),
                         -EINVAL);
        if (strstr(message, wrong[i][1]) == NULL)
            fail_msg("'%s' lacks '%s'", message, wrong[i][1]);
        assert_null(table.buffers);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_least_peak),
        cmocka_unit_test(test_capacity),
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_gaps_and_groups),
        cmocka_unit_test(test_alignment_and_fixed),
        cmocka_unit_test(test_alignment_in_the_bound),
        cmocka_unit_test(test_wrong_problems),
        cmocka_unit_test(test_fixed_that_overlap),
        cmocka_unit_test(test_wrong_options),
        cmocka_unit_test(test_spaces),
        cmocka_unit_test(test_spaces_that_are_too_small),
        cmocka_unit_test(test_threads_change_nothing),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_progress_stops),
        cmocka_unit_test(test_cancelled_before),
        cmocka_unit_test(test_no_time),
        cmocka_unit_test(test_profile),
        cmocka_unit_test(test_verify),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_blanks_in_names),
        cmocka_unit_test(test_last_ticks),
        cmocka_unit_test(test_broken_tables),
        cmocka_unit_test(test_refused_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
