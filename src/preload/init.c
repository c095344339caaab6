/* SPDX-License-Identifier: Apache-2.0 */
/* init: brings heap and pager up before anything of the program runs. */
#include "base/log.h"
#include "base/sys.h"
#include "heap/heap.h"
#include "pager/pager.h"
#include "preload/preload.h"

#include <errno.h>
#include <string.h>

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

static void source_misuse(void *context, const char *message, const void *address)
{
    log_error("%s: %p", message, (void *)(uintptr_t)address);
    __builtin_trap();
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

__attribute__((constructor)) static void initialise(int argc, char **argv, char **environment)
{
    attach(environment);
    int error = pager_init(preload_control, heap_scrub);
    if (error == -EAGAIN)
        refuse("this run has as many processes as Quire can keep account of", error);
    if (error)
        refuse("no address space for the managed range could be reserved", error);
    const struct heap_source source = {
        .base = pager_heap_base(),
        .n_pages = pager_heap_pages(),
        .alloc = source_alloc,
        .free = source_free,
        .extend = source_extend,
        .move = source_move,
        .misuse = source_misuse,
    };
    error = heap_init(&source);
    if (error)
        refuse("the heap's tables could not be set up", error);
    environment_init(environment);
    process_init();
    atomic_store_explicit(&preload_ready, true, memory_order_release);
}
