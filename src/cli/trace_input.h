/* SPDX-License-Identifier: Apache-2.0 */
/* trace_input: the options by which commands are told of a trace of references, and its opening. */
#ifndef QUIRE_CLI_TRACE_INPUT_H
#define QUIRE_CLI_TRACE_INPUT_H

#include <quire/trace.h>

#include <argp.h>
#include <stdbool.h>

struct trace_input {
    const char *path; /* NULL: --trace was not given */
    struct quire_trace_options options;
    bool is_optional; /* the command does without */
};

/* A child of a command's parser; its input is a struct trace_input. */
extern const struct argp trace_input_argp;

/* Of an option --page-size: which power of two it is. Ends the program if it is none. */
unsigned trace_input_page_shift(struct argp_state *state, const char *text);

/* Opens it; NULL with a message. quire_trace_close(). */
struct quire_trace *trace_input_open(const struct trace_input *input);

/* It was read until `error`, of the trace or of who took it; 0: to its end. False with a message;
 * a trace whose end is missing is warned of. */
bool trace_input_end(struct quire_trace *trace, int error);

/*
 * Reads all of it, in portions, each given to take() until that returns an error. False with a
 * message: it is broken, or take() failed. A trace whose end is missing is warned of.
 */
bool trace_input_read(struct quire_trace *trace,
                      int (*take)(void *context, const struct quire_trace_record *records, size_t n,
                                  const struct quire_trace *trace),
                      void *context);

/* Of a trace that was read and has not every access: what counts of faults with so much RAM or more
 * are not, on standard error. 0: whatever the RAM, also that samples are not all. */
void trace_input_tell_gaps(const struct quire_trace *trace, uint64_t ram_bytes);

/* The last part of its path, for titles. */
const char *trace_input_name(const struct trace_input *input);

#endif
