/* SPDX-License-Identifier: Apache-2.0 */
/* temporary: files of a command's own while it runs, in $TMPDIR or /tmp. */
#ifndef QUIRE_CLI_TEMPORARY_H
#define QUIRE_CLI_TEMPORARY_H

#include <limits.h>

/*
 * Makes an empty file of mode 0600 whose name begins with quire-WHAT; its path is the caller's to
 * unlink. 0, or a negative errno with a message that says where it was to be.
 */
int temporary_file(const char *what, char path[PATH_MAX]);

#endif
