/* SPDX-License-Identifier: Apache-2.0 */
/* image_list: --image FILE[@PHYS] of the commands that read a machine's memory; may be repeated. */
#ifndef QUIRE_CLI_IMAGE_LIST_H
#define QUIRE_CLI_IMAGE_LIST_H

#include "cli/images.h"

#include <argp.h>

struct image_list {
    const char *names[IMAGES_MAX]; /* as images_open() takes them */
    unsigned n;
};

/* Appends one; `name` has to last. One too many ends the program with a message. */
void image_list_add(struct argp_state *state, struct image_list *list, const char *name);

#endif
