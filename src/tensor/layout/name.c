/* SPDX-License-Identifier: Apache-2.0 */
/*
 * name: a layout's name ("nchw16c") and back. The grammar is in quire/layout.h.
 */
#include "base/checked.h"

#include <quire/layout.h>

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define NONE UINT32_MAX

/* The logical order of dimensions, by their letters. */
static const char data_letters[] = "ncdhw", weight_letters[] = "goidhw";

/* What of `all` is in the first n letters of `name`, in the order of `all`. False: something is
 * not, or twice. */
static bool choose_letters(const char *all, const char *name, size_t n, char *letters)
{
    size_t n_found = 0;

    for (size_t i = 0; all[i] != '\0'; i++) {
        size_t n_times = 0;
        for (size_t j = 0; j < n; j++)
            n_times += tolower((unsigned char)name[j]) == all[i];
        if (n_times > 1)
            return false;
        if (n_times == 1)
            letters[n_found++] = all[i];
    }
    letters[n_found] = '\0';
    return n_found == n;
}

static uint32_t dim_of(const char *letters, char letter)
{
    const char *at = strchr(letters, tolower((unsigned char)letter));

    return letter == '\0' || at == NULL ? NONE : (uint32_t)(at - letters);
}

static bool read_blocks(struct quire_layout *layout, const char *letters, const char *text)
{
    while (*text != '\0') {
        uint32_t size = 0;
        if (*text < '1' || *text > '9' || layout->n_blocks == QUIRE_LAYOUT_MAX_BLOCKS)
            return false;
        while (*text >= '0' && *text <= '9' && size <= QUIRE_LAYOUT_MAX_BLOCK)
            size = size * 10 + (uint32_t)(*text++ - '0');
        uint32_t dim = dim_of(letters, *text);
        if (dim == NONE || size > QUIRE_LAYOUT_MAX_BLOCK)
            return false;
        text++;
        layout->blocks[layout->n_blocks++] = (struct quire_layout_block){dim, size};
        if (quire_layout_block_size(layout, dim) > QUIRE_LAYOUT_MAX_BLOCK)
            return false;
    }
    return true;
}

static int set_strides(struct quire_layout *layout, const char *letters, const char *order)
{
    int64_t stride = 1;

    for (uint32_t i = 0; i < layout->n_blocks; i++)
        stride *= layout->blocks[i].size;
    for (uint32_t i = layout->n_dims; i-- > 0;) {
        uint32_t dim = dim_of(letters, order[i]);
        int64_t block = quire_layout_block_size(layout, dim);
        layout->strides[dim] = stride;
        int64_t n = layout->dims[dim] / block + (layout->dims[dim] % block != 0);
        if (!checked_mul(stride, n, &stride))
            return -EOVERFLOW;
    }
    return quire_layout_check(layout);
}

int quire_layout_init(struct quire_layout *layout, const char *name, enum quire_layout_type type,
                      uint32_t n_dims, const int64_t *dims)
{
    char letters[QUIRE_LAYOUT_MAX_DIMS + 1];
    size_t n = 0;

    while (isalpha((unsigned char)name[n]))
        n++;
    if (n == 0 || n > QUIRE_LAYOUT_MAX_DIMS || n != n_dims ||
        (unsigned)type >= QUIRE_LAYOUT_N_TYPES)
        return -EINVAL;
    bool is_data = choose_letters(data_letters, name, n, letters) && letters[0] == 'n' &&
                   dim_of(letters, 'c') != NONE;
    bool is_weights = !is_data && choose_letters(weight_letters, name, n, letters) &&
                      dim_of(letters, 'o') != NONE && dim_of(letters, 'i') != NONE;
    if (!is_data && !is_weights)
        return -EINVAL;
    struct quire_layout made = {.type = type, .n_dims = n_dims};
    for (uint32_t d = 0; d < n_dims; d++) {
        if (dims[d] < 1)
            return -EINVAL;
        made.dims[d] = dims[d];
    }
    if (!read_blocks(&made, letters, name + n))
        return -EINVAL;
    int error = set_strides(&made, letters, name);
    if (error == 0)
        *layout = made;
    return error;
}

/* The letters of a tensor with that many dimensions; NULL: it has no name. */
static const char *letters_for(uint32_t n_dims, bool is_weights)
{
    static const char *const data[] = {NULL, NULL, "nc", "ncw", "nchw", "ncdhw", NULL};
    static const char *const weights[] = {NULL, NULL, NULL, "oiw", "oihw", "goihw", "goidhw"};

    return n_dims > QUIRE_LAYOUT_MAX_DIMS ? NULL : is_weights ? weights[n_dims] : data[n_dims];
}

int quire_layout_name(const struct quire_layout *layout, bool is_weights, char *name)
{
    const char *letters = letters_for(layout->n_dims, is_weights);
    struct quire_layout same;
    bool is_done[QUIRE_LAYOUT_MAX_DIMS] = {false};
    char text[QUIRE_LAYOUT_NAME_BYTES];
    size_t n = 0;

    if (letters == NULL || quire_layout_check(layout) != 0 || layout->offset != 0)
        return -EINVAL;
    for (uint32_t i = 0; i < layout->n_dims; i++) { /* by falling strides */
        uint32_t most = 0;
        while (is_done[most])
            most++;
        for (uint32_t d = most + 1; d < layout->n_dims; d++)
            if (!is_done[d] && layout->strides[d] > layout->strides[most])
                most = d;
        is_done[most] = true;
        text[n++] = letters[most];
    }
    text[n] = '\0';
    for (uint32_t i = 0; i < layout->n_blocks; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%u%c", layout->blocks[i].size,
                              letters[layout->blocks[i].dim]);
    if (quire_layout_init(&same, text, layout->type, layout->n_dims, layout->dims) != 0)
        return -EINVAL;
    for (uint32_t d = 0; d < layout->n_dims; d++)
        if (layout->dims[d] > quire_layout_block_size(layout, d) &&
            same.strides[d] != layout->strides[d])
            return -EINVAL;
    memcpy(name, text, n + 1);
    return 0;
}
