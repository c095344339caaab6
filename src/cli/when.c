/* SPDX-License-Identifier: Apache-2.0 */
/* when: see when.h. */
#include "cli/when.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* "-10m" */
static bool parse_distance(const char *text, uint64_t last_ms, uint64_t *ms)
{
    static const char units[] = "smhd";
    static const unsigned seconds[] = {1, 60, 3600, 86400};
    char *end;

    if (text[1] < '0' || text[1] > '9')
        return false;
    unsigned long n = strtoul(text + 1, &end, 10);
    const char *unit = *end != '\0' ? strchr(units, *end) : units;
    if (unit == NULL || (*end != '\0' && end[1] != '\0') || n > 100000000)
        return false;
    uint64_t distance = (uint64_t)n * seconds[unit - units] * 1000;
    *ms = distance < last_ms ? last_ms - distance : 0;
    return true;
}

bool when_parse(const char *text, uint64_t last_ms, uint64_t *ms)
{
    static const char *const formats[] = {"%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%H:%M:%S",
                                          "%H:%M"};
    time_t last = (time_t)(last_ms / 1000);

    if (*text == '-')
        return parse_distance(text, last_ms, ms);
    for (unsigned i = 0; i < 4; i++) {
        struct tm parts;
        if (localtime_r(&last, &parts) == NULL)
            return false;
        parts.tm_sec = 0;
        const char *end = strptime(text, formats[i], &parts);
        if (end == NULL || *end != '\0')
            continue;
        parts.tm_isdst = -1;
        time_t moment = mktime(&parts);
        if (moment < 0)
            return false;
        *ms = (uint64_t)moment * 1000;
        return true;
    }
    return false;
}

const char *when_text(uint64_t ms, char *buffer, size_t n_bytes)
{
    time_t moment = (time_t)(ms / 1000);
    struct tm parts;

    if (localtime_r(&moment, &parts) == NULL ||
        strftime(buffer, n_bytes, "%Y-%m-%dT%H:%M:%S", &parts) == 0)
        snprintf(buffer, n_bytes, "?");
    return buffer;
}

const char *when_utc(uint64_t ms, char *buffer, size_t n_bytes)
{
    time_t moment = (time_t)(ms / 1000);
    struct tm parts;
    size_t n = gmtime_r(&moment, &parts) != NULL
                   ? strftime(buffer, n_bytes, "%Y-%m-%dT%H:%M:%S", &parts)
                   : 0;

    snprintf(buffer + n, n_bytes - n, ".%03uZ", (unsigned)(ms % 1000));
    return buffer;
}
