/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_bench: what the store costs a page, by codec, in µs.
 *
 * Pages of half random bytes, half small numbers. "insert" into a pool whose memory is new (the
 * kernel's page faults included) and into one that has been filled before. "drop" with blocks given
 * back to the kernel and one page in ten only. For the file: each of collect, write and commit by
 * page, then loading at random.
 *
 *   cc -O2 -D_GNU_SOURCE -Isrc -Iinclude -Itests bench/store/store_bench.c src/store/[a-z]*.c \
 *     src/base/{sys,lock,log,meta,scratch}.c -llz4 -lzstd -lsodium -o /tmp/store_bench
 *   QUIRE_TEST_DIRECTORY=/var/tmp /tmp/store_bench
 */
#include "store_pages.h"

#include <unistd.h>

#define N_PAGES 20000
#define FILE_BYTES ((uint64_t)1 << 30)
#define POOL_BYTES ((size_t)1 << 30)

static unsigned char pages[N_PAGES][SYS_PAGE_SIZE];
static struct store_packed packed[N_PAGES];
static store_ref refs[N_PAGES];
static struct store *store;
static struct store_packer *packer;
static _Alignas(4096) unsigned char out[SYS_PAGE_SIZE], scratch[2 * SYS_PAGE_SIZE];

static double per_page(uint64_t since_ns, size_t n)
{
    return (double)(sys_now_ns() - since_ns) / 1000 / (double)n;
}

static void must(bool true_or_stop)
{
    if (!true_or_stop)
        abort();
}

static void make_half_random(unsigned char *page, uint64_t seed)
{
    make_page(page, PAGE_RANDOM, seed);
    for (size_t i = SYS_PAGE_SIZE / 2; i < SYS_PAGE_SIZE; i += 8) {
        const uint64_t small = i * seed % 251;
        memcpy(page + i, &small, 8);
    }
}

static bool relocate(void *context, uint32_t page, store_ref old, store_ref new)
{
    refs[page] = new;
    return true;
}

static double insert_all(void)
{
    const uint64_t start = sys_now_ns();
    for (uint32_t p = 0; p < N_PAGES; p++)
        must(store_insert(store, p, &packed[p], POOL_BYTES, &refs[p]) == 0);
    return per_page(start, N_PAGES);
}

static double load_all(uint32_t step, uint32_t n)
{
    const uint64_t start = sys_now_ns();
    for (uint32_t i = 0; i < n; i++)
        must(store_load(store, packer, refs[i * step % N_PAGES], i * step % N_PAGES, out,
                        scratch) == 0);
    return per_page(start, n);
}

static double drop_all(void)
{
    const uint64_t start = sys_now_ns();
    for (uint32_t p = 0; p < N_PAGES; p++)
        store_drop(store, refs[p]);
    return per_page(start, N_PAGES);
}

/*
 * Drops one page in ten and stores as many: blocks stay, slots change hands. What is stored is the
 * same each time, since the pager has a page in its cache that it has just packed.
 */
static void replace_some(double *drop, double *insert)
{
    uint64_t start = sys_now_ns();
    for (uint32_t p = 0; p < N_PAGES; p += 10)
        store_drop(store, refs[p]);
    *drop = per_page(start, N_PAGES / 10);
    start = sys_now_ns();
    for (uint32_t p = 0; p < N_PAGES; p += 10)
        must(store_insert(store, p, &packed[0], POOL_BYTES, &refs[p]) == 0);
    *insert = per_page(start, N_PAGES / 10);
    for (uint32_t p = 0; p < N_PAGES; p += 10) { /* and now the right ones */
        store_drop(store, refs[p]);
        must(store_insert(store, p, &packed[p], POOL_BYTES, &refs[p]) == 0);
    }
}

static void move_all(struct store_batch *batch, double us[3])
{
    for (;;) {
        const uint64_t t0 = sys_now_ns();
        if (store_collect(store, batch) <= 0)
            break;
        const uint64_t t1 = sys_now_ns();
        const int result = store_write(store, batch);
        const uint64_t t2 = sys_now_ns();
        store_commit(store, batch, result, relocate, NULL);
        us[0] += (double)(t1 - t0) / 1000 / N_PAGES;
        us[1] += (double)(t2 - t1) / 1000 / N_PAGES;
        us[2] += per_page(t2, N_PAGES);
    }
}

static void run(const char *name, enum store_codec codec, struct swap_space *space, int fd,
                const struct seal *seal)
{
    const struct store_config config = {
        .pool_max_bytes = POOL_BYTES, .swap = space, .swap_fd = fd, .swap_owner = 1, .seal = seal};
    packer = new_packer(codec);
    must(store_init(&config, &store) == 0);
    const uint64_t start = sys_now_ns();
    for (uint32_t p = 0; p < N_PAGES; p++)
        store_pack(packer, pages[p], &packed[p]);
    const double pack = per_page(start, N_PAGES), insert_new = insert_all();
    struct store_counts counts;
    store_counts(store, &counts);
    double drop_one, insert_one, us[3] = {0};
    replace_some(&drop_one, &insert_one);
    const double load_ram = load_all(7919, N_PAGES);
    move_all(store_batch_new(), us);
    const double load_file = load_all(7919, 2000), drop_file = drop_all();
    insert_all();
    const double drop_ram = drop_all();
    printf("%s: a page becomes %zu bytes; the pool holds %.2f %% more than that\n", name,
           counts.ram_bytes / N_PAGES,
           100.0 * (double)(counts.pool_pages * SYS_PAGE_SIZE) / (double)counts.ram_bytes - 100);
    printf("  pack %.2f  insert %.2f (new memory), %.3f (reused)  load %.2f\n", pack, insert_new,
           insert_one, load_ram);
    printf("  drop %.3f (one in ten), %.3f (all, memory given back)\n", drop_one, drop_ram);
    printf("  file: collect %.3f  write %.2f  commit %.3f  load %.1f  drop %.3f\n", us[0], us[1],
           us[2], load_file, drop_file);
    store_deinit(store);
}

int main(void)
{
    struct swap_space *space = new_space(FILE_BYTES);
    const int fd = new_swap_file(FILE_BYTES);
    for (uint32_t p = 0; p < N_PAGES; p++)
        make_half_random(pages[p], p + 1);
    for (enum seal_cipher cipher = SEAL_AES_256_GCM; cipher <= SEAL_CHACHA20_POLY1305; cipher++) {
        const struct seal *seal = new_seal(cipher, NULL);
        printf("%s\n", seal_cipher_name(cipher));
        run("lz4", STORE_CODEC_LZ4, space, fd, seal);
        run("zstd", STORE_CODEC_ZSTD, space, fd, seal);
    }
    return 0;
}
