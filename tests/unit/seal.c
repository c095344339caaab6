/* SPDX-License-Identifier: Apache-2.0 */
/* seal: what is sealed opens in its place, once, by the right key; and by nothing else. */
#include "store/seal.h"
#include "store_pages.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h> /* wants the ones above */

#define MOST_BYTES ((size_t)4160)

static const enum seal_cipher ciphers[] = {SEAL_AES_256_GCM, SEAL_CHACHA20_POLY1305};
static unsigned char text[MOST_BYTES], object[MOST_BYTES];

static struct seal_place place_of(uint64_t use, uint32_t cluster, uint16_t unit, uint16_t n_units)
{
    return (struct seal_place){.use = use, .cluster = cluster, .unit = unit, .n_units = n_units};
}

static bool is_here(enum seal_cipher cipher)
{
    return cipher == SEAL_CHACHA20_POLY1305 || seal_best_cipher() == cipher;
}

static void put_text(void)
{
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (unsigned char)("all of it is in clear "[i % 22]);
    memcpy(object, text, sizeof(object));
}

static int set_up_all(void **state)
{
    return seal_prepare();
}

static void every_length_opens_again(void **state)
{
    for (unsigned i = 0; i < 2; i++) {
        if (!is_here(ciphers[i]))
            continue;
        const struct seal *seal = new_seal(ciphers[i], NULL);
        for (size_t n = SEAL_PREFIX_BYTES; n <= MOST_BYTES; n++) {
            const struct seal_place place = place_of(n, 3, 9, (uint16_t)(n / 64));
            put_text();
            seal_encrypt(seal, &place, object, n);
            assert_memory_equal(object + n, text + n, MOST_BYTES - n);
            if (n >= SEAL_PREFIX_BYTES + 16)
                assert_memory_not_equal(object + n - 16, text + n - 16, 16);
            assert_int_equal(seal_decrypt(seal, &place, object, n), 0);
            assert_memory_equal(object + SEAL_PREFIX_BYTES, text + SEAL_PREFIX_BYTES,
                                MOST_BYTES - SEAL_PREFIX_BYTES);
        }
    }
}

static void every_flipped_bit_is_noticed(void **state)
{
    enum { N = 320 };
    unsigned char damaged[N];
    for (unsigned i = 0; i < 2; i++) {
        if (!is_here(ciphers[i]))
            continue;
        const struct seal *seal = new_seal(ciphers[i], NULL);
        const struct seal_place place = place_of(1, 2, 3, 5);
        put_text();
        seal_encrypt(seal, &place, object, N);
        for (unsigned bit = 0; bit < N * 8; bit++) {
            memcpy(damaged, object, N);
            damaged[bit / 8] ^= (unsigned char)(1 << bit % 8);
            assert_int_equal(seal_decrypt(seal, &place, damaged, N), -EBADMSG);
        }
        assert_int_equal(seal_decrypt(seal, &place, object, N - 1), -EBADMSG);
    }
}

static void it_opens_nowhere_else(void **state)
{
    const struct seal_place place = place_of(10, 20, 30, 5),
                            others[] = {place_of(11, 20, 30, 5),
                                        place_of(10 + (1ull << 40), 20, 30, 5),
                                        place_of(10, 21, 30, 5), place_of(10, 20, 31, 5),
                                        place_of(10, 20, 30, 4)};
    unsigned char moved[320];
    for (unsigned i = 0; i < 2; i++) {
        if (!is_here(ciphers[i]))
            continue;
        const struct seal *seal = new_seal(ciphers[i], NULL), *other = new_seal(ciphers[i], NULL);
        put_text();
        seal_encrypt(seal, &place, object, sizeof(moved));
        for (unsigned o = 0; o < sizeof(others) / sizeof(others[0]); o++) {
            memcpy(moved, object, sizeof(moved));
            assert_int_equal(seal_decrypt(seal, &others[o], moved, sizeof(moved)), -EBADMSG);
        }
        memcpy(moved, object, sizeof(moved));
        assert_int_equal(seal_decrypt(other, &place, moved, sizeof(moved)), -EBADMSG);
        assert_int_equal(seal_decrypt(seal, &place, object, sizeof(moved)), 0);
    }
}

/* Who has no key sees numbers that have nothing to do with the lengths. */
static void lengths_are_told_to_who_has_the_key(void **state)
{
    const struct seal *seal = new_seal(0, NULL);
    unsigned seen[256] = {0}, most = 0;
    for (uint64_t use = 1; use <= 4000; use++) {
        const struct seal_place place = place_of(use, 1, 2, 65), without = place_of(use, 1, 2, 0);
        seal_encrypt(seal, &place, object, 64);
        assert_int_equal(seal_units(seal, &without, object), 65);
        seen[object[SEAL_TAG_BYTES]]++;
    }
    for (unsigned i = 0; i < 256; i++)
        most = seen[i] > most ? seen[i] : most;
    assert_in_range(most, 16, 80); /* of 15.6 on the average */
}

/* The line of /proc/self/smaps that says how the page is mapped. */
static void flags_of(const void *page, char *flags, size_t n_bytes)
{
    FILE *maps = fopen("/proc/self/smaps", "r");
    char line[512];
    bool here = false;
    flags[0] = '\0';
    while (fgets(line, sizeof(line), maps)) {
        unsigned long first, end;
        if (sscanf(line, "%lx-%lx ", &first, &end) == 2)
            here = first == (unsigned long)(uintptr_t)page;
        if (here && strncmp(line, "VmFlags:", 8) == 0)
            snprintf(flags, n_bytes, "%s", line);
    }
    fclose(maps);
}

static void the_key_is_locked_and_not_dumped(void **state)
{
    char path[64], flags[512];
    int fd;
    const struct seal *attached;
    struct seal *seal = new_seal(0, &fd);
    flags_of(seal, flags, sizeof(flags));
    assert_non_null(strstr(flags, " lo"));
    assert_non_null(strstr(flags, " dd"));
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    assert_int_equal(seal_attach(path, &attached), 0);
    flags_of(attached, flags, sizeof(flags));
    assert_non_null(strstr(flags, " dd"));
    assert_null(strstr(flags, " wr"));
    const struct seal_place place = place_of(1, 2, 3, 1);
    put_text();
    seal_encrypt(seal, &place, object, 64);
    assert_int_equal(seal_decrypt(attached, &place, object, 64), 0);
    close(fd);
}

static void a_fork_has_to_lock_it_again(void **state)
{
    struct seal *seal = new_seal(0, NULL);
    int status;
    const pid_t child = fork();
    if (child == 0) {
        char before[512], after[512];
        flags_of(seal, before, sizeof(before));
        const bool ok = strstr(before, " lo") == NULL && seal_hold(seal) == 0;
        flags_of(seal, after, sizeof(after));
        _exit(ok && strstr(after, " lo") != NULL ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void others_cannot_change_it(void **state)
{
    char path[64];
    int fd;
    new_seal(0, &fd);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    const int again = open(path, O_RDWR | O_CLOEXEC);
    assert_true(again >= 0);
    assert_int_equal(ftruncate(again, 0), -1);
    assert_int_equal(write(again, "x", 1), -1);
    assert_ptr_equal(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, again, 0), MAP_FAILED);
    close(again);
    close(fd);
}

static void what_is_no_key_is_refused(void **state)
{
    char path[64];
    const struct seal *attached = NULL;
    int fd;
    assert_int_equal(seal_attach("/nonexistent", &attached), -ENOENT);
    const int empty = memfd_create("no-key", MFD_CLOEXEC);
    assert_int_equal(ftruncate(empty, 4096), 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", empty);
    assert_int_equal(seal_attach(path, &attached), -EPROTO);
    close(empty);
    struct seal *seal = new_seal(0, &fd);
    const struct seal_place place = place_of(1, 2, 3, 1);
    put_text();
    seal_encrypt(seal, &place, object, 64);
    seal_destroy(seal);
    assert_int_equal(seal_decrypt(seal, &place, object, 64), -EBADMSG);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    assert_int_equal(seal_attach(path, &attached), -EPROTO);
    assert_null(attached);
    close(fd);
}

static void keys_differ(void **state)
{
    int a, b;
    unsigned char one[4096], two[4096];
    new_seal(0, &a);
    new_seal(0, &b);
    assert_int_equal(pread(a, one, 4096, 0), 4096);
    assert_int_equal(pread(b, two, 4096, 0), 4096);
    unsigned n_same = 0;
    for (unsigned i = 12; i < 60; i++)
        n_same += one[i] == two[i];
    assert_in_range(n_same, 0, 8);
    close(a);
    close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_length_opens_again),
        cmocka_unit_test(every_flipped_bit_is_noticed),
        cmocka_unit_test(it_opens_nowhere_else),
        cmocka_unit_test(lengths_are_told_to_who_has_the_key),
        cmocka_unit_test(the_key_is_locked_and_not_dumped),
        cmocka_unit_test(a_fork_has_to_lock_it_again),
        cmocka_unit_test(others_cannot_change_it),
        cmocka_unit_test(what_is_no_key_is_refused),
        cmocka_unit_test(keys_differ),
    };
    return cmocka_run_group_tests(tests, set_up_all, NULL);
}
