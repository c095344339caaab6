/* SPDX-License-Identifier: Apache-2.0 */
/*
 * figures: what the commands that show the system's memory have in common: figures as text and as
 * JSON, their options --json, --root and --bytes, and what they say when something can't be read.
 */
#ifndef QUIRE_CLI_FIGURES_H
#define QUIRE_CLI_FIGURES_H

#include <quire/observe.h>

#include <argp.h>
#include <jansson.h>
#include <stdbool.h>

struct figure_text { /* one figure; as many as a line has can live side by side */
    char buffer[32];
};

/* "12.3 MiB"; "-" where absent, "denied" where denied. */
const char *figure_size(uint64_t bytes, struct figure_text *text);
/* "12.3M", "900K", for columns; exactly, where `exact`. */
const char *figure_short(uint64_t bytes, bool exact, struct figure_text *text);
/* "1234" */
const char *figure_count(uint64_t count, struct figure_text *text);
/* Hundredths as "12.34". */
const char *figure_hundredths(uint64_t hundredths, struct figure_text *text);
/* A rate: "0", "0.3", "12", "3.4k". */
const char *figure_rate(double rate, struct figure_text *text);

/* For one use within an expression. */
#define FIGURE (&(struct figure_text){""})

/* A number; null where absent; "denied" where denied. */
json_t *figure_json(uint64_t figure);

/* {"cpu": {"some"}, "memory": {"some", "full"}, "io": {...}} */
json_t *figures_pressure_json(const struct quire_observe_pressure *pressure);

/* Prints it, indented or on one line, and gives it up. False, with a message: it can't be built. */
bool figures_print_json(json_t *json, bool is_compact);

/* What every such command takes: a child parser of its own. `input` is a struct figure_options. */
struct figure_options {
    bool as_json, exact;
    const char *root; /* NULL: this machine */
};
extern const struct argp figures_argp;

/* The observer of these options; NULL, with a message: there is no such root. */
struct quire_observe *figures_open(const struct figure_options *options);

/* Tells why, with a hint where there is one; returns EXIT_FAILURE. */
int figures_failed(const struct quire_observe *observe, int error);

/* "2", "0.5" seconds, in ms; 0: it is none, or longer than a day. */
uint64_t figures_parse_seconds(const char *text);
/* A whole number above 0; 0: it is none. */
unsigned long figures_parse_count(const char *text);

/* Sleeps; true when the time is up, false when a signal asks to end. */
bool figures_sleep_ms(uint64_t ms);
/* Waits for descriptors, timeout_ms at most (-1: for ever). 0 or more; -EINTR: a signal asks to
 * end; or another negative errno. */
struct pollfd;
int figures_poll(struct pollfd *polled, unsigned n, int timeout_ms);
/* From now on SIGINT and SIGTERM end the sleep instead of the process. */
void figures_catch_signals(void);
/* Columns of the terminal that is written to; 0: it is none, and nothing need fit. */
unsigned figures_width(void);
/* As many descriptors as are allowed: one a process makes the next sample cheaper. */
void figures_allow_descriptors(void);

#endif
