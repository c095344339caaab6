/* SPDX-License-Identifier: Apache-2.0 */
/*
 * source: what an observer reads from: whole files below a root, line by line, with one message.
 * Private to src/observe.
 */
#ifndef QUIRE_OBSERVE_SOURCE_H
#define QUIRE_OBSERVE_SOURCE_H

#include <quire/observe.h>

#include <dirent.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SOURCE_MAX_KEPT 16

struct process_table; /* processes.c */
struct runs_table;    /* runs.c */
struct sample_heap;   /* sample.h */

struct quire_observe {
    int root_fd;
    struct {
        const char *path; /* a string constant: compared by address */
        int fd;
    } kept[SOURCE_MAX_KEPT];
    unsigned n_kept;

    /* The file that was read last, and how far it has been handed out. */
    char path[512]; /* longer ones are cut in messages only */
    char *buffer;   /* terminated */
    size_t buffer_bytes, n_bytes;
    char *at, *line;
    unsigned line_number;
    char message[768];

    /* What the last calls handed out. */
    struct quire_observe_zone *zones;
    size_t zones_room;
    struct quire_observe_slab *slabs;
    size_t slabs_room;
    struct quire_observe_mapping *mappings;
    size_t mappings_room;
    struct quire_observe_group *groups;
    size_t groups_room;
    struct sample_heap *heaps;
    size_t heaps_room;
    struct process_table *processes;
    struct runs_table *runs;
};

/*
 * Reads a file below the root ("proc/meminfo"), from its start. `keep`: its descriptor stays open
 * for the next time; then `path` is a string constant. 0; -EBADMSG: it is empty, cut short in a
 * line, or holds a zero byte; or a negative errno, with a message.
 */
int source_read(struct quire_observe *observe, const char *path, bool keep);
/* The same without a look at what it holds; *n_bytes of observe->buffer, 0 included. No message. */
int source_read_raw(struct quire_observe *observe, int directory_fd, const char *path);
/* From a descriptor, from its start on. */
int source_read_fd(struct quire_observe *observe, int fd);
/* The same of a file that the kernel writes as one record (/proc/PID/stat, smaps_rollup ...): it
 * comes in one read. */
int source_read_record(struct quire_observe *observe, int fd);
/* Says of what the buffer holds whether it is a text, as source_read() does. */
int source_check(struct quire_observe *observe);

/* The next line of it, without its end; NULL at the end. */
char *source_line(struct quire_observe *observe);

/* -EBADMSG; the message is "/PATH: line N, 'LINE': PROBLEM". */
int source_bad(struct quire_observe *observe, const char *problem);
/* -EBADMSG; "/PATH: there is no WHAT in it". */
int source_lacks(struct quire_observe *observe, const char *what);
/* Returns error; "cannot read /PATH: ...". */
int source_failed(struct quire_observe *observe, const char *path, int error);

/*
 * The single number or word of a small file. Figures: absent where there is no such file or where
 * it holds no number ("max"), denied where it may not be read.
 */
uint64_t source_number(struct quire_observe *observe, const char *path);
bool source_word(struct quire_observe *observe, const char *path, char *word, size_t n_bytes);

/* Absent or denied, as the error of a file has it. */
uint64_t source_reason(int error);

/* Grows *array of elements to hold n of them. False: no memory. */
bool source_grow(void *array, size_t *room, size_t n, size_t element_bytes);

/* To be read by readdir(3), and closed by closedir(3). 0 or a negative errno. */
int source_open_directory(int at, const char *path, DIR **directory);

#endif
