/* SPDX-License-Identifier: Apache-2.0 */
/*
 * process: the process's heap for those who link the library, and the public functions, which tell
 * it from private heaps.
 *
 *   quire_heap_malloc(h, n) --- h is the process's: thread registered? heap_malloc (heap.c)
 *                          '--- private: private_alloc (private.c)
 *
 * It is made at the first call of quire_heap_process(), with handlers for fork and for the end of
 * each thread that uses it. Preloaded, heap_init was called by src/preload, and nothing here runs.
 */
#include "base/checked.h"
#include "heap/direct.h"
#include "heap/harden.h"
#include "heap/private.h"
#include "pages/shown.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#define MAX_PAGES ((size_t)1 << 27) /* 512 GiB of addresses */
#define MIN_PAGES ((size_t)1 << 14) /* 64 MiB, where they are limited */

static struct quire_heap process_handle; /* of which only the range is used */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int init_error;
static pthread_key_t exit_key;
static __thread bool is_registered;

bool heap_is_process(const struct quire_heap *handle)
{
    return handle == &process_handle;
}

static struct heap *instance_of(struct quire_heap *handle)
{
    return heap_is_process(handle) ? &heap_process : &handle->heap;
}

/* May run before other destructors, which may use the heap: then it is registered again. */
static void thread_exits(void *unused)
{
    is_registered = false;
    heap_thread_exit();
}

static void before_fork(void)
{
    heap_fork_prepare();
    heap_range_fork_prepare(&process_handle.range);
}

static void after_fork_in_parent(void)
{
    heap_range_fork_parent(&process_handle.range);
    heap_fork_parent();
}

static void after_fork_in_child(void)
{
    heap_range_fork_child(&process_handle.range);
    heap_fork_child();
}

static bool wants_hardening(void)
{
    const char *value = getenv(HARDEN_ENVIRONMENT);
    return value != NULL && value[0] != '\0' && !(value[0] == '0' && value[1] == '\0');
}

static void set_up(void)
{
    struct heap_source source = {.misuse = private_misuse};

    init_error = heap_range_open(&process_handle.range, MAX_PAGES, MIN_PAGES);
    if (init_error != 0)
        return;
    buddy_show(process_handle.range.buddy);
    heap_range_fill_source(&process_handle.range, &source);
    init_error = heap_init(&source, wants_hardening());
    if (init_error == 0)
        init_error = -pthread_key_create(&exit_key, thread_exits);
    if (init_error == 0)
        init_error = -pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

struct quire_heap *quire_heap_process(void)
{
    pthread_once(&once, set_up);
    if (init_error == 0)
        return &process_handle;
    errno = ENOMEM;
    return NULL;
}

static __attribute__((noinline, cold)) void register_thread(void)
{
    is_registered =
        true; /* first: setspecific may allocate, in a program whose malloc comes here */
    pthread_setspecific(exit_key, &is_registered);
}

static inline void note_thread(void)
{
    if (__builtin_expect(!is_registered, 0))
        register_thread();
}

static inline void *or_enomem(void *object)
{
    if (__builtin_expect(object == NULL, 0))
        errno = ENOMEM;
    return object;
}

void *quire_heap_malloc(struct quire_heap *handle, size_t n_bytes)
{
    if (!heap_is_process(handle))
        return or_enomem(private_alloc(&handle->heap, 1, n_bytes, false));
    note_thread();
    return or_enomem(heap_malloc(n_bytes));
}

void *quire_heap_calloc(struct quire_heap *handle, size_t n_objects, size_t n_bytes)
{
    size_t total;

    if (!checked_mul(n_objects, n_bytes, &total))
        return or_enomem(NULL);
    if (!heap_is_process(handle))
        return or_enomem(private_alloc(&handle->heap, 1, total, true));
    note_thread();
    return or_enomem(heap_calloc(total));
}

void *quire_heap_memalign(struct quire_heap *handle, size_t alignment, size_t n_bytes)
{
    if (!is_power_of_two(alignment)) {
        errno = EINVAL;
        return NULL;
    }
    if (!heap_is_process(handle))
        return or_enomem(private_alloc(&handle->heap, alignment, n_bytes, false));
    note_thread();
    return or_enomem(heap_memalign(alignment, n_bytes));
}

void quire_heap_free(struct quire_heap *handle, void *object)
{
    if (object == NULL)
        return;
    if (heap_is_process(handle)) {
        note_thread();
        heap_free(object);
    } else if (handle->heap.harden != NULL) {
        harden_free(&handle->heap, object);
    } else {
        direct_free(&handle->heap, object);
    }
}

void *quire_heap_realloc(struct quire_heap *handle, void *object, size_t n_bytes)
{
    if (object == NULL)
        return quire_heap_malloc(handle, n_bytes);
    if (n_bytes == 0) {
        quire_heap_free(handle, object);
        return NULL;
    }
    if (!heap_is_process(handle))
        return or_enomem(private_realloc(&handle->heap, object, n_bytes));
    note_thread();
    return or_enomem(heap_realloc(object, n_bytes));
}

size_t quire_heap_usable_size(struct quire_heap *handle, const void *object)
{
    const struct heap *heap = instance_of(handle);

    if (object == NULL)
        return 0;
    return heap->harden != NULL ? harden_usable_size(heap, object)
                                : direct_bytes(direct_require(heap, object, DIRECT_SIZE_MESSAGE));
}

bool quire_heap_owns(struct quire_heap *handle, const void *address)
{
    const struct heap *heap = instance_of(handle);
    size_t page = run_page(heap, address);
    return page < heap->runs.n_pages && runs_find(heap, page) != RUN_NONE;
}

bool quire_heap_trim(struct quire_heap *handle)
{
    bool trimmed = direct_trim(instance_of(handle));
    return heap_range_purge(&handle->range) || trimmed;
}

void quire_heap_counts(struct quire_heap *handle, struct quire_heap_counts *counts)
{
    struct heap *heap = instance_of(handle);
    struct heap_counts parts;

    heap_count_instance(heap, &parts);
    *counts = (struct quire_heap_counts){
        .n_small = parts.n_small,
        .small_bytes = parts.small_bytes,
        .n_large = parts.n_large,
        .large_bytes = parts.large_bytes,
        .span_bytes = parts.span_bytes,
        .cached_bytes = parts.cached_bytes,
        .used_bytes = parts.span_bytes + parts.large_bytes,
        .warm_bytes = heap_range_warm_bytes(&handle->range),
        .metadata_bytes = parts.metadata_bytes + quire_buddy_metadata_held(handle->range.buddy),
    };
    for (unsigned sclass = 0; heap->harden != NULL && sclass <= CLASS_COUNT; sclass++)
        counts->requested_bytes += atomic_load_explicit(&heap->harden->requested_bytes[sclass],
                                                        memory_order_relaxed);
}

bool quire_heap_class(struct quire_heap *handle, unsigned index, struct quire_heap_class *class_)
{
    struct heap_class_counts counts;

    if (!heap_class_counts_of(instance_of(handle), index, &counts))
        return false;
    *class_ = (struct quire_heap_class){
        .object_bytes = counts.object_bytes,
        .n_spans = counts.n_spans,
        .span_pages = counts.span_pages,
        .n_objects = counts.n_objects,
        .n_live = counts.n_live,
    };
    return true;
}

int quire_heap_validate(struct quire_heap *handle)
{
    int error = heap_validate_instance(instance_of(handle));
    return error != 0 ? error : heap_range_validate(&handle->range);
}

void quire_heap_lock_all(struct quire_heap *handle)
{
    heap_lock_all(instance_of(handle));
    heap_range_fork_prepare(&handle->range);
}

void quire_heap_unlock_all(struct quire_heap *handle)
{
    heap_range_fork_parent(&handle->range);
    heap_unlock_all(instance_of(handle));
}
