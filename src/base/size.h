/* SPDX-License-Identifier: Apache-2.0 */
/*
 * size: amounts of memory as people write them.
 *
 * K, M, G and T are powers of 1024, as are KiB, MiB, GiB and TiB; a bare number is bytes. "50%" is
 * a share of `whole_bytes`. A fraction is taken ("1.5G").
 */
#ifndef QUIRE_BASE_SIZE_H
#define QUIRE_BASE_SIZE_H

#include <stddef.h>
#include <stdint.h>

/*
 * Reads `text` into *bytes. `whole_bytes` is what a percentage refers to; 0 refuses percentages.
 * Returns 0; -EINVAL when it is no size; -ERANGE when it does not fit in 63 bits or is over 100 %.
 */
int size_parse(const char *text, uint64_t whole_bytes, uint64_t *bytes);

/* Writes "12.3 MiB" and the like into `buffer` (at least 16 bytes) and returns it. */
const char *size_format(uint64_t bytes, char *buffer, size_t n_bytes);

#endif
