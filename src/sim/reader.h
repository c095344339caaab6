/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reader: what the readers of all formats have in common. Private to src/sim.
 *
 * A format is a file of its own that fills in struct trace_format. It reads from trace->input and
 * explains what is wrong by trace_fail(), which returns the error.
 */
#ifndef QUIRE_SIM_READER_H
#define QUIRE_SIM_READER_H

#include "sim/input.h"

#include <quire/trace.h>

#define READER_MOST_LINE ((size_t)64 << 10)

/* References that lie in the input as they are, all of one process: no copies are made of them. */
struct trace_raw {
    const unsigned char *at; /* valid until the trace is read again */
    size_t n, n_bytes;       /* how many; of each */
    size_t address_at;       /* 8 bytes, in units of info.unit_shift */
    size_t seconds_at;       /* 4 bytes */
};

#define TRACE_SAMPLE_SLOTS 64u
#define TRACE_SAMPLE_NONE UINT64_MAX

/*
 * Most references of a trace are in no small sample of its pages: those of `process` that lie in
 * one page each need not become records.
 */
struct trace_sample {
    unsigned shift;     /* of addresses, to page numbers */
    bool may_span;      /* a reference with a size may lie in two pages */
    unsigned most_kind; /* of references; above, they are records whatever their page is */
    uint32_t process, owner;
    uint64_t threshold; /* pages_hash() of pages in the sample is below */
    /* Pages of the process that are not in it, each where its number says: most references are to
     * one of a few. TRACE_SAMPLE_NONE: none. */
    uint64_t passed[TRACE_SAMPLE_SLOTS];
    uint64_t n_passed; /* references without a record, that no record tells of yet */
};

struct trace_format {
    const char *name;
    /* Whether these first bytes, of perhaps more, look like it. */
    bool (*looks_like)(const unsigned char *bytes, size_t n);
    /* Sets trace->info and trace->state; 0 or an error. NULL: nothing to do. */
    int (*open)(struct quire_trace *trace, const struct quire_trace_options *options);
    long (*read)(struct quire_trace *trace, struct quire_trace_record *records, size_t most);
    /* The same for those of a sample, and all that are no plain references. `mapping` of a
     * reference is how many were passed over before it. NULL: it can't. */
    long (*read_sample)(struct quire_trace *trace, struct trace_sample *sample,
                        struct quire_trace_record *records, size_t most);
    /* As many as there are, and not 0 before the end. 0 or an error. NULL: they do not lie so. */
    int (*read_raw)(struct quire_trace *trace, struct trace_raw *raw);
    void (*close)(struct quire_trace *trace); /* NULL: nothing to do; state may be NULL */
};

struct quire_trace {
    const struct trace_format *format;
    struct input input;
    struct quire_trace_info info;
    char *command; /* allocated, or NULL */
    void *state;   /* the format's */
    char *name;
    int own_fd;         /* -1: the descriptor is the caller's */
    uint64_t n_records; /* that were returned */
    uint64_t n_lines;   /* of text, passed */
    bool is_whole;
    int error; /* it failed before, and will again */
    struct quire_trace_mapping *mappings;
    uint32_t n_mappings, mappings_room;
    char message[QUIRE_TRACE_MESSAGE_BYTES];
};

/* The format's read_raw(), which it has: counts records, and fails for good as
 * quire_trace_read(). */
int trace_read_raw(struct quire_trace *trace, struct trace_raw *raw);
/* The format's read_sample(), which it has: as quire_trace_read(). */
long trace_read_sample(struct quire_trace *trace, struct trace_sample *sample,
                       struct quire_trace_record *records, size_t most);
/* The name, what is wrong, into trace->message; returns -EBADMSG. */
int trace_fail(struct quire_trace *trace, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* An error of the input, at the record or line where it is. Returns it. */
int trace_fail_input(struct quire_trace *trace, int error);
/* The same for line n_lines, whose text is shown. */
int trace_fail_line(struct quire_trace *trace, const char *line, size_t length, const char *why);
/* Keeps a copy. 0; -ENOMEM. */
int trace_add_mapping(struct quire_trace *trace, const struct quire_trace_mapping *mapping,
                      const char *name, size_t length);

extern const struct trace_format trace_native, trace_lackey, trace_plain, trace_perf, trace_csv,
    trace_oracle;

#endif
