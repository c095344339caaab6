/* SPDX-License-Identifier: Apache-2.0 */
/* report_words: what a run's figures mean, in sentences, and what to do about it. */
#ifndef QUIRE_CLI_REPORT_WORDS_H
#define QUIRE_CLI_REPORT_WORDS_H

#include "cli/html.h"
#include "cli/report_data.h"

/* A list of sentences; never empty. */
void words_put(struct html *html, const struct report *report);

/* The part of the run's time that was waited for pages, summed over threads. */
double words_wait_share(const struct report *report);

#endif
