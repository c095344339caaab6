/* SPDX-License-Identifier: Apache-2.0 */
/* plan_input: the buffers that `quire plan` is to place, from a file. */
#ifndef QUIRE_CLI_PLAN_INPUT_H
#define QUIRE_CLI_PLAN_INPUT_H

#include <quire/tensor.h>
#include <stdbool.h>

struct plan_input {
    const char *name; /* of the file, for messages and titles */
    struct quire_tensor_table table;
};

/* `path` "-" is standard input. False: a message was printed. To be freed whatever is returned. */
bool plan_input_read(const char *path, struct plan_input *input);

void plan_input_free(struct plan_input *input);

#endif
