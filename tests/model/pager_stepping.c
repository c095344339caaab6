/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The states of a page in every order of what can happen to it.
 *
 * Two neighbouring pages are brought into a state: never touched, dirty, clean, clean with a kept
 * copy, marked as at a fork, shared with a process that is there, shared with one that is gone,
 * staged, stored in RAM, in the file, dead (pager_prepared.h). Then two or three actors work on
 * them (the table `operations`), and tests/stepping.h tries every order of their steps up to a
 * bound of delays. The program's threads are actors that look at the page map whether an access
 * would fault; one that would is a message to a handler, and handlers are actors that call
 * fault_serve() as the real ones do (tests/pager_stepped.h).
 *
 * After each execution pager_audit() recomputes the pager's figures, and both pages must hold what
 * some order of the operations allows: nothing written is lost but to a drop that it did not come
 * after, nothing dropped comes back, no page is half one and half the other, and at each access in
 * between the same.
 *
 *   pager_stepping                        all scenarios, with the bounds below
 *   pager_stepping full [BOUND [START]]   with another bound of delays (default 3), all scenarios
 *                                         whose names start so
 *   pager_stepping SCENARIO SCHEDULE      one execution again, as a failure names it, step by step
 *
 * Not tried: what a fork's other side does with the frames (it has them, and sleeps), pages locked
 * or pinned, stacks of managed memory (tests/programs/fibers.c), and a budget without room.
 */
#include "pager_audit.h"
#include "pager_prepared.h"

#include <sched.h>
#include <sys/resource.h>

#define BUDGET_BYTES ((uint64_t)32 << 20)
#define SWAP_BYTES ((uint64_t)64 << 20)
#define ADDRESS_BYTES ((uint64_t)2 << 30) /* of the process, so that its arena is small */
#define MOST_SCENARIOS 2048u
#define MOST_REPEATS 3 /* of an execution that the pager's own history may have led another way */
#define PAIR_BOUND 1   /* delays */
#define STORED_BOUND 2 /* of pairs, where pages come from the store in RAM */
#define TRIPLE_BOUND 1
#define MOVE_BOUND 3
#define SECONDS 300

static struct scenario scenarios[MOST_SCENARIOS];
static unsigned n_scenarios;

/* The end */

/* What was written when the move was under way is either here or there. */
static void check_moved(uint32_t at, const struct task *move)
{
    const uint64_t *there = (uint64_t *)(void *)address_at(N_PAGES + at);
    const uint64_t *here = (uint64_t *)(void *)address_at(at);
    bring((const char *)there, false);
    require(is_filled(there, now.base_word[at]), "contents are lost in a move");
    for (unsigned i = 0; i < now.scenario.n; i++) {
        const struct task *task = &now.scenario.tasks[i];
        if (task->written == 0 || task->at != at)
            continue;
        require(there[i] + here[i] == 1, "what was written is lost in a move, or twice there");
        require(there[i] || task->written > move->drop_begins, "what was written did not move");
    }
}

/* The move that was the only one to drop the page, or NULL. */
static const struct task *only_move(uint32_t at)
{
    const struct task *move = NULL;
    for (unsigned i = 0; i < now.scenario.n; i++) {
        const struct task *task = &now.scenario.tasks[i];
        if (!drops(task, at))
            continue;
        if (move || !task->moves)
            return NULL;
        move = task;
    }
    return move;
}

/* What has a mark must not be written to unseen; what has none is not protected (P7). */
static void check_marks(void)
{
    uint64_t flags;
    for (uint32_t at = 0; at < N_PAGES; at++) {
        const page_entry entry = table_get(&pager.table, now.page + at);
        const bool faults = would_fault(address_at(at), true, &flags);
        if (entry & (PAGE_CLEAN | PAGE_SHARED))
            require(faults, "a marked page is not protected");
        else if (page_state(entry) == PAGE_RESIDENT && faults)
            require(!(flags & UFFD_PAGEFAULT_FLAG_WP), "a page without a mark is protected");
    }
}

/* AddressSanitizer wants all of the address space, so the arena is large there: see stay_small. */
static bool is_time_to_audit(void)
{
    return !UNDER_ADDRESS_SANITIZER || shared->n_schedules % 32 == 0;
}

static void check(void)
{
    const char *wrong = is_time_to_audit() ? pager_audit() : NULL;
    require(!wrong, wrong);
    check_marks();
    for (uint32_t at = 0; at < N_PAGES; at++) {
        if (now.is_gone[at])
            continue;
        bring(address_at(at), false);
        check_page(address_at(at), at);
        if (only_move(at))
            check_moved(at, only_move(at));
    }
    for (unsigned i = 0; i < now.scenario.n; i++) {
        const uint64_t *words = now.scenario.tasks[i].reused;
        if (!words)
            continue;
        bring((const char *)words, false);
        require(words[0] == 1 && is_filled(words, 0), "what was written is lost");
    }
}

static void end_sharing(void)
{
    lock_take(&pager.lock);
    sharing_end();
    budget_charge(CONTROL_RESIDENT, pager.self->shared);
    pager.self->shared = 0;
    lock_release(&pager.lock);
}

static void unmap_all(void)
{
    pager_unmap(now.base, N_MAPPED * SYS_PAGE_SIZE);
    for (unsigned i = 0; i < now.scenario.n; i++)
        if (now.scenario.tasks[i].reused)
            pager_unmap(now.scenario.tasks[i].reused, SYS_PAGE_SIZE);
}

static void free_all(void)
{
    for (uint32_t at = 0; at < N_PAGES; at++)
        if (!now.is_gone[at])
            pager_heap_free(address_at(at), 1);
    for (unsigned i = 0; i < now.scenario.n; i++)
        if (now.scenario.tasks[i].reused)
            pager_heap_free(now.scenario.tasks[i].reused, 1);
    pager_heap_purge();
}

static void clean_up(void)
{
    end_holder();
    if (pager.shares)
        end_sharing();
    if (now.scenario.is_heap)
        free_all();
    else
        unmap_all();
    requeue_fillers();
    lock_take(&pager.pass);
    while (pager.staging.packed < pager.staging.head)
        pack_oldest(POOL_LIMIT);
    pack_release(true);
    lock_release(&pager.pass);
}

/* Handlers come first: unless a choice says otherwise, a fault is served at once. */
static unsigned make_actors(struct actor *actors)
{
    static const char *const handlers[] = {"handler", "handler 2", "handler 3"};
    unsigned n = 0, n_handlers = 0;
    memset(actors, 0, STEPPING_ACTORS * sizeof *actors);
    for (unsigned i = 0; i < now.scenario.n; i++)
        n_handlers += now.scenario.tasks[i].operation->faults ||
                      (now.scenario.tasks[i].operation->populates && now.scenario.state == FORKED);
    for (; n < n_handlers; n++)
        actors[n] = (struct actor){.name = handlers[n], .run = handle, .serves = true};
    for (unsigned i = 0; i < now.scenario.n; i++, n++) {
        struct task *task = &now.scenario.tasks[i];
        actors[n].name = task->operation->name;
        actors[n].run = task->operation->run;
        actors[n].context = task;
    }
    return n;
}

/* One execution; false: its choices led another way than before. */
static bool execute(const struct scenario *scenario, unsigned bound)
{
    struct actor actors[STEPPING_ACTORS];
    snprintf(shared->schedule.scenario, sizeof shared->schedule.scenario, "%s", scenario->name);
    shared->schedule.n = 0;
    prepare(scenario);
    unsigned n = make_actors(actors);
    bool ended = stepping_run(actors, n, bound, &shared->schedule);
    if (!ended)
        _exit(1);
    check();
    clean_up();
    shared->n_schedules++;
    return !stepping.diverged;
}

/* Much is set up when it is first used: not in the middle of what is explored. */
static void warm_up(void)
{
    for (unsigned i = 0; i < n_scenarios; i++)
        if (scenarios[i].n == MOST_OPERATIONS)
            execute(&scenarios[i], 0);
    shared->n_schedules = 0;
}

static void explore(const struct scenario *scenario, unsigned bound)
{
    struct schedule *schedule = &shared->schedule;
    schedule->n_prefix = 0;
    schedule->knows_chosen = false;
    do {
        int repeats = 0;
        while (!execute(scenario, bound) && ++repeats < MOST_REPEATS)
            continue;
        shared->n_astray += repeats == MOST_REPEATS;
    } while (schedule_advance(schedule));
    shared->n_scenarios++;
}

/* The scenarios */

static void add(enum state state, bool is_heap, unsigned bound, unsigned n,
                const uint8_t (*what)[2])
{
    struct scenario *scenario = &scenarios[n_scenarios++];
    int length = snprintf(scenario->name, sizeof scenario->name, "%s%s",
                          is_heap && state != DEAD ? "heap-" : "", state_names[state]);
    if (n_scenarios == MOST_SCENARIOS)
        abort();
    scenario->state = state;
    scenario->is_heap = is_heap;
    scenario->bound = bound;
    scenario->n = n;
    for (unsigned i = 0; i < n; i++) {
        const struct operation *operation = &operations[what[i][0]];
        scenario->tasks[i] = (struct task){.operation = operation, .at = what[i][1]};
        length += snprintf(scenario->name + length, sizeof scenario->name - (size_t)length,
                           operation->has_page ? ":%s%u" : ":%s", operation->name, what[i][1]);
    }
}

/* Whether it would do something to a page in that state; reclaim does all that eviction does. */
static bool has_effect(uint8_t operation, enum state state)
{
    switch (operation) {
    case EVICT:
        return state == CLEAN || state == SHARED || state == HELD || state == FORKED;
    case RELOCATE:
        return state == RAM || state == IN_FILE || state == KEPT;
    case STEP:
        return expected_state(state) == PAGE_RESIDENT;
    case PACK:
        return state == STAGED;
    case TO_FILE:
        return state == RAM;
    default:
        return true;
    }
}

/* What is moved the program has let go of: nobody takes the access away. */
static bool can_meet(uint8_t a, uint8_t b, enum state state)
{
    if ((a == MOVE && b == PROTECT) || (a == PROTECT && b == MOVE))
        return false;
    return !(operations[a].has_pass && operations[b].has_pass) &&
           (a != b || operations[a].repeats) && has_effect(a, state) && has_effect(b, state);
}

static void add_pairs(enum state state)
{
    for (uint8_t a = 0; a < FRESH; a++) {
        for (uint8_t b = a; b < FRESH; b++) {
            const bool faults = operations[a].faults || operations[b].faults;
            if (!can_meet(a, b, state))
                continue;
            const unsigned bound = state == RAM ? STORED_BOUND : PAIR_BOUND;
            add(state, false, bound, 2, (const uint8_t[][2]){{a, 0}, {b, 0}});
            if (operations[a].has_page && operations[b].has_page && faults) {
                add(state, false, PAIR_BOUND, 2, (const uint8_t[][2]){{a, 0}, {b, 1}});
                add(state, false, PAIR_BOUND, 2, (const uint8_t[][2]){{a, 1}, {b, 0}});
            }
        }
    }
}

/* Memory is freed, or freed and used again, while something is done with the page beside it. */
static void add_heap_pairs(enum state state)
{
    static const uint8_t others[] = {READ, WRITE, PACK, RECLAIM, STEP, FETCH, FORK, FREE, REUSE};
    for (unsigned i = 0; i < sizeof others; i++) {
        if (!has_effect(others[i], state))
            continue;
        if (state != DEAD)
            add(state, true, PAIR_BOUND, 2, (const uint8_t[][2]){{FREE, 1}, {others[i], 0}});
        if (state != DEAD || (others[i] != READ && others[i] != WRITE && others[i] != FREE))
            add(state, true, PAIR_BOUND, 2, (const uint8_t[][2]){{REUSE, 1}, {others[i], 0}});
    }
}

/* A page is unmapped, and as a rule mapped again at once. */
static void add_renewals(enum state state)
{
    static const uint8_t others[] = {READ, WRITE, RECLAIM, STEP, FETCH, FORK, PARK};
    for (unsigned i = 0; i < sizeof others; i++)
        if (has_effect(others[i], state))
            add(state, false, PAIR_BOUND, 2, (const uint8_t[][2]){{others[i], 0}, {RENEW, 0}});
}

static void add_triples(enum state state)
{
    static const uint8_t triples[][3][2] = {
        {{READ, 0}, {WRITE, 0}, {RECLAIM, 0}}, {{WRITE, 0}, {WRITE, 1}, {RECLAIM, 0}},
        {{WRITE, 0}, {RECLAIM, 0}, {DROP, 0}}, {{READ, 0}, {RECLAIM, 0}, {DROP, 1}},
        {{READ, 0}, {RECLAIM, 0}, {UNMAP, 1}}, {{READ, 1}, {RECLAIM, 0}, {MOVE, 0}},
        {{WRITE, 0}, {RECLAIM, 0}, {MOVE, 0}}, {{READ, 0}, {WRITE, 1}, {FORK, 0}},
        {{WRITE, 0}, {RECLAIM, 0}, {FORK, 0}}, {{READ, 0}, {DROP, 0}, {FETCH, 0}},
        {{READ, 0}, {STEP, 0}, {RECLAIM, 0}},  {{READ, 0}, {WRITE, 0}, {PARK, 0}},
        {{READ, 0}, {WRITE, 0}, {END, 0}},
    };
    for (unsigned i = 0; i < sizeof triples / sizeof triples[0]; i++)
        add(state, false, TRIPLE_BOUND, 3, triples[i]);
    /* Both faults have to be under way when the page is to be moved. */
    if (state == EMPTY || state == RAM)
        add(state, false, MOVE_BOUND, 3, (const uint8_t[][2]){{READ, 0}, {MOVE, 1}, {FRESH, 0}});
}

static void list_scenarios(void)
{
    for (enum state state = EMPTY; state < N_STATES; state++) {
        add_heap_pairs(state);
        if (state == DEAD)
            continue;
        add_pairs(state);
        add_renewals(state);
        add_triples(state);
    }
}

/* The run */

static struct {
    int bound;            /* -1: each scenario's own */
    const char *scenario; /* NULL: all */
    const char *choices;
} wanted = {.bound = -1};

/*
 * A small arena, all on one processor: most of an execution would be spent on validating tables of
 * nothing, and on telling another processor what was unmapped.
 */
static void stay_small(void)
{
    const struct rlimit limit = {ADDRESS_BYTES, ADDRESS_BYTES};
    cpu_set_t here;
    CPU_ZERO(&here);
    CPU_SET((unsigned)sched_getcpu(), &here);
    (void)sched_setaffinity(0, sizeof here, &here);
    if (!UNDER_ADDRESS_SANITIZER)
        (void)setrlimit(RLIMIT_AS, &limit);
}

static void start_pager(void)
{
    stay_small();
    require(pager_init(run_control, NULL) == 0, "pager_init failed");
    fillers = pager_map(N_FILLERS * SYS_PAGE_SIZE, PROT_READ | PROT_WRITE);
    require(fillers && arm() == 0, "the pager could not be armed");
    pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    stepping.outer = &pager.pass;
    stepping.would_fault = would_fault;
    for (uint32_t i = 0; i < N_FILLERS; i++) {
        uint64_t *words = (uint64_t *)(void *)(fillers + (size_t)i * SYS_PAGE_SIZE);
        bring((char *)words, true);
        words[0] = i + 1;
        words[1] = 1;
    }
}

static void replay(const struct scenario *scenario)
{
    struct schedule *schedule = &shared->schedule;
    const size_t n = strlen(wanted.choices);
    stepping.prints = true;
    setvbuf(stdout, NULL, _IONBF, 0);
    for (size_t i = 0; i < n && i < STEPPING_CHOICES; i++)
        schedule->choice[i] = (uint8_t)(wanted.choices[i] - '0');
    schedule->n_prefix = (uint32_t)(n < STEPPING_CHOICES ? n : STEPPING_CHOICES);
    require(execute(scenario, STEPPING_CHOICES), "there is no such schedule");
}

static bool is_wanted(const struct scenario *scenario)
{
    if (!wanted.scenario)
        return true;
    return wanted.bound < 0
               ? strcmp(wanted.scenario, scenario->name) == 0
               : strncmp(wanted.scenario, scenario->name, strlen(wanted.scenario)) == 0;
}

static void body(void *unused)
{
    start_pager();
    warm_up();
    for (unsigned i = 0; i < n_scenarios; i++) {
        const struct scenario *scenario = &scenarios[i];
        if (!is_wanted(scenario))
            continue;
        if (wanted.choices)
            replay(scenario);
        else
            explore(scenario, wanted.bound < 0 ? scenario->bound : (unsigned)wanted.bound);
    }
}

static void print_failure(enum run_end end, int status)
{
    const struct schedule *schedule = &shared->schedule;
    printf("FAILED: %s", schedule->why[0] ? schedule->why : end == RUN_HUNG ? "it hangs" : "");
    if (end == RUN_VERDICT)
        printf("the pager ended the run: %s", run_control->message);
    else if (!schedule->why[0] && WIFSIGNALED(status))
        printf("signal %d", WTERMSIG(status));
    printf("\nagain: %s '%s' '", "pager_stepping", schedule->scenario);
    for (uint32_t i = 0; i < schedule->n; i++)
        putchar('0' + schedule->choice[i]);
    printf("'\n");
}

static void understand(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "full") == 0)
        wanted.bound = argc > 2 ? atoi(argv[2]) : 3;
    if (wanted.bound >= 0)
        wanted.scenario = argc > 3 ? argv[3] : NULL;
    else if (argc > 1)
        wanted.scenario = argv[1];
    if (wanted.bound < 0 && argc > 2)
        wanted.choices = argv[2];
}

int main(int argc, char **argv)
{
    int status = 0;
    if (run_is_skipped())
        return RUN_SKIPPED;
    understand(argc, argv);
    list_scenarios();
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        abort();
    const struct run_config config = {
        .budget_bytes = BUDGET_BYTES, .swap_bytes = SWAP_BYTES, .codec = STORE_CODEC_LZ4};
    run_create(&config);
    enum run_end end = run_child(body, NULL, wanted.bound < 0 ? SECONDS : 24 * 3600, &status);
    if (end != RUN_DONE)
        print_failure(end, status);
    run_destroy();
    if (shared->n_schedules == 0 && end == RUN_DONE)
        printf("no scenario is named so; the source lists what there are: STATE:OPERATION:...\n");
    printf("%lu scenarios, %lu schedules, %lu led astray\n", (unsigned long)shared->n_scenarios,
           (unsigned long)shared->n_schedules, (unsigned long)shared->n_astray);
    return end == RUN_DONE && shared->n_schedules > 0 ? 0 : 1;
}
