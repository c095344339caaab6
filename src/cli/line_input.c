/* SPDX-License-Identifier: Apache-2.0 */
/* line_input: see line_input.h. */
#include "cli/line_input.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

bool line_input_has(const struct line_input *input)
{
    return memchr(input->bytes + input->at, '\n', input->n - input->at) != NULL;
}

/* Appends what comes next to the part of a line that is there. */
static void fill(struct line_input *input)
{
    input->n -= input->at;
    memmove(input->bytes, input->bytes + input->at, input->n);
    input->at = 0;
    if (input->n == LINE_INPUT_BYTES) {
        input->error = -E2BIG;
        return;
    }
    ssize_t got;
    do
        got = read(input->fd, input->bytes + input->n, LINE_INPUT_BYTES - input->n);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        input->error = -errno;
    else if (got == 0)
        input->has_ended = true;
    else
        input->n += (size_t)got;
}

char *line_input_next(struct line_input *input)
{
    while (!line_input_has(input) && !input->has_ended && input->error == 0)
        fill(input);
    if (input->error != 0 || input->at == input->n)
        return NULL;
    char *line = input->bytes + input->at, *end = memchr(line, '\n', input->n - input->at);
    if (end == NULL) /* the last one, without an end */
        end = input->bytes + input->n;
    input->at = (size_t)(end - input->bytes) + (end < input->bytes + input->n);
    *end = '\0';
    input->number++;
    return line;
}
