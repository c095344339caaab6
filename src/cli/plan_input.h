/* SPDX-License-Identifier: Apache-2.0 */
/* plan_input: the buffers that `quire plan` is to place, from a file. */
#ifndef QUIRE_CLI_PLAN_INPUT_H
#define QUIRE_CLI_PLAN_INPUT_H

#include "cli/plan_model.h"

#include <quire/tensor.h>
#include <stdbool.h>

struct plan_input {
    const char *name;                /* of the file, for messages and titles */
    struct quire_tensor_table table; /* of a model: the buffers of its schedule */
    struct plan_model model;         /* its model is NULL: the file is CSV */
};

/* `path` "-" is standard input. False: a message was printed. To be freed whatever is returned. */
bool plan_input_read(const char *path, const struct plan_model_options *options,
                     struct plan_input *input);

void plan_input_free(struct plan_input *input);

#endif
