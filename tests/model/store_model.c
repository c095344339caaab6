/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store against an oracle that knows what each page was made of.
 *
 * Pages are packed, inserted, loaded, renamed, moved within the pool and dropped at random, with up
 * to three batches in flight between any of these, in a pool and a file so small that both fill up
 * and the file has to be tidied. From time to time the process forks: the child must find all of
 * its pages, go on by itself, and leave the parent's alone. In the end the same pages have a file
 * that never fills up: what is held of it has to follow what lives in it. QUIRE_TEST_SEED replays a
 * run.
 */
#include "store_pages.h"

#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#define N_PAGES 3000
#define N_STEPS 60000
#define N_BATCHES 3
#define FILE_BYTES ((uint64_t)24 * SWAP_CLUSTER_BYTES)
#define POOL_LIMIT ((size_t)1200 << 10)
#define LARGE_FILE_BYTES ((uint64_t)1024 * SWAP_CLUSTER_BYTES)
#define LARGE_FILE_STEPS 20000
#define FORK_EVERY 6000
#define CHILD_STEPS 4000
#define CHILD_OWNER 9
#define PARENT_OWNER 4

static uint64_t seed, random_state;
static unsigned step;
static bool some_are_busy = true; /* while a batch is committed */

#define REQUIRE(condition)                                                                        \
    do {                                                                                          \
        if (!(condition)) {                                                                       \
            fprintf(stderr, "%s:%d: %s: not so in step %u of process %d; QUIRE_TEST_SEED=%llu\n", \
                    __FILE__, __LINE__, #condition, step, getpid(), (unsigned long long)seed);    \
            abort();                                                                              \
        }                                                                                         \
    } while (0)

static struct {
    store_ref ref;
    uint64_t seed;
    enum page_kind kind;
    bool busy; /* being loaded, says the oracle: commit must not relocate it */
} pages[N_PAGES];

static struct {
    struct store_batch *batch;
    int result;
    enum { FREE, COLLECTED, WRITTEN } state;
} batches[N_BATCHES];

static struct store *store;
static struct store_packer *packers[3];
static struct swap_space *space;
static int swap_fd;
static struct {
    unsigned loaded_ram, loaded_file, relocated, gathered, full_pool, full_file, renamed, forks;
    unsigned compacted, stayed, ahead;
} seen;
static unsigned char page[SYS_PAGE_SIZE], out[SYS_PAGE_SIZE];
static _Alignas(4096) unsigned char scratch[2 * SYS_PAGE_SIZE];

static uint32_t draw(uint32_t below)
{
    return (uint32_t)(next_random(&random_state) >> 32) % below;
}

static void forget(uint32_t p)
{
    store_drop(store, pages[p].ref);
    pages[p].ref = 0;
}

static void insert(uint32_t p)
{
    static struct store_packed packed;
    if (pages[p].ref != 0)
        forget(p);
    pages[p].seed = next_random(&random_state);
    pages[p].kind = draw(PAGE_KINDS);
    make_page(page, pages[p].kind, pages[p].seed);
    store_pack(packers[draw(3)], page, &packed);
    const int error = store_insert(store, p, &packed, POOL_LIMIT, &pages[p].ref);
    REQUIRE(error == 0 || error == -ENOSPC);
    if (error != 0) {
        seen.full_pool++;
        pages[p].ref = 0;
    }
}

static void load(uint32_t p)
{
    if (pages[p].ref == 0)
        return;
    make_page(page, pages[p].kind, pages[p].seed);
    memset(out, 0xee, sizeof(out));
    REQUIRE(store_load(store, packers[STORE_CODEC_ZSTD], pages[p].ref, p, out, scratch) == 0);
    REQUIRE(memcmp(page, out, SYS_PAGE_SIZE) == 0);
    seen.loaded_ram += store_tier(pages[p].ref) == STORE_RAM;
    seen.loaded_file += store_tier(pages[p].ref) == STORE_FILE;
}

/* As a window does it: in the order of references, those of one cluster through one reading. */
static void load_in_a_row(uint32_t first)
{
    static _Alignas(4096) unsigned char buffer[SWAP_CLUSTER_BYTES];
    struct store_reader reader = {.buffer = buffer};
    for (uint32_t p = first; p < N_PAGES && p < first + 64; p++) {
        if (pages[p].ref == 0)
            continue;
        if (p > first && draw(2) && store_are_together(pages[p].ref, pages[p - 1].ref)) {
            const bool in_order = pages[p - 1].ref < pages[p].ref;
            store_read_ahead(store, pages[in_order ? p - 1 : p].ref,
                             pages[in_order ? p : p - 1].ref, &reader);
            seen.ahead++;
        }
        make_page(page, pages[p].kind, pages[p].seed);
        REQUIRE(store_load_through(store, packers[STORE_CODEC_ZSTD], pages[p].ref, p, out,
                                   &reader) == 0);
        REQUIRE(memcmp(page, out, SYS_PAGE_SIZE) == 0);
    }
}

static void rename_page(uint32_t from, uint32_t to)
{
    if (pages[from].ref == 0 || from == to)
        return;
    if (pages[to].ref != 0)
        forget(to);
    pages[to] = pages[from];
    pages[to].ref = store_rename(store, pages[from].ref, from, to);
    pages[from].ref = 0;
    seen.renamed++;
}

static bool relocate(void *context, uint32_t p, store_ref old, store_ref new)
{
    REQUIRE(context == &seen && p < N_PAGES && store_tier(new) == STORE_FILE);
    if (pages[p].ref != old || pages[p].busy)
        return false;
    seen.relocated++;
    seen.gathered += store_tier(old) == STORE_FILE;
    pages[p].ref = new;
    return true;
}

static bool relocate_in_pool(void *context, uint32_t p, store_ref old, store_ref new)
{
    REQUIRE(context == &seen && p < N_PAGES && pages[p].ref == old && new != old);
    REQUIRE(store_tier(old) == STORE_RAM && store_tier(new) == STORE_RAM);
    const bool moves = draw(8) != 0;
    seen.stayed += !moves;
    if (moves)
        pages[p].ref = new;
    return moves;
}

static void compact(void)
{
    struct store_counts before, after;
    store_counts(store, &before);
    const bool emptied = store_compact(store, relocate_in_pool, &seen);
    store_counts(store, &after);
    seen.compacted += emptied;
    REQUIRE(after.pool_pages <= before.pool_pages && after.n_ram == before.n_ram &&
            after.ram_bytes == before.ram_bytes);
}

/* Between two batches the buffer is anybody's; how much is written at once is, too. */
static void use_scratch(struct store_batch *batch)
{
    struct scratch *buffer = store_batch_scratch(batch);
    store_batch_limit(batch, draw(4) ? STORE_BATCH_CLUSTERS : 1 + draw(STORE_BATCH_CLUSTERS));
    if (draw(30))
        return;
    scratch_use(buffer, buffer->n_bytes);
    memset(buffer->memory, 0xa5, buffer->n_bytes);
    if (draw(2))
        scratch_drop(buffer);
}

/* Takes a batch one step further; a write fails now and then, and has then written nothing. */
static void advance(unsigned i)
{
    switch (batches[i].state) {
    case FREE: {
        use_scratch(batches[i].batch);
        const int n = store_collect(store, batches[i].batch);
        REQUIRE(n >= 0 || n == -ENOSPC);
        seen.full_file += n == -ENOSPC;
        batches[i].state = n > 0 ? COLLECTED : FREE;
        break;
    }
    case COLLECTED:
        batches[i].result = store_write(store, batches[i].batch);
        REQUIRE(batches[i].result == 0);
        batches[i].state = WRITTEN;
        break;
    case WRITTEN:
        for (uint32_t p = draw(50); some_are_busy && p < N_PAGES; p += 50)
            pages[p].busy = true;
        store_commit(store, batches[i].batch, 0, relocate, &seen);
        for (uint32_t p = 0; p < N_PAGES; p++)
            pages[p].busy = false;
        batches[i].state = FREE;
        break;
    }
}

static void validate(void)
{
    REQUIRE(store_validate(store) == 0);
    struct store_counts counts;
    store_counts(store, &counts);
    size_t n_ram = 0, n_file = 0;
    for (uint32_t p = 0; p < N_PAGES; p++) {
        n_ram += pages[p].ref != 0 && store_tier(pages[p].ref) == STORE_RAM;
        n_file += pages[p].ref != 0 && store_tier(pages[p].ref) == STORE_FILE;
    }
    REQUIRE(counts.n_ram == n_ram && counts.n_file == n_file);
    REQUIRE(counts.pool_pages * SYS_PAGE_SIZE <= POOL_LIMIT);
    REQUIRE(counts.file_held_bytes <= swap_n_clusters(space) * SWAP_CLUSTER_BYTES &&
            counts.file_bytes <= counts.file_held_bytes);
}

static void step_once(void)
{
    const uint32_t p = draw(N_PAGES), what = draw(100);
    if (what < 40)
        insert(p);
    else if (what < 66)
        load(p);
    else if (what < 69)
        load_in_a_row(p);
    else if (what < 70)
        compact();
    else if (what < 84 && pages[p].ref != 0)
        forget(p);
    else if (what < 85)
        rename_page(p, draw(N_PAGES));
    else if (what >= 85)
        advance(draw(N_BATCHES));
    /* mass extinctions make clusters sparse */
    if (draw(3000) == 0)
        for (uint32_t i = 0; i < N_PAGES; i++)
            if (pages[i].ref != 0 && draw(4) != 0)
                forget(i);
    if (step % 500 == 0)
        validate();
}

static void empty(void)
{
    for (unsigned i = 0; i < N_BATCHES; i++)
        while (batches[i].state != FREE)
            advance(i);
    for (uint32_t p = 0; p < N_PAGES; p++) {
        load(p);
        if (pages[p].ref != 0)
            forget(p);
    }
    validate();
    struct store_counts counts;
    store_counts(store, &counts);
    REQUIRE(counts.n_ram == 0 && counts.n_file == 0 && counts.file_held_bytes == 0);
    REQUIRE(counts.pool_pages <= 32); /* two spare blocks */
}

_Noreturn static void live_as_child(void)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", swap_fd);
    const int fd = swap_reopen(path, 0);
    REQUIRE(fd >= 0);
    store_fork_child(store, CHILD_OWNER, fd);
    for (unsigned i = 0; i < N_BATCHES; i++)
        batches[i].state = FREE;
    validate();
    for (uint32_t p = 0; p < N_PAGES; p++)
        load(p);
    for (unsigned i = 0; i < CHILD_STEPS; i++)
        step_once();
    if (draw(2) == 0) /* else its launcher cleans up after it */
        empty();
    _exit(0);
}

/* The parent goes on while the child lives. */
static void fork_once(void)
{
    seen.forks++;
    store_fork_prepare(store, CHILD_OWNER);
    const pid_t child = fork();
    REQUIRE(child >= 0);
    random_state += child == 0;
    if (child == 0)
        live_as_child();
    for (unsigned i = 0; i < CHILD_STEPS / 2; i++)
        step_once();
    int status;
    REQUIRE(waitpid(child, &status, 0) == child && status == 0);
    swap_release_owner(space, CHILD_OWNER);
    REQUIRE(swap_validate(space) == 0);
}

static void open_store(uint64_t file_bytes, const struct seal *seal)
{
    space = new_space(file_bytes);
    swap_fd = new_swap_file(file_bytes);
    const struct store_config config = {
        .pool_max_bytes = 2 * POOL_LIMIT,
        .swap = space,
        .swap_fd = swap_fd,
        .swap_owner = PARENT_OWNER,
        .seal = seal,
    };
    REQUIRE(store_init(&config, &store) == 0);
}

static void close_store(void)
{
    empty();
    store_deinit(store);
    REQUIRE(swap_used_bytes(space) == 0 && swap_validate(space) == 0);
    close(swap_fd);
}

static void write_one_batch(void)
{
    for (unsigned n = 0; n == 0 || batches[0].state != FREE; n++)
        advance(0);
}

/* While nothing is in flight. About twice what lives and 1 MiB, and what one batch adds. */
static void file_is_dense(void)
{
    struct store_counts counts;
    store_counts(store, &counts);
    REQUIRE(counts.file_held_bytes <= 2 * counts.file_bytes + counts.file_bytes / 8 + (1 << 20) +
                                          STORE_BATCH_CLUSTERS * SWAP_CLUSTER_BYTES);
}

/* Pages are replaced and forgotten at random, so that clusters become sparse all the time. */
static void live_in_a_large_file(void)
{
    const unsigned gathered = seen.gathered;
    some_are_busy = false;
    for (step = 1; step <= LARGE_FILE_STEPS; step++) {
        const unsigned n_refused = seen.full_pool;
        const uint32_t p = draw(N_PAGES);
        if (draw(8) != 0)
            insert(p);
        else if (pages[p].ref != 0)
            forget(p);
        if (seen.full_pool == n_refused)
            continue;
        do
            write_one_batch();
        while (store_is_sparse(store));
        file_is_dense();
    }
    for (uint32_t p = 0; p < N_PAGES; p++)
        if (p % 16 != 0 && pages[p].ref != 0)
            forget(p);
    for (unsigned n = 0; store_is_sparse(store); n++) {
        REQUIRE(n < LARGE_FILE_BYTES / SWAP_CLUSTER_BYTES);
        write_one_batch();
    }
    file_is_dense();
    REQUIRE(seen.gathered > gathered);
    validate();
}

int main(void)
{
    seed = random_state = test_seed() | 1;
    printf("QUIRE_TEST_SEED=%llu\n", (unsigned long long)seed);
    fflush(stdout);
    const struct seal *seal = new_seal(0, NULL);
    for (unsigned i = 0; i < 3; i++)
        packers[i] = new_packer((enum store_codec)i);
    open_store(FILE_BYTES, seal);
    for (unsigned i = 0; i < N_BATCHES; i++)
        REQUIRE((batches[i].batch = store_batch_new()) != NULL);
    for (step = 1; step <= N_STEPS; step++) {
        step_once();
        if (step % FORK_EVERY == 0)
            fork_once();
    }
    close_store();
    REQUIRE(seen.gathered > 0 && seen.full_file > 0);
    open_store(LARGE_FILE_BYTES, seal);
    live_in_a_large_file();
    close_store();
    printf("loaded: %u from RAM, %u from the file; relocated: %u, gathered: %u; full: pool %u, "
           "file %u; renamed: %u; forks: %u; compacted: %u, stayed: %u; read ahead: %u\n",
           seen.loaded_ram, seen.loaded_file, seen.relocated, seen.gathered, seen.full_pool,
           seen.full_file, seen.renamed, seen.forks, seen.compacted, seen.stayed, seen.ahead);
    REQUIRE(seen.loaded_file > 0 && seen.full_pool > 0);
    REQUIRE(seen.compacted > 0 && seen.stayed > 0 && seen.ahead > 0);
    return 0;
}
