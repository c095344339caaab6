/* SPDX-License-Identifier: Apache-2.0 */
/* touches: see touches.h. Of `what`: bits 0-27 page, 28-35 flags, 36-57 pid, 63 full. */
#include "base/touches.h"

#include "base/sys.h"

#define FULL ((uint64_t)1 << 63)
#define PAGE_MASK (((uint64_t)1 << 28) - 1)
#define FLAGS_SHIFT 28
#define FLAGS_MASK ((uint64_t)255)
#define PID_SHIFT 36
#define PID_MASK (((uint64_t)1 << 22) - 1)
#define WAIT_NS 200000u        /* for the recorder, which looks some fifty times a second */
#define STUCK_NS 1000000000ull /* who has not filled its slot by then never will */

size_t touches_bytes(uint64_t n_slots)
{
    return sizeof(struct touches) + n_slots * sizeof(struct touches_slot);
}

void touches_init(struct touches *touches, uint64_t n_slots)
{
    touches->n_slots = n_slots;
}

void touches_put(struct touches *touches, const struct touch *touch, _Atomic uint32_t *ended)
{
    uint64_t at = atomic_fetch_add_explicit(&touches->head, 1, memory_order_relaxed);
    struct touches_slot *slot = &touches->slots[at & (touches->n_slots - 1)];

    /* acquire: the recorder's emptying of the slot is over */
    while (at - atomic_load_explicit(&touches->tail, memory_order_acquire) >= touches->n_slots) {
        if (atomic_load_explicit(ended, memory_order_relaxed) != 0)
            return;
        sys_sleep_ns(WAIT_NS);
    }
    atomic_store_explicit(&slot->time_ns, touch->time_ns, memory_order_relaxed);
    atomic_store_explicit(&slot->n_pages, touch->n_pages, memory_order_relaxed);
    atomic_store_explicit(&slot->what,
                          FULL | (touch->page & PAGE_MASK) |
                              (touch->flags & FLAGS_MASK) << FLAGS_SHIFT |
                              (touch->pid & PID_MASK) << PID_SHIFT,
                          memory_order_release); /* with the acquire in touches_take() */
}

/* The slot at the tail is empty while later ones are not: has its owner been killed? */
static bool is_given_up(struct touches *touches, uint64_t at)
{
    if (at == atomic_load_explicit(&touches->head, memory_order_relaxed)) {
        touches->stuck_since_ns = 0;
        return false;
    }
    uint64_t now = sys_now_ns();
    if (touches->stuck_since_ns == 0)
        touches->stuck_since_ns = now;
    if (now - touches->stuck_since_ns < STUCK_NS)
        return false;
    touches->stuck_since_ns = 0;
    atomic_fetch_add_explicit(&touches->n_lost, 1, memory_order_relaxed);
    return true;
}

size_t touches_take(struct touches *touches, struct touch *taken, size_t most)
{
    uint64_t at = atomic_load_explicit(&touches->tail, memory_order_relaxed);
    size_t n = 0;

    for (; n < most; at++) {
        struct touches_slot *slot = &touches->slots[at & (touches->n_slots - 1)];
        uint64_t what = atomic_load_explicit(&slot->what, memory_order_acquire);
        if (what == 0 && !is_given_up(touches, at))
            break;
        if (what != 0) {
            touches->stuck_since_ns = 0;
            taken[n++] = (struct touch){
                .time_ns = atomic_load_explicit(&slot->time_ns, memory_order_relaxed),
                .page = (uint32_t)(what & PAGE_MASK),
                .n_pages = atomic_load_explicit(&slot->n_pages, memory_order_relaxed),
                .flags = (uint32_t)(what >> FLAGS_SHIFT & FLAGS_MASK),
                .pid = (uint32_t)(what >> PID_SHIFT & PID_MASK)};
        }
        atomic_store_explicit(&slot->what, 0, memory_order_relaxed);
        atomic_store_explicit(&touches->tail, at + 1, memory_order_release);
    }
    return n;
}
