/* SPDX-License-Identifier: Apache-2.0 */
/*
 * process: fork, and the environment that exec passes on.
 *
 * fork goes through pthread_atfork handlers. They are registered before anybody else's (this
 * library is initialised first), so prepare runs last before the fork and child first after it.
 * In between, the child is in libc's hands, and its absent pages would read as zeros: libc touches
 * there the locks of all open streams, so prepare brings the streams in and keeps them in.
 *
 * The exec functions are interposed only to put Quire's variables back where the program left them
 * out. They may run in a vfork child, which shares its parent's memory: no state is changed.
 */
#include "base/sys.h"
#include "heap/heap.h"
#include "pager/pager.h"
#include "preload/preload.h"

#include <alloca.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* libc's list of streams; exported for debuggers and C++ libraries. */
extern void _IO_list_lock(void) __attribute__((weak));
extern void _IO_list_unlock(void) __attribute__((weak));
extern void _IO_list_resetlock(void) __attribute__((weak));
extern void *_IO_iter_begin(void) __attribute__((weak));
extern void *_IO_iter_end(void) __attribute__((weak));
extern void *_IO_iter_next(void *iterator) __attribute__((weak));
extern FILE *_IO_iter_file(void *iterator) __attribute__((weak));

static bool knows_streams(void)
{
    return _IO_list_lock && _IO_list_unlock && _IO_list_resetlock && _IO_iter_begin &&
           _IO_iter_end && _IO_iter_next && _IO_iter_file;
}

/* Reads a byte of each stream and of its lock: what is absent comes in. */
static void touch_streams(void)
{
    if (!knows_streams())
        return;
    for (void *at = _IO_iter_begin(); at != _IO_iter_end(); at = _IO_iter_next(at)) {
        FILE *stream = _IO_iter_file(at);
        *(volatile int *)&stream->_flags;
        if (stream->_lock)
            *(volatile char *)stream->_lock;
    }
}

static bool streams_are_resident(void)
{
    if (!knows_streams())
        return true;
    for (void *at = _IO_iter_begin(); at != _IO_iter_end(); at = _IO_iter_next(at)) {
        if (!pager_is_resident(at)) /* an iterator is the stream's address */
            return false;
        FILE *stream = _IO_iter_file(at);
        if (stream->_lock && !pager_is_resident(stream->_lock))
            return false;
    }
    return true;
}

/*
 * The handlers after a fork are not told whether there is a child. But libc's fork has made the
 * system call just before, so errno, which was 0, says it.
 */
static int saved_errno;

static void before_fork(void)
{
    if (knows_streams())
        _IO_list_lock(); /* first: who holds a stream's lock may call malloc */
    heap_fork_prepare();
    if (!is_paged()) {
        preload_fork_prepare();
        return;
    }
    touch_streams();
    pager_fork_prepare();
    while (!streams_are_resident()) {
        pager_fork_cancel();
        touch_streams();
        pager_fork_prepare();
    }
    saved_errno = errno;
    errno = 0;
}

static void after_paged_fork(void)
{
    const int error = errno, before = saved_errno;
    if (error == EAGAIN || error == ENOMEM)
        pager_fork_cancel();
    else
        pager_fork_parent();
    errno = error ? error : before;
}

static void after_fork_in_parent(void)
{
    if (is_paged())
        after_paged_fork();
    else
        preload_fork_parent();
    heap_fork_parent();
    if (knows_streams())
        _IO_list_unlock();
}

static void after_fork_in_child(void)
{
    preload_fork_child();
    heap_fork_child();
    if (knows_streams())
        _IO_list_resetlock(); /* libc does so only where there were several threads */
}

/* This library was initialised first, so this is the last destructor to run. */
__attribute__((destructor)) static void leave(void)
{
    if (is_paged())
        pager_exit();
}

EXPORT _Noreturn void _exit(int status)
{
    if (has_pager())
        pager_exit();
    sys_exit_group(status);
}

EXPORT _Noreturn void _Exit(int status)
{
    _exit(status);
}

void process_init(void)
{
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

/* _Fork runs no handlers; it has to be async-signal-safe, which the pager's part is. */
EXPORT pid_t _Fork(void)
{
    static pid_t (*real)(void);
    if (!real)
        real = (pid_t(*)(void))(uintptr_t)dlsym(RTLD_NEXT, "_Fork");
    if (!has_pager())
        return real();
    pager_fork_prepare();
    pid_t pid = real();
    if (pid == 0)
        pager_fork_child();
    else if (pid > 0)
        pager_fork_parent();
    else
        pager_fork_cancel();
    return pid;
}

#define WITH_QUIRE(environment) \
    environment_with_quire((environment), alloca(environment_room(environment) * sizeof(char *)))

static void *next_function(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

/* Looked up before any vfork: dlsym may allocate. */
static struct {
    int (*execve)(const char *, char *const *, char *const *);
    int (*execvpe)(const char *, char *const *, char *const *);
    int (*fexecve)(int, char *const *, char *const *);
    int (*execveat)(int, const char *, char *const *, char *const *, int);
    int (*spawn)(pid_t *, const char *, const posix_spawn_file_actions_t *,
                 const posix_spawnattr_t *, char *const *, char *const *);
    int (*spawnp)(pid_t *, const char *, const posix_spawn_file_actions_t *,
                  const posix_spawnattr_t *, char *const *, char *const *);
} next;

__attribute__((constructor(102))) static void find_next_functions(void)
{
    *(void **)&next.execve = next_function("execve");
    *(void **)&next.execvpe = next_function("execvpe");
    *(void **)&next.fexecve = next_function("fexecve");
    *(void **)&next.execveat = next_function("execveat");
    *(void **)&next.spawn = next_function("posix_spawn");
    *(void **)&next.spawnp = next_function("posix_spawnp");
}

/* What executes something in a vfork child is not known to the run yet. */
static void enroll(pid_t pid)
{
    if (is_ready() && preload_control)
        control_enroll(preload_control, (uint32_t)pid);
}

EXPORT int execve(const char *path, char *const arguments[], char *const environment[])
{
    enroll(0);
    return next.execve(path, arguments, WITH_QUIRE(environment));
}

EXPORT int execv(const char *path, char *const arguments[])
{
    enroll(0);
    return next.execve(path, arguments, WITH_QUIRE(environ));
}

EXPORT int execvp(const char *file, char *const arguments[])
{
    enroll(0);
    return next.execvpe(file, arguments, WITH_QUIRE(environ));
}

EXPORT int execvpe(const char *file, char *const arguments[], char *const environment[])
{
    enroll(0);
    return next.execvpe(file, arguments, WITH_QUIRE(environment));
}

EXPORT int fexecve(int fd, char *const arguments[], char *const environment[])
{
    enroll(0);
    return next.fexecve(fd, arguments, WITH_QUIRE(environment));
}

EXPORT int execveat(int directory, const char *path, char *const arguments[],
                    char *const environment[], int flags)
{
    enroll(0);
    return next.execveat(directory, path, arguments, WITH_QUIRE(environment), flags);
}

/* The list form's arguments, counted and laid out as a vector on the caller's stack. */
#define COLLECT(first, vector, list)                            \
    size_t n_arguments = 1;                                     \
    va_start(list, first);                                      \
    while (va_arg(list, char *))                                \
        n_arguments++;                                          \
    va_end(list);                                               \
    char **vector = alloca((n_arguments + 1) * sizeof(char *)); \
    va_start(list, first);                                      \
    vector[0] = (char *)(uintptr_t)(first);                     \
    for (size_t i = 1; i <= n_arguments; i++)                   \
    vector[i] = va_arg(list, char *)

EXPORT int execl(const char *path, const char *first, ...)
{
    va_list list;
    COLLECT(first, vector, list);
    va_end(list);
    return execv(path, vector);
}

EXPORT int execlp(const char *file, const char *first, ...)
{
    va_list list;
    COLLECT(first, vector, list);
    va_end(list);
    return execvp(file, vector);
}

EXPORT int execle(const char *path, const char *first, ...)
{
    va_list list;
    COLLECT(first, vector, list);
    char *const *environment = va_arg(list, char *const *);
    va_end(list);
    return execve(path, vector, environment);
}

/* The child has executed its program when this returns, and may still be about to join. */
static int spawned(int error, pid_t child, pid_t *pid)
{
    if (error)
        return error;
    enroll(child);
    if (pid)
        *pid = child;
    return 0;
}

EXPORT int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                       const posix_spawnattr_t *attributes, char *const arguments[],
                       char *const environment[])
{
    pid_t child;
    int error = next.spawn(&child, path, actions, attributes, arguments, WITH_QUIRE(environment));
    return spawned(error, child, pid);
}

EXPORT int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
                        const posix_spawnattr_t *attributes, char *const arguments[],
                        char *const environment[])
{
    pid_t child;
    int error = next.spawnp(&child, file, actions, attributes, arguments, WITH_QUIRE(environment));
    return spawned(error, child, pid);
}
