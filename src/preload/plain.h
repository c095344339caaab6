/* SPDX-License-Identifier: Apache-2.0 */
/* plain: the heap without paging, and what its set-up shares with the paged one's. */
#ifndef QUIRE_PRELOAD_PLAIN_H
#define QUIRE_PRELOAD_PLAIN_H

#include "heap/heap.h"

/* A source of pages over a range of its own. Ends the process where there are no addresses. */
void plain_set_up_source(struct heap_source *source);

/* The process's heap over the source, hardened where the environment says so; or it ends. */
void plain_init_heap(const struct heap_source *source, char **environment);

/* As glibc's malloc ends a program: a message, and SIGABRT. */
void plain_misuse(void *context, const char *message, const void *address, const char *detail);

/* The value of a variable, or NULL. */
const char *plain_variable(char **environment, const char *name);

/* A message, and exit status 125. */
_Noreturn void plain_refuse(const char *what, int error);

/* Free pages of the range go back to the system; true if there were any. */
bool plain_purge(void);

/* Around the heap's. */
void plain_fork_prepare(void);
void plain_fork_parent(void);
void plain_fork_child(void);

#endif
