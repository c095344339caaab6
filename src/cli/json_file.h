/* SPDX-License-Identifier: Apache-2.0 */
/* json_file: a JSON value into a file, as out_file.h does it, or onto standard output. */
#ifndef QUIRE_CLI_JSON_FILE_H
#define QUIRE_CLI_JSON_FILE_H

#include <jansson.h>
#include <stdbool.h>

/* Writes `json`, indented, with a newline at the end. 0 or a negative errno; -ENOMEM for NULL. */
int json_file_write(const json_t *json, const char *path);

/*
 * Prints `json`, indented by one, with a newline at the end, and gives it up. False after a
 * message: NULL, or no memory.
 */
bool json_print(json_t *json);

#endif
