/* SPDX-License-Identifier: Apache-2.0 */
/* temporary: see temporary.h. */
#include "cli/temporary.h"

#include "cli/cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int temporary_file(const char *what, char path[PATH_MAX])
{
    const char *directory = getenv("TMPDIR");

    if (directory == NULL || *directory == '\0')
        directory = "/tmp";
    int n = snprintf(path, PATH_MAX, "%s/quire-%s-XXXXXX", directory, what);
    int fd = -1, error = ENAMETOOLONG;
    if (n < PATH_MAX) {
        fd = mkstemp(path);
        error = errno;
    }
    if (fd < 0) {
        cli_error("cannot make a file in %s: %s\nTMPDIR names another directory", directory,
                  strerror(error));
        return -error;
    }
    close(fd);
    return 0;
}
