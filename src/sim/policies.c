/* SPDX-License-Identifier: Apache-2.0 */
/* policies: their list. See quire/sim.h. */
#include "sim/rules.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct quire_sim_policy *const policies[] = {
    &sim_opt,     &sim_lru,           &sim_fifo,
    &sim_clock,   &sim_second_chance, &sim_enhanced_clock,
    &sim_nru,     &sim_lfu,           &sim_aging,
    &sim_2q,      &sim_lru_k,         &sim_arc,
    &sim_lirs,    &sim_clock_pro,     &sim_s3_fifo,
    &sim_sieve,   &sim_mglru,         &sim_segmented_fifo,
    &sim_wsclock, &sim_working_set,   &sim_pff,
};
#define N_POLICIES (sizeof policies / sizeof policies[0])

const struct quire_sim_policy *quire_sim_policies(unsigned i)
{
    if (i < N_POLICIES)
        return policies[i];
    for (unsigned k = 0; sim_pager[k].name != NULL; k++)
        if (i == N_POLICIES + k)
            return &sim_pager[k];
    return NULL;
}

/* "pager:NAME" has a colon of its own. */
static size_t name_length(const char *text)
{
    static const char pager[] = "pager:";
    size_t skipped = strncmp(text, pager, sizeof pager - 1) == 0 ? sizeof pager - 1 : 0;
    return skipped + strcspn(text + skipped, ":");
}

/* What else they are called. */
static const struct {
    const char *alias, *name;
    uint64_t argument;
} aliases[] = {{"belady", "opt", 0},  {"min", "opt", 0},        {"nfu", "aging", 0},
               {"lru-2", "lru-k", 2}, {"working-set", "ws", 0}, {"page-fault-frequency", "pff", 0}};

/* The same letters and digits: case and hyphens do not matter, S3FIFO is s3-fifo. */
static bool is_name(const char *text, size_t n, const char *name)
{
    const char *end = text + n;
    for (;; text++, name++) {
        while (text < end && (*text == '-' || *text == '_'))
            text++;
        name += *name == '-';
        if (text == end || *name == '\0')
            return text == end && *name == '\0';
        if (*name != (*text >= 'A' && *text <= 'Z' ? *text | 32 : *text))
            return false;
    }
}

static const struct quire_sim_policy *find(const char *text, size_t n, uint64_t *argument)
{
    for (unsigned i = 0; quire_sim_policies(i) != NULL; i++)
        if (is_name(text, n, quire_sim_policies(i)->name))
            return quire_sim_policies(i);
    for (size_t i = 0; i < sizeof aliases / sizeof aliases[0]; i++)
        if (is_name(text, n, aliases[i].alias)) {
            const struct quire_sim_policy *policy = find(aliases[i].name, strlen(aliases[i].name),
                                                         argument);
            *argument = aliases[i].argument;
            return policy;
        }
    return NULL;
}

int quire_sim_find_policy(const char *text, const struct quire_sim_policy **policy,
                          uint64_t *argument)
{
    const size_t n = name_length(text);
    *argument = 0;
    *policy = find(text, n, argument);
    if (*policy == NULL)
        return -ENOENT;
    if (text[n] == '\0')
        return 0;
    char *end;
    errno = 0;
    *argument = strtoull(text + n + 1, &end, 10);
    if (!(*policy)->has_argument || text[n + 1] < '0' || text[n + 1] > '9' || *end != '\0' ||
        errno != 0 || *argument == 0)
        return -EINVAL;
    return 0;
}
