/* SPDX-License-Identifier: Apache-2.0 */
/*
 * preload: where the libraries are.
 *
 *   build tree    build/quire            build/libquire-preload.so, libquire-malloc.so
 *   installed     PREFIX/bin/quire       PREFIX/LIBDIR/quire/, the same
 *
 * It is looked for beside the executable first, so that a build tree uses its own and a moved
 * installation still works; the directory of the build's configuration comes last.
 */
#include "cli/preload.h"

#include "base/control.h"
#include "heap/harden.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef QUIRE_LIBDIR /* absolute, from the build's configuration */
#define QUIRE_LIBDIR "/usr/local/lib"
#endif
#if defined(__x86_64__)
#define QUIRE_MULTIARCH "x86_64-linux-gnu"
#elif defined(__aarch64__)
#define QUIRE_MULTIARCH "aarch64-linux-gnu"
#else
#define QUIRE_MULTIARCH "linux-gnu"
#endif

/* The directory of the running executable. */
static bool find_own_directory(char *directory, size_t n_bytes)
{
    ssize_t n = readlink("/proc/self/exe", directory, n_bytes - 1);

    if (n <= 0)
        return false;
    directory[n] = '\0';
    char *slash = strrchr(directory, '/');
    if (slash == NULL)
        return false;
    *slash = '\0';
    return true;
}

/* Looks in the places, in their order. */
static bool find_library(const char *own, const char *name, char *path, size_t n_bytes)
{
    static const char *const places[] = {"", "/../lib/quire", "/../lib/" QUIRE_MULTIARCH "/quire"};

    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        int n = snprintf(path, n_bytes, "%s%s/%s", own, places[i], name);
        if (n > 0 && (size_t)n < n_bytes && access(path, R_OK) == 0)
            return true;
    }
    snprintf(path, n_bytes, QUIRE_LIBDIR "/quire/%s", name);
    return access(path, R_OK) == 0;
}

bool preload_find_library(const char *name, char *path, size_t n_bytes)
{
    char own[PATH_MAX];

    return find_own_directory(own, sizeof own) && find_library(own, name, path, n_bytes);
}

int preload_find(const char *name, char *path, char *problem, size_t n_problem_bytes)
{
    char own[PATH_MAX], found[PATH_MAX];

    if (!find_own_directory(own, sizeof own)) {
        snprintf(problem, n_problem_bytes,
                 "cannot find out where quire is installed: %s\n"
                 "is /proc mounted?",
                 strerror(errno));
        return -1;
    }
    if (!find_library(own, name, found, sizeof found) || realpath(found, path) == NULL) {
        snprintf(problem, n_problem_bytes,
                 "cannot find %s, neither in %s nor in " QUIRE_LIBDIR "/quire\n"
                 "build it (make) or install it (sudo make install)",
                 name, own);
        return -1;
    }
    if (strpbrk(path, " :\t\n") != NULL) { /* ld.so(8): LD_PRELOAD is split there, without escape */
        snprintf(problem, n_problem_bytes,
                 "cannot preload %s: the dynamic loader takes no path with blanks or colons\n"
                 "move Quire to a directory without them",
                 path);
        return -1;
    }
    return 0;
}

int preload_set_environment(const char *library, const char *control_path, bool harden)
{
    const char *users = getenv("LD_PRELOAD");
    char *list;

    if (asprintf(&list, users != NULL && users[0] != '\0' ? "%s:%s" : "%s", library, users) < 0)
        return -ENOMEM;
    int error = setenv("LD_PRELOAD", list, 1) == 0 ? 0 : -errno;
    free(list);
    if (error == 0 && harden && setenv(HARDEN_ENVIRONMENT, "1", 1) != 0)
        error = -errno;
    if (error == 0 && control_path == NULL)
        unsetenv(CONTROL_ENVIRONMENT);
    else if (error == 0 && setenv(CONTROL_ENVIRONMENT, control_path, 1) != 0)
        error = -errno;
    return error;
}
