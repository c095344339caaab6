/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image_flat: dumps whose writer could not seek: each of its writes stands in the file behind the
 * place where it belongs. `makedumpfile -R` puts them there; here they are found by an index.
 *
 *     file: [ "makedumpfile", type 1, version 1 ... 4096 ] [ offset | size | bytes ] [ offset ...
 *     dump:      [ bytes ]   [ bytes ][ bytes ]                    the end: offset -1, size -1
 *
 * All numbers have 64 bits and are big endian (makedumpfile, IMPLEMENTATION, "The flattened
 * format"). A dump that is not flattened is one piece. makedumpfile writes headers of ELF files a
 * second time, when it knows how much came of each: the later piece stands, as in a file.
 *
 * Invariant:
 *   F1  pieces rise by offset and do not overlap; each lies in the file
 */
#include "mmu/image_flat.h"

#include "mmu/image.h"
#include "mmu/image_notes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC "makedumpfile\0\0\0\0"
#define MAGIC_BYTES 16
#define HEADER_BYTES 4096
#define PIECE_HEADER_BYTES 16
#define MAX_PIECES ((size_t)1 << 23) /* an index of 192 MiB; writes have many kilobytes */
#define MAX_OVERLAPS 256u
#define REMEDY "`makedumpfile -R DUMP' makes a plain one of it, from standard input"

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
static int read_pieces(struct image_flat *flat, size_t *max, uint64_t n_bytes, char *message)
{
    uint64_t at = HEADER_BYTES;

    flat->is_cut = true;
    while (at < n_bytes && n_bytes - at >= PIECE_HEADER_BYTES) {
        struct flat_piece piece = {.offset = image_number(flat->bytes + at, 8, true),
                                   .n_bytes = image_number(flat->bytes + at + 8, 8, true),
                                   .at = at + PIECE_HEADER_BYTES};
        if (piece.offset == UINT64_MAX) {
            flat->is_cut = false;
            break;
        }
        if (piece.offset > INT64_MAX || piece.n_bytes == 0 || piece.n_bytes > INT64_MAX)
            return image_refuse(-EINVAL, message,
                                "what is at byte %llu is no piece of a flattened dump",
                                (unsigned long long)at);
        const uint64_t room = n_bytes - piece.at;
        const bool is_last = piece.n_bytes > room;
        piece.n_bytes = is_last ? room : piece.n_bytes;
        if (flat->n_pieces == MAX_PIECES)
            return image_refuse(-EINVAL, message, "it is flattened, in more than %zu pieces: %s",
                                MAX_PIECES, REMEDY);
        if (piece.n_bytes > 0 && append(flat, max, &piece) != 0)
            return image_refuse(-ENOMEM, message, "out of memory");
        if (is_last)
            break;
        at = piece.at + piece.n_bytes;
    }
    return 0;
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

static int insert(struct image_flat *flat, size_t *max, const struct flat_piece *piece)
{
    const size_t at = count_below(flat, piece->offset);

    if (append(flat, max, piece) != 0) /* for its room */
        return -ENOMEM;
    memmove(&flat->pieces[at + 1], &flat->pieces[at],
            (flat->n_pieces - 1 - at) * sizeof flat->pieces[0]);
    flat->pieces[at] = *piece;
    return 0;
}

static void remove_at(struct image_flat *flat, size_t at)
{
    flat->n_pieces--;
    memmove(&flat->pieces[at], &flat->pieces[at + 1],
            (flat->n_pieces - at) * sizeof flat->pieces[0]);
}

/* Takes from one of two pieces what the other, written later, has too. */
static int cut(struct image_flat *flat, size_t *max, size_t earlier, size_t later)
{
    const struct flat_piece lost = flat->pieces[earlier], kept = flat->pieces[later];
    const uint64_t lost_end = lost.offset + lost.n_bytes, kept_end = kept.offset + kept.n_bytes;

    if (lost.offset < kept.offset)
        flat->pieces[earlier].n_bytes = kept.offset - lost.offset;
    else
        remove_at(flat, earlier);
    if (lost_end <= kept_end)
        return 0;
    return insert(flat, max,
                  &(struct flat_piece){.offset = kept_end,
                                       .n_bytes = lost_end - kept_end,
                                       .at = lost.at + (kept_end - lost.offset)});
}

/* F1. What was written later stands further behind in the file. */
static int disentangle(struct image_flat *flat, size_t *max, char *message)
{
    unsigned n = 0;

    qsort(flat->pieces, flat->n_pieces, sizeof flat->pieces[0], compare);
    for (size_t i = 1; i < flat->n_pieces;) {
        const struct flat_piece *before = &flat->pieces[i - 1], *piece = &flat->pieces[i];
        if (piece->offset - before->offset >= before->n_bytes) {
            i++;
            continue;
        }
        if (n++ == MAX_OVERLAPS)
            return image_refuse(-EINVAL, message,
                                "it is flattened, and more than %u pieces of it were written "
                                "twice: %s",
                                MAX_OVERLAPS, REMEDY);
        const bool is_later = piece->at > before->at;
        if (cut(flat, max, is_later ? i - 1 : i, is_later ? i : i - 1) != 0)
            return image_refuse(-ENOMEM, message, "out of memory");
    }
    return 0;
}

static int read_flattened(struct image_flat *flat, size_t *max, uint64_t n_bytes, char *message)
{
    int error = read_pieces(flat, max, n_bytes, message);

    if (error == 0 && flat->n_pieces == 0)
        error = image_refuse(-EINVAL, message, "it is flattened, and cut off at byte %llu",
                             (unsigned long long)n_bytes);
    if (error == 0)
        error = disentangle(flat, max, message);
    if (error != 0)
        return error;
    const struct flat_piece *last = &flat->pieces[flat->n_pieces - 1];
    flat->n_bytes = last->offset + last->n_bytes;
    return 0;
}

int image_flat_open(struct image_flat *flat, const unsigned char *bytes, uint64_t n_bytes,
                    bool may_be_flattened, char *message)
{
    size_t max = 0;

    *flat = (struct image_flat){.bytes = bytes, .n_bytes = n_bytes};
    flat->is_flattened = may_be_flattened && n_bytes >= MAGIC_BYTES &&
                         memcmp(bytes, MAGIC, MAGIC_BYTES) == 0;
    int error = flat->is_flattened ? read_flattened(flat, &max, n_bytes, message)
                                   : append(flat, &max, &(struct flat_piece){.n_bytes = n_bytes});
    if (error != 0)
        free(flat->pieces);
    return error == 0 || flat->is_flattened ? error : image_refuse(error, message, "out of memory");
}

void image_flat_close(struct image_flat *flat)
{
    free(flat->pieces);
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

bool image_flat_same(const struct image_flat *one, const struct image_flat *other, uint64_t offset,
                     uint64_t n)
{
    unsigned char bytes[2][4096];

    for (uint64_t done = 0; done < n;) {
        const uint64_t piece = n - done < sizeof bytes[0] ? n - done : sizeof bytes[0];
        if (!image_flat_copy(one, offset + done, piece, bytes[0]) ||
            !image_flat_copy(other, offset + done, piece, bytes[1]) ||
            memcmp(bytes[0], bytes[1], piece) != 0)
            return false;
        done += piece;
    }
    return true;
}
