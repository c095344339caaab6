/* SPDX-License-Identifier: Apache-2.0 */
/* uses: see uses.h. Two passes: count, then fill. */
#include "tensor/uses.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int uses_init(struct uses *uses, const struct program *program)
{
    *uses = (struct uses){0};
    uint32_t *last = malloc(((size_t)program->n_values + 1) * sizeof *last), n = 0;
    uses->first = calloc((size_t)program->n_values + 2, sizeof *uses->first);
    for (unsigned pass = 0; last != NULL && uses->first != NULL && pass < 2; pass++) {
        memset(last, 0xff, program->n_values * sizeof *last);
        for (uint32_t s = 0; s < program->n_steps; s++) {
            const struct program_step *step = &program->steps[s];
            for (uint32_t i = 0; i < step->n_in; i++) {
                uint32_t value = program->links[step->first + i];
                if (value == GRAPH_NONE || last[value] == s)
                    continue;
                last[value] = s;
                if (pass == 0)
                    uses->first[value + 1]++;
                else
                    uses->steps[uses->first[value]++] = s;
            }
        }
        if (pass == 0) {
            for (uint32_t v = 0; v < program->n_values; v++) {
                n += uses->first[v + 1];
                uses->first[v + 1] = n;
            }
            uses->steps = malloc(((size_t)n + 1) * sizeof *uses->steps);
            if (uses->steps == NULL)
                break;
        }
    }
    free(last);
    if (uses->steps == NULL) {
        uses_free(uses);
        return -ENOMEM;
    }
    for (uint32_t v = program->n_values; v > 0; v--) /* filling has moved them by one */
        uses->first[v] = uses->first[v - 1];
    uses->first[0] = 0;
    return 0;
}

void uses_free(struct uses *uses)
{
    free(uses->steps);
    free(uses->first);
    *uses = (struct uses){0};
}
