/* SPDX-License-Identifier: Apache-2.0 */
/* image_list: see image_list.h. */
#include "cli/image_list.h"

void image_list_add(struct argp_state *state, struct image_list *list, const char *name)
{
    if (list->n == IMAGES_MAX)
        argp_error(state, "more than %d images", IMAGES_MAX);
    list->names[list->n++] = name;
}
