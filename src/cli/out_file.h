/* SPDX-License-Identifier: Apache-2.0 */
/* out_file: text into a file that a reader never sees half written. */
#ifndef QUIRE_CLI_OUT_FILE_H
#define QUIRE_CLI_OUT_FILE_H

#include <stddef.h>

/*
 * Whether out_file_write() can be expected to work; leaves nothing behind, and what is at `path` as
 * it is. 0 or a negative errno.
 */
int out_file_check(const char *path);

/*
 * A regular file is replaced in one step; a pipe, a device, or what this process has open as
 * standard output or error is written into. 0 or a negative errno.
 */
int out_file_write(const char *text, size_t n_bytes, const char *path);

#endif
