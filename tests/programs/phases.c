/* SPDX-License-Identifier: Apache-2.0 */
/*
 * phases: SIZE_MIB of small objects, then of larger ones, each phase freed before the next; the
 * last has half of it, of which every third is incompressible: phases SIZE_MIB. Used by
 * cases/out_of_room.py.
 *
 * Ends with 0; 3: malloc said no, although so much had been freed; 1: wrong data.
 */
#include "helper.h"

#include <stdbool.h>

static const size_t sizes[] = {100, 3000, 500, 20000};
enum { N_PHASES = sizeof sizes / sizeof sizes[0] };

static void fill(unsigned char *object, size_t n_bytes, uint64_t number, bool is_noise)
{
    memset(object, (int)(number & 7), n_bytes);
    for (size_t i = 0; is_noise && i + 8 <= n_bytes; i += 8) {
        const uint64_t word = mix(number * 4096 + i);
        memcpy(object + i, &word, 8);
    }
}

/* 0, or 3. */
static int run_phase(size_t n_bytes, size_t size, bool has_noise)
{
    const size_t n = n_bytes / size;
    unsigned char **objects = calloc(n, sizeof *objects), *expected = malloc(size);

    EXPECT(objects && expected);
    for (size_t i = 0; i < n; i++) {
        objects[i] = malloc(size);
        if (!objects[i]) {
            printf("no more memory for objects of %zu bytes, behind %zu of %zu\n", size, i, n);
            return 3;
        }
        fill(objects[i], size, i, has_noise && i % 3 == 0);
    }
    for (size_t i = 0; i < n; i++) {
        fill(expected, size, i, has_noise && i % 3 == 0);
        if (memcmp(objects[i], expected, size) != 0)
            fail("object %zu of %zu bytes has changed", i, size);
        free(objects[i]);
    }
    free(objects);
    free(expected);
    return 0;
}

int main(int argc, char **argv)
{
    EXPECT(argc == 2);
    const size_t n_bytes = strtoul(argv[1], NULL, 10) << 20;
    for (int phase = 0; phase < N_PHASES; phase++) {
        const bool is_last = phase == N_PHASES - 1;
        int status = run_phase(is_last ? n_bytes / 2 : n_bytes, sizes[phase], is_last);
        if (status != 0)
            return status;
    }
    puts("OK");
    return 0;
}
