/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image_flat: dumps whose writer could not seek: each of its writes stands in the file behind the
 * place where it belongs. `makedumpfile -R` puts them there; here they are found by an index.
 *
 *     file: [ "makedumpfile", type 1, version 1 ... 4096 ] [ offset | size | bytes ] [ offset ...
 *     dump:      [ bytes ]   [ bytes ][ bytes ]                    the end: offset -1, size -1
 *
 * All numbers have 64 bits and are big endian (makedumpfile, IMPLEMENTATION, "The flattened
 * format"). A dump that is not flattened is one piece.
 *
 * Invariant:
 *   F1  pieces rise by offset and do not overlap; each lies in the file
 */
#include "mmu/image_flat.h"

#include "mmu/image_notes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC "makedumpfile\0\0\0\0"
#define MAGIC_BYTES 16
#define HEADER_BYTES 4096
#define PIECE_HEADER_BYTES 16
#define MAX_PIECES ((size_t)1 << 23) /* an index of 192 MiB; writes have many kilobytes */
#define REMEDY "`makedumpfile -R DUMP' makes a plain one of it, from standard input"

bool image_flat_knows(const struct image_file *file)
{
    return file->n_bytes >= MAGIC_BYTES && memcmp(file->bytes, MAGIC, MAGIC_BYTES) == 0;
}

static int append(struct image_flat *flat, size_t *max, const struct flat_piece *piece)
{
    if (flat->n_pieces == *max) {
        size_t larger_max = *max == 0 ? 64 : 2 * *max;
        struct flat_piece *larger = realloc(flat->pieces, larger_max * sizeof *larger);
        if (larger == NULL)
            return -ENOMEM;
        flat->pieces = larger;
        *max = larger_max;
    }
    flat->pieces[flat->n_pieces++] = *piece;
    return 0;
}

static int compare(const void *a, const void *b)
{
    const struct flat_piece *one = a, *other = b;
    return one->offset < other->offset ? -1 : one->offset > other->offset;
}

/* All pieces, as they stand in the file; the last one as far as the file has it. */
static int read_pieces(struct image_flat *flat, const struct image_file *file, char *message)
{
    uint64_t at = HEADER_BYTES;
    size_t max = 0;

    flat->is_cut = true;
    while (at < file->n_bytes && file->n_bytes - at >= PIECE_HEADER_BYTES) {
        struct flat_piece piece = {.offset = image_number(file->bytes + at, 8, true),
                                   .n_bytes = image_number(file->bytes + at + 8, 8, true),
                                   .at = at + PIECE_HEADER_BYTES};
        if (piece.offset == UINT64_MAX) {
            flat->is_cut = false;
            break;
        }
        if (piece.offset > INT64_MAX || piece.n_bytes == 0 || piece.n_bytes > INT64_MAX)
            return image_refuse(-EINVAL, message,
                                "what is at byte %llu is no piece of a flattened dump",
                                (unsigned long long)at);
        const uint64_t room = file->n_bytes - piece.at;
        const bool is_last = piece.n_bytes > room;
        piece.n_bytes = is_last ? room : piece.n_bytes;
        if (flat->n_pieces == MAX_PIECES)
            return image_refuse(-EINVAL, message, "it is flattened, in more than %zu pieces: %s",
                                MAX_PIECES, REMEDY);
        if (piece.n_bytes > 0 && append(flat, &max, &piece) != 0)
            return image_refuse(-ENOMEM, message, "out of memory");
        if (is_last)
            break;
        at = piece.at + piece.n_bytes;
    }
    return 0;
}

int image_flat_open(struct image_flat *flat, const struct image_file *file, char *message)
{
    *flat = (struct image_flat){.bytes = file->bytes};
    if (!image_flat_knows(file)) {
        size_t max = 0;
        flat->n_bytes = file->n_bytes;
        if (append(flat, &max, &(struct flat_piece){.n_bytes = file->n_bytes}) != 0)
            return image_refuse(-ENOMEM, message, "out of memory");
        return 0;
    }
    int error = read_pieces(flat, file, message);
    if (error != 0)
        return error;
    if (flat->n_pieces == 0)
        return image_refuse(-EINVAL, message, "it is flattened, and cut off at byte %llu",
                            (unsigned long long)file->n_bytes);
    qsort(flat->pieces, flat->n_pieces, sizeof flat->pieces[0], compare);
    for (size_t i = 1; i < flat->n_pieces; i++)
        if (flat->pieces[i].offset - flat->pieces[i - 1].offset < flat->pieces[i - 1].n_bytes)
            return image_refuse(-EINVAL, message,
                                "it is flattened, and byte %llu of it was written twice: %s",
                                (unsigned long long)flat->pieces[i].offset, REMEDY);
    const struct flat_piece *last = &flat->pieces[flat->n_pieces - 1];
    flat->n_bytes = last->offset + last->n_bytes;
    return 0;
}

void image_flat_close(struct image_flat *flat)
{
    free(flat->pieces);
}

/* How many pieces begin at or below `offset`. */
static size_t count_below(const struct image_flat *flat, uint64_t offset)
{
    size_t low = 0, high = flat->n_pieces;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (flat->pieces[middle].offset <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const unsigned char *image_flat_at(const struct image_flat *flat, uint64_t offset, uint64_t n)
{
    const size_t below = count_below(flat, offset);

    if (below == 0)
        return NULL;
    const struct flat_piece *piece = &flat->pieces[below - 1];
    const uint64_t skip = offset - piece->offset;
    if (skip >= piece->n_bytes || piece->n_bytes - skip < n)
        return NULL;
    return flat->bytes + piece->at + skip;
}

bool image_flat_copy(const struct image_flat *flat, uint64_t offset, uint64_t n, void *to)
{
    if (offset > flat->n_bytes || flat->n_bytes - offset < n)
        return false;
    memset(to, 0, n);
    size_t i = count_below(flat, offset);
    for (i = i > 0 ? i - 1 : 0; i < flat->n_pieces && flat->pieces[i].offset < offset + n; i++) {
        const struct flat_piece *piece = &flat->pieces[i];
        const uint64_t first = piece->offset > offset ? piece->offset : offset;
        const uint64_t piece_end = piece->offset + piece->n_bytes;
        const uint64_t end = piece_end < offset + n ? piece_end : offset + n;
        if (first < end)
            memcpy((unsigned char *)to + (first - offset),
                   flat->bytes + piece->at + (first - piece->offset), end - first);
    }
    return true;
}
