/* SPDX-License-Identifier: Apache-2.0 */
/*
 * command_line: argp, as all commands want it.
 *
 * argp wraps what follows the options to the left margin. There stand tables and examples, whose
 * lines are indented, so a line of theirs that is too long is broken here before argp sees it:
 *
 *       1    the process can't be reached, or the run can't do with so little; a message
 *            says which
 *
 * It continues where the text of its last column began; of a line without columns, a bit further
 * in.
 */
#include "cli/command_line.h"

#include "cli/cli.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WIDTH 78 /* argp breaks a line that is longer */
#define FURTHER_IN 2

/* Where the lines that continue this one begin. */
static size_t hanging_indent(const char *line, size_t n)
{
    size_t first = strspn(line, " ");
    size_t text = first + FURTHER_IN;

    for (size_t i = first; i + 2 < n && i < WIDTH / 2; i++) {
        if (line[i] == ' ' && line[i + 1] == ' ' && line[i + 2] != ' ')
            text = i + 2;
    }
    return text;
}

/* The length of the part of text[0..n) that goes onto a line of `room`, broken at a space. */
static size_t fitting(const char *text, size_t n, size_t room)
{
    if (n <= room)
        return n;
    for (size_t i = room; i > 0; i--) {
        if (text[i] == ' ')
            return i;
    }
    const char *space = memchr(text, ' ', n);
    return space == NULL ? n : (size_t)(space - text);
}

static void print_wrapped(FILE *to, const char *line, size_t n)
{
    size_t indent = hanging_indent(line, n);
    size_t done = indent + fitting(line + indent, n - indent, WIDTH - indent);

    fwrite(line, 1, done, to);
    while (done < n) {
        done += strspn(line + done, " ");
        size_t part = fitting(line + done, n - done, WIDTH - indent);
        fprintf(to, "\n%*s%.*s", (int)indent, "", (int)part, line + done);
        done += part;
    }
}

/* The text with its indented lines broken; NULL where there is no memory. */
static char *wrap(const char *text)
{
    char *wrapped = NULL;
    size_t size, n;
    FILE *to = open_memstream(&wrapped, &size);

    if (to == NULL)
        return NULL;
    for (const char *line = text; *line != '\0'; line += n) {
        n = strcspn(line, "\n");
        if (line[0] == ' ' && n > WIDTH)
            print_wrapped(to, line, n);
        else
            fwrite(line, 1, n, to);
        if (line[n] == '\n') {
            fputc('\n', to);
            n++;
        }
    }
    if (fclose(to) == 0)
        return wrapped;
    free(wrapped);
    return NULL;
}

/* argp frees what this returns, unless it is `text`. */
static char *filter_help(int key, const char *text, void *input)
{
    char *wrapped = key == ARGP_KEY_HELP_POST_DOC && text != NULL ? wrap(text) : NULL;

    (void)input;
    return wrapped != NULL ? wrapped : (char *)(uintptr_t)text;
}

static error_t parse_help(int key, char *argument, struct argp_state *state)
{
    (void)argument;
    if (key != 'h')
        return ARGP_ERR_UNKNOWN;
    argp_state_help(state, stdout, ARGP_HELP_STD_HELP);
    return 0;
}

void command_line_parse(const struct argp *parser, int argc, char **argv, unsigned flags,
                        void *input)
{
    static const struct argp_option hidden[] = {{NULL, 'h', NULL, OPTION_HIDDEN, NULL, 0}, {0}};
    static const struct argp help = {.options = hidden, .parser = parse_help};
    struct argp_child children[COMMAND_LINE_MAX_CHILDREN + 2] = {0};
    struct argp whole = *parser;
    size_t n = 0;

    for (; parser->children != NULL && parser->children[n].argp != NULL; n++) {
        assert(n < COMMAND_LINE_MAX_CHILDREN);
        children[n] = parser->children[n]; /* in their order, by which child_inputs counts */
    }
    children[n].argp = &help;
    whole.children = children;
    whole.help_filter = filter_help;
    argp_err_exit_status = CLI_EXIT_FAILED;
    if (argp_parse(&whole, argc, argv, flags, NULL, input) != 0) {
        cli_error("cannot read the command line");
        exit(CLI_EXIT_FAILED);
    }
}
