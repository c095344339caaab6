/* SPDX-License-Identifier: Apache-2.0 */
/* plan_weights: `quire plan MODEL --weights`: what the weights take in fewer bits. */
#ifndef QUIRE_CLI_PLAN_WEIGHTS_H
#define QUIRE_CLI_PLAN_WEIGHTS_H

#include <argp.h>
#include <quire/weights.h>
#include <stdbool.h>

enum plan_weights_wish { PLAN_WEIGHTS_NONE, PLAN_WEIGHTS_ALL, PLAN_WEIGHTS_ONE, PLAN_WEIGHTS_SIZE };

struct plan_weights_options {
    enum plan_weights_wish wish;
    enum quire_weights_scheme scheme; /* of PLAN_WEIGHTS_ONE */
    uint64_t max_bytes;               /* of PLAN_WEIGHTS_SIZE */
    struct quire_weights_options options;
};

/* The argument of --weights. */
void plan_weights_parse(struct argp_state *state, struct plan_weights_options *options,
                        const char *text);

/* Measures and prints. Returns the exit status of `quire plan`: 1 if the size can't be met. */
int plan_weights_tell(const struct plan_weights_options *options, const struct quire_model *model,
                      bool as_json);

#endif
