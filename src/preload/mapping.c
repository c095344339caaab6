/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mapping: the interposed mmap family, brk and sbrk.
 *
 * Private anonymous memory of some size goes to the pager; everything else goes to the kernel as it
 * is (docs/limits.md has the table of what stays outside and why). Functions that work on ranges
 * ask whose range it is. Outside of a run nothing is done here but to pass on.
 */
#include "base/checked.h"
#include "base/lock.h"
#include "base/sys.h"
#include "pager/pager.h"
#include "preload/preload.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#define LEAST_BYTES ((size_t)64 << 10) /* smaller mappings are not worth a region */

/* Of what kind a mapping must not be: shared, of a file, placed or built in a special way. */
#define FOREIGN_FLAGS \
    (MAP_SHARED | MAP_32BIT | MAP_GROWSDOWN | MAP_HUGETLB | MAP_STACK | MAP_FIXED_NOREPLACE)

static int fail(int error) /* a negative errno becomes -1 and errno */
{
    if (error >= 0)
        return error;
    errno = -error;
    return -1;
}

static void *fail_address(void *address)
{
    if (!sys_is_error(address))
        return address;
    errno = -sys_error(address);
    return MAP_FAILED;
}

static bool is_ours(size_t n_bytes, int prot, int flags)
{
    return is_paged() && (flags & MAP_ANONYMOUS) && (flags & MAP_PRIVATE) &&
           !(flags & FOREIGN_FLAGS) && !(prot & ~(PROT_READ | PROT_WRITE)) &&
           n_bytes >= LEAST_BYTES;
}

static void *map_fixed(void *address, size_t n_bytes, int prot, int flags, int fd, off_t offset)
{
    if (!pager_owns(address, n_bytes)) {
        if (pager_touches(address, n_bytes))
            return (void *)(intptr_t)-ENOMEM;
        return sys_mmap(address, n_bytes, prot, flags, fd, offset);
    }
    if ((flags & MAP_ANONYMOUS) && (flags & MAP_PRIVATE) && !(prot & PROT_EXEC)) {
        int error = pager_map_over(address, n_bytes, prot);
        if (error != -ENOTSUP)
            return error ? (void *)(intptr_t)error : address;
    }
    return pager_map_foreign(address, n_bytes, prot, flags, fd, offset);
}

EXPORT void *mmap(void *address, size_t n_bytes, int prot, int flags, int fd, off_t offset)
{
    if (!has_pager() || n_bytes == 0)
        return fail_address(sys_mmap(address, n_bytes, prot, flags, fd, offset));
    if (flags & MAP_FIXED)
        return fail_address(map_fixed(address, n_bytes, prot, flags, fd, offset));
    if (!is_ours(n_bytes, prot, flags))
        return fail_address(sys_mmap(address, n_bytes, prot, flags, fd, offset));
    void *result = pager_map(n_bytes, prot);
    if (!result) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    if (flags & MAP_LOCKED)
        (void)pager_lock_range(result, n_bytes); /* as the kernel: not being able is no error */
    if ((flags & MAP_POPULATE) && (prot & PROT_WRITE) && !pager_is_armed())
        sys_madvise(result, round_up(n_bytes, SYS_PAGE_SIZE), MADV_POPULATE_WRITE);
    return result;
}

EXPORT void *mmap64(void *address, size_t n_bytes, int prot, int flags, int fd, off_t offset)
    __attribute__((alias("mmap")));

EXPORT int munmap(void *address, size_t n_bytes)
{
    if (!has_pager() || n_bytes == 0 || (uintptr_t)address % SYS_PAGE_SIZE ||
        !pager_owns(address, n_bytes))
        return fail(has_pager() && pager_touches(address, n_bytes) && n_bytes > 0
                        ? -EINVAL
                        : sys_munmap(address, n_bytes));
    return fail(pager_unmap(address, n_bytes));
}

static void *remap_fixed(void *old, size_t old_bytes, size_t new_bytes, int flags, void *target)
{
    if (flags == (MREMAP_FIXED | MREMAP_MAYMOVE) && pager_owns(old, old_bytes) &&
        pager_owns(target, new_bytes)) {
        int error = pager_remap_over(old, old_bytes, new_bytes, target);
        return error ? (void *)(intptr_t)error : target;
    }
    /* From managed memory to elsewhere or the other way: the pages can't change hands. */
    if (pager_touches(old, old_bytes) || pager_touches(target, new_bytes))
        return (void *)(intptr_t)-EINVAL;
    return sys_mremap(old, old_bytes, new_bytes, flags, target);
}

EXPORT void *mremap(void *old, size_t old_bytes, size_t new_bytes, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    void *target = flags & MREMAP_FIXED ? va_arg(arguments, void *) : NULL;
    va_end(arguments);
    if (!has_pager())
        return fail_address(sys_mremap(old, old_bytes, new_bytes, flags, target));
    if (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP))
        return fail_address(remap_fixed(old, old_bytes, new_bytes, flags, target));
    if (!pager_owns(old, old_bytes))
        return fail_address(sys_mremap(old, old_bytes, new_bytes, flags, NULL));
    return fail_address(pager_remap(old, old_bytes, new_bytes, flags & MREMAP_MAYMOVE));
}

EXPORT int mprotect(void *address, size_t n_bytes, int prot)
{
    if (!has_pager() || n_bytes == 0 || (uintptr_t)address % SYS_PAGE_SIZE ||
        !pager_owns(address, n_bytes))
        return fail(sys_mprotect(address, n_bytes, prot));
    return fail(pager_protect(address, n_bytes, prot));
}

EXPORT int madvise(void *address, size_t n_bytes, int advice)
{
    if (!has_pager() || n_bytes == 0 || !pager_owns(address, n_bytes))
        return fail(sys_madvise(address, n_bytes, advice));
    return fail(pager_advise(address, n_bytes, advice));
}

EXPORT int posix_madvise(void *address, size_t n_bytes, int advice)
{
    if (advice == POSIX_MADV_DONTNEED)
        return 0; /* as glibc: MADV_DONTNEED loses data, which POSIX does not mean */
    if (!has_pager() || n_bytes == 0 || !pager_owns(address, n_bytes))
        return -sys_madvise(address, n_bytes, advice);
    return -pager_advise(address, n_bytes, advice);
}

static bool is_arena(const void *address)
{
    const char *low = pager_heap_base();
    const char *at = address;
    return has_pager() && ((at >= low && at < low + (pager_heap_pages() << SYS_PAGE_SHIFT)) ||
                           pager_owns(address, 1));
}

EXPORT int mlock(const void *address, size_t n_bytes)
{
    if (n_bytes == 0 || !is_arena(address))
        return fail(sys_mlock(address, n_bytes));
    return fail(pager_lock_range(address, n_bytes));
}

EXPORT int mlock2(const void *address, size_t n_bytes, unsigned flags)
{
    if (flags == 0)
        return mlock(address, n_bytes);
    if (n_bytes == 0 || !is_arena(address))
        return fail(sys_mlock2(address, n_bytes, flags));
    return fail(-EINVAL); /* on fault: the pager decides what is resident */
}

EXPORT int munlock(const void *address, size_t n_bytes)
{
    if (n_bytes == 0 || !is_arena(address))
        return fail(sys_munlock(address, n_bytes));
    return fail(pager_unlock_range(address, n_bytes));
}

EXPORT int mlockall(int flags)
{
    /* Everything locked, and a budget below what the program needs: one of both has to give. */
    return is_paged() ? fail(-EPERM) : fail(sys_mlockall(flags));
}

/*
 * The program break: libc's own malloc, which used it, is not there; a program that calls sbrk gets
 * a range of its own in the arena.
 */
#define BREAK_BYTES ((size_t)16 << 30)

static struct {
    struct lock lock;
    char *start, *end, *limit; /* lock */
} brk_area;

static int set_break_locked(char *end)
{
    if (end < brk_area.start || end > brk_area.limit)
        return -ENOMEM;
    char *old = (char *)round_up((uintptr_t)brk_area.end, SYS_PAGE_SIZE);
    char *new = (char *)round_up((uintptr_t)end, SYS_PAGE_SIZE);
    int error = 0;
    if (new > old)
        error = pager_protect(old, (size_t)(new - old), PROT_READ | PROT_WRITE);
    else if (new < old)
        error = pager_map_over(new, (size_t)(old - new), PROT_NONE);
    if (!error)
        brk_area.end = end;
    return error;
}

static int ensure_break_locked(void)
{
    if (brk_area.start)
        return 0;
    brk_area.start = pager_map(BREAK_BYTES, PROT_NONE);
    if (!brk_area.start)
        return -ENOMEM;
    brk_area.end = brk_area.start;
    brk_area.limit = brk_area.start + BREAK_BYTES;
    return 0;
}

/* libc's, which are the kernel's: outside of a run. Looked up once; a race does it twice. */
static void *plain_sbrk(intptr_t increment)
{
    static void *(*_Atomic next)(intptr_t);
    void *(*found)(intptr_t) = atomic_load_explicit(&next, memory_order_relaxed);
    if (!found) {
        *(void **)&found = dlsym(RTLD_NEXT, "sbrk");
        atomic_store_explicit(&next, found, memory_order_relaxed);
    }
    return found(increment);
}

static int plain_brk(void *end)
{
    static int (*_Atomic next)(void *);
    int (*found)(void *) = atomic_load_explicit(&next, memory_order_relaxed);
    if (!found) {
        *(void **)&found = dlsym(RTLD_NEXT, "brk");
        atomic_store_explicit(&next, found, memory_order_relaxed);
    }
    return found(end);
}

EXPORT void *sbrk(intptr_t increment)
{
    if (!has_pager())
        return plain_sbrk(increment);
    lock_take(&brk_area.lock);
    int error = ensure_break_locked();
    char *before = brk_area.end;
    if (!error && increment != 0)
        error = set_break_locked(before + increment);
    lock_release(&brk_area.lock);
    if (!error)
        return before;
    errno = -error;
    return (void *)-1;
}

EXPORT int brk(void *end)
{
    if (!has_pager())
        return plain_brk(end);
    lock_take(&brk_area.lock);
    int error = ensure_break_locked();
    if (!error)
        error = set_break_locked(end);
    lock_release(&brk_area.lock);
    return fail(error);
}
