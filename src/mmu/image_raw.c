/* SPDX-License-Identifier: Apache-2.0 */
/* image_raw: the bytes of memory from one address on, as QEMU's pmemsave writes them. */
#include "mmu/image.h"

static bool knows(const struct image_file *file)
{
    return true;
}

static int read_raw(struct quire_image *image, struct image_file *file, uint64_t start,
                    char *message)
{
    return image_add(image, file, start, file->n_bytes, 0, message);
}

const struct image_reader image_raw = {"raw", knows, read_raw};
