/* SPDX-License-Identifier: Apache-2.0 */
/* images: a machine's memory as the command line names it, --image FILE[@PHYS], several times. */
#ifndef QUIRE_CLI_IMAGES_H
#define QUIRE_CLI_IMAGES_H

#include <argp.h>
#include <quire/image.h>

#define IMAGES_MAX 64

struct images {
    const char *names[IMAGES_MAX];
    unsigned n;
};

/* Appends one; `name` has to last. One too many ends the program with a message. */
void images_name(struct argp_state *state, struct images *images, const char *name);

/* Opens them as one memory. False: with a message; `*image`, if it is not NULL, is the caller's to
 * free. */
bool images_open(const struct images *images, enum quire_image_format format,
                 struct quire_image **image);

#endif
