/* SPDX-License-Identifier: Apache-2.0 */
/* text: words and numbers of a line, which is not terminated. Private to src/sim. */
#ifndef QUIRE_SIM_TEXT_H
#define QUIRE_SIM_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct text {
    const char *at, *end;
};

static inline bool text_is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static inline void text_skip_blanks(struct text *text)
{
    while (text->at < text->end && text_is_blank(*text->at))
        text->at++;
}

/* The next word, up to a blank; empty at the end. */
static inline struct text text_word(struct text *text)
{
    text_skip_blanks(text);
    struct text word = {text->at, text->at};
    while (word.end < text->end && !text_is_blank(*word.end))
        word.end++;
    text->at = word.end;
    return word;
}

static inline size_t text_length(const struct text *text)
{
    return (size_t)(text->end - text->at);
}

static inline bool text_is(const struct text *text, const char *word)
{
    size_t n = strlen(word);
    return text_length(text) == n && memcmp(text->at, word, n) == 0;
}

static inline unsigned text_digit(char c) /* 16: it is none */
{
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    if (c >= 'a' && c <= 'f')
        return (unsigned)(c - 'a') + 10;
    return c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10 : 16;
}

/* Digits to the base, and passes them. False: there are none, or it is over 64 bits. */
static inline bool text_digits(struct text *text, unsigned base, uint64_t *value)
{
    const char *start = text->at;
    *value = 0;
    for (; text->at < text->end && text_digit(*text->at) < base; text->at++)
        if (__builtin_mul_overflow(*value, base, value) ||
            __builtin_add_overflow(*value, text_digit(*text->at), value))
            return false;
    return text->at > start;
}

/* All of it is a number, decimal or 0x. */
static inline bool text_number(struct text text, uint64_t *value)
{
    bool is_hex = text_length(&text) > 2 && text.at[0] == '0' && (text.at[1] | 32) == 'x';
    text.at += is_hex ? 2 : 0;
    return text_digits(&text, is_hex ? 16 : 10, value) && text.at == text.end;
}

#endif
