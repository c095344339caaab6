/* SPDX-License-Identifier: Apache-2.0 */
/*
 * maps: what mmap(2), munmap(2), mremap(2), mprotect(2) and madvise(2) promise, on memory that is
 * resident, evicted and untouched.
 */
#include "helper.h"

#include <setjmp.h>
#include <signal.h>

enum { N = 256 }; /* pages of the mapping under test: 1 MiB, large enough to be managed */

static sigjmp_buf out_of_fault;

static void on_fault(int signal)
{
    (void)signal;
    siglongjmp(out_of_fault, 1);
}

/* Does a read or write of this byte fault? */
static int faults(volatile char *byte, int is_write)
{
    struct sigaction action = {.sa_handler = on_fault}, old;
    sigaction(SIGSEGV, &action, &old);
    int faulted = sigsetjmp(out_of_fault, 1);
    if (!faulted) {
        char value = *byte;
        if (is_write)
            *byte = value;
    }
    sigaction(SIGSEGV, &old, NULL);
    return faulted;
}

static void check_zero(const char *pages, size_t n_pages, const char *what)
{
    for (size_t i = 0; i < n_pages * PAGE; i++)
        if (pages[i] != 0)
            fail("%s: byte %zu is %02x, not 0", what, i, (unsigned char)pages[i]);
}

/* Every page has a pattern of its own, so that pages can be told apart after a move. */
static char *patterned(size_t n_pages)
{
    char *pages = map_pages(n_pages * PAGE);
    for (size_t i = 0; i < n_pages; i++)
        pattern_fill(pages + i * PAGE, PAGE, i);
    return pages;
}

static void check_pages(const char *pages, size_t first, size_t n_pages, const char *what)
{
    for (size_t i = 0; i < n_pages; i++)
        pattern_check(pages + i * PAGE, PAGE, first + i, what);
}

static void advice(void)
{
    char *p = patterned(N);
    press();
    EXPECT(madvise(p + 16 * PAGE, 32 * PAGE, MADV_DONTNEED) == 0);
    check_zero(p + 16 * PAGE, 32, "after MADV_DONTNEED");
    check_pages(p, 0, 16, "before the dropped pages");
    check_pages(p + 48 * PAGE, 48, N - 48, "after the dropped pages");

    /* Hints change nothing. */
    static const int hints[] = {MADV_WILLNEED, MADV_SEQUENTIAL, MADV_RANDOM,     MADV_COLD,
                                MADV_PAGEOUT,  MADV_HUGEPAGE,   MADV_NOHUGEPAGE, MADV_NORMAL};
    for (size_t i = 0; i < sizeof hints / sizeof *hints; i++) {
        int error = madvise(p + 64 * PAGE, 64 * PAGE, hints[i]);
        EXPECT(error == 0 || errno == EINVAL); /* EINVAL: this kernel does not know it */
        if (i % 3 == 0)
            press();
        check_pages(p + 64 * PAGE, 64, 64, "after a hint");
    }

    /* What is marked free is either still there or zero, page by page; written again, it stays. */
    EXPECT(madvise(p + 128 * PAGE, 32 * PAGE, MADV_FREE) == 0);
    press();
    for (size_t i = 128; i < 160; i++) {
        if (p[i * PAGE] == 0 && p[i * PAGE + 1] == 0)
            check_zero(p + i * PAGE, 1, "dropped after MADV_FREE");
        else
            check_pages(p + i * PAGE, i, 1, "kept after MADV_FREE");
    }
    for (size_t i = 128; i < 160; i++)
        pattern_fill(p + i * PAGE, PAGE, i);
    press();
    check_pages(p + 128 * PAGE, 128, 32, "written after MADV_FREE");
    EXPECT(madvise(p + 1, PAGE, MADV_DONTNEED) == -1 && errno == EINVAL);
    EXPECT(munmap(p, N * PAGE) == 0);
    EXPECT(madvise(p, N * PAGE, MADV_DONTNEED) == -1 && errno == ENOMEM);
}

static void protection(void)
{
    char *p = patterned(N);
    EXPECT(mprotect(p, 64 * PAGE, PROT_READ) == 0);
    press();
    check_pages(p, 0, 64, "evicted while read-only");
    EXPECT(faults(p + 5 * PAGE, 1) && !faults(p + 64 * PAGE, 1));
    EXPECT(mprotect(p + 16 * PAGE, 16 * PAGE, PROT_NONE) == 0);
    press();
    EXPECT(faults(p + 20 * PAGE, 0) && !faults(p + 32 * PAGE, 0));
    EXPECT(mprotect(p, N * PAGE, PROT_READ | PROT_WRITE) == 0);
    check_pages(p, 0, N, "after all protections are gone");
    EXPECT(!faults(p + 20 * PAGE, 1));

    /* Reserved first, opened bit by bit: what runtimes and allocators do. */
    char *reserved = mmap(NULL, 64 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                          -1, 0);
    EXPECT(reserved != MAP_FAILED && faults(reserved, 0));
    EXPECT(mprotect(reserved + 4 * MIB, MIB, PROT_READ | PROT_WRITE) == 0);
    check_zero(reserved + 4 * MIB, N, "opened pages");
    pattern_fill(reserved + 4 * MIB, MIB, 5);
    press();
    pattern_check(reserved + 4 * MIB, MIB, 5, "opened pages, evicted");
    EXPECT(faults(reserved + 5 * MIB, 0) && faults(reserved + 4 * MIB - 1, 0));
    EXPECT(munmap(reserved, 64 * MIB) == 0 && munmap(p, N * PAGE) == 0);
    EXPECT(mprotect(p, N * PAGE, PROT_READ) == -1 && errno == ENOMEM);
}

static void unmapping(void)
{
    char *p = patterned(N);
    press();
    EXPECT(munmap(p + 32 * PAGE, 64 * PAGE) == 0); /* a hole */
    EXPECT(faults(p + 32 * PAGE, 0) && faults(p + 95 * PAGE, 0));
    check_pages(p, 0, 32, "before the hole");
    check_pages(p + 96 * PAGE, 96, N - 96, "after the hole");
    char *again = mmap(p + 32 * PAGE, 64 * PAGE, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    EXPECT(again == p + 32 * PAGE);
    check_zero(again, 64, "mapped into the hole");

    /* MAP_FIXED over what is there replaces it. */
    pattern_fill(again, 64 * PAGE, 9);
    press();
    again = mmap(p + 16 * PAGE, 32 * PAGE, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    EXPECT(again == p + 16 * PAGE);
    check_zero(again, 32, "mapped over what was there");
    EXPECT(mmap(p, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) ==
               MAP_FAILED &&
           errno == EEXIST);
    check_pages(p, 0, 16, "before it");

    /* A file mapped over the middle shows the file. */
    FILE *file = tmpfile();
    EXPECT(file && fwrite("from a file", 1, 11, file) == 11 && fflush(file) == 0);
    char *view = mmap(p + 200 * PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, fileno(file), 0);
    EXPECT(view == p + 200 * PAGE && memcmp(view, "from a file", 11) == 0);
    press();
    check_pages(p + 201 * PAGE, 201, N - 201, "after the file's page");
    check_pages(p + 150 * PAGE, 150, 50, "before the file's page");
    fclose(file);
    EXPECT(munmap(p, N * PAGE) == 0 && munmap(p, N * PAGE) == 0);
}

static void moving(void)
{
    char *p = patterned(N);
    press();
    p = mremap(p, N * PAGE, 4 * N * PAGE, MREMAP_MAYMOVE);
    EXPECT(p != MAP_FAILED);
    check_pages(p, 0, N, "after growing");
    check_zero(p + N * PAGE, 3 * N, "the grown part");
    p = mremap(p, 4 * N * PAGE, N * PAGE / 2, 0);
    EXPECT(p != MAP_FAILED);
    press();
    check_pages(p, 0, N / 2, "after shrinking");

    char *target = map_pages(N * PAGE);
    pattern_fill(target, N * PAGE, 1000);
    press();
    char *moved = mremap(p, N * PAGE / 2, N * PAGE / 2, MREMAP_MAYMOVE | MREMAP_FIXED, target);
    EXPECT(moved == target);
    check_pages(moved, 0, N / 2, "after a move to a fixed address");
    EXPECT(faults(p, 0));
    for (size_t i = N * PAGE / 2; i < N * PAGE; i++)
        EXPECT((unsigned char)target[i] == pattern_byte(1000, i));

    /* Growing where something stands behind it fails unless it may move. */
    char *pair = patterned(8);
    EXPECT(mremap(pair, 4 * PAGE, 8 * PAGE, 0) == MAP_FAILED && errno == ENOMEM);
    check_pages(pair, 0, 8, "after a refused growth");
    EXPECT(munmap(target, N * PAGE) == 0 && munmap(pair, 8 * PAGE) == 0);
}

int main(int argc, char **argv)
{
    helper_init(argc, argv);
    advice();
    protection();
    unmapping();
    moving();
    return helper_done();
}
