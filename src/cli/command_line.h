/* SPDX-License-Identifier: Apache-2.0 */
/* command_line: what all commands have in common as argp reads their words and prints their help.
 */
#ifndef QUIRE_CLI_COMMAND_LINE_H
#define QUIRE_CLI_COMMAND_LINE_H

#include <argp.h>

#define COMMAND_LINE_MAX_CHILDREN 3

/*
 * argp_parse(3) of a command: -h is --help, too, lines of examples and tables in its help that
 * don't fit continue below their text, and what can't be understood ends the process with 125 and
 * a message. `parser` has no help filter, and at most COMMAND_LINE_MAX_CHILDREN children.
 */
void command_line_parse(const struct argp *parser, int argc, char **argv, unsigned flags,
                        void *input);

#endif
