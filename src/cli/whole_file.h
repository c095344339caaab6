/* SPDX-License-Identifier: Apache-2.0 */
/* whole_file: all of a file, or of standard input, in memory. */
#ifndef QUIRE_CLI_WHOLE_FILE_H
#define QUIRE_CLI_WHOLE_FILE_H

#include <stddef.h>

#define WHOLE_FILE_MAX_BYTES ((size_t)1 << 33)

/*
 * "-" is standard input. The caller frees what comes back; it is not terminated. NULL with errno:
 * it can't be opened or read, or is larger than WHOLE_FILE_MAX_BYTES (ENOMEM).
 */
char *whole_file_read(const char *path, size_t *n_bytes);

/* What a message calls it. */
const char *whole_file_name(const char *path);

#endif
