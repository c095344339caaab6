/* SPDX-License-Identifier: Apache-2.0 */
/* json_text: JSON strings of what users and programs call things, which need not be UTF-8. */
#ifndef QUIRE_CLI_JSON_TEXT_H
#define QUIRE_CLI_JSON_TEXT_H

#include <jansson.h>

/* A string; U+FFFD stands for each byte that is not part of UTF-8. NULL: no memory. */
json_t *json_text(const char *bytes);

/* An array of such strings, one for each word up to the NULL. NULL: no memory. */
json_t *json_text_list(char *const *words);

#endif
