/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fraction: the continued fraction of a big number's square root, as in cfrac.
 *
 * The first half of the continued-fraction method of factoring (M. A. Morrison, J. Brillhart,
 * "A Method of Factoring and the Factorization of F7", 1975): convergents A(n) modulo N and the
 * small residues Q(n), which are tried for small prime factors. Numbers are immutable: each
 * operation allocates its result, and most results live for one operation. So malloc sees millions
 * of objects of 16 to 100 bytes, nearly all freed at once, in one thread.
 *
 *    fraction STEPS
 */
#include "work.h"

/* Little-endian base 2^32; no leading zero limbs, and 0 has none. */
struct number {
    uint32_t n_limbs;
    uint32_t limbs[];
};

static struct number *number_new(size_t n_limbs)
{
    struct number *number = allocate(sizeof(*number) + n_limbs * sizeof(uint32_t));
    number->n_limbs = (uint32_t)n_limbs;
    return number;
}

static struct number *trimmed(struct number *number)
{
    while (number->n_limbs > 0 && number->limbs[number->n_limbs - 1] == 0)
        number->n_limbs--;
    return number;
}

static struct number *from_word(uint32_t word)
{
    struct number *number = number_new(1);
    number->limbs[0] = word;
    return trimmed(number);
}

static int compare(const struct number *a, const struct number *b)
{
    if (a->n_limbs != b->n_limbs)
        return a->n_limbs < b->n_limbs ? -1 : 1;
    for (size_t i = a->n_limbs; i-- > 0;)
        if (a->limbs[i] != b->limbs[i])
            return a->limbs[i] < b->limbs[i] ? -1 : 1;
    return 0;
}

static uint32_t limb(const struct number *a, size_t i)
{
    return i < a->n_limbs ? a->limbs[i] : 0;
}

static struct number *add(const struct number *a, const struct number *b)
{
    size_t n = (a->n_limbs > b->n_limbs ? a->n_limbs : b->n_limbs) + 1;
    struct number *sum = number_new(n);
    uint64_t carry = 0;
    for (size_t i = 0; i < n; i++, carry >>= 32)
        sum->limbs[i] = (uint32_t)(carry += (uint64_t)limb(a, i) + limb(b, i));
    return trimmed(sum);
}

static struct number *subtract(const struct number *a, const struct number *b) /* a >= b */
{
    struct number *difference = number_new(a->n_limbs);
    int64_t borrow = 0;
    for (size_t i = 0; i < a->n_limbs; i++, borrow >>= 32)
        difference->limbs[i] = (uint32_t)(borrow += (int64_t)a->limbs[i] - limb(b, i));
    return trimmed(difference);
}

static struct number *multiply(const struct number *a, const struct number *b)
{
    struct number *product = number_new(a->n_limbs + b->n_limbs);
    memset(product->limbs, 0, product->n_limbs * sizeof(uint32_t));
    for (size_t i = 0; i < a->n_limbs; i++) {
        uint64_t carry = 0;
        for (size_t j = 0; j < b->n_limbs; j++, carry >>= 32)
            product->limbs[i + j] = (uint32_t)(carry += (uint64_t)a->limbs[i] * b->limbs[j] +
                                                        product->limbs[i + j]);
        product->limbs[i + b->n_limbs] = (uint32_t)carry;
    }
    return trimmed(product);
}

static struct number *shifted(const struct number *a, unsigned n_bits)
{
    size_t whole = n_bits / 32, part = n_bits % 32;
    struct number *result = number_new(a->n_limbs + whole + 1);
    memset(result->limbs, 0, result->n_limbs * sizeof(uint32_t));
    for (size_t i = 0; i < a->n_limbs; i++) {
        uint64_t wide = (uint64_t)a->limbs[i] << part;
        result->limbs[i + whole] |= (uint32_t)wide;
        result->limbs[i + whole + 1] = (uint32_t)(wide >> 32);
    }
    return trimmed(result);
}

static unsigned n_bits_of(const struct number *a)
{
    if (a->n_limbs == 0)
        return 0;
    return 32 * a->n_limbs - (unsigned)__builtin_clz(a->limbs[a->n_limbs - 1]);
}

static void replace(struct number **place, struct number *by)
{
    free(*place);
    *place = by;
}

/* Shift and subtract; the quotients of a continued fraction are short. *rest gets a mod b. */
static struct number *divide(const struct number *a, const struct number *b, struct number **rest)
{
    struct number *quotient = from_word(0), *left = shifted(a, 0);
    while (compare(left, b) >= 0) {
        unsigned by = n_bits_of(left) - n_bits_of(b);
        struct number *part = shifted(b, by);
        if (compare(part, left) > 0)
            replace(&part, shifted(b, --by));
        replace(&left, subtract(left, part));
        free(part);
        struct number *one = from_word(1), *bit = shifted(one, by);
        replace(&quotient, add(quotient, bit));
        free(one);
        free(bit);
    }
    *rest = left;
    return quotient;
}

static uint32_t modulo_word(const struct number *a, uint32_t word)
{
    uint64_t rest = 0;
    for (size_t i = a->n_limbs; i-- > 0;)
        rest = (rest << 32 | a->limbs[i]) % word;
    return (uint32_t)rest;
}

static struct number *divided_by_word(const struct number *a, uint32_t word)
{
    struct number *quotient = number_new(a->n_limbs);
    uint64_t rest = 0;
    for (size_t i = a->n_limbs; i-- > 0;) {
        rest = rest << 32 | a->limbs[i];
        quotient->limbs[i] = (uint32_t)(rest / word);
        rest %= word;
    }
    return trimmed(quotient);
}

static struct number *square_root(const struct number *n) /* Newton, from above */
{
    struct number *one = from_word(1), *rest;
    struct number *root = shifted(one, n_bits_of(n) / 2 + 1);
    for (;;) {
        struct number *quotient = divide(n, root, &rest), *sum = add(root, quotient);
        struct number *next = divided_by_word(sum, 2);
        free(rest);
        free(quotient);
        free(sum);
        if (compare(next, root) >= 0) {
            free(next);
            free(one);
            return root;
        }
        replace(&root, next);
    }
}

static uint64_t digest(uint64_t sum, const struct number *a)
{
    for (size_t i = 0; i < a->n_limbs; i++)
        sum = mix(sum, a->limbs[i]);
    return sum;
}

static const uint16_t primes[] = {2,  3,  5,  7,  11, 13, 17, 19, 23, 29, 31, 37,
                                  41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89};

/* What is left of the residue without its small factors. */
static struct number *cofactor(const struct number *residue, uint64_t *n_factors)
{
    struct number *left = shifted(residue, 0);
    for (size_t i = 0; i < sizeof(primes) / sizeof(primes[0]); i++)
        while (left->n_limbs > 0 && modulo_word(left, primes[i]) == 0) {
            replace(&left, divided_by_word(left, primes[i]));
            (*n_factors)++;
        }
    return left;
}

/* P(n+1) = a Q(n) - P(n); Q(n+1) = (N - P(n+1)^2) / Q(n); A(n+1) = a A(n) + A(n-1) mod N. */
static uint64_t expand(const struct number *n, size_t n_steps)
{
    struct number *root = square_root(n), *rest, *a = shifted(root, 0);
    struct number *p = from_word(0), *q = from_word(1);
    struct number *before = from_word(1), *convergent = shifted(root, 0);
    uint64_t sum = 0, n_factors = 0;

    for (size_t i = 0; i < n_steps; i++) {
        struct number *product = multiply(a, q), *p_next = subtract(product, p);
        struct number *square = multiply(p_next, p_next), *difference = subtract(n, square);
        struct number *q_next = divide(difference, q, &rest);
        struct number *top = add(root, p_next);
        free(rest);
        replace(&p, p_next);
        replace(&q, q_next);
        replace(&a, divide(top, q, &rest));
        free(rest);
        replace(&product, multiply(a, convergent));
        replace(&square, add(product, before));
        free(divide(square, n, &rest));
        free(before);
        before = convergent;
        convergent = rest;
        struct number *left = cofactor(q, &n_factors);
        sum = digest(digest(sum, left), convergent);
        free(left);
        free(product);
        free(square);
        free(difference);
        free(top);
    }
    struct number *all[] = {root, a, p, q, before, convergent};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        free(all[i]);
    return mix(sum, n_factors);
}

int main(int argc, char **argv)
{
    struct number *n = number_new(5); /* 140 bits, odd, no square */
    const uint32_t limbs[] = {0x9c3f1d47, 0x5b8e02a9, 0x71c6d3ef, 0x2fa4b865, 0x00000c93};
    memcpy(n->limbs, limbs, sizeof(limbs));
    report("fraction", expand(n, argument(argc, argv, 1, 60000)));
    free(n);
    return 0;
}
