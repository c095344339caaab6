/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slabs: `quire slabs`. What is in the size classes of a running program's heap, as slabinfo(5) and
 * slabtop(1) show the kernel's.
 *
 * Exit status 0; 1 when the process can't be read, 125 for a bad command line.
 */
#include "base/size.h"
#include "cli/cli.h"
#include "cli/command_line.h"
#include "cli/kernel_slabs.h"
#include "cli/target.h"
#include "observe/procfs.h"

#include <quire/slabs.h>

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_PID = 256, KEY_KERNEL, KEY_ROOT };

struct slabs_options {
    int pid;
    bool as_json, all, kernel;
    const char *root; /* of a recorded kernel; NULL: this machine */
    struct moment_options moment;
    struct watch_options watch;
    const struct sort_key *sort;
};

static size_t held_bytes(const struct quire_slabs *slabs, const struct quire_slabs_class *class)
{
    return class->n_pages * slabs->page_bytes;
}

/* Held for nobody: free and cached objects, and tails. */
static size_t idle_bytes(const struct quire_slabs *slabs, const struct quire_slabs_class *class)
{
    return held_bytes(slabs, class) - class->n_active * class->object_bytes;
}

static double fill_percent(const struct quire_slabs_class *class)
{
    return class->n_objects == 0 ? 0 : 100.0 * (double)class->n_active / (double)class->n_objects;
}

static double key_size(const struct quire_slabs *slabs, const struct quire_slabs_class *class)
{
    return -(double)class->object_bytes; /* rising */
}

static double key_active(const struct quire_slabs *slabs, const struct quire_slabs_class *class)
{
    return (double)class->n_active;
}

static double key_objects(const struct quire_slabs *slabs, const struct quire_slabs_class *class)
{
    return (double)class->n_objects;
}

static double key_cached(const struct quire_slabs *slabs, const struct quire_slabs_class *class)
{
    return (double)class->n_cached;
}

static double key_spans(const struct quire_slabs *slabs, const struct quire_slabs_class *class)
{
    return (double)class->n_spans;
}

static double key_bytes(const struct quire_slabs *slabs, const struct quire_slabs_class *class)
{
    return (double)held_bytes(slabs, class);
}

static double key_fill(const struct quire_slabs *slabs, const struct quire_slabs_class *class)
{
    return fill_percent(class);
}

static double key_waste(const struct quire_slabs *slabs, const struct quire_slabs_class *class)
{
    return (double)idle_bytes(slabs, class);
}

static const struct sort_key {
    const char *name;
    double (*of)(const struct quire_slabs *slabs, const struct quire_slabs_class *class);
} sort_keys[] = {{"size", key_size},     {"active", key_active}, {"objects", key_objects},
                 {"cached", key_cached}, {"spans", key_spans},   {"bytes", key_bytes},
                 {"fill", key_fill},     {"waste", key_waste}};
#define N_SORT_KEYS (sizeof sort_keys / sizeof sort_keys[0])

/* Moves a class up to its place; stable. */
static void sort_classes(struct quire_slabs *slabs, const struct sort_key *key)
{
    for (unsigned i = 1; i < slabs->n_classes; i++) {
        struct quire_slabs_class class = slabs->classes[i];
        unsigned at = i;
        for (; at > 0 && key->of(slabs, &slabs->classes[at - 1]) < key->of(slabs, &class); at--)
            slabs->classes[at] = slabs->classes[at - 1];
        slabs->classes[at] = class;
    }
}

static struct quire_slabs_class sum_of(const struct quire_slabs *slabs)
{
    struct quire_slabs_class sum = {.object_bytes = 0};
    for (unsigned i = 0; i < slabs->n_classes; i++) {
        const struct quire_slabs_class *class = &slabs->classes[i];
        sum.n_active += class->n_active;
        sum.n_cached += class->n_cached;
        sum.n_objects += class->n_objects;
        sum.n_spans += class->n_spans;
        sum.n_pages += class->n_pages;
        sum.tail_bytes += class->tail_bytes;
        sum.requested_bytes += class->requested_bytes;
    }
    return sum;
}

static size_t active_bytes(const struct quire_slabs *slabs)
{
    size_t n_bytes = 0;
    for (unsigned i = 0; i < slabs->n_classes; i++)
        n_bytes += slabs->classes[i].n_active * slabs->classes[i].object_bytes;
    return n_bytes;
}

static void print_row(const char *name, const struct quire_slabs_class *class, size_t n_held,
                      size_t n_idle)
{
    char held[32], idle[32], tail[32];
    printf("%-8s %10zu %8zu %10zu %6.1f %7zu %8zu %11s %11s %10s\n", name, class->n_active,
           class->n_cached, class->n_objects, fill_percent(class), class->n_spans, class->n_pages,
           size_format(n_held, held, sizeof held), size_format(n_idle, idle, sizeof idle),
           size_format(class->tail_bytes, tail, sizeof tail));
}

static void print_text(const struct quire_slabs *slabs, const struct slabs_options *options,
                       const char *program)
{
    struct quire_slabs_class sum = sum_of(slabs);
    char text[32], name[32];
    size_t n_active = active_bytes(slabs);

    printf("process %d (%s)%s\n", options->pid, program, slabs->hardened ? ", hardened" : "");
    printf("%-8s %10s %8s %10s %6s %7s %8s %11s %11s %10s\n", "class", "active", "cached",
           "objects", "fill%", "spans", "pages", "held", "waste", "tails");
    for (unsigned i = 0; i < slabs->n_classes; i++) {
        const struct quire_slabs_class *class = &slabs->classes[i];
        if (class->n_spans == 0 && !options->all)
            continue;
        snprintf(name, sizeof name, "%zu", class->object_bytes);
        print_row(name, class, held_bytes(slabs, class), idle_bytes(slabs, class));
    }
    print_row("all", &sum, held_bytes(slabs, &sum), held_bytes(slabs, &sum) - n_active);
    printf("large: %zu objects, %zu pages, %s\n", slabs->n_large, slabs->large_pages,
           size_format(slabs->large_pages * slabs->page_bytes, text, sizeof text));
    if (slabs->hardened && n_active > 0)
        printf("asked for: %s of the small objects in use, quarantine not counted\n",
               size_format(sum.requested_bytes, text, sizeof text));
    printf("thread caches: %zu; metadata: %s\n", slabs->n_caches,
           size_format(slabs->metadata_bytes, text, sizeof text));
}

static json_t *build_class(const struct quire_slabs *slabs, const struct quire_slabs_class *class)
{
    json_t *json = json_pack(
        "{s:I, s:I, s:I, s:I, s:f, s:I, s:I, s:I, s:I, s:I}", "object_bytes",
        (json_int_t) class->object_bytes, "active_objects", (json_int_t) class->n_active,
        "cached_objects", (json_int_t) class->n_cached, "objects", (json_int_t) class->n_objects,
        "fill_percent", fill_percent(class), "spans", (json_int_t) class->n_spans, "pages",
        (json_int_t) class->n_pages, "held_bytes", (json_int_t)held_bytes(slabs, class),
        "waste_bytes", (json_int_t)idle_bytes(slabs, class), "tail_bytes",
        (json_int_t) class->tail_bytes);
    json_object_set_new(json, "name", json_sprintf("%zu", class->object_bytes));
    json_t *requested = slabs->hardened ? json_integer((json_int_t) class->requested_bytes)
                                        : json_null();
    json_object_set_new(json, "requested_bytes", requested);
    return json;
}

static bool print_json(const struct quire_slabs *slabs, const struct slabs_options *options,
                       const char *program)
{
    json_t *list = json_array();
    int bad = list == NULL;

    for (unsigned i = 0; i < slabs->n_classes; i++)
        if (slabs->classes[i].n_spans > 0 || options->all)
            bad |= json_array_append_new(list, build_class(slabs, &slabs->classes[i]));
    json_t *json = json_pack(
        "{s:s, s:s, s:i, s:s, s:b, s:I, s:o, s:{s:I, s:I}, s:I, s:I}", "schema", "quire.slabs/1",
        "version", QUIRE_VERSION, "pid", options->pid, "program", program, "hardened",
        slabs->hardened, "page_bytes", (json_int_t)slabs->page_bytes, "classes", list, "large",
        "objects", (json_int_t)slabs->n_large, "pages", (json_int_t)slabs->large_pages,
        "thread_caches", (json_int_t)slabs->n_caches, "metadata_bytes",
        (json_int_t)slabs->metadata_bytes);
    bad |= json == NULL ||
           json_dumpf(json, stdout, options->watch.ms > 0 ? JSON_COMPACT : JSON_INDENT(2)) != 0;
    putchar('\n');
    json_decref(json);
    return !bad;
}

static const struct argp_option option_list[] = {
    {"pid", KEY_PID, "PID", 0,
     "The heap of a process that runs under Quire, not the kernel's caches; of a `quire run', that "
     "of its largest process",
     0},
    {"kernel", KEY_KERNEL, NULL, 0, "The kernel's slab caches, which are the default", 0},
    {"root", KEY_ROOT, "DIR", 0, "Of the kernel: read DIR/proc in place of /proc", 0},
    {"sort", 's', "KEY", 0,
     "Order by size (the default), active, objects, cached, spans, bytes, fill or waste, the most "
     "first but for size",
     0},
    {"all", 'a', NULL, 0, "Show classes without spans, too", 0},
    {"json", 'j', NULL, 0, "Print the figures as JSON", 0},
    {0},
};

static const char documentation[] =
    "Show what is in the kernel's slab caches, or in the size classes of a running program's heap: "
    "objects in use, free ones in threads' caches, room, spans (the kernel's slabs), pages, and "
    "what is held for nobody."
    "\v"
    "A program has to run by `quire run', or under libquire-preload.so, or to use the heap of "
    "libquire.so. It is read from outside without being stopped. The kernel shows its caches to "
    "root only.\n"
    "\n"
    "  fill%  objects in use, of those there is room for\n"
    "  waste  bytes held beyond the objects in use: free, cached, and tails\n"
    "  tails  the ends of spans in which no object fits\n"
    "\n"
    "Examples:\n"
    "  sudo quire slabs --sort bytes --watch=1\n"
    "  quire slabs --pid 1234 --sort waste\n"
    "  quire slabs --pid $(pidof server) --json\n"
    "  quire slabs --replay memory.log --at 14:30\n"
    "\n"
    "Exit status:\n"
    "  0    the figures were printed\n"
    "  1    they can't be read; a message says why\n"
    "  125  the command line can't be understood";

static void settle(const struct slabs_options *options, struct argp_state *state)
{
    if (options->kernel && options->pid != 0)
        argp_error(state, "--pid and --kernel: leave out one of both");
    if (options->root != NULL && options->pid != 0)
        argp_error(state, "--pid and --root: leave out one of both");
    if (options->moment.replay != NULL &&
        (options->pid != 0 || options->root != NULL || options->watch.ms > 0))
        argp_error(state, "--replay goes with none of --pid, --root and --watch");
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct slabs_options *options = state->input;

    switch (key) {
    case KEY_PID:
        options->pid = target_parse_pid(argument);
        if (options->pid == 0)
            argp_error(state, "--pid %s: that is no process id", argument);
        return 0;
    case KEY_KERNEL:
        options->kernel = true;
        return 0;
    case KEY_ROOT:
        options->root = argument;
        return 0;
    case 's':
        options->sort = NULL;
        for (size_t i = 0; i < N_SORT_KEYS; i++)
            if (strcmp(argument, sort_keys[i].name) == 0)
                options->sort = &sort_keys[i];
        if (options->sort == NULL)
            argp_error(state,
                       "--sort %s: it is size, active, objects, cached, spans, bytes, fill or "
                       "waste",
                       argument);
        return 0;
    case 'a':
        options->all = true;
        return 0;
    case 'j':
        options->as_json = true;
        return 0;
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &options->moment;
        state->child_inputs[1] = &options->watch;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "'%s': `quire slabs' takes the process by --pid PID", argument);
        return 0;
    case ARGP_KEY_END:
        settle(options, state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static int show_live(void *context)
{
    static struct quire_slabs slabs;
    const struct slabs_options *options = context;
    char path[64], program[64] = "?";
    int error = quire_slabs_read(options->pid, &slabs);

    if (error < 0)
        return target_tell_unreadable(options->pid, error);
    snprintf(path, sizeof path, "/proc/%d/comm", options->pid);
    (void)!procfs_read_line(path, program, sizeof program);
    sort_classes(&slabs, options->sort);
    if (!options->as_json) {
        print_text(&slabs, options, program);
    } else if (!print_json(&slabs, options, program)) {
        cli_error("cannot build the JSON: out of memory");
        return CLI_EXIT_FAILED;
    }
    return EXIT_SUCCESS;
}

int cli_slabs(int argc, char **argv)
{
    static const struct argp_child children[] = {
        {&moment_argp, 0, NULL, 0}, {&watch_argp, 0, NULL, 0}, {0}};
    static const struct argp parser = {
        .options = option_list, .parser = parse_option, .doc = documentation, .children = children};
    struct slabs_options options = {.sort = &sort_keys[0]};

    command_line_parse(&parser, argc, argv, ARGP_IN_ORDER, &options);
    if (options.pid == 0)
        return kernel_slabs_show(&(struct kernel_slabs_options){.root = options.root,
                                                                .moment = options.moment,
                                                                .watch = options.watch,
                                                                .sort = options.sort->name,
                                                                .all = options.all,
                                                                .as_json = options.as_json});
    options.pid = target_largest(options.pid);
    return watch_run(&options.watch, options.as_json, show_live, &options);
}
