/* SPDX-License-Identifier: Apache-2.0 */
/* maps_picture: an address space as an SVG picture. */
#ifndef QUIRE_CLI_MAPS_PICTURE_H
#define QUIRE_CLI_MAPS_PICTURE_H

#include <quire/observe.h>

#include <stddef.h>
#include <stdint.h>

struct maps_area { /* mappings of one thing */
    uint64_t start, end, size;
    size_t n_mappings;
    enum quire_observe_kind kind;
    char permissions[5];
    const char *name;
    uint64_t rss, pss, dirty, swap, huge, locked;
};

/* Areas by rising address. Returns 0, -ENOMEM, or -EIO: the file can't be written. */
int maps_picture_write(const char *path, const char *title, const struct maps_area *areas, size_t n)
    __attribute__((visibility("default")));

#endif
