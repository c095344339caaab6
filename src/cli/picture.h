/* SPDX-License-Identifier: Apache-2.0 */
/* picture: draws by way of libquire-picture.so, which is loaded when the first picture is wanted.
 */
#ifndef QUIRE_CLI_PICTURE_H
#define QUIRE_CLI_PICTURE_H

#include "cli/maps_picture.h"
#include "cli/replay.h"
#include "cli/translation_picture.h"

/* As memory_map_write(). False with a message: it could not be done. */
bool picture_memory_map(const char *path, const char *title, const struct replay_policy *policies,
                        const struct replay_result *results, unsigned n);

/* As maps_picture_write(), likewise. */
bool picture_maps(const char *path, const char *title, const struct maps_area *areas, size_t n);

/* As translation_picture_write(), likewise. */
bool picture_translation(const char *path, const char *title, struct translation_band *bands,
                         size_t n);

#endif
