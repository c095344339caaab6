/* SPDX-License-Identifier: Apache-2.0 */
/*
 * report: `quire report`. A run's figures (`quire run --stats`) as one page to read.
 *
 *     FILE.json --report_load--> report --report_page--> page --out_file--> FILE.html
 *     a run    --report_of_run--'  1                              125
 *
 * The page is made as a whole before anything is written, and takes the place of an old one in one
 * step.
 */
#include "cli/cli.h"
#include "cli/command_line.h"
#include "cli/out_file.h"
#include "cli/report_page.h"
#include "cli/report_run.h"
#include "cli/target.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define EXIT_UNREADABLE 1

enum { KEY_PID = 256 };

struct arguments {
    const char *figures_path, *page_path;
    int pid; /* of a run that goes on, in place of figures_path; 0: none */
};

static const struct argp_option option_list[] = {
    {"pid", KEY_PID, "PID", 0, "The run that process PID is in, as far as it is now, and no FILE",
     0},
    {"output", 'o', "FILE", 0, "Write the page to FILE; - is standard output", 0},
    {0},
};

static const char documentation[] =
    "Make one page of the figures that `quire run --stats FILE' wrote: where the memory was over "
    "time, faults, waiting, compression, and what that means. The page needs no network and no "
    "other file. FILE - is standard input. With --pid the run goes on, and the page shows its last "
    "minutes."
    "\v"
    "Examples:\n"
    "  quire run --ram 512M --stats run.json -- python3 job.py\n"
    "  quire report run.json -o run.html\n"
    "  quire report --pid $(pidof job) -o now.html\n"
    "\n"
    "Exit status:\n"
    "  0    the page was written\n"
    "  1    the figures can't be read, or are not of `quire run --stats'; no run "
    "has PID\n"
    "  125  the command line can't be understood, or the page can't be written";

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct arguments *arguments = state->input;

    switch (key) {
    case 'o':
        arguments->page_path = argument;
        return 0;
    case KEY_PID:
        arguments->pid = target_parse_pid(argument);
        if (arguments->pid == 0)
            argp_error(state, "--pid %s: that is no process id", argument);
        return 0;
    case ARGP_KEY_ARG:
        if (arguments->figures_path != NULL)
            argp_error(state, "'%s': one FILE at a time", argument);
        arguments->figures_path = argument;
        return 0;
    case ARGP_KEY_END:
        if (arguments->figures_path != NULL && arguments->pid != 0)
            argp_error(state, "FILE and --pid: leave out one of both");
        if (arguments->figures_path == NULL && arguments->pid == 0)
            argp_error(state, "which figures? name the file that `quire run --stats' wrote, or a "
                              "run that goes on by --pid PID");
        if (arguments->page_path == NULL)
            argp_error(state, "where to? -o FILE.html names the page, -o - is standard output");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* The figures are worth more than a page of them. */
static bool would_replace_figures(const struct arguments *arguments)
{
    struct stat figures, page;

    if (arguments->pid != 0 || strcmp(arguments->figures_path, "-") == 0 ||
        strcmp(arguments->page_path, "-") == 0 || stat(arguments->figures_path, &figures) != 0 ||
        stat(arguments->page_path, &page) != 0 || !S_ISREG(page.st_mode) ||
        figures.st_dev != page.st_dev || figures.st_ino != page.st_ino)
        return false;
    cli_error("%s would take the place of the figures themselves\nname another file by -o FILE",
              arguments->page_path);
    return true;
}

static int load_run(struct report *report, int pid)
{
    char message[REPORT_MESSAGE_BYTES] = "";
    int error = report_of_run(report, pid, message);

    if (error != 0)
        cli_error("%s", message[0] != '\0' ? message : strerror(-error));
    return error;
}

static int load(struct report *report, const char *path)
{
    const char *name = strcmp(path, "-") == 0 ? "standard input" : path;
    char message[REPORT_MESSAGE_BYTES] = "";
    int error = report_load(report, path, message);

    if (error == -EINVAL && message[0] != '\0')
        cli_error("%s: %s", name, message);
    else if (error != 0)
        cli_error("cannot read %s: %s", name, strerror(-error));
    return error;
}

static int write_page(const struct html *html, const char *path)
{
    if (html->failed) {
        cli_error("cannot make the page: %s", strerror(ENOMEM));
        return CLI_EXIT_FAILED;
    }
    if (strcmp(path, "-") == 0) { /* main tells what fails */
        fwrite(html->text, 1, html->n_bytes, stdout);
        return EXIT_SUCCESS;
    }
    int error = out_file_write(html->text, html->n_bytes, path);
    if (error == 0)
        return EXIT_SUCCESS;
    cli_error("cannot write the page to %s: %s", path, strerror(-error));
    return CLI_EXIT_FAILED;
}

int cli_report(int argc, char **argv)
{
    static const struct argp parser = {
        .options = option_list, .parser = parse_option, .args_doc = "FILE", .doc = documentation};
    struct arguments arguments = {0};
    struct report report;
    struct html html = {0};

    command_line_parse(&parser, argc, argv, 0, &arguments);
    if (would_replace_figures(&arguments))
        return CLI_EXIT_FAILED;
    if ((arguments.pid != 0 ? load_run(&report, arguments.pid)
                            : load(&report, arguments.figures_path)) != 0)
        return EXIT_UNREADABLE;
    report_page(&html, &report);
    report_free(&report);
    int status = write_page(&html, arguments.page_path);
    html_free(&html);
    return status;
}
