/* SPDX-License-Identifier: Apache-2.0 */
/* images: a machine's memory as the command line names it: FILE[@PHYS], several times. */
#ifndef QUIRE_CLI_IMAGES_H
#define QUIRE_CLI_IMAGES_H

#include <quire/image.h>

#define IMAGES_MAX 64

/* Opens them as one. False: with a message; the image, if there is one, is the caller's to free. */
bool images_open(const char *const *names, unsigned n, enum quire_image_format format,
                 struct quire_image **image);

#endif
