/* SPDX-License-Identifier: Apache-2.0 */
/* Which pages of a process are in RAM, asked of the kernel. */
#include "observe/residency.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGE 4096u
#define N_PAGES 5000u
#define PATIENCE_MS 60000u

struct seen {
    uint64_t start;
    bool page[N_PAGES];
    unsigned n_pages;
    uint64_t end; /* of what came last: addresses rise */
};

static void note(void *context, uint64_t address, uint64_t n_bytes)
{
    struct seen *seen = context;
    assert_true(address >= seen->end && n_bytes > 0 && n_bytes % PAGE == 0);
    seen->end = address + n_bytes;
    for (uint64_t at = address; at < seen->end; at += PAGE) {
        assert_true(at >= seen->start && at < seen->start + N_PAGES * (uint64_t)PAGE);
        seen->page[(at - seen->start) / PAGE] = true;
        seen->n_pages++;
    }
}

static char *map(void)
{
    /* between pages that can't be touched: a mapping of its own in smaps */
    char *memory = mmap(NULL, (N_PAGES + 2) * PAGE, PROT_NONE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_true(memory != MAP_FAILED);
    memory += PAGE;
    assert_int_equal(mprotect(memory, N_PAGES * PAGE, PROT_READ | PROT_WRITE), 0);
    madvise(memory, N_PAGES * PAGE, MADV_NOHUGEPAGE);
    return memory;
}

/* The kernel may be too old to tell. */
static void look(pid_t pid, const char *memory, struct seen *seen)
{
    memset(seen, 0, sizeof *seen);
    seen->start = (uint64_t)(uintptr_t)memory;
    int error = residency_scan(pid, seen->start, N_PAGES * (uint64_t)PAGE, note, seen);
    if (error == -ENOTTY)
        skip();
    assert_int_equal(error, 0);
}

/*
 * Until so many pages are seen to be there. One that the kernel is at moving to another frame, as
 * it does where memory is compacted, is not for that moment.
 */
static void look_for(pid_t pid, const char *memory, unsigned n_pages, struct seen *seen)
{
    for (unsigned i = 0; i < PATIENCE_MS; i++) {
        look(pid, memory, seen);
        assert_true(seen->n_pages <= n_pages);
        if (seen->n_pages == n_pages)
            return;
        usleep(1000);
    }
    fail_msg("%u of %u pages are there", seen->n_pages, n_pages);
}

static void what_was_written_is_there_and_nothing_else(void **state)
{
    struct seen seen;
    unsigned n_written = 0;
    char *memory = map();
    look(getpid(), memory, &seen);
    assert_int_equal(seen.n_pages, 0);
    for (unsigned page = 0; page < N_PAGES;
         page += 1 + page % 7) { /* more ranges than one call's */
        memory[page * PAGE] = 1;
        n_written++;
    }
    look_for(getpid(), memory, n_written, &seen);
    for (unsigned page = 0, next = 0; page < N_PAGES; page++) {
        assert_int_equal(seen.page[page], page == next);
        next += page == next ? 1 + page % 7 : 0;
    }
    madvise(memory, N_PAGES * PAGE, MADV_DONTNEED);
    look(getpid(), memory, &seen);
    assert_int_equal(seen.n_pages, 0);
    munmap(memory - PAGE, (N_PAGES + 2) * PAGE);
}

/* Of the mapping that begins there, as smaps has it. */
static unsigned rss_pages(const char *memory)
{
    char line[512], start[32];
    unsigned kib = 0;
    bool within = false;
    FILE *file = fopen("/proc/self/smaps", "r");
    assert_non_null(file);
    snprintf(start, sizeof start, "%lx-", (unsigned long)(uintptr_t)memory);
    while (fgets(line, sizeof line, file) != NULL) {
        within |= strncmp(line, start, strlen(start)) == 0;
        if (within && sscanf(line, "Rss: %u kB", &kib) == 1)
            break;
    }
    fclose(file);
    return kib / (PAGE / 1024);
}

/* The kernel's page of zeros is nobody's RAM; not every kernel maps it for a read. */
static void what_counts_is_what_the_kernel_counts(void **state)
{
    struct seen seen;
    char *memory = map();
    assert_int_equal(*(volatile char *)&memory[9 * PAGE], 0);
    memory[12 * PAGE] = 1;
    look_for(getpid(), memory, rss_pages(memory), &seen);
    assert_true(seen.page[12]);
    munmap(memory - PAGE, (N_PAGES + 2) * PAGE);
}

static void another_process_is_looked_into(void **state)
{
    struct seen seen;
    char *memory = map();
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        memory[3 * PAGE] = memory[4 * PAGE] = 1;
        if (write(ready[1], "", 1) == 1)
            pause();
        _exit(0);
    }
    char byte;
    assert_int_equal(read(ready[0], &byte, 1), 1);
    look_for(child, memory, 2, &seen);
    assert_true(seen.page[3] && seen.page[4]);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(residency_scan(child, seen.start, PAGE, note, &seen), -ENOENT);
    close(ready[0]);
    close(ready[1]);
    munmap(memory - PAGE, (N_PAGES + 2) * PAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_there_and_nothing_else),
        cmocka_unit_test(what_counts_is_what_the_kernel_counts),
        cmocka_unit_test(another_process_is_looked_into),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
