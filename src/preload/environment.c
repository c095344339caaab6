/* SPDX-License-Identifier: Apache-2.0 */
/*
 * environment: what a new image needs to run under Quire as well.
 *
 * A program may start others with an environment of its own making (env -i, execve); the budget
 * holds for them too, so the variables are put back: QUIRE_CONTROL as it was at the start, and the
 * library in front of LD_PRELOAD. Nothing here allocates: exec is called in vfork children.
 */
#include "heap/harden.h"
#include "preload/preload.h"

#include <stdint.h>
#include <string.h>

#define PRELOAD_NAME "LD_PRELOAD="
#define MAX_VALUE 4096

static struct {
    char control[256];       /* QUIRE_CONTROL=... */
    char preload[MAX_VALUE]; /* LD_PRELOAD=... as the launcher set it */
    size_t library_bytes;    /* of the library's path in it, the first entry */
    char harden[32];         /* QUIRE_HARDEN=..., or "" */
} kept;

static const char *find(char *const *environment, const char *name, size_t length)
{
    for (; environment && *environment; environment++) {
        if (strncmp(*environment, name, length) == 0)
            return *environment;
    }
    return NULL;
}

void environment_init(char **environment)
{
    const char *control = find(environment, CONTROL_ENVIRONMENT "=", sizeof CONTROL_ENVIRONMENT);
    const char *preload = find(environment, PRELOAD_NAME, sizeof PRELOAD_NAME - 1);
    const char *harden = find(environment, HARDEN_ENVIRONMENT "=", sizeof HARDEN_ENVIRONMENT);
    if (!control || !preload || strlen(control) >= sizeof kept.control ||
        strlen(preload) >= sizeof kept.preload)
        return;
    strcpy(kept.control, control);
    strcpy(kept.preload, preload);
    if (harden && strlen(harden) < sizeof kept.harden)
        strcpy(kept.harden, harden);
    kept.library_bytes = strcspn(preload + sizeof PRELOAD_NAME - 1, ": ");
}

size_t environment_room(char *const *environment)
{
    size_t n = 0;
    while (environment && environment[n])
        n++;
    return n + 4;
}

/* Whether an LD_PRELOAD entry already begins with, or contains, the library. */
static bool names_library(const char *preload)
{
    const char *library = kept.preload + sizeof PRELOAD_NAME - 1;
    size_t length = kept.library_bytes;
    const char *at = preload + sizeof PRELOAD_NAME - 1;
    while (*at) {
        size_t n = strcspn(at, ": ");
        if (n == length && memcmp(at, library, n) == 0)
            return true;
        at += n;
        at += strspn(at, ": ");
    }
    return false;
}

char *const *environment_with_quire(char *const *environment, char **room)
{
    if (kept.library_bytes == 0)
        return environment;
    const char *preload = find(environment, PRELOAD_NAME, sizeof PRELOAD_NAME - 1);
    bool has_preload = preload && names_library(preload);
    bool has_harden = kept.harden[0] == '\0' ||
                      find(environment, HARDEN_ENVIRONMENT "=", sizeof HARDEN_ENVIRONMENT);
    if (has_preload && has_harden &&
        find(environment, CONTROL_ENVIRONMENT "=", sizeof CONTROL_ENVIRONMENT))
        return environment;
    size_t n = 0;
    for (char *const *at = environment; at && *at; at++) {
        bool replaced = strncmp(*at, CONTROL_ENVIRONMENT "=", sizeof CONTROL_ENVIRONMENT) == 0 ||
                        (!has_preload && *at == preload);
        if (!replaced)
            room[n++] = *at;
    }
    room[n++] = kept.control;
    if (!has_harden)
        room[n++] = kept.harden;
    if (!has_preload)
        room[n++] = kept.preload; /* a program's own list is lost if it left Quire's library out */
    room[n] = NULL;
    return room;
}
