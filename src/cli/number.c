/* SPDX-License-Identifier: Apache-2.0 */
/* number: see number.h. */
#include "cli/number.h"

#include <errno.h>
#include <stdlib.h>

bool number_parse(const char *text, uint64_t *value)
{
    const bool is_hex = text[0] == '0' && (text[1] | 32) == 'x';
    char *end;

    if (text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    *value = strtoull(text, &end, is_hex ? 16 : 10);
    return *end == '\0' && errno == 0;
}
