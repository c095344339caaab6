/* SPDX-License-Identifier: Apache-2.0 */
/*
 * native_read: reads Quire's own traces, block by block; see quire/trace.h.
 *
 *     header --block--> unpacked bytes --records--> ... --end mark--> whole
 *
 * Every number is checked before it is used: the file may be anything.
 */
#include "sim/native.h"
#include "sim/pages.h"
#include "sim/reader.h"
#include "sim/varint.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

struct native {
    ZSTD_DCtx *unpacker;
    unsigned char *block; /* unpacked */
    const unsigned char *at, *end;
    struct native_state state;
    unsigned n_kinds;   /* of records, that the file's version knows */
    uint64_t n_records; /* decoded so far; runs ahead of the trace's within a call */
    bool has_ended;
};

static bool looks_like(const unsigned char *bytes, size_t n)
{
    return n >= sizeof NATIVE_MAGIC - 1 &&
           memcmp(bytes, NATIVE_MAGIC, sizeof NATIVE_MAGIC - 1) == 0;
}

static int read_command(struct quire_trace *trace, size_t n_bytes)
{
    ssize_t got = input_need(&trace->input, n_bytes);
    if (got < 0)
        return trace_fail_input(trace, (int)got);
    if ((size_t)got < n_bytes)
        return trace_fail(trace, "it ends within its header");
    trace->command = strndup((const char *)input_at(&trace->input), n_bytes);
    if (trace->command == NULL)
        return -ENOMEM;
    input_pass(&trace->input, n_bytes);
    trace->info.command = trace->command;
    return 0;
}

static int read_header(struct quire_trace *trace)
{
    struct native *native = trace->state;
    struct native_header header;
    ssize_t got = input_need(&trace->input, sizeof header);
    if (got < 0)
        return trace_fail_input(trace, (int)got);
    if ((size_t)got < sizeof header || !looks_like(input_at(&trace->input), (size_t)got))
        return trace_fail(trace, "this is no trace of Quire's");
    memcpy(&header, input_at(&trace->input), sizeof header);
    input_pass(&trace->input, sizeof header);
    if (header.version < NATIVE_OLDEST || header.version > NATIVE_VERSION)
        return trace_fail(trace, "version %u of the format; this Quire knows versions %u to %u",
                          header.version, NATIVE_OLDEST, NATIVE_VERSION);
    native->n_kinds = header.version == NATIVE_OLDEST ? QUIRE_TRACE_FREE : QUIRE_TRACE_N_KINDS;
    if (header.granule > NATIVE_MOST_GRANULE || header.every >= QUIRE_TRACE_N_EVERY ||
        header.n_command_bytes > QUIRE_TRACE_MAX_COMMAND || header.zero != 0)
        return trace_fail(trace, "its header is damaged");
    trace->info.every = (enum quire_trace_every)header.every;
    trace->info.period = header.period;
    trace->info.granule = header.granule;
    trace->info.began_ns = header.began_ns;
    trace->info.has_times = trace->info.has_processes = trace->info.has_writes = true;
    return read_command(trace, header.n_command_bytes);
}

static int open_native(struct quire_trace *trace, const struct quire_trace_options *options)
{
    struct native *native = calloc(1, sizeof *native);
    (void)options;
    trace->state = native;
    if (native == NULL)
        return -ENOMEM;
    native->unpacker = ZSTD_createDCtx();
    native->block = malloc(QUIRE_TRACE_BLOCK_BYTES);
    if (native->unpacker == NULL || native->block == NULL)
        return -ENOMEM;
    native->at = native->end = native->block;
    return read_header(trace);
}

static void close_native(struct quire_trace *trace)
{
    struct native *native = trace->state;
    if (native == NULL)
        return;
    ZSTD_freeDCtx(native->unpacker);
    free(native->block);
    free(native);
}

static int fail_at(struct quire_trace *trace, const char *why)
{
    const struct native *native = trace->state;
    return trace_fail(trace, "record %llu: %s", (unsigned long long)native->n_records + 1, why);
}

/* A recording that was cut off is good up to its last whole block. */
static int end_early(struct quire_trace *trace)
{
    struct native *native = trace->state;
    native->has_ended = true;
    trace->is_whole = false;
    return 0;
}

static int check_end(struct quire_trace *trace, const struct native_block *head)
{
    struct native *native = trace->state;
    if (head->n_packed != 0)
        return fail_at(trace, "the block's header is damaged");
    native->has_ended = true;
    return 0;
}

static size_t unpack_frame(struct native *native, const unsigned char *frame, size_t n_bytes,
                           size_t n_unpacked)
{
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION /* libFuzzer's: frames would keep it out */
    if (n_bytes == n_unpacked) {
        memcpy(native->block, frame, n_bytes);
        return n_bytes;
    }
#endif
    (void)n_unpacked;
    return ZSTD_decompressDCtx(native->unpacker, native->block, QUIRE_TRACE_BLOCK_BYTES, frame,
                               n_bytes);
}

static int unpack(struct quire_trace *trace, const struct native_block *head)
{
    struct native *native = trace->state;
    ssize_t got = input_need(&trace->input, head->n_packed);
    if (got < 0)
        return trace_fail_input(trace, (int)got);
    if ((size_t)got < head->n_packed)
        return end_early(trace);
    size_t n = unpack_frame(native, input_at(&trace->input), head->n_packed, head->n_unpacked);
    if (ZSTD_isError(n) || n != head->n_unpacked)
        return fail_at(trace, "its block is damaged");
    input_pass(&trace->input, head->n_packed);
    native->at = native->block;
    native->end = native->block + n;
    native->state = (struct native_state){0};
    return 0;
}

/* The next block; none is left: has_ended. */
static int next_block(struct quire_trace *trace)
{
    struct native *native = trace->state;
    struct native_block head;
    ssize_t got = input_need(&trace->input, sizeof head);
    if (got < 0)
        return trace_fail_input(trace, (int)got);
    if ((size_t)got < sizeof head)
        return end_early(trace);
    memcpy(&head, input_at(&trace->input), sizeof head);
    input_pass(&trace->input, sizeof head);
    if (head.first != native->n_records)
        return fail_at(trace, "the block begins with another record: some are missing");
    if (head.n_unpacked == 0)
        return check_end(trace, &head);
    if (head.n_unpacked > QUIRE_TRACE_BLOCK_BYTES || head.n_packed > NATIVE_MOST_PACKED)
        return fail_at(trace, "the block's header is damaged");
    return unpack(trace, &head);
}

static int read_mapping(struct quire_trace *trace, struct quire_trace_record *record)
{
    struct native *native = trace->state;
    struct quire_trace_mapping mapping = {.process = record->process, .time_ns = record->time_ns};
    uint64_t protection, length;
    if (!varint_get(&native->at, native->end, &mapping.start) ||
        !varint_get(&native->at, native->end, &mapping.n_bytes) ||
        !varint_get(&native->at, native->end, &mapping.offset) ||
        !varint_get(&native->at, native->end, &protection) || protection > UINT32_MAX ||
        !varint_get(&native->at, native->end, &length) || length > QUIRE_TRACE_MAX_NAME ||
        length > (size_t)(native->end - native->at) ||
        mapping.start + mapping.n_bytes < mapping.start)
        return fail_at(trace, "the mapping is damaged");
    mapping.protection = (uint32_t)protection;
    int error = trace_add_mapping(trace, &mapping, (const char *)native->at, (size_t)length);
    if (error)
        return error;
    native->at += length;
    record->address = mapping.start;
    record->mapping = trace->n_mappings - 1;
    return 0;
}

/* The fields that the tag says are there. */
static bool read_fields(struct native *native, unsigned tag, struct quire_trace_record *record)
{
    struct native_state *state = &native->state;
    uint64_t value;
    if (tag & NATIVE_HAS_TIME) {
        if (!varint_get(&native->at, native->end, &value))
            return false;
        state->time_ns += value;
    }
    if (tag & NATIVE_HAS_PROCESS) {
        if (!varint_get(&native->at, native->end, &value) || value > UINT32_MAX)
            return false;
        state->process = (uint32_t)value;
    }
    record->time_ns = state->time_ns;
    record->process = state->process;
    if (native_is_mapping(record->kind))
        return !(tag & NATIVE_HAS_SIZE);
    if (tag & NATIVE_HAS_SIZE) {
        if (!varint_get(&native->at, native->end, &value) || value > UINT32_MAX)
            return false;
        state->last[record->kind].n_bytes = (uint32_t)value;
    }
    record->n_bytes = state->last[record->kind].n_bytes;
    return true;
}

static int read_record(struct quire_trace *trace, struct quire_trace_record *record)
{
    struct native *native = trace->state;
    const unsigned tag = *native->at++;
    *record = (struct quire_trace_record){.kind = (uint8_t)(tag & NATIVE_KIND)};
    if (record->kind >= native->n_kinds || tag > NATIVE_KNOWN)
        return fail_at(trace, "there is no such kind of record");
    if (!read_fields(native, tag, record))
        return fail_at(trace, "the record is damaged");
    if (native_is_mapping(record->kind))
        return read_mapping(trace, record);
    uint64_t folded, *granules = &native->state.last[record->kind].granules;
    if (!varint_get(&native->at, native->end, &folded))
        return fail_at(trace, "the record is damaged");
    *granules += varint_unfold(folded);
    record->address = *granules << trace->info.granule;
    return 0;
}

/*
 * The same for what most records are: references of the process and at the time of the one before,
 * with a size or without, of which all lies in 8 bytes, which are read as one word. Most addresses
 * take one byte; that branch is foretold mostly, so the next record need not wait for this one's
 * length. False: it is any other record.
 *
 *     | tag | size, if it is there | address, 1 to 7 or 6 bytes | ...
 */
static inline __attribute__((always_inline)) bool
take_plain(const unsigned char **at, struct native_state *state, unsigned *kind)
{
    uint64_t word;
    memcpy(&word, *at, sizeof word);
    *kind = word & NATIVE_KIND;
    if ((word & 0xff & ~(NATIVE_KIND | NATIVE_HAS_SIZE)) != 0 || *kind >= QUIRE_TRACE_MAP)
        return false;
    unsigned length = 1, skipped = 1;
    uint64_t rest = word >> 8;
    if (word & NATIVE_HAS_SIZE) {
        if (word & 0x8000)
            return false;
        rest >>= 8;
        skipped = 2;
    }
    uint64_t folded = rest & 0x7f;
    if (rest & 0x80) {
        length = varint_length(rest);
        if (length > sizeof word - skipped)
            return false;
        folded = varint_compact(rest, length);
    }
    if (skipped == 2)
        state->last[*kind].n_bytes = (uint8_t)(word >> 8);
    state->last[*kind].granules += varint_unfold(folded);
    *at += skipped + length;
    return true;
}

static inline struct quire_trace_record record_of(const struct native_state *state, unsigned kind,
                                                  unsigned granule)
{
    return (struct quire_trace_record){.address = state->last[kind].granules << granule,
                                       .time_ns = state->time_ns,
                                       .n_bytes = state->last[kind].n_bytes,
                                       .process = state->process,
                                       .kind = (uint8_t)kind};
}

/* As many as there are, up to any other record, or near the block's end. */
static size_t read_plain(struct native *native, unsigned granule,
                         struct quire_trace_record *records, size_t most)
{
    struct native_state state = native->state;
    const unsigned char *at = native->at;
    unsigned kind;
    size_t n = 0;
    while (n < most && native->end - at >= (ptrdiff_t)sizeof(uint64_t) &&
           take_plain(&at, &state, &kind))
        records[n++] = record_of(&state, kind, granule);
    native->at = at;
    native->state = state;
    native->n_records += n;
    return n;
}

/* Whether a reference lies in one page, which is not in the sample. */
static inline __attribute__((always_inline)) bool
is_passed(struct trace_sample *sample, uint64_t address, uint64_t n_bytes, unsigned kind)
{
    const uint64_t key = address >> sample->shift,
                   n_more = sample->may_span && n_bytes > 0 ? n_bytes - 1 : 0;
    uint64_t *passed = &sample->passed[key % TRACE_SAMPLE_SLOTS];
    if (kind > sample->most_kind || ((address + n_more) ^ address) >> sample->shift != 0)
        return false;
    if (*passed == key)
        return true;
    if (pages_hash(key, sample->owner) < sample->threshold)
        return false;
    *passed = key;
    return true;
}

/* Passes over plain references that are not in the sample. True: `record` is the first that is. */
static bool pass_plain(struct native *native, unsigned granule, struct trace_sample *sample,
                       struct quire_trace_record *record)
{
    struct native_state state = native->state;
    const unsigned char *at = native->at, *last = native->end - sizeof(uint64_t);
    bool found = false;
    unsigned kind;
    uint64_t n = 0;
    while (!found && at <= last && take_plain(&at, &state, &kind)) {
        found = !is_passed(sample, state.last[kind].granules << granule, state.last[kind].n_bytes,
                           kind);
        n++;
    }
    if (found)
        *record = record_of(&state, kind, granule);
    native->at = at;
    native->state = state;
    native->n_records += n;
    sample->n_passed += n - found;
    return found;
}

static void tell_passed(struct trace_sample *sample, struct quire_trace_record *record)
{
    const uint32_t told = (uint32_t)sample->n_passed;
    if (record->kind >= QUIRE_TRACE_MAP)
        return;
    record->mapping = told;
    sample->n_passed -= told;
}

/* The block's next records, all or those of a sample, up to one that is not plain. How many. */
static size_t read_block(struct native *native, unsigned granule, struct trace_sample *sample,
                         struct quire_trace_record *records, size_t most)
{
    size_t n = 0;
    if (sample == NULL || native->state.process != sample->process)
        n = read_plain(native, granule, records, most);
    else if (native->end - native->at >= (ptrdiff_t)sizeof(uint64_t))
        while (n < most && pass_plain(native, granule, sample, &records[n]))
            tell_passed(sample, &records[n++]);
    if (n > 0 && sample != NULL && sample->process != records[0].process)
        tell_passed(sample, &records[0]);
    return n;
}

static long read_native_sample(struct quire_trace *trace, struct trace_sample *sample,
                               struct quire_trace_record *records, size_t most)
{
    struct native *native = trace->state;
    size_t n = 0;
    int error = 0;
    while (n < most && !error) {
        if (native->at == native->end) {
            if (n > 0 || native->has_ended) /* mappings stay valid within a call */
                break;
            error = next_block(trace);
            continue;
        }
        n += read_block(native, trace->info.granule, sample, records + n, most - n);
        if (n == most || native->at == native->end)
            continue;
        error = read_record(trace, &records[n]);
        if (error)
            break;
        if (sample != NULL)
            tell_passed(sample, &records[n]);
        n++;
        native->n_records++;
    }
    if (error && n > 0) { /* what came before it first; the next call meets it again */
        trace->error = error;
        return (long)n;
    }
    return error ? error : (long)n;
}

static long read_native(struct quire_trace *trace, struct quire_trace_record *records, size_t most)
{
    return read_native_sample(trace, NULL, records, most);
}

const struct trace_format trace_native = {.name = "quire",
                                          .looks_like = looks_like,
                                          .open = open_native,
                                          .read = read_native,
                                          .read_sample = read_native_sample,
                                          .close = close_native};
