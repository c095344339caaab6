/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan_weights: see plan_weights.h.
 *
 *     all         a line for each scheme
 *     a scheme    its line, and one for each tensor: bytes, coded bytes, errors
 *     a size      the same with a scheme for each tensor
 */
#include "cli/plan_weights.h"

#include "base/size.h"
#include "cli/cli.h"
#include "cli/json_file.h"
#include "cli/json_text.h"
#include "cli/table.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LONGEST_NAME 60
#define EXIT_MET 0
#define EXIT_NOT_MET 1
#define MAX_PLAUSIBLE ((uint64_t)1 << 62)

/* The command line */

/* What stands behind "i4:" or "sparse:". */
static double parse_number(struct argp_state *state, const char *text, const char *what, double low,
                           double high)
{
    char *end;
    double number = strtod(text, &end);
    if (text[0] < '.' || text[0] > '9' || *end != '\0' || !(number >= low && number <= high))
        argp_error(state, "--weights: '%s' is no %s from %g to %g", text, what, low, high);
    return number;
}

static bool parse_scheme(const char *text, size_t n, enum quire_weights_scheme *scheme)
{
    for (unsigned s = QUIRE_WEIGHTS_F16; s < QUIRE_WEIGHTS_N_SCHEMES; s++) {
        const char *name = quire_weights_scheme_name(s);
        if (strlen(name) == n && strncmp(text, name, n) == 0) {
            *scheme = s;
            return true;
        }
    }
    return false;
}

void plan_weights_parse(struct argp_state *state, struct plan_weights_options *options,
                        const char *text)
{
    const char *colon = strchr(text, ':');
    size_t n = colon == NULL ? strlen(text) : (size_t)(colon - text);
    if (strcmp(text, "all") == 0) {
        options->wish = PLAN_WEIGHTS_ALL;
    } else if (parse_scheme(text, n, &options->scheme)) {
        options->wish = PLAN_WEIGHTS_ONE;
        if (colon != NULL && options->scheme == QUIRE_WEIGHTS_I4)
            options->options.group = (uint32_t)parse_number(state, colon + 1, "group of weights", 2,
                                                            65536);
        else if (colon != NULL && options->scheme == QUIRE_WEIGHTS_SPARSE)
            options->options.sparsity = parse_number(state, colon + 1, "share of zeros", 0.01,
                                                     0.99);
        else if (colon != NULL)
            argp_error(state, "--weights: '%.*s' takes no number", (int)n, text);
    } else if (size_parse(text, 0, &options->max_bytes) == 0 && options->max_bytes > 0 &&
               options->max_bytes < MAX_PLAUSIBLE) {
        options->wish = PLAN_WEIGHTS_SIZE;
    } else {
        argp_error(
            state,
            "--weights: '%s' is neither f16, i8, u8, i4[:GROUP], sparse[:SHARE] or all, nor a "
            "size such as 3M to fit in",
            text);
    }
}

/* Text */

static double sqnr(double noise)
{
    return noise > 0 ? -10 * log10(noise) : INFINITY;
}

static void add_bytes(struct table *table, double n_bytes)
{
    char text[32];
    table_add(table, size_format((uint64_t)llround(n_bytes), text, sizeof text));
}

/* With one decimal, or with three digits; infinity is a dash. */
static void add_decimal(struct table *table, double number)
{
    char text[32];
    snprintf(text, sizeof text, "%.1f", number);
    table_add(table, isinf(number) ? "-" : text);
}

static void add_digits(struct table *table, double number)
{
    char text[32];
    snprintf(text, sizeof text, "%.3g", number);
    table_add(table, text);
}

static void add_total(struct table *table, const char *name,
                      const struct quire_weights_total *total, uint64_t n_before)
{
    char text[32];
    table_add(table, name);
    add_bytes(table, (double)total->n_bytes);
    add_decimal(table, n_before > 0 ? 100 * (double)total->n_bytes / (double)n_before : 100);
    add_bytes(table, (double)total->coded_bytes);
    add_bytes(table, total->entropy_bytes);
    snprintf(text, sizeof text, "%u", total->n_tensors);
    table_add(table, text);
    add_decimal(table, sqnr(total->noise));
}

static bool print_totals(const struct quire_weights *weights,
                         const struct plan_weights_options *options,
                         const struct quire_weights_choice *choice)
{
    static const char *const head[] = {"weights", "memory",  "%",      "with zstd",
                                       "order 0", "tensors", "SQNR dB"};
    struct table table = {.n_columns = 7, .left = 1};
    uint64_t n_before = weights->totals[QUIRE_WEIGHTS_KEEP].n_bytes;
    for (unsigned i = 0; i < 7; i++)
        table_add(&table, head[i]);
    for (unsigned s = 0; s < QUIRE_WEIGHTS_N_SCHEMES; s++) {
        if (s == QUIRE_WEIGHTS_KEEP || options->wish == PLAN_WEIGHTS_ALL ||
            (options->wish == PLAN_WEIGHTS_ONE && s == options->scheme))
            add_total(&table,
                      s == QUIRE_WEIGHTS_KEEP ? "as they are" : quire_weights_scheme_name(s),
                      &weights->totals[s], n_before);
    }
    if (options->wish == PLAN_WEIGHTS_SIZE)
        add_total(&table, "mixed", &choice->total, n_before);
    bool is_good = table_print(&table, 0);
    table_free(&table);
    return is_good;
}

static void add_shape(struct table *table, const struct quire_model_tensor *tensor)
{
    char text[200];
    size_t n = 0;
    for (uint32_t d = 0; d < tensor->rank && n < sizeof text - 24; d++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%" PRId64, d > 0 ? "x" : "",
                              tensor->dims[d]);
    table_add(table, n > 0 ? text : "-");
}

/* The scheme that a tensor has, and the cost. */
static const struct quire_weights_cost *cost_of(const struct plan_weights_options *options,
                                                const struct quire_weights_tensor *tensor,
                                                enum quire_weights_scheme *scheme)
{
    *scheme = options->wish == PLAN_WEIGHTS_SIZE ? tensor->chosen : options->scheme;
    if (!tensor->costs[*scheme].applies)
        *scheme = QUIRE_WEIGHTS_KEEP;
    return &tensor->costs[*scheme];
}

/* Converters make names out of all that was fused: the beginning says enough. */
static void add_name(struct table *table, const char *name)
{
    char text[LONGEST_NAME + 3];
    snprintf(text, sizeof text, "%.*s%s", LONGEST_NAME, name,
             strlen(name) > LONGEST_NAME ? ".." : "");
    table_add(table, text);
}

static bool print_tensors(const struct quire_weights *weights,
                          const struct plan_weights_options *options,
                          const struct quire_model *model)
{
    static const char *const head[] = {"tensor",    "shape",   "was",  "in",        "memory",
                                       "with zstd", "order 0", "RMSE", "max error", "SQNR dB"};
    struct table table = {.n_columns = 10, .left = 3};
    for (unsigned i = 0; i < 10; i++)
        table_add(&table, head[i]);
    for (size_t i = 0; i < weights->n_tensors; i++) {
        const struct quire_weights_tensor *one = &weights->tensors[i];
        enum quire_weights_scheme scheme;
        const struct quire_weights_cost *cost = cost_of(options, one, &scheme);
        struct quire_model_tensor tensor;
        if (scheme == QUIRE_WEIGHTS_KEEP)
            continue;
        quire_model_tensor(model, one->tensor, &tensor);
        add_name(&table, tensor.name);
        add_shape(&table, &tensor);
        table_add(&table, quire_model_type_name(tensor.type));
        table_add(&table, quire_weights_scheme_name(scheme));
        add_bytes(&table, (double)cost->n_bytes);
        add_bytes(&table, (double)cost->coded_bytes);
        add_bytes(&table, cost->entropy_bytes);
        add_digits(&table, cost->rmse);
        add_digits(&table, cost->max_error);
        add_decimal(&table, sqnr(cost->noise));
    }
    bool is_good = table_print(&table, 0);
    table_free(&table);
    return is_good;
}

static bool print_text(const struct quire_weights *weights,
                       const struct plan_weights_options *options,
                       const struct quire_weights_choice *choice, const struct quire_model *model)
{
    bool is_good = print_totals(weights, options, choice);
    if (options->wish == PLAN_WEIGHTS_SIZE && choice->is_proved)
        printf("no other choice of schemes within this size has a better sum of errors\n");
    else if (options->wish == PLAN_WEIGHTS_SIZE)
        printf("no choice within this size has more than %.1f dB\n", sqnr(choice->least_noise));
    if (options->wish != PLAN_WEIGHTS_ALL) {
        putchar('\n');
        is_good = print_tensors(weights, options, model) && is_good;
    }
    return is_good;
}

/* JSON */

static json_t *build_cost(const struct quire_weights_cost *cost)
{
    return json_pack("{s:I, s:I, s:f, s:f, s:f, s:f, s:I}", "bytes", (json_int_t)cost->n_bytes,
                     "coded_bytes", (json_int_t)cost->coded_bytes, "entropy_bytes",
                     cost->entropy_bytes, "rmse", cost->rmse, "max_error", cost->max_error, "noise",
                     cost->noise, "clipped", (json_int_t)cost->n_clipped);
}

static json_t *build_total(const struct quire_weights_total *total)
{
    return json_pack("{s:I, s:I, s:f, s:f, s:i}", "bytes", (json_int_t)total->n_bytes,
                     "coded_bytes", (json_int_t)total->coded_bytes, "entropy_bytes",
                     total->entropy_bytes, "noise", total->noise, "tensors", (int)total->n_tensors);
}

static json_t *build_tensor(const struct quire_weights_tensor *one,
                            const struct plan_weights_options *options,
                            const struct quire_model *model)
{
    struct quire_model_tensor tensor;
    enum quire_weights_scheme scheme;
    json_t *costs = json_object();
    quire_model_tensor(model, one->tensor, &tensor);
    for (unsigned s = 0; s < QUIRE_WEIGHTS_N_SCHEMES; s++) {
        if (one->costs[s].applies)
            json_object_set_new(costs, quire_weights_scheme_name(s), build_cost(&one->costs[s]));
    }
    cost_of(options, one, &scheme);
    return json_pack("{s:o, s:s, s:I, s:I, s:s, s:o}", "name", json_text(tensor.name), "type",
                     quire_model_type_name(tensor.type), "weights", (json_int_t)one->n_weights,
                     "channels", (json_int_t)one->n_channels, "scheme",
                     quire_weights_scheme_name(scheme), "schemes", costs);
}

static bool print_json(const struct quire_weights *weights,
                       const struct plan_weights_options *options,
                       const struct quire_weights_choice *choice, const struct quire_model *model)
{
    json_t *totals = json_object(), *list = json_array();
    for (unsigned s = 0; s < QUIRE_WEIGHTS_N_SCHEMES; s++)
        json_object_set_new(totals, quire_weights_scheme_name(s), build_total(&weights->totals[s]));
    for (size_t i = 0; i < weights->n_tensors; i++)
        json_array_append_new(list, build_tensor(&weights->tensors[i], options, model));
    json_t *json = json_pack("{s:s, s:s, s:o, s:o}", "schema", "quire.weights/1", "version",
                             QUIRE_VERSION, "totals", totals, "tensors", list);
    if (json != NULL && options->wish == PLAN_WEIGHTS_SIZE)
        json_object_set_new(
            json, "mixed",
            json_pack("{s:I, s:o, s:f, s:I, s:b}", "max_bytes", (json_int_t)options->max_bytes,
                      "total", build_total(&choice->total), "least_noise", choice->least_noise,
                      "least_bytes", (json_int_t)choice->least_bytes, "proved",
                      (int)choice->is_proved));
    return json_print(json);
}

int plan_weights_tell(const struct plan_weights_options *options, const struct quire_model *model,
                      bool as_json)
{
    struct quire_weights weights;
    struct quire_weights_choice choice = {0};
    char text[2][24];
    int error = quire_weights_measure(model, &options->options, &weights);
    if (error != 0) {
        cli_error("cannot measure the weights: %s", strerror(-error));
        return CLI_EXIT_FAILED;
    }
    if (options->wish == PLAN_WEIGHTS_SIZE)
        error = quire_weights_choose(&weights, options->max_bytes, 0, &choice);
    if (error == -ENOMEM) {
        cli_error("cannot choose among the schemes: %s", strerror(-error));
        quire_weights_free(&weights);
        return CLI_EXIT_FAILED;
    }
    bool is_good = as_json ? print_json(&weights, options, &choice, model)
                           : print_text(&weights, options, &choice, model);
    if (error == -ENOSPC)
        cli_error("the weights do not fit in %s: the least they take is %s, shown above",
                  size_format(options->max_bytes, text[0], sizeof text[0]),
                  size_format(choice.least_bytes, text[1], sizeof text[1]));
    quire_weights_free(&weights);
    return !is_good ? CLI_EXIT_FAILED : error == -ENOSPC ? EXIT_NOT_MET : EXIT_MET;
}
