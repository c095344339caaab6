/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ending: ends in one of many ways, with memory that is evicted: ending MODE SIZE_MIB. Used by
 * cases/endings.py.
 */
#include "helper.h"

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

static char *evicted;
static volatile char *volatile nowhere = (char *)8;

static void at_exit(void)
{
    pattern_check(evicted, 20 * PAGE, 1, "memory seen by atexit");
    puts("atexit ran");
}

static void *end_process(void *status)
{
    press();
    exit((int)(uintptr_t)status);
}

static void *outlive_main(void *unused)
{
    (void)unused;
    press();
    pattern_check(evicted, 20 * PAGE, 1, "memory after main's thread has gone");
    exit(23);
}

int main(int argc, char **argv)
{
    struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    EXPECT(argc == 3);
    helper_init(2, argv + 1);
    evicted = malloc(20 * PAGE);
    EXPECT(evicted);
    pattern_fill(evicted, 20 * PAGE, 1);
    press();
    printf("ends by %s\n", argv[1]);
    pthread_t thread;
    if (strcmp(argv[1], "exit") == 0) {
        atexit(at_exit);
        exit(21);
    } else if (strcmp(argv[1], "_exit") == 0) {
        fflush(stdout);
        _exit(22);
    } else if (strcmp(argv[1], "thread") == 0) {
        pthread_create(&thread, NULL, end_process, (void *)24);
        pthread_join(thread, NULL);
    } else if (strcmp(argv[1], "pthread_exit") == 0) {
        pthread_create(&thread, NULL, outlive_main, NULL);
        pthread_exit(NULL);
    }
    fflush(stdout);
    if (strcmp(argv[1], "abort") == 0)
        abort();
    else if (strcmp(argv[1], "segv") == 0)
        *nowhere = 1;
    else if (strcmp(argv[1], "kill") == 0)
        kill(getpid(), SIGKILL);
    else if (strcmp(argv[1], "term") == 0)
        kill(getpid(), SIGTERM);
    else if (strcmp(argv[1], "exec") == 0)
        execlp("sh", "sh", "-c", "echo from sh; exit 25", (char *)NULL);
    return 99;
}
