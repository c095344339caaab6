/* SPDX-License-Identifier: Apache-2.0 */
/* What the time line of --stats is made of: samples, the map of address space, texts. */
#include "cli/heat.h"
#include "cli/html.h"
#include "cli/json_text.h"
#include "cli/series.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static struct series series;
static struct heat heat;

static struct series_sample sample_of(uint64_t n)
{
    struct series_sample sample = {.at_ns = (n + 1) * 1000000000};
    sample.gauge[SERIES_RESIDENT] = n % 10; /* of a pair the odd one holds more */
    sample.gauge[SERIES_STORED] = n;
    sample.gauge[SERIES_PROCESSES] = 1 + n % 2;
    sample.counter[SERIES_EVICTIONS] = 100 * n;
    return sample;
}

static json_int_t value(const json_t *json, const char *key, size_t i)
{
    return json_integer_value(json_array_get(json_object_get(json, key), i));
}

static void a_full_series_is_halved(void **state)
{
    memset(&series, 0, sizeof series);
    for (uint64_t n = 0; n < SERIES_MOST - 1; n++) {
        struct series_sample sample = sample_of(n);
        assert_false(series_add(&series, &sample));
    }
    struct series_sample last = sample_of(SERIES_MOST - 1);
    last.gauge[SERIES_RESIDENT] = 0; /* the program has ended */
    assert_true(series_add(&series, &last));
    assert_int_equal(series.n_samples, SERIES_MOST / 2);
    for (unsigned i = 0; i < series.n_samples - 1; i++) {
        assert_int_equal(series.sample[i].at_ns, (2 * i + 2) * 1000000000ull);
        assert_int_equal(series.sample[i].counter[SERIES_EVICTIONS], 100 * (2 * i + 1));
        assert_int_equal(series.sample[i].gauge[SERIES_RESIDENT], (2 * i + 1) % 10);
        assert_int_equal(series.sample[i].gauge[SERIES_PROCESSES], 2);
    }
    /* the gauges are all of the moment at which more was held, the counters of the later one */
    assert_int_equal(series.sample[series.n_samples - 1].gauge[SERIES_RESIDENT],
                     (SERIES_MOST - 2) % 10);
    assert_int_equal(series.sample[series.n_samples - 1].gauge[SERIES_PROCESSES], 1);
    assert_int_equal(series.sample[series.n_samples - 1].counter[SERIES_EVICTIONS],
                     100 * (SERIES_MOST - 1));
    assert_int_equal(series.peak_needed_pages, 1019 + 9); /* of SERIES_MOST */
}

static void a_series_of_days_stays_bounded(void **state)
{
    unsigned n_halved = 0;
    uint64_t n = 0;
    memset(&series, 0, sizeof series);
    for (; n < 200000; n++) {
        struct series_sample sample = sample_of(n);
        n_halved += series_add(&series, &sample);
        assert_true(series.n_samples < SERIES_MOST);
    }
    assert_int_equal(n_halved, (200000 - SERIES_MOST) / (SERIES_MOST / 2) + 1);
    for (unsigned i = 1; i < series.n_samples; i++)
        assert_true(series.sample[i].at_ns > series.sample[i - 1].at_ns &&
                    series.sample[i].counter[SERIES_EVICTIONS] >
                        series.sample[i - 1].counter[SERIES_EVICTIONS]);
    assert_int_equal(series.sample[series.n_samples - 1].at_ns, n * 1000000000);
}

static void a_sample_changes_something_or_not_whenever_it_was_taken(void **state)
{
    memset(&series, 0, sizeof series);
    struct series_sample sample = sample_of(3);
    assert_true(series_changes(&series, &sample)); /* the first one */
    series_add(&series, &sample);
    sample.at_ns += 5000000;
    assert_false(series_changes(&series, &sample));
    sample.counter[SERIES_WAITS]++;
    assert_true(series_changes(&series, &sample));
    sample = sample_of(3);
    sample.gauge[SERIES_UNMANAGED]++;
    assert_true(series_changes(&series, &sample));
}

static void counters_are_monotonic_and_pages_are_bytes(void **state)
{
    static const uint64_t evictions[] = {1, 9, 5, 5, 7};
    memset(&series, 0, sizeof series);
    for (unsigned i = 0; i < 5; i++) {
        struct series_sample sample = sample_of(i);
        sample.counter[SERIES_EVICTIONS] = evictions[i];
        series_add(&series, &sample);
    }
    json_t *json = series_json(&series);
    static const json_int_t expected[] = {1, 5, 5, 5, 7};
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(value(json, "evictions", i), expected[i]);
        assert_int_equal(value(json, "resident_bytes", i), 4096 * i);
        assert_int_equal(value(json, "processes", i), 1 + i % 2);
    }
    const char *key;
    json_t *array;
    json_object_foreach(json, key, array) assert_int_equal(json_array_size(array), 5);
    json_decref(json);
}

static void a_sample_is_what_the_control_block_says(void **state)
{
    struct control_options options = {.budget_bytes = 64 << 20, .swap_fd = -1};
    struct control *control;
    struct series_sample sample;
    int fd = control_create(&options, 0, &control);
    assert_true(fd >= 0);
    int slot = control_join(control);
    assert_true(slot >= 0);
    control_charge(control, (unsigned)slot, CONTROL_RESIDENT, 100);
    control_charge(control, (unsigned)slot, CONTROL_POOL, 30);
    control_charge(control, (unsigned)slot, CONTROL_STAGED, -3); /* for a moment it may be so */
    control->slot[slot].stored_pages = 70;
    control->slot[slot].zone_base[0] = 4096;
    control_count(&control->slot[slot].stats.faults[CONTROL_FAULT_RAM], 11);
    control_count(&control->slot[slot].stats.fault_ns, 5000);
    series_take(control, 77, &sample);
    assert_int_equal(sample.at_ns, 77);
    assert_int_equal(sample.gauge[SERIES_RESIDENT], 100);
    assert_int_equal(sample.gauge[SERIES_COMPRESSED], 30);
    assert_int_equal(sample.gauge[SERIES_STAGED], 0);
    assert_int_equal(sample.gauge[SERIES_PROCESSES], 1);
    assert_int_equal(series_needed_pages(&sample), 170);
    assert_int_equal(sample.counter[SERIES_FAULTS + CONTROL_FAULT_RAM], 11);
    assert_int_equal(sample.counter[SERIES_FAULT_NS], 5000);
    control_leave(control, (unsigned)slot);
    series_take(control, 78, &sample);
    assert_int_equal(sample.gauge[SERIES_STORED] + sample.gauge[SERIES_PROCESSES], 0);
    assert_int_equal(series_needed_pages(&sample), 100); /* its memory is there as yet */
    assert_int_equal(sample.counter[SERIES_FAULT_NS], 5000);
    munmap(control, control->total_bytes);
    close(fd);
}

static const char *row(const json_t *zones, size_t zone, const char *what, size_t i)
{
    return json_string_value(json_array_get(json_object_get(json_array_get(zones, zone), what), i));
}

static void rows_grow_with_what_is_used(void **state)
{
    heat_init(&heat);
    heat_add_resident(&heat, CONTROL_ZONE_HEAP, 0, CONTROL_HEAT_PAGES + 1); /* a row and a page */
    heat_add_faults(&heat, CONTROL_ZONE_HEAP, CONTROL_HEAT_PAGES, 5);
    heat.n_columns++;
    json_t *zones = heat_json(&heat);
    assert_string_equal(row(zones, 0, "resident", 0), "9");
    assert_string_equal(row(zones, 0, "resident", 1), "1");
    assert_string_equal(row(zones, 0, "faults", 0), "0");
    assert_string_equal(row(zones, 0, "faults", 1), "3"); /* 4 to 7 */
    assert_null(row(zones, 0, "faults", 2));
    assert_null(row(zones, 1, "faults", 0));
    json_decref(zones);
    /* four times as much address space: four old rows are one, in the columns before, too */
    heat_add_resident(&heat, CONTROL_ZONE_HEAP, 4ull * HEAT_ROWS * CONTROL_HEAT_PAGES - 1, 1);
    heat_add_faults(&heat, CONTROL_ZONE_HEAP, 0, UINT32_MAX);
    heat.n_columns++;
    zones = heat_json(&heat);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(zones, 0), "row_bytes")),
                     4 * CONTROL_HEAT_PAGES * 4096);
    assert_string_equal(row(zones, 0, "resident", 0), "30"); /* 65 of 256 */
    assert_string_equal(row(zones, 0, "faults", 0), "3w");   /* 2 to the 31 and more */
    assert_string_equal(row(zones, 0, "resident", HEAT_ROWS - 1), "01");
    assert_null(row(zones, 0, "resident", HEAT_ROWS));
    json_decref(zones);
}

static void columns_are_halved_with_the_series(void **state)
{
    heat_init(&heat);
    for (unsigned i = 0; i < SERIES_MOST; i++) {
        heat_add_resident(&heat, CONTROL_ZONE_MAPPINGS, 0, i % 2 ? 1 : CONTROL_HEAT_PAGES);
        heat_add_faults(&heat, CONTROL_ZONE_MAPPINGS, 0, 1);
        heat.n_columns++;
    }
    heat_halve(&heat);
    json_t *zones = heat_json(&heat);
    assert_int_equal(strlen(row(zones, 1, "resident", 0)), SERIES_MOST / 2);
    assert_int_equal(strspn(row(zones, 1, "resident", 0), "9"), SERIES_MOST / 2);
    assert_int_equal(strspn(row(zones, 1, "faults", 0), "2"), SERIES_MOST / 2); /* 2 faults */
    json_decref(zones);
}

static void processes_on_top_of_each_other_make_the_scale(void **state)
{
    heat_init(&heat);
    for (int process = 0; process < 3; process++)
        heat_add_resident(&heat, CONTROL_ZONE_HEAP, 0, CONTROL_HEAT_PAGES);
    heat_add_resident(&heat, CONTROL_ZONE_HEAP, CONTROL_HEAT_PAGES, CONTROL_HEAT_PAGES);
    heat.n_columns++;
    json_t *zones = heat_json(&heat);
    assert_string_equal(row(zones, 0, "resident", 0), "9");
    assert_string_equal(row(zones, 0, "resident", 1), "3");
    assert_int_equal(json_integer_value(json_object_get(json_array_get(zones, 0), "full_bytes")),
                     3 * CONTROL_HEAT_PAGES * 4096);
    json_decref(zones);
}

static void faults_are_the_change_since_the_last_look(void **state)
{
    struct control_options options = {.budget_bytes = 64 << 20, .swap_fd = -1};
    struct control *control;
    int fd = control_create(&options, 0, &control);
    assert_true(fd >= 0);
    heat_init(&heat);
    control->heat[CONTROL_ZONE_HEAP][2] = UINT32_MAX - 1; /* it wraps */
    control->heat_end[CONTROL_ZONE_HEAP] = 3;
    heat_take(&heat, control);
    for (int i = 0; i < 4; i++)
        control_heat(control, CONTROL_ZONE_HEAP, 2 * CONTROL_HEAT_PAGES);
    heat_take(&heat, control);
    heat_take(&heat, control);
    json_t *zones = heat_json(&heat);
    assert_string_equal(row(zones, 0, "faults", 2), "w30");
    json_decref(zones);
    heat_deinit(&heat);
    munmap(control, control->total_bytes);
    close(fd);
}

static void any_bytes_become_utf8(void **state)
{
    static const struct {
        const char *bytes, *text;
    } cases[] = {
        {"", ""},
        {"plain", "plain"},
        {"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"},
        {"a\xff"
         "b",
         "a\xef\xbf\xbd"
         "b"},
        {"\xc3", "\xef\xbf\xbd"},                                                 /* cut */
        {"\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd"},                                 /* overlong */
        {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},                 /* a surrogate */
        {"\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* too large */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        json_t *json = json_text(cases[i].bytes);
        assert_non_null(json);
        assert_string_equal(json_string_value(json), cases[i].text);
        json_decref(json);
    }
}

static void text_from_outside_is_escaped(void **state)
{
    struct html html = {0};
    html_raw(&html, "<b>");
    html_text(&html, "<i a='b' c=\"d\">&\n\x01\x7f\xc2\x85\xe2\x80\xae\xe2\x81\xa6\xe2\x82\xac");
    html_format(&html, "%d</b>", 7);
    static const char expected[] = "<b>&lt;i a=&#39;b&#39; c=&quot;d&quot;&gt;&amp;\n"
                                   "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
                                   "\xe2\x82\xac"
                                   "7</b>";
    assert_int_equal(html.n_bytes, sizeof expected - 1);
    assert_memory_equal(html.text, expected, sizeof expected - 1);
    assert_false(html.failed);
    html_free(&html);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_series_is_halved),
        cmocka_unit_test(a_series_of_days_stays_bounded),
        cmocka_unit_test(a_sample_changes_something_or_not_whenever_it_was_taken),
        cmocka_unit_test(counters_are_monotonic_and_pages_are_bytes),
        cmocka_unit_test(a_sample_is_what_the_control_block_says),
        cmocka_unit_test(rows_grow_with_what_is_used),
        cmocka_unit_test(columns_are_halved_with_the_series),
        cmocka_unit_test(processes_on_top_of_each_other_make_the_scale),
        cmocka_unit_test(faults_are_the_change_since_the_last_look),
        cmocka_unit_test(any_bytes_become_utf8),
        cmocka_unit_test(text_from_outside_is_escaped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
