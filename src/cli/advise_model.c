/* SPDX-License-Identifier: Apache-2.0 */
/*
 * advise_model: from faults at each size to a budget.
 *
 *     budget  =  resident + staged + pool + tables + what is kept free        as in `quire run`
 *
 * The pool takes what is stored, compressed, up to 3/4 of the budget; what is more goes to the
 * file (src/pager/budget.c). So for each size the simulation gets the budget without tables and
 * free room, and what a stored page takes of it.
 *
 * Waiting: faults of each kind by what they take here, and pages that come along. Slowdown: that
 * beside the time with RAM to spare, which is the recording's less its own faults: by the clock, or
 * by the processors' time where others kept the machine busy.
 *
 * How far it may be off: what of a budget is resident is known to about one part in 32, so a count
 * lies between those of budgets a little larger and smaller (on a cliff of the curve these are far
 * apart), and 20 % beside. Then
 *
 *   the window of a recording hides touches of what is in it. A page that it has may be gone from a
 *   memory that is little larger, first in first out as both are; the fault on it is not seen. Of
 *   pages in use alike, as many as the memory holds, a part of 1 / (1 + 1 / (2 r (r - 1))) of the
 *   faults is seen where the memory is r windows large: it is worst then.
 *   first touches all fault where more than the budget is handed out before it is touched
 *   adaptive may do as gclock, whose rule is one of its two
 *
 * The budget is the least that is good enough if it is a little less than it seems, too: on this
 * side of a cliff.
 *
 * The knee is the point of the curve of waiting that lies furthest below the line from its first to
 * its last one: V. Satopaa et al., "Finding a 'Kneedle' in a Haystack", 2011.
 */
#include "base/sys.h"
#include "cli/advise.h"
#include "cli/cli.h"
#include "store/store.h"

#include <math.h>
#include <string.h>

#define CURVE_POLICY "pager:gclock"
#define ASSUMED_COMPRESSION 2.5
#define TABLE_BYTES 20 /* a page: its entry, its place in a queue, its object in the store */
#define TABLES_LEAST ((uint64_t)320 << 10)
#define ALONG_BYTES ((uint64_t)128 << 10) /* pages that are loaded at once */
#define POOL_SHARE 0.75                   /* of the budget, with a file */
#define POOL_SHARE_NONE 0.87              /* without */
#define LEAST_COMPRESSION 1.05 /* pages that do not compress stay where there is no file */
#define FREE_SHARE 256         /* one part in so many is kept free: the watermark `low` */
#define FREE_LEAST ((uint64_t)256 << 10)
#define FREE_MOST ((uint64_t)16 << 20)
#define BASE_LEAST 0.05 /* of the recording's time: less can't be told from its noise */
#define WAKE_SHARE 0.4  /* of a fault's time: until a handler notices, and the program runs */
#define ADAPTIVE_WORTH                                                        \
    0.8 /* it is the choice where it waits for less than this part, see below \
         */

static uint64_t free_bytes(uint64_t ram_bytes)
{
    uint64_t free = ram_bytes / FREE_SHARE;

    return free < FREE_LEAST ? FREE_LEAST : free > FREE_MOST ? FREE_MOST : free;
}

/*
 * What Quire's own tables take of a budget: the recording's, and what a recording does without. A
 * run loads pages that come along, and packs in both ways where it stores a MiB or more.
 */
static uint64_t table_bytes(const struct advise_trace *trace)
{
    const uint64_t contexts = store_packing_bytes(STORE_CODEC_ZSTD) -
                              store_packing_bytes(STORE_CODEC_LZ4) +
                              store_loader_bytes(STORE_CODEC_ZSTD) -
                              store_loader_bytes(STORE_CODEC_LZ4);
    uint64_t recorded = trace->note.metadata_bytes;

    if (recorded == 0)
        recorded = TABLES_LEAST + trace->peak_bytes / SYS_PAGE_SIZE * TABLE_BYTES;
    return recorded + ALONG_BYTES + contexts;
}

/* What of a budget pages can have; and what each stored one takes of that. */
static void split_budget(const struct advise *advise, const struct advise_question *question,
                         uint64_t budget, struct advise_point *point)
{
    uint64_t taken = advise->metadata_bytes + free_bytes(budget);
    double left = budget > taken + (budget >> 2) ? (double)(budget - taken) : (double)budget / 4;
    double most = question->has_file ? POOL_SHARE : POOL_SHARE_NONE;
    double peak = (double)advise->trace->peak_bytes;
    double percent = 100 / advise->compression;
    double stored = peak - left * (1 - most); /* where the pool is as large as it gets */

    point->in_file = 0;
    point->most_percent = 100;
    point->fits = question->has_file || left >= peak ||
                  (advise->compression >= LEAST_COMPRESSION &&
                   stored * percent / 100 <= left * most);
    if (stored > 0 && stored * percent / 100 > left * most) {
        double fits = 100 * left * most / stored;
        point->most_percent = fits < 1 ? 1 : fits > 100 ? 100 : (unsigned)lround(fits);
        point->in_file = question->has_file ? 1 - fits / percent : 0;
        percent = fits;
    }
    point->stored_percent = percent < 1 ? 1 : percent > 100 ? 100 : (unsigned)lround(percent);
    point->frame_bytes = (uint64_t)left;
}

static struct advise_point make_point(const struct advise *advise,
                                      const struct advise_question *question, uint64_t budget,
                                      const struct quire_sim_policy *policy)
{
    struct advise_point point = {.ram_bytes = budget, .policy = policy};

    split_budget(advise, question, budget, &point);
    return point;
}

static void find_stall(const struct advise *advise, struct advise_point *point)
{
    const struct advise_costs *costs = &advise->costs;
    double again = (1 - point->in_file) * costs->ram + point->in_file * costs->file;

    point->stall_ns = (double)point->first * costs->first + (double)point->again * again +
                      (double)point->ahead * costs->stream;
}

double advise_slowdown(const struct advise *advise, const struct advise_point *point)
{
    return advise->base_ns > 0 ? 1 + point->stall_ns / advise->base_ns : 0;
}

static void find_base(struct advise *advise, const struct advise_question *question)
{
    const struct advise_trace *trace = advise->trace;
    double wall = (double)trace->note.wall_ns;

    advise->base_ns = (double)question->base_ns;
    if (advise->base_ns > 0 || !trace->has_note)
        return;
    double n = (double)trace->note.n_touches, cpu = (double)trace->note.cpu_ns,
           waited = (double)trace->note.fault_ns + WAKE_SHARE * advise->costs.ram * n;
    advise->base_ns = fmax(cpu - n * advise->costs.cpu, BASE_LEAST * cpu);
    if (advise->base_ns < wall - waited)
        advise->base_ns = wall - waited;
}

static void find_compression(struct advise *advise, const struct advise_question *question)
{
    const struct record_note *note = &advise->trace->note;
    double pages = (double)note->stored_pages;

    advise->is_compression_known = question->compression > 0 || pages > 0;
    advise->follows_compression = question->compression <= 0;
    if (question->compression > 0)
        advise->compression = question->compression;
    else if (pages > 0)
        advise->compression = fmin(pages * SYS_PAGE_SIZE / fmax((double)note->pool_bytes, 1), 100);
    else
        advise->compression = ASSUMED_COMPRESSION;
    if (advise->compression < 1)
        advise->compression = 1;
}

/* What of a budget is resident when the program is at its largest. */
static double resident_bytes(const struct advise *advise, const struct advise_point *point)
{
    double left = (double)point->frame_bytes, peak = (double)advise->trace->peak_bytes,
           part = point->stored_percent / 100.0;

    if (left >= peak)
        return peak;
    return part < 1 ? fmax((left - part * peak) / (1 - part), 0) : left;
}

bool advise_is_told(const struct advise *advise, const struct advise_point *point)
{
    return resident_bytes(advise, point) >= (double)advise->trace->note.window_bytes;
}

/*
 * A budget has a least size; what stays within the window was not seen; and without a file RAM has
 * to hold it all.
 */
static uint64_t least_budget(const struct advise *advise, const struct advise_question *question)
{
    for (uint64_t least = CONTROL_MIN_BUDGET_BYTES;; least += (uint64_t)1 << 20) {
        struct advise_point point = make_point(advise, question, least, NULL);
        if ((point.fits && advise_is_told(advise, &point)) ||
            point.frame_bytes >= advise->trace->peak_bytes)
            return least;
    }
}

static uint64_t whole_budget(const struct advise *advise, uint64_t least)
{
    uint64_t peak = advise->trace->peak_bytes, whole = peak + peak / 32 + advise->metadata_bytes;

    return whole > least ? whole : least;
}

/* Rounded up, so that it is a number that one would type. */
static uint64_t round_budget(double bytes)
{
    const uint64_t step = bytes < 128.0 * (1 << 20)    ? (uint64_t)1 << 20
                          : bytes < 1024.0 * (1 << 20) ? (uint64_t)8 << 20
                                                       : (uint64_t)64 << 20;

    return ((uint64_t)bytes + step - 1) / step * step;
}

/* Sizes in equal steps of the ratio, from the least that can be told to what holds all. */
static void find_sizes(struct advise *advise, const struct advise_question *question,
                       const struct quire_sim_policy *policy)
{
    uint64_t smallest = least_budget(advise, question), last = 0;
    double least = (double)smallest, whole = (double)whole_budget(advise, smallest);

    for (unsigned i = 0; i < ADVISE_SIZES; i++) {
        uint64_t size = round_budget(least * pow(whole / least, (double)i / (ADVISE_SIZES - 1)));
        if (size == last)
            continue;
        last = size;
        advise->points[advise->n_points++] = make_point(advise, question, size, policy);
    }
}

static unsigned find_knee(const struct advise *advise)
{
    const struct advise_point *points = advise->points;
    unsigned n = advise->n_points, best = 0;
    double x0 = (double)points[0].ram_bytes, x1 = (double)points[n - 1].ram_bytes,
           y0 = points[0].stall_ns, y1 = points[n - 1].stall_ns, furthest = 0;

    for (unsigned i = 0; i < n && x1 > x0 && y0 > y1; i++) {
        double x = ((double)points[i].ram_bytes - x0) / (x1 - x0);
        double below = 1 - x - (points[i].stall_ns - y1) / (y0 - y1);
        if (below > furthest) {
            furthest = below;
            best = i;
        }
    }
    return best;
}

/* ---- how far it may be off ---- */

uint64_t advise_size_error(uint64_t ram_bytes)
{
    uint64_t error = ram_bytes / ADVISE_SIZE_ERROR;

    return error > (uint64_t)1 << 20 ? error : (uint64_t)1 << 20;
}

static double faults_of(const struct advise_point *point)
{
    return (double)(point->first + point->again);
}

/* The faults at a size, on the line between two points of the curve. */
static double faults_between(const struct advise_point *a, const struct advise_point *b,
                             uint64_t ram_bytes)
{
    double x = ((double)ram_bytes - (double)a->ram_bytes) /
               ((double)b->ram_bytes - (double)a->ram_bytes);

    return faults_of(a) + x * (faults_of(b) - faults_of(a));
}

/* What the curve says of a size; beyond its ends it goes on as it is there. */
static double faults_at(const struct advise *advise, uint64_t ram_bytes)
{
    const struct advise_point *points = advise->points;
    unsigned i = 1;

    if (advise->n_points < 2)
        return faults_of(&points[0]);
    while (i + 1 < advise->n_points && points[i].ram_bytes < ram_bytes)
        i++;
    return fmax(faults_between(&points[i - 1], &points[i], ram_bytes), 0);
}

double advise_slowdown_beside(const struct advise *advise, unsigned i)
{
    const struct advise_point *point = &advise->points[i];
    double faults = faults_of(point),
           more = faults_at(advise, point->ram_bytes - advise_size_error(point->ram_bytes));

    if (advise->base_ns <= 0)
        return 0;
    /* where there are no faults, each of those beside it costs as one from RAM */
    double stall = faults > 0 ? point->stall_ns * fmax(more / faults, 1) : more * advise->costs.ram;
    return 1 + stall / advise->base_ns;
}

bool advise_is_steep(const struct advise_point *point)
{
    double faults = faults_of(point);

    return point->with_less > (1 + ADVISE_TOLERANCE) * faults ||
           point->with_more < (1 - ADVISE_TOLERANCE) * faults;
}

/* Faults with a little more RAM, and with a little less. */
static void find_bounds(const struct advise *advise, struct advise_point *point, double with_more,
                        double with_less)
{
    const struct advise_trace *trace = advise->trace;
    double least = fmin(faults_of(point), with_more), most = fmax(faults_of(point), with_less);
    double windows = trace->note.window_bytes == 0
                         ? INFINITY
                         : resident_bytes(advise, point) / (double)trace->note.window_bytes;

    point->with_more = with_more;
    point->with_less = with_less;
    point->least = (uint64_t)(least * (1 - ADVISE_TOLERANCE));
    point->most = ADVISE_UNKNOWN;
    if (windows <= 1)
        return;
    if (most > 0)
        most += (double)(trace->n_first_faults - point->never);
    most *= (1 + ADVISE_TOLERANCE) * (1 + 1 / (2 * windows * (windows - 1)));
    point->most = most < 1e18 ? (uint64_t)most : ADVISE_UNKNOWN;
}

/* ---- what is chosen ---- */

/* The least size that is slow enough; where times are not known, the knee. */
static uint64_t find_budget(struct advise *advise, const struct advise_question *question)
{
    if (question->ram_bytes != 0)
        return question->ram_bytes;
    if (advise->base_ns <= 0)
        return advise->points[advise->knee].ram_bytes;
    unsigned i = advise->n_points - 1;
    while (i > 0 && advise_slowdown_beside(advise, i - 1) <= question->slowdown)
        i--;
    return advise->points[i].ram_bytes;
}

/* Waiting, if it comes out as badly as it may. */
static double worst_stall(const struct advise_point *point)
{
    double faults = faults_of(point);

    return point->most == ADVISE_UNKNOWN || faults <= 0
               ? point->stall_ns
               : point->stall_ns * (double)point->most / faults;
}

/*
 * The one with the least waiting at worst. But `adaptive`, which comes first, lets two rules
 * compete, and which one wins depends on more than a recording shows: it has to be clearly better.
 */
static unsigned choose(const struct advise *advise)
{
    const struct advise_point *choices = advise->choices;
    unsigned best = advise->n_choices > 1;

    for (unsigned i = 1; i < advise->n_choices; i++)
        if (worst_stall(&choices[i]) < worst_stall(&choices[best]))
            best = i;
    bool is_adaptive = worst_stall(&choices[0]) < ADAPTIVE_WORTH * worst_stall(&choices[best]);
    return is_adaptive || choices[0].again == 0 ? 0 : best;
}

/*
 * The first choice is adaptive: it may do as its first rule, which is a choice, too, or as the
 * other; which one wins has made runs of one program differ by twice.
 */
static void widen_adaptive(struct advise *advise)
{
    struct advise_point *adaptive = &advise->choices[0];

    for (unsigned i = 1; i < advise->n_choices; i++) {
        const struct advise_point *point = &advise->choices[i];
        if (strcmp(point->policy->name, CURVE_POLICY) != 0)
            continue;
        adaptive->least = (point->least < adaptive->least ? point->least : adaptive->least) / 2;
        adaptive->most = point->most > adaptive->most ? point->most : adaptive->most;
        if (adaptive->most < ADVISE_UNKNOWN / 2)
            adaptive->most *= 2;
    }
}

/* Each policy at the budget, and with a little more and a little less. */
static bool compare_policies(struct advise *advise, const struct advise_question *question,
                             uint64_t budget)
{
    struct advise_point points[3 * ADVISE_POLICIES];
    const struct quire_sim_policy *policy;
    const uint64_t error = advise_size_error(budget);
    const uint64_t budgets[3] = {budget, budget + error, budget - error};
    unsigned n = 0;

    for (unsigned i = 0; (policy = quire_sim_policies(i)) != NULL; i++)
        if (strncmp(policy->name, "pager:", 6) == 0 && n < 3 * ADVISE_POLICIES)
            for (unsigned k = 0; k < 3; k++)
                points[n++] = make_point(advise, question, budgets[k], policy);
    if (!advise_simulate(advise, points, n))
        return false;
    advise->n_choices = n / 3;
    for (unsigned i = 0; i < advise->n_choices; i++) {
        advise->choices[i] = points[3 * i];
        find_stall(advise, &advise->choices[i]);
        find_bounds(advise, &advise->choices[i], faults_of(&points[3 * i + 1]),
                    faults_of(&points[3 * i + 2]));
    }
    widen_adaptive(advise);
    advise->chosen = choose(advise);
    return true;
}

static bool find_curve(struct advise *advise)
{
    if (!advise_simulate(advise, advise->points, advise->n_points))
        return false;
    for (unsigned i = 0; i < advise->n_points; i++)
        find_stall(advise, &advise->points[i]);
    for (unsigned i = 0; i < advise->n_points; i++) {
        const uint64_t size = advise->points[i].ram_bytes, error = advise_size_error(size);
        find_bounds(advise, &advise->points[i], faults_at(advise, size + error),
                    faults_at(advise, size - error));
    }
    advise->knee = find_knee(advise);
    return true;
}

bool advise_find(const struct advise_trace *trace, const struct advise_question *question,
                 struct advise *advise)
{
    const struct quire_sim_policy *policy;
    uint64_t none;

    advise->trace = trace;
    if (quire_sim_find_policy(CURVE_POLICY, &policy, &none) != 0)
        return false;
    find_compression(advise, question);
    find_base(advise, question);
    advise->metadata_bytes = table_bytes(trace);
    find_sizes(advise, question, policy);
    if (!find_curve(advise) || !compare_policies(advise, question, find_budget(advise, question)))
        return false;
    advise->is_met = advise->base_ns <= 0 ||
                     advise_slowdown(advise, &advise->choices[advise->chosen]) <=
                         question->slowdown;
    return true;
}
