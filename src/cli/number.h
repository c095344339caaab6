/* SPDX-License-Identifier: Apache-2.0 */
/* number: addresses and registers as people write them. */
#ifndef QUIRE_CLI_NUMBER_H
#define QUIRE_CLI_NUMBER_H

#include <stdbool.h>
#include <stdint.h>

/* All of `text` is a number of 64 bits: decimal (also with zeros in front, which make nothing
 * octal), or hexadecimal behind 0x. Else false. */
bool number_parse(const char *text, uint64_t *value);

#endif
