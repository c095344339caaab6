/* SPDX-License-Identifier: Apache-2.0 */
/* plan_model: the buffers of a neural network for `quire plan`, and what is told of it. */
#ifndef QUIRE_CLI_PLAN_MODEL_H
#define QUIRE_CLI_PLAN_MODEL_H

#include "cli/plan_weights.h"

#include <argp.h>
#include <jansson.h>
#include <quire/model.h>
#include <stdbool.h>

#define PLAN_MODEL_MAX_SHAPES 64u

struct plan_model_options {
    struct quire_model_shape shapes[PLAN_MODEL_MAX_SHAPES];
    struct quire_model_options model;
    struct quire_model_wishes wishes;
    struct plan_weights_options weights;
    const char *profile_path; /* NULL: no picture of it */
    const char *costs_path;   /* NULL: estimates */
    double time_limit;        /* seconds, for the techniques and what comes after them; 0: none */
    bool tells_curve, has_subgraph;
};

struct plan_model {
    struct quire_model *model; /* NULL: there is none */
    struct quire_model_schedule schedule;
    double *costs;       /* of each operator; NULL: estimates */
    uint64_t plain_peak; /* live bytes at most with no technique */
    double seconds;      /* that the techniques took */
};

/* Whether a placement meets what --recompute or --offload ask for. */
enum plan_budget {
    PLAN_BUDGET_NONE, /* nothing was asked for */
    PLAN_BUDGET_MET,
    PLAN_BUDGET_NOT_MET,
    PLAN_BUDGET_IMPOSSIBLE /* it is proved that nothing meets it */
};

/* Parses --shape and the like into a struct plan_model_options. */
extern const struct argp plan_model_argp;

/* Whether the file is a model by its name or its first bytes. */
bool plan_model_is(const char *path);
/* False: a message was printed, and there is nothing to free. */
bool plan_model_read(const char *path, const struct plan_model_options *options,
                     struct plan_model *model);
void plan_model_free(struct plan_model *model);

enum plan_budget plan_model_budget(const struct plan_model *model,
                                   const struct plan_model_options *options, uint64_t peak);

void plan_model_print(const struct plan_model *model);
/* A line on the budget, if there is one. */
void plan_model_print_budget(const struct plan_model *model,
                             const struct plan_model_options *options, uint64_t peak);
/* `peak`: of the placement. NULL: no memory. */
json_t *plan_model_json(const struct plan_model *model, const struct plan_model_options *options,
                        uint64_t peak);

/* Whether something is asked for that only a model has. */
bool plan_model_is_wanted(const struct plan_model_options *options);
/* Whether something else than a plan is asked for: --curve, --weights. */
bool plan_model_tells(const struct plan_model_options *options);
/* Prints that. Returns the exit status. */
int plan_model_tell(const struct plan_model_options *options, const struct plan_model *model,
                    bool as_json);

#endif
