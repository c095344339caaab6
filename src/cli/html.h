/* SPDX-License-Identifier: Apache-2.0 */
/* html: a page that grows in memory. What fails is remembered, and asked for once at the end. */
#ifndef QUIRE_CLI_HTML_H
#define QUIRE_CLI_HTML_H

#include <stdbool.h>
#include <stddef.h>

struct html {
    char *text; /* not terminated */
    size_t n_bytes, room;
    bool failed; /* no memory: the text is incomplete */
};

/* Markup of our own, as it is. */
void html_raw(struct html *html, const char *markup);
/* The same, as printf has it. What comes from outside goes through html_text() instead. */
void html_format(struct html *html, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * Text from outside, which is UTF-8, into an element or a quoted attribute: what means something to
 * HTML is escaped, and control characters, those that change the direction of writing included,
 * become U+FFFD.
 */
void html_text(struct html *html, const char *text);

void html_free(struct html *html);

#endif
