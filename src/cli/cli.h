/* SPDX-License-Identifier: Apache-2.0 */
/* cli: what the files of the `quire` command share: exit codes, messages, the commands. */
#ifndef QUIRE_CLI_CLI_H
#define QUIRE_CLI_CLI_H

/* As env(1), timeout(1) and the shells have them; anything else is the program's own status. */
enum cli_exit {
    CLI_EXIT_FAILED = 125,         /* Quire itself, bad arguments included */
    CLI_EXIT_NOT_EXECUTABLE = 126, /* the command is there but can't be run */
    CLI_EXIT_NOT_FOUND = 127,
    CLI_EXIT_SIGNAL = 128, /* plus the number of the signal that ended the program */
};

/* Runs with argv[0] = "quire NAME"; returns the exit status. */
int cli_run(int argc, char **argv);
int cli_report(int argc, char **argv);
int cli_doctor(int argc, char **argv);
int cli_limit(int argc, char **argv);
int cli_park(int argc, char **argv);
int cli_resume(int argc, char **argv);
int cli_dump(int argc, char **argv);
int cli_slabs(int argc, char **argv);
int cli_partition(int argc, char **argv);
int cli_plan(int argc, char **argv);
int cli_layout(int argc, char **argv);
int cli_free(int argc, char **argv);
int cli_vmstat(int argc, char **argv);
int cli_ps(int argc, char **argv);
int cli_record(int argc, char **argv);
int cli_advise(int argc, char **argv);
int cli_tlb(int argc, char **argv);
int cli_ring(int argc, char **argv);
int cli_maps(int argc, char **argv);
int cli_zones(int argc, char **argv);
int cli_time(int argc, char **argv);
int cli_tune(int argc, char **argv);
int cli_export(int argc, char **argv);
int cli_log(int argc, char **argv);
int cli_top(int argc, char **argv);
int cli_translate(int argc, char **argv);
int cli_segment(int argc, char **argv);
int cli_mrc(int argc, char **argv);
int cli_sim(int argc, char **argv);

/* "quire: MESSAGE" on standard error. A second line in the message is indented below the first. */
void cli_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
