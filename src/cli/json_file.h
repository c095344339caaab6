/* SPDX-License-Identifier: Apache-2.0 */
/* json_file: a JSON value into a file that a reader never sees half written. */
#ifndef QUIRE_CLI_JSON_FILE_H
#define QUIRE_CLI_JSON_FILE_H

#include <jansson.h>

/*
 * Whether json_file_write() can be expected to work; leaves nothing behind, and what is at `path`
 * as it is. 0 or a negative errno.
 */
int json_file_check(const char *path);

/*
 * Writes `json`, indented, with a newline at the end. A regular file is replaced in one step; a
 * pipe, a device, or what this process has open as standard output or error is written into.
 * 0 or a negative errno; -ENOMEM for NULL.
 */
int json_file_write(const json_t *json, const char *path);

#endif
