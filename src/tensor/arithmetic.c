/* SPDX-License-Identifier: Apache-2.0 */
/* arithmetic: see arithmetic.h. Integers are 64 bits and wrap. */
#include "tensor/arithmetic.h"

#include "base/checked.h"

#include <math.h>
#include <string.h>

static const struct {
    const char *type;
    enum arithmetic arithmetic;
} arithmetics[] = {
    {"Add", ARITHMETIC_ADD},         {"Sub", ARITHMETIC_SUB},
    {"Mul", ARITHMETIC_MUL},         {"Div", ARITHMETIC_DIV},
    {"Mod", ARITHMETIC_MOD},         {"Min", ARITHMETIC_MIN},
    {"Max", ARITHMETIC_MAX},         {"Pow", ARITHMETIC_POW},
    {"Equal", ARITHMETIC_EQUAL},     {"Less", ARITHMETIC_LESS},
    {"Greater", ARITHMETIC_GREATER}, {"LessOrEqual", ARITHMETIC_LESS_OR_EQUAL},
    {"And", ARITHMETIC_AND},         {"Or", ARITHMETIC_OR},
    {"Abs", ARITHMETIC_ABS},         {"GreaterOrEqual", ARITHMETIC_GREATER_OR_EQUAL},
    {"Neg", ARITHMETIC_NEG},         {"Not", ARITHMETIC_NOT},
    {"Floor", ARITHMETIC_FLOOR},     {"Ceil", ARITHMETIC_CEIL},
    {"Round", ARITHMETIC_ROUND},     {"Sqrt", ARITHMETIC_SQRT},
    {"Sign", ARITHMETIC_SIGN},
};

/* False: not known. */
static bool compute_integer(enum arithmetic what, int64_t a, int64_t b, int64_t *to)
{
    switch (what) {
    case ARITHMETIC_ADD:
        return checked_add(a, b, to);
    case ARITHMETIC_SUB:
        return !__builtin_sub_overflow(a, b, to);
    case ARITHMETIC_MUL:
        return checked_mul(a, b, to);
    case ARITHMETIC_DIV:
        if (b == 0 || (a == INT64_MIN && b == -1))
            return false;
        *to = a / b;
        return true;
    case ARITHMETIC_MOD:
        if (b == 0 || b == -1)
            return false;
        *to = a % b + (a % b != 0 && (a < 0) != (b < 0) ? b : 0);
        return true;
    case ARITHMETIC_MIN:
        *to = a < b ? a : b;
        return true;
    case ARITHMETIC_MAX:
        *to = a > b ? a : b;
        return true;
    case ARITHMETIC_ABS:
        *to = a < 0 ? (int64_t)(0 - (uint64_t)a) : a;
        return true;
    case ARITHMETIC_NEG:
        *to = (int64_t)(0 - (uint64_t)a);
        return true;
    case ARITHMETIC_NOT:
        *to = !a;
        return true;
    case ARITHMETIC_SIGN:
        *to = (a > 0) - (a < 0);
        return true;
    case ARITHMETIC_AND:
        *to = a && b;
        return true;
    case ARITHMETIC_OR:
        *to = a || b;
        return true;
    default:
        return false;
    }
}

static bool compute_real(enum arithmetic what, double a, double b, double *to)
{
    switch (what) {
    case ARITHMETIC_ADD:
        *to = a + b;
        return true;
    case ARITHMETIC_SUB:
        *to = a - b;
        return true;
    case ARITHMETIC_MUL:
        *to = a * b;
        return true;
    case ARITHMETIC_DIV:
        *to = a / b;
        return b != 0;
    case ARITHMETIC_MIN:
        *to = fmin(a, b);
        return true;
    case ARITHMETIC_MAX:
        *to = fmax(a, b);
        return true;
    case ARITHMETIC_POW:
        *to = pow(a, b);
        return true;
    case ARITHMETIC_ABS:
        *to = fabs(a);
        return true;
    case ARITHMETIC_NEG:
        *to = -a;
        return true;
    case ARITHMETIC_FLOOR:
        *to = floor(a);
        return true;
    case ARITHMETIC_CEIL:
        *to = ceil(a);
        return true;
    case ARITHMETIC_ROUND:
        *to = nearbyint(a);
        return true;
    case ARITHMETIC_SQRT:
        *to = sqrt(a);
        return a >= 0;
    default:
        return false;
    }
}

static int compare(enum arithmetic what, int order)
{
    switch (what) {
    case ARITHMETIC_EQUAL:
        return order == 0;
    case ARITHMETIC_LESS:
        return order < 0;
    case ARITHMETIC_GREATER:
        return order > 0;
    case ARITHMETIC_LESS_OR_EQUAL:
        return order <= 0;
    default:
        return order >= 0;
    }
}

double arithmetic_real(const struct graph_values *values, uint32_t i)
{
    return values->is_real ? values->reals[i] : (double)values->integers[i];
}

bool arithmetic_of(const char *type, enum arithmetic *what)
{
    for (size_t i = 0; i < sizeof arithmetics / sizeof arithmetics[0]; i++) {
        if (strcmp(type, arithmetics[i].type) == 0) {
            *what = arithmetics[i].arithmetic;
            return true;
        }
    }
    return false;
}

bool arithmetic_is_unary(enum arithmetic what)
{
    return what >= ARITHMETIC_ABS;
}

bool arithmetic_is_comparison(enum arithmetic what)
{
    return what >= ARITHMETIC_EQUAL && what <= ARITHMETIC_GREATER_OR_EQUAL;
}

bool arithmetic_compute(enum arithmetic what, const struct graph_values *a, uint32_t i,
                        const struct graph_values *b, uint32_t k, struct graph_values *to,
                        uint32_t at)
{
    bool is_comparison = arithmetic_is_comparison(what);
    if (is_comparison && a->is_real) {
        double x = a->reals[i], y = arithmetic_real(b, k);
        to->integers[at] = compare(what, (x > y) - (x < y));
        return true;
    }
    if (is_comparison) {
        int64_t x = a->integers[i], y = b->integers[k];
        to->integers[at] = compare(what, (x > y) - (x < y));
        return true;
    }
    if (to->is_real)
        return compute_real(what, arithmetic_real(a, i), b == NULL ? 0 : arithmetic_real(b, k),
                            &to->reals[at]);
    return compute_integer(what, a->integers[i], b == NULL ? 0 : b->integers[k], &to->integers[at]);
}
