/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record_touches: `quire record --every page`. The program runs under the pager, whose handlers
 * tell of each fault; see src/pager/watch.h and docs/adr/0039-recording-through-the-pager.md.
 *
 *   pagers of all processes --ring, base/touches.h--> tick, 50 times a second --> the trace
 *
 * Beside touches it has what the heap frees, and what the kernel gets back. What the heap frees and
 * hands out again while it is in the window is not touched as far as the pager sees: it counts as
 * written to when it is handed out. A process that ends gives back all of its arena.
 */
#include "base/control.h"
#include "base/sys.h"
#include "base/touches.h"
#include "cli/cli.h"
#include "cli/keeper.h"
#include "cli/launch.h"
#include "cli/preload.h"
#include "cli/record.h"
#include "cli/record_note.h"
#include "cli/resolve.h"
#include "cli/rights.h"
#include "observe/machine.h"
#include "policy/policy.h"
#include "policy/prefetch.h"
#include "store/store.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define RING_SLOTS (1u << 18) /* 6 MiB: what handlers see in about three seconds */
#define TICK_NS 20000000u
#define LOOK_NS 100000000u   /* who has ended? */
#define FLUSH_NS 1000000000u /* what is older is in the file, whatever becomes of the recorder */
#define BATCH 1024
#define ARENA_PAGES ((size_t)1 << 28)
#define ARENA_BYTES (ARENA_PAGES << SYS_PAGE_SHIFT)
#define RANGE_MOST_PAGES ((1u << 20) - 1) /* that a record can tell of */
#define SEEN_BYTES (ARENA_PAGES / 8)      /* of addresses; what is touched of it takes memory */

struct process {
    uint32_t pid;
    bool is_alive; /* when last looked at */
    uint64_t base;
    unsigned char *seen; /* a bit a page */
};

struct watching {
    struct control *control;
    struct touches *touches;
    struct record_file *file;
    struct record_summary *summary;
    struct process *processes;
    size_t n_processes, room;
    uint64_t began_ns, flush_at_ns, look_at_ns, told_percent;
    bool failed; /* no memory */
    struct record_note most_stored;
};

static struct process *find_process(struct watching *watching, uint32_t pid)
{
    for (size_t i = watching->n_processes; i-- > 0;)
        if (watching->processes[i].pid == pid)
            return &watching->processes[i];
    return NULL;
}

static struct process *add_process(struct watching *watching, uint32_t pid)
{
    if (watching->n_processes == watching->room) {
        size_t room = watching->room > 0 ? 2 * watching->room : 16;
        struct process *grown = realloc(watching->processes, room * sizeof *grown);
        if (grown == NULL)
            return NULL;
        watching->processes = grown;
        watching->room = room;
    }
    struct process *process = &watching->processes[watching->n_processes++];
    *process = (struct process){.pid = pid, .is_alive = true};
    watching->summary->n_processes++;
    return process;
}

static void tell_mapping(struct watching *watching, const struct process *process, uint64_t start,
                         uint64_t n_bytes, const char *name, uint64_t time_ns, bool is_gone)
{
    const struct quire_trace_mapping mapping = {.start = start,
                                                .n_bytes = n_bytes,
                                                .time_ns = time_ns,
                                                .process = process->pid,
                                                .protection = PROT_READ | PROT_WRITE,
                                                .name = name};

    record_file_map(watching->file, &mapping, is_gone);
}

/* The process has a new arena: it began, or executed another program. */
static void begin_process(struct watching *watching, const struct touch *touch, uint64_t time_ns)
{
    struct process *process = find_process(watching, touch->pid);

    if (process == NULL)
        process = add_process(watching, touch->pid);
    else if (process->seen != NULL)
        tell_mapping(watching, process, process->base, ARENA_BYTES, "", time_ns, true);
    if (process == NULL) {
        watching->failed = true;
        return;
    }
    if (process->seen != NULL)
        munmap(process->seen, SEEN_BYTES);
    process->is_alive = true;
    process->base = (uint64_t)touch->page << 30;
    process->seen = mmap(NULL, SEEN_BYTES, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (process->seen == MAP_FAILED) {
        process->seen = NULL;
        watching->failed = true;
    }
    tell_mapping(watching, process, process->base, ARENA_BYTES, "[quire]", time_ns, false);
}

/* The n-th page of what a touch tells, as a record of that kind. */
static struct quire_trace_record record_of(const struct process *process, const struct touch *touch,
                                           uint32_t n, enum quire_trace_kind kind, uint64_t time_ns)
{
    return (struct quire_trace_record){.address = process->base +
                                                  ((uint64_t)(touch->page + n) << SYS_PAGE_SHIFT),
                                       .time_ns = time_ns,
                                       .process = touch->pid,
                                       .kind = (uint8_t)kind};
}

static void note_range(struct watching *watching, const struct process *process,
                       const struct touch *touch, uint64_t time_ns)
{
    const enum quire_trace_kind kind = touch->flags & TOUCHES_FREED ? QUIRE_TRACE_FREE
                                                                    : QUIRE_TRACE_DROP;
    for (uint32_t at = 0, n; at < touch->n_pages; at += n) {
        n = touch->n_pages - at < RANGE_MOST_PAGES ? touch->n_pages - at : RANGE_MOST_PAGES;
        struct quire_trace_record record = record_of(process, touch, at, kind, time_ns);
        record.n_bytes = n << SYS_PAGE_SHIFT;
        record_file_write(watching->file, &record, 1);
    }
}

static void note_touch(struct watching *watching, struct process *process,
                       const struct touch *touch, uint64_t time_ns)
{
    const bool is_write = touch->flags & (TOUCHES_WRITE | TOUCHES_REVIVED);
    const struct quire_trace_record record = record_of(
        process, touch, 0, is_write ? QUIRE_TRACE_WRITE : QUIRE_TRACE_READ, time_ns);
    unsigned char *byte = &process->seen[touch->page / 8],
                  bit = (unsigned char)(1u << touch->page % 8);

    watching->summary->n_pages += (*byte & bit) == 0;
    *byte |= bit;
    watching->summary->n_records += !(touch->flags & TOUCHES_REVIVED); /* which was no fault */
    record_file_write(watching->file, &record, 1);
}

static void note(struct watching *watching, const struct touch *touch)
{
    uint64_t time_ns = touch->time_ns > watching->began_ns ? touch->time_ns - watching->began_ns
                                                           : 0;
    if (touch->flags & TOUCHES_BASE) {
        begin_process(watching, touch, time_ns);
        return;
    }
    struct process *process = find_process(watching, touch->pid);
    if (process == NULL || process->seen == NULL)
        return; /* of whom it is not known where his arena is: no memory was left */
    if (touch->flags & (TOUCHES_FREED | TOUCHES_DROPPED))
        note_range(watching, process, touch, time_ns);
    else
        note_touch(watching, process, touch, time_ns);
}

/*
 * What is stored compresses more or less as the program goes on: told where its ratio, in
 * hundredths, has changed by a twentieth and more, and as much is stored as the window holds.
 */
static void tell_store(struct watching *watching, uint64_t n_stored, uint64_t n_bytes)
{
    const struct record_note store = {.stored_pages = n_stored, .pool_bytes = n_bytes};
    const uint64_t window = (uint64_t)control_budget(watching->control),
                   percent = n_stored > 0 ? n_bytes * 100 / (n_stored << SYS_PAGE_SHIFT) : 0,
                   last = watching->told_percent;
    const uint64_t change = percent > last ? percent - last : last - percent;
    char name[RECORD_NOTE_BYTES];

    if (n_stored < window || percent == 0 || change * 20 <= last)
        return;
    watching->told_percent = percent;
    record_note_write(&store, name);
    record_file_map(
        watching->file,
        &(struct quire_trace_mapping){.time_ns = sys_now_ns() - watching->began_ns, .name = name},
        false);
}

/*
 * How much RAM contents take when they are compressed: when about as many are as ever, and then the
 * most, since the pool gets gaps as pages come and go.
 */
static void look_at_store(struct watching *watching)
{
    const struct control *control = watching->control;
    uint64_t n_stored = 0;
    int64_t n_pool = atomic_load(&control->held[CONTROL_POOL]);

    for (unsigned i = 0; i < control->slots_end; i++)
        n_stored += atomic_load_explicit(&control->slot[i].stored_pages, memory_order_relaxed);
    struct record_note *most = &watching->most_stored;
    uint64_t n_bytes = n_pool > 0 ? (uint64_t)n_pool << SYS_PAGE_SHIFT : 0;
    tell_store(watching, n_stored, n_bytes);
    bool is_more = n_stored * 20 > most->stored_pages * 21;
    bool is_as_much = n_stored * 20 > most->stored_pages * 19;
    if (n_bytes == 0 ||
        !(is_more || (is_as_much && n_bytes * most->stored_pages > most->pool_bytes * n_stored)))
        return;
    most->stored_pages = n_stored;
    most->pool_bytes = n_bytes;
}

static void look_at_processes(struct watching *watching)
{
    for (size_t i = 0; i < watching->n_processes; i++)
        watching->processes[i].is_alive = false;
    for (unsigned i = 0; i < watching->control->slots_end; i++) {
        const uint32_t pid = control_living_pid(watching->control, i);
        struct process *process = pid != 0 ? find_process(watching, pid) : NULL;
        if (process != NULL)
            process->is_alive = true;
    }
}

/* All that those had touched before they ended has been noted. */
static void end_processes(struct watching *watching, uint64_t now)
{
    for (size_t i = 0; i < watching->n_processes; i++) {
        struct process *process = &watching->processes[i];
        if (process->is_alive || process->seen == NULL)
            continue;
        tell_mapping(watching, process, process->base, ARENA_BYTES, "", now - watching->began_ns,
                     true);
        munmap(process->seen, SEEN_BYTES);
        process->seen = NULL;
    }
}

static uint64_t drain(void *context)
{
    static struct touch touches[BATCH];
    struct watching *watching = context;
    const bool is_time_to_look = sys_now_ns() >= watching->look_at_ns;
    size_t n;

    if (is_time_to_look)
        look_at_processes(watching);
    while ((n = touches_take(watching->touches, touches, BATCH)) > 0)
        for (size_t i = 0; i < n; i++)
            note(watching, &touches[i]);
    look_at_store(watching);
    uint64_t now = sys_now_ns();
    if (is_time_to_look) {
        end_processes(watching, now);
        watching->look_at_ns = now + LOOK_NS;
    }
    if (now >= watching->flush_at_ns) {
        record_file_flush(watching->file);
        watching->flush_at_ns = now + FLUSH_NS;
    }
    return now + TICK_NS;
}

static uint64_t nanoseconds(struct timeval time)
{
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_usec * 1000u;
}

/* What `quire advise` has to know of the run, as the name of a mapping of nothing. */
static void tell_run(struct watching *watching, const struct launch_result *result,
                     uint64_t window_bytes)
{
    struct record_note note = watching->most_stored;
    struct control_stats totals;
    char name[RECORD_NOTE_BYTES];

    control_totals(watching->control, &totals);
    note.fault_ns = totals.fault_ns;
    note.wall_ns = result->wall_ns;
    note.cpu_ns = nanoseconds(result->usage.ru_utime) + nanoseconds(result->usage.ru_stime);
    note.window_bytes = window_bytes;
    note.n_touches = watching->summary->n_records;
    note.metadata_bytes = (uint64_t)atomic_load(&watching->control->peak[CONTROL_METADATA])
                          << SYS_PAGE_SHIFT;
    record_note_write(&note, name);
    record_file_map(watching->file, &(struct quire_trace_mapping){.name = name}, false);
}

static bool may_page(void)
{
    struct rights rights;
    const char *outer = getenv(CONTROL_ENVIRONMENT);

    if (outer != NULL && access(outer, F_OK) == 0) {
        cli_error("this is inside a `quire run' already, which has the program's pager\n"
                  "record from outside: quire record -- COMMAND");
        return false;
    }
    rights_find(&rights);
    if (rights.problem != NULL)
        cli_error("cannot see what this program touches: %s\n%s%s`quire doctor' tells more; "
                  "--every access needs no rights",
                  rights.problem, rights.fix, rights.fix[0] != '\0' ? "\n" : "");
    return rights.problem == NULL;
}

static int create(const struct record_options *options, struct control **control)
{
    const struct control_options shared = {
        .budget_bytes = options->window_bytes,
        .budget_most_bytes = machine_whole_bytes(""),
        .codec = STORE_CODEC_LZ4,
        .policy = POLICY_FIFO,
        .prefetch = PREFETCH_NONE,
        .n_touches = RING_SLOTS,
        .swap_fd = -1,
        .key_fd = -1,
    };
    int fd = control_create(&shared, touches_bytes(RING_SLOTS), control);

    if (fd < 0)
        cli_error("cannot make the memory that the run's processes share: %s", strerror(-fd));
    else
        touches_init(control_touches(*control), RING_SLOTS);
    return fd;
}

static int launch(const struct record_options *options, const char *path, const char *library,
                  struct watching *watching, struct launch_result *result)
{
    const struct launch_ticker ticker = {drain, watching};
    struct keeper keeper;
    char control_path[64];
    int fd = create(options, &watching->control);

    if (fd < 0)
        return CLI_EXIT_FAILED;
    watching->touches = control_touches(watching->control);
    int error = keeper_start(watching->control, NULL, NULL, &keeper);
    if (error == 0) {
        snprintf(control_path, sizeof control_path, "/proc/%d/fd/%d", (int)keeper.pid, fd);
        error = preload_set_environment(library, control_path, false);
        if (error == 0)
            error = launch_program(path, options->command, &ticker, result);
        keeper_release(&keeper, watching->control, NULL);
    }
    if (error == 0 && result->exec_error == 0)
        return 0;
    cli_error("cannot run %s: %s", path, strerror(error != 0 ? -error : result->exec_error));
    return error != 0                     ? CLI_EXIT_FAILED
           : result->exec_error == ENOENT ? CLI_EXIT_NOT_FOUND
                                          : CLI_EXIT_NOT_EXECUTABLE;
}

int record_touches(const struct record_options *options, struct record_file *file,
                   struct record_summary *summary)
{
    char path[PATH_MAX], library[PATH_MAX], problem[PATH_MAX + 256];
    struct watching watching = {.file = file, .summary = summary, .began_ns = sys_now_ns()};
    struct launch_result result = {0};

    int status = may_page() ? resolve_command(options->command[0], path, sizeof path)
                            : CLI_EXIT_FAILED;
    if (status != 0)
        return status;
    if (preload_find(PRELOAD_PAGED, library, problem, sizeof problem) != 0) {
        cli_error("%s", problem);
        return CLI_EXIT_FAILED;
    }
    status = launch(options, path, library, &watching, &result);
    if (status == 0) {
        drain(&watching);
        tell_run(&watching, &result, options->window_bytes);
        summary->n_lost = watching.touches->n_lost;
        summary->exit_status = launch_exit_status(&result);
        if (atomic_load(&watching.control->verdict) != CONTROL_RUNNING) {
            cli_error("%.*s", (int)sizeof watching.control->message, watching.control->message);
            summary->exit_status = CLI_EXIT_FAILED;
        }
        if (watching.failed)
            file->error = -ENOMEM;
    }
    free(watching.processes);
    return status;
}
