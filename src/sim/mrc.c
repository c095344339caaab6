/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mrc: see quire/sim.h. Reuse distances of all pages, or of a sample, summed up.
 *
 *   records --page number--> in the sample? --pages_find()--> distances_touch() --> n_at[distance]
 *                                      hash below a threshold                  '--> groups
 *
 * A page of RAM is a page more that may lie between two touches: with n pages a reference faults if
 * its distance is n or more. A sample with rate R sees R of the pages in between, so distance d of
 * it stands for d / R.
 *
 * Count correction: how many references fall into the sample depends on whether the hottest pages
 * do, and those hit at any size. So what is missing to the expected number counts as hits.
 */
#include "sim/distances.h"
#include "sim/intervals.h"
#include "sim/pages.h"
#include "sim/process.h"
#include "sim/reader.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define GROUPS 32u
#define T_31 2.04 /* Student's t, 31 degrees of freedom, 95 % */
#define BINS_PER_OCTAVE 8u
#define BINS (64u * BINS_PER_OCTAVE)

struct groups { /* of the sample, by hash: how much do they differ? */
    uint64_t n_cold[GROUPS];
    uint64_t n[GROUPS][BINS]; /* by distance */
};

struct quire_mrc {
    struct quire_trace_info info;
    struct quire_mrc_options options;
    unsigned shift;     /* of addresses, to page numbers */
    uint64_t threshold; /* hashes below are in the sample; 0: all are */
    double rate;
    struct pages pages;
    struct processes processes;
    struct distances distances;
    struct array per_page; /* struct distances_page */
    struct array n_at;     /* uint64_t: references by distance; finish() makes sums from the end */
    uint64_t longest;      /* distance + 1 */
    uint64_t n_references, n_sampled, n_cold;
    struct groups *groups; /* NULL: all pages are looked at */
    struct intervals intervals;
    struct { /* what is in the sample and not yet looked at */
        size_t n;
        uint64_t keys[PAGES_BATCH], now[PAGES_BATCH], time_ns[PAGES_BATCH], distances[PAGES_BATCH];
        uint32_t owners[PAGES_BATCH], numbers[PAGES_BATCH];
    } batch;
};

int quire_mrc_open(const struct quire_mrc_options *options, const struct quire_trace_info *info,
                   struct quire_mrc **result)
{
    const unsigned shift = options->page_shift != 0 ? options->page_shift : 12;
    const bool is_sampled = options->rate != 0 && options->rate != 1;
    if (shift < QUIRE_SIM_MIN_PAGE_SHIFT || shift > QUIRE_SIM_MAX_PAGE_SHIFT ||
        shift < info->unit_shift || shift < info->granule ||
        (is_sampled && !(options->rate > 0 && options->rate < 1)))
        return -EINVAL;
    struct quire_mrc *mrc = calloc(1, sizeof *mrc);
    if (mrc == NULL)
        return -ENOMEM;
    mrc->info = *info;
    mrc->options = *options;
    mrc->shift = shift - info->unit_shift;
    mrc->rate = is_sampled ? options->rate : 1;
    mrc->threshold = is_sampled ? (uint64_t)(options->rate * 0x1p64) | 1 : 0;
    int error = pages_init(&mrc->pages);
    if (!error)
        error = distances_init(&mrc->distances);
    if (!error && is_sampled && (mrc->groups = calloc(1, sizeof *mrc->groups)) == NULL)
        error = -ENOMEM;
    if (error) {
        quire_mrc_close(mrc);
        return error;
    }
    *result = mrc;
    return 0;
}

void quire_mrc_close(struct quire_mrc *mrc)
{
    if (mrc == NULL)
        return;
    pages_deinit(&mrc->pages);
    processes_free(&mrc->processes);
    distances_deinit(&mrc->distances);
    array_free(&mrc->per_page);
    array_free(&mrc->n_at);
    free(mrc->groups);
    free(mrc);
}

/* ---- a batch ---- */

/* BINS_PER_OCTAVE bins between powers of two. */
static unsigned bin_of(uint64_t distance)
{
    if (distance < BINS_PER_OCTAVE)
        return (unsigned)distance;
    unsigned octave = 63u - (unsigned)__builtin_clzll(distance);
    return (octave - 2) * BINS_PER_OCTAVE +
           (unsigned)(distance >> (octave - 3) & (BINS_PER_OCTAVE - 1));
}

static void note_group(struct quire_mrc *mrc, size_t i, uint64_t distance)
{
    unsigned group = (unsigned)(pages_hash(mrc->batch.keys[i], mrc->batch.owners[i]) % GROUPS);
    if (distance == DISTANCES_NONE)
        mrc->groups->n_cold[group]++;
    else
        mrc->groups->n[group][bin_of(distance)]++;
}

static void note(struct quire_mrc *mrc, size_t i, uint64_t distance)
{
    if (mrc->groups != NULL)
        note_group(mrc, i, distance);
    if (distance == DISTANCES_NONE) {
        mrc->n_cold++;
        return;
    }
    ((uint64_t *)mrc->n_at.base)[distance]++;
    if (distance >= mrc->longest)
        mrc->longest = distance + 1;
}

#define AHEAD 16u

static int flush(struct quire_mrc *mrc)
{
    const size_t n = mrc->batch.n;
    int error = pages_find(&mrc->pages, mrc->batch.keys, mrc->batch.owners, n, mrc->batch.numbers);
    if (!error)
        error = array_grow(&mrc->per_page, mrc->pages.end * sizeof(struct distances_page));
    if (!error)
        error = array_grow(&mrc->n_at, (mrc->pages.end + (size_t)1) * sizeof(uint64_t));
    struct distances_page *pages = mrc->per_page.base;
    if (!error)
        error = distances_make_room(&mrc->distances, n, pages, mrc->pages.end);
    if (error)
        return error;
    for (size_t i = 0; i < n; i++) {
        struct distances_page *page = &pages[mrc->batch.numbers[i]];
        if (i + AHEAD < n)
            __builtin_prefetch(&pages[mrc->batch.numbers[i + AHEAD]]);
        if (i + AHEAD / 2 < n)
            __builtin_prefetch((uint64_t *)mrc->distances.bits.base +
                               pages[mrc->batch.numbers[i + AHEAD / 2]].last / 64);
        intervals_touch(&mrc->intervals, page, mrc->batch.now[i], mrc->batch.time_ns[i]);
        mrc->batch.distances[i] = distances_touch(&mrc->distances, page);
        if (mrc->batch.distances[i] != DISTANCES_NONE)
            __builtin_prefetch((uint64_t *)mrc->n_at.base + mrc->batch.distances[i]);
    }
    for (size_t i = 0; i < n; i++)
        note(mrc, i, mrc->batch.distances[i]);
    mrc->n_sampled += n;
    mrc->batch.n = 0;
    return 0;
}

/* ---- records ---- */

static inline bool is_in_sample(const struct quire_mrc *mrc, uint64_t key, uint32_t owner)
{
    return mrc->threshold == 0 || pages_hash(key, owner) < mrc->threshold;
}

/* Few are in a small sample: the branch is foretold, and nothing is stored for the others. */
static inline void put(struct quire_mrc *mrc, uint64_t key, uint32_t owner, uint64_t time_ns)
{
    const uint64_t now = mrc->n_references++;
    if (!is_in_sample(mrc, key, owner))
        return;
    const size_t at = mrc->batch.n++;
    mrc->batch.keys[at] = key;
    mrc->batch.owners[at] = owner;
    mrc->batch.now[at] = now;
    mrc->batch.time_ns[at] = time_ns;
}

static void forget(struct quire_mrc *mrc, struct pages_range range)
{
    struct distances_page *pages = mrc->per_page.base;
    while (pages_next(&mrc->pages, &range)) {
        distances_forget(&mrc->distances, &pages[range.number]);
        pages_forget(&mrc->pages, range.number);
    }
}

/* Unmapped or dropped. */
static int take_loss(struct quire_mrc *mrc, const struct quire_trace_record *record, uint32_t owner,
                     const struct quire_trace *trace)
{
    const struct pages_range range = pages_lost(record, owner, trace, mrc->shift);
    if (mrc->info.unit_shift != 0 || range.first >= range.end)
        return 0;
    int error = flush(mrc);
    if (!error)
        forget(mrc, range);
    return error;
}

/* LRU can't know what the program's heap does with its memory. */
static bool is_passed_over(const struct quire_mrc *mrc, const struct quire_trace_record *record)
{
    return record->kind == QUIRE_TRACE_MAP || record->kind == QUIRE_TRACE_FREE ||
           (record->kind == QUIRE_TRACE_FETCH && mrc->options.without_fetches);
}

/* The page of a reference's last byte. */
static inline uint64_t last_page(const struct quire_mrc *mrc,
                                 const struct quire_trace_record *record, bool may_span)
{
    const uint64_t n_more = may_span && record->n_bytes > 1 ? record->n_bytes - 1 : 0;
    return (record->address + n_more < record->address ? record->address
                                                       : record->address + n_more) >>
           mrc->shift;
}

static int take_one(struct quire_mrc *mrc, const struct quire_trace_record *record, uint32_t owner,
                    bool may_span)
{
    const uint64_t last = last_page(mrc, record, may_span);
    for (uint64_t key = record->address >> mrc->shift;; key++) {
        put(mrc, key, owner, record->time_ns);
        int error = mrc->batch.n == PAGES_BATCH ? flush(mrc) : 0;
        if (error || key == last)
            return error;
    }
}

/*
 * Passes over references that lie in one page each, of this process, and are not in the sample:
 * nearly all of a small one. Returns how many.
 */
static size_t skip(struct quire_mrc *mrc, const struct quire_trace_record *records, size_t n,
                   uint32_t process, uint32_t owner)
{
    const bool may_span = mrc->info.unit_shift == 0 && mrc->info.is_spatial;
    const unsigned most = mrc->options.without_fetches ? QUIRE_TRACE_WRITE : QUIRE_TRACE_FETCH;
    size_t i = 0;
    for (; i < n; i++) {
        const uint64_t key = records[i].address >> mrc->shift;
        if (records[i].kind > most || records[i].process != process ||
            last_page(mrc, &records[i], may_span) != key || pages_hash(key, owner) < mrc->threshold)
            break;
    }
    mrc->n_references += i;
    return i;
}

/* Whatever it is. *owner: of its process. */
static int take(struct quire_mrc *mrc, const struct quire_trace_record *record,
                const struct quire_trace *trace, uint32_t *owner)
{
    const bool may_span = mrc->info.unit_shift == 0 && mrc->info.is_spatial;
    int error = 0;
    if (is_passed_over(mrc, record))
        return 0;
    if (!processes_is(&mrc->processes, record->process, owner))
        error = processes_find(&mrc->processes, record->process, owner);
    if (error)
        return error;
    return record->kind < QUIRE_TRACE_MAP ? take_one(mrc, record, *owner, may_span)
                                          : take_loss(mrc, record, *owner, trace);
}

int quire_mrc_feed(struct quire_mrc *mrc, const struct quire_trace_record *records, size_t n,
                   const struct quire_trace *trace)
{
    int error = 0;
    for (size_t i = 0; i < n && !error; i++) {
        uint32_t owner = 0;
        if (mrc->threshold != 0 && processes_is(&mrc->processes, records[i].process, &owner))
            i += skip(mrc, records + i, n - i, records[i].process, owner);
        if (i < n)
            error = take(mrc, &records[i], trace, &owner);
    }
    return error;
}

static void begin_sample(struct trace_sample *sample, uint32_t process, uint32_t owner)
{
    sample->process = process;
    sample->owner = owner;
    for (size_t i = 0; i < TRACE_SAMPLE_SLOTS; i++)
        sample->passed[i] = TRACE_SAMPLE_NONE;
}

/* What the format passes over is counted. */
static int feed_sample(struct quire_mrc *mrc, struct quire_trace *trace,
                       struct quire_trace_record *records, size_t most)
{
    struct trace_sample sample = {.shift = mrc->shift,
                                  .may_span = mrc->info.unit_shift == 0 && mrc->info.is_spatial,
                                  .most_kind = mrc->options.without_fetches ? QUIRE_TRACE_WRITE
                                                                            : QUIRE_TRACE_FETCH,
                                  .threshold = mrc->threshold};
    int error = 0;
    long n = 0;
    begin_sample(&sample, UINT32_MAX, 0); /* nobody's */
    while (!error && (n = trace_read_sample(trace, &sample, records, most)) > 0) {
        for (long i = 0; i < n && !error; i++) {
            uint32_t owner = sample.owner;
            if (records[i].kind < QUIRE_TRACE_MAP)
                mrc->n_references += records[i].mapping;
            error = take(mrc, &records[i], trace, &owner);
            if (!is_passed_over(mrc, &records[i]) && records[i].process != sample.process)
                begin_sample(&sample, records[i].process, owner);
        }
    }
    mrc->n_references += sample.n_passed;
    return error ? error : (int)n;
}

static int feed_raw(struct quire_mrc *mrc, const struct trace_raw *raw)
{
    const unsigned char *at = raw->at;
    for (size_t i = 0; i < raw->n; i++, at += raw->n_bytes) {
        uint64_t address;
        uint32_t seconds;
        memcpy(&address, at + raw->address_at, sizeof address);
        memcpy(&seconds, at + raw->seconds_at, sizeof seconds);
        put(mrc, address >> mrc->shift, 0, seconds * (uint64_t)1000000000);
        int error = mrc->batch.n == PAGES_BATCH ? flush(mrc) : 0;
        if (error)
            return error;
    }
    return 0;
}

#define RECORDS 1024u

int quire_mrc_feed_trace(struct quire_mrc *mrc, struct quire_trace *trace)
{
    struct quire_trace_record records[RECORDS];
    struct trace_raw raw = {0};
    long n = 0;
    int error = 0;
    while (trace->format->read_raw != NULL && !(error = trace_read_raw(trace, &raw)) && raw.n > 0 &&
           !(error = feed_raw(mrc, &raw)))
        ;
    if (trace->format->read_sample != NULL && mrc->threshold != 0)
        return feed_sample(mrc, trace, records, RECORDS);
    while (trace->format->read_raw == NULL && !error &&
           (n = quire_trace_read(trace, records, RECORDS)) > 0)
        error = quire_mrc_feed(mrc, records, (size_t)n, trace);
    return error ? error : (int)n;
}

int quire_mrc_feed_pages(struct quire_mrc *mrc, const uint64_t *pages, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        put(mrc, pages[i], 0, 0);
        if (mrc->batch.n == PAGES_BATCH) {
            int error = flush(mrc);
            if (error)
                return error;
        }
    }
    return 0;
}

/* ---- results ---- */

int quire_mrc_finish(struct quire_mrc *mrc)
{
    int error = flush(mrc);
    if (!error)
        error = array_grow(&mrc->n_at, (mrc->longest + 1) * sizeof(uint64_t));
    if (error)
        return error;
    uint64_t *n_at = mrc->n_at.base, sum = mrc->n_cold;
    n_at[mrc->longest] = sum;
    for (uint64_t i = mrc->longest; i-- > 0;) {
        sum += n_at[i];
        n_at[i] = sum; /* that fault with i pages */
    }
    return 0;
}

uint64_t quire_mrc_references(const struct quire_mrc *mrc)
{
    return mrc->n_references;
}

uint64_t quire_mrc_pages(const struct quire_mrc *mrc)
{
    uint64_t n = mrc->pages.end - QUIRE_SIM_FIRST_PAGE;
    return mrc->threshold == 0 ? n : (uint64_t)((double)n / mrc->rate + 0.5);
}

uint64_t quire_mrc_sampled(const struct quire_mrc *mrc)
{
    return mrc->n_sampled;
}

/* References of the sample that fault; no pages at all: all of them do. */
static uint64_t sampled_faults(const struct quire_mrc *mrc, double n_pages)
{
    const double distance = ceil(n_pages * mrc->rate);
    const uint64_t *n_at = mrc->n_at.base;
    if (distance >= (double)mrc->longest)
        return n_at[mrc->longest];
    return n_at[(uint64_t)distance];
}

static double ratio_at(const struct quire_mrc *mrc, double n_pages)
{
    if (mrc->n_references == 0)
        return 0;
    if (n_pages < 1)
        return 1;
    double ratio = (double)sampled_faults(mrc, n_pages) / ((double)mrc->n_references * mrc->rate);
    return ratio < 1 ? ratio : 1;
}

double quire_mrc_ratio(const struct quire_mrc *mrc, uint64_t n_pages)
{
    return ratio_at(mrc, (double)n_pages);
}

uint64_t quire_mrc_faults(const struct quire_mrc *mrc, uint64_t n_pages)
{
    if (n_pages == 0)
        return mrc->n_references;
    if (mrc->threshold == 0)
        return sampled_faults(mrc, (double)n_pages);
    return (uint64_t)(ratio_at(mrc, (double)n_pages) * (double)mrc->n_references + 0.5);
}

/* How the groups' faults spread: the standard error of their sum. */
static double spread(const struct quire_mrc *mrc, double n_pages)
{
    const unsigned first = bin_of((uint64_t)ceil(n_pages * mrc->rate));
    double sum = 0, squares = 0;
    for (unsigned group = 0; group < GROUPS; group++) {
        uint64_t n = mrc->groups->n_cold[group];
        for (unsigned bin = first; bin < BINS; bin++)
            n += mrc->groups->n[group][bin];
        sum += (double)n;
        squares += (double)n * (double)n;
    }
    double variance = (squares - sum * sum / GROUPS) / (GROUPS - 1);
    return sqrt(GROUPS * (variance > 0 ? variance : 0));
}

double quire_mrc_bound(const struct quire_mrc *mrc, uint64_t n_pages)
{
    if (mrc->threshold == 0 || mrc->n_references == 0 || n_pages == 0)
        return 0;
    const double n = (double)n_pages, ratio = ratio_at(mrc, n),
                 shift = 2 * sqrt(n * (1 - mrc->rate) / mrc->rate);
    const double less = ratio_at(mrc, n - shift) - ratio, more = ratio - ratio_at(mrc, n + shift);
    return T_31 * spread(mrc, n) / ((double)mrc->n_references * mrc->rate) +
           (less > more ? less : more);
}

uint64_t quire_mrc_distances(const struct quire_mrc *mrc, uint64_t from, uint64_t to)
{
    if (from >= to)
        return 0;
    uint64_t n = sampled_faults(mrc, (double)from) - sampled_faults(mrc, (double)to);
    return mrc->threshold == 0 ? n : (uint64_t)((double)n / mrc->rate + 0.5);
}

uint32_t quire_mrc_intervals(const struct quire_mrc *mrc)
{
    return intervals_number(&mrc->intervals, mrc->n_references);
}

struct quire_mrc_interval quire_mrc_interval(const struct quire_mrc *mrc, uint32_t i)
{
    const uint64_t length = (uint64_t)1 << (INTERVALS_LEAST_SHIFT + mrc->intervals.level);
    struct quire_mrc_interval interval = {.first = i * length, .n_references = length};
    if (i >= quire_mrc_intervals(mrc))
        return (struct quire_mrc_interval){0};
    if (interval.first + length > mrc->n_references)
        interval.n_references = mrc->n_references - interval.first;
    interval.time_ns = mrc->intervals.time_ns[i];
    interval.n_pages = (uint64_t)((double)intervals_pages(&mrc->intervals, i) / mrc->rate + 0.5);
    return interval;
}
