/* SPDX-License-Identifier: Apache-2.0 */
/*
 * procfs: reads the kernel's text files (/proc, /sys, cgroups) without malloc, stdio or errno.
 *
 * Paths are whole paths; the functions above this one take a `root` that stands before /proc and
 * /sys, so that tests can show them a made-up machine. All are thread-safe.
 */
#ifndef QUIRE_OBSERVE_PROCFS_H
#define QUIRE_OBSERVE_PROCFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROCFS_LINE_BYTES 8192 /* longer lines are cut; mountinfo's may hold two long paths */

struct procfs_reader {
    int fd;
    bool at_end;
    size_t begin, end; /* what is read and not yet handed out */
    char buffer[PROCFS_LINE_BYTES];
};

/* 0 or a negative errno. Close it after a success. */
int procfs_open(struct procfs_reader *reader, const char *path);
/* The next line without its end, valid until the next call; NULL at the end or after an error. */
char *procfs_line(struct procfs_reader *reader);
void procfs_close(struct procfs_reader *reader);

/* The first line of a file, terminated and cut to the buffer. 0 or a negative errno. */
int procfs_read_line(const char *path, char *buffer, size_t n_bytes);

/* The number that a file starts with. 0; -EINVAL when it starts with none; or a negative errno. */
int procfs_read_u64(const char *path, uint64_t *value);

/*
 * The number behind "KEY" at the start of a line ("MemTotal:"), in bytes when "kB" follows it.
 * 0; -ENOENT when no line has the key; or a negative errno.
 */
int procfs_read_field(const char *path, const char *key, uint64_t *value);

/* Reads digits at *text and moves it behind them. False without digits or beyond 64 bits. */
bool procfs_digits(const char **text, uint64_t *value);

#endif
