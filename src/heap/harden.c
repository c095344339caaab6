/* SPDX-License-Identifier: Apache-2.0 */
/*
 * harden: guards and quarantine; see harden.h.
 *
 *    | what was asked for | guard: 8 to 64 bytes | rest |      an object
 *                          ^ secret ^ address, no byte 0
 *
 *    malloc --> LIVE(request) --free: guard intact? fill with poison--> QUARANTINED
 *       ^          ^    |                                                   |
 *       |          '----' realloc in place                                  | oldest of 8192, or
 *       |                                                                   | of 16 MiB; trim
 *    the class's spans <---- poison intact? ------ FREE <-------------------'
 *
 * The state of a small object is a 16-bit word behind its span's bitmap, out of band like all
 * metadata; that of a large one a word in a table by its first page. An object in quarantine keeps
 * its bit, so it is live to the spans and to the pager, and is not handed out again.
 *
 * The guard has no zero byte: the terminator of a string that is one byte too long is found. It
 * depends on the address, so that a copied guard is found as well.
 *
 * Invariants
 *   H1. A state becomes QUARANTINED by one atomic exchange, so of two frees of one object, one
 *       loses and is told.
 *   H2. The guard is whole whenever the state is LIVE or QUARANTINED: it is written before, and the
 *       poison ends where it begins.
 *   H3. n_held_bytes = the sizes of the objects held.
 *
 * Locks: `lock` around the ring only; the class's inside of direct_free. None while memory is
 * touched. Can fail: as direct_alloc.
 */
#include "heap/harden.h"

#include "base/checked.h"
#include "base/log.h"
#include "base/meta.h"
#include "heap/direct.h"

#include <errno.h>
#include <string.h>
#include <sys/auxv.h>

/* States. Small: the request and a flag, or NONE while being made, changed, or free. Large: the
 * request << 1 and a flag. */
#define SMALL_QUARANTINED 0x8000u
#define SMALL_NONE 0xffffu
#define SMALL_REQUEST(state) ((size_t)((state)&0x7fffu))
#define LARGE_QUARANTINED 1u
static_assert(CLASS_MAX_BYTES - HARDEN_GUARD_LEAST < 0x7fff, "a request fits in 15 bits");

#define DETAIL_BYTES 384

/* Where an object is and what is known of it. */
struct place {
    char *object;    /* its start; NULL: the address lies in no object */
    size_t size;     /* of the class, or of the pages */
    unsigned sclass; /* 0: large */
    const struct span *span;
    size_t index;
};

static uint64_t mix(uint64_t x) /* splitmix64's finalizer: G. Steele et al., 2014 */
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static uint64_t make_secret(const void *somewhere)
{
    uint64_t random = 0;
    const void *kernels = (const void *)getauxval(AT_RANDOM); /* 16 random bytes */
    if (kernels != NULL)
        memcpy(&random, kernels, sizeof random);
    return mix(random ^ mix((uintptr_t)somewhere) ^ sys_now_ns());
}

size_t harden_table_bytes(size_t n_pages)
{
    return round_up(n_pages * sizeof(uint64_t), SYS_PAGE_SIZE);
}

void harden_init_in(struct heap *heap, struct harden *harden, void *table)
{
    harden->secret = make_secret(harden);
    harden->large = table;
    heap->harden = harden;
}

int harden_init(struct heap *heap)
{
    struct harden *harden = metadata_alloc(heap, sizeof *harden);
    void *table = harden != NULL ? meta_map(harden_table_bytes(heap->runs.n_pages)) : NULL;
    if (table == NULL)
        return -ENOMEM;
    harden_init_in(heap, harden, table);
    return 0;
}

static bool locate_small(const struct heap *heap, const void *address, uint32_t entry,
                         struct place *place)
{
    const struct span *span = span_at(heap, entry);
    size_t first = atomic_load_explicit(&span->first_page, memory_order_relaxed);
    size_t n_objects = atomic_load_explicit(&span->n_objects, memory_order_relaxed);
    char *base = run_address(heap, first);

    place->sclass = run_code(entry);
    place->size = class_size(place->sclass);
    place->index = class_index(place->sclass, (size_t)((const char *)address - base));
    place->span = span;
    if (place->index >= n_objects)
        return false;
    place->object = base + place->index * place->size;
    return true;
}

/* The object in which the address lies, live or not; false: in none. */
static bool locate(const struct heap *heap, const void *address, struct place *place)
{
    size_t page = run_page(heap, address);

    *place = (struct place){.object = NULL};
    if (page >= heap->runs.n_pages)
        return false;
    uint32_t entry = runs_find(heap, page);
    if (run_is_small(entry))
        return locate_small(heap, address, entry, place);
    if (run_code(entry) != RUN_LARGE)
        return false;
    while (run_code(run_entry(heap, page)) != RUN_LARGE)
        page--; /* only for a message: an object may be many pages */
    place->object = run_address(heap, page);
    place->size = direct_bytes(entry);
    return true;
}

static _Atomic uint64_t *large_state(const struct heap *heap, const void *object)
{
    return &heap->harden->large[run_page(heap, object)];
}

/* *request: as far as it is known. */
static bool is_live(const struct heap *heap, const struct place *place, size_t *request)
{
    if (place->sclass == 0) {
        uint64_t state = atomic_load_explicit(large_state(heap, place->object),
                                              memory_order_acquire);
        *request = (size_t)(state >> 1);
        return (state & LARGE_QUARANTINED) == 0;
    }
    uint16_t state = atomic_load_explicit(&span_states(place->span)[place->index],
                                          memory_order_acquire);
    *request = SMALL_REQUEST(state);
    return span_is_live(place->span, place->index) && (state & SMALL_QUARANTINED) == 0;
}

/* "40 bytes, live", "40 bytes, freed" (in quarantine), or "free". */
static size_t tell_state(const struct heap *heap, const struct place *place, char *text,
                         size_t n_bytes)
{
    size_t request;
    bool live = is_live(heap, place, &request);
    bool known = live || place->sclass == 0 ||
                 (span_is_live(place->span, place->index) &&
                  span_states(place->span)[place->index] != SMALL_NONE);

    if (!known)
        return log_format(text, n_bytes, "free");
    return log_format(text, n_bytes, "%zu bytes, %s", request, live ? "live" : "freed");
}

static size_t tell_neighbour(const struct heap *heap, const struct place *place, bool behind,
                             char *text, size_t n_bytes)
{
    struct place other = *place;
    size_t n, n_objects = atomic_load_explicit(&place->span->n_objects, memory_order_relaxed);
    const char *where = behind ? "behind" : "before";

    other.index += behind ? 1 : (size_t)-1;
    if (other.index >= n_objects)
        return log_format(text, n_bytes, "; %s it: the span's %s", where, behind ? "end" : "start");
    n = log_format(text, n_bytes, "; %s it: ", where);
    return n + tell_state(heap, &other, text + n, n_bytes - n);
}

/* Writes what is known of the object that the address lies in; false: nothing. */
static bool describe(const struct heap *heap, const void *address, const char *first, char *text)
{
    struct place place;
    size_t n = log_format(text, DETAIL_BYTES, "%s", first);

    if (!locate(heap, address, &place))
        return n > 0;
    size_t inside = (size_t)((const char *)address - place.object);
    if (inside > 0)
        n += log_format(text + n, DETAIL_BYTES - n, "%zu bytes inside of ", inside);
    n += log_format(text + n, DETAIL_BYTES - n, "an object, ");
    n += tell_state(heap, &place, text + n, DETAIL_BYTES - n);
    if (place.sclass == 0) {
        log_format(text + n, DETAIL_BYTES - n, "; %zu pages", place.size >> SYS_PAGE_SHIFT);
        return true;
    }
    n += log_format(text + n, DETAIL_BYTES - n, "; class %zu", place.size);
    n += tell_neighbour(heap, &place, false, text + n, DETAIL_BYTES - n);
    tell_neighbour(heap, &place, true, text + n, DETAIL_BYTES - n);
    return true;
}

static _Noreturn void die(const struct heap *heap, const char *message, const void *address,
                          const char *first)
{
    char text[DETAIL_BYTES];
    bool known = describe(heap, address, first, text);
    heap_die_of(heap, message, address, known ? text : NULL);
}

static unsigned char guard_byte(const struct heap *heap, const void *object, size_t i)
{
    uint64_t word = mix(heap->harden->secret ^ (uintptr_t)object) | 0x0101010101010101u;
    return (unsigned char)(word >> i % 8 * 8);
}

static size_t guard_bytes(size_t size, size_t request)
{
    return size - request < HARDEN_GUARD_MOST ? size - request : HARDEN_GUARD_MOST;
}

static void write_guard(const struct heap *heap, char *object, size_t request, size_t size)
{
    for (size_t i = 0; i < guard_bytes(size, request); i++)
        object[request + i] = (char)guard_byte(heap, object, i);
}

/* The first byte behind the request that was overwritten; SIZE_MAX: none. */
static size_t broken_guard(const struct heap *heap, const char *object, size_t request, size_t size)
{
    for (size_t i = 0; i < guard_bytes(size, request); i++)
        if ((unsigned char)object[request + i] != guard_byte(heap, object, i))
            return i;
    return SIZE_MAX;
}

static void check_guard(const struct heap *heap, const char *object, size_t request, size_t size)
{
    char first[96];
    size_t broken = broken_guard(heap, object, request, size);

    if (broken == SIZE_MAX)
        return;
    log_format(first, sizeof first, "byte %zu was written, of ", request + broken);
    die(heap, "heap overflow", object, first);
}

static size_t poison_bytes(size_t request)
{
    return request < HARDEN_POISON_MOST ? request : HARDEN_POISON_MOST;
}

static size_t broken_poison(const char *object, size_t request)
{
    for (size_t i = 0; i < poison_bytes(request); i++)
        if ((unsigned char)object[i] != HARDEN_POISON)
            return i;
    return SIZE_MAX;
}

static void set_state(struct heap *heap, void *object, uint32_t entry, size_t request)
{
    size_t index;

    if (!run_is_small(entry)) {
        atomic_store_explicit(large_state(heap, object), (uint64_t)request << 1,
                              memory_order_release);
        return;
    }
    const struct span *span = span_at(heap, entry);
    if (span_index(heap, span, run_code(entry), object, &index)) /* release: H2 */
        atomic_store_explicit(&span_states(span)[index], (uint16_t)request, memory_order_release);
}

static void count_request(struct heap *heap, uint32_t entry, size_t request, bool more)
{
    unsigned sclass = run_is_small(entry) ? run_code(entry) : 0;
    atomic_fetch_add_explicit(&heap->harden->requested_bytes[sclass],
                              more ? request : (size_t)0 - request, memory_order_relaxed);
}

void *harden_alloc(struct heap *heap, size_t alignment, size_t n_bytes, bool *zeroed)
{
    size_t with_guard;

    if (!checked_add(n_bytes, HARDEN_GUARD_LEAST, &with_guard))
        return NULL;
    char *object = direct_alloc(heap, alignment, with_guard, zeroed);
    if (object == NULL && harden_trim(heap))
        object = direct_alloc(heap, alignment, with_guard, zeroed);
    if (object == NULL)
        return NULL;
    uint32_t entry = run_entry(heap, run_page(heap, object));
    write_guard(heap, object, n_bytes, direct_bytes(entry));
    set_state(heap, object, entry, n_bytes);
    count_request(heap, entry, n_bytes, true);
    return object;
}

/* What was asked for when the object was made. `entry`: direct_find's. */
static size_t request_of(const struct heap *heap, const void *object, uint32_t entry)
{
    size_t index;

    if (!run_is_small(entry))
        return (size_t)(atomic_load_explicit(large_state(heap, object), memory_order_relaxed) >> 1);
    const struct span *span = span_at(heap, entry);
    if (!span_index(heap, span, run_code(entry), object, &index))
        return 0;
    return SMALL_REQUEST(atomic_load_explicit(&span_states(span)[index], memory_order_relaxed));
}

size_t harden_usable_size(const struct heap *heap, const void *object)
{
    uint32_t entry = direct_find(heap, object);
    struct place place;
    size_t request;

    if (entry == RUN_NONE || !locate(heap, object, &place) || !is_live(heap, &place, &request))
        die(heap, DIRECT_SIZE_MESSAGE, object, "");
    return request;
}

/* H1. Whether the object was live, and its request. */
static bool quarantine_state(struct heap *heap, void *object, uint32_t entry, size_t *request)
{
    size_t index;

    if (!run_is_small(entry)) {
        uint64_t old = atomic_fetch_or(large_state(heap, object), (uint64_t)LARGE_QUARANTINED);
        *request = (size_t)(old >> 1);
        return (old & LARGE_QUARANTINED) == 0;
    }
    const struct span *span = span_at(heap, entry);
    if (!span_index(heap, span, run_code(entry), object, &index))
        return false;
    uint16_t old = atomic_fetch_or(&span_states(span)[index], (uint16_t)SMALL_QUARANTINED);
    *request = SMALL_REQUEST(old);
    return (old & SMALL_QUARANTINED) == 0;
}

/* The quarantine is over for an object. */
static void release(struct heap *heap, char *object)
{
    uint32_t entry = run_entry(heap, run_page(heap, object));
    size_t request = request_of(heap, object, entry), broken = broken_poison(object, request);
    char first[96];

    if (broken != SIZE_MAX) {
        log_format(first, sizeof first, "byte %zu was written after the free, of ", broken);
        die(heap, "write after free", object, first);
    }
    check_guard(heap, object, request, direct_bytes(entry));
    if (run_is_small(entry))
        set_state(heap, object, entry, SMALL_NONE);
    direct_free(heap, object);
}

/* The oldest object, if more is held than may be; NULL: none. */
static void *take_oldest(struct heap *heap, size_t most_objects, size_t most_bytes)
{
    struct harden *harden = heap->harden;
    void *object = NULL;

    lock_take(&harden->lock);
    if (harden->n_held > most_objects || harden->n_held_bytes > most_bytes) {
        object = harden->held[harden->oldest];
        harden->oldest = (harden->oldest + 1) % HARDEN_QUARANTINE_OBJECTS;
        harden->n_held--;
        harden->n_held_bytes -= direct_bytes(run_entry(heap, run_page(heap, object)));
    }
    lock_release(&harden->lock);
    return object;
}

static void hold(struct heap *heap, void *object, size_t size)
{
    struct harden *harden = heap->harden;
    void *oldest;

    while ((oldest = take_oldest(heap, HARDEN_QUARANTINE_OBJECTS - 1, HARDEN_QUARANTINE_BYTES)))
        release(heap, oldest);
    lock_take(&harden->lock);
    bool held = harden->n_held < HARDEN_QUARANTINE_OBJECTS; /* or others were faster */
    if (held) {
        harden->held[(harden->oldest + harden->n_held) % HARDEN_QUARANTINE_OBJECTS] = object;
        harden->n_held++;
        harden->n_held_bytes += size;
    }
    lock_release(&harden->lock);
    if (!held)
        release(heap, object);
}

/* Not the start of a live object. */
static _Noreturn void die_of_free(const struct heap *heap, const void *object)
{
    size_t page = run_page(heap, object);
    uint32_t entry = page < heap->runs.n_pages ? run_entry(heap, page) : RUN_NONE;
    struct place place;
    bool twice = run_code(entry) == RUN_FREED && runs_find(heap, page) == RUN_NONE;

    if (run_is_small(entry))
        twice = locate(heap, object, &place) && place.object == object;
    die(heap, twice ? "double free" : DIRECT_FREE_MESSAGE, object, "");
}

void harden_free(struct heap *heap, void *object)
{
    uint32_t entry = direct_find(heap, object);
    size_t request, size = direct_bytes(entry);

    if (entry == RUN_NONE)
        die_of_free(heap, object);
    if (!quarantine_state(heap, object, entry, &request))
        die(heap, "double free", object, "");
    if (broken_guard(heap, object, request, size) != SIZE_MAX)
        set_state(heap, object, entry, request); /* for the message: it was live */
    check_guard(heap, object, request, size);
    count_request(heap, entry, request, false);
    memset(object, HARDEN_POISON, poison_bytes(request));
    if (size > HARDEN_QUARANTINE_LARGEST)
        release(heap, object);
    else
        hold(heap, object, size);
}

/* Gives a live object another request, where it lies. */
static void change_request(struct heap *heap, char *object, uint32_t entry, size_t from, size_t to)
{
    if (run_is_small(entry)) /* H2 */
        set_state(heap, object, entry, SMALL_NONE);
    write_guard(heap, object, to, direct_bytes(entry));
    set_state(heap, object, entry, to);
    count_request(heap, entry, from, false);
    count_request(heap, entry, to, true);
}

static void *realloc_large(struct heap *heap, char *object, uint32_t entry, size_t request,
                           size_t n_bytes)
{
    /* the guard is in the way of nobody while the state says so */
    atomic_fetch_or(large_state(heap, object), (uint64_t)LARGE_QUARANTINED);
    char *other = direct_realloc_large(heap, object, entry, n_bytes + HARDEN_GUARD_LEAST);
    if (other == NULL) {
        set_state(heap, object, entry, request);
        return NULL;
    }
    change_request(heap, other, run_entry(heap, run_page(heap, other)), request, n_bytes);
    return other;
}

void *harden_realloc(struct heap *heap, void *object, size_t n_bytes)
{
    uint32_t entry = direct_find(heap, object);
    struct place place;
    size_t request = 0, size = direct_bytes(entry);
    bool zeroed, small = run_is_small(entry);

    if (entry == RUN_NONE || !locate(heap, object, &place) || !is_live(heap, &place, &request))
        die(heap, DIRECT_REALLOC_MESSAGE, object, "");
    check_guard(heap, object, request, size);
    if (n_bytes > PTRDIFF_MAX)
        return NULL;
    if (small && n_bytes + HARDEN_GUARD_LEAST <= CLASS_MAX_BYTES &&
        class_of(n_bytes + HARDEN_GUARD_LEAST) == run_code(entry)) {
        change_request(heap, object, entry, request, n_bytes);
        return object;
    }
    if (!small && n_bytes > CLASS_MAX_BYTES)
        return realloc_large(heap, object, entry, request, n_bytes);
    void *other = harden_alloc(heap, 1, n_bytes, &zeroed);
    if (other == NULL && n_bytes <= request) {
        change_request(heap, object, entry, request, n_bytes);
        return object;
    }
    if (other == NULL)
        return NULL;
    memcpy(other, object, request < n_bytes ? request : n_bytes);
    harden_free(heap, object);
    return other;
}

bool harden_trim(struct heap *heap)
{
    void *oldest;
    bool released = false;
    for (; (oldest = take_oldest(heap, 0, 0)); released = true)
        release(heap, oldest);
    return released;
}

void harden_reset(struct heap *heap)
{
    struct harden *harden = heap->harden;
    harden->oldest = harden->n_held = harden->n_held_bytes = 0;
    for (unsigned sclass = 0; sclass <= CLASS_COUNT; sclass++)
        atomic_store_explicit(&harden->requested_bytes[sclass], 0, memory_order_relaxed);
}

/* Whether guard and, of a freed one, poison are as they should be; or it has changed meanwhile. */
static bool is_whole(const struct heap *heap, const char *object, uint32_t entry, size_t request,
                     bool quarantined)
{
    const char *what = "the guard behind an object was written over";
    bool whole = broken_guard(heap, object, request, direct_bytes(entry)) == SIZE_MAX;

    if (whole && quarantined) {
        what = "a freed object was written to";
        whole = broken_poison(object, request) == SIZE_MAX;
    }
    if (!whole)
        log_error("heap: %s: %p, %zu bytes", what, (void *)(uintptr_t)object, request);
    return whole;
}

static bool check_span_objects(const struct heap *heap, const struct span *span, unsigned sclass)
{
    size_t n_objects = atomic_load_explicit(&span->n_objects, memory_order_relaxed);
    char *base = run_address(heap, atomic_load_explicit(&span->first_page, memory_order_relaxed));

    for (size_t index = 0; index < n_objects; index++) {
        _Atomic uint16_t *state = &span_states(span)[index];
        uint16_t seen = atomic_load_explicit(state, memory_order_acquire);
        if (!span_is_live(span, index) || seen == SMALL_NONE)
            continue;
        if (!is_whole(heap, base + index * class_size(sclass), sclass, SMALL_REQUEST(seen),
                      (seen & SMALL_QUARANTINED) != 0) &&
            atomic_load_explicit(state, memory_order_acquire) == seen)
            return false;
    }
    return true;
}

static bool check_large_objects(const struct heap *heap)
{
    for (size_t page = runs_next_large(heap, 0); page != SIZE_MAX;
         page = runs_next_large(heap, page + 1)) {
        const char *object = run_address(heap, page);
        uint64_t seen = atomic_load_explicit(large_state(heap, object), memory_order_acquire);
        if (seen != 0 && (seen & LARGE_QUARANTINED) == 0 &&
            !is_whole(heap, object, run_entry(heap, page), (size_t)(seen >> 1), false))
            return false;
    }
    return true;
}

int harden_validate(struct heap *heap)
{
    for (size_t number = 0; number < heap->spans.n_spans; number++) {
        const struct span *span = &heap->spans.spans[number];
        unsigned sclass = atomic_load_explicit(&span->sclass, memory_order_acquire);
        if (sclass != 0 && !check_span_objects(heap, span, sclass))
            return -EUCLEAN;
    }
    return check_large_objects(heap) ? 0 : -EUCLEAN;
}
