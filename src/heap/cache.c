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
 * There are two for each class: one for objects of the thread's own spans (central.c), which
 * malloc takes from, and one for those of others' spans, which is emptied as a whole: each owner
 * gets its own back with one lock. So a batch is as large as the thread frees many, and the lines
 * and pages that these objects share with their neighbours are left to their owner.
 *
 * What is idle goes back. Every VISITS_A_LOOK-th slow path of a thread looks at one class in turn:
 * a magazine that holds as many objects as at the last look is emptied and halved. After a trim by
 * another thread all magazines are emptied, at the next slow path: nobody but the owner can change
 * them. A thread that never takes a slow path again keeps what it has, TCACHE_MAX_BYTES at most.
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
 *   4. An object that malloc gets from here lies in a span that was the thread's own when the
 *      object was freed or handed out.
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

#define VISITS_A_LOOK 4u   /* slow paths */
#define WISHES_A_THEFT 16u /* a magazine grows at others' cost at every so manieth wish */

static void *no_object;
/* Never written: nothing can be pushed to it or popped from it. */
static const struct tcache nobody = {
    .magazines = {[0 ... TCACHE_N_BINS - 1] = {.top = &no_object, .limit = &no_object}},
    .owner = OWNER_NEVER,
};

__thread struct tcache *tcache_self = (struct tcache *)&nobody;
static __thread bool exited;

struct lock tcache_lock;
struct tcache *tcache_all;
static _Atomic unsigned trim_epoch;       /* rises with each trim */
static unsigned long n_retired;           /* caches given up so far; under tcache_lock */
static void **unused_slots[N_LEVELS + 1]; /* under tcache_lock; linked through their first word */

static bool is_nobody(const struct tcache *cache)
{
    return cache == &nobody;
}

static void **slots_of(struct tcache *cache, unsigned bin)
{
    return cache->magazines[bin].limit - cache->capacity[bin];
}

static void set_top(struct tcache *cache, unsigned bin, void **top)
{
    atomic_store_explicit(&cache->magazines[bin].top, top, memory_order_release);
}

static struct tcache *make_cache(void) /* tcache_lock held */
{
    struct tcache *cache = metadata_alloc(&heap_process, sizeof(*cache));
    if (cache == NULL)
        return NULL;
    for (unsigned bin = 0; bin < TCACHE_N_BINS; bin++)
        cache->magazines[bin] = nobody.magazines[bin];
    cache->owner = central_own();
    cache->next = tcache_all;
    tcache_all = cache;
    return cache;
}

/* The one that was given up last: its spans are the warmest. */
static struct tcache *unused_cache(void) /* tcache_lock held */
{
    struct tcache *best = NULL;
    for (struct tcache *cache = tcache_all; cache != NULL; cache = cache->next)
        if (!cache->used && (best == NULL || cache->retired_at > best->retired_at))
            best = cache;
    return best;
}

/* A cache for this thread; the empty one when it may have none or there is no memory for it. */
static struct tcache *own(void)
{
    if (!is_nobody(tcache_self) || exited)
        return tcache_self;

    lock_take(&tcache_lock);
    struct tcache *cache = unused_cache();
    if (cache == NULL)
        cache = make_cache();
    if (cache != NULL) {
        cache->used = true;
        cache->epoch = atomic_load_explicit(&trim_epoch, memory_order_relaxed);
        tcache_self = cache;
    }
    lock_release(&tcache_lock);
    if (cache != NULL)
        central_set_idle(cache->owner, false);
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

static size_t bin_size(unsigned bin)
{
    return class_size(tcache_class(bin));
}

/* Of heap_counts, for the capacity; objects of the bin are under it or under their spans' owner's.
 */
static struct central *lock_bin(const struct tcache *cache, unsigned bin)
{
    return central_lock(&heap_process, cache->owner, tcache_class(bin));
}

/* Sets a magazine's capacity, which its slots have room for and which holds its n objects. */
static void set_capacity(struct tcache *cache, unsigned bin, void **slots, size_t n,
                         size_t capacity)
{
    cache->n_bytes -= cache->capacity[bin] * bin_size(bin);
    cache->n_bytes += capacity * bin_size(bin);
    cache->capacity[bin] = (uint16_t)capacity;
    cache->magazines[bin].limit = slots + capacity;
    set_top(cache, bin, slots + n);
}

/* Moves the magazine to slots that have room for `capacity` objects. */
static bool move_slots(struct tcache *cache, unsigned bin, size_t capacity)
{
    unsigned old_level = cache->level[bin], level = 1;
    while (LEVEL_WORDS(level) - 1 < capacity)
        level++;

    lock_take(&tcache_lock);
    void **slots = take_slots(level);
    if (slots != NULL) {
        size_t n = tcache_count(cache, bin);
        void **old = slots_of(cache, bin);
        memcpy(slots + 1, old + 1, n * sizeof(void *));
        set_capacity(cache, bin, slots, n, capacity);
        cache->level[bin] = (uint8_t)level;
        if (old_level != 0)
            give_slots(old, old_level);
    }
    lock_release(&tcache_lock);
    return slots != NULL;
}

/* Of the n oldest objects of a magazine those of the owner's spans; how many are left. Locked. */
static size_t give_some(struct tcache *cache, unsigned owner, unsigned bin, size_t n,
                        bool *released)
{
    void **slots = slots_of(cache, bin);
    size_t count = tcache_count(cache, bin);
    size_t left = central_give(&heap_process, owner, tcache_class(bin), slots + 1, n, released);

    memmove(slots + 1 + left, slots + 1 + n, (count - n) * sizeof(void *));
    set_top(cache, bin, slots + count - (n - left));
    return left;
}

/* The n oldest go to whoever owns their spans. */
static bool give_all(struct tcache *cache, unsigned bin, size_t n)
{
    bool released = false;
    unsigned owner = cache->owner, sclass;

    while (n > 0) {
        const void *object = object_address(slots_of(cache, bin)[1]);
        struct central *central = central_lock_holder(&heap_process, object, tcache_class(bin),
                                                      &owner, &sclass);
        n = give_some(cache, owner, bin, n, &released);
        central_unlock(central);
    }
    return released;
}

/* Gives the n oldest objects of a magazine back; true when pages went back to the source. */
static bool flush(struct tcache *cache, unsigned bin, size_t n, size_t capacity)
{
    bool released = give_all(cache, bin, n);

    if (capacity != cache->capacity[bin]) {
        struct central *central = lock_bin(cache, bin);
        set_capacity(cache, bin, slots_of(cache, bin), tcache_count(cache, bin), capacity);
        central_unlock(central);
    }
    return released;
}

/* Halves the next other magazine that has room to give. */
static bool take_room(struct tcache *cache, unsigned keep)
{
    for (unsigned i = 0; i < TCACHE_N_BINS; i++) {
        unsigned bin = cache->hand = (cache->hand + 1) % TCACHE_N_BINS;
        size_t capacity = cache->capacity[bin] / 2, n = tcache_count(cache, bin);
        if (bin == keep || capacity == 0)
            continue;
        flush(cache, bin, n > capacity ? n - capacity : 0, capacity);
        return true;
    }
    return false;
}

/* The large classes are many, and few programs use one of them much. */
static size_t first_capacity(unsigned bin)
{
    size_t size = bin_size(bin);
    return size <= 1024 ? 7 : size <= 8192 ? 3 : 1;
}

/* Doubles a magazine, if it may be larger and there is memory. */
static bool grow(struct tcache *cache, unsigned bin)
{
    size_t capacity = cache->capacity[bin], most = class_shapes[tcache_class(bin)].max_cached;
    if (capacity == most || is_nobody(cache))
        return false;
    size_t wanted = capacity == 0 ? first_capacity(bin) : capacity * 2 + 1;

    if (wanted > most)
        wanted = most;
    size_t more_bytes = (wanted - capacity) * bin_size(bin);
    if (capacity > 0 && cache->n_bytes + more_bytes > TCACHE_MAX_BYTES &&
        ++cache->n_wishes % WISHES_A_THEFT != 0)
        return false;
    while (cache->n_bytes + more_bytes > TCACHE_MAX_BYTES)
        if (!take_room(cache, bin))
            return false;
    if (cache->level[bin] == 0 || wanted >= LEVEL_WORDS(cache->level[bin]))
        return move_slots(cache, bin, wanted);
    struct central *central = lock_bin(cache, bin);
    set_capacity(cache, bin, slots_of(cache, bin), tcache_count(cache, bin), wanted);
    central_unlock(central);
    return true;
}

static bool empty(struct tcache *cache)
{
    bool released = false;
    for (unsigned bin = 0; bin < TCACHE_N_BINS; bin++)
        if (cache->level[bin] != 0)
            released |= give_all(cache, bin, tcache_count(cache, bin));
    return released;
}

static void shed_idle(struct tcache *cache, unsigned bin, unsigned keep)
{
    size_t n = tcache_count(cache, bin);
    if (n > 0 && n == cache->seen[bin] && bin != keep) {
        flush(cache, bin, n, cache->capacity[bin] / 2);
        n = 0;
    }
    cache->seen[bin] = (uint16_t)n;
}

/* At a slow path for bin `keep`: gives up what this thread does not use. */
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
    if (++cache->n_visits % VISITS_A_LOOK != 0)
        return;
    unsigned sclass = cache->look = cache->look % CLASS_COUNT + 1;
    shed_idle(cache, sclass, keep);
    shed_idle(cache, sclass + TCACHE_OTHERS, keep);
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
    struct central *central = central_lock(&heap_process, cache->owner, sclass);
    size_t n = central_take(&heap_process, cache->owner, sclass, slots + 1 + want, want);
    if (n < want) /* they lie at the end of the room */
        memmove(slots + 1, slots + 1 + want - n, n * sizeof(void *));
    if (n > 0)
        set_top(cache, sclass, slots + n);
    central_unlock(central);
    return tcache_pop(sclass);
}

void tcache_overflow(unsigned bin, void *object)
{
    struct tcache *cache = own();
    void **top = atomic_load_explicit(&cache->magazines[bin].top, memory_order_relaxed);

    if (*top == object)
        heap_die(&heap_process, "double free", object);
    shed(cache, bin);
    if (!grow(cache, bin)) {
        size_t n = tcache_count(cache, bin);
        if (n == 0) { /* no cache at all */
            direct_free(&heap_process, object);
            return;
        }
        give_all(cache, bin, bin < TCACHE_OTHERS ? (n + 1) / 2 : n);
    }
    tcache_push(bin, object);
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
    central_set_idle(cache->owner, true);
    lock_take(&tcache_lock);
    for (unsigned bin = 0; bin < TCACHE_N_BINS; bin++) {
        if (cache->level[bin] == 0)
            continue;
        give_slots(slots_of(cache, bin), cache->level[bin]);
        cache->level[bin] = 0;
        set_capacity(cache, bin, &no_object, 0, 0);
    }
    cache->used = false;
    cache->retired_at = ++n_retired;
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
