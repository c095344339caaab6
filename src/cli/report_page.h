/* SPDX-License-Identifier: Apache-2.0 */
/* report_page: a run's figures as one self-contained HTML page. */
#ifndef QUIRE_CLI_REPORT_PAGE_H
#define QUIRE_CLI_REPORT_PAGE_H

#include "cli/html.h"
#include "cli/report_data.h"

extern const char report_style[]; /* CSS */

/* Where memory runs out html->failed says so. */
void report_page(struct html *html, const struct report *report);

#endif
