/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a trace: nothing is read outside of them, a refusal says why, and what is taken
 * keeps what the replay relies on.
 */
#include "cli/trace.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static void check(const struct trace *trace)
{
    uint64_t time = 0, peak;
    uint32_t n_requests = 0, n_ends = 0;
    for (uint32_t i = 0; i < trace->n_events; i++) {
        const struct trace_event *event = &trace->events[i];
        if (event->time < time)
            abort();
        time = event->time;
        n_ends += event->is_end;
        if (event->is_end ? event->request >= n_requests : event->request != n_requests++)
            abort();
        if (event->is_end != false && trace->requests[event->request].duration != 0)
            abort();
    }
    if (n_requests != trace->n_requests || n_ends != trace->n_ends || n_requests == 0)
        abort();
    for (uint32_t i = 0; i < trace->n_requests; i++)
        if (trace->requests[i].length == 0 || trace->requests[i].length > INT64_MAX)
            abort();
    if (trace_peak(trace, &peak) == 0 && peak == 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    struct trace trace;
    char message[TRACE_MESSAGE_BYTES];
    char *text = malloc(n_bytes + (n_bytes == 0)); /* with nothing behind it */
    if (text == NULL)
        return 0;
    memcpy(text, data, n_bytes);
    int error = trace_parse(text, n_bytes, &trace, message);
    if (error == 0)
        check(&trace);
    else if (error == -EINVAL && (message[0] == '\0' || strlen(message) >= sizeof message))
        abort();
    trace_free(&trace);
    free(text);
    return 0;
}
