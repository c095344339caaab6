/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_text: makes UTF-8 of any bytes. Overlong forms, surrogates and what lies beyond U+10FFFF are
 * no UTF-8 (Unicode 15, table 3-7).
 */
#include "cli/json_text.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static bool is_between(unsigned char byte, unsigned least, unsigned most)
{
    return byte >= least && byte <= most;
}

/* The length of the character at `at`, which is terminated; 0: it is none. */
static size_t character(const unsigned char *at)
{
    unsigned char second_least = 0x80, second_most = 0xbf;
    size_t n_bytes;

    if (at[0] < 0x80)
        return 1;
    if (is_between(at[0], 0xc2, 0xdf))
        n_bytes = 2;
    else if (is_between(at[0], 0xe0, 0xef))
        n_bytes = 3;
    else if (is_between(at[0], 0xf0, 0xf4))
        n_bytes = 4;
    else
        return 0;
    if (at[0] == 0xe0)
        second_least = 0xa0;
    else if (at[0] == 0xed)
        second_most = 0x9f;
    else if (at[0] == 0xf0)
        second_least = 0x90;
    else if (at[0] == 0xf4)
        second_most = 0x8f;
    if (!is_between(at[1], second_least, second_most))
        return 0;
    for (size_t i = 2; i < n_bytes; i++)
        if (!is_between(at[i], 0x80, 0xbf))
            return 0;
    return n_bytes;
}

json_t *json_text(const char *bytes)
{
    static const char replacement[] = "\xef\xbf\xbd";
    char *text = malloc(3 * strlen(bytes) + 1), *to = text;

    if (text == NULL)
        return NULL;
    for (const char *at = bytes; *at != '\0';) {
        size_t n = character((const unsigned char *)at);
        memcpy(to, n > 0 ? at : replacement, n > 0 ? n : 3);
        to += n > 0 ? n : 3;
        at += n > 0 ? n : 1;
    }
    json_t *json = json_stringn(text, (size_t)(to - text));
    free(text);
    return json;
}

json_t *json_text_list(char *const *words)
{
    json_t *list = json_array();
    int bad = list == NULL;

    for (; *words != NULL; words++)
        bad |= json_array_append_new(list, json_text(*words));
    if (!bad)
        return list;
    json_decref(list);
    return NULL;
}
