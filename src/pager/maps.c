/* SPDX-License-Identifier: Apache-2.0 */
/*
 * maps: the program's private anonymous mappings in the arena.
 *
 * A mapping is a row of pages from the buddy system's second zone and a region that says what it
 * may be used for. To unmap is to forget its pages, drop their memory and take the access away: the
 * kernel's own mapping, and with it the registration for faults, stays for the life of the process.
 * Memory that the program maps over with something of its own (MAP_FIXED) becomes foreign: it is
 * out of the pager's hands for good.
 */
#include "base/checked.h"
#include "base/touches.h"
#include "pager/internal.h"
#include "pager/watch.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24 /* Linux 5.18 */
#endif
#define ADVICE_GUARD_INSTALL 102 /* Linux 6.13; not in Debian 12's headers */
#define ADVICE_GUARD_REMOVE 103

static const struct quire_buddy_request map_zone = {.n_zones = 1, .zone = {PAGER_MAP_ZONE}};

bool pager_owns(const void *address, size_t n_bytes)
{
    const char *start = address;
    const char *low = page_address(pager.heap_pages), *high = page_address(pager.n_pages);
    return pager.base && start >= low && start < high && n_bytes <= (size_t)(high - start);
}

bool pager_touches(const void *address, size_t n_bytes)
{
    const char *start = address;
    return pager.base && start < page_address(pager.n_pages) &&
           n_bytes > (size_t)(start < page_address(pager.heap_pages)
                                  ? page_address(pager.heap_pages) - start
                                  : 0);
}

static uint32_t pages_of(size_t n_bytes)
{
    return (uint32_t)(round_up(n_bytes, SYS_PAGE_SIZE) >> SYS_PAGE_SHIFT);
}

static size_t bytes_of(uint32_t n_pages)
{
    return (size_t)n_pages << SYS_PAGE_SHIFT;
}

/* L, unarmed. A charge of pager_admit goes back. */
static void take_back(int64_t n_pages)
{
    pager.n_resident -= n_pages;
    budget_charge(CONTROL_RESIDENT, -n_pages);
}

/* L, unarmed. What the accessible pages of a range were charged goes back. */
static void uncharge(uint32_t page, uint32_t n_pages)
{
    if (is_armed())
        return;
    int64_t n_charged = regions_count(&pager.regions, page, n_pages, REGION_ACCESS);
    pager.n_resident -= n_charged;
    budget_charge(CONTROL_RESIDENT, -n_charged);
}

/* L. The range's contents are gone and it reads as zeros. */
static void drop_contents(uint32_t page, uint32_t n_pages, int advice)
{
    watch_range(page, page + n_pages, TOUCHES_DROPPED);
    pager_forget(page, page + n_pages);
    sys_madvise(page_address(page), bytes_of(n_pages), advice);
}

static void free_pages(uint32_t page, uint32_t n_pages)
{
    if (quire_buddy_free_range(pager.buddy, page, n_pages) < 0)
        pager_end_run(CONTROL_FAILED, "internal error: pages %u+%u are not allocated", page,
                      n_pages);
}

/* What a region of that protection is flagged with. */
static uint32_t flags_of(int prot)
{
    uint32_t access = prot == PROT_NONE ? 0 : REGION_ACCESS;
    return access | ((uint32_t)prot << REGION_PROT_SHIFT & REGION_PROT_MASK);
}

/* L. */
static void count_used(uint32_t end)
{
    if (end - pager.heap_pages <= pager.maps_end)
        return;
    pager.maps_end = end - pager.heap_pages;
    pager_tell_used();
}

static void *map_locked(struct pager_guard *guard, uint32_t n_pages, int prot)
{
    quire_page page;
    uint32_t flags = flags_of(prot);
    if (quire_buddy_alloc_exact(pager.buddy, &map_zone, n_pages, 0, &page) < 0)
        return NULL;
    if (flags && !pager_admit(guard, n_pages))
        goto give_back;
    if (regions_set(&pager.regions, page, n_pages, flags) < 0)
        goto take_back_charge;
    if (flags && sys_mprotect(page_address(page), bytes_of(n_pages), prot) < 0)
        goto clear_region;
    count_used(page + n_pages);
    return page_address(page);

clear_region:
    (void)regions_clear(&pager.regions, page, n_pages);
take_back_charge:
    if (flags && !is_armed()) {
        pager.n_resident -= n_pages;
        budget_charge(CONTROL_RESIDENT, -(int64_t)n_pages);
    }
give_back:
    free_pages(page, n_pages);
    return NULL;
}

void *pager_map(size_t n_bytes, int prot)
{
    if (n_bytes == 0 || n_bytes > bytes_of(pager.n_pages - pager.heap_pages) / 2)
        return NULL;
    struct pager_guard guard;
    pager_enter(&guard);
    void *address = map_locked(&guard, pages_of(n_bytes), prot);
    pager_leave(&guard);
    service_start_if_large();
    return address;
}

/* L. Frees the part of the range that lies in regions, region by region. */
static void unmap_regions(uint32_t page, uint32_t end)
{
    const struct region *next;
    while ((next = regions_find(&pager.regions, page)) && next->first < end) {
        struct region region = *next;
        uint32_t from = region.first > page ? region.first : page;
        uint32_t to = region.first + region.n_pages < end ? region.first + region.n_pages : end;
        uncharge(from, to - from);
        watch_range(from, to, TOUCHES_DROPPED);
        pager_forget(from, to);
        if (region.flags & REGION_FOREIGN) {
            /* Its addresses are not used again: they are no longer registered. */
            sys_mmap(page_address(from), bytes_of(to - from), PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
            (void)regions_clear(&pager.regions, from, to - from);
        } else {
            pager_forget_locks(from, to - from);
            sys_madvise(page_address(from), bytes_of(to - from), MADV_DONTNEED);
            sys_mprotect(page_address(from), bytes_of(to - from), PROT_NONE);
            (void)regions_clear(&pager.regions, from, to - from);
            free_pages(from, to - from);
        }
        page = to;
    }
}

int pager_unmap(void *address, size_t n_bytes)
{
    struct pager_guard guard;
    pager_enter(&guard);
    unmap_regions(page_of(address), page_of(address) + pages_of(n_bytes));
    pager_leave(&guard);
    return 0;
}

/* L. The accessible part of the range grows; *n_admitted: by how many pages, which are charged. */
static bool admit_access(struct pager_guard *guard, uint32_t page, uint32_t n_pages, int prot,
                         int64_t *n_admitted)
{
    uint32_t n_accessible = regions_count(&pager.regions, page, n_pages, REGION_ACCESS);
    *n_admitted = 0;
    if (prot == PROT_NONE || is_armed() || n_accessible == n_pages)
        return true; /* what loses access keeps its contents, and its charge */
    *n_admitted = (int64_t)n_pages - n_accessible;
    return pager_admit(guard, *n_admitted);
}

/* L. The kernel refused what had been admitted; once armed it was not charged. */
static void take_back_access(int64_t n_admitted)
{
    if (!is_armed())
        take_back(n_admitted);
}

int pager_protect(void *address, size_t n_bytes, int prot)
{
    struct pager_guard guard;
    uint32_t page = page_of(address), n_pages = pages_of(n_bytes);
    int64_t n_admitted;
    int error = -ENOMEM;
    pager_enter(&guard);
    if (regions_count(&pager.regions, page, n_pages, 0) == n_pages &&
        admit_access(&guard, page, n_pages, prot, &n_admitted)) {
        error = sys_mprotect(address, n_bytes, prot);
        if (!error)
            error = regions_change(&pager.regions, page, n_pages, flags_of(prot), REGION_PROT_MASK);
        if (error)
            take_back_access(n_admitted);
    }
    pager_leave(&guard);
    service_start_if_large();
    return error;
}

/* L. Private anonymous memory again, as MAP_FIXED wants it: zeros, with this protection. */
static int map_over_locked(struct pager_guard *guard, uint32_t page, uint32_t n_pages, int prot)
{
    int64_t n_admitted;
    if (!admit_access(guard, page, n_pages, prot, &n_admitted))
        return -ENOMEM;
    pager_forget_locks(page, n_pages);
    drop_contents(page, n_pages, MADV_DONTNEED);
    int error = sys_mprotect(page_address(page), bytes_of(n_pages), prot);
    if (!error)
        error = regions_change(&pager.regions, page, n_pages, flags_of(prot),
                               REGION_PROT_MASK | REGION_WIPEONFORK);
    if (error)
        take_back_access(n_admitted);
    return error;
}

int pager_map_over(void *address, size_t n_bytes, int prot)
{
    struct pager_guard guard;
    uint32_t page = page_of(address), n_pages = pages_of(n_bytes);
    int error = -ENOTSUP; /* only where all of it is managed */
    pager_enter(&guard);
    if (regions_count(&pager.regions, page, n_pages, 0) == n_pages &&
        regions_count(&pager.regions, page, n_pages, REGION_FOREIGN) == 0)
        error = map_over_locked(&guard, page, n_pages, prot);
    pager_leave(&guard);
    return error;
}

/* L. The kernel has put something else in its place. */
static void forget_mapping(uint32_t page, uint32_t n_pages)
{
    pager.n_locked -= regions_count(&pager.regions, page, n_pages, REGION_LOCKED);
    uncharge(page, n_pages);
    watch_range(page, page + n_pages, TOUCHES_DROPPED);
    pager_forget(page, page + n_pages);
}

void *pager_map_foreign(void *address, size_t n_bytes, int prot, int flags, int fd, long offset)
{
    struct pager_guard guard;
    uint32_t page = page_of(address), n_pages = pages_of(n_bytes);
    pager_enter(&guard);
    pager_wait_idle(page, page + n_pages);
    void *result = sys_mmap(address, n_bytes, prot, flags, fd, offset);
    if (!sys_is_error(result)) { /* else what was there is there yet */
        forget_mapping(page, n_pages);
        (void)regions_set(&pager.regions, page, n_pages, REGION_FOREIGN);
    }
    pager_leave(&guard);
    return result;
}

/* Drops contents on the program's wish: MADV_DONTNEED, MADV_FREE, and of locked pages, too. */
static int advise_drop(uint32_t page, uint32_t n_pages, int advice)
{
    struct pager_guard guard;
    int error = 0;
    pager_enter(&guard);
    if (regions_count(&pager.regions, page, n_pages, 0) != n_pages)
        error = -ENOMEM;
    else if (advice == MADV_DONTNEED &&
             regions_count(&pager.regions, page, n_pages, REGION_LOCKED) > 0)
        error = -EINVAL;
    else if (regions_count(&pager.regions, page, n_pages, REGION_FOREIGN) > 0)
        error = sys_madvise(page_address(page), bytes_of(n_pages), advice);
    else
        drop_contents(page, n_pages, advice);
    pager_leave(&guard);
    return error;
}

static int advise_fork(uint32_t page, uint32_t n_pages, int advice)
{
    struct pager_guard guard;
    bool wipe = advice == MADV_WIPEONFORK;
    pager_enter(&guard);
    int error = sys_madvise(page_address(page), bytes_of(n_pages), advice);
    if (!error)
        error = regions_change(&pager.regions, page, n_pages, wipe ? REGION_WIPEONFORK : 0,
                               wipe ? 0 : REGION_WIPEONFORK);
    pager_leave(&guard);
    return error;
}

int pager_advise(void *address, size_t n_bytes, int advice)
{
    uint32_t page = page_of(address), n_pages = pages_of(n_bytes);
    if ((uintptr_t)address % SYS_PAGE_SIZE)
        return -EINVAL;
    switch (advice) {
    case MADV_DONTNEED:
    case MADV_FREE:
        return advise_drop(page, n_pages, MADV_DONTNEED);
    case MADV_DONTNEED_LOCKED:
        return advise_drop(page, n_pages, MADV_DONTNEED_LOCKED);
    case MADV_WILLNEED:
        return is_armed() ? service_call(SERVICE_FETCH, page, 0, n_pages) : 0;
    case MADV_COLD:
    case MADV_PAGEOUT:
        return is_armed() ? service_call(SERVICE_EVICT, page, 0, n_pages) : 0;
    case MADV_WIPEONFORK:
    case MADV_KEEPONFORK:
        return advise_fork(page, n_pages, advice);
    case MADV_HUGEPAGE: /* pages are evicted one by one: a hint for as long as nothing is armed */
        return is_armed() ? 0 : sys_madvise(address, n_bytes, advice);
    case MADV_DONTFORK:
    case MADV_DOFORK:
        return is_armed() ? 0 : sys_madvise(address, n_bytes, advice);
    case ADVICE_GUARD_INSTALL: /* they would drop contents that the pager brings back */
    case ADVICE_GUARD_REMOVE:
        return -EINVAL; /* as on kernels that do not know them */
    default:
        return sys_madvise(address, n_bytes, advice);
    }
}

/* Grows a mapping where it lies, if what is behind it is free. */
static bool grow_in_place(const struct region *region, uint32_t page, uint32_t n_old,
                          uint32_t n_new)
{
    struct pager_guard guard;
    uint32_t more = page + n_old, n_more = n_new - n_old;
    bool grown = false;
    pager_enter(&guard);
    if (quire_buddy_try_extend(pager.buddy, page, n_old, n_new) == 0) {
        /* The new pages are neither locked nor wiped by a fork: the kernel knows nothing of it. */
        const uint32_t flags = region->flags & ~(REGION_LOCKED | REGION_WIPEONFORK);
        bool admitted = !(flags & REGION_ACCESS) || pager_admit(&guard, n_more);
        grown = admitted && regions_set(&pager.regions, more, n_more, flags) == 0;
        if (admitted && !grown && !is_armed() && (flags & REGION_ACCESS))
            take_back(n_more);
        if (grown && sys_mprotect(page_address(more), bytes_of(n_more), region_prot(region)) < 0) {
            uncharge(more, n_more);
            (void)regions_clear(&pager.regions, more, n_more);
            grown = false;
        }
        if (grown)
            count_used(more + n_more);
        else
            free_pages(more, n_more);
    }
    pager_leave(&guard);
    return grown;
}

/* The one region that a range lies in; false when it lies in several, or in none. */
static bool region_around(uint32_t page, uint32_t n_pages, struct region *result)
{
    struct pager_guard guard;
    pager_enter(&guard);
    const struct region *region = regions_find(&pager.regions, page);
    bool found = region && region->first <= page &&
                 region->first + region->n_pages >= page + n_pages;
    if (found)
        *result = *region;
    pager_leave(&guard);
    return found;
}

/*
 * Moves contents out of a mapping that goes away, to one that is readable and writable: the kernel
 * moves no pages of read-only mappings, and those without access could not even be copied.
 */
static int move_writable(uint32_t from, uint32_t to, uint32_t n_pages, const struct region *region)
{
    const int writable = PROT_READ | PROT_WRITE;
    if (region_prot(region) != writable) {
        int error = sys_mprotect(page_address(from), bytes_of(n_pages), writable);
        if (error)
            return error;
    }
    pager_move_contents(from, to, n_pages);
    return 0;
}

void *pager_remap(void *address, size_t old_bytes, size_t new_bytes, bool may_move)
{
    uint32_t page = page_of(address), n_old = pages_of(old_bytes), n_new = pages_of(new_bytes);
    struct region region;
    if (n_old == 0 || new_bytes == 0 || (uintptr_t)address % SYS_PAGE_SIZE)
        return (void *)(intptr_t)-EINVAL;
    if (new_bytes > bytes_of(pager.n_pages - pager.heap_pages) / 2)
        return (void *)(intptr_t)-ENOMEM;
    if (!region_around(page, n_old, &region) || region.flags & REGION_FOREIGN)
        return (void *)(intptr_t)-EFAULT;
    if (n_new < n_old)
        pager_unmap(page_address(page + n_new), bytes_of(n_old - n_new));
    if (n_new <= n_old || grow_in_place(&region, page, n_old, n_new))
        return address;
    void *moved = may_move ? pager_map(new_bytes, PROT_READ | PROT_WRITE) : NULL;
    if (!moved)
        return (void *)(intptr_t)-ENOMEM;
    if (move_writable(page, page_of(moved), n_old, &region) < 0) {
        pager_unmap(moved, new_bytes);
        return (void *)(intptr_t)-ENOMEM;
    }
    pager_unmap(address, old_bytes);
    if (region_prot(&region) != (PROT_READ | PROT_WRITE)) /* too late to fail: it stays writable */
        (void)pager_protect(moved, new_bytes, region_prot(&region));
    return moved;
}

int pager_remap_over(void *address, size_t old_bytes, size_t new_bytes, void *target)
{
    uint32_t page = page_of(address), to = page_of(target);
    uint32_t n_old = pages_of(old_bytes), n_new = pages_of(new_bytes);
    struct region region;
    if (n_old == 0 || n_new == 0 || ((uintptr_t)address | (uintptr_t)target) % SYS_PAGE_SIZE ||
        (page < to + n_new && to < page + n_old))
        return -EINVAL;
    if (!region_around(page, n_old, &region) || region.flags & REGION_FOREIGN)
        return -EFAULT;
    int error = pager_map_over(target, new_bytes, PROT_READ | PROT_WRITE);
    if (error)
        return error == -ENOTSUP ? -EINVAL : error;
    error = move_writable(page, to, n_old < n_new ? n_old : n_new, &region);
    if (error)
        return error;
    pager_unmap(address, old_bytes);
    if (region_prot(&region) != (PROT_READ | PROT_WRITE))
        (void)pager_protect(target, new_bytes, region_prot(&region));
    return 0;
}

/* Pages of the arena that a range of addresses lies in, wholly or in part. */
static uint32_t pages_around(const void *address, size_t n_bytes, uint32_t *first)
{
    *first = page_of(address);
    return page_of((const char *)address + n_bytes - 1) + 1 - *first;
}

int pager_lock_range(const void *address, size_t n_bytes)
{
    struct pager_guard guard;
    uint32_t page, n_pages = pages_around(address, n_bytes, &page);
    int error = 0;
    pager_enter(&guard);
    uint32_t n_new = n_pages - regions_count(&pager.regions, page, n_pages, REGION_LOCKED);
    /*
     * What is locked can't be evicted, and the rest of the program needs the other half. EPERM
     * rather than ENOMEM: programs that would like to lock then go on without, and do not shrink.
     */
    if (pager.control && pager.n_locked + n_new > control_budget(pager.control) / 2)
        error = -EPERM;
    else if (page < pager.heap_pages)
        error = regions_set(&pager.regions, page, n_pages, REGION_LOCKED);
    else
        error = regions_change(&pager.regions, page, n_pages, REGION_LOCKED, 0);
    if (!error)
        pager.n_locked += n_new;
    pager_leave(&guard);
    if (error)
        return error;
    error = sys_mlock(address, n_bytes); /* brings the pages in: not under the lock */
    if (error)
        pager_unlock_range(address, n_bytes);
    return error;
}

void pager_forget_locks(uint32_t page, uint32_t n_pages)
{
    uint32_t n_locked = regions_count(&pager.regions, page, n_pages, REGION_LOCKED);
    if (n_locked == 0)
        return;
    pager.n_locked -= n_locked;
    sys_munlock(page_address(page), bytes_of(n_pages));
    if (page < pager.heap_pages)
        (void)regions_clear(&pager.regions, page, n_pages);
    else
        (void)regions_change(&pager.regions, page, n_pages, 0, REGION_LOCKED);
}

int pager_unlock_range(const void *address, size_t n_bytes)
{
    struct pager_guard guard;
    uint32_t page, n_pages = pages_around(address, n_bytes, &page);
    pager_enter(&guard);
    pager_forget_locks(page, n_pages);
    pager_leave(&guard);
    return 0;
}
