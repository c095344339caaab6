/* SPDX-License-Identifier: Apache-2.0 */
/* derivation: see derivation.h. It is JSON from the start; the text is made from that. */
#include "cli/derivation.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LARGEST_WHOLE 9007199254740992.0 /* 2^53 */

bool derivation_open(struct derivation *derivation, const char *question)
{
    derivation->json = json_pack("{s:s, s:s, s:s, s:{}, s:[], s:{}}", "schema", "quire.tlb.ask/1",
                                 "version", QUIRE_VERSION, "question", question, "given", "steps",
                                 "answers");
    return derivation->json != NULL;
}

void derivation_close(struct derivation *derivation)
{
    json_decref(derivation->json);
    derivation->json = NULL;
}

static json_t *text_of(const char *format, va_list arguments)
{
    char text[512];

    vsnprintf(text, sizeof text, format, arguments);
    return json_string(text);
}

void derivation_given(struct derivation *derivation, const char *name, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    json_object_set_new(json_object_get(derivation->json, "given"), name,
                        text_of(format, arguments));
    va_end(arguments);
}

void derivation_step(struct derivation *derivation, const char *what, const char *why,
                     const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    json_t *step = json_pack("{s:s, s:o, s:s?}", "what", what, "how", text_of(format, arguments),
                             "why", why);
    va_end(arguments);
    json_array_append_new(json_object_get(derivation->json, "steps"), step);
}

void derivation_answer(struct derivation *derivation, const char *key, double value)
{
    bool is_whole = value == floor(value) && fabs(value) < LARGEST_WHOLE;

    json_object_set_new(json_object_get(derivation->json, "answers"), key,
                        is_whole ? json_integer((json_int_t)value) : json_real(value));
}

void derivation_answer_text(struct derivation *derivation, const char *key, const char *text)
{
    json_object_set_new(json_object_get(derivation->json, "answers"), key, json_string(text));
}

/* Bytes of the longest `what`, to stand below each other. */
static int widest(json_t *steps)
{
    size_t i, n = strlen("given");
    json_t *step;

    json_array_foreach(steps, i, step)
    {
        size_t length = strlen(json_string_value(json_object_get(step, "what")));
        n = length > n ? length : n;
    }
    return (int)n;
}

static void print_text(const struct derivation *derivation)
{
    json_t *steps = json_object_get(derivation->json, "steps"), *step, *value;
    const int width = widest(steps);
    const char *name, *separator = "";
    size_t i;

    printf("%-*s  ", width, "given");
    json_object_foreach(json_object_get(derivation->json, "given"), name, value)
    {
        printf("%s%s %s", separator, name, json_string_value(value));
        separator = ", ";
    }
    puts("");
    json_array_foreach(steps, i, step)
    {
        const char *why = json_string_value(json_object_get(step, "why"));
        printf("%-*s  %s", width, json_string_value(json_object_get(step, "what")),
               json_string_value(json_object_get(step, "how")));
        printf(why != NULL ? "   (%s)\n" : "\n", why);
    }
}

bool derivation_print(const struct derivation *derivation, bool as_json)
{
    if (derivation->json == NULL)
        return false;
    if (!as_json) {
        print_text(derivation);
        return true;
    }
    bool good = json_dumpf(derivation->json, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(12)) == 0;
    puts("");
    return good;
}
