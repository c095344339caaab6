/* SPDX-License-Identifier: Apache-2.0 */
/* break: brk and sbrk grow, shrink and grow again; what was given back reads as zeros. */
#include "helper.h"

enum { N_BYTES = 4 << 20 };

int main(int argc, char **argv)
{
    helper_init(argc, argv);
    void *volatile first = malloc(1); /* so that glibc's heap begins below, not in, what follows */
    free(first);
    char *start = sbrk(0);
    EXPECT(start != (void *)-1 && sbrk(0) == start);
    EXPECT(sbrk(N_BYTES) == start && (char *)sbrk(0) == start + N_BYTES);
    for (size_t i = 0; i < N_BYTES; i++)
        EXPECT(start[i] == 0);
    pattern_fill(start, N_BYTES, 1);
    press();
    pattern_check(start, N_BYTES, 1, "memory from sbrk");

    EXPECT(sbrk(-N_BYTES / 2) != (void *)-1 && (char *)sbrk(0) == start + N_BYTES / 2);
    press();
    EXPECT(brk(start + N_BYTES) == 0 && (char *)sbrk(0) == start + N_BYTES);
    pattern_check(start, N_BYTES / 2, 1, "what was not given back");
    for (size_t i = N_BYTES / 2; i < N_BYTES; i++)
        EXPECT(start[i] == 0);

    /* malloc and sbrk do not get into each other's way. Large: glibc would take it by mmap. */
    char *object = malloc(MIB);
    EXPECT(object);
    pattern_fill(object, MIB, 2);
    EXPECT(sbrk((intptr_t)1 << 46) == (void *)-1 && errno == ENOMEM);
    EXPECT(brk(start) == 0);
    pattern_check(object, MIB, 2, "a malloc'ed object beside the break");
    free(object);
    return helper_done();
}
