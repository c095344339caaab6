/* SPDX-License-Identifier: Apache-2.0 */
/* ps_columns: see ps_columns.h. A new column is one function and one row. */
#include "cli/ps_columns.h"

#include "base/size.h"

#include <inttypes.h>
#include <math.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIGURE_OF(name, member)                    \
    static uint64_t name(const struct ps_row *row) \
    {                                              \
        return (uint64_t)row->process->member;     \
    }

FIGURE_OF(pid_of, pid)
FIGURE_OF(parent_of, parent)
FIGURE_OF(rss_of, rss)
FIGURE_OF(virtual_of, virtual_bytes)
FIGURE_OF(minor_of, minor_faults)
FIGURE_OF(major_of, major_faults)
FIGURE_OF(threads_of, n_threads)
FIGURE_OF(cpu_of, cpu_ms)
FIGURE_OF(blocked_of, blocked_ms)
FIGURE_OF(swap_of, swap)
FIGURE_OF(locked_of, locked)
FIGURE_OF(anonymous_of, rss_anonymous)
FIGURE_OF(file_of, rss_file)
FIGURE_OF(shmem_of, rss_shmem)
FIGURE_OF(peak_of, rss_peak)
FIGURE_OF(page_tables_of, page_tables)
FIGURE_OF(pss_of, pss)
FIGURE_OF(uss_of, uss)
FIGURE_OF(shared_of, shared)
FIGURE_OF(swap_pss_of, swap_pss)
FIGURE_OF(huge_of, huge)
FIGURE_OF(referenced_of, referenced)
FIGURE_OF(oom_of, oom_score)
FIGURE_OF(read_calls_of, io_read_calls)
FIGURE_OF(read_device_of, io_read_device)
FIGURE_OF(written_device_of, io_written_device)
FIGURE_OF(run_resident_of, run_resident)
FIGURE_OF(run_staged_of, run_staged)
FIGURE_OF(run_compressed_of, run_compressed)
FIGURE_OF(run_file_of, run_file)
FIGURE_OF(run_metadata_of, run_metadata)
FIGURE_OF(run_budget_of, run_budget)
FIGURE_OF(run_held_of, run_held)

static uint64_t run_of(const struct ps_row *row)
{
    return row->process->run > 0 ? (uint64_t)row->process->run : QUIRE_OBSERVE_ABSENT;
}

static uint64_t tree_of(const struct ps_row *row)
{
    return row->tree_pss;
}

static uint64_t tree_rss_of(const struct ps_row *row)
{
    return row->tree_rss;
}

static double minor_rate_of(const struct ps_row *row)
{
    return row->process->minor_rate;
}

static double major_rate_of(const struct ps_row *row)
{
    return row->process->major_rate;
}

static double cpu_percent_of(const struct ps_row *row)
{
    return row->process->cpu_percent;
}

static void user_of(const struct ps_row *row, char *buffer, size_t n_bytes)
{
    static struct { /* one name is asked for again and again */
        uint64_t id;
        char name[33];
    } last = {QUIRE_OBSERVE_ABSENT, ""};
    uint64_t id = row->process->user;

    if (!quire_observe_known(id)) {
        snprintf(buffer, n_bytes, "%s", figure_count(id, FIGURE));
        return;
    }
    if (id != last.id) {
        const struct passwd *entry = getpwuid((uid_t)id);
        if (entry != NULL)
            snprintf(last.name, sizeof last.name, "%s", entry->pw_name);
        else
            snprintf(last.name, sizeof last.name, "%" PRIu64, id);
        last.id = id;
    }
    snprintf(buffer, n_bytes, "%s", last.name);
}

static void state_of(const struct ps_row *row, char *buffer, size_t n_bytes)
{
    snprintf(buffer, n_bytes, "%c", row->process->state);
}

static void name_of(const struct ps_row *row, char *buffer, size_t n_bytes)
{
    snprintf(buffer, n_bytes, "%*s%s", (int)(2 * row->depth), "", row->process->name);
}

/* The arguments; of who has none, the name in brackets. */
static void command_of(const struct ps_row *row, char *buffer, size_t n_bytes)
{
    const char *command = row->process->command;
    int indent = row->depth < 40 ? (int)(2 * row->depth) : 80;

    if (command != NULL && command[0] != '\0')
        snprintf(buffer, n_bytes, "%*s%s", indent, "", command);
    else
        snprintf(buffer, n_bytes, "%*s[%s]", indent, "", row->process->name);
}

static void adjust_of(const struct ps_row *row, char *buffer, size_t n_bytes)
{
    if (row->process->oom_adjust == INT64_MIN)
        snprintf(buffer, n_bytes, "-");
    else
        snprintf(buffer, n_bytes, "%" PRId64, row->process->oom_adjust);
}

#define ALWAYS QUIRE_OBSERVE_STAT
#define STATUS QUIRE_OBSERVE_STATUS
#define SHARES QUIRE_OBSERVE_SHARES
#define OOM QUIRE_OBSERVE_OOM
#define IO QUIRE_OBSERVE_IO
#define RUNS QUIRE_OBSERVE_RUNS
#define NUMBER(name, heading, key, parts, of, help)                \
    {                                                              \
        name, heading, key, PS_NUMBER, parts, of, NULL, NULL, help \
    }
#define SIZE(name, heading, parts, of, help)                               \
    {                                                                      \
        name, heading, name "_bytes", PS_SIZE, parts, of, NULL, NULL, help \
    }
#define TEXT(name, heading, parts, of, help)                      \
    {                                                             \
        name, heading, name, PS_TEXT, parts, NULL, NULL, of, help \
    }

const struct ps_column ps_columns[] = {
    NUMBER("pid", "PID", "pid", ALWAYS, pid_of, "process id"),
    NUMBER("ppid", "PPID", "parent_pid", ALWAYS, parent_of, "its parent's"),
    TEXT("user", "USER", STATUS, user_of, "effective user"),
    TEXT("state", "S", ALWAYS, state_of, "R running, S sleeping, D waiting, Z ended ..."),
    NUMBER("threads", "THR", "threads", ALWAYS, threads_of, "threads"),
    NUMBER("cpu", "CPU-MS", "cpu_ms", ALWAYS, cpu_of, "processor time, ms"),
    {"cpu_percent", "CPU%", "cpu_percent", PS_RATE, ALWAYS, NULL, cpu_percent_of, NULL,
     "of a processor, since the last sample or its start"},
    NUMBER("blocked", "BLK-MS", "blocked_ms", ALWAYS, blocked_of,
           "time it waited for block I/O, ms (with kernel.task_delayacct=1)"),
    SIZE("virtual", "VIRT", ALWAYS, virtual_of, "address space"),
    SIZE("rss", "RSS", ALWAYS, rss_of, "resident pages, shared ones counted in full"),
    SIZE("peak", "PEAK", STATUS, peak_of, "the highest RSS"),
    SIZE("anonymous", "ANON", STATUS, anonymous_of, "resident pages that no file backs"),
    SIZE("file", "FILE", STATUS, file_of, "resident pages of files"),
    SIZE("shmem", "SHMEM", STATUS, shmem_of, "resident shared memory"),
    SIZE("pss", "PSS", SHARES, pss_of, "resident, shared pages divided among their users"),
    SIZE("uss", "USS", SHARES, uss_of, "resident and its own alone: what its end would free"),
    SIZE("shared", "SHARED", SHARES, shared_of, "resident and in another process too"),
    SIZE("referenced", "REF", SHARES, referenced_of, "touched since it was last cleared"),
    SIZE("huge", "HUGE", SHARES, huge_of, "in transparent huge pages"),
    SIZE("swap", "SWAP", STATUS, swap_of, "swapped out"),
    SIZE("swap_pss", "SWPSS", SHARES, swap_pss_of, "swapped out, shared pages divided"),
    SIZE("locked", "LOCKED", STATUS, locked_of, "locked into memory"),
    SIZE("page_tables", "PTE", STATUS, page_tables_of, "page tables"),
    NUMBER("minor", "MINFL", "minor_faults", ALWAYS, minor_of, "minor faults so far"),
    NUMBER("major", "MAJFL", "major_faults", ALWAYS, major_of, "major faults so far"),
    {"minor_rate", "MIN/s", "minor_faults_a_second", PS_RATE, ALWAYS, NULL, minor_rate_of, NULL,
     "minor faults a second, since the last sample or its start"},
    {"major_rate", "MAJ/s", "major_faults_a_second", PS_RATE, ALWAYS, NULL, major_rate_of, NULL,
     "major faults a second, likewise"},
    NUMBER("oom", "OOM", "oom_score", OOM, oom_of, "the OOM killer's score; the highest dies"),
    TEXT("oom_adjust", "ADJ", OOM, adjust_of, "how that score was adjusted"),
    SIZE("read", "READ", IO, read_calls_of, "read by system calls"),
    SIZE("read_device", "RDEV", IO, read_device_of, "read from devices"),
    SIZE("written_device", "WDEV", IO, written_device_of, "written to devices"),
    NUMBER("run", "RUN", "run", RUNS, run_of, "of a `quire run': the pid of its keeper"),
    SIZE("resident", "RESID", RUNS, run_resident_of, "there: mapped and in use"),
    SIZE("staged", "STAGED", RUNS, run_staged_of, "there: evicted, still uncompressed"),
    SIZE("compressed", "COMPR", RUNS, run_compressed_of, "there: in the compressed store"),
    SIZE("swap_file", "SWFILE", RUNS, run_file_of, "there: in the swap file"),
    SIZE("metadata", "META", RUNS, run_metadata_of, "there: Quire's tables"),
    SIZE("held", "HELD", RUNS, run_held_of, "held by the whole run"),
    SIZE("budget", "BUDGET", RUNS, run_budget_of, "of the whole run"),
    SIZE("tree", "TREE", SHARES, tree_of, "PSS of it and all processes below it"),
    SIZE("tree_rss", "TREE-RSS", ALWAYS, tree_rss_of, "RSS of them"),
    TEXT("name", "NAME", ALWAYS, name_of, "the name the kernel has for it"),
    TEXT("command", "COMMAND", QUIRE_OBSERVE_COMMAND, command_of, "its arguments"),
};
const size_t ps_n_columns = sizeof ps_columns / sizeof ps_columns[0];

const struct ps_column *ps_column_find(const char *name, size_t n)
{
    for (size_t i = 0; i < ps_n_columns; i++)
        if (strlen(ps_columns[i].name) == n && memcmp(ps_columns[i].name, name, n) == 0)
            return &ps_columns[i];
    return NULL;
}

double ps_column_value(const struct ps_column *column, const struct ps_row *row)
{
    if (column->kind == PS_RATE)
        return column->rate(row);
    uint64_t figure = column->figure(row);
    return quire_observe_known(figure) ? (double)figure : -1;
}

const char *ps_column_cell(const struct ps_column *column, const struct ps_row *row, bool exact,
                           char buffer[PS_TEXT_BYTES])
{
    struct figure_text text;
    const char *cell = buffer;

    switch (column->kind) {
    case PS_NUMBER:
        cell = figure_count(column->figure(row), &text);
        break;
    case PS_SIZE:
        cell = figure_short(column->figure(row), exact, &text);
        break;
    case PS_RATE:
        cell = figure_rate(column->rate(row), &text);
        break;
    case PS_TEXT:
        column->text(row, buffer, PS_TEXT_BYTES);
        return buffer;
    }
    snprintf(buffer, PS_TEXT_BYTES, "%s", cell);
    return buffer;
}

json_t *ps_column_json(const struct ps_column *column, const struct ps_row *row)
{
    char buffer[PS_TEXT_BYTES];

    if (column->kind == PS_RATE)
        return json_real(column->rate(row));
    if (column->kind != PS_TEXT)
        return figure_json(column->figure(row));
    struct ps_row flat = *row; /* no indentation */
    flat.depth = 0;
    column->text(&flat, buffer, sizeof buffer);
    json_t *text = json_string(buffer);
    if (text != NULL)
        return text;
    for (char *c = buffer; *c != '\0'; c++) /* it is no UTF-8 */
        if ((unsigned char)*c >= 0x80)
            *c = '?';
    return json_string(buffer);
}

bool ps_filter_parse(const char *text, struct ps_filter *filter, const char **problem)
{
    static const struct {
        const char *sign;
        int test;
    } tests[] = {{"!=", PS_UNEQUAL}, {"<=", PS_AT_MOST}, {">=", PS_AT_LEAST}, {"=", PS_EQUAL},
                 {"~", PS_HOLDS},    {"<", PS_BELOW},    {">", PS_ABOVE}};
    size_t n = strcspn(text, "!<>=~"), i = 0;
    uint64_t bytes;
    char *end;

    filter->column = ps_column_find(text, n);
    *problem = "it begins with no column's name; `quire ps --list' lists them";
    if (filter->column == NULL)
        return false;
    *problem = "behind the column, one of = != ~ < > <= >= is expected";
    while (i < 7 && strncmp(text + n, tests[i].sign, strlen(tests[i].sign)) != 0)
        i++;
    if (i == 7)
        return false;
    filter->test = tests[i].test;
    filter->text = text + n + strlen(tests[i].sign);
    bool is_text = filter->column->kind == PS_TEXT;
    *problem = is_text ? "text is compared by =, != or ~" : "~ is for text";
    if (is_text ? filter->test > PS_HOLDS : filter->test == PS_HOLDS)
        return false;
    if (is_text)
        return true;
    *problem = "the value is no number or size";
    if (filter->column->kind == PS_SIZE && size_parse(filter->text, 0, &bytes) == 0) {
        filter->value = (double)bytes;
        return true;
    }
    filter->value = strtod(filter->text, &end);
    return filter->column->kind != PS_SIZE && end != filter->text && *end == '\0' &&
           !isnan(filter->value);
}

bool ps_filter_passes(const struct ps_filter *filter, const struct ps_row *row)
{
    char buffer[PS_TEXT_BYTES];

    if (filter->column->kind == PS_TEXT) {
        struct ps_row flat = *row;
        flat.depth = 0;
        filter->column->text(&flat, buffer, sizeof buffer);
        return filter->test == PS_HOLDS
                   ? strstr(buffer, filter->text) != NULL
                   : (strcmp(buffer, filter->text) == 0) == (filter->test == PS_EQUAL);
    }
    double value = ps_column_value(filter->column, row), limit = filter->value;
    switch (filter->test) {
    case PS_EQUAL:
        return !(value < limit || value > limit);
    case PS_UNEQUAL:
        return value < limit || value > limit;
    case PS_BELOW:
        return value >= 0 && value < limit;
    case PS_ABOVE:
        return value > limit;
    case PS_AT_MOST:
        return value >= 0 && value <= limit;
    default:
        return value >= limit;
    }
}
