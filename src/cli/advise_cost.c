/* SPDX-License-Identifier: Apache-2.0 */
/*
 * advise_cost: what faults take on this machine, by running programs of known faults under
 * `quire run`: this command's own probe, in a budget that is a part of what it touches.
 *
 *   ram      all pages in turn, in an order without neighbours, first in first out: each faults
 *   first    new pages likewise, while others have to go for each
 *   stream   all pages in a row, read ahead
 *   file     as ram, of contents that do not compress, with a swap file
 *
 * Contents are half random, half zeros, so that they compress two to one. The time is the
 * program's own, so it has all of it: the kernel's way there and back, and what the handler's
 * processor had to do besides.
 */
#include "base/sys.h"
#include "cli/advise.h"
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROBE_PAGES 8192u /* 32 MiB */
#define FILE_PAGES 3072u
#define FRESH_PAGES 2048u
#define PASS_NS 300000000u /* a pass ends then, whatever is left of it */
#define STEP 2897u         /* coprime to all of them: an order without neighbours */

/* ---- the probe ---- */

static uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u; /* D. Knuth, MMIX */
    return *state >> 11;
}

static char *map(uint32_t n_pages)
{
    void *pages = mmap(NULL, (size_t)n_pages * SYS_PAGE_SIZE, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return pages == MAP_FAILED ? NULL : pages;
}

static void fill(char *pages, uint32_t n_pages, size_t n_random)
{
    uint64_t state = 1;

    for (uint32_t i = 0; i < n_pages; i++)
        for (size_t at = 0; at < n_random; at += sizeof state) {
            uint64_t value = next_random(&state) << 32 ^ next_random(&state);
            memcpy(pages + (size_t)i * SYS_PAGE_SIZE + at, &value, sizeof value);
        }
}

/* A write to each page; nanoseconds a page. */
static double pass(char *pages, uint32_t n_pages, uint32_t step)
{
    uint64_t start = sys_now_ns(), now = start;
    uint32_t n = 0;

    for (uint32_t at = 0; n < n_pages && now - start < PASS_NS; n++, at = (at + step) % n_pages) {
        ((volatile char *)pages)[(size_t)at * SYS_PAGE_SIZE + 8]++;
        now = sys_now_ns();
    }
    return (double)(now - start) / n;
}

/* The smaller of two passes: what else the machine does only adds. */
static double best_pass(char *pages, uint32_t n_pages, uint32_t step)
{
    double first = pass(pages, n_pages, step), second = pass(pages, n_pages, step);

    return first < second ? first : second;
}

static double cpu_ns(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return ((double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec) * 1e9 +
           ((double)usage.ru_utime.tv_usec + (double)usage.ru_stime.tv_usec) * 1e3;
}

int advise_probe(const char *what)
{
    bool is_file = strcmp(what, "file") == 0, is_stream = strcmp(what, "stream") == 0;
    uint32_t n_pages = is_file ? FILE_PAGES : PROBE_PAGES;
    char *pages = map(n_pages), *fresh = map(FRESH_PAGES);

    if (pages == NULL || fresh == NULL)
        return CLI_EXIT_FAILED;
    fill(pages, n_pages, is_file ? SYS_PAGE_SIZE : SYS_PAGE_SIZE / 2);
    pass(pages, n_pages, STEP); /* so that what is where is as it will be from now on */
    double before = cpu_ns(), again = best_pass(pages, n_pages, is_stream ? 1 : STEP);
    double cpu = (cpu_ns() - before) / (2.0 * n_pages);
    printf("%.1f %.1f %.1f\n", again, is_stream || is_file ? 0 : pass(fresh, FRESH_PAGES, STEP),
           cpu);
    return EXIT_SUCCESS;
}

/* ---- running it ---- */

static pid_t start(char *const *words, int *from)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0)
        return -1;
    pid_t child = fork();
    if (child == 0) {
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        dup2(null, STDIN_FILENO);
        dup2(ends[1], STDOUT_FILENO);
        execv("/proc/self/exe", words);
        _exit(CLI_EXIT_NOT_EXECUTABLE);
    }
    close(ends[1]);
    *from = ends[0];
    if (child < 0)
        close(ends[0]);
    return child;
}

/* The numbers that it prints; false: there are none. It has told why, on standard error. */
static bool run_probe(char *const *words, double *again, double *first, double *cpu)
{
    char text[64];
    size_t n = 0;
    ssize_t got;
    int from, status;
    pid_t child = start(words, &from);

    if (child < 0)
        return false;
    while (n + 1 < sizeof text &&
           ((got = read(from, text + n, sizeof text - 1 - n)) > 0 || (got < 0 && errno == EINTR)))
        n += got > 0 ? (size_t)got : 0;
    text[n] = '\0';
    close(from);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 &&
           sscanf(text, "%lf %lf %lf", again, first, cpu) == 3 && *again > 0;
}

static bool probe(const char *what, const char *ram, const char *prefetch, const char *swap,
                  double *again, double *first, double *cpu)
{
    char self[PATH_MAX], option[32], ram_option[32], prefetch_option[32], swap_option[PATH_MAX + 8];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);

    self[n > 0 ? n : 0] = '\0';
    snprintf(option, sizeof option, "--probe=%s", what);
    snprintf(ram_option, sizeof ram_option, "--ram=%s", ram);
    snprintf(prefetch_option, sizeof prefetch_option, "--prefetch=%s", prefetch);
    snprintf(swap_option, sizeof swap_option, "--swap=%s", swap);
    char *words[] = {(char[]){"quire"},
                     (char[]){"run"},
                     (char[]){"--quiet"},
                     (char[]){"--no-publish"},
                     (char[]){"--policy=fifo"},
                     (char[]){"--codec=lz4"},
                     ram_option,
                     prefetch_option,
                     swap_option,
                     (char[]){"--"},
                     self,
                     (char[]){"advise"},
                     option,
                     NULL};
    return run_probe(words, again, first, cpu);
}

bool advise_measure(const char *swap_directory, struct advise_costs *costs)
{
    double none;
    bool good = probe("ram", "22M", "none", "none", &costs->ram, &costs->first, &costs->cpu) &&
                probe("stream", "22M", "adaptive", "none", &costs->stream, &none, &none);

    costs->file = 0;
    if (good && swap_directory != NULL)
        good = probe("file", "9M", "none", swap_directory, &costs->file, &none, &none);
    if (!good)
        cli_error("cannot measure what faults take here, which takes `quire run'\n"
                  "`quire doctor' tells what this machine allows");
    return good;
}
