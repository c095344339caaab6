/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/json_file.h"

#include "cli/cli.h"
#include "cli/out_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int json_file_write(const json_t *json, const char *path)
{
    char *text = json != NULL ? json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : NULL;

    if (text == NULL)
        return -ENOMEM;
    size_t n_bytes = strlen(text);
    text[n_bytes++] = '\n'; /* in the place of the end */
    int error = out_file_write(text, n_bytes, path);
    free(text);
    return error;
}

bool json_print(json_t *json)
{
    bool is_good = json != NULL && json_dumpf(json, stdout, JSON_INDENT(1)) == 0;

    putchar('\n');
    json_decref(json);
    if (!is_good)
        cli_error("cannot build the JSON: out of memory");
    return is_good;
}
