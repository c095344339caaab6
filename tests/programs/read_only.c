/* SPDX-License-Identifier: Apache-2.0 */
/*
 * read_only: memory that is written, then made read-only, or not accessible at all, piece by piece:
 * more of it than a small budget holds. It is evicted like any other, comes back the same, also
 * when it is writable again, and so it does in a fork's child.
 */
#include "helper.h"

enum { N_PIECES = 28, N_BYTES = 1 << 20 };

static unsigned char *pieces[N_PIECES];

/* Every third can't be looked at in between. */
static int protection_of(int i)
{
    return i % 3 == 2 ? PROT_NONE : PROT_READ;
}

static void protect(int i, int protection)
{
    EXPECT(mprotect(pieces[i], N_BYTES, protection) == 0);
}

static void check(uint64_t seed)
{
    for (int i = 0; i < N_PIECES; i++) {
        if (protection_of(i) == PROT_NONE)
            protect(i, PROT_READ);
        pattern_check(pieces[i], N_BYTES, seed + (uint64_t)i, "a piece that is read-only");
        protect(i, protection_of(i));
    }
}

static void fill(uint64_t seed)
{
    for (int i = 0; i < N_PIECES; i++) {
        protect(i, PROT_READ | PROT_WRITE);
        pattern_fill(pieces[i], N_BYTES, seed + (uint64_t)i);
        protect(i, protection_of(i));
    }
}

/* Half of a piece changes while it is writable, the other half has to be as it was. */
static void change_half(int i, uint64_t seed, uint64_t new_seed)
{
    protect(i, PROT_READ | PROT_WRITE);
    pattern_fill(pieces[i], N_BYTES / 2, new_seed);
    protect(i, PROT_READ);
    press();
    pattern_check(pieces[i], N_BYTES / 2, new_seed, "the half that was changed");
    for (int at = N_BYTES / 2; at < N_BYTES; at++)
        if (pieces[i][at] != pattern_byte(seed, (size_t)at))
            fail("the other half: byte %d of a piece", at);
    protect(i, protection_of(i));
}

static void inherit(uint64_t seed)
{
    pid_t pid = fork();
    EXPECT(pid >= 0);
    if (pid == 0) {
        check(seed);
        fill(seed + 1000);
        check(seed + 1000);
        _exit(0);
    }
    press();
    expect_exit(pid, 0);
    check(seed);
}

int main(int argc, char **argv)
{
    helper_init(argc, argv);
    for (int i = 0; i < N_PIECES; i++)
        pieces[i] = map_pages(N_BYTES);
    fill(1);
    check(1);
    press();
    check(1);
    change_half(0, 1, 500);
    change_half(5, 6, 600);
    fill(40);
    inherit(40);
    return helper_done();
}
