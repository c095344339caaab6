/* SPDX-License-Identifier: Apache-2.0 */
/*
 * private: heaps of their own.
 *
 *   metadata  | struct quire_heap | range's | runs' tables | spans | harden's | bitmaps ... |
 *   memory    | runs of pages, from the range                                              |
 *
 * Both are the caller's or mapped here, so that a heap leaves nothing behind. Each call takes the
 * lock of its class (direct.c). free_all goes through spans and large objects, whose objects it
 * need not look at.
 *
 * Can fail: no memory, or metadata that is too small; then nothing is left behind.
 */
#include "heap/private.h"

#include "base/checked.h"
#include "base/log.h"
#include "base/meta.h"
#include "heap/direct.h"
#include "heap/harden.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_PAGES ((size_t)1 << 24) /* 64 GiB of addresses */
#define MIN_PAGES (QUIRE_HEAP_MIN_BYTES >> SYS_PAGE_SHIFT)
#define MAX_PAGES (QUIRE_HEAP_MAX_BYTES >> SYS_PAGE_SHIFT)
#define KNOWN_FLAGS (QUIRE_HEAP_HARDENED | QUIRE_HEAP_ZEROED)

/* Bitmaps and, where it is hardened, states, of each length in turn over all pages: the most that
 * can be, since structs are kept by length. */
#define BITMAP_BYTES_A_PAGE 128u
#define STATE_BYTES_A_PAGE 1920u

/* The parts behind the struct, bytes. */
struct layout {
    size_t head, range, runs, spans, harden, table, pool, total;
};

static struct layout layout_of(size_t n_pages, bool owned, unsigned flags)
{
    bool hardened = (flags & QUIRE_HEAP_HARDENED) != 0;
    size_t a_page = BITMAP_BYTES_A_PAGE + (hardened ? STATE_BYTES_A_PAGE : 0);
    struct layout layout = {
        .head = round_up(sizeof(struct quire_heap), SYS_PAGE_SIZE),
        .range = owned ? 0 : heap_range_metadata_bytes(n_pages),
        .runs = runs_table_bytes(n_pages),
        .spans = round_up(span_table_bytes(n_pages), SYS_PAGE_SIZE),
        .harden = hardened ? round_up(sizeof(struct harden), SYS_PAGE_SIZE) : 0,
        .table = hardened ? harden_table_bytes(n_pages) : 0,
        .pool = round_up(n_pages * a_page + SYS_PAGE_SIZE, SYS_PAGE_SIZE),
    };
    layout.total = layout.head + layout.range + layout.runs + layout.spans + layout.harden +
                   layout.table + layout.pool;
    return layout;
}

size_t quire_heap_metadata_bytes(size_t memory_bytes, unsigned flags)
{
    size_t n_pages = memory_bytes >> SYS_PAGE_SHIFT;

    if (memory_bytes % SYS_PAGE_SIZE != 0 || n_pages < MIN_PAGES || n_pages > MAX_PAGES ||
        (flags & ~KNOWN_FLAGS) != 0)
        return 0;
    class_init();
    return layout_of(n_pages, false, flags).total;
}

_Noreturn void private_misuse(void *context, const char *message, const void *address,
                              const char *detail)
{
    if (detail != NULL)
        log_error("%s: %p: %s", message, (void *)(uintptr_t)address, detail);
    else
        log_error("%s: %p", message, (void *)(uintptr_t)address);
    abort();
}

static int check_config(const struct quire_heap_config *config)
{
    size_t n_bytes = config->memory_bytes;

    if ((config->flags & ~KNOWN_FLAGS) != 0 || n_bytes > QUIRE_HEAP_MAX_BYTES)
        return -EINVAL;
    if (config->memory == NULL)
        return n_bytes != 0 && n_bytes < QUIRE_HEAP_MIN_BYTES ? -EINVAL : 0;
    if ((uintptr_t)config->memory % SYS_PAGE_SIZE != 0 || n_bytes % SYS_PAGE_SIZE != 0 ||
        n_bytes < QUIRE_HEAP_MIN_BYTES)
        return -EINVAL;
    return 0;
}

/* Lays the heap out in zeroed metadata, over the range in `made` if that is open already. */
static struct quire_heap *set_up(const struct quire_heap_config *config, char *metadata,
                                 const struct layout *layout, const struct heap_range *made)
{
    struct quire_heap *handle = (struct quire_heap *)(void *)metadata;
    struct heap *heap = &handle->heap;
    struct heap_source source = {.misuse = private_misuse};
    char *at = metadata + layout->head;

    if (made != NULL)
        handle->range = *made;
    else
        heap_range_over(&handle->range, config->memory, config->memory_bytes >> SYS_PAGE_SHIFT,
                        (config->flags & QUIRE_HEAP_ZEROED) != 0, at);
    at += layout->range;
    heap_range_fill_source(&handle->range, &source);
    if (config->misuse != NULL) {
        source.misuse = config->misuse;
        source.misuse_context = config->context;
    }
    char *pool = metadata + layout->total - layout->pool;
    heap->metadata = (struct metadata){.next = pool, .end = pool + layout->pool};
    metadata_charge(heap, (long)sizeof *handle);
    (void)!runs_init(heap, &source, at); /* neither fails over memory that is there */
    at += layout->runs;
    (void)!span_init(heap, at);
    at += layout->spans;
    if (layout->harden > 0)
        harden_init_in(heap, (struct harden *)(void *)at, at + layout->harden);
    return handle;
}

int quire_heap_new(const struct quire_heap_config *config, struct quire_heap **heap)
{
    static const struct quire_heap_config plain;
    struct heap_range range;
    const struct quire_heap_config *wanted = config != NULL ? config : &plain;
    bool owned = wanted->memory == NULL;
    size_t n_pages = (wanted->memory_bytes + SYS_PAGE_SIZE - 1) >> SYS_PAGE_SHIFT;
    int error = check_config(wanted);

    if (error != 0)
        return error;
    class_init();
    n_pages = n_pages == 0 ? DEFAULT_PAGES : n_pages;
    struct layout layout = layout_of(n_pages, owned, wanted->flags);
    if (wanted->metadata != NULL && (uintptr_t)wanted->metadata % QUIRE_BUDDY_ALIGNMENT != 0)
        return -EINVAL;
    if (wanted->metadata != NULL && wanted->metadata_bytes < layout.total)
        return -ENOSPC;
    char *metadata = wanted->metadata != NULL ? wanted->metadata : meta_map(layout.total);
    if (metadata == NULL)
        return -ENOMEM;
    if (owned && heap_range_open(&range, n_pages, n_pages) != 0) {
        if (wanted->metadata == NULL)
            meta_unmap(metadata, layout.total);
        return -ENOMEM;
    }
    *heap = set_up(wanted, metadata, &layout, owned ? &range : NULL);
    (*heap)->mapped_bytes = wanted->metadata == NULL ? layout.total : 0;
    return 0;
}

static void forget_class(struct heap *heap, unsigned sclass)
{
    struct central *central = &heap->centrals[sclass];
    central->n_spans = central->n_empty = central->n_pages = 0;
    central->n_live = 0;
    atomic_store_explicit(&central->n_free, 0, memory_order_relaxed);
    memset(central->lists, 0, sizeof central->lists);
}

/* Whatever its objects are: the span goes back. */
static void forget_span(struct heap *heap, struct span *span)
{
    size_t n_objects = atomic_load_explicit(&span->n_objects, memory_order_relaxed);
    for (size_t word = 0; word < (n_objects + 63) / 64; word++) /* span.c, invariant 2 */
        atomic_store_explicit(&span->bits[word], 0, memory_order_relaxed);
    span_delete(heap, span);
}

int quire_heap_free_all(struct quire_heap *handle)
{
    struct heap *heap = &handle->heap;

    if (heap_is_process(handle))
        return -EINVAL;
    for (unsigned sclass = 1; sclass <= CLASS_COUNT; sclass++)
        forget_class(heap, sclass);
    for (size_t number = 0; number < heap->spans.n_spans; number++) {
        struct span *span = &heap->spans.spans[number];
        if (atomic_load_explicit(&span->sclass, memory_order_relaxed) != 0)
            forget_span(heap, span);
    }
    for (size_t page = 0; (page = runs_next_large(heap, page)) != SIZE_MAX;)
        large_free(heap, run_address(heap, page));
    if (heap->harden != NULL)
        harden_reset(heap);
    return 0;
}

int quire_heap_delete(struct quire_heap *handle)
{
    if (handle == NULL)
        return 0;
    if (heap_is_process(handle))
        return -EINVAL;
    if (handle->range.owned)
        heap_range_close(&handle->range);
    if (handle->mapped_bytes > 0)
        meta_unmap(handle, handle->mapped_bytes);
    return 0;
}

void *private_alloc(struct heap *heap, size_t alignment, size_t n_bytes, bool zero)
{
    bool zeroed = false;
    void *object = heap->harden != NULL ? harden_alloc(heap, alignment, n_bytes, &zeroed)
                                        : direct_alloc(heap, alignment, n_bytes, &zeroed);
    if (object != NULL && zero && !zeroed)
        memset(object, 0, n_bytes);
    return object;
}

void *private_realloc(struct heap *heap, void *object, size_t n_bytes)
{
    bool zeroed;

    if (heap->harden != NULL)
        return harden_realloc(heap, object, n_bytes);
    uint32_t entry = direct_require(heap, object, DIRECT_REALLOC_MESSAGE);
    size_t old_bytes = direct_bytes(entry);
    if (direct_stays(entry, old_bytes, n_bytes))
        return object;
    if (!run_is_small(entry) && n_bytes > CLASS_MAX_BYTES / 2)
        return direct_realloc_large(heap, object, entry, n_bytes);
    void *other = direct_alloc(heap, 1, n_bytes, &zeroed);
    if (other == NULL)
        return n_bytes <= old_bytes ? object : NULL;
    memcpy(other, object, n_bytes < old_bytes ? n_bytes : old_bytes);
    direct_free(heap, object);
    return other;
}
