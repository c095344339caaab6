/* SPDX-License-Identifier: Apache-2.0 */
/*
 * helper: what the self-checking programs of suite `programs` share.
 *
 * A helper is an ordinary program that knows nothing of Quire: main(argc, argv) with SIZE_MIB. It
 * keeps small buffers that the kernel will work on, and a large ballast. press() reads and writes
 * all of the ballast, so that in less RAM than that everything else has been evicted after it.
 * Patterns are half noise, so that pages compress like real ones, and depend on a seed, so that a
 * page that comes back as another one is noticed. Prints OK and ends with 0, or says what is wrong
 * and ends with 1; 77: the kernel here lacks what is tested.
 */
#ifndef QUIRE_TESTS_HELPER_H
#define QUIRE_TESTS_HELPER_H

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE ((size_t)4096)
#define MIB ((size_t)1 << 20)

__attribute__((format(printf, 1, 2), noreturn)) static inline void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("wrong: ", stdout);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
    fflush(stdout);
    _exit(1);
}

/* Holds what the program does against what it must do. */
#define EXPECT(condition)                                                           \
    do {                                                                            \
        if (!(condition))                                                           \
            fail("%s:%d: %s (errno %d: %s)", __FILE__, __LINE__, #condition, errno, \
                 strerror(errno));                                                  \
    } while (0)

/* splitmix64's mixer; source: G. Steele et al., OOPSLA 2014. */
static inline uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
}

static inline unsigned char pattern_byte(uint64_t seed, size_t i)
{
    if (i & 64)
        return (unsigned char)(seed + i / 64);
    return (unsigned char)(mix(seed + i / 8) >> (i & 7) * 8);
}

static inline void pattern_fill(void *buffer, size_t n_bytes, uint64_t seed)
{
    unsigned char *byte = buffer;
    for (size_t i = 0; i < n_bytes; i++)
        byte[i] = pattern_byte(seed, i);
}

static inline void pattern_check(const void *buffer, size_t n_bytes, uint64_t seed,
                                 const char *what)
{
    const unsigned char *byte = buffer;
    for (size_t i = 0; i < n_bytes; i++)
        if (byte[i] != pattern_byte(seed, i))
            fail("%s: byte %zu of %zu is %02x, not %02x", what, i, n_bytes, byte[i],
                 pattern_byte(seed, i));
}

/* Pages from mmap, not touched yet. */
static inline void *map_pages(size_t n_bytes)
{
    void *pages = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(pages != MAP_FAILED);
    return pages;
}

static uint64_t *ballast;
static size_t ballast_pages;
static uint64_t ballast_round;

/* Goes through all of the ballast once, checking and changing each page. */
static inline void press(void)
{
    for (size_t page = 0; page < ballast_pages; page++) {
        uint64_t *word = ballast + page * (PAGE / 8);
        if (word[0] != ballast_round || word[1] != mix(page) || word[257] != mix(page ^ 257))
            fail("ballast: page %zu in round %llu holds %llx %llx", page,
                 (unsigned long long)ballast_round, (unsigned long long)word[0],
                 (unsigned long long)word[1]);
        word[0]++;
    }
    ballast_round++;
}

static inline void helper_init(int argc, char **argv)
{
    size_t size_mib = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
    EXPECT(size_mib > 0);
    ballast_pages = size_mib * MIB / PAGE;
    ballast = map_pages(ballast_pages * PAGE);
    for (size_t page = 0; page < ballast_pages; page++) {
        uint64_t *word = ballast + page * (PAGE / 8);
        for (size_t i = 1; i < 258; i++)
            word[i] = mix(page ^ (i == 1 ? 0 : i));
    }
}

static inline int helper_done(void)
{
    press();
    puts("OK");
    return 0;
}

__attribute__((noreturn)) static inline void helper_lacks(const char *what)
{
    printf("this kernel lacks %s\n", what);
    fflush(stdout);
    exit(77);
}

/* Waits for a child and holds its exit status against what is expected. */
static inline void expect_exit(pid_t pid, int expected)
{
    int status;
    EXPECT(waitpid(pid, &status, 0) == pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != expected)
        fail("child ended with wait status %x, not exit status %d", (unsigned)status, expected);
}

#endif
