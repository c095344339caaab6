/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image_foreign: files that hold a machine's memory in a form that can't be mapped, compressed or
 * in pieces. Taken for raw bytes they would give wrong answers, so AUTO refuses them, and says what
 * makes a file of them that can be read.
 */
#include "mmu/image.h"

#include <errno.h>
#include <string.h>

static const struct foreign {
    const char *magic;
    size_t n;
    const char *name, *remedy;
} known[] = {
    {"DISKDUMP", 8, "a diskdump of Linux 2.6", "crash reads it"},
    {"AVML", 4, "a compressed LiME file", "avml-convert unpacks it"},
    {"PAGEDU64", 8, "a Windows crash dump", "its raw memory is needed"},
    {"PAGEDUMP", 8, "a Windows crash dump", "its raw memory is needed"},
    {"QEVM", 4, "a saved state of QEMU", "load it, and dump-guest-memory"},
    {"QFI\xfb", 4, "a qcow2 disk", "memory is wanted: dump-guest-memory writes it"},
    {"\x1f\x8b\x08", 3, "compressed by gzip", "gunzip it first"},
    {"\xfd\x37zXZ", 6, "compressed by xz", "unxz it first"},
    {"\x28\xb5\x2f\xfd", 4, "compressed by zstd", "unzstd it first"},
    {"\x04\x22\x4d\x18", 4, "compressed by lz4", "unlz4 it first"},
    {"BZh", 3, "compressed by bzip2", "bunzip2 it first"},
};

static const struct foreign *find(const struct image_file *file)
{
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (file->n_bytes >= known[i].n && memcmp(file->bytes, known[i].magic, known[i].n) == 0)
            return &known[i];
    return NULL;
}

static bool knows(const struct image_file *file)
{
    return find(file) != NULL;
}

static int refuse(struct quire_image *image, struct image_file *file, uint64_t start, char *message)
{
    const struct foreign *its = find(file);

    return image_refuse(-EINVAL, message,
                        "it is %s, which can't be mapped: %s\n--format raw takes its bytes as they "
                        "are",
                        its->name, its->remedy);
}

const struct image_reader image_foreign = {"foreign", knows, refuse};
