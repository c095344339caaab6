/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record: what the ways of recording a trace share.
 *
 *   record_touches.c   pages that the pager sees touched        --every page
 *   record_lackey.c    each access, by valgrind's lackey        --every access
 *   record_perf.c      samples of the processor's, by perf mem  --every sample
 *   record_file.c      the file that it goes to
 */
#ifndef QUIRE_CLI_RECORD_H
#define QUIRE_CLI_RECORD_H

#include <quire/trace.h>

#define RECORD_DEFAULT_WINDOW ((uint64_t)8 << 20)
#define RECORD_MIN_WINDOW ((uint64_t)1 << 20) /* less than a budget: the pool is not in it */

struct record_options {
    const char *path; /* of the trace */
    enum quire_trace_every every;
    uint64_t window_bytes; /* PAGE: what is not seen again at once */
    uint32_t period;       /* SAMPLE: 0: perf's own */
    bool quiet;
    char **command; /* with its arguments, terminated by NULL */
};

struct record_file {
    const char *path;
    int fd;
    struct quire_trace_writer *writer;
    int error;    /* the first one; what comes afterwards is dropped */
    bool is_mine; /* a regular file that was made here: removed if nothing comes of it */
};

/* What came of it, for the last line. */
struct record_summary {
    int exit_status;
    uint64_t n_records, n_pages, n_processes, n_lost; /* n_pages, n_processes: 0: not counted */
};

/* Opens the file and begins the trace; false with a message. */
bool record_file_open(struct record_file *file, const struct record_options *options);
void record_file_write(struct record_file *file, const struct quire_trace_record *records,
                       size_t n);
void record_file_map(struct record_file *file, const struct quire_trace_mapping *mapping,
                     bool is_gone);
void record_file_flush(struct record_file *file);
/* Ends the trace; false with a message: it is not whole. *n_bytes: its length. */
bool record_file_finish(struct record_file *file, uint64_t *n_bytes);
void record_file_discard(struct record_file *file); /* nothing came of it */

/* Run the command and record it. 0, or the exit status after a message: no trace was made. */
int record_touches(const struct record_options *options, struct record_file *file,
                   struct record_summary *summary);
int record_lackey(const struct record_options *options, struct record_file *file,
                  struct record_summary *summary);
int record_perf(const struct record_options *options, struct record_file *file,
                struct record_summary *summary);

/* Looks for it in PATH; false: it is not there. `path`: PATH_MAX bytes. */
bool record_find_tool(const char *name, char *path);
/* Whether the command is there: 0, or an exit status after a message. */
int record_check_command(const char *command);

/* All of `quire record` but its command line; an exit status. */
int record(const struct record_options *options);

/* The records that a reader finds in a descriptor, until it ends, go to the file. */
bool record_copy(int fd, const char *name, const char *format, struct record_file *file,
                 struct record_summary *summary);

#endif
