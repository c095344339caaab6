/* SPDX-License-Identifier: Apache-2.0 */
/* layout: the heap describes itself to those who read it from outside, see <quire/slabs.h>. */
#include "heap/cache.h"
#include "heap/harden.h"

#include <quire/slabs.h>

extern const struct quire_slabs_layout quire_heap_layout;

/* Found by its name among the library's dynamic symbols. */
__attribute__((visibility("default"), used)) const struct quire_slabs_layout quire_heap_layout = {
    .magic = {'Q', 'U', 'I', 'R', 'S', 'L', 'A', 'B'},
    .version = QUIRE_SLABS_VERSION,
    .n_bytes = sizeof(struct quire_slabs_layout),
    .page_bytes = SYS_PAGE_SIZE,
    .n_classes = CLASS_COUNT,
    .n_range_pages = &heap_process.runs.n_pages,
    .shapes = class_shapes,
    .shape_stride = sizeof(struct class_shape),
    .shape_size = offsetof(struct class_shape, size),
    .spans = &heap_process.spans.spans,
    .n_spans = &heap_process.spans.n_spans,
    .span_stride = sizeof(struct span),
    .span_class = offsetof(struct span, sclass),
    .span_objects = offsetof(struct span, n_objects),
    .span_pages = offsetof(struct span, n_pages),
    .span_live = offsetof(struct span, n_live),
    .cache_bytes = sizeof(struct tcache),
    .caches = &tcache_all,
    .cache_next = offsetof(struct tcache, next),
    .cache_magazines = offsetof(struct tcache, magazines),
    .magazine_stride = sizeof(struct magazine),
    .magazine_top = offsetof(struct magazine, top),
    .magazine_limit = offsetof(struct magazine, limit),
    .cache_capacity = offsetof(struct tcache, capacity),
    .cache_others = TCACHE_OTHERS,
    .hardened_requests = offsetof(struct harden, requested_bytes),
    .hardened = &heap_process.harden,
    .large = &heap_process.large.counts,
    .metadata_bytes = &heap_process.metadata.n_bytes,
};
