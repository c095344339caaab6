/* SPDX-License-Identifier: Apache-2.0 */
/* options: the command line of `quire run`, read and turned into numbers. */
#ifndef QUIRE_CLI_OPTIONS_H
#define QUIRE_CLI_OPTIONS_H

#include "store/store.h"

#include <stdbool.h>
#include <stdint.h>

struct run_options {
    uint64_t budget_bytes;      /* of `auto`: what it may grow to */
    uint32_t max_stall_ppm;     /* of the time; 0: the budget is fixed */
    const char *swap_directory; /* NULL: no swap file */
    uint64_t swap_max_bytes;    /* 0: no swap file */
    enum store_codec codec;
    bool codec_adapts;      /* or LZ4, as it pays */
    uint32_t policy;        /* enum policy_kind */
    uint32_t prefetch;      /* enum prefetch_kind */
    const char *stats_path; /* NULL: none */
    bool quiet;
    bool no_publish; /* its figures are shown to nobody while it runs */
    bool no_paging;  /* the heap alone */
    bool harden;     /* guards and quarantine */
    char **command;  /* COMMAND and its arguments, terminated by NULL */

    /* as they stand on the command line; NULL: not given */
    const char *ram_text, *max_stall_text, *swap_text, *swap_max_text, *codec_text, *policy_text,
        *prefetch_text;
};

/*
 * Reads the command line. Ends the process for --help, and with 125 and a message for what can't be
 * understood.
 */
void run_options_parse(int argc, char **argv, struct run_options *options);

/* Works out the budget and the swap file's place and size. False with a message: it can't be. */
bool run_options_settle(struct run_options *options);

#define OPTIONS_DEFAULT_RAM "50%"
#define OPTIONS_DEFAULT_MAX_STALL "2%"
/* The swap directory that is used unless the command line names one. */
const char *run_options_default_swap(void);

#endif
