/* SPDX-License-Identifier: Apache-2.0 */
/*
 * init: brings the heap up before anything of the program runs, and the pager where there is a run.
 *
 *   QUIRE_CONTROL names a run's control block    heap over the pager's arena, mappings managed
 *   it does not                                  heap over a range of its own; everything else is
 *                                                the kernel's, and the pager is not even set up
 */
#include "base/log.h"
#include "base/sys.h"
#include "heap/harden.h"
#include "heap/heap.h"
#include "heap/range.h"
#include "pager/pager.h"
#include "preload/preload.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

_Atomic bool preload_ready;
struct control *preload_control;

#define RANGE_MAX_PAGES_PLAIN ((size_t)1 << 27) /* 512 GiB, as the heap's part of an arena */
#define RANGE_MIN_PAGES_PLAIN ((size_t)1 << 14) /* 64 MiB, where the address space is limited */
static struct heap_range plain_range;           /* without paging */

static void *source_alloc(void *context, size_t n_pages, size_t align_pages, bool *zeroed)
{
    return pager_heap_alloc(n_pages, align_pages, zeroed);
}

static void source_free(void *context, void *run, size_t n_pages)
{
    pager_heap_free(run, n_pages);
}

static bool source_extend(void *context, void *run, size_t n_pages, size_t new_n_pages,
                          bool *zeroed)
{
    return pager_heap_extend(run, n_pages, new_n_pages, zeroed);
}

static void source_move(void *context, void *from, void *to, size_t n_pages)
{
    pager_heap_move(from, to, n_pages);
}

/* As glibc's malloc ends a program: a message, and SIGABRT. */
static void source_misuse(void *context, const char *message, const void *address,
                          const char *detail)
{
    if (detail)
        log_error("%s: %p: %s", message, (void *)(uintptr_t)address, detail);
    else
        log_error("%s: %p", message, (void *)(uintptr_t)address);
    abort();
}

static const char *find_variable(char **environment, const char *name)
{
    size_t length = strlen(name);
    for (; environment && *environment; environment++) {
        if (strncmp(*environment, name, length) == 0 && (*environment)[length] == '=')
            return *environment + length + 1;
    }
    return NULL;
}

static _Noreturn void refuse(const char *what, int error)
{
    log_error("%s (error %d); the program was not started", what, -error);
    sys_exit_group(125);
}

/* QUIRE_HARDEN set to anything but nothing and 0. */
static bool wants_hardening(char **environment)
{
    const char *value = find_variable(environment, HARDEN_ENVIRONMENT);
    return value && value[0] != '\0' && strcmp(value, "0") != 0;
}

static void attach(char **environment)
{
    const char *path = find_variable(environment, CONTROL_ENVIRONMENT);
    if (!path)
        return; /* loaded by hand: an allocator without paging */
    int error = control_attach(path, &preload_control);
    /*
     * ENOENT: the run's keeper is not there: it was killed, or it is hidden by another /proc.
     * EACCES: this process changed its user or its user namespace, and may not look into the keeper
     * any more. Like a static program it runs outside of the budget (docs/limits.md): a server that
     * drops its rights must not fail because of Quire.
     */
    if (error == -ENOENT || error == -EACCES)
        return;
    if (error)
        refuse("the control block named by " CONTROL_ENVIRONMENT " can't be used", error);
}

static void set_up_paged_source(struct heap_source *source)
{
    int error = pager_init(preload_control, heap_scrub);
    if (error == -EAGAIN)
        refuse("this run has as many processes as Quire can keep account of", error);
    if (error)
        refuse("no address space for the managed range could be reserved", error);
    *source = (struct heap_source){
        .base = pager_heap_base(),
        .n_pages = pager_heap_pages(),
        .alloc = source_alloc,
        .free = source_free,
        .extend = source_extend,
        .move = source_move,
        .misuse = source_misuse,
    };
}

static void set_up_plain_source(struct heap_source *source)
{
    int error = heap_range_open(&plain_range, RANGE_MAX_PAGES_PLAIN, RANGE_MIN_PAGES_PLAIN);
    if (error)
        refuse("no address space for the heap could be reserved", error);
    heap_range_fill_source(&plain_range, source);
    source->misuse = source_misuse;
}

bool preload_purge(void)
{
    return is_paged() ? pager_heap_purge() : heap_range_purge(&plain_range);
}

void preload_fork_prepare(void)
{
    if (is_paged())
        pager_fork_prepare();
    else
        heap_range_fork_prepare(&plain_range);
}

void preload_fork_parent(void)
{
    if (is_paged())
        pager_fork_parent();
    else
        heap_range_fork_parent(&plain_range);
}

void preload_fork_child(void)
{
    if (is_paged())
        pager_fork_child();
    else
        heap_range_fork_child(&plain_range);
}

__attribute__((constructor)) static void initialise(int argc, char **argv, char **environment)
{
    struct heap_source source = {.context = NULL};

    attach(environment);
    if (is_paged())
        set_up_paged_source(&source);
    else
        set_up_plain_source(&source);
    int error = heap_init(&source, wants_hardening(environment));
    if (error)
        refuse("the heap's tables could not be set up", error);
    environment_init(environment);
    process_init();
    atomic_store_explicit(&preload_ready, true, memory_order_release);
}
