/* SPDX-License-Identifier: Apache-2.0 */
/* record_file: the trace that `quire record` writes; see record.h. */
#include "base/sys.h"
#include "cli/cli.h"
#include "cli/record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BATCH 4096

struct line { /* a text that is cut where it becomes too long */
    char *text;
    size_t n, n_bytes;
};

static void add(struct line *line, char c)
{
    if (line->n + 1 < line->n_bytes)
        line->text[line->n++] = c;
    line->text[line->n] = '\0';
}

static bool is_plain(const char *word)
{
    return *word != '\0' &&
           word[strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                             "@%+=:,./_-")] == '\0';
}

/* As a shell reads it: quoted where it has to be. */
static void add_word(struct line *line, const char *word)
{
    const bool plain = is_plain(word);

    if (!plain)
        add(line, '\'');
    for (; *word != '\0'; word++) {
        if (*word == '\'' && !plain) {
            add(line, '\'');
            add(line, '\\');
            add(line, '\'');
        }
        add(line, *word);
    }
    if (!plain)
        add(line, '\'');
}

/* The command as one would type it. */
static void join(char *text, size_t n_bytes, char *const *words)
{
    struct line line = {text, 0, n_bytes};

    text[0] = '\0';
    for (char *const *word = words; *word != NULL; word++) {
        if (word > words)
            add(&line, ' ');
        add_word(&line, *word);
    }
}

static uint64_t now_ns(void)
{
    struct timespec time;

    clock_gettime(CLOCK_REALTIME, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

bool record_file_open(struct record_file *file, const struct record_options *options)
{
    static char command[QUIRE_TRACE_MAX_COMMAND];
    struct stat info;

    join(command, sizeof command, options->command);
    *file = (struct record_file){.path = options->path};
    file->is_mine = stat(options->path, &info) != 0;
    file->fd = open(options->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (file->fd < 0) {
        cli_error("cannot write the trace to %s: %s\nname another file by --output FILE",
                  options->path, strerror(errno));
        return false;
    }
    const struct quire_trace_info trace = {
        .every = options->every,
        .period = options->every == QUIRE_TRACE_EVERY_SAMPLE ? options->period : 0,
        .granule = options->every == QUIRE_TRACE_EVERY_PAGE ? SYS_PAGE_SHIFT : 0,
        .began_ns = now_ns(),
        .command = command,
    };
    int error = quire_trace_create(file->fd, &trace, &file->writer);
    if (error == 0)
        return true;
    cli_error("cannot write the trace to %s: %s", options->path, strerror(-error));
    record_file_discard(file);
    return false;
}

void record_file_write(struct record_file *file, const struct quire_trace_record *records, size_t n)
{
    if (file->error == 0)
        file->error = quire_trace_write(file->writer, records, n);
}

void record_file_map(struct record_file *file, const struct quire_trace_mapping *mapping,
                     bool is_gone)
{
    if (file->error == 0)
        file->error = quire_trace_write_mapping(file->writer, mapping, is_gone);
}

void record_file_flush(struct record_file *file)
{
    if (file->error == 0)
        file->error = quire_trace_flush(file->writer);
}

bool record_file_finish(struct record_file *file, uint64_t *n_bytes)
{
    int error = file->error;

    int last = quire_trace_finish(file->writer);
    file->writer = NULL;
    error = error != 0 ? error : last;
    struct stat info;
    *n_bytes = fstat(file->fd, &info) == 0 ? (uint64_t)info.st_size : 0;
    if (close(file->fd) != 0 && error == 0)
        error = -errno;
    if (error != 0)
        cli_error("cannot write the trace to %s: %s\nwhat is there ends too early", file->path,
                  strerror(-error));
    return error == 0;
}

void record_file_discard(struct record_file *file)
{
    if (file->writer != NULL)
        (void)!quire_trace_finish(file->writer);
    close(file->fd);
    if (file->is_mine)
        unlink(file->path);
}

bool record_copy(int fd, const char *name, const char *format, struct record_file *file,
                 struct record_summary *summary)
{
    static struct quire_trace_record records[BATCH];
    const struct quire_trace_options options = {.format = format};
    char message[QUIRE_TRACE_MESSAGE_BYTES];
    struct quire_trace *trace;
    long n;

    if (quire_trace_open_fd(fd, name, &options, message, &trace) != 0) {
        cli_error("%s", message);
        return false;
    }
    while ((n = quire_trace_read(trace, records, BATCH)) > 0) {
        record_file_write(file, records, (size_t)n);
        summary->n_records += (uint64_t)n;
    }
    if (n < 0)
        cli_error("%s", quire_trace_message(trace));
    quire_trace_close(trace);
    return n == 0;
}
