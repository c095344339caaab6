/* SPDX-License-Identifier: Apache-2.0 */
/* plan_picture: where buffers lie over time, as SVG. */
#ifndef QUIRE_CLI_PLAN_PICTURE_H
#define QUIRE_CLI_PLAN_PICTURE_H

#include <quire/tensor.h>

/*
 * One panel a space: offset against time, each buffer with its name where there is room and with
 * all that is known of it as a hover title, and the lower-bound profile. `capacity` is that of the
 * only space; 0: none. Returns 0, *text (to be freed by free()) and its length; -ENOMEM.
 */
int plan_picture(const struct quire_tensor_problem *problem, const uint64_t *offsets,
                 const uint32_t *spaces, uint64_t capacity, const char *title, char **text,
                 size_t *n_bytes);

#endif
