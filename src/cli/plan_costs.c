/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan_costs: see plan_costs.h.
 *
 *     names of operators and of their first outputs, sorted <--- each line's operator
 */
#include "cli/plan_costs.h"

#include "cli/cli.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct named {
    const char *name;
    uint32_t operator_;
};

struct costs {
    const char *path;
    double *of; /* each operator */
    uint32_t n;
    struct named *names;
    size_t n_names;
};

static int by_name(const void *a, const void *b)
{
    const struct named *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order != 0 ? order : x->operator_ < y->operator_ ? -1 : x->operator_ > y->operator_;
}

static void add_name(struct costs *costs, const char *name, uint32_t operator_)
{
    if (name[0] != '\0')
        costs->names[costs->n_names++] = (struct named){name, operator_};
}

/* The estimates, and whom names stand for. */
static bool begin(struct costs *costs, const struct quire_model *model)
{
    struct quire_model_facts facts;
    quire_model_facts(model, &facts);
    costs->n = facts.n_operators;
    costs->of = calloc((size_t)costs->n + 1, sizeof *costs->of);
    costs->names = calloc(2 * (size_t)costs->n + 1, sizeof *costs->names);
    if (costs->of == NULL || costs->names == NULL)
        return false;
    for (uint32_t i = 0; i < costs->n; i++) {
        struct quire_model_operator operator_;
        struct quire_model_tensor made;
        quire_model_operator(model, i, &operator_);
        costs->of[i] = operator_.cost;
        add_name(costs, operator_.name, i);
        if (operator_.n_outputs > 0 && operator_.outputs[0] != QUIRE_MODEL_NONE) {
            quire_model_tensor(model, operator_.outputs[0], &made);
            add_name(costs, made.name, i);
        }
    }
    qsort(costs->names, costs->n_names, sizeof *costs->names, by_name);
    return true;
}

/* QUIRE_MODEL_NONE: there is no such operator. */
static uint32_t find(const struct costs *costs, const char *name)
{
    size_t low = 0, high = costs->n_names;
    char *end;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(costs->names[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < costs->n_names && strcmp(costs->names[low].name, name) == 0)
        return costs->names[low].operator_;
    unsigned long number = strtoul(name, &end, 10);
    return name[0] >= '0' && name[0] <= '9' && *end == '\0' && number < costs->n ? (uint32_t)number
                                                                                 : QUIRE_MODEL_NONE;
}

/* The last comma parts the two: names may have some. */
static bool take_line(struct costs *costs, char *line, size_t number)
{
    char *comma = strrchr(line, ','), *end;
    line[strcspn(line, "\r\n")] = '\0';
    if (line[0] == '\0')
        return true;
    if (number == 1 && strcmp(line, "operator,cost") == 0)
        return true;
    if (number == 1 || comma == NULL) {
        cli_error("%s: line %zu: '%.60s' is not `operator,cost'%s", costs->path, number, line,
                  number == 1 ? ", which the first line has to be" : "");
        return false;
    }
    *comma = '\0';
    double cost = strtod(comma + 1, &end);
    if (end == comma + 1 || *end != '\0' || !isfinite(cost) || cost < 0) {
        cli_error("%s: line %zu: '%.60s' is no number of operations", costs->path, number,
                  comma + 1);
        return false;
    }
    uint32_t operator_ = find(costs, line);
    if (operator_ == QUIRE_MODEL_NONE) {
        cli_error(
            "%s: line %zu: the model has no operator '%.60s': give its name, the name of what "
            "it makes, or its number from 0 to %u",
            costs->path, number, line, costs->n > 0 ? costs->n - 1 : 0);
        return false;
    }
    costs->of[operator_] = cost;
    return true;
}

double *plan_costs_read(const char *path, const struct quire_model *model)
{
    struct costs costs = {.path = path};
    FILE *file = fopen(path, "re");
    char *line = NULL;
    size_t room = 0, number = 0;
    bool is_good = file != NULL;
    if (!is_good)
        cli_error("cannot read the costs from %s: %s", path, strerror(errno));
    if (is_good && !begin(&costs, model)) {
        cli_error("cannot read the costs: out of memory");
        is_good = false;
    }
    while (is_good && getline(&line, &room, file) >= 0)
        is_good = take_line(&costs, line, ++number);
    if (is_good && ferror(file)) {
        cli_error("cannot read the costs from %s: %s", path, strerror(EIO));
        is_good = false;
    }
    if (file != NULL)
        fclose(file);
    free(line);
    free(costs.names);
    if (!is_good) {
        free(costs.of);
        return NULL;
    }
    return costs.of;
}
