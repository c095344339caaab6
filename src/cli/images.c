/* SPDX-License-Identifier: Apache-2.0 */
/* images: see images.h. */
#include "cli/images.h"

#include "base/size.h"
#include "cli/cli.h"
#include "cli/number.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* "FILE@PHYS", PHYS a number or a size as 1G: the path's length, and where it begins, 0 without. */
static size_t split_name(const char *text, uint64_t *start)
{
    const char *at = strrchr(text, '@');
    uint64_t value;

    *start = 0;
    if (at == NULL || at[1] < '0' || at[1] > '9' || access(text, F_OK) == 0)
        return strlen(text); /* also a file of that very name */
    if (!number_parse(at + 1, &value) && size_parse(at + 1, 0, &value) != 0)
        return strlen(text);
    *start = value;
    return (size_t)(at - text);
}

static int open_one(const char *name, enum quire_image_format format, struct quire_image *image,
                    char *message)
{
    uint64_t start;
    char *path = strndup(name, split_name(name, &start));

    if (path == NULL) {
        snprintf(message, QUIRE_IMAGE_MESSAGE_BYTES, "out of memory");
        return -ENOMEM;
    }
    int error = quire_image_add_file(image, path, start, format, message);
    free(path);
    return error;
}

void images_name(struct argp_state *state, struct images *images, const char *name)
{
    if (images->n == IMAGES_MAX)
        argp_error(state, "more than %d images", IMAGES_MAX);
    images->names[images->n++] = name;
}

bool images_open(const struct images *images, enum quire_image_format format,
                 struct quire_image **image)
{
    char message[QUIRE_IMAGE_MESSAGE_BYTES];

    if (quire_image_new(image) != 0) {
        cli_error("cannot open the images: out of memory");
        return false;
    }
    for (unsigned i = 0; i < images->n; i++) {
        if (open_one(images->names[i], format, *image, message) != 0) {
            cli_error("cannot use the image %s: %s", images->names[i], message);
            return false;
        }
        if (message[0] != '\0') /* it is used as far as it goes */
            cli_error("note: the image %s: %s", images->names[i], message);
    }
    if (quire_image_check_parts(*image, message) != 0)
        cli_error("note: %s", message);
    return true;
}
