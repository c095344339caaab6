/* SPDX-License-Identifier: Apache-2.0 */
/*
 * freed: a process forks when nearly all that it has in memory are freed objects, in pages
 * that their neighbours keep from being free. These pages, which parent and child share, must make
 * room for what both do then.
 */
#include "helper.h"

enum { N_BYTES = 32 << 20, OBJECT_BYTES = 512, KEEP_EVERY = 256, N = N_BYTES / OBJECT_BYTES };

static unsigned char *objects[N];

static void free_most(void)
{
    for (size_t i = 0; i < N; i++) {
        EXPECT((objects[i] = malloc(OBJECT_BYTES)) != NULL);
        pattern_fill(objects[i], OBJECT_BYTES, i);
    }
    for (size_t i = 0; i < N; i++)
        if (i % KEEP_EVERY != 0)
            free(objects[i]);
}

static void check_kept(const char *what)
{
    for (size_t i = 0; i < N; i += KEEP_EVERY)
        pattern_check(objects[i], OBJECT_BYTES, i, what);
}

int main(int argc, char **argv)
{
    helper_init(argc, argv);
    free_most();
    pid_t pid = fork();
    EXPECT(pid >= 0);
    press();
    check_kept(pid == 0 ? "inherited beside freed objects" : "kept beside freed objects");
    if (pid == 0)
        _exit(0);
    expect_exit(pid, 0);
    press();
    return helper_done();
}
