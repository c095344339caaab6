/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads use one store as the pager does: loading without the lock while others pack, insert, drop
 * and move batches to the file. Each page's contents follow from its seed, so every load is
 * checked. It goes on until something has been loaded from the file and something was relocated.
 * Best run under ThreadSanitizer as well.
 */
#include "require.h"
#include "store_pages.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define N_PAGES 4000
#define N_LOADERS 2
#define N_CHANGERS 2
#define N_WRITERS 2
#define N_CHANGES 30000
#define FILE_BYTES ((uint64_t)40 * SWAP_CLUSTER_BYTES)
#define POOL_LIMIT ((size_t)2 << 20)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* the owner's lock */
static struct {
    store_ref ref; /* under lock */
    uint64_t seed;
    unsigned n_busy; /* being loaded: neither dropped nor relocated */
} pages[N_PAGES];
static struct store *store;
static atomic_uint n_changing = N_CHANGERS, n_loaded_file, n_relocated;

static enum page_kind kind_of(uint64_t seed)
{
    return PAGE_TINY + seed % (PAGE_KINDS - PAGE_TINY);
}

static void *load_pages(void *argument)
{
    unsigned char *page = aligned_alloc(4096, 4096), *out = aligned_alloc(4096, 4096);
    void *scratch = aligned_alloc(4096, 8192);
    struct store_packer *packer = new_packer(STORE_CODEC_ZSTD);
    uint64_t random = (uintptr_t)argument;
    REQUIRE(page != NULL && out != NULL && scratch != NULL);
    while (n_changing != 0) {
        const uint32_t p = (uint32_t)(next_random(&random) % N_PAGES);
        pthread_mutex_lock(&lock);
        const store_ref ref = pages[p].ref;
        const uint64_t seed = pages[p].seed;
        pages[p].n_busy += ref != 0;
        pthread_mutex_unlock(&lock);
        if (ref == 0)
            continue;
        REQUIRE(store_load(store, packer, ref, p, out, scratch) == 0);
        make_page(page, kind_of(seed), seed);
        REQUIRE(memcmp(page, out, SYS_PAGE_SIZE) == 0);
        n_loaded_file += store_tier(ref) == STORE_FILE;
        pthread_mutex_lock(&lock);
        pages[p].n_busy--;
        pthread_mutex_unlock(&lock);
    }
    free(packer);
    free(scratch);
    free(out);
    free(page);
    return NULL;
}

static void *change_pages(void *argument)
{
    unsigned char *page = aligned_alloc(4096, 4096);
    struct store_packed *packed = malloc(sizeof(*packed));
    struct store_packer *packer = new_packer(STORE_CODEC_LZ4);
    uint64_t random = (uintptr_t)argument;
    REQUIRE(page != NULL && packed != NULL);
    for (unsigned i = 0; i < N_CHANGES || n_loaded_file == 0 || n_relocated == 0; i++) {
        const uint32_t p = (uint32_t)(next_random(&random) % N_PAGES);
        const uint64_t seed = next_random(&random);
        make_page(page, kind_of(seed), seed);
        store_pack(packer, page, packed);
        pthread_mutex_lock(&lock);
        if (pages[p].n_busy == 0) {
            if (pages[p].ref != 0)
                store_drop(store, pages[p].ref);
            pages[p].seed = seed;
            if (store_insert(store, p, packed, POOL_LIMIT, &pages[p].ref) != 0)
                pages[p].ref = 0;
        }
        pthread_mutex_unlock(&lock);
    }
    n_changing--;
    free(packer);
    free(packed);
    free(page);
    return NULL;
}

static bool relocate(void *context, uint32_t p, store_ref old, store_ref new)
{
    if (pages[p].ref != old || pages[p].n_busy != 0)
        return false;
    pages[p].ref = new;
    n_relocated++;
    return true;
}

static void *move_batches(void *argument)
{
    struct store_batch *batch = store_batch_new();
    REQUIRE(batch != NULL);
    while (n_changing != 0) {
        pthread_mutex_lock(&lock);
        const int n = store_collect(store, batch);
        pthread_mutex_unlock(&lock);
        if (n <= 0) {
            usleep(200);
            continue;
        }
        const int result = store_write(store, batch);
        REQUIRE(result == 0);
        pthread_mutex_lock(&lock);
        store_commit(store, batch, result, relocate, NULL);
        pthread_mutex_unlock(&lock);
        struct store_counts counts;
        store_counts(store, &counts);
        REQUIRE(counts.pool_pages <= POOL_LIMIT / SYS_PAGE_SIZE);
    }
    return NULL;
}

int main(void)
{
    static struct swap_space *space;
    space = new_space(FILE_BYTES);
    const struct store_config config = {.pool_max_bytes = 2 * POOL_LIMIT,
                                        .swap = space,
                                        .swap_fd = new_swap_file(FILE_BYTES),
                                        .seal = new_seal(0, NULL)};
    REQUIRE(store_init(&config, &store) == 0);
    pthread_t threads[N_LOADERS + N_CHANGERS + N_WRITERS];
    for (uintptr_t i = 0; i < N_LOADERS + N_CHANGERS + N_WRITERS; i++)
        pthread_create(&threads[i], NULL,
                       i < N_LOADERS                ? load_pages
                       : i < N_LOADERS + N_CHANGERS ? change_pages
                                                    : move_batches,
                       (void *)(i + 1));
    for (unsigned i = 0; i < N_LOADERS + N_CHANGERS + N_WRITERS; i++)
        pthread_join(threads[i], NULL);
    REQUIRE(store_validate(store) == 0);
    printf("%u loads from the file, %u relocated\n", n_loaded_file, n_relocated);
    for (uint32_t p = 0; p < N_PAGES; p++)
        if (pages[p].ref != 0)
            store_drop(store, pages[p].ref);
    REQUIRE(store_validate(store) == 0);
    store_deinit(store);
    REQUIRE(swap_validate(space) == 0 && swap_used_bytes(space) == 0);
    return 0;
}
