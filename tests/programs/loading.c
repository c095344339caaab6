/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loading: dlopen and dlclose with the loader's own lists evicted in between; setjmp and longjmp
 * with a jump buffer in evicted memory; functions of a library that keep pointers to paged memory.
 */
#include "helper.h"

#include <dlfcn.h>
#include <setjmp.h>

static void libraries(void)
{
    for (int round = 0; round < 4; round++) {
        void *library = dlopen("libm.so.6", RTLD_NOW | RTLD_LOCAL);
        EXPECT(library);
        press();
        double (*cosine)(double) = (double (*)(double))dlsym(library, "cos");
        EXPECT(cosine && cosine(0) == 1);
        EXPECT(dlsym(library, "no_such_function") == NULL && dlerror() != NULL);
        EXPECT(dlopen("libnowhere.so.0", RTLD_NOW) == NULL);
        press();
        EXPECT(dlclose(library) == 0);
    }
}

static volatile int may_jump = 1;

static void jump_deep(jmp_buf *buffer, int depth)
{
    volatile char frame[512];
    frame[depth % 512] = (char)depth;
    if (depth == 0 && may_jump)
        longjmp(*buffer, 77);
    if (depth > 0)
        jump_deep(buffer, depth - 1);
    EXPECT(frame[depth % 512] == (char)depth);
}

static void jumps(void)
{
    jmp_buf *buffer = malloc(sizeof *buffer);
    EXPECT(buffer);
    for (volatile int i = 0; i < 3; i++) {
        int value = setjmp(*buffer);
        if (value == 0) {
            press();
            jump_deep(buffer, 100);
            fail("longjmp came back");
        }
        EXPECT(value == 77);
    }
    free(buffer);
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
    helper_init(argc, argv);
    libraries();
    jumps();

    /* libc's own users of memory: qsort's temporary array, stdio's buffers, atexit's list. */
    const size_t n = 1 << 20;
    uint64_t *numbers = malloc(n * sizeof *numbers);
    EXPECT(numbers);
    for (size_t i = 0; i < n; i++)
        numbers[i] = mix(i);
    press();
    qsort(numbers, n, sizeof *numbers, compare);
    for (size_t i = 1; i < n; i++)
        EXPECT(numbers[i - 1] <= numbers[i]);
    char *text = NULL;
    size_t n_text = 0;
    FILE *stream = open_memstream(&text, &n_text);
    for (int i = 0; i < 200000; i++)
        EXPECT(fprintf(stream, "%08d", i) == 8);
    press();
    EXPECT(fclose(stream) == 0 && n_text == 1600000 &&
           strncmp(text + 8 * 99999, "00099999", 8) == 0);
    free(text);
    return helper_done();
}
