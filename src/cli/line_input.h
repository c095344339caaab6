/* SPDX-License-Identifier: Apache-2.0 */
/*
 * line_input: lines from standard input, for commands that answer each one. They know when the next
 * line may have to be waited for, and flush what they have: who writes a line and waits for its
 * answer gets it.
 */
#ifndef QUIRE_CLI_LINE_INPUT_H
#define QUIRE_CLI_LINE_INPUT_H

#include <stdbool.h>
#include <stddef.h>

#define LINE_INPUT_BYTES 65536

struct line_input { /* zeros at first: standard input */
    int fd, error;  /* a negative errno; -E2BIG: a line is longer than bytes[] */
    bool has_ended;
    size_t at, n;
    size_t number; /* of the line that was returned last, from 1 on */
    char bytes[LINE_INPUT_BYTES + 1];
};

/* Whether a whole line has been read already. */
bool line_input_has(const struct line_input *input);

/* The next line without its end, valid until the next call; NULL: there is none, or `error`. */
char *line_input_next(struct line_input *input);

#endif
