/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log: messages without malloc, stdio or errno.
 *
 * A message goes out in one write(2), prefixed "quire: ", so that lines of several processes do not
 * mix. It knows the conversions %s %d %u %lu %lx %zu %c %p %% and cuts what is over 500 bytes.
 * Usable from any thread and from signal handlers.
 */
#ifndef QUIRE_BASE_LOG_H
#define QUIRE_BASE_LOG_H

#include <stdarg.h>
#include <stddef.h>

#define LOG_MAX_BYTES 512

/* Formats into `buffer`, always terminated; returns the length without the end. */
size_t log_format(char *buffer, size_t n_bytes, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
size_t log_vformat(char *buffer, size_t n_bytes, const char *format, va_list arguments)
    __attribute__((format(printf, 3, 0)));

/* "quire: MESSAGE\n" on the program's standard error, from whichever thread. */
void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
