/* SPDX-License-Identifier: Apache-2.0 */
/* layout_network: `quire layout --network`. */
#ifndef QUIRE_CLI_LAYOUT_NETWORK_H
#define QUIRE_CLI_LAYOUT_NETWORK_H

#include <quire/model.h>
#include <stdbool.h>

/* Prints the answer. False: a message was printed. */
bool layout_network(const char *path, const struct quire_model_options *options, bool as_json);

#endif
