/* SPDX-License-Identifier: Apache-2.0 */
/* plan_input: reads a file as a whole, and hands it to who understands it. */
#include "cli/plan_input.h"

#include "cli/cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_BYTES ((size_t)1 << 33)

static char *read_file(FILE *file, size_t *n_bytes)
{
    size_t max = 0;
    char *text = NULL;
    *n_bytes = 0;
    do {
        if (*n_bytes == max) {
            max = max == 0 ? 1 << 16 : 2 * max;
            char *larger = max > MAX_BYTES ? NULL : realloc(text, max);
            if (larger == NULL) {
                free(text);
                errno = ENOMEM;
                return NULL;
            }
            text = larger;
        }
        *n_bytes += fread(text + *n_bytes, 1, max - *n_bytes, file);
    } while (!feof(file) && !ferror(file));
    if (ferror(file)) {
        free(text);
        return NULL;
    }
    return text;
}

bool plan_input_read(const char *path, const struct plan_model_options *options,
                     struct plan_input *input)
{
    bool is_standard = strcmp(path, "-") == 0;
    char message[QUIRE_TENSOR_MESSAGE_BYTES];
    size_t n_bytes = 0;

    *input = (struct plan_input){.name = is_standard ? "standard input" : path};
    if (!is_standard && plan_model_is(path)) {
        if (!plan_model_read(path, options, &input->model))
            return false;
        input->table.buffers = input->model.schedule.buffers;
        input->table.n_buffers = input->model.schedule.n_buffers;
        return true;
    }
    FILE *file = is_standard ? stdin : fopen(path, "re");
    char *text = file != NULL ? read_file(file, &n_bytes) : NULL;
    int error = errno;
    if (file != NULL && !is_standard)
        fclose(file);
    if (text == NULL) {
        cli_error("cannot read the buffers from %s: %s", input->name, strerror(error));
        return false;
    }
    error = quire_tensor_table_read(text, n_bytes, &input->table, message);
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
