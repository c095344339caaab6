/* SPDX-License-Identifier: Apache-2.0 */
/* lines: see lines.h. */
#include "cli/lines.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define LEAST_WIDTH 40 /* a narrower terminal folds by itself */

unsigned lines_width(FILE *to)
{
    struct winsize size;
    const int fd = fileno(to);

    return isatty(fd) && ioctl(fd, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

void lines_put(FILE *to, const char *line, unsigned width, unsigned indent)
{
    size_t n_left = strlen(line), column = 0;

    while (width >= LEAST_WIDTH && n_left > width - column) {
        size_t n = width - column;
        while (n > 0 && line[n] != ' ')
            n--;
        if (n + column <= indent) /* one long word */
            break;
        fprintf(to, "%.*s\n%*s", (int)n, line, (int)indent, "");
        line += n + 1;
        n_left -= n + 1;
        column = indent;
    }
    fprintf(to, "%s\n", line);
}

void lines_fold(FILE *to, unsigned indent, void (*print)(const void *context, FILE *to),
                const void *context)
{
    const unsigned width = lines_width(to);
    char *text = NULL;
    size_t n_bytes;
    FILE *memory = width > 0 ? open_memstream(&text, &n_bytes) : NULL;

    if (memory == NULL) { /* as it is, then */
        print(context, to);
        return;
    }
    print(context, memory);
    if (fclose(memory) == 0)
        for (char *rest = text, *line; (line = strsep(&rest, "\n")) != NULL && rest != NULL;)
            lines_put(to, line, width, indent);
    free(text);
}
