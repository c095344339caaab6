/* SPDX-License-Identifier: Apache-2.0 */
/* batch: what lies side by side in the file. */
#include "store/inside.h"
#include "store_pages.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <unistd.h>

#include <cmocka.h> /* wants the ones above */

#define N_PAGES 1024u
#define FILE_BYTES ((uint64_t)64 * SWAP_CLUSTER_BYTES)

static struct store *store;
static store_ref refs[N_PAGES];

static bool relocate(void *context, uint32_t page, store_ref old, store_ref new)
{
    assert_true(page < N_PAGES && refs[page] == old);
    refs[page] = new;
    return true;
}

static void insert(struct store_packer *packer, const unsigned char *contents, uint32_t page)
{
    static struct store_packed packed;
    store_pack(packer, contents, &packed);
    assert_int_equal(store_insert(store, page, &packed, SIZE_MAX, &refs[page]), 0);
}

static int set_up(void **state)
{
    const int fd = new_swap_file(FILE_BYTES);
    const struct store_config config = {.pool_max_bytes = 64 << 20,
                                        .swap = new_space(FILE_BYTES),
                                        .swap_fd = fd,
                                        .seal = new_seal(0, NULL)};
    assert_int_equal(store_init(&config, &store), 0);
    *state = (void *)(intptr_t)fd;
    return 0;
}

static int tear_down(void **state)
{
    assert_int_equal(store_validate(store), 0);
    store_deinit(store);
    close((int)(intptr_t)*state);
    return 0;
}

/* Pages of different sizes lie in different blocks of the pool, neighbours together in the file. */
static void neighbours_lie_together(void **state)
{
    static unsigned char contents[SYS_PAGE_SIZE];
    struct store_packer *packer = new_packer(STORE_CODEC_LZ4);
    struct store_batch *batch = store_batch_new();
    assert_non_null(batch);
    for (uint32_t page = 0; page < N_PAGES / 2; page++) {
        make_page(contents, PAGE_HALF, page); /* of six sizes, in turn */
        insert(packer, contents, page);
    }
    while (store_collect(store, batch) > 0) {
        assert_int_equal(store_write(store, batch), 0);
        assert_true(store_commit(store, batch, 0, relocate, NULL) > 0);
    }
    unsigned n_together = 0;
    for (uint32_t page = 1; page < N_PAGES / 2; page++)
        n_together += store_are_together(refs[page - 1], refs[page]);
    assert_true(n_together > N_PAGES / 6); /* by blocks, next to none would be */
    free(packer);
}

/* The smallest objects: more of them than a batch has places for. */
static void a_batch_is_full_of_the_smallest(void **state)
{
    static unsigned char contents[SYS_PAGE_SIZE];
    struct store_packer *packer = new_packer(STORE_CODEC_LZ4);
    struct store_batch *batch = store_batch_new();
    assert_non_null(batch);
    const struct scratch *scratch = store_batch_scratch(batch), before = *scratch;
    for (uint32_t page = 0; page < N_PAGES; page++) {
        contents[page % SYS_PAGE_SIZE] = 1;
        contents[SYS_PAGE_SIZE - 1] = 2;
        insert(packer, contents, page);
        contents[page % SYS_PAGE_SIZE] = 0;
    }
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(store_collect(store, batch), BATCH_ITEMS);
        assert_ptr_equal(scratch->memory, before.memory);
        assert_int_equal(scratch->n_bytes, before.n_bytes);
        assert_int_equal(store_write(store, batch), 0);
        assert_int_equal(store_commit(store, batch, 0, relocate, NULL), BATCH_ITEMS);
    }
    assert_int_equal(store_collect(store, batch), 0);
    free(packer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(neighbours_lie_together, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_batch_is_full_of_the_smallest, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
