/* SPDX-License-Identifier: Apache-2.0 */
/*
 * advise_trace: a trace, read twice: what is in it, then what the pager would do with it.
 *
 * New memory comes in by the pager's windows of first touches (src/policy/readahead.h), whatever
 * the policy is, so those faults are counted here, with the bytes that were in use at most by then:
 * until it is beyond the budget nothing is armed and nobody faults. What the heap frees is not in
 * use, and not new when it is handed out again: whether it is still there then depends on the
 * budget. All other faults are the simulation's, which runs the pager's own policies and
 * prefetching (<quire/sim.h>).
 */
#include "base/sys.h"
#include "cli/advise.h"
#include "cli/cli.h"
#include "policy/readahead.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH 4096
#define TOUCH_WINDOW 32u /* as in src/pager/fault.c */
#define HUGE_SHIFT 21
#define AMPLE_BYTES ((uint64_t)1 << 42) /* more than any trace touches */
#define MAP_SHIFT 12                    /* of `covered`: a bit a page, 4096 pages a piece */

/* A set of pages of all processes: pieces of a bitmap, hashed by process and upper bits. */
struct page_set {
    struct piece {
        uint64_t key; /* 0: free */
        unsigned char *bits;
    } * pieces;
    size_t n, room; /* a power of two */
};

struct looking {
    struct advise_trace *trace;
    /* A page is in one of these, or new. */
    struct page_set touched;
    struct page_set ahead; /* brought in by a window */
    struct page_set freed; /* by the heap, which may hand it out again */
    struct readahead windows;
    uint64_t live_pages, peak_pages; /* touched */
    size_t first_room;
    bool failed; /* no memory */
};

static size_t slot_of(const struct page_set *set, uint64_t key)
{
    size_t at = (size_t)(key * 0x9e3779b97f4a7c15u >> 20) & (set->room - 1);

    while (set->pieces[at].key != 0 && set->pieces[at].key != key)
        at = (at + 1) & (set->room - 1);
    return at;
}

static bool grow_set(struct page_set *set)
{
    struct page_set larger = {.n = set->n, .room = set->room > 0 ? 2 * set->room : 64};

    larger.pieces = calloc(larger.room, sizeof *larger.pieces);
    if (larger.pieces == NULL)
        return false;
    for (size_t i = 0; i < set->room; i++)
        if (set->pieces[i].key != 0)
            larger.pieces[slot_of(&larger, set->pieces[i].key)] = set->pieces[i];
    free(set->pieces);
    *set = larger;
    return true;
}

/* The byte of the page's bit; NULL: no memory, or it is not there and `make` is false. */
static unsigned char *byte_of(struct page_set *set, uint32_t process, uint64_t page, bool make)
{
    uint64_t key = (page >> MAP_SHIFT ^ (uint64_t)process << 40) + 1;

    if (set->n * 2 >= set->room && !grow_set(set))
        return NULL;
    struct piece *piece = &set->pieces[slot_of(set, key)];
    if (piece->key == 0) {
        unsigned char *bits = make ? calloc(1, (size_t)1 << (MAP_SHIFT - 3)) : NULL;
        if (bits == NULL)
            return NULL;
        *piece = (struct piece){key, bits};
        set->n++;
    }
    return &piece->bits[(page & ((1u << MAP_SHIFT) - 1)) >> 3];
}

static void free_set(struct page_set *set)
{
    for (size_t i = 0; i < set->room; i++)
        free(set->pieces[i].bits);
    free(set->pieces);
}

static bool add_first_fault(struct looking *looking)
{
    struct advise_trace *trace = looking->trace;

    if (trace->n_first_faults == looking->first_room) {
        size_t room = looking->first_room > 0 ? 2 * looking->first_room : 4096;
        uint64_t *grown = realloc(trace->first_faults, room * sizeof *grown);
        if (grown == NULL)
            return false;
        trace->first_faults = grown;
        looking->first_room = room;
    }
    trace->first_faults[trace->n_first_faults++] = looking->peak_pages << SYS_PAGE_SHIFT;
    return true;
}

static bool add_page(struct page_set *set, uint32_t process, uint64_t page)
{
    unsigned char *byte = byte_of(set, process, page, true);

    if (byte != NULL)
        *byte |= (unsigned char)(1u << (page & 7));
    return byte != NULL;
}

static bool has_page(struct page_set *set, uint32_t process, uint64_t page)
{
    const unsigned char *byte = byte_of(set, process, page, false);

    return byte != NULL && *byte >> (page & 7) & 1;
}

/* Whether it was there. */
static bool take_page(struct page_set *set, uint32_t process, uint64_t page)
{
    unsigned char *byte = byte_of(set, process, page, false);

    if (byte == NULL || !(*byte >> (page & 7) & 1))
        return false;
    *byte &= (unsigned char)~(1u << (page & 7));
    return true;
}

/* Pages of [page, end) that lie in a piece of the set, or the next ones that may; false: none. */
static bool skip_missing(struct page_set *set, uint32_t process, uint64_t *page, uint64_t end)
{
    while (*page < end && byte_of(set, process, *page, false) == NULL)
        *page = ((*page >> MAP_SHIFT) + 1) << MAP_SHIFT;
    return *page < end;
}

static bool is_new(struct looking *looking, uint32_t process, uint64_t page)
{
    return !has_page(&looking->touched, process, page) &&
           !has_page(&looking->freed, process, page) && !has_page(&looking->ahead, process, page);
}

/* A touch; if nobody has touched the page or brought it in, it is a fault on new memory. */
static void look_at(struct looking *looking, uint32_t process, uint64_t page)
{
    if (has_page(&looking->touched, process, page))
        return;
    looking->failed |= !add_page(&looking->touched, process, page);
    if (++looking->live_pages > looking->peak_pages)
        looking->peak_pages = looking->live_pages;
    if (take_page(&looking->freed, process, page) || take_page(&looking->ahead, process, page))
        return;
    uint32_t window = readahead_window(&looking->windows, (uint32_t)page, TOUCH_WINDOW);
    uint32_t n = 1;
    for (; n < window && is_new(looking, process, page + n); n++)
        looking->failed |= !add_page(&looking->ahead, process, page + n);
    if (n < window)
        readahead_cut(&looking->windows, (uint32_t)page, n, 0);
    looking->failed |= !add_first_fault(looking);
}

static void lose(struct looking *looking, uint32_t process, uint64_t start, uint64_t n_bytes,
                 bool is_freed)
{
    const uint64_t end = (start + n_bytes) >> SYS_PAGE_SHIFT;
    const uint64_t first = (start + SYS_PAGE_SIZE - 1) >> SYS_PAGE_SHIFT;
    uint64_t page = first;

    for (; skip_missing(&looking->touched, process, &page, end); page++) {
        if (!take_page(&looking->touched, process, page))
            continue;
        looking->live_pages--;
        if (is_freed)
            looking->failed |= !add_page(&looking->freed, process, page);
    }
    if (is_freed) /* what nobody has touched is as good as freed */
        return;
    for (page = first; skip_missing(&looking->ahead, process, &page, end); page++)
        take_page(&looking->ahead, process, page);
    for (page = first; skip_missing(&looking->freed, process, &page, end); page++)
        take_page(&looking->freed, process, page);
}

static void look_at_mapping(struct looking *looking, const struct quire_trace_mapping *mapping,
                            bool is_gone)
{
    if (is_gone)
        lose(looking, mapping->process, mapping->start, mapping->n_bytes, false);
    else if (record_note_read(mapping->name, &looking->trace->note))
        looking->trace->has_note = looking->trace->note.wall_ns > 0;
}

static void look_at_record(struct looking *looking, const struct quire_trace_record *record,
                           const struct quire_trace *trace, unsigned unit_shift)
{
    const struct quire_trace_mapping *mapping;

    looking->trace->duration_ns = record->time_ns;
    switch (record->kind) {
    case QUIRE_TRACE_READ:
    case QUIRE_TRACE_WRITE:
        look_at(looking, record->process, record->address << unit_shift >> SYS_PAGE_SHIFT);
        return;
    case QUIRE_TRACE_FREE:
    case QUIRE_TRACE_DROP:
        lose(looking, record->process, record->address, record->n_bytes,
             record->kind == QUIRE_TRACE_FREE);
        return;
    case QUIRE_TRACE_MAP:
    case QUIRE_TRACE_UNMAP:
        mapping = quire_trace_mapping(trace, record->mapping);
        if (mapping != NULL)
            look_at_mapping(looking, mapping, record->kind == QUIRE_TRACE_UNMAP);
        return;
    default:
        return;
    }
}

/* ---- simulating ---- */

struct feeding {
    struct quire_trace *trace;
    struct quire_sim *sim;
    struct looking *looking;           /* or NULL */
    const struct advise_point *points; /* the cases, where what is stored compresses as recorded */
    size_t n_points;
};

static struct quire_trace *open_trace(const char *path)
{
    char message[QUIRE_TRACE_MESSAGE_BYTES];
    struct quire_trace *trace = NULL;

    if (quire_trace_open(path, NULL, message, &trace) == 0)
        return trace;
    cli_error("%s", message);
    return NULL;
}

/* What is stored compresses like this from now on: each case's policy has it as its argument. */
static void follow(const struct feeding *feeding, const struct quire_trace_mapping *mapping)
{
    struct record_note note;

    if (mapping == NULL || !record_note_read(mapping->name, &note) || note.stored_pages == 0)
        return;
    uint64_t percent = note.pool_bytes * 100 / SYS_PAGE_SIZE / note.stored_pages;
    for (size_t i = 0; i < feeding->n_points; i++) {
        const unsigned most = feeding->points[i].most_percent;
        (void)quire_sim_set_argument(feeding->sim, i,
                                     percent < 1      ? 1
                                     : percent > most ? most
                                                      : percent);
    }
}

static int feed_records(const struct feeding *feeding, const struct quire_trace_record *records,
                        size_t n)
{
    size_t first = 0;
    int error = 0;

    for (size_t i = 0; feeding->n_points > 0 && i < n && error == 0; i++) {
        if (records[i].kind != QUIRE_TRACE_MAP)
            continue;
        error = quire_sim_feed(feeding->sim, records + first, i - first, feeding->trace);
        first = i;
        follow(feeding, quire_trace_mapping(feeding->trace, records[i].mapping));
    }
    return error != 0 ? error
                      : quire_sim_feed(feeding->sim, records + first, n - first, feeding->trace);
}

/* The whole trace through the simulation, and by the looker if there is one. */
static bool feed(const struct feeding *feeding)
{
    static struct quire_trace_record records[BATCH];
    struct quire_trace *trace = feeding->trace;
    struct looking *looking = feeding->looking;
    const unsigned shift = quire_trace_info(trace)->unit_shift;
    int error = 0;
    long n;

    while ((n = quire_trace_read(trace, records, BATCH)) > 0 && error == 0) {
        error = feed_records(feeding, records, (size_t)n);
        for (long i = 0; looking != NULL && i < n; i++)
            look_at_record(looking, &records[i], trace, shift);
    }
    if (n < 0) {
        cli_error("%s", quire_trace_message(trace));
        return false;
    }
    if (error == 0)
        error = quire_sim_finish(feeding->sim);
    if (error != 0 || (looking != NULL && looking->failed))
        cli_error("cannot simulate the trace: %s",
                  error == -E2BIG ? "it has too many pages" : strerror(error ? -error : ENOMEM));
    else if (looking != NULL && !quire_trace_is_whole(trace))
        cli_error("the trace was cut off: this is about what is there");
    return error == 0 && (looking == NULL || !looking->failed);
}

static struct quire_sim *open_sim(const struct quire_sim_case *cases, size_t n,
                                  const struct quire_trace_info *info)
{
    const struct quire_sim_options options = {.without_fetches = true};
    struct quire_sim *sim = NULL;
    size_t bad;
    int error = quire_sim_open(cases, n, info, &options, &sim, &bad);

    if (error != 0)
        cli_error("cannot simulate the trace: %s", strerror(-error));
    return error == 0 ? sim : NULL;
}

static bool check(const struct advise_trace *trace, const struct quire_trace_info *info)
{
    if (!info->is_spatial || info->unit_shift > SYS_PAGE_SHIFT) {
        cli_error("%s is a trace of objects, which have no pages", trace->path);
        return false;
    }
    if (info->every == QUIRE_TRACE_EVERY_SAMPLE) {
        cli_error("%s has samples, of which no faults can be counted\n"
                  "record pages: quire record -- COMMAND",
                  trace->path);
        return false;
    }
    return true;
}

bool advise_read(const char *path, struct advise_trace *result)
{
    const struct quire_sim_policy *lru;
    uint64_t none;
    struct quire_trace *trace = open_trace(path);
    struct looking looking = {.trace = result};

    *result = (struct advise_trace){.path = path};
    if (trace == NULL || quire_sim_find_policy("fifo", &lru, &none) != 0)
        return false;
    const struct quire_trace_info *info = quire_trace_info(trace);
    const struct quire_sim_case cases[] = {
        {.policy = lru, .ram_bytes = AMPLE_BYTES, .page_shift = SYS_PAGE_SHIFT},
        {.policy = lru, .ram_bytes = AMPLE_BYTES, .page_shift = HUGE_SHIFT}};
    result->every = info->every;
    result->command = strdup(info->command);
    struct quire_sim *sim = check(result, info) ? open_sim(cases, 2, info) : NULL;
    bool good = sim != NULL &&
                feed(&(struct feeding){.trace = trace, .sim = sim, .looking = &looking});
    if (good) {
        const struct quire_sim_counts *small = quire_sim_result(sim, 0);
        result->references = small->references;
        result->touched_bytes = small->cold_faults << SYS_PAGE_SHIFT;
        result->peak_bytes = looking.peak_pages << SYS_PAGE_SHIFT;
        result->peak_huge_bytes = quire_sim_result(sim, 1)->resident_max << HUGE_SHIFT;
    }
    if (sim != NULL)
        quire_sim_close(sim);
    quire_trace_close(trace);
    free_set(&looking.touched);
    free_set(&looking.ahead);
    free_set(&looking.freed);
    if (good && result->peak_bytes == 0) {
        cli_error("%s has no touches of memory: there is nothing to advise on\n"
                  "a program that allocates nothing needs no budget; static ones are not seen",
                  path);
        return false;
    }
    return good;
}

void advise_trace_free(struct advise_trace *trace)
{
    free(trace->command);
    free(trace->first_faults);
}

/* Faults on new memory since more was in use than the budget has. */
static uint64_t first_faults(const struct advise_trace *trace, uint64_t ram_bytes)
{
    uint64_t n = 0;

    for (size_t i = 0; i < trace->n_first_faults; i++)
        n += trace->first_faults[i] > ram_bytes;
    return n;
}

static uint64_t less(uint64_t from, uint64_t what)
{
    return from > what ? from - what : 0;
}

/*
 * Of the simulation's faults on memory without contents those on what had been freed and dropped
 * are counted here, beside those on what was never touched, of which above.
 */
bool advise_simulate(const struct advise *advise, struct advise_point *points, size_t n)
{
    const struct advise_trace *trace = advise->trace;
    struct quire_sim_case *cases = calloc(n, sizeof *cases);
    struct quire_trace *file = open_trace(trace->path);
    struct quire_sim *sim = NULL;

    for (size_t i = 0; cases != NULL && i < n; i++)
        cases[i] = (struct quire_sim_case){.policy = points[i].policy,
                                           .argument = points[i].stored_percent,
                                           .ram_bytes = points[i].frame_bytes,
                                           .budget_bytes = points[i].ram_bytes,
                                           .page_shift = SYS_PAGE_SHIFT,
                                           .prefetch = QUIRE_SIM_PREFETCH_ADAPTIVE};
    if (cases != NULL && file != NULL)
        sim = open_sim(cases, n, quire_trace_info(file));
    bool good = sim != NULL &&
                feed(&(struct feeding){.trace = file,
                                       .sim = sim,
                                       .points = points,
                                       .n_points = advise->follows_compression ? n : 0});
    for (size_t i = 0; good && i < n; i++) {
        const struct quire_sim_counts *counts = quire_sim_result(sim, i);
        points[i].never = first_faults(trace, points[i].ram_bytes);
        points[i].first = points[i].never +
                          less(counts->cold_faults, trace->touched_bytes >> SYS_PAGE_SHIFT);
        points[i].again = less(counts->faults, counts->cold_faults) + counts->soft_faults;
        points[i].ahead = counts->prefetched;
    }
    if (sim != NULL)
        quire_sim_close(sim);
    if (file != NULL)
        quire_trace_close(file);
    free(cases);
    return good;
}
