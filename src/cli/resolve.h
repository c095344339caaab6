/* SPDX-License-Identifier: Apache-2.0 */
/* resolve: from the word COMMAND to a file that can be run under Quire, or a clear refusal. */
#ifndef QUIRE_CLI_RESOLVE_H
#define QUIRE_CLI_RESOLVE_H

#include <stddef.h>

/*
 * Finds `command` as execvp(3) would and judges it. 0, with the file in `path`; or, with a message
 * on standard error, the exit status that tells why not.
 */
int resolve_command(const char *command, char *path, size_t n_bytes);

#endif
