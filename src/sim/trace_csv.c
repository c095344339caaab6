/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trace_csv: columns, of which one is the object or the address. A first line with names tells
 * which is which; else `columns` of the options does, or it is libCacheSim's order: time, object,
 * size. Objects are numbers, or other words, which are hashed; an `addr` column is an address in
 * bytes.
 *
 *   time     seconds, with a fraction or without         size   bytes
 *   id       a number of an object, or a word            write  W, w, write, 1 and the like
 *   addr     an address                                  process
 */
#include "sim/lines.h"

#include <errno.h>
#include <stdlib.h>

#define MOST_COLUMNS 64u
#define NS 1000000000u

enum field { TIME, ID, ADDRESS, SIZE, WRITE, PROCESS, N_FIELDS, OTHER };

struct csv {
    char delimiter;
    unsigned column[N_FIELDS]; /* from 1; 0: there is none */
};

static const struct {
    const char *name;
    enum field field;
} names[] = {{"time", TIME},       {"timestamp", TIME}, {"id", ID},           {"obj_id", ID},
             {"obj-id", ID},       {"object", ID},      {"key", ID},          {"page", ID},
             {"lbn", ID},          {"addr", ADDRESS},   {"address", ADDRESS}, {"size", SIZE},
             {"obj_size", SIZE},   {"obj-size", SIZE},  {"bytes", SIZE},      {"length", SIZE},
             {"write", WRITE},     {"op", WRITE},       {"rw", WRITE},        {"type", WRITE},
             {"process", PROCESS}, {"pid", PROCESS}};
#define N_NAMES (sizeof names / sizeof names[0])

/* The next cell, without blanks and quotes around it. False: the line has ended. */
static bool next_cell(struct text *line, char delimiter, struct text *cell)
{
    if (line->at == NULL)
        return false;
    const char *end = memchr(line->at, delimiter, text_length(line));
    *cell = (struct text){line->at, end != NULL ? end : line->end};
    line->at = end != NULL ? end + 1 : NULL;
    text_skip_blanks(cell);
    while (cell->end > cell->at && text_is_blank(cell->end[-1]))
        cell->end--;
    if (text_length(cell) >= 2 && cell->at[0] == '"' && cell->end[-1] == '"') {
        cell->at++;
        cell->end--;
    }
    return true;
}

static enum field field_of(const struct text *cell)
{
    char lower[16];
    const size_t n = text_length(cell);
    if (n >= sizeof lower)
        return OTHER;
    for (size_t i = 0; i < n; i++)
        lower[i] = (char)(cell->at[i] >= 'A' && cell->at[i] <= 'Z' ? cell->at[i] | 32
                                                                   : cell->at[i]);
    const struct text word = {lower, lower + n};
    for (size_t i = 0; i < N_NAMES; i++)
        if (text_is(&word, names[i].name))
            return names[i].field;
    return OTHER;
}

/* A line with names: at least one of them is of a page. */
static bool take_names(struct csv *csv, struct text line)
{
    struct text cell;
    unsigned column[N_FIELDS] = {0};
    for (unsigned i = 1; i <= MOST_COLUMNS && next_cell(&line, csv->delimiter, &cell); i++) {
        enum field field = field_of(&cell);
        if (field != OTHER && column[field] == 0)
            column[field] = i;
    }
    if (column[ID] == 0 && column[ADDRESS] == 0)
        return false;
    memcpy(csv->column, column, sizeof column);
    return true;
}

/* "time=1,id=2" */
static int take_columns(struct quire_trace *trace, struct csv *csv, const char *text)
{
    struct text rest = {text, text + strlen(text)}, cell;
    memset(csv->column, 0, sizeof csv->column);
    while (next_cell(&rest, ',', &cell)) {
        const char *equals = memchr(cell.at, '=', text_length(&cell));
        struct text name = {cell.at, equals != NULL ? equals : cell.end};
        uint64_t column = 0;
        enum field field = field_of(&name);
        if (equals == NULL || field == OTHER ||
            !text_number((struct text){equals + 1, cell.end}, &column) || column == 0 ||
            column > MOST_COLUMNS) {
            trace_fail(trace,
                       "the columns '%s': give NAME=N, N from 1 to %u, NAME one of time, id, "
                       "addr, size, write, process",
                       text, MOST_COLUMNS);
            return -EINVAL;
        }
        csv->column[field] = (unsigned)column;
    }
    if (csv->column[ID] == 0 && csv->column[ADDRESS] == 0) {
        trace_fail(trace, "the columns '%s' name neither id nor addr", text);
        return -EINVAL;
    }
    return 0;
}

/* FNV-1a of a word that is no number. */
static uint64_t hash(const struct text *cell)
{
    uint64_t sum = 0xcbf29ce484222325;
    for (const char *at = cell->at; at < cell->end; at++)
        sum = (sum ^ (unsigned char)*at) * 0x100000001b3;
    return sum;
}

static bool parse_seconds(struct text cell, uint64_t *ns)
{
    uint64_t seconds, scale = NS;
    *ns = 0;
    if (!text_digits(&cell, 10, &seconds) || seconds > UINT64_MAX / NS - 1)
        return false;
    if (cell.at < cell.end && *cell.at == '.')
        for (cell.at++; cell.at < cell.end && text_digit(*cell.at) < 10; cell.at++) {
            scale /= 10;
            *ns += text_digit(*cell.at) * scale;
        }
    *ns += seconds * NS;
    return cell.at == cell.end;
}

static bool is_write(const struct text *cell)
{
    const char first = (char)(text_length(cell) > 0 ? *cell->at | 32 : 0);
    return first == 'w' || first == 's' || text_is(cell, "1") || text_is(cell, "true");
}

static bool take_cell(enum field field, const struct text *cell, struct quire_trace_record *record)
{
    uint64_t number;
    switch (field) {
    case TIME:
        return parse_seconds(*cell, &record->time_ns);
    case ID:
        if (!text_number(*cell, &record->address))
            record->address = hash(cell);
        return text_length(cell) > 0;
    case ADDRESS:
        return text_number(*cell, &record->address);
    case SIZE:
    case PROCESS:
        if (!text_number(*cell, &number) || number > UINT32_MAX)
            return false;
        *(field == SIZE ? &record->n_bytes : &record->process) = (uint32_t)number;
        return true;
    case WRITE:
        record->kind = is_write(cell) ? QUIRE_TRACE_WRITE : QUIRE_TRACE_READ;
        return true;
    default:
        return true;
    }
}

static enum line_kind parse_with(const struct csv *csv, struct text line,
                                 struct quire_trace_record *record)
{
    struct text cell;
    unsigned n_needed = 0, n_found = 0;
    if (text_length(&line) == 0 || *line.at == '#')
        return LINE_EMPTY;
    for (unsigned i = 0; i < N_FIELDS; i++)
        n_needed += csv->column[i] != 0;
    for (unsigned i = 1; next_cell(&line, csv->delimiter, &cell); i++)
        for (unsigned field = 0; field < N_FIELDS; field++)
            if (csv->column[field] == i) {
                if (!take_cell((enum field)field, &cell, record))
                    return LINE_BAD;
                n_found++;
            }
    return n_found == n_needed ? LINE_REFERENCE : LINE_BAD;
}

static enum line_kind parse(struct quire_trace *trace, struct text line,
                            struct quire_trace_record *record)
{
    return parse_with(trace->state, line, record);
}

/* Whichever of these stands in the first line first. */
static char guess_delimiter(struct text line)
{
    for (; line.at < line.end; line.at++)
        if (strchr(",;\t|", *line.at) != NULL && *line.at != '\0')
            return *line.at;
    return ',';
}

static struct text first_line(const unsigned char *bytes, size_t n)
{
    const char *start = (const char *)bytes, *end = memchr(start, '\n', n);
    struct text line = {start, end != NULL ? end : start + n};
    if (line.end > line.at && line.end[-1] == '\r')
        line.end--;
    return line;
}

/* Columns by name, or three numbers. */
static bool looks_like(const unsigned char *bytes, size_t n)
{
    struct csv csv = {.column = {[TIME] = 1, [ID] = 2, [SIZE] = 3}};
    struct quire_trace_record record = {0};
    const struct text line = first_line(bytes, n);
    if (memchr(bytes, '\0', n) != NULL)
        return false;
    csv.delimiter = guess_delimiter(line);
    return memchr(line.at, csv.delimiter, text_length(&line)) != NULL &&
           (take_names(&csv, line) || parse_with(&csv, line, &record) == LINE_REFERENCE);
}

static int open_csv(struct quire_trace *trace, const struct quire_trace_options *options)
{
    struct csv *csv = calloc(1, sizeof *csv);
    const char *text;
    size_t length;
    trace->state = csv;
    if (csv == NULL)
        return -ENOMEM;
    ssize_t got = input_need(&trace->input, READER_MOST_LINE);
    if (got < 0)
        return trace_fail_input(trace, (int)got);
    const struct text line = first_line(input_at(&trace->input), (size_t)got);
    csv->delimiter = options->delimiter != 0 ? options->delimiter : guess_delimiter(line);
    csv->column[TIME] = 1;
    csv->column[ID] = 2;
    csv->column[SIZE] = 3;
    if (take_names(csv, line)) {
        if (input_line(&trace->input, READER_MOST_LINE, &text, &length) < 0)
            return trace_fail(trace, "its first line is too long");
        trace->n_lines++;
    }
    int error = options->columns != NULL ? take_columns(trace, csv, options->columns) : 0;
    const bool is_address = csv->column[ADDRESS] != 0;
    trace->info.unit_shift = is_address && !options->in_pages ? 0 : 12;
    trace->info.granule = trace->info.unit_shift;
    trace->info.is_spatial = is_address;
    trace->info.has_times = csv->column[TIME] != 0;
    trace->info.has_writes = csv->column[WRITE] != 0;
    trace->info.has_processes = csv->column[PROCESS] != 0;
    return error;
}

static void close_csv(struct quire_trace *trace)
{
    free(trace->state);
}

static long read_csv(struct quire_trace *trace, struct quire_trace_record *records, size_t most)
{
    return lines_read(trace, records, most, parse,
                      "its columns are not as the first line, or --columns, has them");
}

const struct trace_format trace_csv = {.name = "csv",
                                       .looks_like = looks_like,
                                       .open = open_csv,
                                       .read = read_csv,
                                       .close = close_csv};
