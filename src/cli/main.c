/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main: finds the command that the first argument names, and hands over to it.
 *
 *   quire NAME ARGUMENTS…      the command, with argv[0] "quire NAME" for its messages
 *   quire help NAME            quire NAME --help
 *   quire help, quire --help   the list of the commands
 *
 * A new command is one line in `commands` and one file.
 */
#include "cli/cli.h"
#include "cli/launch.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct command {
    const char *name;
    const char *title; /* argv[0] while it runs */
    int (*main)(int argc, char **argv);
    const char *summary;
} commands[] = {
    {"run", "quire run", cli_run, "Run a program within a bound of RAM"},
    {"limit", "quire limit", cli_limit, "Show or change the budget of a run that goes on"},
    {"park", "quire park", cli_park, "Take the memory of a run that is idle"},
    {"resume", "quire resume", cli_resume, "Bring back what was parked"},
    {"dump", "quire dump", cli_dump, "Write a core file of a process, with what is evicted"},
    {"report", "quire report", cli_report, "Make a page of a run's figures"},
    {"slabs", "quire slabs", cli_slabs,
     "Show the slab caches of the kernel or of a program's heap"},
    {"doctor", "quire doctor", cli_doctor,
     "Tell what this machine allows, and how to open the rest"},
    {"partition", "quire partition", cli_partition,
     "Replay a trace of requests against placement policies"},
    {"plan", "quire plan", cli_plan, "Place buffers with known lifetimes in the least memory"},
    {"layout", "quire layout", cli_layout,
     "Convert tensors between layouts, and tell what it costs"},
    {"free", "quire free", cli_free, "Show the system's memory, and explain it"},
    {"vmstat", "quire vmstat", cli_vmstat, "Show faults, swapping, reclaim and pressure over time"},
    {"time", "quire time", cli_time, "Tell what a command costs of time and memory"},
    {"zones", "quire zones", cli_zones, "Show the kernel's zones and their fragmentation"},
    {"maps", "quire maps", cli_maps, "Show the address space of a process"},
    {"top", "quire top", cli_top, "Watch memory, processes and runs on the whole screen"},
    {"translate", "quire translate", cli_translate,
     "Translate addresses by the page tables of a memory image"},
    {"segment", "quire segment", cli_segment, "Tell the linear address behind an x86 segment"},
    {"advise", "quire advise", cli_advise,
     "Tell how much RAM a program needs, and what less costs"},
    {"record", "quire record", cli_record, "Record which memory a program touches"},
    {"tlb", "quire tlb", cli_tlb, "Model the hardware that translates, by formula or by a trace"},
    {"sim", "quire sim", cli_sim, "Replay a trace of references against replacement policies"},
    {"mrc", "quire mrc", cli_mrc, "Tell LRU's miss ratio at every size from a trace"},
    {"ps", "quire ps", cli_ps, "Show the memory of processes"},
    {"ring", "quire ring", cli_ring, "Pass bytes or frames between processes by shared memory"},
    {"log", "quire log", cli_log, "Record all of it, to be replayed"},
    {"export", "quire export", cli_export, "Export the figures as metrics, for Prometheus"},
    {"tune", "quire tune", cli_tune, "Say what about the machine's memory is worth changing"},
};
#define N_COMMANDS (sizeof commands / sizeof commands[0])

void cli_error(const char *format, ...)
{
    char message[4096];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    fflush(stdout);
    const char *start = "quire: ";
    for (char *line = message, *next; line != NULL; line = next, start = "       ") {
        next = strchr(line, '\n');
        if (next != NULL)
            *next++ = '\0';
        fprintf(stderr, "%s%s\n", start, line);
    }
}

/* At exit: output that did not get out is a failure, whatever the command thought. */
static void close_output(void)
{
    bool failed = ferror(stdout) != 0;

    if (fclose(stdout) == 0 && !failed)
        return;
    cli_error("cannot write to standard output: %s", strerror(errno));
    _exit(CLI_EXIT_FAILED);
}

static void print_help(FILE *to)
{
    fputs("Usage: quire COMMAND [OPTION...]\n"
          "Run unmodified programs in less RAM than they need.\n"
          "\n"
          "Commands:\n",
          to);
    for (size_t i = 0; i < N_COMMANDS; i++)
        fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].summary);
    fputs("  help       Show the help of a command\n"
          "\n"
          "Options:\n"
          "  --help     Show this help\n"
          "  --version  Show the version\n"
          "\n"
          "Examples:\n"
          "  quire run --ram 512M -- python3 job.py   512 MiB for it and its children\n"
          "  quire run --ram 25% --swap none make     a quarter of the RAM, no swap file\n"
          "  quire doctor                             will it work here?\n"
          "  quire help run                           all options of `quire run'\n",
          to);
}

static size_t smallest(size_t a, size_t b, size_t c)
{
    size_t smaller = a < b ? a : b;
    return smaller < c ? smaller : c;
}

/* Levenshtein's distance; words longer than the row count as far away. */
static size_t distance(const char *a, const char *b)
{
    size_t row[32], n = strlen(b);

    if (n >= sizeof row / sizeof row[0])
        return SIZE_MAX;
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1] != '\0'; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t above = row[j];
            row[j] = smallest(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[n];
}

static int unknown_command(const char *name)
{
    const char *nearest = NULL;
    size_t best = 3; /* further away is no slip of the finger */

    for (size_t i = 0; i < N_COMMANDS; i++) {
        size_t far = distance(name, commands[i].name);
        if (far < best && far < strlen(name)) {
            best = far;
            nearest = commands[i].name;
        }
    }
    if (nearest != NULL)
        cli_error("there is no command '%s'; did you mean '%s'?", name, nearest);
    else
        cli_error("there is no command '%s'; `quire --help' lists them\n"
                  "to run a program: quire run %s",
                  name, name);
    return CLI_EXIT_FAILED;
}

static int run_command(const char *name, int argc, char **argv)
{
    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (strcmp(name, commands[i].name) == 0) {
            argv[0] = (char *)(uintptr_t)commands[i].title;
            return commands[i].main(argc, argv);
        }
    }
    return unknown_command(name);
}

static bool is_one_of(const char *word, const char *a, const char *b)
{
    return strcmp(word, a) == 0 || strcmp(word, b) == 0;
}

int main(int argc, char **argv)
{
    launch_reserve_standard_descriptors();
    atexit(close_output);
    if (argc < 2) {
        print_help(stderr);
        return CLI_EXIT_FAILED;
    }
    const char *first = argv[1], *topic = argc > 2 ? argv[2] : "help";
    if (is_one_of(first, "--version", "-V")) {
        puts("quire " QUIRE_VERSION);
        return EXIT_SUCCESS;
    }
    bool is_help = strcmp(first, "help") == 0;
    if (is_one_of(first, "--help", "-h") || (is_help && strcmp(topic, "help") == 0)) {
        print_help(stdout);
        return EXIT_SUCCESS;
    }
    if (is_help)
        return run_command(topic, 2, (char *[]){argv[0], (char[]){"--help"}, NULL});
    if (first[0] == '-') {
        cli_error("there is no option '%s' before a command; `quire --help' shows how it goes\n"
                  "options of a command follow it: quire run %s ...",
                  first, first);
        return CLI_EXIT_FAILED;
    }
    return run_command(first, argc - 1, argv + 1);
}
