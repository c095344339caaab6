/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fields: see fields.h. Tables stand in the order of the file, so the line to come is mostly the
 * next of the table; where it is not, the whole table is looked through.
 */
#include "observe/fields.h"

#include "base/sys.h"
#include "observe/procfs.h"

#include <string.h>

static uint64_t *figure_at(void *into, const struct field *field)
{
    return (uint64_t *)(void *)((char *)into + field->offset);
}

void fields_clear(const struct field *fields, unsigned n, void *into, uint64_t reason)
{
    for (unsigned i = 0; i < n; i++)
        *figure_at(into, &fields[i]) = reason;
}

/* Before Linux 4.8 reclaim was counted by zone, and stalls still are. */
static bool is_zone(const char *word, size_t length)
{
    static const char *const zones[] = {"dma", "dma32", "normal", "high", "movable", "device"};

    for (unsigned i = 0; i < sizeof zones / sizeof zones[0]; i++)
        if (strlen(zones[i]) == length && memcmp(zones[i], word, length) == 0)
            return true;
    return false;
}

static bool matches(const struct field *field, const char *key, size_t length)
{
    size_t n = strlen(field->key);

    if (length < n || memcmp(field->key, key, n) != 0)
        return false;
    if (length == n)
        return true;
    return field->rule == FIELD_ZONES && key[n] == '_' && is_zone(key + n + 1, length - n - 1);
}

/* The figure that the value makes, or one that is not known: too large. */
static uint64_t scaled(uint64_t value, enum field_rule rule)
{
    uint64_t unit = rule == FIELD_PAGES                           ? SYS_PAGE_SIZE
                    : rule == FIELD_NUMBER || rule == FIELD_ZONES ? 1
                                                                  : 1024;

    return __builtin_mul_overflow(value, unit, &value) ? QUIRE_OBSERVE_ABSENT : value;
}

static int take(struct quire_observe *observe, const struct field *field, const char *text,
                void *into)
{
    uint64_t *figure = figure_at(into, field), value;

    text += strspn(text, " \t");
    if (!procfs_digits(&text, &value))
        return source_bad(observe, "a number is expected behind the name");
    if (field->rule == FIELD_KB || field->rule == FIELD_KB_SUM) {
        if (strcmp(text, " kB") != 0)
            return source_bad(observe, "\"kB\" is expected behind the number");
    } else if (*text != '\0') {
        return source_bad(observe, "one number is expected behind the name");
    }
    value = scaled(value, field->rule);
    if (!quire_observe_known(value))
        return source_bad(observe, "the number is too large");
    bool adds = field->rule == FIELD_ZONES || field->rule == FIELD_KB_SUM;
    if (adds && quire_observe_known(*figure) && __builtin_add_overflow(*figure, value, &value))
        return source_bad(observe, "the number is too large");
    *figure = value;
    return 0;
}

int fields_take_line(struct quire_observe *observe, const struct field *fields, unsigned n,
                     char separator, void *into, unsigned *next)
{
    const char *end = strchr(observe->line, separator);

    if (end == NULL)
        return 0;
    for (unsigned tried = 0; tried < n; tried++) {
        unsigned i = *next + tried < n ? *next + tried : *next + tried - n;
        if (matches(&fields[i], observe->line, (size_t)(end - observe->line))) {
            *next = i + 1 < n ? i + 1 : 0;
            return take(observe, &fields[i], end + 1, into);
        }
    }
    return 0;
}

int fields_take(struct quire_observe *observe, const struct field *fields, unsigned n,
                char separator, void *into)
{
    unsigned next = 0;
    int error = 0;

    while (error == 0 && source_line(observe) != NULL)
        error = fields_take_line(observe, fields, n, separator, into, &next);
    return error;
}
