/* SPDX-License-Identifier: Apache-2.0 */
/*
 * init: brings the heap up before anything of the program runs, and the pager where there is a run.
 *
 *   QUIRE_CONTROL names a run's control block    heap over the pager's arena, mappings managed
 *   it does not                                  heap over a range of its own; everything else is
 *                                                the kernel's, and the pager is not even set up
 */
#include "heap/heap.h"
#include "pager/pager.h"
#include "preload/plain.h"
#include "preload/preload.h"

#include <errno.h>

_Atomic bool preload_ready;
struct control *preload_control;

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

static void attach(char **environment)
{
    const char *path = plain_variable(environment, CONTROL_ENVIRONMENT);
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
        plain_refuse("the control block named by " CONTROL_ENVIRONMENT " can't be used", error);
}

static void set_up_paged_source(struct heap_source *source)
{
    int error = pager_init(preload_control, heap_scrub);
    if (error == -EAGAIN)
        plain_refuse("this run has as many processes as Quire can keep account of", error);
    if (error)
        plain_refuse("no address space for the managed range could be reserved", error);
    *source = (struct heap_source){
        .base = pager_heap_base(),
        .n_pages = pager_heap_pages(),
        .alloc = source_alloc,
        .free = source_free,
        .extend = source_extend,
        .move = source_move,
        .misuse = plain_misuse,
    };
}

bool preload_purge(void)
{
    return is_paged() ? pager_heap_purge() : plain_purge();
}

void preload_fork_prepare(void)
{
    if (is_paged())
        pager_fork_prepare();
    else
        plain_fork_prepare();
}

void preload_fork_parent(void)
{
    if (is_paged())
        pager_fork_parent();
    else
        plain_fork_parent();
}

void preload_fork_child(void)
{
    if (is_paged())
        pager_fork_child();
    else
        plain_fork_child();
}

__attribute__((constructor)) static void initialise(int argc, char **argv, char **environment)
{
    struct heap_source source = {.context = NULL};

    attach(environment);
    if (is_paged())
        set_up_paged_source(&source);
    else
        plain_set_up_source(&source);
    plain_init_heap(&source, environment);
    environment_init(environment);
    process_init();
    atomic_store_explicit(&preload_ready, true, memory_order_release);
}
