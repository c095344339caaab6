/* SPDX-License-Identifier: Apache-2.0 */
/* explain: how the figures of `quire free` follow from the fields of /proc/meminfo. */
#ifndef QUIRE_CLI_EXPLAIN_H
#define QUIRE_CLI_EXPLAIN_H

#include <quire/observe.h>

#include <jansson.h>
#include <stdbool.h>

bool explain_print(const struct quire_observe_memory *memory);

/* An array of {"figure", "bytes", "terms": [{"field", "bytes", "sign"}], "text"}; NULL: no memory.
 */
json_t *explain_json(const struct quire_observe_memory *memory);

#endif
