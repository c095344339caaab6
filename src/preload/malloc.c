/* SPDX-License-Identifier: Apache-2.0 */
/*
 * malloc: the interposed malloc family. C++'s new and delete come here through malloc and free.
 *
 * What the dynamic linker allocates before the library is initialised comes from `early`: a few
 * KiB, never given back. Every thread that uses the heap is registered once, so that its cache
 * goes back when it ends.
 */
#include "base/checked.h"
#include "base/log.h"
#include "base/meta.h"
#include "base/sys.h"
#include "heap/fast.h"
#include "heap/heap.h"
#include "preload/preload.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EARLY_BYTES ((size_t)256 << 10)
#define EARLY_HEADER 16 /* before each object: its size */

static struct {
    _Alignas(16) char memory[EARLY_BYTES];
    _Atomic size_t used;
} early;

void *early_alloc(size_t alignment, size_t n_bytes)
{
    size_t needed;
    if (!checked_add(n_bytes, alignment + EARLY_HEADER + 16, &needed))
        return NULL;
    needed = round_up(needed, 16);
    size_t at = atomic_fetch_add(&early.used, needed);
    if (at > EARLY_BYTES || needed > EARLY_BYTES - at)
        return NULL;
    char *object = early.memory + at + EARLY_HEADER;
    object += (alignment - (uintptr_t)object % alignment) % alignment;
    memcpy(object - sizeof(size_t), &n_bytes, sizeof n_bytes);
    return object;
}

bool early_owns(const void *object)
{
    const char *address = object;
    return address >= early.memory && address < early.memory + EARLY_BYTES;
}

static size_t early_size(const void *object)
{
    size_t n_bytes;
    memcpy(&n_bytes, (const char *)object - sizeof n_bytes, sizeof n_bytes);
    return n_bytes;
}

/*
 * Thread exit. The destructor may run before others that still free something; then the thread
 * registers again, and libc calls it again (up to PTHREAD_DESTRUCTOR_ITERATIONS times).
 */
static pthread_key_t exit_key;
static pthread_once_t exit_key_once = PTHREAD_ONCE_INIT;
static __thread bool is_registered;

static void thread_exits(void *unused)
{
    is_registered = false;
    heap_thread_exit();
}

static void make_exit_key(void)
{
    pthread_key_create(&exit_key, thread_exits);
}

static void __attribute__((noinline, cold)) register_thread(void)
{
    is_registered = true; /* first: setspecific may allocate */
    pthread_once(&exit_key_once, make_exit_key);
    pthread_setspecific(exit_key, &is_registered);
}

static inline void note_thread(void)
{
    if (__builtin_expect(!is_registered, 0))
        register_thread();
}

static inline void *or_enomem(void *object)
{
    if (__builtin_expect(!object, 0))
        errno = ENOMEM;
    return object;
}

static __attribute__((noinline)) void *malloc_slowly(size_t n_bytes)
{
    if (!is_ready())
        return or_enomem(early_alloc(16, n_bytes));
    note_thread();
    return or_enomem(heap_malloc_slowly(n_bytes));
}

EXPORT void *malloc(size_t n_bytes)
{
    void *object = heap_fast_malloc(n_bytes); /* NULL, too, before the library is ready */
    return __builtin_expect(object != NULL, 1) ? object : malloc_slowly(n_bytes);
}

static __attribute__((noinline)) void free_slowly(void *object)
{
    if (object == NULL || early_owns(object))
        return;
    note_thread();
    heap_free_slowly(object); /* keeps errno: it makes its system calls itself */
}

EXPORT void free(void *object)
{
    if (__builtin_expect(!heap_fast_free(object), 0))
        free_slowly(object);
}

EXPORT void *calloc(size_t n_objects, size_t n_bytes)
{
    size_t total;
    if (!checked_mul(n_objects, n_bytes, &total)) {
        errno = ENOMEM;
        return NULL;
    }
    if (!is_ready())
        return or_enomem(early_alloc(16, total)); /* static memory, used once: zeros */
    note_thread();
    return or_enomem(heap_calloc(total));
}

EXPORT void *realloc(void *object, size_t n_bytes)
{
    if (!object)
        return malloc(n_bytes);
    if (n_bytes == 0) {
        free(object);
        return NULL;
    }
    if (__builtin_expect(early_owns(object), 0)) {
        void *copy = malloc(n_bytes);
        size_t old = early_size(object);
        return copy ? memcpy(copy, object, old < n_bytes ? old : n_bytes) : NULL;
    }
    note_thread();
    return or_enomem(heap_realloc(object, n_bytes));
}

EXPORT void *reallocarray(void *object, size_t n_objects, size_t n_bytes)
{
    size_t total;
    if (checked_mul(n_objects, n_bytes, &total))
        return realloc(object, total);
    errno = ENOMEM;
    return NULL;
}

static void *aligned(size_t alignment, size_t n_bytes)
{
    if (alignment < 16)
        alignment = 16;
    if (!is_ready())
        return early_alloc(alignment, n_bytes);
    note_thread();
    return heap_memalign(alignment, n_bytes);
}

EXPORT void *memalign(size_t alignment, size_t n_bytes)
{
    if (!is_power_of_two(alignment)) { /* as glibc: the next power of two */
        if (alignment > SIZE_MAX / 2 + 1) {
            errno = EINVAL;
            return NULL;
        }
        alignment = alignment ? (size_t)1 << log2_ceil(alignment) : 16;
    }
    return or_enomem(aligned(alignment, n_bytes));
}

EXPORT void *aligned_alloc(size_t alignment, size_t n_bytes)
{
    return memalign(alignment, n_bytes);
}

EXPORT int posix_memalign(void **object, size_t alignment, size_t n_bytes)
{
    if (!is_power_of_two(alignment) || alignment % sizeof(void *))
        return EINVAL;
    void *result = aligned(alignment, n_bytes);
    if (!result)
        return ENOMEM;
    *object = result;
    return 0;
}

EXPORT void *valloc(size_t n_bytes)
{
    return memalign(SYS_PAGE_SIZE, n_bytes);
}

EXPORT void *pvalloc(size_t n_bytes)
{
    size_t rounded;
    if (checked_add(n_bytes, SYS_PAGE_SIZE - 1, &rounded))
        return memalign(SYS_PAGE_SIZE, round_down(rounded, SYS_PAGE_SIZE));
    errno = ENOMEM;
    return NULL;
}

EXPORT size_t malloc_usable_size(void *object)
{
    if (!object)
        return 0;
    return early_owns(object) ? early_size(object) : heap_usable_size(object);
}

EXPORT int malloc_trim(size_t keep)
{
    if (!is_ready())
        return 0;
    bool trimmed = heap_trim();
    return preload_purge() || trimmed;
}

EXPORT int mallopt(int parameter, int value)
{
    return 1; /* glibc's tunables have no counterpart here; as there, setting one never hurts */
}

EXPORT struct mallinfo2 mallinfo2(void)
{
    struct heap_counts counts;
    heap_counts(&counts);
    return (struct mallinfo2){
        .arena = counts.span_bytes, /* as glibc: what is in hblkhd counts there alone */
        .ordblks = counts.n_small,
        .hblks = counts.n_large,
        .hblkhd = counts.large_bytes,
        .uordblks = counts.small_bytes - counts.cached_bytes,
        .fordblks = counts.span_bytes - counts.small_bytes + counts.cached_bytes,
    };
}

EXPORT struct mallinfo mallinfo(void)
{
    struct mallinfo2 wide = mallinfo2();
    return (struct mallinfo){
        .arena = (int)wide.arena,
        .ordblks = (int)wide.ordblks,
        .hblks = (int)wide.hblks,
        .hblkhd = (int)wide.hblkhd,
        .uordblks = (int)wide.uordblks,
        .fordblks = (int)wide.fordblks,
    };
}

EXPORT void malloc_stats(void)
{
    struct heap_counts counts;
    heap_counts(&counts);
    log_error("heap: %zu small objects in %zu bytes, %zu large ones in %zu bytes, spans %zu bytes, "
              "thread caches %zu bytes, metadata %zu bytes",
              counts.n_small, counts.small_bytes, counts.n_large, counts.large_bytes,
              counts.span_bytes, counts.cached_bytes, counts.metadata_bytes);
}

EXPORT int malloc_info(int options, FILE *stream)
{
    if (options != 0) {
        errno = EINVAL;
        return -1;
    }
    struct heap_counts counts;
    struct heap_class_counts class;
    heap_counts(&counts);
    fputs("<malloc version=\"quire-1\">\n", stream);
    for (unsigned i = 0; heap_class_counts(i, &class); i++)
        if (class.n_spans > 0)
            fprintf(stream,
                    "<class size=\"%zu\" spans=\"%zu\" pages=\"%zu\" objects=\"%zu\" "
                    "live=\"%zu\"/>\n",
                    class.object_bytes, class.n_spans, class.span_pages, class.n_objects,
                    class.n_live);
    fprintf(stream,
            "<large count=\"%zu\" bytes=\"%zu\"/>\n<spans bytes=\"%zu\"/>\n"
            "<cached bytes=\"%zu\"/>\n<metadata bytes=\"%zu\"/>\n</malloc>\n",
            counts.n_large, counts.large_bytes, counts.span_bytes, counts.cached_bytes,
            counts.metadata_bytes);
    return 0;
}
