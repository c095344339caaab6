/* SPDX-License-Identifier: Apache-2.0 */
/* window: what faults are loaded through. */
#include "pager/window.h"

#include "base/meta.h"
#include "store/swap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static size_t before; /* what was charged when all windows were idle */

static int set_up(void **state)
{
    before = meta_bytes();
    return windows_init(STORE_CODEC_LZ4);
}

static void each_taker_has_its_own(void **state)
{
    struct window *taken[N_WINDOWS];
    for (unsigned i = 0; i < N_WINDOWS; i++) {
        taken[i] = window_take();
        for (unsigned j = 0; j < i; j++)
            assert_ptr_not_equal(taken[i], taken[j]);
    }
    window_give(taken[3]);
    window_give(taken[1]);
    assert_ptr_equal(window_take(), taken[1]); /* the lowest that is free */
    assert_ptr_equal(window_take(), taken[3]);
    for (unsigned i = 0; i < N_WINDOWS; i++)
        window_give(taken[i]);
}

static size_t held(const struct window *window)
{
    return window->state.used_bytes + window->pages.used_bytes + window->cluster.used_bytes;
}

static void memory_is_held_for_what_was_loaded(void **state)
{
    struct window *window = window_take();
    assert_null(window->loader);
    window_use(window, 1, false);
    assert_non_null(window->loader);
    assert_int_equal(held(window) - window->state.used_bytes, SYS_PAGE_SIZE);
    window_use(window, 1, true); /* through two pages more */
    assert_int_equal(held(window) - window->state.used_bytes, 3 * SYS_PAGE_SIZE);
    window_use(window, WINDOW_PAGES, true);
    assert_int_equal(held(window) - window->state.used_bytes,
                     WINDOW_PAGES * SYS_PAGE_SIZE + SWAP_CLUSTER_BYTES);
    assert_int_equal(meta_bytes() - before, held(window));
    window_give(window);
}

static void what_is_taken_is_not_dropped(void **state)
{
    struct window *first = window_take(), *second = window_take();
    window_use(first, 2, false);
    window_use(second, 2, false);
    memset(first->pages.memory, 7, 2 * SYS_PAGE_SIZE);
    second->reader.n_bytes = 100;
    window_give(second);
    windows_drop();
    assert_int_equal(first->pages.memory[SYS_PAGE_SIZE], 7);
    assert_int_equal(held(second), 0);
    assert_null(second->loader);
    assert_int_equal(second->reader.n_bytes, 0); /* what it read is gone, too */
    assert_int_equal(meta_bytes() - before, held(first));
    window_give(first);
    windows_drop();
    assert_int_equal(meta_bytes(), before);
    assert_ptr_equal(window_take(), first);
    window_use(first, 1, false); /* and works again */
    assert_non_null(first->loader);
    window_give(first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_taker_has_its_own),
        cmocka_unit_test(memory_is_held_for_what_was_loaded),
        cmocka_unit_test(what_is_taken_is_not_dropped),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
