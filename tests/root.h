/* SPDX-License-Identifier: Apache-2.0 */
/*
 * root: a directory of the test's own that stands for a machine's /, with the /proc and /sys that
 * the test puts there. For tests with cmocka.
 */
#ifndef QUIRE_TESTS_ROOT_H
#define QUIRE_TESTS_ROOT_H

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h> /* wants the headers above */

static char root[32];

static inline int root_set_up(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "/tmp/quire-root-XXXXXX");
    return mkdtemp(root) != NULL ? 0 : -1;
}

static inline int root_remove_one(const char *path, const struct stat *info, int type,
                                  struct FTW *where)
{
    (void)info, (void)type, (void)where;
    return remove(path);
}

static inline int root_tear_down(void **state)
{
    (void)state;
    return nftw(root, root_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* `path` below the root, as "proc/meminfo": there with these bytes, and its directories with it. */
static inline void root_put_bytes(const char *path, const char *bytes, size_t n)
{
    char whole[PATH_MAX];

    snprintf(whole, sizeof whole, "%s/%s", root, path);
    FILE *file = fopen(whole, "we");
    if (file == NULL) {
        for (char *slash = whole + strlen(root); (slash = strchr(slash + 1, '/')) != NULL;) {
            *slash = '\0';
            mkdir(whole, 0700);
            *slash = '/';
        }
        file = fopen(whole, "we");
    }
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

/* The same, with this text. */
static inline void root_put(const char *path, const char *text)
{
    root_put_bytes(path, text, strlen(text));
}

/* It is not there from here on, nor what is below it. */
static inline void root_remove(const char *path)
{
    char whole[PATH_MAX];

    snprintf(whole, sizeof whole, "%s/%s", root, path);
    assert_true(nftw(whole, root_remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0 || errno == ENOENT);
}

#endif
