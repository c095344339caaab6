/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trace_oracle: libCacheSim's oracleGeneral: 24 bytes a request, little endian, without a header:
 * time in seconds (4), object (8), its size (4), number of the request that is next to ask for it
 * (8; not used: OPT finds out by itself).
 */
#include "sim/reader.h"

#include <errno.h>
#include <string.h>

#define REQUEST_BYTES 24u
#define LOOKED_AT 64u /* requests */
#define MOST_SECONDS_APART 86400u

static bool looks_like(const unsigned char *bytes, size_t n)
{
    uint32_t time, before = 0;
    if (n < REQUEST_BYTES || memchr(bytes, '\0', n) == NULL)
        return false;
    for (size_t i = 0; i < LOOKED_AT && (i + 1) * REQUEST_BYTES <= n; i++, before = time) {
        int64_t next;
        memcpy(&time, bytes + i * REQUEST_BYTES, sizeof time);
        memcpy(&next, bytes + i * REQUEST_BYTES + 16, sizeof next);
        if ((i > 0 && (time < before || time - before > MOST_SECONDS_APART)) || next < -2 ||
            (next >= 0 && next < (int64_t)i && next != 0))
            return false;
    }
    return true;
}

static int open_oracle(struct quire_trace *trace, const struct quire_trace_options *options)
{
    (void)options;
    trace->info.unit_shift = 12;
    trace->info.granule = 12;
    trace->info.is_spatial = false;
    trace->info.has_times = true;
    return 0;
}

static int read_raw(struct quire_trace *trace, struct trace_raw *raw)
{
    ssize_t got = input_need(&trace->input, REQUEST_BYTES);
    if (got < 0)
        return trace_fail_input(trace, (int)got);
    if (got > 0 && (size_t)got < REQUEST_BYTES)
        return trace_fail(trace, "record %llu: %zd of its %u bytes: the trace was cut off",
                          (unsigned long long)trace->n_records + 1, got, REQUEST_BYTES);
    *raw = (struct trace_raw){.at = input_at(&trace->input),
                              .n = (size_t)got / REQUEST_BYTES,
                              .n_bytes = REQUEST_BYTES,
                              .address_at = 4,
                              .seconds_at = 0};
    input_pass(&trace->input, raw->n * REQUEST_BYTES);
    return 0;
}

static long read_oracle(struct quire_trace *trace, struct quire_trace_record *records, size_t most)
{
    struct trace_raw raw = {0};
    int error = read_raw(trace, &raw);
    if (error)
        return error;
    if (raw.n > most) {
        input_give_back(&trace->input, (raw.n - most) * REQUEST_BYTES);
        raw.n = most;
    }
    const unsigned char *at = raw.at;
    for (size_t i = 0; i < raw.n; i++, at += REQUEST_BYTES) {
        uint32_t seconds;
        records[i] = (struct quire_trace_record){.kind = QUIRE_TRACE_READ};
        memcpy(&seconds, at, sizeof seconds);
        memcpy(&records[i].address, at + 4, sizeof records[i].address);
        memcpy(&records[i].n_bytes, at + 12, sizeof records[i].n_bytes);
        records[i].time_ns = seconds * (uint64_t)1000000000;
    }
    return (long)raw.n;
}

const struct trace_format trace_oracle = {.name = "oracle",
                                          .looks_like = looks_like,
                                          .open = open_oracle,
                                          .read = read_oracle,
                                          .read_raw = read_raw};
