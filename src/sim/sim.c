/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim: see quire/sim.h. Records become references to pages of each size, in batches; each batch is
 * replayed by every case.
 *
 *   records --split()--> page numbers --pages_find()--> references --replay()--> memories
 *           (a level for each page size)                       '--> future, if a case wants OPT
 *
 * A case by process has a memory for each process, and gets the batch's references sorted out.
 */
#include "sim/sim.h"

#include "sim/rules.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool is_case_good(const struct quire_sim_case *c, const struct quire_trace_info *info)
{
    const bool is_opt = c->policy == &sim_opt;
    return c->policy != NULL && c->page_shift >= QUIRE_SIM_MIN_PAGE_SHIFT &&
           c->page_shift <= QUIRE_SIM_MAX_PAGE_SHIFT && c->page_shift >= info->unit_shift &&
           c->page_shift >= info->granule && c->ram_bytes >> c->page_shift >= 1 &&
           c->ram_bytes >> c->page_shift <= QUIRE_SIM_MAX_PAGES &&
           (unsigned)c->prefetch < QUIRE_SIM_N_PREFETCH &&
           !(is_opt && (c->is_local || c->prefetch != QUIRE_SIM_PREFETCH_NONE));
}

static int open_memory(struct sim_run *run, struct quire_sim_memory *memory, uint64_t n_frames,
                       uint64_t n_budget)
{
    const struct quire_sim_policy *policy = run->config.policy;
    struct sim_tables *tables = (struct sim_tables *)memory;
    memory->policy = policy;
    memory->n_frames = n_frames;
    memory->n_budget = n_budget > n_frames ? n_budget : n_frames;
    memory->argument = run->config.argument;
    int error = array_grow(&tables->flags, QUIRE_SIM_FIRST_PAGE);
    if (!error)
        error = array_grow(&tables->pages, QUIRE_SIM_FIRST_PAGE * (policy->page_bytes + 1));
    memory->state = calloc(1, policy->state_bytes + 1);
    if (error || memory->state == NULL)
        return -ENOMEM;
    memory->flags = tables->flags.base;
    memory->pages = tables->pages.base;
    error = policy->open != NULL ? policy->open(memory) : 0;
    tables->is_open = error == 0;
    return error;
}

/* Frames of the i-th process: its part, at least one. The last memory is all others'. */
static uint64_t share_of(const struct quire_sim *sim, uint64_t n_frames, size_t i)
{
    uint64_t sum = 1;
    for (size_t k = 0; k < sim->n_shares; k++)
        sum += sim->shares[k].parts;
    uint64_t parts = i < sim->n_shares ? sim->shares[i].parts : 1;
    uint64_t mine = (uint64_t)((unsigned __int128)n_frames * parts / (sum - (sum > 1)));
    return mine > 0 ? mine : 1;
}

static int open_run(struct quire_sim *sim, struct sim_run *run)
{
    const uint64_t n_frames = run->config.ram_bytes >> run->config.page_shift;
    run->n_memories = run->config.is_local ? sim->n_shares + 1 : 1;
    run->tables = calloc(run->n_memories, sizeof *run->tables);
    if (run->tables == NULL)
        return -ENOMEM;
    if (run->config.policy == &sim_opt)
        return 0;
    const uint64_t budget = run->config.budget_bytes >> run->config.page_shift;
    int error = prefetching_open(&run->prefetching, run->config.prefetch,
                                 budget > 0 ? budget : n_frames);
    for (size_t i = 0; i < run->n_memories && !error; i++)
        error = run->config.is_local
                    ? open_memory(run, &run->tables[i].memory, share_of(sim, n_frames, i),
                                  share_of(sim, budget, i))
                    : open_memory(run, &run->tables[i].memory, n_frames, budget);
    return error;
}

static struct sim_level *find_level(struct quire_sim *sim, unsigned shift)
{
    for (size_t i = 0; i < sim->n_levels; i++)
        if (sim->levels[i].shift == shift)
            return &sim->levels[i];
    struct sim_level *level = &sim->levels[sim->n_levels];
    *level = (struct sim_level){.shift = shift};
    return pages_init(&level->pages) == 0 ? &sim->levels[sim->n_levels++] : NULL;
}

static int open_all(struct quire_sim *sim, const struct quire_sim_case *cases, size_t *bad)
{
    for (*bad = 0; *bad < sim->n_runs; ++*bad) {
        struct sim_run *run = &sim->runs[*bad];
        run->config = cases[*bad];
        if (!is_case_good(&cases[*bad], &sim->info))
            return -EINVAL;
        struct sim_level *level = find_level(sim, run->config.page_shift);
        if (level == NULL)
            return -ENOMEM;
        run->level = (size_t)(level - sim->levels);
        level->wants_future |= run->config.policy == &sim_opt;
        int error = open_run(sim, run);
        if (error)
            return error;
    }
    return 0;
}

int quire_sim_open(const struct quire_sim_case *cases, size_t n,
                   const struct quire_trace_info *info, const struct quire_sim_options *options,
                   struct quire_sim **result, size_t *bad)
{
    static const struct quire_sim_options none;
    *bad = 0;
    if (n == 0 || n > QUIRE_SIM_MAX_CASES)
        return -EINVAL;
    struct quire_sim *sim = calloc(1, sizeof *sim);
    if (sim == NULL)
        return -ENOMEM;
    sim->info = *info;
    sim->options = options != NULL ? *options : none;
    sim->n_shares = sim->options.n_shares;
    sim->runs = calloc(n, sizeof *sim->runs);
    sim->levels = calloc(n, sizeof *sim->levels);
    sim->shares = calloc(sim->n_shares + 1, sizeof *sim->shares);
    sim->n_runs = n;
    int error = -ENOMEM;
    if (sim->runs != NULL && sim->levels != NULL && sim->shares != NULL) {
        if (sim->n_shares > 0)
            memcpy(sim->shares, sim->options.shares, sim->n_shares * sizeof *sim->shares);
        error = open_all(sim, cases, bad);
    }
    if (error) {
        quire_sim_close(sim);
        return error;
    }
    *result = sim;
    return 0;
}

static void close_run(struct sim_run *run)
{
    for (size_t i = 0; run->tables != NULL && i < run->n_memories; i++) {
        struct sim_tables *tables = &run->tables[i];
        if (tables->is_open && run->config.policy->close != NULL)
            run->config.policy->close(&tables->memory);
        free(tables->memory.state);
        array_free(&tables->flags);
        array_free(&tables->pages);
    }
    prefetching_close(&run->prefetching);
    free(run->tables);
}

void quire_sim_close(struct quire_sim *sim)
{
    if (sim == NULL)
        return;
    for (size_t i = 0; sim->runs != NULL && i < sim->n_runs; i++)
        close_run(&sim->runs[i]);
    for (size_t i = 0; i < sim->n_levels; i++) {
        pages_deinit(&sim->levels[i].pages);
        future_free(&sim->levels[i].future);
    }
    processes_free(&sim->processes);
    free(sim->runs);
    free(sim->levels);
    free(sim->shares);
    free(sim);
}

/* ---- policies' own evictions ---- */

void quire_sim_evict(struct quire_sim_memory *memory, uint32_t page)
{
    replay_evict(memory, page);
}

void quire_sim_clean(struct quire_sim_memory *memory, uint32_t page)
{
    if (memory->flags[page] & QUIRE_SIM_DIRTY)
        memory->counts.writebacks++;
    memory->flags[page] &= (uint8_t)~QUIRE_SIM_DIRTY;
}

/* ---- a batch ---- */

static void replay_slowly(struct quire_sim_memory *memory, const uint32_t *references, size_t n)
{
    const struct quire_sim_policy *policy = memory->policy;
    replay_with(memory, references, n, policy->page_bytes, policy->hit, policy->victim,
                policy->admit);
}

static void replay_memory(struct sim_run *run, struct sim_level *level, struct sim_tables *tables,
                          const uint32_t *references, const uint32_t *sizes, size_t n)
{
    struct quire_sim_memory *memory = &tables->memory;
    memory->sizes = sizes;
    if (run->config.prefetch != QUIRE_SIM_PREFETCH_NONE)
        prefetching_replay(&run->prefetching, memory, &level->pages, references, n);
    else if (memory->policy->replay != NULL)
        memory->policy->replay(memory, references, n);
    else
        replay_slowly(memory, references, n);
    memory->counts.references += n;
    for (size_t i = 0; sizes != NULL && i < n; i++)
        memory->counts.bytes += sizes[i];
}

static int grow(struct sim_run *run, struct sim_tables *tables, const uint64_t *numbers,
                uint32_t end)
{
    int error = array_grow(&tables->flags, end);
    if (!error)
        error = array_grow(&tables->pages, end * run->config.policy->page_bytes);
    tables->memory.flags = tables->flags.base;
    tables->memory.pages = tables->pages.base;
    tables->memory.numbers = numbers;
    return error;
}

/* The index of a process among the shares; the last one of a memory of its own for all others. */
static size_t memory_of(const struct quire_sim *sim, uint32_t owner)
{
    const uint32_t process = sim->processes.ids[owner];
    for (size_t i = 0; i < sim->n_shares; i++)
        if (sim->shares[i].process == process)
            return i;
    return sim->n_shares;
}

static void replay_locally(struct quire_sim *sim, struct sim_run *run, struct sim_level *level,
                           const struct sim_batch *batch)
{
    uint32_t references[PAGES_BATCH], sizes[PAGES_BATCH];
    for (size_t k = 0; k < run->n_memories; k++) {
        size_t n = 0;
        for (size_t i = 0; i < batch->n; i++) {
            if (memory_of(sim, pages_owner(&level->pages, reference_page(batch->references[i]))) !=
                k)
                continue;
            sizes[n] = batch->sizes[i];
            references[n++] = batch->references[i];
        }
        replay_memory(run, level, &run->tables[k], references, batch->has_sizes ? sizes : NULL, n);
    }
}

static int replay_batch(struct quire_sim *sim, struct sim_level *level)
{
    struct sim_batch *batch = &sim->batch;
    const uint32_t *sizes = batch->has_sizes ? batch->sizes : NULL, before = level->pages.end;
    int error = pages_find(&level->pages, batch->keys, batch->owners, batch->n, batch->references);
    if (error)
        return error;
    level->n_cold += level->pages.end - before;
    for (size_t i = 0; i < batch->n; i++)
        batch->references[i] |= batch->is_write[i] ? REFERENCE_WRITE : 0;
    for (size_t i = 0; sizes != NULL && i < batch->n; i++)
        level->n_bytes += sizes[i];
    level->n_references += batch->n;
    if (level->wants_future)
        error = future_add(&level->future, batch->references, sizes, batch->n, level->pages.end);
    for (size_t i = 0; i < sim->n_runs && !error; i++) {
        struct sim_run *run = &sim->runs[i];
        if (&sim->levels[run->level] != level || run->config.policy == &sim_opt)
            continue;
        for (size_t k = 0; k < run->n_memories && !error; k++)
            error = grow(run, &run->tables[k], sim->info.is_spatial ? level->pages.keys.base : NULL,
                         level->pages.end);
        if (error)
            break;
        if (run->config.is_local)
            replay_locally(sim, run, level, batch);
        else
            replay_memory(run, level, &run->tables[0], batch->references, sizes, batch->n);
    }
    batch->n = 0;
    return error;
}

/* ---- records ---- */

static inline void batch_set(struct sim_batch *batch, size_t at, uint64_t key, uint32_t owner,
                             uint32_t size, bool is_write)
{
    batch->keys[at] = key;
    batch->owners[at] = owner;
    batch->sizes[at] = size;
    batch->is_write[at] = is_write;
}

/* All pages of a reference, but for numbers of objects, which are one whatever their size. */
static int split(struct quire_sim *sim, struct sim_level *level,
                 const struct quire_trace_record *record, uint32_t owner)
{
    struct sim_batch *batch = &sim->batch;
    const unsigned shift = level->shift - sim->info.unit_shift;
    const bool is_write = record->kind == QUIRE_TRACE_WRITE;
    uint64_t first = record->address >> shift, last = first, left = record->n_bytes;
    if (record->n_bytes > 1 && sim->info.unit_shift == 0 && sim->info.is_spatial &&
        record->address + record->n_bytes - 1 > record->address)
        last = (record->address + record->n_bytes - 1) >> shift;
    for (uint64_t key = first;; key++) {
        uint64_t here = left;
        if (key != last) {
            here = ((key + 1) << shift) - (key == first ? record->address : key << shift);
            left -= here;
        }
        batch_set(batch, batch->n++, key, owner, (uint32_t)here, is_write);
        if (batch->n == PAGES_BATCH) {
            int error = replay_batch(sim, level);
            if (error)
                return error;
        }
        if (key == last)
            return 0;
    }
}

static void forget_in(struct quire_sim_memory *memory, uint32_t page)
{
    const struct quire_sim_policy *policy = memory->policy;
    if (!(memory->flags[page] & QUIRE_SIM_RESIDENT)) {
        if (policy->forget_absent != NULL)
            policy->forget_absent(memory, page);
        return;
    }
    memory->flags[page] &= (uint8_t)~QUIRE_SIM_DIRTY;
    if (policy->forget == NULL)
        return; /* it goes unwritten when its turn comes */
    policy->forget(memory, page);
    memory->flags[page] = 0;
    memory->n_resident--;
}

static void forget_page(struct quire_sim *sim, struct sim_level *level, uint32_t page)
{
    for (size_t i = 0; i < sim->n_runs; i++) {
        struct sim_run *run = &sim->runs[i];
        if (&sim->levels[run->level] != level || run->config.policy == &sim_opt)
            continue;
        for (size_t k = 0; k < run->n_memories; k++)
            forget_in(&run->tables[k].memory, page);
    }
    future_forget(&level->future, page);
    pages_forget(&level->pages, page);
}

/* Its contents are worth nothing: policies that may know are told. */
static void free_page(struct quire_sim *sim, const struct sim_level *level, uint32_t page)
{
    for (size_t i = 0; i < sim->n_runs; i++) {
        const struct sim_run *run = &sim->runs[i];
        if (&sim->levels[run->level] != level || run->config.policy->freed == NULL)
            continue;
        for (size_t k = 0; k < run->n_memories; k++)
            run->config.policy->freed(&run->tables[k].memory, page);
    }
}

static void lose(struct quire_sim *sim, struct sim_level *level, struct pages_range range,
                 bool is_freed)
{
    while (pages_next(&level->pages, &range)) {
        if (is_freed)
            free_page(sim, level, range.number);
        else
            forget_page(sim, level, range.number);
    }
}

/* Unmapped, dropped or free. */
static int take_loss(struct quire_sim *sim, struct sim_level *level,
                     const struct quire_trace_record *record, uint32_t owner,
                     const struct quire_trace *trace)
{
    const struct pages_range range = pages_lost(record, owner, trace, level->shift);
    if (sim->info.unit_shift != 0 || range.first >= range.end)
        return 0;
    int error = replay_batch(sim, level);
    if (!error)
        lose(sim, level, range, record->kind == QUIRE_TRACE_FREE);
    return error;
}

/*
 * What nearly all records are, references of the process that was looked up last, each to one page:
 * into the batch, until it is full. Returns how many came before the first that is something else.
 */
static size_t put_plain(struct quire_sim *sim, const struct sim_level *level,
                        const struct quire_trace_record *records, size_t n)
{
    struct sim_batch *batch = &sim->batch;
    const unsigned shift = level->shift - sim->info.unit_shift;
    const bool has_lengths = sim->info.unit_shift == 0 && sim->info.is_spatial;
    const uint32_t owner = sim->processes.last, id = sim->processes.ids[owner];
    const uint8_t last_kind = sim->options.without_fetches ? QUIRE_TRACE_WRITE : QUIRE_TRACE_FETCH;
    size_t i, room = PAGES_BATCH - batch->n;
    for (i = 0; i < n && i < room; i++) {
        const struct quire_trace_record *record = &records[i];
        const uint64_t key = record->address >> shift;
        const uint32_t more = has_lengths && record->n_bytes > 0 ? record->n_bytes - 1 : 0;
        if (record->kind > last_kind || record->process != id ||
            (record->address + more) >> shift != key)
            break;
        batch_set(batch, batch->n + i, key, owner, record->n_bytes,
                  record->kind == QUIRE_TRACE_WRITE);
    }
    batch->n += i;
    return i;
}

static int feed_one(struct quire_sim *sim, struct sim_level *level,
                    const struct quire_trace_record *record, const struct quire_trace *trace)
{
    uint32_t owner;
    if (record->kind == QUIRE_TRACE_MAP ||
        (record->kind == QUIRE_TRACE_FETCH && sim->options.without_fetches))
        return 0;
    int error = processes_find(&sim->processes, record->process, &owner);
    if (error)
        return error;
    return record->kind < QUIRE_TRACE_MAP ? split(sim, level, record, owner)
                                          : take_loss(sim, level, record, owner, trace);
}

static int feed_level(struct quire_sim *sim, struct sim_level *level,
                      const struct quire_trace_record *records, size_t n,
                      const struct quire_trace *trace)
{
    int error = 0;
    for (size_t i = 0; i < n && !error;) {
        if (sim->processes.n > 0)
            i += put_plain(sim, level, records + i, n - i);
        if (sim->batch.n == PAGES_BATCH)
            error = replay_batch(sim, level);
        else if (i < n)
            error = feed_one(sim, level, &records[i++], trace);
    }
    return error ? error : replay_batch(sim, level);
}

int quire_sim_feed(struct quire_sim *sim, const struct quire_trace_record *records, size_t n,
                   const struct quire_trace *trace)
{
    size_t first = 0;
    while (first < n && records[first].kind >= QUIRE_TRACE_MAP)
        first++;
    sim->batch.has_sizes |= first < n && records[first].n_bytes > 0;
    int error = 0;
    for (size_t i = 0; i < sim->n_levels && !error; i++)
        error = feed_level(sim, &sim->levels[i], records, n, trace);
    return error;
}

int quire_sim_set_argument(struct quire_sim *sim, size_t i, uint64_t argument)
{
    if (i >= sim->n_runs || sim->runs[i].config.policy == &sim_opt)
        return -EINVAL;
    for (size_t k = 0; k < sim->runs[i].n_memories; k++)
        sim->runs[i].tables[k].memory.argument = argument;
    return 0;
}

/* ---- results ---- */

static void add_counts(struct quire_sim_counts *sum, const struct quire_sim_counts *counts)
{
    const uint64_t *from = (const uint64_t *)counts;
    uint64_t *to = (uint64_t *)sum;
    for (size_t i = 0; i < sizeof *sum / sizeof *to; i++)
        to[i] += from[i];
}

int quire_sim_finish(struct quire_sim *sim)
{
    for (size_t i = 0; i < sim->n_runs; i++) {
        struct sim_run *run = &sim->runs[i];
        const struct sim_level *level = &sim->levels[run->level];
        memset(&run->sum, 0, sizeof run->sum);
        if (run->config.policy == &sim_opt) {
            int error = future_replay(&level->future,
                                      run->config.ram_bytes >> run->config.page_shift, &run->sum);
            if (error)
                return error;
            run->sum.references = level->n_references;
            run->sum.bytes = level->n_bytes;
        }
        for (size_t k = 0; k < run->n_memories; k++)
            add_counts(&run->sum, &run->tables[k].memory.counts);
        run->sum.cold_faults += level->n_cold; /* beside those that only the policy knows of */
    }
    return 0;
}

const struct quire_sim_counts *quire_sim_result(const struct quire_sim *sim, size_t i)
{
    return i < sim->n_runs ? &sim->runs[i].sum : NULL;
}

size_t quire_sim_held(const struct quire_sim *sim)
{
    size_t sum = sizeof *sim;
    for (size_t i = 0; i < sim->n_levels; i++) {
        const struct sim_level *level = &sim->levels[i];
        const size_t n = level->pages.end;
        sum += (level->pages.mask + 1) * 4 + n * (level->pages.has_owners ? 12 : 8);
        if (level->wants_future)
            sum += level->future.n * (level->future.has_sizes ? 8 : 4) + n * 4;
    }
    for (size_t i = 0; i < sim->n_runs; i++) {
        const struct sim_run *run = &sim->runs[i];
        if (run->config.policy != &sim_opt)
            sum += run->n_memories * sim->levels[run->level].pages.end *
                   (1 + run->config.policy->page_bytes);
    }
    return sum;
}
