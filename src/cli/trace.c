/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trace: one line after the other, into requests and events.
 *
 *     [@TIME] alloc ID SIZE [for DURATION]     # comment
 *     [@TIME] free ID
 *
 * A line without a time is one tick after the line before it. IDs are found by a hash table of open
 * addressing, whose entries are the last request of each ID; it is full at most to a half. An ID
 * may be used again once it was freed, or if its last request ends by itself.
 */
#include "cli/trace.h"

#include "base/checked.h"
#include "base/log.h"
#include "base/size.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_WORDS 7 /* of a line: more than any has */
#define MAX_NAME 64
#define MAX_BYTES ((size_t)1 << 31)

struct word {
    const char *text;
    size_t n;
};

struct parser {
    const char *text;
    struct trace *trace;
    char *message;
    uint32_t *table; /* request + 1; 0: empty */
    size_t table_size, n_names;
    uint64_t time; /* of the next line that names none */
    uint32_t line;
};

__attribute__((format(printf, 2, 3))) static int refuse(struct parser *parser, const char *format,
                                                        ...)
{
    size_t n = log_format(parser->message, TRACE_MESSAGE_BYTES, "line %u: ", parser->line);
    va_list arguments;
    va_start(arguments, format);
    log_vformat(parser->message + n, TRACE_MESSAGE_BYTES - n, format, arguments);
    va_end(arguments);
    return -EINVAL;
}

/* A word for a message: what is not printable or too long is left out. */
static const char *show(struct word word, char buffer[40])
{
    size_t n = 0, i = 0;
    for (; i < word.n && n < 36; i++)
        if (word.text[i] > ' ' && word.text[i] < 127)
            buffer[n++] = word.text[i];
    for (unsigned dots = i < word.n ? 3 : 0; dots > 0; dots--)
        buffer[n++] = '.';
    buffer[n] = '\0';
    return buffer;
}

static bool is_word(struct word word, const char *text)
{
    return word.n == strlen(text) && memcmp(word.text, text, word.n) == 0;
}

/* Names */

static size_t hash(struct word word)
{
    uint64_t value = 0xcbf29ce484222325; /* FNV-1a */
    for (size_t i = 0; i < word.n; i++)
        value = (value ^ (unsigned char)word.text[i]) * 0x100000001b3;
    return (size_t)(value ^ value >> 32);
}

static struct word name_of(const struct parser *parser, uint32_t request)
{
    const struct trace_request *its = &parser->trace->requests[request];
    return (struct word){parser->text + its->name_at, its->name_length};
}

static uint32_t *find_name(const struct parser *parser, struct word name)
{
    size_t mask = parser->table_size - 1;
    for (size_t i = hash(name) & mask;; i = (i + 1) & mask) {
        uint32_t *entry = &parser->table[i];
        if (*entry == 0)
            return entry;
        struct word its = name_of(parser, *entry - 1);
        if (its.n == name.n && memcmp(its.text, name.text, name.n) == 0)
            return entry;
    }
}

static int make_room_for_names(struct parser *parser)
{
    if (parser->table != NULL && parser->n_names < parser->table_size / 2)
        return 0;
    uint32_t *before = parser->table;
    size_t size_before = parser->table_size;
    size_t size = before != NULL ? 2 * size_before : 64;
    uint32_t *table = calloc(size, sizeof *table);
    if (table == NULL)
        return -ENOMEM;
    parser->table = table;
    parser->table_size = size;
    for (size_t i = 0; before != NULL && i < size_before; i++)
        if (before[i] != 0)
            *find_name(parser, name_of(parser, before[i] - 1)) = before[i];
    free(before);
    return 0;
}

/* Numbers */

static bool copy_word(struct word word, char buffer[32])
{
    if (word.n == 0 || word.n >= 32 || memchr(word.text, '\0', word.n) != NULL)
        return false;
    memcpy(buffer, word.text, word.n);
    buffer[word.n] = '\0';
    return true;
}

static bool parse_number(struct word word, uint64_t *number)
{
    *number = 0;
    for (size_t i = 0; i < word.n; i++)
        if (word.text[i] < '0' || word.text[i] > '9' || !checked_mul(*number, 10u, number) ||
            !checked_add(*number, (uint64_t)(word.text[i] - '0'), number) || *number > INT64_MAX)
            return false;
    return word.n > 0;
}

/* Lines */

static bool reserve(void *array, uint32_t n, uint32_t *max, size_t item_bytes)
{
    void **at = array;
    if (n < *max)
        return true;
    uint32_t more = *max < 64 ? 64 : 2 * *max;
    void *larger = more > *max ? reallocarray(*at, more, item_bytes) : NULL;
    if (larger == NULL)
        return false;
    *at = larger;
    *max = more;
    return true;
}

static int add_event(struct parser *parser, uint32_t request, bool is_end)
{
    struct trace *trace = parser->trace;
    void *events = trace->events;
    if (!reserve(&events, trace->n_events, &trace->events_max, sizeof *trace->events))
        return -ENOMEM;
    trace->events = events;
    trace->events[trace->n_events++] = (struct trace_event){parser->time, request, is_end};
    trace->n_ends += is_end;
    if (parser->time < INT64_MAX)
        parser->time++;
    return 0;
}

static bool is_live(const struct trace *trace, uint32_t request)
{
    return trace->requests[request].duration == 0 && !trace->requests[request].has_end;
}

static int parse_sizes(struct parser *parser, const struct word *words, size_t n,
                       struct trace_request *request)
{
    char text[32], shown[40];
    if (!copy_word(words[2], text) || size_parse(text, 0, &request->length) != 0 ||
        request->length == 0)
        return refuse(parser, "'%s' is no size above 0, such as 4096, 64K or 1.5M",
                      show(words[2], shown));
    if (n == 3)
        return 0;
    if (n != 5 || !is_word(words[3], "for"))
        return refuse(parser, "'%s' is not expected after the size; only `for DURATION' is",
                      show(words[3], shown));
    if (!parse_number(words[4], &request->duration) || request->duration == 0)
        return refuse(parser, "'%s' is no duration, a whole number above 0", show(words[4], shown));
    return 0;
}

static int parse_alloc(struct parser *parser, const struct word *words, size_t n)
{
    struct trace *trace = parser->trace;
    struct trace_request request = {.line = parser->line};
    char shown[40];
    if (n < 3)
        return refuse(parser, "`alloc' wants an ID and a size: alloc ID SIZE [for DURATION]");
    if (words[1].n > MAX_NAME)
        return refuse(parser, "the ID '%s' is longer than %d bytes", show(words[1], shown),
                      MAX_NAME);
    int error = parse_sizes(parser, words, n, &request);
    if (error == 0)
        error = make_room_for_names(parser);
    if (error)
        return error;
    uint32_t *entry = find_name(parser, words[1]);
    if (*entry != 0 && is_live(trace, *entry - 1))
        return refuse(parser, "'%s' is allocated already, in line %u; free it first",
                      show(words[1], shown), trace->requests[*entry - 1].line);
    void *requests = trace->requests;
    if (!reserve(&requests, trace->n_requests, &trace->requests_max, sizeof *trace->requests))
        return -ENOMEM;
    trace->requests = requests;
    request.name_at = (uint32_t)(words[1].text - parser->text);
    request.name_length = (uint32_t)words[1].n;
    trace->requests[trace->n_requests] = request;
    parser->n_names += *entry == 0;
    *entry = ++trace->n_requests;
    return add_event(parser, trace->n_requests - 1, false);
}

static int parse_free(struct parser *parser, const struct word *words, size_t n)
{
    char shown[40];
    if (n != 2)
        return refuse(parser, "`free' wants an ID and nothing else: free ID");
    uint32_t request = parser->table != NULL ? *find_name(parser, words[1]) : 0;
    if (request == 0)
        return refuse(parser, "'%s' was never allocated", show(words[1], shown));
    struct trace_request *its = &parser->trace->requests[request - 1];
    if (its->duration != 0)
        return refuse(parser, "'%s' of line %u has a duration and ends by itself",
                      show(words[1], shown), its->line);
    if (its->has_end)
        return refuse(parser, "'%s' is free already", show(words[1], shown));
    its->has_end = true;
    return add_event(parser, request - 1, true);
}

static int parse_time(struct parser *parser, struct word word)
{
    uint64_t time, last = 0;
    char shown[40];
    if (!parse_number((struct word){word.text + 1, word.n - 1}, &time))
        return refuse(parser, "'%s' is no time, such as @12", show(word, shown));
    if (parser->trace->n_events > 0)
        last = parser->trace->events[parser->trace->n_events - 1].time;
    if (time < last)
        return refuse(parser, "time goes back from %lu to %lu; sort the lines by time",
                      (unsigned long)last, (unsigned long)time);
    parser->time = time;
    return 0;
}

static int parse_line(struct parser *parser, const char *at, const char *end)
{
    struct word all[MAX_WORDS], *words = all;
    char shown[40];
    size_t n = 0;
    while (n < MAX_WORDS) {
        while (at < end && (*at == ' ' || *at == '\t' || *at == '\r'))
            at++;
        if (at == end || *at == '#')
            break;
        words[n].text = at;
        while (at < end && *at != ' ' && *at != '\t' && *at != '\r')
            at++;
        words[n].n = (size_t)(at - words[n].text);
        n++;
    }
    if (n > 0 && words[0].text[0] == '@') {
        int error = parse_time(parser, words[0]);
        if (error)
            return error;
        if (n == 1)
            return refuse(parser, "nothing happens at this time: expected `alloc' or `free'");
        words++;
        n--;
    }
    if (n == 0)
        return 0;
    if (is_word(words[0], "alloc"))
        return parse_alloc(parser, words, n);
    if (is_word(words[0], "free"))
        return parse_free(parser, words, n);
    return refuse(parser, "'%s' is neither `alloc' nor `free'", show(words[0], shown));
}

int trace_parse(const char *text, size_t n_bytes, struct trace *trace,
                char message[TRACE_MESSAGE_BYTES])
{
    struct parser parser = {.text = text, .trace = trace, .message = message};
    const char *end = text + n_bytes;
    int error = 0;
    *trace = (struct trace){0};
    message[0] = '\0';
    if (n_bytes > MAX_BYTES)
        return refuse(&parser, "a trace may have 2 GiB of text");
    while (error == 0 && text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        const char *line_end = newline != NULL ? newline : end;
        parser.line++;
        error = parse_line(&parser, text, line_end);
        text = newline != NULL ? newline + 1 : end;
    }
    free(parser.table);
    if (error == 0 && trace->n_events == 0) {
        log_format(message, TRACE_MESSAGE_BYTES, "there is no `alloc' in it");
        error = -EINVAL;
    }
    return error;
}

void trace_free(struct trace *trace)
{
    free(trace->requests);
    free(trace->events);
    *trace = (struct trace){0};
}

/* The peak: what begins and what ends, in the order of time; what ends by itself at a time is
 * first. */

struct change {
    uint64_t time, length;
    uint64_t order; /* of those at one time: 0, or the line's */
    bool is_end;
};

static int by_time(const void *left, const void *right)
{
    const struct change *a = left, *b = right;
    if (a->time != b->time)
        return a->time < b->time ? -1 : 1;
    return a->order < b->order ? -1 : a->order > b->order;
}

int trace_peak(const struct trace *trace, uint64_t *peak)
{
    struct change *changes = calloc((size_t)trace->n_events + trace->n_requests, sizeof *changes);
    size_t n = 0;
    uint64_t held = 0;
    int error = 0;
    if (changes == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < trace->n_events; i++) {
        const struct trace_event *event = &trace->events[i];
        const struct trace_request *request = &trace->requests[event->request];
        uint64_t length = request->length;
        changes[n++] = (struct change){event->time, length, i + 1u, event->is_end};
        if (!event->is_end && request->duration > 0)
            changes[n++] = (struct change){event->time + request->duration, length, 0, true};
    }
    qsort(changes, n, sizeof *changes, by_time);
    *peak = 0;
    for (size_t i = 0; error == 0 && i < n; i++) {
        if (changes[i].is_end)
            held -= changes[i].length; /* of what was added */
        else if (!checked_add(held, changes[i].length, &held))
            error = -ERANGE;
        *peak = held > *peak ? held : *peak;
    }
    free(changes);
    return error;
}
