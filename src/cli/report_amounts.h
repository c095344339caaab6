/* SPDX-License-Identifier: Apache-2.0 */
/* report_amounts: an amount as text, within the expression that it stands in. */
#ifndef QUIRE_CLI_REPORT_AMOUNTS_H
#define QUIRE_CLI_REPORT_AMOUNTS_H

#include "cli/report_chart.h"

/* The texts last until the end of the block. */
struct amount {
    char text[CHART_TEXT_BYTES];
};
#define BYTES(n) chart_amount(CHART_BYTES, (double)(n), (struct amount){""}.text)
#define SHARE(part) chart_amount(CHART_SHARE, (part), (struct amount){""}.text)
#define TIME(seconds) chart_duration((seconds), (struct amount){""}.text)
#define COUNT(n) chart_count((double)(n), (struct amount){""}.text)

#endif
