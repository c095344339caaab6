/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as the figures of a run: a refusal says why, and what is taken is drawn without reading
 * outside of it. The page has an end, no number that is none, and no markup of the file's: "<zz"
 * never comes out as it went in.
 */
#include "cli/report_page.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static bool has(const struct html *html, const char *text)
{
    return memmem(html->text, html->n_bytes, text, strlen(text)) != NULL;
}

static void draw(const struct report *report, bool may_say_nan)
{
    struct html html = {0};
    report_page(&html, report);
    if (html.failed || !has(&html, "</html>\n") || has(&html, "<zz") ||
        (!may_say_nan && (has(&html, "nan") || has(&html, "inf "))))
        abort();
    html_free(&html);
}

/* The texts of the file may say "nan" themselves, or may as soon as they are decoded. */
static bool may_say_nan(const uint8_t *data, size_t n_bytes)
{
    return memmem(data, n_bytes, "nan", 3) != NULL || memmem(data, n_bytes, "inf", 3) != NULL ||
           memchr(data, '\\', n_bytes) != NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    struct report report;
    char message[512] = "";
    json_error_t error;
    json_t *root = json_loadb((const char *)data, n_bytes, JSON_REJECT_DUPLICATES, &error);
    if (root == NULL)
        return 0;
    int result = report_read(&report, root, message);
    if (result == 0) {
        draw(&report, may_say_nan(data, n_bytes));
        report_free(&report);
    } else if (result != -EINVAL || message[0] == '\0') {
        abort();
    }
    return 0;
}
