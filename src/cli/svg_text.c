/* SPDX-License-Identifier: Apache-2.0 */
/* svg_text: see svg_text.h. */
#include "cli/svg_text.h"

#include <stdint.h>

void svg_text_part(FILE *file, const char *text, size_t max)
{
    for (size_t i = 0; i < max && text[i] != '\0'; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '&')
            fputs("&amp;", file);
        else if (c == '<')
            fputs("&lt;", file);
        else if (c == '>')
            fputs("&gt;", file);
        else
            fputc(c < 0x20 || c >= 0x7f ? '?' : c, file);
    }
}

void svg_text(FILE *file, const char *text)
{
    svg_text_part(file, text, SIZE_MAX);
}
