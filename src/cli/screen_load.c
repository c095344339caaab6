/* SPDX-License-Identifier: Apache-2.0 */
/* screen_load: finds libquire-screen.so beside the command, as picture.c does its own. */
#include "cli/cli.h"
#include "cli/preload.h"
#include "cli/screen.h"

#include <dlfcn.h>
#include <limits.h>
#include <stddef.h>

#define LIBRARY "libquire-screen.so"

const struct screen *screen_load(void)
{
    char library[PATH_MAX];

    if (!preload_find_library(LIBRARY, library, sizeof library)) {
        cli_error("cannot use the screen: there is no " LIBRARY " beside quire or where it is "
                  "installed\nbuild it (make) or install it (sudo make install)");
        return NULL;
    }
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    const struct screen *screen = handle != NULL ? dlsym(handle, SCREEN_SYMBOL) : NULL;
    if (screen == NULL)
        cli_error("cannot use the screen: %s", dlerror());
    return screen;
}
