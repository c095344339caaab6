/* SPDX-License-Identifier: Apache-2.0 */
/* window: see window.h. */
#include "pager/window.h"

#include "store/swap.h"

#include <errno.h>
#include <stdatomic.h>

#define ALL_FREE ((1u << N_WINDOWS) - 1)

static struct window windows[N_WINDOWS];
static _Atomic uint32_t expected;     /* enum store_codec: the dearest of what is in the store */
static _Atomic uint32_t free_windows; /* a bit each */

static int init(struct window *window, enum store_codec most)
{
    int error = scratch_open(&window->state, store_loader_bytes(most));
    if (!error)
        error = scratch_open(&window->pages, (size_t)WINDOW_PAGES << SYS_PAGE_SHIFT);
    if (!error)
        error = scratch_open(&window->cluster, SWAP_CLUSTER_BYTES);
    window->reader.buffer = window->cluster.memory;
    return error;
}

int windows_init(enum store_codec most)
{
    int error = 0;
    for (unsigned i = 0; i < N_WINDOWS && !error; i++)
        if (!windows[i].reader.buffer) /* else it is its parent's, in a fork's child */
            error = init(&windows[i], most);
    atomic_store(&free_windows, ALL_FREE);
    return error;
}

void windows_expect(enum store_codec codec)
{
    /* relaxed: who loads a page has taken the lock since it was put into the store */
    if (codec > atomic_load_explicit(&expected, memory_order_relaxed))
        atomic_store_explicit(&expected, codec, memory_order_relaxed);
}

struct window *window_take(void)
{
    uint32_t free = atomic_load_explicit(&free_windows, memory_order_relaxed);
    /* acquire: pairs with the release of who had it last; there is always one: see N_WINDOWS */
    while (free == 0 ||
           !atomic_compare_exchange_weak_explicit(&free_windows, &free, free & (free - 1),
                                                  memory_order_acquire, memory_order_relaxed))
        continue;
    return &windows[__builtin_ctz(free)];
}

void window_give(struct window *window)
{
    /* release: pairs with the acquire of who takes it next */
    atomic_fetch_or_explicit(&free_windows, 1u << (window - windows), memory_order_release);
}

void window_use(struct window *window, uint32_t n_pages, bool from_file)
{
    const enum store_codec codec = atomic_load_explicit(&expected, memory_order_relaxed);
    if (!window->loader || store_packer_codec(window->loader) != codec) {
        scratch_use(&window->state, store_loader_bytes(codec));
        window->loader = store_loader_init(window->state.memory, codec);
    }
    if (n_pages > 1 && from_file)
        scratch_use(&window->cluster, SWAP_CLUSTER_BYTES);
    else if (from_file)
        n_pages = 3;
    scratch_use(&window->pages, (size_t)n_pages << SYS_PAGE_SHIFT);
}

void windows_drop(void)
{
    for (unsigned i = 0; i < N_WINDOWS; i++) {
        uint32_t bit = 1u << i;
        if (!(atomic_fetch_and_explicit(&free_windows, ~bit, memory_order_acquire) & bit))
            continue;
        windows[i].reader.n_bytes = 0;
        windows[i].loader = NULL;
        scratch_drop(&windows[i].state);
        scratch_drop(&windows[i].pages);
        scratch_drop(&windows[i].cluster);
        window_give(&windows[i]);
    }
}
