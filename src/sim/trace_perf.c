/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trace_perf: what `perf script` prints of samples that have a data address (perf mem record, or
 * perf record -d), with perf's usual fields or those of -F comm,pid,tid,time,event,addr.
 *
 *   program  4242/4243  103.201412:    5 cpu/mem-loads,ldlat=30/P:   7f12e4a01040 ...
 *     ^      pid [tid]   seconds    period    event              the address, hexadecimal
 *
 * The address is the word behind the event, which is the first that ends in a colon and is not the
 * time. The event tells stores from loads: "store" is in its name. Call chains and comments are
 * passed, and so are samples whose address is 0: the hardware had none.
 */
#include "sim/lines.h"

#define NS 1000000000u

/* "103.201412:" */
static bool parse_time(struct text word, uint64_t *ns)
{
    uint64_t seconds, fraction, scale = NS;
    if (!text_digits(&word, 10, &seconds) || word.at == word.end || *word.at != '.')
        return false;
    const char *start = ++word.at;
    if (!text_digits(&word, 10, &fraction) || word.at - start > 9 || word.end - word.at != 1 ||
        *word.at != ':' || seconds > UINT64_MAX / NS - 1)
        return false;
    for (ptrdiff_t i = word.at - start; i > 0; i--)
        scale /= 10;
    *ns = seconds * NS + fraction * scale;
    return true;
}

/* "4242" or "4242/4243" */
static bool parse_process(struct text word, uint32_t *process)
{
    uint64_t number, thread;
    if (!text_digits(&word, 10, &number) || number > INT32_MAX)
        return false;
    if (word.at < word.end && (*word.at++ != '/' || !text_digits(&word, 10, &thread)))
        return false;
    *process = (uint32_t)number;
    return word.at == word.end;
}

static bool is_event(const struct text *word)
{
    return text_length(word) > 1 && word->end[-1] == ':' && text_digit(word->at[0]) > 9;
}

static enum line_kind parse(struct quire_trace *trace, struct text line,
                            struct quire_trace_record *record)
{
    bool has_event = false;
    (void)trace;
    if (line.at == line.end || *line.at == '#' || *line.at == '\t')
        return LINE_EMPTY; /* a call chain begins with a tab */
    struct text word = text_word(&line);
    if (text_length(&word) == 0)
        return LINE_EMPTY;
    for (word = text_word(&line); text_length(&word) > 0; word = text_word(&line)) {
        if (has_event)
            break;
        if (record->process == 0 && parse_process(word, &record->process))
            continue;
        if (record->time_ns == 0 && parse_time(word, &record->time_ns))
            continue;
        has_event = record->process != 0 && is_event(&word);
        if (has_event && memmem(word.at, text_length(&word), "store", 5) != NULL)
            record->kind = QUIRE_TRACE_WRITE;
    }
    if (!has_event || !text_digits(&word, 16, &record->address) || word.at != word.end)
        return LINE_BAD;
    return record->address != 0 ? LINE_REFERENCE : LINE_EMPTY;
}

static bool looks_like(const unsigned char *bytes, size_t n)
{
    return lines_look_like(bytes, n, parse);
}

static int open_perf(struct quire_trace *trace, const struct quire_trace_options *options)
{
    (void)options;
    trace->info.every = QUIRE_TRACE_EVERY_SAMPLE;
    trace->info.has_times = trace->info.has_processes = trace->info.has_writes = true;
    return 0;
}

static long read_perf(struct quire_trace *trace, struct quire_trace_record *records, size_t most)
{
    return lines_read(trace, records, most, parse,
                      "not COMMAND PID TIME: EVENT: ADDRESS; perf script -F "
                      "comm,pid,tid,time,event,addr prints that");
}

const struct trace_format trace_perf = {
    .name = "perf", .looks_like = looks_like, .open = open_perf, .read = read_perf};
