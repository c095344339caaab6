/* SPDX-License-Identifier: Apache-2.0 */
/*
 * derivation: an answer with the steps that lead to it, as text or as JSON.
 *
 *   question, given, step, step ..., answers        all kept until they are printed
 */
#ifndef QUIRE_CLI_DERIVATION_H
#define QUIRE_CLI_DERIVATION_H

#include <jansson.h>
#include <stdbool.h>

struct derivation {
    json_t *json; /* NULL: no memory */
};

bool derivation_open(struct derivation *derivation, const char *question);
void derivation_close(struct derivation *derivation);

/* What was given: a name, and how it is to be read. */
void derivation_given(struct derivation *derivation, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A step: what is worked out, how, and what comes out. `why` may be NULL. */
void derivation_step(struct derivation *derivation, const char *what, const char *why,
                     const char *format, ...) __attribute__((format(printf, 4, 5)));

/* An answer: a key with its unit, the number. Whole numbers stay whole below 2^53. */
void derivation_answer(struct derivation *derivation, const char *key, double value);
/* One that is no number. */
void derivation_answer_text(struct derivation *derivation, const char *key, const char *text);

/* The whole of it, to standard output; false: no memory, or it could not be written. */
bool derivation_print(const struct derivation *derivation, bool as_json);

#endif
