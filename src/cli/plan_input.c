/* SPDX-License-Identifier: Apache-2.0 */
/* plan_input: reads a file as a whole, and hands it to who understands it. */
#include "cli/plan_input.h"

#include "cli/cli.h"
#include "cli/whole_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool plan_input_read(const char *path, const struct plan_model_options *options,
                     struct plan_input *input)
{
    char message[QUIRE_TENSOR_MESSAGE_BYTES];
    size_t n_bytes = 0;

    *input = (struct plan_input){.name = whole_file_name(path)};
    if (strcmp(path, "-") != 0 && plan_model_is(path)) {
        if (!plan_model_read(path, options, &input->model))
            return false;
        input->table.buffers = input->model.schedule.buffers;
        input->table.n_buffers = input->model.schedule.n_buffers;
        return true;
    }
    char *text = whole_file_read(path, &n_bytes);
    if (text == NULL) {
        cli_error("cannot read the buffers from %s: %s", input->name, strerror(errno));
        return false;
    }
    int error = quire_tensor_table_read(text, n_bytes, &input->table, message);
    free(text);
    if (error == -EINVAL)
        cli_error("%s: %s\nwanted are lines like `id,lower,upper,size' and `b1,0,3,4096'; "
                  "`man quire-plan' tells more",
                  input->name, message);
    else if (error != 0)
        cli_error("%s: %s", input->name, strerror(-error));
    return error == 0;
}

void plan_input_free(struct plan_input *input)
{
    if (input->model.model != NULL)
        plan_model_free(&input->model);
    else
        quire_tensor_table_free(&input->table);
}
