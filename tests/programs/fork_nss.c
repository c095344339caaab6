/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fork_nss: forks of a program that has asked libc's name service for something. In a program of
 * several threads fork reads the name service's state, which libc has from malloc, after all of the
 * pthread_atfork handlers, when Quire's locks are held; it may be evicted by then. Other threads
 * fault all the time.
 */
#include "helper.h"

#include <pthread.h>
#include <pwd.h>
#include <stdatomic.h>
#include <stdbool.h>

enum { N_BYTES = 256 << 10, N_THREADS = 2, N_ROUNDS = 6 };

static atomic_bool ended;

static void *fault_all_the_time(void *argument)
{
    unsigned char *own = map_pages(N_BYTES);
    for (unsigned char round = 1; !ended; round++)
        for (size_t i = 0; i < N_BYTES && !ended; i += PAGE) {
            if (own[i] != (unsigned char)(round - 1))
                fail("thread: page %zu is %02x in round %u", i / PAGE, own[i], round);
            own[i] = round;
        }
    return NULL;
}

static void name_is_known(void)
{
    const struct passwd *root = getpwuid(0);
    EXPECT(root != NULL && strcmp(root->pw_name, "root") == 0);
}

int main(int argc, char **argv)
{
    pthread_t threads[N_THREADS];
    helper_init(argc, argv);
    name_is_known();
    for (int i = 0; i < N_THREADS; i++)
        EXPECT(pthread_create(&threads[i], NULL, fault_all_the_time, NULL) == 0);
    for (int round = 0; round < N_ROUNDS; round++) {
        press();
        pid_t pid = fork();
        EXPECT(pid >= 0);
        if (pid == 0) {
            name_is_known();
            _exit(3);
        }
        expect_exit(pid, 3);
    }
    ended = true;
    for (int i = 0; i < N_THREADS; i++)
        EXPECT(pthread_join(threads[i], NULL) == 0);
    name_is_known();
    return helper_done();
}
