/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim_bench: simulation of replacement, and LRU's curve, beside libCacheSim, in one run.
 *
 *   sim_bench [-n REQUESTS] [-m OBJECTS] [-a SKEW] [-c PERCENT] [-t TURNS] [-p NAME] [CACHESIM]
 *
 * A trace of Zipf-distributed requests (20 million to a million objects, skew 1.0) is written in
 * libCacheSim's oracleGeneral format to a temporary file, which both read; with it the cache of
 * PERCENT (10) of the objects is simulated under each policy, by each side in a process of its own,
 * in turns. CACHESIM is the path of libCacheSim's `cachesim`; without it Quire is measured alone.
 * NAME is the one policy that is measured, or `curve`: LRU's curve alone.
 * (The file's name has `oracleGeneral` in it because the peer's Belady insists on that.)
 *
 * Printed: million requests a second of processor time, user and system, reading included, the best
 * of the turns; the most memory that the process held, MiB, of which the peer's has the trace's
 * file (24 bytes a request), which it maps; the miss ratio; and the ratio of the speeds. The
 * curve's lines are Quire's alone: exact, and from a sample of the pages, by the trace's reader and
 * from page numbers in memory.
 */
#include <quire/sim.h>

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct {
    const char *ours, *theirs; /* names */
} policies[] = {{"lru", "lru"},     {"fifo", "fifo"},      {"clock", "clock"},
                {"sieve", "sieve"}, {"s3-fifo", "s3fifo"}, {"arc", "arc"},
                {"2q", "twoq"},     {"lirs", "lirs"},      {"opt", "belady"}};
#define N_POLICIES (sizeof policies / sizeof policies[0])

static struct {
    uint64_t n_requests, n_objects, n_cached;
    unsigned n_turns;
    double skew;
    const char *peer, *only;
    char path[128];
} bench = {.n_requests = 20000000, .n_objects = 1000000, .n_turns = 3, .skew = 1.0};

struct figures {
    double seconds, mib, ratio; /* of misses */
};

static void die(const char *what)
{
    fprintf(stderr, "sim_bench: %s: %s\n", what, strerror(errno));
    exit(2);
}

/* ---- the trace ---- */

static uint64_t mix(uint64_t *state) /* splitmix64 */
{
    uint64_t x = *state += 0x9e3779b97f4a7c15;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
}

static uint32_t *make_requests(void)
{
    double *sums = malloc(bench.n_objects * sizeof *sums), sum = 0;
    uint32_t *requests = malloc(bench.n_requests * sizeof *requests);
    uint64_t state = 1;
    if (sums == NULL || requests == NULL)
        die("making the trace");
    for (uint64_t i = 0; i < bench.n_objects; i++)
        sums[i] = sum += pow((double)i + 1, -bench.skew);
    for (uint64_t i = 0; i < bench.n_requests; i++) {
        const double at = (double)(mix(&state) >> 11) * 0x1p-53 * sum;
        uint64_t from = 0, to = bench.n_objects - 1;
        while (from < to) {
            uint64_t middle = (from + to) / 2;
            if (sums[middle] < at)
                from = middle + 1;
            else
                to = middle;
        }
        requests[i] = (uint32_t)from;
    }
    free(sums);
    return requests;
}

/* With the next request of each object, which the peer's Belady asks for. */
static void write_trace(void)
{
    uint32_t *requests = make_requests();
    int64_t *next = malloc(bench.n_requests * sizeof *next),
            *last = malloc(bench.n_objects * sizeof *last);
    const char *directory = getenv("TMPDIR");
    snprintf(bench.path, sizeof bench.path, "%.64s/sim_bench.oracleGeneral.XXXXXX",
             directory != NULL ? directory : "/tmp");
    int fd = mkstemp(bench.path);
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (next == NULL || last == NULL || file == NULL)
        die("making the trace");
    memset(last, 0xff, bench.n_objects * sizeof *last);
    for (uint64_t i = bench.n_requests; i-- > 0;) {
        next[i] = last[requests[i]]; /* -1: none */
        last[requests[i]] = (int64_t)i;
    }
    for (uint64_t i = 0; i < bench.n_requests; i++) {
        struct {
            uint32_t seconds;
            uint64_t object;
            uint32_t size;
            int64_t next;
        } __attribute__((packed))
        request = {(uint32_t)(i / 100000), (requests[i] + (uint64_t)1) * 0x9e3779b97f4a7c15 >> 2, 1,
                   next[i]};
        fwrite(&request, sizeof request, 1, file);
    }
    if (fclose(file) != 0)
        die("writing the trace");
    free(requests);
    free(next);
    free(last);
}

static void remove_trace(void)
{
    if (bench.path[0] != '\0')
        unlink(bench.path);
}

/* ---- Quire's side ---- */

static double cpu_seconds(const struct rusage *usage)
{
    return (double)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) +
           (double)(usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) / 1e6;
}

static struct quire_trace *open_trace(void)
{
    char message[QUIRE_TRACE_MESSAGE_BYTES];
    struct quire_trace *trace;
    if (quire_trace_open(bench.path, NULL, message, &trace) != 0) {
        fprintf(stderr, "sim_bench: %s\n", message);
        exit(2);
    }
    return trace;
}

static double simulate(const char *name)
{
    static struct quire_trace_record records[4096];
    struct quire_trace *trace = open_trace();
    struct quire_sim_case one = {.ram_bytes = bench.n_cached << 12, .page_shift = 12};
    struct quire_sim *sim;
    size_t bad;
    long got;
    if (quire_sim_find_policy(name, &one.policy, &one.argument) != 0 ||
        quire_sim_open(&one, 1, quire_trace_info(trace), NULL, &sim, &bad) != 0)
        die(name);
    while ((got = quire_trace_read(trace, records, 4096)) > 0)
        if (quire_sim_feed(sim, records, (size_t)got, trace) != 0)
            die(name);
    if (got < 0 || quire_sim_finish(sim) != 0)
        die(name);
    const struct quire_sim_counts *counts = quire_sim_result(sim, 0);
    return (double)counts->faults / (double)counts->references;
}

/* The curve at the cache's size. In memory: what is timed begins when all is there. */
static double curve(double rate, bool from_memory, double *seconds)
{
    static struct quire_trace_record records[4096];
    struct quire_trace *trace = open_trace();
    const struct quire_mrc_options options = {.rate = rate};
    uint64_t *pages = from_memory ? malloc(bench.n_requests * sizeof *pages) : NULL;
    struct quire_mrc *mrc;
    struct rusage before = {0}, after;
    size_t n = 0;
    long got = 0;
    if (quire_mrc_open(&options, quire_trace_info(trace), &mrc) != 0)
        die("mrc");
    if (pages == NULL && quire_mrc_feed_trace(mrc, trace) != 0)
        die("mrc");
    if (pages != NULL) {
        while ((got = quire_trace_read(trace, records, 4096)) > 0)
            for (long i = 0; i < got; i++)
                pages[n++] = records[i].address;
        getrusage(RUSAGE_SELF, &before);
        if (quire_mrc_feed_pages(mrc, pages, n) != 0)
            die("mrc");
    }
    if (got < 0 || quire_mrc_finish(mrc) != 0)
        die("mrc");
    getrusage(RUSAGE_SELF, &after);
    *seconds = cpu_seconds(&after) - cpu_seconds(&before);
    return quire_mrc_ratio(mrc, bench.n_cached);
}

/* ---- one measurement, in a child; what it prints last is the miss ratio ---- */

struct job {
    const char *policy; /* NULL: the curve */
    double rate;
    bool from_memory, is_peer;
};

static void run_peer(const struct job *job)
{
    char size[24];
    snprintf(size, sizeof size, "%llu", (unsigned long long)bench.n_cached);
    execl(bench.peer, bench.peer, bench.path, "oracleGeneral", job->policy, size,
          "--ignore-obj-size", "1", "--num-thread", "1", "--output", "/dev/null", (char *)NULL);
    die(bench.peer);
}

static void run_ours(const struct job *job)
{
    double seconds = 0, ratio;
    if (job->policy != NULL)
        ratio = simulate(job->policy);
    else
        ratio = curve(job->rate, job->from_memory, &seconds);
    printf("seconds %f miss ratio %.6f\n", job->from_memory ? seconds : 0, ratio);
    fflush(stdout);
    _exit(0);
}

static struct figures measure(const struct job *job)
{
    int ends[2], status;
    char text[65536] = "";
    size_t n = 0;
    struct rusage usage;
    struct figures figures = {0};
    if (pipe(ends) != 0)
        die("pipe");
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        if (job->is_peer) {
            dup2(open("/dev/null", O_WRONLY), STDERR_FILENO); /* a log */
            run_peer(job);
        }
        run_ours(job);
    }
    close(ends[1]);
    for (ssize_t got;
         n < sizeof text - 1 && (got = read(ends[0], text + n, sizeof text - 1 - n)) > 0;)
        n += (size_t)got;
    close(ends[0]);
    if (child < 0 || wait4(child, &status, 0, &usage) != child || status != 0)
        die(job->policy != NULL ? job->policy : "mrc");
    const char *found = text, *seconds = strstr(text, "seconds ");
    for (const char *at = text; (at = strstr(at, "miss ratio ")) != NULL; at++)
        found = at + strlen("miss ratio ");
    figures.ratio = strtod(found, NULL);
    figures.seconds = job->from_memory && seconds != NULL ? strtod(seconds + 8, NULL)
                                                          : cpu_seconds(&usage);
    figures.mib = (double)usage.ru_maxrss / 1024;
    return figures;
}

static void keep_best(struct figures *best, struct figures figures)
{
    if (best->seconds == 0 || figures.seconds < best->seconds)
        *best = figures;
}

static double speed(const struct figures *figures)
{
    return (double)bench.n_requests / 1e6 / figures->seconds;
}

static void compare(size_t which)
{
    struct figures ours = {0}, theirs = {0};
    for (unsigned turn = 0; turn < bench.n_turns; turn++) {
        keep_best(&ours, measure(&(struct job){.policy = policies[which].ours}));
        if (bench.peer != NULL)
            keep_best(&theirs,
                      measure(&(struct job){.policy = policies[which].theirs, .is_peer = true}));
    }
    printf("%-10s %7.1f M/s %6.0f MiB  misses %.4f", policies[which].ours, speed(&ours), ours.mib,
           ours.ratio);
    if (bench.peer != NULL)
        printf("   peer %6.1f M/s %6.0f MiB  misses %.4f%s   ratio %5.1f", speed(&theirs),
               theirs.mib, theirs.ratio, fabs(theirs.ratio - ours.ratio) < 0.000051 ? "" : " (!)",
               speed(&ours) / speed(&theirs));
    printf("\n");
}

static void measure_curve(const char *name, double rate, bool from_memory)
{
    struct figures best = {0};
    for (unsigned turn = 0; turn < bench.n_turns; turn++)
        keep_best(&best, measure(&(struct job){.rate = rate, .from_memory = from_memory}));
    printf("%-24s %7.1f M/s %6.0f MiB  misses %.4f\n", name, speed(&best), best.mib, best.ratio);
}

int main(int argc, char **argv)
{
    double percent = 10;
    for (int option; (option = getopt(argc, argv, "n:m:a:c:t:p:")) != -1;) {
        switch (option) {
        case 'n':
            bench.n_requests = strtoull(optarg, NULL, 10);
            break;
        case 'm':
            bench.n_objects = strtoull(optarg, NULL, 10);
            break;
        case 'a':
            bench.skew = strtod(optarg, NULL);
            break;
        case 'c':
            percent = strtod(optarg, NULL);
            break;
        case 't':
            bench.n_turns = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'p':
            bench.only = optarg;
            break;
        default:
            bench.n_turns = 0;
        }
    }
    bench.n_cached = (uint64_t)((double)bench.n_objects * percent / 100);
    bench.peer = optind < argc ? argv[optind] : NULL;
    if (bench.n_turns == 0 || bench.n_requests < 1000 || bench.n_objects < 100 ||
        bench.n_objects > UINT32_MAX || bench.n_cached < 20) {
        fprintf(stderr, "usage: sim_bench [-n REQUESTS] [-m OBJECTS] [-a SKEW] [-c PERCENT] "
                        "[-t TURNS] [-p NAME] [CACHESIM]\n");
        return 2;
    }
    atexit(remove_trace);
    write_trace();
    printf("%llu requests to %llu objects, Zipf %.2f, cache of %llu\n",
           (unsigned long long)bench.n_requests, (unsigned long long)bench.n_objects, bench.skew,
           (unsigned long long)bench.n_cached);
    for (size_t i = 0; i < N_POLICIES; i++)
        if (bench.only == NULL || strcmp(bench.only, policies[i].ours) == 0)
            compare(i);
    if (bench.only != NULL && strcmp(bench.only, "curve") != 0)
        return 0;
    measure_curve("LRU curve, exact", 1, false);
    measure_curve("LRU curve, 1 %", 0.01, false);
    measure_curve("  from memory", 0.01, true);
    measure_curve("LRU curve, 0.1 %", 0.001, false);
    measure_curve("  from memory", 0.001, true);
    return 0;
}
