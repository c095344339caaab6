/* SPDX-License-Identifier: Apache-2.0 */
/* leaks: what this process has open and mapped, to be the same before and after. */
#ifndef QUIRE_TESTS_LEAKS_H
#define QUIRE_TESTS_LEAKS_H

#include "require.h"

#include <dirent.h>
#include <string.h>

static inline unsigned count_fds(void)
{
    DIR *directory = opendir("/proc/self/fd");
    unsigned n = 0;

    REQUIRE(directory != NULL);
    while (readdir(directory) != NULL)
        n++;
    closedir(directory);
    return n;
}

/* Those of files whose path has `name` in it. */
static inline unsigned count_mappings(const char *name)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512];
    unsigned n = 0;

    REQUIRE(maps != NULL);
    while (fgets(line, sizeof line, maps) != NULL)
        n += strstr(line, name) != NULL;
    fclose(maps);
    return n;
}

#endif
