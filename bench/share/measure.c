/* SPDX-License-Identifier: Apache-2.0 */
/*
 * measure: see measure.h.
 *
 * A message is words: the first says which it is (or when it was ready to go), and the others
 * follow from its number. A latency is the time from a message that is filled to one that has been
 * read to its end.
 */
#include "measure.h"

#include "base/sys.h"

#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define SLICE_NS 50000000u
#define BATCH_BYTES ((size_t)64 << 10) /* at a time: the other side is to work meanwhile */
#define BUSY_PACE_NS 5000u
#define ASLEEP_PACE_NS 200000u
#define N_BUSY 2000u
#define N_ASLEEP 300u
#define IDLE_NS 200000000u
#define PATIENCE_SECONDS 10u
#define ALIGNMENT 128u
#define END UINT64_MAX
#define MANY_WORDS 0x9e3779b97f4a7c15ull /* between the words of one message and of the next */

struct job {
    struct link link;
    enum measurement what;
    bool ends;
    struct result *result;
};

/* Processors */

static unsigned processors(cpu_set_t *all)
{
    return sched_getaffinity(0, sizeof *all, all) == 0 ? (unsigned)CPU_COUNT(all) : 1;
}

unsigned measure_n_processors(void)
{
    cpu_set_t all;
    return processors(&all);
}

void measure_pin(enum side side)
{
    cpu_set_t all, one;
    unsigned skipped = side == RECEIVER && processors(&all) > 1 ? 1 : 0;

    (void)processors(&all);
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE; i++) {
        if (CPU_ISSET(i, &all) && skipped-- == 0) {
            CPU_SET(i, &one);
            sched_setaffinity(0, sizeof one, &one);
            return;
        }
    }
}

bool measure_take_real_time(void)
{
    const struct sched_param lowest = {.sched_priority = sched_get_priority_min(SCHED_FIFO)};

    return sched_setscheduler(0, SCHED_FIFO, &lowest) == 0;
}

/* Messages */

static void fill(unsigned char *message, size_t n_bytes, uint64_t number, bool ends)
{
    uint64_t *words = (uint64_t *)(void *)message;
    const size_t n = n_bytes / sizeof *words;
    const uint64_t base = number * MANY_WORDS;

    if (ends) {
        words[n - 1] = base + n - 1;
        return;
    }
    for (size_t i = 0; i < n; i++)
        words[i] = base + i;
}

static bool is_whole(const unsigned char *message, size_t n_bytes, uint64_t number, bool ends)
{
    const uint64_t *words = (const uint64_t *)(const void *)message;
    const size_t n = n_bytes / sizeof *words;
    const uint64_t base = number * MANY_WORDS;
    uint64_t wrong = 0;

    if (ends)
        return n == 1 || words[n - 1] == base + n - 1;
    for (size_t i = 1; i < n; i++)
        wrong |= words[i] ^ (base + i);
    return wrong == 0;
}

static uint64_t first_word(const unsigned char *message)
{
    uint64_t word;
    memcpy(&word, message, sizeof word);
    return word;
}

static void set_first_word(unsigned char *message, uint64_t word)
{
    memcpy(message, &word, sizeof word);
}

static uint64_t cpu_time_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* The sender */

static unsigned batch_of(const struct link *link)
{
    const size_t n = BATCH_BYTES / link->n_bytes, most = link->way->batch;
    return (unsigned)(n == 0 ? 1 : n < most ? n : most);
}

static bool send_batch(struct job *job, uint64_t *number)
{
    struct link *link = &job->link;
    unsigned char *place;
    const int64_t n = link->way->reserve(link, batch_of(link), &place);

    if (n <= 0)
        return false;
    for (int64_t i = 0; i < n; i++, ++*number) {
        unsigned char *message = place + (size_t)i * link->n_bytes;
        fill(message, link->n_bytes, *number, job->ends);
        set_first_word(message, *number);
    }
    return link->way->commit(link, place, (unsigned)n);
}

static bool send_one(struct job *job, uint64_t number, bool is_end)
{
    struct link *link = &job->link;
    unsigned char *place;

    if (link->way->reserve(link, 1, &place) <= 0)
        return false;
    fill(place, link->n_bytes, number, job->ends);
    set_first_word(place, is_end ? END : sys_now_ns());
    return link->way->commit(link, place, 1);
}

static bool send_paced(struct job *job, unsigned n, uint64_t pace_ns)
{
    uint64_t next = sys_now_ns();

    for (unsigned i = 0; i < n; i++) {
        next += pace_ns;
        if (sys_now_ns() > next) /* it is late: no hurry */
            next = sys_now_ns() + pace_ns;
        while (sys_now_ns() < next)
            continue;
        if (!send_one(job, i, false))
            return false;
    }
    return true;
}

static bool send_all(struct job *job)
{
    const uint64_t end = sys_now_ns() + SLICE_NS;
    uint64_t number = 0;

    switch (job->what) {
    case THROUGHPUT:
        for (unsigned i = 0; i % 8 != 0 || sys_now_ns() < end; i++)
            if (!send_batch(job, &number))
                return false;
        break;
    case POLLED:
    case BUSY:
        if (!send_paced(job, N_BUSY, BUSY_PACE_NS))
            return false;
        number = N_BUSY;
        break;
    case ASLEEP:
        if (!send_paced(job, N_ASLEEP, ASLEEP_PACE_NS))
            return false;
        number = N_ASLEEP;
        break;
    default:
        sys_sleep_ns(IDLE_NS);
    }
    return send_one(job, number, true);
}

/* The receiver */

/* One message; false: the last, or a wrong one. */
static bool look_at(struct job *job, const unsigned char *message)
{
    struct result *result = job->result;
    const uint64_t word = first_word(message);
    const bool is_timed = job->what == POLLED || job->what == BUSY || job->what == ASLEEP;

    if (!is_whole(message, job->link.n_bytes, result->n_messages, job->ends) ||
        (word != END && !is_timed && word != result->n_messages)) {
        result->garbled = true;
        return false;
    }
    if (word == END)
        return false;
    if (is_timed && result->n_latencies < MOST_LATENCIES)
        result->latency_ns[result->n_latencies++] = (uint32_t)(sys_now_ns() - word);
    result->n_messages++;
    return true;
}

static bool receive_all(struct job *job)
{
    struct link *link = &job->link;
    const unsigned batch = batch_of(link);
    uint64_t start = job->what == IDLE ? sys_now_ns() : 0;
    bool goes_on = true;

    while (goes_on) {
        unsigned char *place;
        const int64_t n = link->way->receive(link, batch, &place);
        if (n < 0)
            return false;
        if (n == 0) {
            link_relax(0);
            continue;
        }
        if (start == 0)
            start = sys_now_ns();
        for (int64_t i = 0; i < n && goes_on; i++)
            goes_on = look_at(job, place + (size_t)i * link->n_bytes);
        if (!link->way->release(link, place, (unsigned)n))
            return false;
    }
    job->result->time_ns = sys_now_ns() - start;
    return !job->result->garbled;
}

/* Both */

static _Noreturn void run(struct job *job, enum side side)
{
    struct link *link = &job->link;
    const size_t n_bytes = (LINK_BATCH * link->n_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;

    measure_pin(side);
    link->side = side;
    link->polls = side == RECEIVER && job->what == POLLED;
    link->buffer = aligned_alloc(ALIGNMENT, n_bytes);
    if (link->buffer == NULL || !link->way->join(link))
        _exit(EXIT_FAILURE);
    memset(link->buffer, 0, batch_of(link) * link->n_bytes); /* no first touches while it counts */
    const uint64_t before = cpu_time_ns();
    const bool well = side == SENDER ? send_all(job) : receive_all(job);
    job->result->cpu_ns[side] = cpu_time_ns() - before;
    link->way->leave(link);
    _exit(well ? EXIT_SUCCESS : EXIT_FAILURE);
}

static pid_t start(struct job *job, enum side side)
{
    const pid_t child = fork();

    if (child == 0) {
        alarm(PATIENCE_SECONDS);
        run(job, side);
    }
    return child;
}

/* Whoever fails takes the other along, which would wait for it. */
static bool wait_for_both(const pid_t child[2])
{
    bool well = child[0] > 0 && child[1] > 0;

    for (unsigned n = (child[0] > 0) + (child[1] > 0); n > 0; n--) {
        int status;
        const pid_t ended = waitpid(-1, &status, 0);
        if (status == 0)
            continue;
        well = false;
        const pid_t other = ended == child[0] ? child[1] : child[0];
        if (n == 2)
            kill(other, SIGKILL);
    }
    return well;
}

bool measure(const struct way *way, size_t n_bytes, enum measurement what, bool ends,
             struct result *result)
{
    struct job job = {.link = {.way = way, .n_bytes = n_bytes, .ends = {-1, -1}},
                      .what = what,
                      .ends = ends,
                      .result = result};

    memset(result, 0, sizeof *result);
    result->why_not = way->absent != NULL ? way->absent : way->open(&job.link);
    if (result->why_not != NULL)
        return false;
    const pid_t child[2] = {[RECEIVER] = start(&job, RECEIVER), [SENDER] = start(&job, SENDER)};
    const bool well = wait_for_both(child);
    way->close(&job.link);
    result->failed = result->garbled || !well;
    return !result->failed;
}

static _Noreturn void use_memory(const struct link *link, enum side side, struct result *results)
{
    const uint64_t n_frames = link_frames(link);
    unsigned char *memory = mmap(NULL, n_frames * link->n_bytes, PROT_READ | PROT_WRITE,
                                 MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1,
                                 0); /* as a ring's */
    struct result *result = &results[side];
    bool well = memory != MAP_FAILED;

    measure_pin(side);
    for (uint64_t i = 0; well && i < n_frames; i++)
        fill(memory + i * link->n_bytes, link->n_bytes, i, false);
    const uint64_t start = sys_now_ns(), before = cpu_time_ns(), end = start + SLICE_NS;
    for (uint64_t i = 0; well && (i % 8 != 0 || sys_now_ns() < end); i++) {
        unsigned char *message = memory + i % n_frames * link->n_bytes;
        if (side == SENDER)
            fill(message, link->n_bytes, i, false);
        else
            well = is_whole(message, link->n_bytes, i % n_frames, false);
        result->n_messages++;
    }
    result->time_ns = sys_now_ns() - start;
    result->cpu_ns[side] = cpu_time_ns() - before;
    _exit(well ? EXIT_SUCCESS : EXIT_FAILURE);
}

bool measure_memory(size_t n_bytes, struct result *result)
{
    static const struct way narrow = {.name = "memory alone"};
    const struct link link = {.way = &narrow, .n_bytes = n_bytes};
    struct result *both = mmap(NULL, 2 * sizeof *both, PROT_READ | PROT_WRITE,
                               MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t child[2];

    memset(result, 0, sizeof *result);
    if (both == MAP_FAILED)
        return false;
    for (int side = SENDER; side <= RECEIVER; side++)
        if ((child[side] = fork()) == 0)
            use_memory(&link, (enum side)side, both);
    result->failed = !wait_for_both(child);
    const enum side slower = both[0].n_messages < both[1].n_messages ? SENDER : RECEIVER;
    result->n_messages = both[slower].n_messages;
    result->time_ns = both[slower].time_ns;
    memcpy(result->cpu_ns, (uint64_t[]){both[0].cpu_ns[SENDER], both[1].cpu_ns[RECEIVER]},
           sizeof result->cpu_ns);
    munmap(both, 2 * sizeof *both);
    return !result->failed;
}
