/* SPDX-License-Identifier: Apache-2.0 */
/* ram_list: --ram LIST of the commands that replay traces: 64M,1G-4G or, of pages, 3p,5p-9p. */
#ifndef QUIRE_CLI_RAM_LIST_H
#define QUIRE_CLI_RAM_LIST_H

#include <argp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RAM_LIST_MOST 1024

struct ram_amount {
    uint64_t n; /* above 0 */
    bool in_pages;
};

struct ram_list {
    struct ram_amount amounts[RAM_LIST_MOST];
    size_t n;
};

/* Appends one item of a list, which it may change: an amount or a range. What is none ends the
 * program with a message. */
void ram_list_add(struct argp_state *state, struct ram_list *list, char *text);

static inline uint64_t ram_bytes(struct ram_amount amount, unsigned page_shift)
{
    return amount.in_pages ? amount.n << page_shift : amount.n;
}

#endif
