/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store when memory, the disk or its contents fail: nothing is lost, nothing wrong is returned,
 * and everything adds up afterwards.
 */
#include "base/meta.h"
#include "store/inside.h"
#include "store_pages.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h> /* wants the ones above */

#define N_PAGES 600
#define FILE_BYTES ((uint64_t)12 * SWAP_CLUSTER_BYTES)
#define POOL_BYTES ((size_t)8 << 20)
#define ME 1

static struct swap_space *space;
static struct seal *seal;
static int fd;
static struct store *store;
static struct store_packer *packer;
static struct store_batch *batch;
static store_ref refs[N_PAGES]; /* 0: not stored */
static unsigned char page[SYS_PAGE_SIZE], out[SYS_PAGE_SIZE];
static _Alignas(4096) unsigned char scratch[2 * SYS_PAGE_SIZE];

static struct store_config config(void)
{
    return (struct store_config){
        .pool_max_bytes = POOL_BYTES, .swap = space, .swap_fd = fd, .swap_owner = ME, .seal = seal};
}

static int set_up(void **state)
{
    const struct store_config c = config();
    memset(refs, 0, sizeof(refs));
    return store_init(&c, &store);
}

static int tear_down(void **state)
{
    const int error = store_validate(store);
    store_deinit(store);
    return error != 0 ? error : swap_validate(space);
}

static int set_up_all(void **state)
{
    space = new_space(FILE_BYTES);
    fd = new_swap_file(FILE_BYTES);
    seal = new_seal(0, NULL);
    packer = new_packer(STORE_CODEC_ZSTD);
    batch = store_batch_new();
    return batch == NULL;
}

static bool all_random; /* they take twice the room */

static enum page_kind kind_of(uint32_t p)
{
    return all_random ? PAGE_RANDOM : PAGE_TINY + p % (PAGE_KINDS - PAGE_TINY);
}

static void insert(uint32_t p)
{
    static struct store_packed packed;
    make_page(page, kind_of(p), p);
    store_pack(packer, page, &packed);
    assert_int_equal(store_insert(store, p, &packed, POOL_BYTES, &refs[p]), 0);
}

static int load(uint32_t p)
{
    return store_load(store, packer, refs[p], p, out, scratch);
}

static bool is_right(uint32_t p)
{
    make_page(page, kind_of(p), p);
    return memcmp(page, out, SYS_PAGE_SIZE) == 0;
}

static void all_is_there(void)
{
    for (uint32_t p = 0; p < N_PAGES; p++)
        if (refs[p] != 0) {
            assert_int_equal(load(p), 0);
            assert_true(is_right(p));
        }
    assert_int_equal(store_validate(store), 0);
}

static bool relocate(void *context, uint32_t p, store_ref old, store_ref new)
{
    if (p >= N_PAGES || refs[p] != old)
        return false;
    refs[p] = new;
    return true;
}

/* One batch; what collect said if it said no, else what write said. */
static int move_on(void)
{
    const int n = store_collect(store, batch);
    if (n <= 0)
        return n;
    const int error = store_write(store, batch);
    store_commit(store, batch, error, relocate, NULL);
    return error != 0 ? error : n;
}

static size_t n_in_file(void)
{
    struct store_counts counts;
    store_counts(store, &counts);
    return counts.n_file;
}

static size_t n_mappings(void)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    size_t n = 0;
    for (int c; (c = getc(maps)) != EOF;)
        n += c == '\n';
    fclose(maps);
    return n;
}

static void memory_that_is_refused_is_told(void **state)
{
    struct store *second = NULL;
    const struct store_config c = config();
    unsigned long n = 0;
    int error;
    do {
        const size_t metadata = meta_bytes(), mappings = n_mappings();
        sys_inject(SYS_CLASS_MAP, ++n, ENOMEM);
        error = store_init(&c, &second);
        sys_inject(SYS_CLASS_MAP, 0, 0);
        if (error != 0) {
            assert_int_equal(error, -ENOMEM);
            assert_int_equal(meta_bytes(), metadata);
            assert_int_equal(n_mappings(), mappings);
        }
    } while (error != 0);
    assert_true(n > 3);
    store_deinit(second);
    sys_inject(SYS_CLASS_MAP, 1, ENOMEM);
    assert_null(store_batch_new());
    sys_inject(SYS_CLASS_MAP, 0, 0);
}

static void a_failed_write_loses_nothing(void **state)
{
    for (uint32_t p = 0; p < N_PAGES; p++)
        insert(p);
    sys_inject(SYS_CLASS_WRITE, 1, ENOSPC);
    assert_int_equal(move_on(), -ENOSPC);
    assert_int_equal(store_file_error(store), -ENOSPC);
    assert_int_equal(n_in_file(), 0);
    assert_int_equal(swap_used_bytes(space), 0);
    all_is_there();
    assert_int_equal(move_on(), -ENOSPC); /* not yet */
    store->retry_ns = 0;                  /* some seconds later */
    assert_true(move_on() > 0);
    assert_int_equal(store_file_error(store), 0);
    assert_true(n_in_file() > 0);
    all_is_there();
}

static void a_broken_file_is_only_read(void **state)
{
    for (uint32_t p = 0; p < N_PAGES; p++)
        insert(p);
    assert_true(move_on() > 0);
    sys_inject(SYS_CLASS_WRITE, 1, EIO);
    assert_int_equal(move_on(), -EIO);
    store->retry_ns = 0;
    assert_int_equal(move_on(), -EIO);
    assert_int_equal(store_file_error(store), -EIO);
    all_is_there();
}

static void a_batch_that_still_goes_well_mends_nothing(void **state)
{
    struct store_batch *second = store_batch_new();
    for (uint32_t p = 0; p < N_PAGES; p++)
        insert(p);
    assert_true(store_collect(store, batch) > 0 && store_collect(store, second) > 0);
    store_commit(store, batch, -EIO, relocate, NULL);
    assert_int_equal(store_write(store, second), 0);
    assert_true(store_commit(store, second, 0, relocate, NULL) > 0);
    assert_int_equal(store_file_error(store), -EIO);
    all_is_there();
}

static void an_interrupted_call_is_repeated(void **state)
{
    for (uint32_t p = 0; p < 50; p++)
        insert(p);
    sys_inject(SYS_CLASS_WRITE, 1, EINTR);
    assert_true(move_on() > 0);
    assert_int_equal(sys_injected(SYS_CLASS_WRITE), 1);
    sys_inject(SYS_CLASS_READ, 1, EINTR);
    all_is_there();
    assert_int_equal(sys_injected(SYS_CLASS_READ), 1);
}

static void a_failed_read_is_told(void **state)
{
    insert(3);
    assert_int_equal(move_on(), 1);
    sys_inject(SYS_CLASS_READ, 1, EIO);
    assert_int_equal(load(3), -EIO);
    assert_int_equal(load(3), 0);
    assert_true(is_right(3));
}

static void a_drop_while_writing_frees_all(void **state)
{
    for (uint32_t p = 0; p < N_PAGES; p++)
        insert(p);
    const int n = store_collect(store, batch);
    assert_true(n > 0);
    for (uint32_t p = 0; p < N_PAGES; p++) { /* dropped and stored anew: another object */
        store_drop(store, refs[p]);
        if (p % 2 == 0)
            insert(p);
        else
            refs[p] = 0;
    }
    assert_int_equal(store_validate(store), 0);
    assert_int_equal(store_write(store, batch), 0);
    assert_int_equal(store_commit(store, batch, 0, relocate, NULL), 0);
    assert_int_equal(n_in_file(), 0);
    assert_int_equal(swap_used_bytes(space), 0);
    all_is_there();
}

/* Fills the file, then leaves one page of three alive in it and the pool not empty. */
static void make_sparse_file(void)
{
    for (uint32_t p = 0; p < N_PAGES; p++)
        insert(p);
    while (move_on() > 0)
        continue;
    for (uint32_t p = 0; p < N_PAGES; p++)
        if (p % 3 != 0 && store_tier(refs[p]) == STORE_FILE) {
            store_drop(store, refs[p]);
            refs[p] = 0;
        }
}

static void drop_all(void)
{
    for (uint32_t p = 0; p < N_PAGES; p++) {
        if (refs[p] != 0)
            store_drop(store, refs[p]);
        refs[p] = 0;
    }
}

/* Writes, gathers, reads back, drops, with one call failing; false: there was no such call. */
static bool live_with(enum sys_class class, unsigned long nth, int error)
{
    make_sparse_file();
    const size_t before = n_in_file();
    sys_inject(class, nth, error);
    for (int i = 0; i < 30; i++) {
        store->retry_ns = 0;
        (void)move_on();
    }
    const bool fired_early = sys_injected(class) > 0;
    if (class != SYS_CLASS_GIVE) /* else while what follows is given back */
        sys_inject(class, 0, 0);
    all_is_there();
    assert_true(n_in_file() >= before);
    drop_all();
    assert_int_equal(store_validate(store), 0);
    assert_int_equal(swap_used_bytes(space), 0);
    const bool fired = fired_early || sys_injected(class) > 0;
    sys_inject(class, 0, 0);
    return fired;
}

static void whatever_fails_nothing_is_lost(void **state)
{
    static const struct {
        enum sys_class class;
        int error;
    } failures[] = {
        {SYS_CLASS_WRITE, ENOSPC}, {SYS_CLASS_WRITE, EIO},  {SYS_CLASS_WRITE, ENOMEM},
        {SYS_CLASS_READ, EIO},     {SYS_CLASS_READ, EINTR}, {SYS_CLASS_READ, ENOMEM},
        {SYS_CLASS_GIVE, ENOMEM},
    };
    for (size_t i = 0; i < sizeof(failures) / sizeof(*failures); i++) {
        unsigned long nth = 1;
        while (live_with(failures[i].class, nth, failures[i].error)) {
            store_deinit(store); /* a broken disk stays broken */
            const struct store_config c = config();
            assert_int_equal(store_init(&c, &store), 0);
            nth += 1 + nth / 2;
        }
        assert_true(nth > 2);
    }
}

/* A file with much room: it is tidied all the same, and a failure leaves it as it was. */
static void a_sparse_file_is_tidied_whatever_fails(void **state)
{
    static const struct {
        enum sys_class class;
        int error;
    } failures[] = {{SYS_CLASS_READ, EIO}, {SYS_CLASS_WRITE, ENOSPC}, {SYS_CLASS_WRITE, EIO}};
    struct swap_space *small = space;
    space = new_space(64 * SWAP_CLUSTER_BYTES);
    all_random = true;
    for (size_t i = 0; i < sizeof(failures) / sizeof(*failures); i++) {
        store_deinit(store);
        const struct store_config c = config();
        assert_int_equal(store_init(&c, &store), 0);
        make_sparse_file();
        for (uint32_t p = 0; p < N_PAGES; p++)
            if (p % 9 != 0 && refs[p] != 0) {
                store_drop(store, refs[p]);
                refs[p] = 0;
            }
        assert_true(store_is_sparse(store));
        const size_t held = store->file.n_held;
        sys_inject(failures[i].class, 1, failures[i].error);
        const int result = move_on();
        assert_int_equal(sys_injected(failures[i].class), 1);
        assert_true(failures[i].class == SYS_CLASS_READ || result == -failures[i].error);
        assert_true(store->file.n_held <= held);
        all_is_there();
        for (int n = 0; n < 40; n++) {
            store->retry_ns = 0;
            (void)move_on();
        }
        all_is_there();
        const bool is_broken = failures[i].class == SYS_CLASS_WRITE && failures[i].error == EIO;
        assert_int_equal(clusters_are_sparse(&store->file), is_broken);
        drop_all();
    }
    all_random = false;
    store_deinit(store);
    space = small;
    const struct store_config c = config();
    assert_int_equal(store_init(&c, &store), 0);
}

static int first_free_fd(void)
{
    const int free_fd = sys_openat(AT_FDCWD, "/", O_PATH | O_CLOEXEC, 0);
    sys_close(free_fd);
    return free_fd;
}

static void a_file_that_fails_at_once_is_refused(void **state)
{
    static const struct {
        enum sys_class class;
        int error;
    } failures[] = {{SYS_CLASS_WRITE, EIO},
                    {SYS_CLASS_WRITE, ENOSPC},
                    {SYS_CLASS_READ, EIO},
                    {SYS_CLASS_WRITE, EDQUOT},
                    {SYS_CLASS_MAP, ENOMEM}};
    const int free_fd = first_free_fd();
    for (size_t i = 0; i < sizeof(failures) / sizeof(*failures); i++) {
        int file = -1;
        sys_inject(failures[i].class, 1, failures[i].error);
        assert_int_equal(swap_open(swap_directory(), FILE_BYTES, &file), -failures[i].error);
        sys_inject(failures[i].class, 0, 0);
        assert_int_equal(first_free_fd(), free_fd);
    }
    int file = -1; /* a file system that wants no direct I/O */
    sys_inject(SYS_CLASS_WRITE, 1, EINVAL);
    assert_int_equal(swap_open(swap_directory(), FILE_BYTES, &file), 0);
    assert_int_equal(sys_fcntl(file, F_GETFL, 0) & O_DIRECT, 0);
    sys_close(file);
}

static void a_key_that_can_not_be_made_or_had_leaves_nothing(void **state)
{
    static const enum sys_class classes[] = {SYS_CLASS_MAP, SYS_CLASS_WRITE, SYS_CLASS_GIVE};
    const int free_fd = first_free_fd();
    const size_t mappings = n_mappings();
    for (size_t i = 0; i < sizeof(classes) / sizeof(*classes); i++) {
        struct seal *made = NULL;
        sys_inject(classes[i], 1, ENOMEM);
        assert_int_equal(seal_create(seal_best_cipher(), &made), -ENOMEM);
        sys_inject(classes[i], 0, 0);
        assert_int_equal(first_free_fd(), free_fd);
        assert_int_equal(n_mappings(), mappings);
    }
    struct seal *made = NULL;
    const int key_fd = seal_create(seal_best_cipher(), &made);
    assert_true(key_fd >= 0);
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", key_fd);
    const struct seal *had = NULL;
    for (size_t i = 0; i < sizeof(classes) / sizeof(*classes); i++) {
        if (classes[i] == SYS_CLASS_WRITE)
            continue;
        sys_inject(classes[i], 1, ENOMEM);
        assert_int_equal(seal_attach(path, &had), -ENOMEM);
        sys_inject(classes[i], 0, 0);
        assert_int_equal(n_mappings(), mappings + 1);
    }
    assert_int_equal(seal_attach(path, &had), 0);
    seal_detach(had);
    seal_detach(made);
    sys_close(key_fd);
    assert_int_equal(n_mappings(), mappings);
}

/* Pages that lie in a row are read by whole clusters. */
static void a_failed_read_of_a_cluster_is_told(void **state)
{
    static const int errors[] = {EIO, EINTR, EAGAIN, ENOMEM};
    static _Alignas(4096) unsigned char buffer[SWAP_CLUSTER_BYTES];
    struct store_reader reader = {.buffer = buffer};
    for (uint32_t p = 0; p < 20; p++)
        insert(p);
    assert_int_equal(move_on(), 20);
    for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++) {
        reader.n_bytes = 0;
        sys_inject(SYS_CLASS_READ, 1, errors[i]);
        for (uint32_t p = 0; p < 20; p++) {
            int error = store_load_through(store, packer, refs[p], p, out, &reader);
            assert_int_equal(error, p == 0 && errors[i] == EIO ? -EIO : 0);
            assert_true(error < 0 || is_right(p));
        }
        assert_int_equal(sys_injected(SYS_CLASS_READ), 1);
        sys_inject(SYS_CLASS_READ, 0, 0);
    }
}

static void what_a_child_reads_too_is_not_tidied(void **state)
{
    make_sparse_file();
    store_fork_prepare(store, ME + 1);
    assert_int_equal(move_on(), -ENOSPC);
    swap_release_owner(space, ME + 1); /* the child is gone */
    assert_true(move_on() > 0);
    all_is_there();
}

/* Where a header makes no sense the objects behind it can't be found; loading them still works. */
static void a_damaged_cluster_is_left_alone(void **state)
{
    static _Alignas(4096) unsigned char block[SYS_PAGE_SIZE];
    make_sparse_file();
    for (off_t at = 0; at < (off_t)FILE_BYTES; at += (off_t)(2 * SWAP_CLUSTER_BYTES)) {
        if (sys_pread(fd, block, SYS_PAGE_SIZE, at) != (ssize_t)SYS_PAGE_SIZE)
            continue;
        memset(block + offsetof(struct object_header, n_bytes), 0xff, 2);
        assert_int_equal(sys_pwrite(fd, block, SYS_PAGE_SIZE, at), SYS_PAGE_SIZE);
    }
    unsigned n_batches = 0;
    for (store->retry_ns = 0; n_batches < 100 && move_on() != -ENOSPC; n_batches++)
        store->retry_ns = 0;
    assert_in_range(n_batches, 1, 50);
    unsigned n_bad = 0;
    for (uint32_t p = 0; p < N_PAGES; p++)
        n_bad += refs[p] != 0 && load(p) != 0;
    assert_true(n_bad <= FILE_BYTES / SWAP_CLUSTER_BYTES / 2);
}

/* Tidying copies damaged objects; it must neither mend nor spread the damage, and it must end. */
static void damage_survives_tidying(void **state)
{
    static _Alignas(4096) unsigned char block[SYS_PAGE_SIZE];
    uint64_t random = test_seed() | 1;
    make_sparse_file();
    for (off_t at = 0; at < (off_t)FILE_BYTES; at += SYS_PAGE_SIZE) {
        if (sys_pread(fd, block, SYS_PAGE_SIZE, at) != (ssize_t)SYS_PAGE_SIZE)
            continue;
        for (unsigned i = 0; i < 3; i++)
            block[next_random(&random) % SYS_PAGE_SIZE] ^= 0xff;
        assert_int_equal(sys_pwrite(fd, block, SYS_PAGE_SIZE, at), SYS_PAGE_SIZE);
    }
    unsigned n_batches = 0;
    for (; move_on() > 0; n_batches++)
        assert_true(n_batches < 100);
    unsigned n_bad = 0;
    for (uint32_t p = 0; p < N_PAGES; p++)
        if (refs[p] != 0) {
            const int error = load(p);
            assert_true(error == -EBADMSG || (error == 0 && is_right(p)));
            n_bad += error != 0;
        }
    assert_true(n_bad > 0 && n_bad < N_PAGES);
}

static void every_flipped_bit_in_ram_is_noticed(void **state)
{
    for (uint32_t p = 0; p < 8; p++) {
        insert(p);
        size_t n;
        unsigned char *object = (unsigned char *)pool_object(&store->pool, ref_slot(refs[p]), &n);
        for (size_t bit = 0; bit < n * 8; bit++) {
            if (bit / 8 == offsetof(struct object_header, state))
                continue; /* load does not look at it */
            object[bit / 8] ^= (unsigned char)(1 << bit % 8);
            const int error = load(p);
            assert_true(error == -EBADMSG || (error == 0 && is_right(p)));
            object[bit / 8] ^= (unsigned char)(1 << bit % 8);
        }
        assert_int_equal(load(p), 0);
        assert_int_equal(store_load(store, packer, refs[p], p + 1, out, scratch), -EBADMSG);
    }
}

/* A bit in each byte, and each bit in some: that every single one is, unit/seal.c says. */
static void a_flipped_bit_anywhere_in_the_file_is_noticed(void **state)
{
    static _Alignas(4096) unsigned char window[2 * SYS_PAGE_SIZE];
    insert(0); /* mostly zeros: a small object */
    insert(1);
    assert_int_equal(move_on(), 2);
    for (uint32_t p = 0; p < 2; p++) {
        const struct file_ref ref = ref_file(refs[p]);
        const off_t at = (off_t)(ref.cluster * SWAP_CLUSTER_BYTES);
        const size_t begin = ref.unit * OBJECT_UNIT_BYTES;
        const size_t n_bytes = object_sealed_bytes(ref.unit, ref.n_units);
        assert_true(begin + n_bytes <= SYS_PAGE_SIZE);
        assert_int_equal(sys_pread(fd, window, SYS_PAGE_SIZE, at), SYS_PAGE_SIZE);
        for (size_t bit = begin * 8; bit < (begin + n_bytes) * 8; bit += 7) {
            window[bit / 8] ^= (unsigned char)(1 << bit % 8);
            assert_int_equal(sys_pwrite(fd, window, SYS_PAGE_SIZE, at), SYS_PAGE_SIZE);
            assert_int_equal(load(p), -EBADMSG);
            window[bit / 8] ^= (unsigned char)(1 << bit % 8);
        }
        assert_int_equal(sys_pwrite(fd, window, SYS_PAGE_SIZE, at), SYS_PAGE_SIZE);
        assert_int_equal(load(p), 0);
        assert_int_equal(store_load(store, packer, refs[p], p + 2, out, scratch), -EBADMSG);
    }
}

/* A disk that says "written" and still has what was there before: the same page, but older. */
static void a_lost_write_is_noticed(void **state)
{
    static _Alignas(4096) unsigned char older[SWAP_CLUSTER_BYTES];
    insert(2);
    assert_int_equal(move_on(), 1);
    const struct file_ref first = ref_file(refs[2]);
    const off_t at = (off_t)(first.cluster * SWAP_CLUSTER_BYTES);
    assert_true(sys_pread(fd, older, SYS_PAGE_SIZE, at) > 0);
    store_drop(store, refs[2]);
    insert(2);
    assert_int_equal(move_on(), 1);
    const struct file_ref second = ref_file(refs[2]);
    assert_true(second.cluster == first.cluster && second.unit == first.unit);
    assert_int_equal(load(2), 0);
    assert_int_equal(sys_pwrite(fd, older, SYS_PAGE_SIZE, at), SYS_PAGE_SIZE);
    assert_int_equal(load(2), -EBADMSG);
}

/* Both are intact, and objects lie at the same places in both. */
static void exchanged_clusters_are_noticed(void **state)
{
    static _Alignas(4096) unsigned char first[2 * SYS_PAGE_SIZE], second[2 * SYS_PAGE_SIZE];
    const uint32_t one = 3, other = 7; /* random: raw, more than a page */
    insert(one);
    assert_int_equal(move_on(), 1);
    insert(other);
    assert_int_equal(move_on(), 1);
    const struct file_ref a = ref_file(refs[one]), b = ref_file(refs[other]);
    assert_true(a.cluster != b.cluster && a.unit == b.unit && a.n_units == b.n_units);
    const off_t at_a = (off_t)(a.cluster * SWAP_CLUSTER_BYTES);
    const off_t at_b = (off_t)(b.cluster * SWAP_CLUSTER_BYTES);
    assert_int_equal(sys_pread(fd, first, sizeof(first), at_a), sizeof(first));
    assert_int_equal(sys_pread(fd, second, sizeof(second), at_b), sizeof(second));
    assert_int_equal(sys_pwrite(fd, second, sizeof(second), at_a), sizeof(second));
    assert_int_equal(sys_pwrite(fd, first, sizeof(first), at_b), sizeof(first));
    assert_int_equal(load(one), -EBADMSG);
    assert_int_equal(load(other), -EBADMSG);
}

/* Nor anything that the buffer held before: other threads' pages pass through it. */
static void nothing_in_the_file_is_in_clear(void **state)
{
    static _Alignas(4096) unsigned char block[SYS_PAGE_SIZE];
    struct scratch *buffer = store_batch_scratch(batch);
    scratch_use(buffer, buffer->n_bytes);
    memset(buffer->memory, 0xab, buffer->n_bytes);
    for (uint32_t p = 0; p < 60; p++) /* a cluster and a half */
        insert(p);
    while (move_on() > 0)
        continue;
    const struct store_figures *figures = &store->figures;
    assert_true(figures->n_clusters >= 2);
    for (off_t at = 0; at < (off_t)FILE_BYTES; at += SYS_PAGE_SIZE) {
        if (sys_pread(fd, block, SYS_PAGE_SIZE, at) != (ssize_t)SYS_PAGE_SIZE)
            break;
        for (size_t i = 0; i + 8 <= SYS_PAGE_SIZE; i++) {
            assert_true(memcmp(block + i, "\xab\xab\xab\xab\xab\xab\xab\xab", 8) != 0);
            assert_true(memcmp(block + i, "        ", 8) != 0); /* PAGE_TEXT */
        }
    }
    all_is_there();
}

static void short_calls_are_continued(void **state)
{
    const struct sys_fault fault = {.nth = 1, .n_times = 1000, .shorten = true};
    for (uint32_t p = 0; p < N_PAGES; p++)
        insert(p);
    sys_inject_fault(SYS_CLASS_WRITE, &fault);
    while (move_on() > 0)
        continue;
    assert_true(sys_injected(SYS_CLASS_WRITE) > 4);
    sys_inject(SYS_CLASS_WRITE, 0, 0);
    sys_inject_fault(SYS_CLASS_READ, &fault);
    all_is_there();
    assert_true(sys_injected(SYS_CLASS_READ) > 4);
    sys_inject(SYS_CLASS_READ, 0, 0);
}

static void memory_that_is_short_for_a_moment_is_waited_for(void **state)
{
    struct sys_fault fault = {.nth = 1, .n_times = 3, .error = ENOMEM};
    insert(3);
    sys_inject_fault(SYS_CLASS_WRITE, &fault);
    assert_int_equal(move_on(), -ENOMEM);
    for (store->retry_ns = 0; move_on() == -ENOMEM; store->retry_ns = 0)
        continue;
    assert_int_equal(sys_injected(SYS_CLASS_WRITE), 3);
    assert_int_equal(n_in_file(), 1);
    sys_inject_fault(SYS_CLASS_READ, &fault);
    assert_int_equal(load(3), 0);
    assert_true(is_right(3));
    fault.n_times = 1000000;
    sys_inject_fault(SYS_CLASS_READ, &fault);
    assert_int_equal(load(3), -EIO);
    sys_inject(SYS_CLASS_READ, 0, 0);
    assert_int_equal(load(3), 0);
}

static void a_file_that_was_cut_off_is_told(void **state)
{
    for (uint32_t p = 0; p < 60; p++)
        insert(p);
    assert_true(move_on() > 0);
    assert_int_equal(sys_ftruncate(fd, 0), 0);
    for (uint32_t p = 0; p < 60; p++)
        if (store_tier(refs[p]) == STORE_FILE)
            assert_int_equal(load(p), -EIO);
    assert_int_equal(sys_ftruncate(fd, (off_t)FILE_BYTES), 0); /* zeros are no better */
    for (uint32_t p = 0; p < 60; p++)
        if (store_tier(refs[p]) == STORE_FILE)
            assert_int_equal(load(p), -EBADMSG);
}

static void a_misdirected_write_is_noticed(void **state)
{
    static _Alignas(4096) unsigned char object[SYS_PAGE_SIZE];
    insert(3); /* random: raw, more than a page */
    assert_int_equal(move_on(), 1);
    struct file_ref ref = ref_file(refs[3]);
    const off_t from = (off_t)(ref.cluster * SWAP_CLUSTER_BYTES);
    const off_t to = from + (off_t)(4 * SWAP_CLUSTER_BYTES);
    for (off_t i = 0; i < 2; i++) {
        assert_true(sys_pread(fd, object, SYS_PAGE_SIZE, from + i * 4096) > 0);
        assert_int_equal(sys_pwrite(fd, object, SYS_PAGE_SIZE, to + i * 4096), SYS_PAGE_SIZE);
    }
    ref.cluster += 4;
    assert_int_equal(store_load(store, packer, ref_of_file(ref), 3, out, scratch), -EBADMSG);
    assert_int_equal(load(3), 0);
}

/* References that nothing ever made: load must stay within its memory. */
static void a_senseless_reference_is_refused(void **state)
{
    uint64_t random = test_seed() | 1;
    insert(0);
    for (unsigned i = 0; i < 20000; i++) {
        const store_ref ref = (next_random(&random) >> (16 + i % 40)) | (i % 2 == 0 ? 2 : 3);
        if (store_tier(ref) == STORE_SAME_FILLED || ref == refs[0])
            continue;
        const int error = store_load(store, packer, ref, 77, out, scratch);
        assert_true(error == -EBADMSG || error == -EIO);
    }
    assert_int_equal(store_load(store, packer, 0, 0, out, scratch), -EBADMSG);
}

static void a_renamed_page_keeps_its_copy(void **state)
{
    insert(5);
    insert(6);
    assert_int_equal(move_on(), 2);
    insert(7);
    refs[5] = store_rename(store, refs[5], 5, 100);
    refs[7] = store_rename(store, refs[7], 7, 101);
    assert_int_equal(store_load(store, packer, refs[5], 100, out, scratch), 0);
    assert_true(is_right(5));
    assert_int_equal(store_load(store, packer, refs[7], 101, out, scratch), 0);
    assert_true(is_right(7));
    assert_int_equal(load(6), 0);
    assert_int_equal(load(7), -EBADMSG);
}

static void without_a_file_nothing_moves(void **state)
{
    struct store *second;
    const struct store_config c = {.pool_max_bytes = POOL_BYTES};
    assert_int_equal(store_init(&c, &second), 0);
    assert_int_equal(store_collect(second, batch), -ENODEV);
    assert_int_equal(store_trim(second), 0);
    assert_int_equal(store_validate(second), 0);
    store_deinit(second);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(memory_that_is_refused_is_told),
        TEST(a_failed_write_loses_nothing),
        TEST(a_broken_file_is_only_read),
        TEST(a_batch_that_still_goes_well_mends_nothing),
        TEST(what_a_child_reads_too_is_not_tidied),
        TEST(a_damaged_cluster_is_left_alone),
        TEST(an_interrupted_call_is_repeated),
        TEST(a_failed_read_is_told),
        TEST(a_drop_while_writing_frees_all),
        TEST(whatever_fails_nothing_is_lost),
        TEST(a_sparse_file_is_tidied_whatever_fails),
        TEST(a_file_that_fails_at_once_is_refused),
        TEST(a_key_that_can_not_be_made_or_had_leaves_nothing),
        TEST(a_failed_read_of_a_cluster_is_told),
        TEST(damage_survives_tidying),
        TEST(every_flipped_bit_in_ram_is_noticed),
        TEST(a_flipped_bit_anywhere_in_the_file_is_noticed),
        TEST(a_lost_write_is_noticed),
        TEST(exchanged_clusters_are_noticed),
        TEST(nothing_in_the_file_is_in_clear),
        TEST(short_calls_are_continued),
        TEST(memory_that_is_short_for_a_moment_is_waited_for),
        TEST(a_file_that_was_cut_off_is_told),
        TEST(a_misdirected_write_is_noticed),
        TEST(a_senseless_reference_is_refused),
        TEST(a_renamed_page_keeps_its_copy),
        TEST(without_a_file_nothing_moves),
    };
    return cmocka_run_group_tests(tests, set_up_all, NULL);
}
