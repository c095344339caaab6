/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plain: the heap without paging, over a range of addresses of its own.
 *
 * For libquire-preload.so outside of a run, and for libquire-malloc.so, which is nothing else.
 */
#include "preload/plain.h"

#include "base/log.h"
#include "base/sys.h"
#include "heap/harden.h"
#include "heap/range.h"

#include <stdlib.h>
#include <string.h>

#define RANGE_MAX_PAGES_PLAIN ((size_t)1 << 27) /* 512 GiB, as the heap's part of an arena */
#define RANGE_MIN_PAGES_PLAIN ((size_t)1 << 14) /* 64 MiB, where the address space is limited */

static struct heap_range range;

void plain_misuse(void *context, const char *message, const void *address, const char *detail)
{
    if (detail)
        log_error("%s: %p: %s", message, (void *)(uintptr_t)address, detail);
    else
        log_error("%s: %p", message, (void *)(uintptr_t)address);
    abort();
}

const char *plain_variable(char **environment, const char *name)
{
    size_t length = strlen(name);
    for (; environment && *environment; environment++) {
        if (strncmp(*environment, name, length) == 0 && (*environment)[length] == '=')
            return *environment + length + 1;
    }
    return NULL;
}

_Noreturn void plain_refuse(const char *what, int error)
{
    log_error("%s (error %d); the program was not started", what, -error);
    sys_exit_group(125);
}

void plain_set_up_source(struct heap_source *source)
{
    int error = heap_range_open(&range, RANGE_MAX_PAGES_PLAIN, RANGE_MIN_PAGES_PLAIN);
    if (error)
        plain_refuse("no address space for the heap could be reserved", error);
    heap_range_fill_source(&range, source);
    source->misuse = plain_misuse;
}

/* QUIRE_HARDEN set to anything but nothing and 0. */
static bool wants_hardening(char **environment)
{
    const char *value = plain_variable(environment, HARDEN_ENVIRONMENT);
    return value && value[0] != '\0' && strcmp(value, "0") != 0;
}

void plain_init_heap(const struct heap_source *source, char **environment)
{
    int error = heap_init(source, wants_hardening(environment));
    if (error)
        plain_refuse("the heap's tables could not be set up", error);
}

bool plain_purge(void)
{
    return heap_range_purge(&range);
}

void plain_fork_prepare(void)
{
    heap_range_fork_prepare(&range);
}

void plain_fork_parent(void)
{
    heap_range_fork_parent(&range);
}

void plain_fork_child(void)
{
    heap_range_fork_child(&range);
}
