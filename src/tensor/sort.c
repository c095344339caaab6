/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sort: stable sorting of keys.
 *
 *   a few    insertion
 *   some     runs of a few, merged
 *   many     digits from the lowest to the highest (radix); bits that all keys share cost nothing
 *
 * Nothing can fail.
 */
#include "tensor/sort.h"

#include <string.h>

#define RUN 12u
#define MANY 2048u
#define DIGIT 11u /* bits: their counters stay in the first cache */
#define N_DIGITS (1u << DIGIT)

static void insertion(struct tensor_key *keys, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        struct tensor_key key = keys[i];
        size_t j = i;
        for (; j > 0 && keys[j - 1].key > key.key; j--)
            keys[j] = keys[j - 1];
        keys[j] = key;
    }
}

static void merge(const struct tensor_key *from, struct tensor_key *to, size_t middle, size_t n)
{
    size_t a = 0, b = middle, k = 0;
    while (a < middle && b < n)
        to[k++] = from[b].key < from[a].key ? from[b++] : from[a++];
    memcpy(to + k, from + a, (middle - a) * sizeof *to);
    memcpy(to + k + (middle - a), from + b, (n - b) * sizeof *to);
}

static void merge_runs(struct tensor_key *keys, struct tensor_key *scratch, size_t n)
{
    struct tensor_key *from = keys, *to = scratch;
    for (size_t i = 0; i < n; i += RUN)
        insertion(keys + i, n - i < RUN ? n - i : RUN);
    for (size_t length = RUN; length < n; length *= 2) {
        for (size_t i = 0; i < n; i += 2 * length) {
            size_t both = n - i < 2 * length ? n - i : 2 * length;
            merge(from + i, to + i, both < length ? both : length, both);
        }
        struct tensor_key *other = from;
        from = to;
        to = other;
    }
    if (from != keys)
        memcpy(keys, from, n * sizeof *keys);
}

static void radix(struct tensor_key *keys, struct tensor_key *scratch, size_t n)
{
    struct tensor_key *from = keys, *to = scratch;
    uint64_t differ = 0;
    for (size_t i = 1; i < n; i++)
        differ |= keys[i].key ^ keys[0].key;
    for (unsigned shift = 0; shift < 64; shift += DIGIT) {
        size_t place[N_DIGITS + 1] = {0};
        while (shift < 64 && (differ >> shift & 1) == 0) /* a digit begins where keys differ */
            shift++;
        if (shift >= 64)
            break;
        for (size_t i = 0; i < n; i++)
            place[(from[i].key >> shift & (N_DIGITS - 1)) + 1]++;
        for (unsigned i = 1; i <= N_DIGITS; i++)
            place[i] += place[i - 1];
        for (size_t i = 0; i < n; i++)
            to[place[from[i].key >> shift & (N_DIGITS - 1)]++] = from[i];
        struct tensor_key *other = from;
        from = to;
        to = other;
    }
    if (from != keys)
        memcpy(keys, from, n * sizeof *keys);
}

void tensor_sort(struct tensor_key *keys, struct tensor_key *scratch, size_t n)
{
    if (n <= 2 * RUN)
        insertion(keys, n);
    else if (n < MANY)
        merge_runs(keys, scratch, n);
    else
        radix(keys, scratch, n);
}
