/* SPDX-License-Identifier: Apache-2.0 */
/* plan_profile: what lives at each moment of a model's run, before and after each technique. */
#ifndef QUIRE_CLI_PLAN_PROFILE_H
#define QUIRE_CLI_PLAN_PROFILE_H

#include <quire/model.h>

/*
 * SVG with a line for the model as it is, and one more for each technique of `wishes`, on top of
 * those before it. Returns 0, *text (to be freed by free()) and its length; -ENOMEM.
 */
int plan_profile(const struct quire_model *model, const struct quire_model_wishes *wishes,
                 const char *title, char **text, size_t *n_bytes);

#endif
