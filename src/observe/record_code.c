/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record_code: see record_code.h.
 *
 * Most processes do nothing between two samples: such a row is its reference, one run of zeros and
 * an unchanged text, three bytes that are the same for all of them.
 *
 * The decoder trusts nothing: a count is bounded by the bytes that are left (each row takes at
 * least one), a reference by the rows there are, a length by what is left.
 */
#include "observe/record_code.h"

#include "observe/source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- rows ---- */

void record_flat_init(struct record_flat *flat, const unsigned n_words[RECORD_N_TABLES])
{
    *flat = (struct record_flat){0};
    for (unsigned i = 0; i < RECORD_N_TABLES; i++)
        flat->tables[i].n_words = n_words[i];
}

void record_flat_clear(struct record_flat *flat)
{
    for (unsigned i = 0; i < RECORD_N_TABLES; i++) {
        struct record_rows *rows = &flat->tables[i];
        for (size_t k = 0; k < rows->n; k++)
            free(rows->texts[k]);
        rows->n = 0;
    }
}

void record_flat_deinit(struct record_flat *flat)
{
    record_flat_clear(flat);
    for (unsigned i = 0; i < RECORD_N_TABLES; i++) {
        free(flat->tables[i].words);
        free(flat->tables[i].texts);
    }
    *flat = (struct record_flat){0};
}

/* The words of one row more, without a text; NULL: no memory. */
static uint64_t *add_row(struct record_rows *rows)
{
    if (!source_grow(&rows->words, &rows->words_room, (rows->n + 1) * rows->n_words,
                     sizeof *rows->words) ||
        !source_grow(&rows->texts, &rows->texts_room, rows->n + 1, sizeof *rows->texts))
        return NULL;
    rows->texts[rows->n] = NULL;
    return rows->words + rows->n++ * rows->n_words;
}

static bool add_struct(struct record_flat *flat, enum record_table table, const void *row)
{
    uint64_t *words = add_row(&flat->tables[table]);

    if (words != NULL)
        record_pack(record_fields(table), row, words);
    return words != NULL;
}

static bool add_process(struct record_flat *flat, const struct quire_observe_process *process)
{
    struct record_rows *rows = &flat->tables[RECORD_PROCESS];

    if (!add_struct(flat, RECORD_PROCESS, process))
        return false;
    if (process->command == NULL)
        return true;
    rows->texts[rows->n - 1] = strndup(process->command, RECORD_MAX_TEXT);
    return rows->texts[rows->n - 1] != NULL;
}

bool record_flat_from(struct record_flat *flat, const struct sample *sample)
{
    record_flat_clear(flat);
    bool good = add_struct(flat, RECORD_SYSTEM, sample);
    if (sample->has_processes)
        for (size_t i = 0; good && i < sample->processes.n; i++)
            good = add_process(flat, &sample->processes.list[i]);
    for (size_t i = 0; good && i < sample->runs.n; i++)
        good = add_struct(flat, RECORD_RUN, &sample->runs.list[i]);
    for (size_t i = 0; good && i < sample->runs.n_processes; i++)
        good = add_struct(flat, RECORD_RUN_PROCESS, &sample->runs.processes[i]);
    for (unsigned i = 0; good && i < sample->zones.n_zones; i++)
        good = add_struct(flat, RECORD_ZONE, &sample->zones.zones[i]);
    for (size_t i = 0; good && i < sample->slabs.n_caches; i++)
        good = add_struct(flat, RECORD_SLAB, &sample->slabs.caches[i]);
    for (size_t i = 0; good && i < sample->heaps.n; i++)
        good = add_struct(flat, RECORD_HEAP, &sample->heaps.list[i]);
    return good;
}

/* ---- writing ---- */

static void put(struct record_bytes *bytes, const void *data, size_t n)
{
    if (bytes->failed || !source_grow(&bytes->data, &bytes->room, bytes->n + n, 1)) {
        bytes->failed = true;
        return;
    }
    memcpy(bytes->data + bytes->n, data, n);
    bytes->n += n;
}

static void put_number(struct record_bytes *bytes, uint64_t value)
{
    unsigned char digits[10];
    size_t n = 0;

    for (; value >= 0x80; value >>= 7)
        digits[n++] = (unsigned char)(value | 0x80);
    digits[n++] = (unsigned char)value;
    put(bytes, digits, n);
}

static uint64_t zigzag(uint64_t difference)
{
    return difference << 1 ^ (0 - (difference >> 63));
}

static uint64_t unzigzag(uint64_t value)
{
    return value >> 1 ^ (0 - (value & 1));
}

/* Pairs: how many words are as before, and how the next one differs; the last pair may lack that.
 */
static void put_words(struct record_bytes *bytes, const uint64_t *before, const uint64_t *words,
                      unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        unsigned start = i;
        while (i < n && words[i] == (before != NULL ? before[i] : 0))
            i++;
        put_number(bytes, i - start);
        if (i < n)
            put_number(bytes, zigzag(words[i] - (before != NULL ? before[i] : 0)));
    }
}

/* The row that the same process, by its first and second key, had before; `expected` is tried
 * first.
 */
static size_t find_before(const struct record_rows *before, const uint64_t *words,
                          const unsigned key[2], size_t expected)
{
    for (size_t i = 0; i < before->n; i++) {
        size_t at = expected + i < before->n ? expected + i : expected + i - before->n;
        const uint64_t *row = before->words + at * before->n_words;
        if (row[key[0]] == words[key[0]])
            return row[key[1]] == words[key[1]] ? at : before->n;
        if (i == 64 && words[key[0]] < row[key[0]]) /* they are sorted: it is new */
            return before->n;
    }
    return before->n;
}

/* Where in a row stands what tells it from others; of a name the first eight bytes will do. */
static void find_key(enum record_table table, unsigned key[2])
{
    static const char *const names[RECORD_N_TABLES][2] = {
        {"wall_ms", "wall_ms"}, {"pid", "start_ms"}, {"keeper", "start_ms"},
        {"pid", "start_ticks"}, {"node", "name"},    {"name", "object_bytes"},
        {"keeper", "pid"}};
    const struct record_fields *fields = record_fields(table);

    for (unsigned i = 0, at = 0; i < fields->n; at += record_field_words(&fields->fields[i++]))
        for (unsigned k = 0; k < 2; k++)
            if (strcmp(fields->fields[i].name, names[table][k]) == 0)
                key[k] = at;
}

static void put_text(struct record_bytes *bytes, const char *before, const char *text)
{
    if (before == text || (before != NULL && text != NULL && strcmp(before, text) == 0)) {
        put_number(bytes, 0);
        return;
    }
    size_t n = text != NULL ? strlen(text) : 0;
    put_number(bytes, 1 + n);
    put(bytes, text != NULL ? text : "", n);
}

static void put_rows(enum record_table table, const struct record_rows *before,
                     const struct record_rows *now, struct record_bytes *bytes)
{
    unsigned key[2] = {0, 0};
    size_t expected = 0;

    find_key(table, key);
    put_number(bytes, now->n);
    for (size_t i = 0; i < now->n; i++) {
        const uint64_t *words = now->words + i * now->n_words;
        /* the system's row is always the next of itself */
        size_t at = table == RECORD_SYSTEM ? 0 : find_before(before, words, key, expected);
        bool is_new = at >= before->n;
        put_number(bytes, is_new ? 0 : 1 + zigzag(at - expected));
        put_words(bytes, is_new ? NULL : before->words + at * before->n_words, words, now->n_words);
        if (table == RECORD_PROCESS)
            put_text(bytes, is_new ? NULL : before->texts[at], now->texts[i]);
        expected = is_new ? expected : at + 1;
    }
}

void record_encode(const struct record_flat *before, const struct record_flat *now,
                   struct record_bytes *bytes)
{
    for (unsigned i = 0; i < RECORD_N_TABLES; i++)
        put_rows((enum record_table)i, &before->tables[i], &now->tables[i], bytes);
}

/* ---- reading ---- */

struct cursor {
    const unsigned char *at, *end;
};

static bool get_number(struct cursor *cursor, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; shift < 64 && cursor->at < cursor->end; shift += 7) {
        unsigned char digit = *cursor->at++;
        *value |= (uint64_t)(digit & 0x7f) << shift;
        if (digit < 0x80)
            return true;
    }
    return false;
}

static bool get_words(struct cursor *cursor, const uint64_t *before, uint64_t *words, unsigned n)
{
    uint64_t n_same, difference;

    for (unsigned i = 0; i < n; i++) {
        if (!get_number(cursor, &n_same) || n_same > n - i)
            return false;
        for (; n_same > 0; n_same--, i++)
            words[i] = before != NULL ? before[i] : 0;
        if (i == n)
            return true;
        if (!get_number(cursor, &difference))
            return false;
        words[i] = (before != NULL ? before[i] : 0) + unzigzag(difference);
    }
    return true;
}

static int get_text(struct cursor *cursor, const char *before, char **text)
{
    uint64_t n;

    if (!get_number(cursor, &n))
        return -EBADMSG;
    if (n == 0) {
        *text = before != NULL ? strdup(before) : NULL;
        return before != NULL && *text == NULL ? -ENOMEM : 0;
    }
    n--;
    if (n > RECORD_MAX_TEXT || n > (uint64_t)(cursor->end - cursor->at))
        return -EBADMSG;
    *text = strndup((const char *)cursor->at, n);
    cursor->at += n;
    return *text == NULL ? -ENOMEM : 0;
}

static int get_row(struct cursor *cursor, enum record_table table, const struct record_rows *before,
                   size_t *expected, struct record_rows *now)
{
    uint64_t reference;
    size_t at = 0;

    if (!get_number(cursor, &reference))
        return -EBADMSG;
    bool is_new = reference == 0;
    if (!is_new) {
        at = *expected + (size_t)unzigzag(reference - 1);
        if (at >= before->n)
            return -EBADMSG;
        *expected = at + 1;
    }
    uint64_t *words = add_row(now);
    if (words == NULL)
        return -ENOMEM;
    if (!get_words(cursor, is_new ? NULL : before->words + at * before->n_words, words,
                   now->n_words))
        return -EBADMSG;
    if (table != RECORD_PROCESS)
        return 0;
    return get_text(cursor, is_new ? NULL : before->texts[at], &now->texts[now->n - 1]);
}

int record_decode(const struct record_flat *before, const unsigned char *data, size_t n,
                  struct record_flat *now)
{
    struct cursor cursor = {data, data + n};

    record_flat_clear(now);
    for (unsigned i = 0; i < RECORD_N_TABLES; i++) {
        uint64_t n_rows;
        size_t expected = 0;
        if (now->tables[i].n_words == 0) /* not in this file */
            continue;
        if (!get_number(&cursor, &n_rows) || n_rows > (uint64_t)(cursor.end - cursor.at) ||
            n_rows * now->tables[i].n_words > RECORD_MAX_WORDS ||
            (i == RECORD_SYSTEM && n_rows != 1))
            return -EBADMSG;
        for (; n_rows > 0; n_rows--) {
            int error = get_row(&cursor, (enum record_table)i, &before->tables[i], &expected,
                                &now->tables[i]);
            if (error < 0)
                return error;
        }
    }
    return cursor.at == cursor.end ? 0 : -EBADMSG;
}
