/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/html.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool make_room(struct html *html, size_t n_bytes)
{
    if (html->failed)
        return false;
    if (html->room - html->n_bytes >= n_bytes)
        return true;
    size_t room = (html->room + n_bytes) * 2;
    char *larger = realloc(html->text, room);
    if (larger == NULL) {
        html->failed = true;
        return false;
    }
    html->text = larger;
    html->room = room;
    return true;
}

static void append(struct html *html, const char *bytes, size_t n_bytes)
{
    if (!make_room(html, n_bytes))
        return;
    memcpy(html->text + html->n_bytes, bytes, n_bytes);
    html->n_bytes += n_bytes;
}

void html_raw(struct html *html, const char *markup)
{
    append(html, markup, strlen(markup));
}

void html_format(struct html *html, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    int n_bytes = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (n_bytes < 0) {
        html->failed = true;
        return;
    }
    if (!make_room(html, (size_t)n_bytes + 1))
        return;
    va_start(arguments, format);
    vsnprintf(html->text + html->n_bytes, (size_t)n_bytes + 1, format, arguments);
    va_end(arguments);
    html->n_bytes += (size_t)n_bytes;
}

/* The length of a character that is not to be shown as it is; 0: it may be. */
static size_t control_character(const char *at)
{
    unsigned char first = (unsigned char)at[0];

    if ((first < 0x20 && first != '\t' && first != '\n') || first == 0x7f)
        return 1;
    if (first == 0xc2 && (unsigned char)at[1] < 0xa0) /* U+0080 to U+009F */
        return 2;
    if (first == 0xe2 && (unsigned char)at[1] == 0x80) { /* U+200E to U+202E */
        unsigned char last = (unsigned char)at[2];
        return last == 0x8e || last == 0x8f || (last >= 0xaa && last <= 0xae) ? 3 : 0;
    }
    if (first == 0xe2 && (unsigned char)at[1] == 0x81) { /* U+2066 to U+2069 */
        unsigned char last = (unsigned char)at[2];
        return last >= 0xa6 && last <= 0xa9 ? 3 : 0;
    }
    return 0;
}

static const char *escape_of(char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return NULL;
    }
}

void html_text(struct html *html, const char *text)
{
    while (*text != '\0') {
        const char *escape = escape_of(*text);
        size_t n_control = control_character(text);
        if (n_control > 0)
            html_raw(html, "\xef\xbf\xbd");
        else if (escape != NULL)
            html_raw(html, escape);
        else
            append(html, text, 1);
        text += n_control > 0 ? n_control : 1;
    }
}

void html_free(struct html *html)
{
    free(html->text);
    *html = (struct html){0};
}
