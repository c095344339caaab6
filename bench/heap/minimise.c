/* SPDX-License-Identifier: Apache-2.0 */
/*
 * minimise: two-level logic minimisation, as in espresso.
 *
 * A Boolean function is a cover: a growing array of cubes, each a bit set of its own with two bits
 * a variable (may be 0, may be 1). The complement is taken by recursion over cofactors (Shannon),
 * the cubes are then expanded against it and the redundant ones left out (R. K. Brayton et al.,
 * "Logic Minimization Algorithms for VLSI Synthesis", 1984). malloc sees cubes of 16 to 40 bytes,
 * arrays of 64 bytes to some KiB that grow by realloc, and lifetimes as deep as the recursion.
 *
 *    minimise FUNCTIONS
 */
#include "work.h"

typedef uint64_t word;
#define PER_WORD 32 /* variables */

struct cover {
    word **cubes;
    size_t n, room;
};

static size_t n_variables, n_words;

static word *cube_copy(const word *cube)
{
    word *copy = allocate(n_words * sizeof(word));
    return memcpy(copy, cube, n_words * sizeof(word));
}

static struct cover *cover_new(void)
{
    struct cover *cover = allocate(sizeof(*cover));
    *cover = (struct cover){NULL, 0, 0};
    return cover;
}

static void cover_add(struct cover *cover, word *cube)
{
    if (cover->n == cover->room) {
        cover->room = cover->room == 0 ? 8 : cover->room * 2;
        cover->cubes = realloc(cover->cubes, cover->room * sizeof(word *));
        if (cover->cubes == NULL)
            exit(1);
    }
    cover->cubes[cover->n++] = cube;
}

static void cover_free(struct cover *cover)
{
    for (size_t i = 0; i < cover->n; i++)
        free(cover->cubes[i]);
    free(cover->cubes);
    free(cover);
}

static unsigned get(const word *cube, size_t variable)
{
    return cube[variable / PER_WORD] >> 2 * (variable % PER_WORD) & 3;
}

static void put(word *cube, size_t variable, word value)
{
    unsigned shift = 2 * (variable % PER_WORD);
    cube[variable / PER_WORD] = (cube[variable / PER_WORD] & ~((word)3 << shift)) | value << shift;
}

static int intersects(const word *a, const word *b)
{
    const word odd = 0x5555555555555555u;
    for (size_t i = 0; i < n_words; i++) {
        word both = a[i] & b[i];
        if (((both | both >> 1) & odd) != odd)
            return 0;
    }
    return 1;
}

static int contains(const word *a, const word *b)
{
    for (size_t i = 0; i < n_words; i++)
        if ((a[i] & b[i]) != b[i])
            return 0;
    return 1;
}

static int is_universe(const word *cube)
{
    for (size_t i = 0; i < n_words; i++)
        if (cube[i] != ~(word)0)
            return 0;
    return 1;
}

/* The variable that most cubes depend on; n_variables: none does. */
static size_t busiest(const struct cover *cover)
{
    size_t best = n_variables, most = 0;
    for (size_t v = 0; v < n_variables; v++) {
        size_t n = 0;
        for (size_t i = 0; i < cover->n; i++)
            n += get(cover->cubes[i], v) != 3;
        if (n > most) {
            most = n;
            best = v;
        }
    }
    return best;
}

/* The cubes that meet variable = value, with it free. */
static struct cover *cofactor(const struct cover *cover, size_t variable, unsigned value)
{
    struct cover *result = cover_new();
    for (size_t i = 0; i < cover->n; i++) {
        if ((get(cover->cubes[i], variable) & value) == 0)
            continue;
        word *cube = cube_copy(cover->cubes[i]);
        put(cube, variable, 3);
        cover_add(result, cube);
    }
    return result;
}

static word *universe(void)
{
    word *cube = allocate(n_words * sizeof(word));
    memset(cube, 0xff, n_words * sizeof(word));
    return cube;
}

static struct cover *complement(const struct cover *cover)
{
    struct cover *result = cover_new();
    if (cover->n == 0) {
        cover_add(result, universe());
        return result;
    }
    for (size_t i = 0; i < cover->n; i++)
        if (is_universe(cover->cubes[i]))
            return result;
    size_t variable = busiest(cover);
    for (unsigned value = 1; value <= 2; value++) {
        struct cover *part = cofactor(cover, variable, value);
        struct cover *inverse = complement(part);
        for (size_t i = 0; i < inverse->n; i++) {
            word *cube = cube_copy(inverse->cubes[i]);
            put(cube, variable, value);
            cover_add(result, cube);
        }
        cover_free(inverse);
        cover_free(part);
    }
    return result;
}

/* Frees each variable of each cube that the OFF-set allows. */
static struct cover *expanded(const struct cover *on, const struct cover *off)
{
    struct cover *result = cover_new();
    for (size_t i = 0; i < on->n; i++) {
        word *cube = cube_copy(on->cubes[i]);
        for (size_t v = 0; v < n_variables; v++) {
            word *wider = cube_copy(cube);
            put(wider, v, 3);
            size_t k = 0;
            while (k < off->n && !intersects(wider, off->cubes[k]))
                k++;
            if (k == off->n) {
                word *narrow = cube;
                cube = wider;
                wider = narrow;
            }
            free(wider);
        }
        cover_add(result, cube);
    }
    return result;
}

/* Leaves out the cubes that lie inside another one. */
static struct cover *irredundant(const struct cover *cover)
{
    struct cover *result = cover_new();
    for (size_t i = 0; i < cover->n; i++) {
        size_t k = 0;
        while (k < cover->n && (k == i || !contains(cover->cubes[k], cover->cubes[i]) ||
                                (k > i && contains(cover->cubes[i], cover->cubes[k]))))
            k++;
        if (k == cover->n)
            cover_add(result, cube_copy(cover->cubes[i]));
    }
    return result;
}

static struct cover *random_function(uint64_t *state)
{
    struct cover *cover = cover_new();
    size_t n = 10 + random_below(state, 20);
    for (size_t i = 0; i < n; i++) {
        word *cube = universe();
        for (size_t v = 0; v < n_variables; v++)
            if (random_below(state, 3) == 0)
                put(cube, v, 1 + random_below(state, 2));
        cover_add(cover, cube);
    }
    return cover;
}

int main(int argc, char **argv)
{
    size_t n_functions = argument(argc, argv, 1, 100);
    uint64_t state = 7, sum = 0;

    for (size_t i = 0; i < n_functions; i++) {
        n_variables = 9 + i % 6;
        n_words = 1 + i % 5; /* as wide as other functions' cubes are */
        struct cover *on = random_function(&state);
        struct cover *off = complement(on);
        struct cover *wide = expanded(on, off);
        struct cover *least = irredundant(wide);
        for (size_t k = 0; k < least->n; k++)
            for (size_t w = 0; w < n_words; w++)
                sum = mix(sum, least->cubes[k][w]);
        cover_free(on);
        cover_free(off);
        cover_free(wide);
        cover_free(least);
    }
    report("minimise", sum);
    return 0;
}
