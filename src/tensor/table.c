/* SPDX-License-Identifier: Apache-2.0 */
/*
 * table: buffers as CSV, read and written.
 *
 *     text --copy--> storage --line--> fields --by column--> a buffer
 *                                                             | gaps, numbered
 *                                            at the end: names and gaps become pointers
 *
 * The copy is cut into fields in place: names point into it. Gaps stand in an array that grows, so
 * buffers have numbers of gaps until all are read.
 *
 * Everything in the text may be wrong: each number is checked for its range, each line for its
 * number of fields, and a message names the line. Fails with -EINVAL, with a message, and -ENOMEM.
 */
#include <quire/tensor.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FIELDS 64u

enum column {
    ID,
    LOWER,
    UPPER,
    SIZE,
    ALIGNMENT,
    OFFSET,
    GAPS,
    GROUP,
    SPACES,
    WEIGHT,
    SPACE,
    N_COLUMNS,
    IGNORED = N_COLUMNS
};

static const char *const column_names[N_COLUMNS] = {"id",        "lower",  "upper", "size",
                                                    "alignment", "offset", "gaps",  "group",
                                                    "spaces",    "weight", "space"};

struct storage {
    char *text;
    struct quire_tensor_gap *gaps;
};

struct reading {
    struct quire_tensor_table *table;
    struct storage *storage;
    char *message;
    size_t line;
    char *next; /* of the text */
    char *fields[MAX_FIELDS];
    uint32_t n_fields;
    enum column columns[MAX_FIELDS];
    uint32_t n_columns;
    int64_t beyond; /* what the upper column lacks: 1 if it is the last tick */
    bool has_space_column, has_offset_column;
    size_t max_buffers, n_gaps, max_gaps, n_without_offset;
};

static int refuse(const struct reading *reading, const char *what, const char *field,
                  const char *why)
{
    snprintf(reading->message, QUIRE_TENSOR_MESSAGE_BYTES, "line %zu: %s '%.60s' %s", reading->line,
             what, field, why);
    return -EINVAL;
}

/* Fields */

/* Takes the quotes of a field away, in place. Returns what follows the field; NULL: none closes. */
static char *unquote(char *field)
{
    char *to = field;
    for (char *from = field + 1; *from != '\0'; from++) {
        if (*from == '"' && from[1] == '"') {
            from++;
        } else if (*from == '"') {
            *to = '\0';
            return from + 1;
        }
        *to++ = *from;
    }
    return NULL;
}

/* Cuts the next line into fields. 1; 0: there is none; -EINVAL. */
static int read_line(struct reading *reading)
{
    char *at = reading->next;
    reading->n_fields = 0;
    reading->line++;
    if (*at == '\0')
        return 0;
    for (;;) {
        if (reading->n_fields == MAX_FIELDS)
            return refuse(reading, "at", at, "there are too many fields");
        char *field = at, *end;
        if (*at == '"') {
            end = unquote(field);
            if (end == NULL)
                return refuse(reading, "the field", field, "has no closing quote");
            at = end + strspn(end, " \t\r");
            if (*at != ',' && *at != '\n' && *at != '\0')
                return refuse(reading, "after the quoted field", field, "stands something else");
        } else {
            field += strspn(field, " \t");
            at = field + strcspn(field, ",\n");
            for (end = at; end > field && strchr(" \t\r", end[-1]) != NULL;)
                end--;
        }
        char separator = *at;
        if (end != at || *at != '\0')
            *end = '\0';
        reading->fields[reading->n_fields++] = field;
        reading->next = separator == '\0' ? at : at + 1;
        if (separator != ',')
            return 1;
        at++;
    }
}

static bool parse_unsigned(const char *text, uint64_t *value)
{
    char *end;
    errno = 0;
    *value = strtoull(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0;
}

static bool parse_time(const char *text, int64_t *value)
{
    char *end;
    const char *digits = text + (text[0] == '-');
    errno = 0;
    *value = strtoll(text, &end, 10);
    return digits[0] >= '0' && digits[0] <= '9' && *end == '\0' && errno == 0;
}

/* Columns */

static enum column column_of(const char *name, int64_t *beyond)
{
    for (unsigned i = 0; i < N_COLUMNS; i++)
        if (strcmp(name, column_names[i]) == 0)
            return (enum column)i;
    if (strcmp(name, "start") == 0 || strcmp(name, "begin") == 0)
        return LOWER;
    if (strcmp(name, "buffer") == 0 || strcmp(name, "buffer_id") == 0)
        return ID;
    if (strcmp(name, "end") == 0) {
        *beyond = 1;
        return UPPER;
    }
    return IGNORED;
}

static int read_header(struct reading *reading)
{
    bool has[N_COLUMNS + 1] = {false};
    int result = read_line(reading);
    if (result < 0)
        return result;
    for (uint32_t i = 0; i < reading->n_fields; i++) {
        enum column column = column_of(reading->fields[i], &reading->beyond);
        if (column != IGNORED && has[column])
            return refuse(reading, "the column", column_names[column], "is there twice");
        has[column] = true;
        reading->columns[i] = column;
    }
    reading->n_columns = reading->n_fields;
    reading->has_space_column = has[SPACE];
    reading->has_offset_column = has[OFFSET];
    for (unsigned i = ID; i <= SIZE; i++)
        if (!has[i])
            return refuse(reading, "the column", column_names[i],
                          "is missing: the first line has to name id, lower, upper and size");
    return 0;
}

/* Values */

static int add_gap(struct reading *reading, const char *text, struct quire_tensor_buffer *buffer)
{
    char first[24], *dash = strchr(text + 1, '-');
    struct quire_tensor_gap gap;
    size_t n = dash != NULL ? (size_t)(dash - text) : sizeof first;

    if (n >= sizeof first)
        return refuse(reading, "the gap", text, "is not like 3-5");
    memcpy(first, text, n);
    first[n] = '\0';
    if (!parse_time(first, &gap.lower) || !parse_time(dash + 1, &gap.upper) ||
        __builtin_add_overflow(gap.upper, reading->beyond, &gap.upper))
        return refuse(reading, "the gap", text, "is not like 3-5");
    if (reading->n_gaps == reading->max_gaps) {
        size_t max = 2 * reading->max_gaps + 64;
        struct quire_tensor_gap *gaps = realloc(reading->storage->gaps, max * sizeof *gaps);
        if (gaps == NULL)
            return -ENOMEM;
        reading->storage->gaps = gaps;
        reading->max_gaps = max;
    }
    reading->storage->gaps[reading->n_gaps++] = gap;
    buffer->n_gaps++;
    return 0;
}

static int read_gaps(struct reading *reading, char *field, struct quire_tensor_buffer *buffer)
{
    char *rest;
    for (char *one = strtok_r(field, " ", &rest); one != NULL; one = strtok_r(NULL, " ", &rest)) {
        int error = add_gap(reading, one, buffer);
        if (error != 0)
            return error;
    }
    return 0;
}

/* "0+2" into bits. */
static bool parse_spaces(char *field, uint32_t *spaces)
{
    char *rest;
    for (char *one = strtok_r(field, "+", &rest); one != NULL; one = strtok_r(NULL, "+", &rest)) {
        uint64_t space;
        if (!parse_unsigned(one, &space) || space >= QUIRE_TENSOR_MAX_SPACES)
            return false;
        *spaces |= (uint32_t)1 << space;
    }
    return true;
}

static int read_optional(struct reading *reading, enum column column, char *field,
                         struct quire_tensor_buffer *buffer)
{
    uint64_t number = 0;
    if (column == GAPS)
        return read_gaps(reading, field, buffer);
    if (column == SPACES)
        return parse_spaces(field, &buffer->spaces)
                   ? 0
                   : refuse(reading, "spaces", field, "are not numbers below 32 joined by +");
    if (column == OFFSET && (field[0] == '\0' || strcmp(field, "-1") == 0))
        return 0;
    if (field[0] != '\0' && !parse_unsigned(field, &number))
        return refuse(reading, column_names[column], field, "is no number");
    if ((column == GROUP || column == WEIGHT) && number > UINT32_MAX)
        return refuse(reading, column_names[column], field, "is too large");
    if (column == ALIGNMENT)
        buffer->alignment = number;
    else if (column == GROUP)
        buffer->group = (uint32_t)number;
    else if (column == WEIGHT)
        buffer->weight = (uint32_t)number;
    else if (column == OFFSET) {
        buffer->offset = number;
        buffer->is_fixed = true;
    } else {
        if (number >= QUIRE_TENSOR_MAX_SPACES)
            return refuse(reading, "space", field, "is not below 32");
        reading->table->spaces[reading->table->n_buffers] = (uint32_t)number;
    }
    return 0;
}

static int read_field(struct reading *reading, enum column column, char *field,
                      struct quire_tensor_buffer *buffer)
{
    switch (column) {
    case ID:
        buffer->name = field;
        return 0;
    case LOWER:
        return parse_time(field, &buffer->lower) ? 0
                                                 : refuse(reading, "lower", field, "is no number");
    case UPPER:
        if (!parse_time(field, &buffer->upper) ||
            __builtin_add_overflow(buffer->upper, reading->beyond, &buffer->upper))
            return refuse(reading, "upper", field, "is no number");
        return 0;
    case SIZE:
        return parse_unsigned(field, &buffer->size)
                   ? 0
                   : refuse(reading, "size", field, "is no number of bytes");
    case IGNORED:
        return 0;
    default:
        return read_optional(reading, column, field, buffer);
    }
}

static int grow(struct reading *reading)
{
    struct quire_tensor_table *table = reading->table;
    size_t max = 2 * reading->max_buffers + 256;

    if (table->n_buffers < reading->max_buffers)
        return 0;
    if (table->n_buffers >= QUIRE_TENSOR_MAX_BUFFERS)
        return refuse(reading, "at", reading->fields[0], "there are more than 16777216 buffers");
    struct quire_tensor_buffer *buffers = realloc(table->buffers, max * sizeof *buffers);
    if (buffers == NULL)
        return -ENOMEM;
    table->buffers = buffers;
    if (reading->has_space_column) {
        uint32_t *spaces = realloc(table->spaces, max * sizeof *spaces);
        if (spaces == NULL)
            return -ENOMEM;
        table->spaces = spaces;
    }
    reading->max_buffers = max;
    return 0;
}

static int read_buffer(struct reading *reading)
{
    struct quire_tensor_buffer *buffer;
    int error = grow(reading);
    if (error != 0)
        return error;
    if (reading->n_fields != reading->n_columns)
        return refuse(reading, "at", reading->fields[0],
                      reading->n_fields < reading->n_columns
                          ? "there are fewer fields than columns in the first line"
                          : "there are more fields than columns in the first line");
    buffer = &reading->table->buffers[reading->table->n_buffers];
    *buffer = (struct quire_tensor_buffer){0};
    if (reading->has_space_column)
        reading->table->spaces[reading->table->n_buffers] = 0;
    for (uint32_t i = 0; i < reading->n_fields && error == 0; i++)
        error = read_field(reading, reading->columns[i], reading->fields[i], buffer);
    if (error != 0)
        return error;
    if (buffer->lower >= buffer->upper)
        return refuse(reading, "the lifetime of", buffer->name, "does not end after it begins");
    if (buffer->is_fixed && buffer->alignment > 1 && buffer->offset % buffer->alignment != 0)
        return refuse(reading, "the offset of", buffer->name, "is no multiple of its alignment");
    reading->n_without_offset += !buffer->is_fixed;
    reading->table->n_buffers++;
    return 0;
}

static int read_all(struct reading *reading)
{
    int result = read_header(reading);
    if (result != 0)
        return result;
    while ((result = read_line(reading)) > 0) {
        if (reading->n_fields == 1 && reading->fields[0][0] == '\0')
            continue;
        result = read_buffer(reading);
        if (result != 0)
            return result;
    }
    return result;
}

int quire_tensor_table_read(const char *text, size_t n_bytes, struct quire_tensor_table *table,
                            char *message)
{
    struct reading *reading = calloc(1, sizeof *reading);
    struct storage *storage = calloc(1, sizeof *storage);
    int error = -ENOMEM;

    message[0] = '\0';
    *table = (struct quire_tensor_table){.storage = storage};
    if (storage != NULL)
        storage->text = malloc(n_bytes + 1);
    if (reading != NULL && storage != NULL && storage->text != NULL) {
        memcpy(storage->text, text, n_bytes);
        storage->text[n_bytes] = '\0';
        reading->table = table;
        reading->storage = storage;
        reading->message = message;
        reading->next = storage->text;
        if (n_bytes >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
            reading->next += 3;
        error = memchr(text, '\0', n_bytes) == NULL ? read_all(reading) : -EINVAL;
        if (error == -EINVAL && message[0] == '\0')
            snprintf(message, QUIRE_TENSOR_MESSAGE_BYTES, "it is no text: there are zero bytes");
        table->has_offsets = reading->has_offset_column && reading->n_without_offset == 0;
    }
    size_t n_gaps = 0;
    for (size_t i = 0; error == 0 && i < table->n_buffers; i++) {
        table->buffers[i].gaps = table->buffers[i].n_gaps > 0 ? storage->gaps + n_gaps : NULL;
        n_gaps += table->buffers[i].n_gaps;
    }
    free(reading);
    if (error != 0)
        quire_tensor_table_free(table);
    return error;
}

void quire_tensor_table_free(struct quire_tensor_table *table)
{
    struct storage *storage = table->storage;
    if (storage != NULL) {
        free(storage->text);
        free(storage->gaps);
        free(storage);
    }
    free(table->buffers);
    free(table->spaces);
    *table = (struct quire_tensor_table){0};
}

/* Writing */

static void write_name(FILE *file, const char *name, size_t index)
{
    if (name == NULL) {
        fprintf(file, "%zu", index);
        return;
    }
    size_t n = strlen(name); /* blanks around a field without quotes are not part of it */
    bool is_plain = name[strcspn(name, ",\"\r\n")] == '\0' &&
                    (n == 0 ||
                     (strchr(" \t", name[0]) == NULL && strchr(" \t", name[n - 1]) == NULL));
    if (!is_plain)
        fputc('"', file);
    for (; *name != '\0'; name++) {
        if (*name == '"')
            fputc('"', file);
        fputc(*name, file);
    }
    if (!is_plain)
        fputc('"', file);
}

static void write_gaps(FILE *file, const struct quire_tensor_buffer *buffer)
{
    for (uint32_t g = 0; g < buffer->n_gaps; g++)
        fprintf(file, "%s%" PRId64 "-%" PRId64, g > 0 ? " " : "", buffer->gaps[g].lower,
                buffer->gaps[g].upper);
}

static void write_spaces(FILE *file, uint32_t spaces)
{
    const char *plus = "";
    for (unsigned i = 0; i < QUIRE_TENSOR_MAX_SPACES; i++) {
        if ((spaces >> i & 1) != 0) {
            fprintf(file, "%s%u", plus, i);
            plus = "+";
        }
    }
}

static void write_buffer(FILE *file, const struct quire_tensor_buffer *buffer, size_t index,
                         const bool *has)
{
    write_name(file, buffer->name, index);
    fprintf(file, ",%" PRId64 ",%" PRId64 ",%" PRIu64, buffer->lower, buffer->upper, buffer->size);
    if (has[ALIGNMENT])
        fprintf(file, ",%" PRIu64, buffer->alignment > 1 ? buffer->alignment : 1);
    if (has[GAPS]) {
        fputc(',', file);
        write_gaps(file, buffer);
    }
    if (has[GROUP])
        fprintf(file, ",%u", buffer->group);
    if (has[SPACES]) {
        fputc(',', file);
        write_spaces(file, buffer->spaces);
    }
    if (has[WEIGHT])
        fprintf(file, ",%u", buffer->weight);
}

int quire_tensor_table_write(const struct quire_tensor_problem *problem, const uint64_t *offsets,
                             const uint32_t *spaces, char **text, size_t *n_bytes)
{
    bool has[N_COLUMNS] = {false};
    FILE *file = open_memstream(text, n_bytes);
    if (file == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < problem->n_buffers; i++) {
        const struct quire_tensor_buffer *buffer = &problem->buffers[i];
        has[ALIGNMENT] |= buffer->alignment > 1;
        has[GAPS] |= buffer->n_gaps > 0;
        has[GROUP] |= buffer->group != 0;
        has[SPACES] |= buffer->spaces != 0;
        has[WEIGHT] |= buffer->weight != 0;
    }
    has[SPACE] = spaces != NULL && problem->n_spaces > 1;
    fputs("id,lower,upper,size", file);
    for (unsigned i = ALIGNMENT; i < N_COLUMNS; i++)
        if (has[i])
            fprintf(file, ",%s", column_names[i]);
    fputs(",offset\n", file);
    for (size_t i = 0; i < problem->n_buffers; i++) {
        write_buffer(file, &problem->buffers[i], i, has);
        if (has[SPACE])
            fprintf(file, ",%u", spaces[i]);
        fprintf(file, ",%" PRIu64 "\n", offsets[i]);
    }
    bool failed = ferror(file) != 0;
    if (fclose(file) != 0 || failed) {
        free(*text);
        *text = NULL;
        return -ENOMEM;
    }
    return 0;
}
