/* SPDX-License-Identifier: Apache-2.0 */
/* whole_file: see whole_file.h. */
#include "cli/whole_file.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_standard(const char *path)
{
    return strcmp(path, "-") == 0;
}

const char *whole_file_name(const char *path)
{
    return is_standard(path) ? "standard input" : path;
}

static char *read_all(FILE *file, size_t *n_bytes)
{
    size_t max = 0;
    char *text = NULL;

    *n_bytes = 0;
    do {
        if (*n_bytes == max) {
            max = max == 0 ? 1 << 16 : 2 * max;
            char *larger = max > WHOLE_FILE_MAX_BYTES ? NULL : realloc(text, max);
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

char *whole_file_read(const char *path, size_t *n_bytes)
{
    FILE *file = is_standard(path) ? stdin : fopen(path, "re");

    if (file == NULL)
        return NULL;
    char *text = read_all(file, n_bytes);
    int error = errno;
    if (file != stdin)
        fclose(file);
    errno = error;
    return text;
}
