/* SPDX-License-Identifier: Apache-2.0 */
/* Simulation: textbooks' references, what spans pages, is unmapped, comes along or is by process.
 */
#include <quire/sim.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const struct quire_trace_info info = {
    .is_spatial = true, .has_writes = true, .has_processes = true};

static struct quire_sim_counts run(const struct quire_sim_case *one,
                                   const struct quire_sim_options *options,
                                   const struct quire_trace_record *records, size_t n)
{
    struct quire_sim *sim;
    size_t bad;
    assert_int_equal(quire_sim_open(one, 1, &info, options, &sim, &bad), 0);
    assert_int_equal(quire_sim_feed(sim, records, n, NULL), 0);
    assert_int_equal(quire_sim_finish(sim), 0);
    struct quire_sim_counts counts = *quire_sim_result(sim, 0);
    quire_sim_close(sim);
    return counts;
}

static struct quire_sim_case make_case(const char *policy, uint64_t n_pages)
{
    struct quire_sim_case one = {.ram_bytes = n_pages << 12, .page_shift = 12};
    assert_int_equal(quire_sim_find_policy(policy, &one.policy, &one.argument), 0);
    return one;
}

/* Page numbers, one digit each. */
static uint64_t faults(const char *policy, uint64_t n_pages, const char *text)
{
    struct quire_trace_record records[100] = {0};
    size_t n = strlen(text);
    for (size_t i = 0; i < n; i++)
        records[i].address = (uint64_t)(text[i] - '0') << 12;
    struct quire_sim_case one = make_case(policy, n_pages);
    return run(&one, NULL, records, n).faults;
}

/* Silberschatz, Galvin, Gagne, "page replacement": three frames. Belady's: three and four. */
static void textbooks(void **state)
{
    static const char silberschatz[] = "70120304230321201701", belady[] = "123412512345";
    (void)state;
    assert_int_equal(faults("fifo", 3, silberschatz), 15);
    assert_int_equal(faults("opt", 3, silberschatz), 9);
    assert_int_equal(faults("lru", 3, silberschatz), 12);
    assert_int_equal(faults("fifo", 3, belady), 9);
    assert_int_equal(faults("fifo", 4, belady), 10);
    assert_int_equal(faults("lru", 3, belady), 10);
    assert_int_equal(faults("lru", 4, belady), 8);
    assert_int_equal(faults("opt", 3, belady), 7);
    assert_int_equal(faults("opt", 4, belady), 6);
    assert_int_equal(faults("second-chance", 3, "232152453252"),
                     8); /* Stallings: 2 3 2 1 5 2 4 5 3 2 5 2 */
    assert_int_equal(faults("fifo", 3, "232152453252"), 9);
    assert_int_equal(faults("lru", 3, "232152453252"), 7);
    assert_int_equal(faults("opt", 3, "232152453252"), 6);
}

/* Denning's: with a window of 4 references pages that were not used for so long are absent. */
static void a_working_set(void **state)
{
    (void)state;
    assert_int_equal(faults("ws:4", 5, "12341234"), 4);
    assert_int_equal(faults("ws:3", 5, "12341234"), 8);
}

static void a_reference_may_span_pages(void **state)
{
    (void)state;
    const struct quire_trace_record records[] = {
        {.address = 4095, .n_bytes = 1},            /* page 0 */
        {.address = 4095, .n_bytes = 2},            /* 0 and 1 */
        {.address = 4096 * 5 - 8, .n_bytes = 8200}, /* 4, 5, 6, 7 */
        {.address = UINT64_MAX, .n_bytes = 8}};     /* to the end, and no further */
    struct quire_sim_case one = make_case("lru", 100);
    struct quire_sim_counts counts = run(&one, NULL, records, 4);
    assert_int_equal(counts.references, 1 + 2 + 3 + 1);
    assert_int_equal(counts.faults, 6);
    assert_int_equal(counts.bytes, 1 + 2 + 8200 + 8);
    one.page_shift = 20;
    one.ram_bytes = 16 << 20;
    counts = run(&one, NULL, records, 4);
    assert_int_equal(counts.faults, 2);
}

static void writes_are_written_back(void **state)
{
    (void)state;
    const struct quire_trace_record records[] = {{.address = 0, .kind = QUIRE_TRACE_WRITE},
                                                 {.address = 4096},
                                                 {.address = 8192},
                                                 {.address = 0},
                                                 {.address = 4096, .kind = QUIRE_TRACE_WRITE}};
    struct quire_sim_case one = make_case("lru", 1);
    assert_int_equal(run(&one, NULL, records, 5).writebacks, 1);
    assert_int_equal(run(&one, NULL, records, 5).evictions, 4);
}

/* The same references of two processes, each by itself in half of the memory. */
static void by_process(void **state)
{
    (void)state;
    enum { N = 4000 };
    static struct quire_trace_record both[2 * N], one_only[N];
    const struct quire_sim_share shares[] = {{7, 1}, {9, 1}};
    const struct quire_sim_options options = {.shares = shares, .n_shares = 2};
    unsigned seed = 3;
    for (unsigned i = 0; i < N; i++) {
        one_only[i] = (struct quire_trace_record){.address = (uint64_t)(rand_r(&seed) % 64) << 12,
                                                  .process = 7};
        both[2 * i] = both[2 * i + 1] = one_only[i];
        both[2 * i + 1].process = 9;
    }
    for (unsigned i = 1; i < 9; i++) {
        struct quire_sim_case local = make_case(quire_sim_policies(i)->name, 40),
                              half = make_case(quire_sim_policies(i)->name, 20);
        local.is_local = true;
        struct quire_sim_counts counts = run(&local, &options, both, 2 * (size_t)N);
        assert_int_equal(counts.faults, 2 * run(&half, NULL, one_only, N).faults);
        assert_int_equal(counts.cold_faults, 2 * 64);
    }
}

/* Of a scan that comes again most pages come along. */
static void what_comes_along_is_no_fault(void **state)
{
    (void)state;
    enum { N = 6000 };
    static struct quire_trace_record records[N];
    for (unsigned i = 0; i < N; i++)
        records[i].address = (uint64_t)(i % 1000) << 12;
    struct quire_sim_case one = make_case("lru", 500);
    assert_int_equal(run(&one, NULL, records, N).faults, N);
    one.prefetch = QUIRE_SIM_PREFETCH_ADAPTIVE;
    struct quire_sim_counts counts = run(&one, NULL, records, N);
    assert_true(counts.faults < 1000 + (N - 1000) / 4);
    assert_int_equal(counts.faults + counts.prefetch_hits, N);
    assert_true(counts.prefetch_hits <= counts.prefetched);
    assert_true(counts.resident_max == 500);
}

/* Memory is written once, then read in a row, round and round; a tenth of it does not fit. */
static uint64_t scan(const char *policy, enum quire_trace_kind kind, uint64_t budget_pages)
{
    enum { PAGES = 8192, ROUNDS = 9, FRAMES = 7372 };
    static struct quire_trace_record records[PAGES * ROUNDS];
    for (unsigned i = 0; i < PAGES * ROUNDS; i++)
        records[i] = (struct quire_trace_record){
            .address = (uint64_t)(i % PAGES) << 12,
            .kind = (uint8_t)(i < PAGES ? QUIRE_TRACE_WRITE : kind)};
    struct quire_sim_case one = make_case(policy, FRAMES);
    one.prefetch = QUIRE_SIM_PREFETCH_ADAPTIVE;
    one.budget_bytes = budget_pages << 12;
    struct quire_sim_counts counts = run(&one, NULL, records, PAGES * ROUNDS);
    one.ram_bytes *= 2; /* all of it: what is left is first touches */
    return counts.faults + counts.soft_faults - run(&one, NULL, records, PAGES * ROUNDS).faults;
}

/* As in the pager: what a stream read ahead leaves first, so most of it stays; a window is one part
 * in 128 of the budget; what is written to leaves in order, and all of it is missed. */
static void streams_leave_behind(void **state)
{
    (void)state;
    const uint64_t read = scan("pager:gclock", QUIRE_TRACE_READ, 0),
                   written = scan("pager:gclock", QUIRE_TRACE_WRITE, 0);
    assert_true(read > 100 && read < 1000);
    assert_true(written > 2 * read);
    /* windows of 16 pages in place of 57 */
    assert_true(scan("pager:fifo", QUIRE_TRACE_WRITE, 2048) >
                2 * scan("pager:fifo", QUIRE_TRACE_WRITE, 0));
}

/* ---- unmapping needs a trace ---- */

static struct quire_trace *make_trace(int fd, unsigned n_rounds, bool unmaps)
{
    const struct quire_trace_info header = {.granule = 12};
    char message[QUIRE_TRACE_MESSAGE_BYTES];
    struct quire_trace_writer *writer;
    struct quire_trace *trace;
    const struct quire_trace_mapping mapping = {.start = 1 << 20, .n_bytes = 64 << 12};
    assert_int_equal(quire_trace_create(fd, &header, &writer), 0);
    for (unsigned round = 0; round < n_rounds; round++) {
        for (uint64_t i = 0; i < 64; i++) {
            struct quire_trace_record record = {.address = (1 << 20) + (i << 12),
                                                .kind = QUIRE_TRACE_WRITE};
            assert_int_equal(quire_trace_write(writer, &record, 1), 0);
        }
        if (unmaps)
            assert_int_equal(quire_trace_write_mapping(writer, &mapping, true), 0);
    }
    assert_int_equal(quire_trace_finish(writer), 0);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    assert_int_equal(quire_trace_open_fd(fd, "it", NULL, message, &trace), 0);
    return trace;
}

static struct quire_sim_counts run_unmapping(const char *policy, bool unmaps)
{
    struct quire_sim_case one = make_case(policy, 100);
    struct quire_trace_record records[50];
    struct quire_sim *sim;
    size_t bad;
    long got;
    int fd = memfd_create("trace", MFD_CLOEXEC);
    struct quire_trace *trace = make_trace(fd, 10, unmaps);
    assert_int_equal(quire_sim_open(&one, 1, quire_trace_info(trace), NULL, &sim, &bad), 0);
    while ((got = quire_trace_read(trace, records, 50)) > 0)
        assert_int_equal(quire_sim_feed(sim, records, (size_t)got, trace), 0);
    assert_int_equal(got, 0);
    assert_int_equal(quire_sim_finish(sim), 0);
    struct quire_sim_counts counts = *quire_sim_result(sim, 0);
    quire_sim_close(sim);
    quire_trace_close(trace);
    close(fd);
    return counts;
}

/* 64 pages are written and unmapped, ten times, in a memory of 100: nothing is ever written back.
 */
static void what_is_unmapped_is_forgotten(void **state)
{
    (void)state;
    for (unsigned i = 0; quire_sim_policies(i) != NULL; i++) {
        struct quire_sim_counts counts = run_unmapping(quire_sim_policies(i)->name, true);
        assert_int_equal(counts.references, 640);
        assert_int_equal(counts.faults, 640);
        assert_int_equal(counts.cold_faults, 640);
        assert_int_equal(counts.writebacks, 0);
        if (i > 0)
            assert_int_equal(counts.evictions, 0);
        assert_int_equal(run_unmapping(quire_sim_policies(i)->name, false).faults, 64);
    }
}

/* ---- a policy from outside: as in docs/sim.md ---- */

static uint32_t frames[64];

static uint32_t any_victim(struct quire_sim_memory *memory, uint32_t incoming)
{
    uint32_t at = (uint32_t)(memory->now * 2654435761u >> 7) % (uint32_t)memory->n_resident,
             page = frames[at];
    frames[at] = frames[memory->n_resident - 1];
    return page;
}

/* W, F and D: pages [first, first + n) are written to, freed by the heap, dropped. */
static struct quire_sim_counts replay_case(const struct quire_sim_case *one, const char *text)
{
    struct quire_trace_record records[2000] = {0};
    size_t n = 0;
    char kind;
    unsigned first, n_touched;
    int length;
    for (; sscanf(text, " %c%u+%u%n", &kind, &first, &n_touched, &length) == 3; text += length) {
        const bool is_lost = kind != 'W';
        for (unsigned i = 0; i < (is_lost ? 1 : n_touched); i++)
            records[n++] = (struct quire_trace_record){.address = (uint64_t)(first + i) << 12,
                                                       .n_bytes = is_lost ? n_touched << 12 : 0,
                                                       .kind = kind == 'W'   ? QUIRE_TRACE_WRITE
                                                               : kind == 'F' ? QUIRE_TRACE_FREE
                                                                             : QUIRE_TRACE_DROP};
    }
    return run(one, NULL, records, n);
}

static struct quire_sim_counts replay(const char *policy, uint64_t n_pages,
                                      enum quire_sim_prefetch prefetch, const char *text)
{
    struct quire_sim_case one = make_case(policy, n_pages);
    one.prefetch = prefetch;
    return replay_case(&one, text);
}

static void what_is_dropped_is_new(void **state)
{
    (void)state;
    static const char *const policies[] = {"lru", "opt", "pager:gclock"};
    for (size_t i = 0; i < 3; i++) {
        struct quire_sim_counts counts = replay(policies[i], 64, 0, "W0+8 D2+4 W0+8");
        assert_int_equal(counts.faults, 12);
        assert_int_equal(counts.cold_faults, 12);
    }
    assert_int_equal(replay("lru", 8, 0, "W0+8 D0+8 W100+8").writebacks, 0);
}

/* A kernel can't know what a heap frees, the pager does. */
static void what_is_freed_is_dropped_unread(void **state)
{
    (void)state;
    struct quire_sim_counts counts = replay("lru", 32, 0, "W0+32 F0+32 W100+32 W0+32");
    assert_int_equal(counts.faults, 96);
    assert_int_equal(counts.cold_faults, 64);
    assert_int_equal(counts.writebacks, 64);
    static const char *const policies[] = {"pager:fifo", "pager:gclock", "pager:2q",
                                           "pager:s3-fifo", "pager:adaptive"};
    for (size_t i = 0; i < 5; i++) {
        /* handed out again, it is there; room is made of it, and it is new then */
        counts = replay(policies[i], 32, 0, "W0+32 F0+32 W0+32");
        assert_int_equal(counts.faults, 32);
        counts = replay(policies[i], 32, 0, "W0+32 F0+32 W100+32 F100+32 W0+32");
        assert_int_equal(counts.faults, 64); /* as long as it is not armed, that is the kernel's */
        assert_int_equal(counts.cold_faults, 64);
        assert_int_equal(counts.writebacks + counts.soft_faults, 0);
        /* who is armed drops it when room is wanted: nothing that is free is ever written, or comes
         * back as if it had contents */
        counts = replay(policies[i], 32, 0, "W0+64 F0+64 W100+8 F100+8 W0+64 F0+64 W0+64");
        assert_int_equal(counts.faults, counts.cold_faults);
        assert_true(counts.writebacks <= 4 * 32);
        /* freed where it is evicted or staged; not touched at all; twice */
        counts = replay(policies[i], 32, 0, "W0+100 F0+200 F0+200 W200+40 D0+300 W0+40");
        assert_int_equal(counts.faults, 180);
    }
}

/* Much was freed, so that nothing in use has to go for what is new: it is there when it is used.
 * But for what had been staged before: four batches of 31 pages had left by then. */
static void what_is_freed_goes_before_what_is_in_use(void **state)
{
    (void)state;
    static const char *const policies[] = {"pager:fifo",    "pager:clock",   "pager:gclock",
                                           "pager:2q",      "pager:sieve",   "pager:working-set",
                                           "pager:s3-fifo", "pager:adaptive"};
    for (size_t i = 0; i < 8; i++) {
        const uint64_t before = replay(policies[i], 500, 0, "W0+600 F400+200 W1000+150").faults;
        assert_int_equal(before, 750);
        assert_int_equal(replay(policies[i], 500, 0, "W0+600 F400+200 W1000+150 W160+140").faults,
                         before);
    }
}

/* What was dropped leaves its frame to others, and is nobody's victim. */
static void what_is_dropped_is_no_victim(void **state)
{
    (void)state;
    const char *text = "W0+10 D0+5 W20+5 W5+5 W30+5 W20+5";
    assert_int_equal(replay("lru", 10, 0, text).faults, 25);
    assert_int_equal(replay("fifo", 10, 0, text).faults, 20);
    assert_int_equal(replay("lru", 10, 0, text).evictions, 10);
    assert_int_equal(replay("fifo", 10, 0, text).evictions, 5);
}

/* Tables, and what is kept free, are taken from the budget once the pager is armed. */
static void who_is_not_armed_has_the_whole_budget(void **state)
{
    (void)state;
    struct quire_sim_case one = make_case("pager:gclock", 64);
    assert_true(replay_case(&one, "W0+72 W0+72 W0+72").faults > 72);
    one.budget_bytes = 72 << 12;
    assert_int_equal(replay_case(&one, "W0+72 W0+72 W0+72").faults, 72);
    assert_int_equal(replay_case(&one, "W0+72 F0+72 W100+72 W100+72").faults, 144);
    const struct quire_sim_counts armed = replay_case(&one, "W0+73 W0+72 W0+72");
    assert_true(armed.faults > 73);
    assert_int_equal(armed.resident_max, 72);
    /* from then on it is as if there never had been more */
    assert_true(replay_case(&one, "W0+73 D0+73 W100+65 W100+65").faults > 73 + 65);
    assert_int_equal(replay_case(&one, "W0+73 D0+73 W100+60 W100+60").faults, 73 + 60);
}

/* A stream of first touches comes in by windows, once more as the first time. */
static void what_is_new_again_comes_along(void **state)
{
    (void)state;
    static const char text[] = "W1000+400 D1000+400 W0+300 F0+300 W400+300 F400+300 W0+300";
    const struct quire_sim_counts one = replay("pager:gclock", 320, 0, text),
                                  many = replay("pager:gclock", 320, QUIRE_SIM_PREFETCH_ADAPTIVE,
                                                text);
    assert_int_equal(one.faults, 1300);
    assert_int_equal(many.faults - 1000 + many.prefetched, 300);
    assert_true(many.faults < 1030);
    assert_int_equal(many.cold_faults, many.faults);
}

static void any_admit(struct quire_sim_memory *memory, uint32_t page)
{
    frames[memory->n_resident - 1] = page;
}

static void a_policy_from_outside(void **state)
{
    (void)state;
    static const struct quire_sim_policy any = {
        .name = "any", .about = "any page", .victim = any_victim, .admit = any_admit};
    static struct quire_trace_record records[5000];
    const struct quire_sim_case one = {.policy = &any, .ram_bytes = 32 << 12, .page_shift = 12};
    struct quire_sim_case best = make_case("opt", 32);
    unsigned seed = 3;
    for (unsigned i = 0; i < 5000; i++)
        records[i].address = (uint64_t)(rand_r(&seed) % 64) << 12;
    struct quire_sim_counts counts = run(&one, NULL, records, 5000);
    assert_true(counts.faults > run(&best, NULL, records, 5000).faults);
    assert_in_range(counts.faults, 2300, 2700); /* half of the references */
    assert_int_equal(counts.evictions + 32, counts.faults);
}

static void bad_cases_are_refused(void **state)
{
    (void)state;
    struct quire_sim *sim;
    size_t bad;
    struct quire_sim_case cases[] = {make_case("lru", 4), make_case("lru", 4)};
    static const struct quire_trace_info pages = {.unit_shift = 12};
    cases[1].page_shift = 11;
    assert_int_equal(quire_sim_open(cases, 2, &pages, NULL, &sim, &bad), -EINVAL);
    assert_int_equal(bad, 1);
    cases[1] = make_case("lru-k:9", 4);
    assert_int_equal(quire_sim_open(cases, 2, &info, NULL, &sim, &bad), -EINVAL);
    cases[1] = make_case("lru", 4);
    cases[1].ram_bytes = 4095;
    assert_int_equal(quire_sim_open(cases, 2, &info, NULL, &sim, &bad), -EINVAL);
    const struct quire_sim_policy *policy;
    uint64_t argument;
    assert_int_equal(quire_sim_find_policy("lruu", &policy, &argument), -ENOENT);
    assert_int_equal(quire_sim_find_policy("pager:none", &policy, &argument), -ENOENT);
    assert_int_equal(quire_sim_find_policy("ws:x", &policy, &argument), -EINVAL);
    assert_int_equal(quire_sim_find_policy("ws:0", &policy, &argument), -EINVAL);
    assert_int_equal(quire_sim_find_policy("lru:5", &policy, &argument), -EINVAL);
    assert_int_equal(quire_sim_find_policy("pager:2q:30", &policy, &argument), 0);
    assert_int_equal(argument, 30);
}

/* ---- curves ---- */

#define N_CURVE 400000u
static uint64_t numbers[N_CURVE];

/* Skewed; loops over parts; phases with scans. */
static void make_numbers(unsigned kind)
{
    unsigned seed = 17 + kind;
    for (unsigned i = 0; i < N_CURVE; i++) {
        const double u = (rand_r(&seed) + 1.0) / (RAND_MAX + 1.0);
        uint64_t page = (uint64_t)pow(40000, u);
        if (kind == 1 && i % 2)
            page = 100000 + i % 9000;
        if (kind == 2)
            page = (i / 50000) * 3000 + (uint64_t)(u * u * 12000);
        numbers[i] = page;
    }
}

static struct quire_mrc *make_curve(double rate)
{
    const struct quire_mrc_options options = {.rate = rate};
    struct quire_mrc *mrc;
    assert_int_equal(quire_mrc_open(&options, &info, &mrc), 0);
    assert_int_equal(quire_mrc_feed_pages(mrc, numbers, N_CURVE), 0);
    assert_int_equal(quire_mrc_finish(mrc), 0);
    return mrc;
}

static void a_sample_is_within_its_bound(void **state)
{
    static const double rates[] = {0.01, 0.05, 0.2};
    unsigned n = 0, n_within = 0;
    double largest = 0;
    (void)state;
    for (unsigned kind = 0; kind < 3; kind++) {
        make_numbers(kind);
        struct quire_mrc *exact = make_curve(1);
        for (unsigned i = 0; i < 3; i++) {
            struct quire_mrc *sampled = make_curve(rates[i]);
            assert_int_equal(quire_mrc_references(sampled), N_CURVE);
            for (double size = 4 / rates[i]; size < 40000; size *= 1.1, n++) {
                double error = fabs(quire_mrc_ratio(exact, (uint64_t)size) -
                                    quire_mrc_ratio(sampled, (uint64_t)size));
                double bound = quire_mrc_bound(sampled, (uint64_t)size);
                n_within += error <= bound;
                if (kind == 0 && rates[i] == 0.2 && size > 1000) /* no cliffs */
                    largest = bound > largest ? bound : largest;
            }
            quire_mrc_close(sampled);
        }
        assert_true(quire_mrc_bound(exact, 100) == 0);
        quire_mrc_close(exact);
    }
    assert_true(n_within >= n * 95 / 100);
    assert_true(largest < 0.05); /* and says something */
}

/* What the intervals say is what counting says, however often they were merged. */
static void working_sets_are_counted(void **state)
{
    (void)state;
    make_numbers(2);
    struct quire_mrc *mrc = make_curve(1);
    static uint64_t seen[200000];
    uint64_t sum = 0;
    assert_true(quire_mrc_intervals(mrc) > 128);
    for (uint32_t i = 0; i < quire_mrc_intervals(mrc); i++) {
        struct quire_mrc_interval interval = quire_mrc_interval(mrc, i);
        uint64_t n_pages = 0;
        for (uint64_t k = 0; k < interval.n_references; k++) {
            uint64_t *last = &seen[numbers[interval.first + k]];
            n_pages += *last != i + 1;
            *last = i + 1;
        }
        assert_int_equal(interval.n_pages, n_pages);
        sum += interval.n_references;
    }
    assert_int_equal(sum, N_CURVE);
    quire_mrc_close(mrc);
}

static void distances_are_counted(void **state)
{
    (void)state;
    make_numbers(0);
    struct quire_mrc *mrc = make_curve(1);
    const uint64_t all = quire_mrc_distances(mrc, 0, UINT64_MAX / 2);
    assert_int_equal(all + quire_mrc_pages(mrc), N_CURVE);
    assert_int_equal(quire_mrc_distances(mrc, 0, 7) + quire_mrc_faults(mrc, 7), N_CURVE);
    assert_int_equal(quire_mrc_faults(mrc, 0), N_CURVE);
    assert_int_equal(quire_mrc_faults(mrc, UINT64_MAX), quire_mrc_pages(mrc));
    quire_mrc_close(mrc);
}

/* A trace that needs no decoding: the curve is that of its records. From a file of several windows,
 * and of the exact and the sampled kind. */
/* By the trace's own feeding, and record by record. */
static void check_curve(int fd, const struct quire_mrc_options *options, uint64_t n_references)
{
    static struct quire_trace_record records[1000];
    char message[QUIRE_TRACE_MESSAGE_BYTES];
    struct quire_mrc *mrc[2];
    struct quire_trace *trace[2];
    long n;
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
        assert_int_equal(quire_trace_open_fd(fd, "it", NULL, message, &trace[i]), 0);
        assert_int_equal(quire_mrc_open(options, quire_trace_info(trace[i]), &mrc[i]), 0);
        if (i == 0)
            assert_int_equal(quire_mrc_feed_trace(mrc[0], trace[0]), 0);
        while (i == 1 && (n = quire_trace_read(trace[1], records, 1000)) > 0)
            assert_int_equal(quire_mrc_feed(mrc[1], records, (size_t)n, trace[1]), 0);
        assert_int_equal(quire_mrc_finish(mrc[i]), 0);
    }
    assert_int_equal(quire_mrc_references(mrc[0]), quire_mrc_references(mrc[1]));
    if (n_references > 0)
        assert_int_equal(quire_mrc_references(mrc[0]), n_references);
    assert_int_equal(quire_mrc_sampled(mrc[0]), quire_mrc_sampled(mrc[1]));
    for (uint64_t size = 1; size < 20000; size += 1 + size / 8)
        assert_int_equal(quire_mrc_faults(mrc[0], size), quire_mrc_faults(mrc[1], size));
    assert_int_equal(quire_mrc_intervals(mrc[0]), quire_mrc_intervals(mrc[1]));
    for (uint32_t i = 0; i < quire_mrc_intervals(mrc[0]); i++) {
        struct quire_mrc_interval one = quire_mrc_interval(mrc[0], i),
                                  other = quire_mrc_interval(mrc[1], i);
        assert_int_equal(one.n_pages, other.n_pages);
        assert_int_equal(one.time_ns, other.time_ns);
    }
    for (unsigned i = 0; i < 2; i++) {
        quire_mrc_close(mrc[i]);
        quire_trace_close(trace[i]);
    }
}

static void a_curve_of_a_trace_is_that_of_its_records(void **state)
{
    (void)state;
    make_numbers(1);
    int fd = memfd_create("trace", MFD_CLOEXEC);
    assert_true(fd >= 0);
    for (uint64_t i = 0; i < N_CURVE; i++) {
        struct {
            uint32_t seconds;
            uint64_t object;
            uint32_t size;
            int64_t next;
        } __attribute__((packed)) request = {(uint32_t)(i / 5000), numbers[i] << 12, 1, -1};
        assert_int_equal(write(fd, &request, sizeof request), sizeof request);
    }
    for (unsigned kind = 0; kind < 2; kind++) {
        const struct quire_mrc_options options = {.rate = kind == 0 ? 1 : 0.05, .page_shift = 24};
        check_curve(fd, &options, N_CURVE);
    }
    close(fd);
}

/* Of all kinds, by two processes in long turns, some over the end of a page, some with a time. */
static struct quire_trace_record mixed_record(uint64_t i)
{
    static const uint8_t kinds[] = {QUIRE_TRACE_READ, QUIRE_TRACE_WRITE, QUIRE_TRACE_READ,
                                    QUIRE_TRACE_FETCH};
    struct quire_trace_record record = {.address = (numbers[i] << 12) + i % 4096 / 8 * 8,
                                        .time_ns = i / 1000 * 1000,
                                        .n_bytes = i % 31 == 0 ? 300 : 8,
                                        .process = i / 10000 % 2 != 0 ? 41 : 42,
                                        .kind = kinds[i % 4]};
    if (i % 5000 < 2) {
        record.kind = i % 5000 != 0 ? QUIRE_TRACE_FREE : QUIRE_TRACE_DROP;
        record.n_bytes = 50 << 12;
    }
    return record;
}

static void a_sample_of_a_trace_is_that_of_its_records(void **state)
{
    static const double rates[] = {1, 0.5, 0.05, 0.0005};
    const struct quire_trace_info native = {.every = QUIRE_TRACE_EVERY_ACCESS};
    struct quire_trace_writer *writer;
    (void)state;
    make_numbers(1);
    int fd = memfd_create("trace", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(quire_trace_create(fd, &native, &writer), 0);
    for (uint64_t i = 0; i < N_CURVE; i++) {
        const struct quire_trace_record record = mixed_record(i);
        assert_int_equal(quire_trace_write(writer, &record, 1), 0);
    }
    assert_int_equal(quire_trace_finish(writer), 0);
    for (unsigned i = 0; i < 8; i++) {
        const struct quire_mrc_options options = {
            .rate = rates[i / 2], .page_shift = 12, .without_fetches = i % 2};
        check_curve(fd, &options, 0);
    }
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_curve_of_a_trace_is_that_of_its_records),
        cmocka_unit_test(a_sample_of_a_trace_is_that_of_its_records),
        cmocka_unit_test(textbooks),
        cmocka_unit_test(a_working_set),
        cmocka_unit_test(a_reference_may_span_pages),
        cmocka_unit_test(writes_are_written_back),
        cmocka_unit_test(by_process),
        cmocka_unit_test(what_comes_along_is_no_fault),
        cmocka_unit_test(streams_leave_behind),
        cmocka_unit_test(what_is_unmapped_is_forgotten),
        cmocka_unit_test(what_is_dropped_is_new),
        cmocka_unit_test(what_is_freed_is_dropped_unread),
        cmocka_unit_test(what_is_freed_goes_before_what_is_in_use),
        cmocka_unit_test(what_is_dropped_is_no_victim),
        cmocka_unit_test(who_is_not_armed_has_the_whole_budget),
        cmocka_unit_test(what_is_new_again_comes_along),
        cmocka_unit_test(a_policy_from_outside),
        cmocka_unit_test(bad_cases_are_refused),
        cmocka_unit_test(a_sample_is_within_its_bound),
        cmocka_unit_test(working_sets_are_counted),
        cmocka_unit_test(distances_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
