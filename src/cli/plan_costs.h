/* SPDX-License-Identifier: Apache-2.0 */
/* plan_costs: what a model's operators cost, where the user knows it better than an estimate. */
#ifndef QUIRE_CLI_PLAN_COSTS_H
#define QUIRE_CLI_PLAN_COSTS_H

#include <quire/model.h>

/*
 * Reads lines `operator,cost` behind a first line that says so: the operator by its name, the name
 * of what it makes first, or its number in the order of the model, from 0; arithmetic operations.
 * Operators that are not listed keep their estimate. An array for all operators, to be freed;
 * NULL: a message was printed.
 */
double *plan_costs_read(const char *path, const struct quire_model *model);

#endif
