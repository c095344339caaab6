/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proc: small files of /proc, read inside of the program that is paged: no stdio, no allocation, no
 * locale. Thread-safe. (Quire's own commands use observe/procfs.h.)
 */
#ifndef QUIRE_BASE_PROC_H
#define QUIRE_BASE_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The start of a file as a string, up to size - 1 bytes. False: it can't be read, or is empty. */
bool proc_read(const char *path, char *text, size_t size);

/* The decimal number that begins at `at`; 0 where there is none. */
uint64_t proc_number(const char *at);

/*
 * Where field `field` (from 3 on, as proc_pid_stat(5) counts) of the text of a stat file begins, or
 * NULL. The second field, the name, may hold anything, even parentheses.
 */
const char *proc_stat_field(const char *text, int field);

#endif
