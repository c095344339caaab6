/* SPDX-License-Identifier: Apache-2.0 */
/* private: heaps of their own, the part of <quire/heap.h> that concerns no process. */
#ifndef QUIRE_HEAP_PRIVATE_H
#define QUIRE_HEAP_PRIVATE_H

#include "heap/instance.h"
#include "heap/range.h"

#include <quire/heap.h>

/*
 * A handle. The process's is &process_handle, whose `heap` is unused: heap_process stands for it.
 */
struct quire_heap {
    struct heap heap;
    struct heap_range range;
    size_t mapped_bytes; /* of this struct and what follows it, if the heap mapped it */
};

bool heap_is_process(const struct quire_heap *handle);

/* The malloc family on a private heap, without errno. */
void *private_alloc(struct heap *heap, size_t alignment, size_t n_bytes, bool zero);
void *private_realloc(struct heap *heap, void *object, size_t n_bytes);

/* What misuse does where the user has not said otherwise: a message, and abort(). */
_Noreturn void private_misuse(void *context, const char *message, const void *address,
                              const char *detail);

#endif
