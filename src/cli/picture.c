/* SPDX-License-Identifier: Apache-2.0 */
/*
 * picture: cairo, and all that it stands on, takes twice as long to load as the rest of `quire`. So
 * what draws is a library of its own, beside libquire-preload.so, and `quire run` never pays for
 * it.
 */
#include "cli/picture.h"

#include "cli/cli.h"
#include "cli/memory_map.h"
#include "cli/preload.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>

#define LIBRARY "libquire-picture.so"

typedef int write_memory_map(const char *path, const char *title,
                             const struct replay_policy *policies,
                             const struct replay_result *results, unsigned n);
typedef int write_translation(const char *path, const char *title, struct translation_band *bands,
                              size_t n);
typedef int write_maps(const char *path, const char *title, const struct maps_area *areas,
                       size_t n);

/* A function of the library; NULL with a message. It stays loaded: cairo keeps caches. */
static void *find(const char *function)
{
    char library[PATH_MAX];
    if (!preload_find_library(LIBRARY, library, sizeof library)) {
        cli_error("cannot draw: there is no " LIBRARY " beside quire or where it is installed\n"
                  "build it (make) or install it (sudo make install)");
        return NULL;
    }
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    void *symbol = handle != NULL ? dlsym(handle, function) : NULL;
    if (symbol == NULL)
        cli_error("cannot draw: %s", dlerror());
    return symbol;
}

static bool tell(const char *path, int error)
{
    if (error == -ENOMEM)
        cli_error("cannot write the picture %s: out of memory", path);
    else if (error != 0)
        cli_error("cannot write the picture %s; is there such a directory, and room?", path);
    return error == 0;
}

bool picture_memory_map(const char *path, const char *title, const struct replay_policy *policies,
                        const struct replay_result *results, unsigned n)
{
    write_memory_map *draw = (write_memory_map *)find("memory_map_write");
    return draw != NULL && tell(path, draw(path, title, policies, results, n));
}

bool picture_maps(const char *path, const char *title, const struct maps_area *areas, size_t n)
{
    write_maps *draw = (write_maps *)find("maps_picture_write");
    return draw != NULL && tell(path, draw(path, title, areas, n));
}

bool picture_translation(const char *path, const char *title, struct translation_band *bands,
                         size_t n)
{
    write_translation *draw = (write_translation *)find("translation_picture_write");
    return draw != NULL && tell(path, draw(path, title, bands, n));
}
