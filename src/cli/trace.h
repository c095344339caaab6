/* SPDX-License-Identifier: Apache-2.0 */
/* trace: requests for memory and their ends, read from text; see quire-partition(1). */
#ifndef QUIRE_CLI_TRACE_H
#define QUIRE_CLI_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct trace_request {
    uint64_t length;
    uint64_t duration; /* it ends by itself so long after it began; 0: by a line of its own */
    uint32_t name_at;  /* where its ID is in the text, */
    uint32_t name_length;
    uint32_t line;
    bool has_end; /* a line frees it */
};

struct trace_event {
    uint64_t time;
    uint32_t request; /* index */
    bool is_end;
};

struct trace {
    struct trace_request *requests;
    struct trace_event *events; /* times never go down */
    uint32_t n_requests, n_events, n_ends;
    uint32_t events_max, requests_max;
};

#define TRACE_MESSAGE_BYTES 240

/*
 * Reads n_bytes of text (not terminated; any bytes), at most 2^31 of them. Returns 0;
 * -EINVAL: `message` says which line and why; -ENOMEM. Allocates; trace_free() always.
 */
int trace_parse(const char *text, size_t n_bytes, struct trace *trace,
                char message[TRACE_MESSAGE_BYTES]);
void trace_free(struct trace *trace);

/* The most that is asked for at once if nothing has to wait. Returns 0, -ENOMEM, -ERANGE. */
int trace_peak(const struct trace *trace, uint64_t *peak);

#endif
