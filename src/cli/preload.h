/* SPDX-License-Identifier: Apache-2.0 */
/* preload: finds the library to be preloaded and puts it into the program's environment. */
#ifndef QUIRE_CLI_PRELOAD_H
#define QUIRE_CLI_PRELOAD_H

#include <stdbool.h>
#include <stddef.h>

#define PRELOAD_PAGED "libquire-preload.so" /* heap, mappings and pager */
#define PRELOAD_HEAP "libquire-malloc.so"   /* the heap alone */

/* The library's absolute path, in PATH_MAX bytes. 0; or -1, with what is wrong and the way out, a
 * line each. */
int preload_find(const char *name, char *path, char *problem, size_t n_problem_bytes);

/*
 * Puts the library first in LD_PRELOAD, before what the user has there, and the control block's
 * path into QUIRE_CONTROL; NULL: none, nothing is paged.
 * `harden`: sets QUIRE_HARDEN. 0 or a negative errno.
 */
int preload_set_environment(const char *library, const char *control_path, bool harden);

/* Where a library that comes with quire is, likewise; false: nowhere. */
bool preload_find_library(const char *name, char *path, size_t n_bytes);

#endif
