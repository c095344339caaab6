/* SPDX-License-Identifier: Apache-2.0 */
/* bump: see bump.h. Blocks double in size up to 1 MiB; what is larger gets a block of its own. */
#include "tensor/bump.h"

#include "base/checked.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_BYTES ((size_t)16 << 10)
#define MOST_BYTES ((size_t)1 << 20)
#define ALIGNMENT 16

struct bump_block {
    struct bump_block *older;
    size_t used, room;
    _Alignas(ALIGNMENT) unsigned char bytes[];
};

static struct bump_block *add_block(struct bump *bump, size_t n_bytes)
{
    size_t room = bump->newest == NULL ? FIRST_BYTES : 2 * bump->newest->room;
    if (room > MOST_BYTES)
        room = MOST_BYTES;
    if (room < n_bytes)
        room = n_bytes;
    struct bump_block *block = calloc(1, sizeof *block + room);
    if (block == NULL)
        return NULL;
    block->room = room;
    bump->n_bytes += sizeof *block + room;
    block->older = bump->newest;
    bump->newest = block;
    return block;
}

void *bump_take(struct bump *bump, size_t n, size_t size)
{
    size_t n_bytes;
    if (!checked_mul(n, size, &n_bytes) || n_bytes > SIZE_MAX / 2)
        return NULL;
    n_bytes = round_up(n_bytes, ALIGNMENT);
    struct bump_block *block = bump->newest;
    if (block == NULL || block->room - block->used < n_bytes) {
        block = add_block(bump, n_bytes);
        if (block == NULL)
            return NULL;
    }
    void *taken = block->bytes + block->used;
    block->used += n_bytes;
    return taken;
}

char *bump_text(struct bump *bump, const char *text, size_t n_bytes)
{
    char *copy = bump_take(bump, n_bytes + 1, 1);
    if (copy != NULL && n_bytes > 0)
        memcpy(copy, text, n_bytes);
    return copy;
}

char *bump_format(struct bump *bump, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (n < 0)
        return NULL;
    return bump_text(bump, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

void bump_free(struct bump *bump)
{
    for (struct bump_block *block = bump->newest, *older; block != NULL; block = older) {
        older = block->older;
        free(block);
    }
    *bump = (struct bump){0};
}
