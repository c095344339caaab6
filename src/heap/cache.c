/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache: each thread's own freed objects, by class.
 *
 *    magazine of a class, in metadata memory          limit
 *    slots  | NULL | a | b | c |   |   |   |   | ... |  v  |
 *                            ^ top
 *
 * malloc takes the top, free puts one on top; neither takes a lock or touches the object. An empty
 * magazine is refilled to half from the central lists; a full one gives up its older half. A
 * magazine begins with no slots and grows, doubling, each time it runs empty or full, up to the
 * class's bound; when all of them together would hold more than TCACHE_MAX_BYTES, the next other
 * magazine in turn is halved for it. So a thread that uses little has little.
 *
 * What is idle goes back. Each slow path of a thread looks at one class in turn: a magazine that
 * holds as many objects as at the last look, CLASS_COUNT slow paths ago, is emptied and halved.
 * After a trim by another thread all magazines are emptied, at the next slow path: nobody but the
 * owner can change them. A thread that never takes a slow path again keeps what it has,
 * TCACHE_MAX_BYTES at most.
 *
 * States of a thread: none (tcache_self is `nobody`, whose magazines are all empty and full)
 * --first slow path--> own cache --tcache_exit--> none for ever: what it still does then goes to
 * the central lists one by one. A cache given up waits, empty, for the next new thread.
 *
 * Invariants
 *   1. slots[0] == NULL; slots[1 .. top] are distinct live objects of the class.
 *   2. n_bytes = the sum of capacity * size, at most TCACHE_MAX_BYTES.
 *   3. A magazine changes by more than one pop or push only under the lock of its class (objects,
 *      limit, capacity) and, where its slots move, tcache_lock too: fork's snapshot falls between.
 *   4. What a thread frees before it ever took an object of the class goes to the central lists: it
 *      is another thread's, and its neighbours, which may share its cache line, most likely too.
 *      Only the first one: then there is a magazine, for all.
 *
 * Locks: tcache_lock for the list of caches, unused blocks of slots, and the place of all slots.
 * Order: tcache_lock, class, span table. Can fail: no metadata memory; then the thread does
 * with what it has, at worst without a cache.
 */
#include "heap/cache.h"

#include "heap/direct.h"

#include <string.h>

#define N_LEVELS 8u
#define LEVEL_WORDS(level)                                                \
    ((size_t)4 << (level)) /* 8 words at level 1; one of them is slots[0] \
                            */

#define WISHES_A_THEFT 16u /* a magazine grows at others' cost at every so manieth wish */

static void *no_object;
/* Never written: nothing can be pushed to it or popped from it. */
static const struct tcache nobody = {
    .magazines = {[0 ... RUN_N_CODES - 1] = {.top = &no_object, .limit = &no_object}},
};

__thread struct tcache *tcache_self = (struct tcache *)&nobody;
static __thread bool exited;

struct lock tcache_lock;
struct tcache *tcache_all;
static _Atomic unsigned trim_epoch;       /* rises with each trim */
static void **unused_slots[N_LEVELS + 1]; /* under tcache_lock; linked through their first word */

static bool is_nobody(const struct tcache *cache)
{
    return cache == &nobody;
}

static void **slots_of(struct tcache *cache, unsigned sclass)
{
    return cache->magazines[sclass].limit - cache->capacity[sclass];
}

static void set_top(struct tcache *cache, unsigned sclass, void **top)
{
    atomic_store_explicit(&cache->magazines[sclass].top, top, memory_order_release);
}

/* A cache for this thread; the empty one when it may have none or there is no memory for it. */
static struct tcache *own(void)
{
    if (!is_nobody(tcache_self) || exited)
        return tcache_self;

    lock_take(&tcache_lock);
    struct tcache *cache = tcache_all;
    while (cache != NULL && cache->used)
        cache = cache->next;
    if (cache == NULL && (cache = metadata_alloc(&heap_process, sizeof(*cache))) != NULL) {
        *cache = nobody;
        cache->number = tcache_all == NULL ? 1 : tcache_all->number % UINT8_MAX + 1;
        cache->next = tcache_all;
        tcache_all = cache;
    }
    if (cache != NULL) {
        cache->used = true;
        cache->epoch = atomic_load_explicit(&trim_epoch, memory_order_relaxed);
        tcache_self = cache;
    }
    lock_release(&tcache_lock);
    return tcache_self;
}

static void **take_slots(unsigned level) /* tcache_lock held */
{
    void **slots = unused_slots[level];
    if (slots == NULL)
        return metadata_alloc(&heap_process, LEVEL_WORDS(level) * sizeof(void *));
    unused_slots[level] = slots[0];
    slots[0] = NULL;
    return slots;
}

static void give_slots(void **slots, unsigned level) /* tcache_lock held */
{
    slots[0] = unused_slots[level];
    unused_slots[level] = slots;
}

/* Sets a magazine's capacity, which its slots have room for and which holds its n objects. */
static void set_capacity(struct tcache *cache, unsigned sclass, void **slots, size_t n,
                         size_t capacity)
{
    cache->n_bytes -= cache->capacity[sclass] * class_size(sclass);
    cache->n_bytes += capacity * class_size(sclass);
    cache->capacity[sclass] = (uint16_t)capacity;
    cache->magazines[sclass].limit = slots + capacity;
    set_top(cache, sclass, slots + n);
}

/* Moves the magazine to slots that have room for `capacity` objects. */
static bool move_slots(struct tcache *cache, unsigned sclass, size_t capacity)
{
    unsigned old_level = cache->level[sclass], level = 1;
    while (LEVEL_WORDS(level) - 1 < capacity)
        level++;

    lock_take(&tcache_lock);
    void **slots = take_slots(level);
    if (slots != NULL) {
        size_t n = tcache_count(cache, sclass);
        void **old = slots_of(cache, sclass);
        memcpy(slots + 1, old + 1, n * sizeof(void *));
        set_capacity(cache, sclass, slots, n, capacity);
        cache->level[sclass] = (uint8_t)level;
        if (old_level != 0)
            give_slots(old, old_level);
    }
    lock_release(&tcache_lock);
    return slots != NULL;
}

/* Gives the n oldest objects of a magazine back; true when pages went back to the source. */
static bool flush(struct tcache *cache, unsigned sclass, size_t n, size_t capacity)
{
    void **slots = slots_of(cache, sclass);
    size_t left = tcache_count(cache, sclass) - n;

    central_lock(&heap_process, sclass);
    bool released = central_give(&heap_process, sclass, slots + 1, n);
    memmove(slots + 1, slots + 1 + n, left * sizeof(void *));
    set_capacity(cache, sclass, slots, left, capacity);
    central_unlock(&heap_process, sclass);
    return released;
}

/* Halves the next other magazine that has room to give. */
static bool take_room(struct tcache *cache, unsigned keep)
{
    for (unsigned i = 0; i < CLASS_COUNT; i++) {
        unsigned sclass = cache->hand = cache->hand % CLASS_COUNT + 1;
        size_t capacity = cache->capacity[sclass] / 2, n = tcache_count(cache, sclass);
        if (sclass == keep || capacity == 0)
            continue;
        flush(cache, sclass, n > capacity ? n - capacity : 0, capacity);
        return true;
    }
    return false;
}

/* The large classes are many, and few programs use one of them much. */
static size_t first_capacity(unsigned sclass)
{
    size_t size = class_size(sclass);
    return size <= 1024 ? 7 : size <= 8192 ? 3 : 1;
}

/* Doubles a magazine, if it may be larger and there is memory. */
static bool grow(struct tcache *cache, unsigned sclass)
{
    size_t capacity = cache->capacity[sclass], most = class_shapes[sclass].max_cached;
    size_t wanted = capacity == 0 ? first_capacity(sclass) : capacity * 2 + 1;

    if (wanted > most)
        wanted = most;
    if (wanted <= capacity || is_nobody(cache))
        return false;
    if (capacity > 0 &&
        cache->n_bytes + (wanted - capacity) * class_size(sclass) > TCACHE_MAX_BYTES &&
        ++cache->n_wishes % WISHES_A_THEFT != 0)
        return false;
    while (cache->n_bytes + (wanted - capacity) * class_size(sclass) > TCACHE_MAX_BYTES)
        if (!take_room(cache, sclass))
            return false;
    if (cache->level[sclass] == 0 || wanted >= LEVEL_WORDS(cache->level[sclass]))
        return move_slots(cache, sclass, wanted);
    central_lock(&heap_process, sclass);
    set_capacity(cache, sclass, slots_of(cache, sclass), tcache_count(cache, sclass), wanted);
    central_unlock(&heap_process, sclass);
    return true;
}

static bool empty(struct tcache *cache)
{
    bool released = false;
    for (unsigned sclass = 1; sclass <= CLASS_COUNT; sclass++)
        if (cache->level[sclass] != 0)
            released |= flush(cache, sclass, tcache_count(cache, sclass), cache->capacity[sclass]);
    return released;
}

/* At a slow path for class `keep`: gives up what this thread does not use. */
static void shed(struct tcache *cache, unsigned keep)
{
    /* relaxed: nothing is read by it; a trim that is seen later is followed later */
    unsigned epoch = atomic_load_explicit(&trim_epoch, memory_order_relaxed);
    if (is_nobody(cache))
        return;
    if (cache->epoch != epoch) {
        cache->epoch = epoch;
        empty(cache);
        return;
    }
    unsigned sclass = cache->look = cache->look % CLASS_COUNT + 1;
    size_t n = tcache_count(cache, sclass);
    if (n > 0 && n == cache->seen[sclass] && sclass != keep) {
        flush(cache, sclass, n, cache->capacity[sclass] / 2);
        n = 0;
    }
    cache->seen[sclass] = (uint16_t)n;
}

void *tcache_refill(unsigned sclass)
{
    struct tcache *cache = own();

    shed(cache, sclass);

    grow(cache, sclass);
    size_t want = (cache->capacity[sclass] + 1u) / 2;
    if (want == 0)
        return direct_take(&heap_process, sclass);

    void **slots = slots_of(cache, sclass);
    central_lock(&heap_process, sclass);
    size_t n = central_take(&heap_process, sclass, cache->number, slots + 1 + want, want);
    if (n < want) /* they lie at the end of the room */
        memmove(slots + 1, slots + 1 + want - n, n * sizeof(void *));
    if (n > 0)
        set_top(cache, sclass, slots + n);
    central_unlock(&heap_process, sclass);
    return tcache_pop(sclass);
}

void tcache_overflow(unsigned sclass, void *object)
{
    struct tcache *cache = own();
    void **top = atomic_load_explicit(&cache->magazines[sclass].top, memory_order_relaxed);

    if (*top == object)
        heap_die(&heap_process, "double free", object);
    bool is_foreign = cache->level[sclass] == 0;
    shed(cache, sclass);
    if (!grow(cache, sclass) || is_foreign) {
        size_t n = tcache_count(cache, sclass);
        if (n == 0) { /* no cache at all, or invariant 4 */
            central_lock(&heap_process, sclass);
            central_give(&heap_process, sclass, &object, 1);
            central_unlock(&heap_process, sclass);
            return;
        }
        flush(cache, sclass, (n + 1) / 2, cache->capacity[sclass]);
    }
    tcache_push(sclass, object);
}

bool tcache_flush(void)
{
    unsigned epoch = atomic_fetch_add_explicit(&trim_epoch, 1, memory_order_relaxed) + 1;
    if (!is_nobody(tcache_self))
        tcache_self->epoch = epoch;
    return !is_nobody(tcache_self) && empty(tcache_self);
}

/* An empty cache becomes ready for the next thread: its slots go back, but for nothing lost. */
static void retire(struct tcache *cache)
{
    lock_take(&tcache_lock);
    for (unsigned sclass = 1; sclass <= CLASS_COUNT; sclass++) {
        if (cache->level[sclass] == 0)
            continue;
        give_slots(slots_of(cache, sclass), cache->level[sclass]);
        cache->level[sclass] = 0;
        set_capacity(cache, sclass, &no_object, 0, 0);
    }
    cache->used = false;
    lock_release(&tcache_lock);
}

void tcache_exit(void)
{
    struct tcache *cache = tcache_self;

    exited = true;
    if (is_nobody(cache))
        return;
    empty(cache);
    tcache_self = (struct tcache *)&nobody;
    retire(cache);
}

void tcache_adopt(void)
{
    for (struct tcache *cache = tcache_all; cache != NULL; cache = cache->next) {
        if (!cache->used || cache == tcache_self)
            continue;
        empty(cache);
        retire(cache);
    }
}
