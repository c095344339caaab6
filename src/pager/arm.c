/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arm: from here on, pages come and go.
 *
 *   1. tables and threads' memory are set up: all that can fail without harm
 *   2. a userfaultfd is opened and registered over the arena and the staging area
 *   3. what is present is read from the page map: those pages are resident from now on
 *   4. the handlers start
 *
 * First touches between 2 and 4 wait. All of it under the lock, so that nothing is handed out or
 * given back meanwhile. Runs in the service thread, which alone has the descriptor.
 */
#include "base/meta.h"
#include "base/touches.h"
#include "base/uffd.h"
#include "pager/copies.h"
#include "pager/internal.h"
#include "pager/watch.h"
#include "store/seal.h"
#include "store/swap.h"

#include "base/checked.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#define FEATURES ((uint64_t)UFFD_FEATURE_MOVE | UFFD_FEATURE_THREAD_ID)
#define POOL_MOST_BYTES ((size_t)1 << 40)

static int init_queues(void)
{
    uint64_t most = atomic_load(&pager.control->budget_most_bytes) >> SYS_PAGE_SHIFT;
    int error = pager_open_policy(most);
    if (error)
        return error;
    error = drop_behind_open(&pager.behind, most);
    if (error)
        policy_close(&pager.policy);
    return error;
}

static int open_swap(void)
{
    char path[64];
    const struct control_options *options = &pager.control->options;
    if (options->swap_max_bytes == 0)
        return -1;
    log_format(path, sizeof path, "/proc/%d/fd/%d", options->keeper_pid, options->swap_fd);
    return swap_reopen(path, 0);
}

/* The swap file and the key to it; both or none. A negative descriptor: none. */
static void attach_swap(struct store_config *config)
{
    char path[64];
    const struct control_options *options = &pager.control->options;
    config->swap_fd = open_swap();
    if (config->swap_fd < 0)
        return;
    log_format(path, sizeof path, "/proc/%d/fd/%d", options->keeper_pid, options->key_fd);
    const int error = seal_attach(path, &config->seal);
    if (error < 0) {
        sys_close(config->swap_fd);
        config->swap_fd = error;
    }
}

static size_t pool_max(void)
{
    size_t most = (size_t)atomic_load(&pager.control->budget_most_bytes) * 2;
    return most < POOL_MOST_BYTES ? most : POOL_MOST_BYTES;
}

static int init_store(void)
{
    struct store_config config = {
        .pool_max_bytes = pool_max(),
        .swap = control_swap_space(pager.control),
        .swap_owner = pager.slot,
    };
    attach_swap(&config);
    if (config.swap_fd < 0) {
        if (pager.control->options.swap_max_bytes > 0 &&
            !(atomic_fetch_or(&pager.control->warned, 1) & 1))
            log_format(pager.control->message, sizeof pager.control->message,
                       "the swap file can't be reached from process %d: it pages to RAM only",
                       sys_getpid());
        config.swap = NULL;
    }
    int error = store_init(&config, &pager.store);
    if (error && config.swap_fd >= 0) {
        sys_close(config.swap_fd);
        seal_detach(config.seal);
    }
    return error;
}

/* Address space for the most that the budget may become. */
static int init_for_most(void)
{
    int error = init_queues();
    if (error)
        return error;
    error = init_store();
    if (error) {
        drop_behind_close(&pager.behind);
        policy_close(&pager.policy);
    }
    return error;
}

/* Where that is not to be had (ulimit -v), the budget of the run does not rise any more. */
static int init_for_any(void)
{
    int error = init_for_most();
    uint64_t now = atomic_load(&pager.control->budget_bytes);
    if (error != -ENOMEM || atomic_load(&pager.control->budget_most_bytes) <= now)
        return error;
    atomic_store(&pager.control->budget_most_bytes, now);
    return init_for_most();
}

static int init_tables(void)
{
    struct watermarks marks;
    budget_watermarks(&marks);
    int error = init_for_any();
    if (!error)
        error = staging_init(&pager.staging,
                             2u << log2_ceil(marks.staging + STAGING_RESERVE_SLOTS));
    if (!error)
        error = copies_init(pager.n_pages);
    if (!error)
        error = reclaim_init();
    return error;
}

static size_t arena_bytes(void)
{
    return (size_t)pager.n_pages << SYS_PAGE_SHIFT;
}

/* What the program mapped over the arena with something of its own is left out. */
int arena_each_range(int (*apply)(uint32_t from, uint32_t to))
{
    uint32_t from = 0;
    int error = 0;
    for (uint32_t i = 0; i < pager.regions.count && !error; i++) {
        const struct region *region = &pager.regions.array[i];
        if (!(region->flags & REGION_FOREIGN))
            continue;
        if (from < region->first)
            error = apply(from, region->first);
        from = region->first + region->n_pages;
    }
    return error || from == pager.n_pages ? error : apply(from, pager.n_pages);
}

static int register_pages(uint32_t from, uint32_t to)
{
    return uffd_register(service_uffd, page_address(from), (size_t)(to - from) << SYS_PAGE_SHIFT,
                         pager.can_protect);
}

int arena_register(void)
{
    return arena_each_range(register_pages);
}

static int open_uffd(void)
{
    enum uffd_way way;
    int uffd = uffd_open(FEATURES | UFFD_FEATURE_PAGEFAULT_FLAG_WP, &way);
    pager.can_protect = uffd >= 0;
    return uffd == -EINVAL ? uffd_open(FEATURES, &way) : uffd;
}

static int register_all(void)
{
    service_uffd = open_uffd();
    if (service_uffd < 0)
        return service_uffd;
    int error = arena_register();
    if (!error)
        error = uffd_register(service_uffd, pager.staging.base,
                              (size_t)pager.staging.n_slots << SYS_PAGE_SHIFT, false);
    if (error)
        sys_close(service_uffd); /* unregisters what was registered */
    return error;
}

#define PAGEMAP_BATCH 512

static bool is_foreign(uint32_t page)
{
    const struct region *region = regions_find(&pager.regions, page);
    return region && region->first <= page && region->flags & REGION_FOREIGN;
}

/* L. A present page is resident from now on. */
static void take_over(uint32_t page, page_entry flags, uint64_t map)
{
    pager_make_resident(page, POLICY_FIRST);
    if (pager.sees_writes && !(map & PAGEMAP_EXCLUSIVE))
        flags |= PAGE_SHARED;
    table_set(&pager.table, page, table_get(&pager.table, page) | flags);
    if (flags & PAGE_DEAD)
        freed_note(page, 1);
    pager.n_resident++;
    watch_touch(page, TOUCHES_WRITE);
}

/* L. What nobody shares may be written to. */
static void unprotect_exclusive(uint32_t page, const uint64_t *maps, uint32_t n)
{
    for (uint32_t i = 0, start = 0; pager.sees_writes && i <= n; i++) {
        if (i < n && maps[i] & PAGEMAP_EXCLUSIVE && !is_foreign(page + i))
            continue;
        if (i > start)
            uffd_protect(service_uffd, page_address(page + start),
                         (size_t)(i - start) << SYS_PAGE_SHIFT, false);
        start = i + 1;
    }
}

/* Every present page of [page, end) is resident from now on, in the order of addresses. */
static int scan_range(int fd, uint32_t page, uint32_t end)
{
    uint64_t maps[PAGEMAP_BATCH];
    while (page < end) {
        uint32_t n = end - page < PAGEMAP_BATCH ? end - page : PAGEMAP_BATCH;
        off_t offset = (off_t)((uintptr_t)page_address(page) >> SYS_PAGE_SHIFT) * 8;
        ssize_t got = sys_pread(fd, maps, n * sizeof maps[0], offset);
        if (got <= 0)
            return got < 0 ? (int)got : -EIO;
        n = (uint32_t)((size_t)got / sizeof maps[0]);
        for (uint32_t i = 0; i < n; i++) {
            page_entry dead = table_get(&pager.table, page + i) & PAGE_DEAD;
            bool present = (maps[i] & PAGEMAP_PRESENT) && !is_foreign(page + i);
            if (dead && !present) {
                pager.n_dead--;
                table_set(&pager.table, page + i, 0);
            }
            if (present)
                take_over(page + i, dead, maps[i]);
        }
        unprotect_exclusive(page, maps, n);
        page += n;
    }
    return 0;
}

static int scan_present(void)
{
    int fd = sys_openat(AT_FDCWD, "/proc/thread-self/pagemap", O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return fd;
    pager.n_resident = 0;
    int error = 0;
    for (unsigned zone = 0; zone < 2 && !error; zone++) {
        struct quire_buddy_counts counts;
        error = quire_buddy_counts(pager.buddy, zone, &counts);
        if (!error)
            error = scan_range(fd, counts.first, counts.frontier);
    }
    sys_close(fd);
    return error;
}

/*
 * L. In a fork's child others are charged for what is still shared. Unless one of them is not
 * armed: then it stays charged in full here as well, since nobody sees what is copied there.
 */
static void charge_exclusive(void)
{
    int64_t n_shared = 0;
    bool unseen = pager.counts_in_full && !accounts_see_all();
    pager.counts_in_full = false;
    if (unseen)
        return;
    for (uint32_t page = 0; (page = table_next(&pager.table, page, pager.n_pages)) < pager.n_pages;
         page++)
        n_shared += (table_get(&pager.table, page) & PAGE_SHARED) != 0;
    budget_charge(CONTROL_RESIDENT, pager.self->shared - n_shared);
    pager.self->shared = n_shared;
}

static int arm_locked(void)
{
    int error = init_tables();
    if (!error)
        error = register_all();
    if (error)
        return error;
    /* A huge page would be taken apart again by the first eviction from it. */
    sys_madvise(pager.base, arena_bytes(), MADV_NOHUGEPAGE);
    /* A child that Quire does not know of (raw clone) must not read zeros in place of contents. */
    sys_madvise(pager.base, arena_bytes(), MADV_DONTFORK);
    int64_t charged = pager.n_resident;
    watch_begin();
    if (pager.shares)
        sharing_protect_all();
    error = scan_present();
    if (error)
        pager_end_run(CONTROL_FAILED, "the page map can't be read: the pager needs /proc");
    budget_charge(CONTROL_RESIDENT, pager.n_resident - charged);
    if (pager.inherits && pager.sees_writes)
        charge_exclusive();
    budget_charge_tables();
    atomic_store_explicit(&pager.state, PAGER_ARMED, memory_order_release);
    return 0;
}

static int start_handlers(void)
{
    int error = handlers_start();
    if (error)
        pager_end_run(CONTROL_FAILED, "no thread could be started to serve page faults (error %d)",
                      -error);
    atomic_store(&pager.self->armed, 1);
    return 0;
}

int arm(void)
{
    lock_take(&pager.lock);
    int error = arm_locked();
    lock_release(&pager.lock);
    return error ? error : start_handlers();
}

int arm_child(void)
{
    int error = register_all();
    if (error)
        return error;
    watch_begin();
    lock_take(&pager.lock);
    sharing_protect_all();
    lock_release(&pager.lock);
    if (pager.store) {
        int fd = open_swap();
        store_fork_child(pager.store, pager.slot, fd);
    }
    return start_handlers();
}
