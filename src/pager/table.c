/* SPDX-License-Identifier: Apache-2.0 */
/*
 * table: see table.h.
 *
 * States of a group, by its number
 *   unopened  n_opened and above: untouched, all zeros     -> take_group() -> linked
 *   free      on the free list, zeros but for the link     -> take_group() -> linked
 *   linked    named by one word of the index, not empty    -> give_group() -> free
 *
 * Invariants; table_validate() checks them by number:
 *   T1  the count in n_used[c] == entries of chunk c that are not 0
 *   T2  the count in a word of the index == entries of its group that are not 0, and never 0: a
 *       group that falls empty is given back at once
 *   T3  a group below n_opened is named by exactly one word, or stands on the free list once. It is
 *       given back only when it has fallen empty, so as long as an entry is not 0 it does not move
 *   T4  nothing is used at or above `highest`
 *   T5  charged_bytes == the pages of memory that were ever written to: of groups those below
 *       n_opened; of the index and of n_used those that the flags in n_used tell of
 *   T6  n_stored == entries whose state is STORED
 *
 * Memory that was touched stays: a table that was large once is used again before it grows.
 */
#include "pager/table.h"

#include "base/log.h"
#include "base/meta.h"
#include "base/sys.h"

#include <assert.h>
#include <errno.h>

/* In n_used, of the first chunk of those whose words, or counts, fill a page of metadata. */
#define INDEX_TOUCHED 0x8000u
#define COUNTS_TOUCHED 0x4000u

#define GROUPS_PER_CHUNK (TABLE_CHUNK_PAGES / TABLE_GROUP_PAGES)
#define GROUPS_PER_PAGE (uint32_t)(SYS_PAGE_SIZE / sizeof(struct table_group))
#define CHUNKS_PER_INDEX_PAGE (uint32_t)(SYS_PAGE_SIZE / sizeof(uint32_t) / GROUPS_PER_CHUNK)
#define CHUNKS_PER_COUNTS_PAGE (uint32_t)(SYS_PAGE_SIZE / sizeof(uint16_t))

static_assert(PAGE_MARK_SHIFT + POLICY_MARK_BITS <= PAGE_PAYLOAD_SHIFT &&
                  PAGE_PAYLOAD_SHIFT + POLICY_PLACE_BITS <= 64,
              "a policy's mark and place fit");
static_assert(TABLE_CHUNK_PAGES <= TABLE_USED_MASK, "n_used holds a full chunk");
static_assert(TABLE_GROUP_PAGES <= TABLE_COUNT_MASK, "a word holds the count of a full group");
static_assert(((TABLE_MOST_PAGES >> TABLE_GROUP_SHIFT) - 1) << TABLE_COUNT_BITS >>
                      TABLE_COUNT_BITS ==
                  (TABLE_MOST_PAGES >> TABLE_GROUP_SHIFT) - 1,
              "and any group's number");

int table_init(struct table *table, uint32_t n_pages)
{
    if (n_pages > TABLE_MOST_PAGES)
        return -EINVAL;
    size_t n_chunks = ((size_t)n_pages + TABLE_CHUNK_PAGES - 1) >> TABLE_CHUNK_SHIFT;
    size_t n_groups = n_chunks * GROUPS_PER_CHUNK;
    *table = (struct table){
        .groups = meta_map(n_groups * sizeof(struct table_group)),
        .index = meta_map(n_groups * sizeof(uint32_t)),
        .n_used = meta_map(n_chunks * sizeof(uint16_t)),
        .n_pages = n_pages,
    };
    return table->groups && table->index && table->n_used ? 0 : -ENOMEM;
}

static void charge_page(struct table *table) /* T5 */
{
    table->charged_bytes += SYS_PAGE_SIZE;
    meta_charge((long)SYS_PAGE_SIZE);
}

/* The first chunk of the page of metadata that holds something of this one's. */
static uint16_t *flags_of(const struct table *table, uint32_t page, uint32_t n_chunks)
{
    return &table->n_used[(page >> TABLE_CHUNK_SHIFT) / n_chunks * n_chunks];
}

/* What leads to the page's group is about to be written to. */
static void touch_index(struct table *table, uint32_t page)
{
    uint16_t *of_index = flags_of(table, page, CHUNKS_PER_INDEX_PAGE);
    uint16_t *of_counts = flags_of(table, page, CHUNKS_PER_COUNTS_PAGE);
    if (!(*of_counts & COUNTS_TOUCHED)) {
        *of_counts |= COUNTS_TOUCHED;
        charge_page(table);
    }
    if (!(*of_index & INDEX_TOUCHED)) {
        *of_index |= INDEX_TOUCHED;
        charge_page(table);
    }
    if (page >= table->highest)
        table->highest = (page | (TABLE_CHUNK_PAGES - 1)) + 1; /* T4 */
}

/* The number of a group of zeros. There is one for all the address space has pages. */
static uint32_t take_group(struct table *table)
{
    if (table->free_group == 0) {
        if (table->n_opened % GROUPS_PER_PAGE == 0)
            charge_page(table);
        return table->n_opened++;
    }
    uint32_t number = table->free_group - 1;
    struct table_group *group = &table->groups[number];
    table->free_group = (uint32_t)group->entry[0];
    group->entry[0] = 0;
    return number;
}

static void give_group(struct table *table, uint32_t number)
{
    table->groups[number].entry[0] = table->free_group;
    table->free_group = number + 1;
}

static void set_word(struct table *table, uint32_t page, uint32_t word)
{
    /* relaxed: see table_word() */
    atomic_store_explicit(&table->index[page >> TABLE_GROUP_SHIFT], word, memory_order_relaxed);
}

/* The page's entry, 0 as yet, is about to get a value: T1 and T2. Returns the word. */
static uint32_t count_in(struct table *table, uint32_t page)
{
    uint32_t word = table_word(table, page);
    if (word == 0) {
        touch_index(table, page);
        word = take_group(table) << TABLE_COUNT_BITS;
    }
    ++table->n_used[page >> TABLE_CHUNK_SHIFT];
    set_word(table, page, word + 1);
    return word;
}

/* The page's entry has become 0: T1 and T2. */
static void count_out(struct table *table, uint32_t page, uint32_t word)
{
    --table->n_used[page >> TABLE_CHUNK_SHIFT];
    if ((--word & TABLE_COUNT_MASK) == 0) {
        give_group(table, word >> TABLE_COUNT_BITS);
        word = 0;
    }
    set_word(table, page, word);
}

void table_set(struct table *table, uint32_t page, page_entry entry)
{
    uint32_t word = table_word(table, page);
    page_entry before = table_get(table, page);
    if (before == 0 && entry == 0)
        return;
    if (before == 0)
        word = count_in(table, page);
    page_entry *at = table_entry(table, word, page);
    *at = entry == 0 ? 0 : (*at & PAGE_MARK_MASK) | entry;
    table->n_stored += (page_state(entry) == PAGE_STORED); /* T6 */
    table->n_stored -= (page_state(before) == PAGE_STORED);
    if (entry == 0)
        count_out(table, page, word);
}

/* The first page of [page, end), all of one group, whose entry is not 0, or `end`. */
static uint32_t next_in_group(const struct table *table, uint32_t page, uint32_t end)
{
    uint32_t word = table_word(table, page);
    if (word == 0)
        return end;
    while (page < end && *table_entry(table, word, page) == 0)
        page++;
    return page;
}

uint32_t table_next(const struct table *table, uint32_t page, uint32_t end)
{
    uint32_t last = end < table->highest ? end : table->highest;
    while (page < last) {
        if (!table_chunk_used(table, page)) {
            page = (page | (TABLE_CHUNK_PAGES - 1)) + 1;
            continue;
        }
        uint32_t group_end = (page | (TABLE_GROUP_PAGES - 1)) + 1;
        page = next_in_group(table, page, group_end);
        if (page < group_end)
            return page < end ? page : end;
    }
    return end;
}

/* What table_validate() adds up. */
struct tally {
    uint32_t n_groups;
    uint64_t numbers; /* the sum of a hash of the groups' numbers: T3 */
    size_t n_pages;   /* of metadata, of the index and of n_used */
    uint32_t n_stored;
};

static int wrong(unsigned invariant, uint32_t page, const char *what)
{
    log_error("table: page %u: %s (invariant T%u)", page, what, invariant);
    return -EUCLEAN;
}

/* The finalizer of splitmix64 (Steele, Lea, Flood 2014). */
static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static void tally_group(struct tally *tally, uint32_t number)
{
    tally->n_groups++;
    tally->numbers += mix((uint64_t)number + 1);
}

/* How many entries of the group at `page` are not 0, or an error. */
static int check_group(const struct table *table, uint32_t page, struct tally *tally)
{
    uint32_t word = table_word(table, page), n_used = 0;
    if (word == 0)
        return 0;
    if (word >> TABLE_COUNT_BITS >= table->n_opened)
        return wrong(3, page, "its group does not exist");
    for (uint32_t i = 0; i < TABLE_GROUP_PAGES; i++) {
        page_entry entry = *table_entry(table, word, page + i);
        n_used += entry != 0;
        tally->n_stored += page_state(entry) == PAGE_STORED;
    }
    if (n_used == 0 || n_used != (word & TABLE_COUNT_MASK))
        return wrong(2, page, "the count of its group is not that of the entries");
    tally_group(tally, word >> TABLE_COUNT_BITS);
    return (int)n_used;
}

static int check_chunk(const struct table *table, uint32_t page, struct tally *tally)
{
    uint16_t said = table->n_used[page >> TABLE_CHUNK_SHIFT];
    uint32_t n_used = 0;
    tally->n_pages += (said & INDEX_TOUCHED) != 0;
    tally->n_pages += (said & COUNTS_TOUCHED) != 0;
    if (said != 0 && !(*flags_of(table, page, CHUNKS_PER_COUNTS_PAGE) & COUNTS_TOUCHED))
        return wrong(5, page, "its counts are not charged");
    if (!(*flags_of(table, page, CHUNKS_PER_INDEX_PAGE) & INDEX_TOUCHED))
        return said & TABLE_USED_MASK ? wrong(5, page, "its index is not charged") : 0;
    for (uint32_t i = 0; i < TABLE_CHUNK_PAGES; i += TABLE_GROUP_PAGES) {
        int n = check_group(table, page + i, tally);
        if (n < 0)
            return n;
        n_used += (uint32_t)n;
    }
    return n_used == (said & TABLE_USED_MASK)
               ? 0
               : wrong(1, page, "the count of its chunk is not that of the entries");
}

static int check_free_groups(const struct table *table, struct tally *tally)
{
    for (uint32_t next = table->free_group; next != 0;) {
        if (next > table->n_opened || tally->n_groups == table->n_opened)
            return wrong(3, 0, "the list of free groups is broken");
        const struct table_group *group = &table->groups[next - 1];
        for (uint32_t i = 1; i < TABLE_GROUP_PAGES; i++)
            if (group->entry[i] != 0)
                return wrong(3, 0, "a free group is not empty");
        tally_group(tally, next - 1);
        next = (uint32_t)group->entry[0];
    }
    return 0;
}

int table_validate(const struct table *table)
{
    struct tally tally = {0}, expected = {0};
    uint32_t n_chunks = (uint32_t)(((uint64_t)table->n_pages + TABLE_CHUNK_PAGES - 1) >>
                                   TABLE_CHUNK_SHIFT);
    int error = 0;
    for (uint32_t chunk = 0; chunk < n_chunks && !error; chunk++) {
        uint32_t page = chunk << TABLE_CHUNK_SHIFT;
        if (page >= table->highest && table->n_used[chunk] & TABLE_USED_MASK)
            return wrong(4, page, "an entry above the highest");
        error = check_chunk(table, page, &tally);
    }
    if (!error)
        error = check_free_groups(table, &tally);
    if (error)
        return error;
    for (uint32_t number = 0; number < table->n_opened; number++)
        tally_group(&expected, number);
    if (tally.n_groups != expected.n_groups || tally.numbers != expected.numbers)
        return wrong(3, 0, "a group is named twice, or lost");
    if (tally.n_stored != table->n_stored)
        return wrong(6, 0, "the count of stored pages is not that of the entries");
    tally.n_pages += ((size_t)table->n_opened + GROUPS_PER_PAGE - 1) / GROUPS_PER_PAGE;
    return tally.n_pages * SYS_PAGE_SIZE == table->charged_bytes
               ? 0
               : wrong(5, 0, "what is charged is not what was touched");
}
