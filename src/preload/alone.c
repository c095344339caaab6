/* SPDX-License-Identifier: Apache-2.0 */
/*
 * alone: libquire-malloc.so, the malloc family over Quire's heap and nothing else.
 *
 * What libquire-preload.so does outside of a run, without the pager, its codecs and the functions
 * that only paging has to see: a third of a MiB less in every process. Initialised before every
 * other library (-z initfirst), so that its handlers are the last before a fork.
 */
#include "preload/plain.h"
#include "preload/preload.h"

#include <pthread.h>

_Atomic bool preload_ready;

/* libc's list of streams; who holds a stream's lock may call malloc. */
extern void _IO_list_lock(void) __attribute__((weak));
extern void _IO_list_unlock(void) __attribute__((weak));
extern void _IO_list_resetlock(void) __attribute__((weak));

bool preload_purge(void)
{
    return plain_purge();
}

static void before_fork(void)
{
    if (_IO_list_lock)
        _IO_list_lock();
    heap_fork_prepare();
    plain_fork_prepare();
}

static void after_fork_in_parent(void)
{
    plain_fork_parent();
    heap_fork_parent();
    if (_IO_list_unlock)
        _IO_list_unlock();
}

static void after_fork_in_child(void)
{
    plain_fork_child();
    heap_fork_child();
    if (_IO_list_resetlock)
        _IO_list_resetlock();
}

__attribute__((constructor)) static void initialise(int argc, char **argv, char **environment)
{
    struct heap_source source = {.context = NULL};

    plain_set_up_source(&source);
    plain_init_heap(&source, environment);
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
    atomic_store_explicit(&preload_ready, true, memory_order_release);
}
