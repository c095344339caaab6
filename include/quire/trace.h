/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quire/trace.h: traces of memory references, read from many formats and written in one.
 *
 *   program --quire record--> file --quire_trace_open(), quire_trace_read()--> records
 *                               ^
 *   quire_trace_create(), quire_trace_write(), quire_trace_finish()
 *
 * A trace is a sequence of records: references, and what became mapped or unmapped, free or dropped
 * in between.
 * Whatever is read may be compressed by zstd, and may come through a pipe; it is never read twice.
 *
 *   quire      Quire's own: delta-coded, in compressed blocks, with mappings and times
 *   lackey     what valgrind --tool=lackey --trace-mem=yes prints
 *   plain      a reference a line: [R|W] ADDRESS, decimal or 0x
 *   perf       what `perf script` prints of samples with an address (-F addr)
 *   oracle     libCacheSim's oracleGeneral: 24 bytes a request
 *   csv        columns; a first line with names is understood
 *
 * Quire's own format, all integers little endian:
 *
 *   file     header, command, blocks, end mark
 *   header   8  89 51 54 52 41 43 45 0a ("\x89QTRACE\n")
 *            2  version, 2 *       1  granule: addresses are multiples of 2^this
 *            1  enum quire_trace_every                4  period of samples; 0: none
 *            8  when it began, ns of the real-time clock since 1970; 0: not known
 *            4  bytes of the command that follows, at most QUIRE_TRACE_MAX_COMMAND    4  zero
 *   block    4  packed bytes that follow    4  bytes unpacked, at most QUIRE_TRACE_BLOCK_BYTES
 *            8  number of its first record; then a zstd frame with a checksum
 *   end      16 bytes like a block's of no bytes, with the number of all records
 *
 * Unpacked, a block is a sequence of records that needs no other block. Numbers in it are unsigned
 * LEB128 (7 bits a byte, the low ones first); signed ones have the sign in the lowest bit.
 *
 *   1 byte   bits 0-2 enum quire_trace_kind, 3 a time follows, 4 a size, 5 a process
 *   time     ns since the record before (a block's first: since the trace began)
 *   process  of this record and all that follow in the block; 0 at its start
 *   READ, WRITE, FETCH
 *     size     bytes; else that of the last record of this kind; 0 at the block's start
 *     address  signed, granules since the last one of this kind; 0 at the block's start
 *   FREE, DROP  as READ
 *   MAP, UNMAP
 *     start, bytes, offset in the file, protection (PROT_* of mmap(2)), bytes of the name, the name
 *
 * (*) Version 1 is the same without FREE and DROP, and is read as well.
 *
 * So a trace that was cut off is good up to its last block, and one that was damaged is told from
 * one that was not.
 *
 * Errors: functions return 0 or a negative errno, and a message says what is wrong with which
 * record or line. Allocate; may block on the file. A trace is used by one thread at a time.
 */
#ifndef QUIRE_TRACE_H
#define QUIRE_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

#define QUIRE_TRACE_BLOCK_BYTES (256u << 10)
#define QUIRE_TRACE_MAX_COMMAND 4096u
#define QUIRE_TRACE_MAX_NAME 4096u
#define QUIRE_TRACE_MESSAGE_BYTES 240

enum quire_trace_kind {
    QUIRE_TRACE_READ,
    QUIRE_TRACE_WRITE, /* or both */
    QUIRE_TRACE_FETCH, /* of an instruction */
    QUIRE_TRACE_MAP,   /* a mapping begins, or was there when the trace began */
    QUIRE_TRACE_UNMAP,
    /* No references: n_bytes from the address on, of whole pages, are worth nothing any more. */
    QUIRE_TRACE_FREE, /* the program's heap has them back, and may hand them out as they are */
    QUIRE_TRACE_DROP, /* the system has them back: munmap(2), MADV_DONTNEED. Then they are new */
    QUIRE_TRACE_N_KINDS
};

/* What there is a record of. */
enum quire_trace_every {
    QUIRE_TRACE_EVERY_ACCESS,
    QUIRE_TRACE_EVERY_PAGE,   /* touches of pages that were armed: repeated ones may be missing */
    QUIRE_TRACE_EVERY_SAMPLE, /* one in `period` accesses */
    QUIRE_TRACE_N_EVERY
};

struct quire_trace_record {
    uint64_t address; /* in units of info.unit_shift */
    uint64_t time_ns; /* since the trace began; 0 throughout if the format has no times */
    uint32_t n_bytes; /* that were accessed, 0: not known; that are free or dropped */
    uint32_t process; /* its id; 0: not known */
    uint32_t mapping; /* of MAP and UNMAP: for quire_trace_mapping() */
    uint8_t kind;     /* enum quire_trace_kind */
};

struct quire_trace_mapping {
    uint64_t start, n_bytes; /* addresses in bytes */
    uint64_t offset;         /* in the file */
    uint64_t time_ns;
    uint32_t process;
    uint32_t protection; /* PROT_* of mmap(2) */
    const char *name;    /* a path, [heap] and the like, or "" */
};

struct quire_trace_info {
    const char *format; /* its name, as above */
    enum quire_trace_every every;
    uint32_t period;     /* of samples: accesses for each record; 0: not known */
    unsigned unit_shift; /* an address counts units of 2^this bytes: 0; of page numbers, 12 */
    unsigned granule;    /* addresses are multiples of 2^this bytes; 0 where it isn't known */
    bool is_spatial;     /* false: numbers of objects; neighbours have nothing in common */
    bool has_times, has_processes, has_writes; /* false: the format has none */
    uint64_t began_ns;                         /* real-time clock; 0: not known */
    const char *command;                       /* that was recorded, or "" */
};

/* ---- reading ---- */

struct quire_trace_options {
    const char *format;  /* NULL: found out */
    bool in_pages;       /* addresses of text formats are page numbers of 4 KiB */
    const char *columns; /* of csv: "time=1,id=2,size=3,write=4,process=5", from 1; NULL: by name */
    char delimiter;      /* of csv; 0: a comma, or what the first line has */
};

struct quire_trace;

/*
 * Opens the trace at `path`, "-" for standard input. `options` may be NULL. On an error `message`
 * says why: -ENOENT and the like; -EINVAL: no such format, or bad columns; -EBADMSG: it is no
 * trace, or not of this format; -ENOMEM.
 */
int quire_trace_open(const char *path, const struct quire_trace_options *options,
                     char message[QUIRE_TRACE_MESSAGE_BYTES], struct quire_trace **trace)
    __attribute__((warn_unused_result));

/* The same from a descriptor, which stays the caller's. `name` is for messages. */
int quire_trace_open_fd(int fd, const char *name, const struct quire_trace_options *options,
                        char message[QUIRE_TRACE_MESSAGE_BYTES], struct quire_trace **trace)
    __attribute__((warn_unused_result));

void quire_trace_close(struct quire_trace *trace); /* NULL: nothing */

/*
 * The next records, up to `most`. Returns how many; 0: the end; -EBADMSG: the trace is broken
 * there; an error of reading; -ENOMEM. What came before the error has been returned before.
 */
long quire_trace_read(struct quire_trace *trace, struct quire_trace_record *records, size_t most)
    __attribute__((warn_unused_result));

/* About the last call that failed, with the number of the record or line; "" when none has. */
const char *quire_trace_message(const struct quire_trace *trace);

const struct quire_trace_info *quire_trace_info(const struct quire_trace *trace);

/* What a MAP or UNMAP record stands for; NULL: there is none. Valid until the next read. */
const struct quire_trace_mapping *quire_trace_mapping(const struct quire_trace *trace,
                                                      uint32_t mapping);
/* How many there are so far: numbers go from 0. */
uint32_t quire_trace_mappings(const struct quire_trace *trace);

/* After the end: false if the end mark is missing, so that the recording was cut off. */
bool quire_trace_is_whole(const struct quire_trace *trace);

/* ---- writing Quire's own ---- */

struct quire_trace_writer;

/*
 * Begins a trace on `fd`, which stays the caller's and may be a pipe. Of `info` are used: every,
 * period, granule, began_ns, command. Returns 0; -EINVAL: a value is out of range; -ENOMEM; an
 * error of write(2).
 */
int quire_trace_create(int fd, const struct quire_trace_info *info,
                       struct quire_trace_writer **writer) __attribute__((warn_unused_result));

/*
 * Appends records of all kinds but MAP and UNMAP. Times should not go down: one that does counts as
 * the one before it. Returns 0; -EINVAL: a kind is none of these, or an address is no multiple of
 * the granule; an error of write(2), after which the trace is as good as it was at the last flush.
 */
int quire_trace_write(struct quire_trace_writer *writer, const struct quire_trace_record *records,
                      size_t n) __attribute__((warn_unused_result));

/* Appends a mapping that begins, or ends. Names are cut to QUIRE_TRACE_MAX_NAME bytes. */
int quire_trace_write_mapping(struct quire_trace_writer *writer,
                              const struct quire_trace_mapping *mapping, bool is_gone)
    __attribute__((warn_unused_result));

/* Writes what is buffered: until here the trace is safe from the writer's sudden end. */
int quire_trace_flush(struct quire_trace_writer *writer) __attribute__((warn_unused_result));

/* How many records were appended; bytes that were written so far. */
uint64_t quire_trace_written(const struct quire_trace_writer *writer, uint64_t *n_bytes);

/* Flushes, writes the end mark and frees the writer in any case. 0, or the error. */
int quire_trace_finish(struct quire_trace_writer *writer) __attribute__((warn_unused_result));

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
