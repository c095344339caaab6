/* SPDX-License-Identifier: Apache-2.0 */
/* when: moments on a command line, and in what is printed. */
#ifndef QUIRE_CLI_WHEN_H
#define QUIRE_CLI_WHEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * "14:30", "14:30:05": that time of the day of `last_ms`; "2026-11-26T14:30"; "-10m", "-2h",
 * "-90s",
 * "-1d": before last_ms. All in local time, ms since the epoch. False: it is none of these.
 */
bool when_parse(const char *text, uint64_t last_ms, uint64_t *ms);

/* "2026-11-26T14:30:05", local time, for who reads. */
const char *when_text(uint64_t ms, char *buffer, size_t n_bytes);

/* "2026-11-26T14:30:05.250Z", UTC, for JSON. */
const char *when_utc(uint64_t ms, char *buffer, size_t n_bytes);

#endif
