/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes that share a swap space are killed while they claim, share, release and punch.
 *
 * A cluster that was claimed belongs to nobody else: each worker marks what it claimed in a table
 * and must find it unmarked. Whoever is killed is reaped and replaced. In the end, with all reaped,
 * nothing may be in use and every count must be right: neither freed too early nor lost.
 */
#include "require.h"
#include "sanitizers.h"
#include "store_pages.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#define N_WORKERS 5
#define MOST_CLUSTERS 400
/* The sanitizers see nothing of what happens between processes, and make each fork slow. */
#define N_KILLS (UNDER_THREAD_SANITIZER || UNDER_ADDRESS_SANITIZER ? 50 : 300)
#define HEIR(worker) (100 + (worker)) /* what a worker shares with, as with a fork child */

static struct swap_space *space;
static _Atomic uint32_t *marks; /* by cluster: worker + 1 */
static uint32_t n_clusters;
static int fd;

static void claim(unsigned worker, uint64_t *random)
{
    uint32_t first;
    const int n = swap_claim(space, worker, 1 + (unsigned)(next_random(random) % 4), &first);
    REQUIRE(n > 0 || n == -ENOSPC);
    for (int i = 0; i < n; i++)
        REQUIRE(atomic_exchange(&marks[first + (uint32_t)i], worker + 1) == 0);
}

/* Not what the heir uses: that is another's, as long as he lives. */
static void release_some(unsigned worker, uint64_t *random)
{
    const uint32_t from = (uint32_t)(next_random(random) % n_clusters);
    const uint32_t c = swap_next_used(space, worker, from);
    if (c == SWAP_NONE)
        return;
    uint32_t mine = worker + 1; /* unmarked: killed between claim and mark, or shared */
    atomic_compare_exchange_strong(&marks[c], &mine, 0);
    swap_release(space, worker, c);
}

static void inherit(unsigned worker)
{
    for (uint32_t c = swap_next_used(space, worker, 0); c != SWAP_NONE;
         c = swap_next_used(space, worker, c + 1))
        atomic_store(&marks[c], 0); /* before anyone can release and claim it */
    swap_share(space, worker, HEIR(worker));
    swap_release_owner(space, worker);
    swap_release_owner(space, HEIR(worker));
}

_Noreturn static void work(unsigned worker, uint64_t seed)
{
    uint64_t random = seed | 1;
    for (;;) {
        const unsigned what = (unsigned)(next_random(&random) % 100);
        if (what < 50)
            claim(worker, &random);
        else if (what < 98)
            release_some(worker, &random);
        else if (what < 99)
            inherit(worker);
        else
            swap_punch(space, worker, fd, 1); /* an empty file: quick */
    }
}

static pid_t start(unsigned worker, uint64_t seed)
{
    const pid_t pid = fork();
    REQUIRE(pid >= 0);
    if (pid == 0)
        work(worker, seed);
    return pid;
}

static void reap(unsigned worker, pid_t pid)
{
    int status;
    REQUIRE(kill(pid, SIGKILL) == 0 && waitpid(pid, &status, 0) == pid);
    REQUIRE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    for (uint32_t c = 0; c < n_clusters; c++) {
        uint32_t its = worker + 1;
        atomic_compare_exchange_strong(&marks[c], &its, 0);
    }
    swap_release_owner(space, worker);
    swap_release_owner(space, HEIR(worker));
}

static void kill_workers(uint32_t n, unsigned most_us, uint64_t *random)
{
    const uint64_t file_bytes = n * (uint64_t)SWAP_CLUSTER_BYTES;
    n_clusters = n;
    space = new_space(file_bytes);
    fd = new_swap_file(file_bytes);
    pid_t pids[N_WORKERS];
    for (unsigned w = 0; w < N_WORKERS; w++)
        pids[w] = start(w, next_random(random));
    for (unsigned i = 0; i < N_KILLS; i++) {
        const unsigned w = (unsigned)(next_random(random) % N_WORKERS);
        usleep((useconds_t)(next_random(random) % most_us));
        reap(w, pids[w]);
        pids[w] = start(w, next_random(random));
    }
    for (unsigned w = 0; w < N_WORKERS; w++)
        reap(w, pids[w]);
    REQUIRE(swap_validate(space) == 0);
    REQUIRE(swap_used_bytes(space) == 0);
    REQUIRE(close(fd) == 0);
}

int main(void)
{
    uint64_t random = test_seed() | 1;
    printf("QUIRE_TEST_SEED=%llu\n", (unsigned long long)random);
    fflush(stdout);
    marks = mmap(NULL, MOST_CLUSTERS * sizeof(*marks), PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(marks != MAP_FAILED);
    kill_workers(MOST_CLUSTERS, 2000, &random);
    for (int i = 0; i < 4; i++)
        kill_workers(3, 400, &random); /* they meet at nearly every step */
    return 0;
}
