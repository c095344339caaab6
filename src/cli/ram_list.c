/* SPDX-License-Identifier: Apache-2.0 */
/* ram_list: see ram_list.h. */
#include "cli/ram_list.h"

#include "base/size.h"

#include <quire/sim.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct ram_amount parse(struct argp_state *state, const char *text)
{
    const size_t n = strlen(text);
    struct ram_amount amount = {.in_pages = n > 1 && text[n - 1] == 'p'};
    char *end;
    int error = 0;
    errno = 0;
    if (amount.in_pages) {
        amount.n = strtoull(text, &end, 10);
        error = text[0] < '0' || text[0] > '9' || end != text + n - 1 || errno != 0 ? -EINVAL : 0;
    } else {
        error = size_parse(text, 0, &amount.n);
    }
    if (error != 0 || amount.n == 0)
        argp_error(state, "--ram: '%s' is no amount above 0, such as 512M, 64K or, of pages, 3p",
                   text);
    if (amount.in_pages && amount.n > QUIRE_SIM_MAX_PAGES)
        argp_error(state, "--ram: '%s' is more than %u pages", text, QUIRE_SIM_MAX_PAGES);
    return amount;
}

static void add(struct argp_state *state, struct ram_list *list, struct ram_amount amount)
{
    if (list->n == RAM_LIST_MOST)
        argp_error(state, "--ram: more than %d amounts", RAM_LIST_MOST);
    list->amounts[list->n++] = amount;
}

void ram_list_add(struct argp_state *state, struct ram_list *list, char *text)
{
    char *dash = strchr(text, '-');
    if (dash == NULL || dash == text) {
        add(state, list, parse(state, text));
        return;
    }
    *dash = '\0';
    struct ram_amount from = parse(state, text), to = parse(state, dash + 1);
    if (from.in_pages != to.in_pages || from.n > to.n)
        argp_error(state,
                   "--ram: from '%s' to '%s' is no range: the first is the smaller, and both "
                   "are pages or both are sizes",
                   text, dash + 1);
    while (from.n < to.n) {
        add(state, list, from);
        from.n = from.in_pages ? from.n + 1 : 2 * from.n;
    }
    add(state, list, to);
}
