/* SPDX-License-Identifier: Apache-2.0 */
/*
 * many: many small processes at once: many N_PROCESSES KIB_EACH. Used by cases/many_processes.py.
 *
 * The parent has some memory that all of its children inherit. Each child fills memory of its own,
 * and when all have done that, each checks, changes and checks what it has, a few times, while
 * the others do the same. Nobody ends before all are done.
 */
#include "helper.h"

#include <signal.h>
#include <sys/prctl.h>

enum { N_ROUNDS = 3, INHERITED_BYTES = 256 << 10 };

static struct shared {
    unsigned n_ready;
} * shared;

/* Waits until all have come so far. */
static void meet(unsigned n_processes, unsigned turn)
{
    __atomic_fetch_add(&shared->n_ready, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&shared->n_ready, __ATOMIC_SEQ_CST) < n_processes * turn)
        usleep(20000); /* all of them together should not keep a processor busy */
}

static void live(unsigned n_processes, unsigned index, size_t n_bytes, unsigned char *inherited,
                 pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    EXPECT(getppid() == parent); /* else it has ended before that */
    unsigned char *own = malloc(n_bytes);
    EXPECT(own);
    pattern_fill(own, n_bytes, index);
    meet(n_processes, 1);
    for (uint64_t round = 0; round < N_ROUNDS; round++) {
        pattern_check(own, n_bytes, index + 1000 * round, "a process's own");
        pattern_fill(own, n_bytes, index + 1000 * (round + 1));
    }
    pattern_check(inherited, INHERITED_BYTES, 7, "inherited");
    meet(n_processes, 2);
    _exit(0);
}

int main(int argc, char **argv)
{
    EXPECT(argc == 3);
    const unsigned n_processes = (unsigned)strtoul(argv[1], NULL, 10);
    const size_t n_bytes = strtoul(argv[2], NULL, 10) << 10;
    pid_t *pids = calloc(n_processes, sizeof *pids);
    unsigned char *inherited = malloc(INHERITED_BYTES);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    EXPECT(pids && inherited && shared != MAP_FAILED);
    pattern_fill(inherited, INHERITED_BYTES, 7);
    const pid_t parent = getpid();
    for (unsigned i = 0; i < n_processes; i++) {
        EXPECT((pids[i] = fork()) >= 0);
        if (pids[i] == 0)
            live(n_processes, i, n_bytes, inherited, parent);
    }
    for (unsigned i = 0; i < n_processes; i++)
        expect_exit(pids[i], 0);
    printf("OK\n");
    return 0;
}
