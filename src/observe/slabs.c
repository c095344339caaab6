/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slabs: another process's heap, by its own description; see <quire/slabs.h>.
 *
 *   /proc/PID/maps -> libquire-preload.so -> quire_heap_layout -> spans:  class, room, live objects
 *                                                             '-> caches: what is free of these
 *
 * What is read changes meanwhile. A span that is being made or given up shows as one or the other;
 * a magazine whose words do not fit together counts as empty; no list is followed for ever.
 */
#include <quire/slabs.h>

#include "base/sys.h"
#include "observe/image.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#define SYMBOL "quire_heap_layout"
#define MAX_SPANS ((size_t)1 << 25)
#define MAX_CACHES 100000u
#define MAX_CACHE_BYTES 8192u
#define CHUNK_BYTES ((size_t)32 << 10)
#define MAX_STRIDE 4096u

static int find_layout(int pid, struct quire_slabs_layout *layout)
{
    static const char *const libraries[] = {"libquire-preload.so", "libquire-malloc.so",
                                            "libquire.so"};
    uint64_t base, address;
    int error = -ENOENT;

    for (unsigned i = 0; i < 2 && error == -ENOENT; i++) {
        error = image_find(pid, libraries[i], &base);
        if (error == 0) {
            error = image_symbol(pid, base, SYMBOL, &address);
            if (error == -ENOENT) /* the library is there, but older than its description */
                return -EPROTONOSUPPORT;
        }
    }
    if (error < 0)
        return error;
    error = image_read(pid, address, layout, sizeof *layout);
    if (error < 0)
        return error;
    if (memcmp(layout->magic, QUIRE_SLABS_MAGIC, sizeof layout->magic) != 0)
        return -EUCLEAN;
    if (layout->version != QUIRE_SLABS_VERSION || layout->n_bytes != sizeof *layout)
        return -EPROTONOSUPPORT;
    if (layout->n_classes == 0 || layout->n_classes > QUIRE_SLABS_MAX_CLASSES ||
        layout->cache_bytes > MAX_CACHE_BYTES || layout->span_stride == 0 ||
        layout->span_stride > MAX_STRIDE || layout->shape_stride > MAX_STRIDE)
        return -EUCLEAN;
    return 0;
}

static int read_word(int pid, const void *address, size_t *word)
{
    return image_read(pid, (uintptr_t)address, word, sizeof *word);
}

static int read_shapes(int pid, const struct quire_slabs_layout *layout, struct quire_slabs *slabs)
{
    for (unsigned i = 0; i < layout->n_classes; i++) {
        uint32_t size;
        uint64_t at = (uintptr_t)layout->shapes + (i + 1) * (uint64_t)layout->shape_stride;
        int error = image_read(pid, at + layout->shape_size, &size, sizeof size);
        if (error < 0)
            return error;
        if (size == 0)
            return -EUCLEAN;
        slabs->classes[i].object_bytes = size;
    }
    slabs->n_classes = layout->n_classes;
    return 0;
}

static void add_span(const struct quire_slabs_layout *layout, const char *span,
                     struct quire_slabs *slabs)
{
    uint8_t sclass = (uint8_t)span[layout->span_class];
    uint16_t n_objects, n_pages, n_live;

    if (sclass == 0 || sclass > layout->n_classes)
        return;
    struct quire_slabs_class *class = &slabs->classes[sclass - 1];
    memcpy(&n_objects, span + layout->span_objects, sizeof n_objects);
    memcpy(&n_pages, span + layout->span_pages, sizeof n_pages);
    memcpy(&n_live, span + layout->span_live, sizeof n_live);
    if (n_live > n_objects || n_objects * class->object_bytes > n_pages * slabs->page_bytes)
        return; /* half changed */
    class->n_spans++;
    class->n_pages += n_pages;
    class->n_objects += n_objects;
    class->n_active += n_live;
    class->tail_bytes += n_pages * slabs->page_bytes - n_objects * class->object_bytes;
}

static int read_spans(int pid, const struct quire_slabs_layout *layout, struct quire_slabs *slabs)
{
    char chunk[CHUNK_BYTES];
    size_t n_spans, spans, stride = layout->span_stride, n_a_chunk = CHUNK_BYTES / stride;
    int error = read_word(pid, layout->n_spans, &n_spans);

    if (error == 0)
        error = read_word(pid, layout->spans, &spans);
    if (error < 0)
        return error;
    if (n_spans > MAX_SPANS || layout->span_class >= stride || layout->span_objects + 2 > stride ||
        layout->span_pages + 2 > stride || layout->span_live + 2 > stride)
        return -EUCLEAN;
    for (size_t i = 0; i < n_spans; i += n_a_chunk) {
        size_t n = n_spans - i < n_a_chunk ? n_spans - i : n_a_chunk;
        error = image_read(pid, spans + i * stride, chunk, n * stride);
        if (error < 0)
            return error;
        for (size_t k = 0; k < n; k++)
            add_span(layout, chunk + k * stride, slabs);
    }
    return 0;
}

/* The objects in a magazine; 0 when its words do not fit together. */
static size_t count_magazine(const struct quire_slabs_layout *layout, const char *cache, size_t i)
{
    const char *magazine = cache + layout->cache_magazines + i * layout->magazine_stride;
    uint64_t top, limit;
    uint16_t capacity;

    memcpy(&top, magazine + layout->magazine_top, sizeof top);
    memcpy(&limit, magazine + layout->magazine_limit, sizeof limit);
    memcpy(&capacity, cache + layout->cache_capacity + i * sizeof capacity, sizeof capacity);
    uint64_t room = (limit - top) / sizeof(void *);
    return limit < top || room > capacity ? 0 : capacity - (size_t)room;
}

static void add_cache(const struct quire_slabs_layout *layout, const char *cache,
                      struct quire_slabs *slabs)
{
    for (size_t sclass = 1; sclass <= layout->n_classes; sclass++)
        slabs->classes[sclass - 1].n_cached += count_magazine(layout, cache, sclass) +
                                               count_magazine(layout, cache,
                                                              sclass + layout->cache_others);
    slabs->n_caches++;
}

static int read_caches(int pid, const struct quire_slabs_layout *layout, struct quire_slabs *slabs)
{
    _Alignas(16) char cache[MAX_CACHE_BYTES];
    size_t at, n_classes = (size_t)layout->n_classes + 1 + layout->cache_others;
    int error = read_word(pid, layout->caches, &at);

    if (layout->cache_next + sizeof at > layout->cache_bytes || layout->magazine_stride > 64 ||
        layout->magazine_top + 8 > layout->magazine_stride ||
        layout->magazine_limit + 8 > layout->magazine_stride ||
        layout->cache_magazines + n_classes * layout->magazine_stride > layout->cache_bytes ||
        layout->cache_capacity + n_classes * sizeof(uint16_t) > layout->cache_bytes)
        return -EUCLEAN;
    for (unsigned n = 0; error == 0 && at != 0 && n < MAX_CACHES; n++) {
        error = image_read(pid, at, cache, layout->cache_bytes);
        if (error < 0)
            return error;
        add_cache(layout, cache, slabs);
        memcpy(&at, cache + layout->cache_next, sizeof at);
    }
    return error;
}

static int read_requests(int pid, const struct quire_slabs_layout *layout,
                         struct quire_slabs *slabs)
{
    size_t harden, requested[QUIRE_SLABS_MAX_CLASSES + 1];
    int error = read_word(pid, layout->hardened, &harden);

    if (error < 0 || harden == 0)
        return error;
    error = image_read(pid, harden + layout->hardened_requests, requested,
                       (layout->n_classes + 1) * sizeof requested[0]);
    slabs->hardened = error == 0;
    for (unsigned i = 0; error == 0 && i < layout->n_classes; i++)
        slabs->classes[i].requested_bytes = requested[i + 1];
    return error;
}

/* Cached objects are live to their spans. */
static void settle(struct quire_slabs *slabs)
{
    for (unsigned i = 0; i < slabs->n_classes; i++) {
        struct quire_slabs_class *class = &slabs->classes[i];
        if (class->n_cached > class->n_active)
            class->n_cached = class->n_active;
        class->n_active -= class->n_cached;
    }
}

static int read_all(int pid, const struct quire_slabs_layout *layout, struct quire_slabs *slabs)
{
    size_t n_range_pages, large[2];
    int error = read_word(pid, layout->n_range_pages, &n_range_pages);

    if (error == 0 && n_range_pages == 0)
        return -EAGAIN;
    if (error == 0)
        error = read_shapes(pid, layout, slabs);
    if (error == 0)
        error = read_spans(pid, layout, slabs);
    if (error == 0)
        error = read_caches(pid, layout, slabs);
    if (error == 0)
        error = read_requests(pid, layout, slabs);
    if (error == 0)
        error = image_read(pid, (uintptr_t)layout->large, large, sizeof large);
    if (error < 0)
        return error;
    slabs->n_large = large[0];
    slabs->large_pages = large[1];
    settle(slabs);
    return read_word(pid, layout->metadata_bytes, &slabs->metadata_bytes);
}

int quire_slabs_read(int pid, struct quire_slabs *slabs)
{
    struct quire_slabs_layout layout;

    *slabs = (struct quire_slabs){.n_classes = 0};
    if (pid <= 0)
        return -ESRCH;
    if (sys_kill(pid, 0) == -ESRCH)
        return -ESRCH;
    int error = find_layout(pid, &layout);
    if (error == 0) {
        slabs->page_bytes = layout.page_bytes;
        error = read_all(pid, &layout, slabs);
    }
    if (error == -EFAULT || error == -ENOEXEC)
        error = -EUCLEAN;
    return error;
}
