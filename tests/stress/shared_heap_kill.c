/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Members of a shared heap are killed at any instruction, with its lock or without, while they
 * allocate, write, hold each other's blocks and drop them. Each block says in all its words which
 * allocation it is: whoever holds one finds it whole. In the end the table is valid, and with the
 * members all blocks are gone.
 */
#include <quire/shared_heap.h>

#include "require.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define N_MEMBERS 3u
#define N_KILLS 200u
#define LIFE_US 1200u
#define HEAP_BYTES ((uint64_t)256 << 10)
#define MAX_BLOCKS 64u
#define N_KEPT 12u   /* blocks that a member holds */
#define N_OFFERED 8u /* names that members tell each other */

static struct shared {
    struct {
        _Atomic uint64_t name; /* stamp << 32 | index */
    } offer[N_OFFERED];
    _Atomic uint64_t next_mark, n_steps;
    _Atomic bool joined[N_MEMBERS];
} * shared;

static uint64_t random_state;

static uint64_t draw(uint64_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (random_state >> 11) % below;
}

static void mark(void *block, uint64_t length, uint64_t what)
{
    for (uint64_t i = 0; i < length / 8; i++)
        ((uint64_t *)block)[i] = what;
}

/* Filled by who allocated it before it told anybody. */
static void check(const void *block, uint64_t length)
{
    const uint64_t *words = block;
    for (uint64_t i = 1; i < length / 8; i++)
        REQUIRE(words[i] == words[0]);
}

static void offer(const struct quire_block *block)
{
    atomic_store(&shared->offer[draw(N_OFFERED)].name, (uint64_t)block->stamp << 32 | block->index);
}

static bool take(struct quire_shared_heap *heap, struct quire_block *block)
{
    const uint64_t name = atomic_load(&shared->offer[draw(N_OFFERED)].name);
    *block = (struct quire_block){.index = (uint32_t)name, .stamp = (uint32_t)(name >> 32)};
    const int error = quire_shared_heap_hold(heap, block);
    REQUIRE(error == 0 || error == -ENOENT); /* dropped meanwhile */
    return error == 0;
}

static bool allocate(struct quire_shared_heap *heap, struct quire_block *block)
{
    const uint64_t length = 64 * (1 + draw(100));
    const int error = quire_shared_heap_alloc(heap, length, (uint64_t)1 << draw(8), block);
    REQUIRE(error == 0 || error == -ENOMEM || error == -ENOSPC);
    if (error != 0)
        return false;
    mark(quire_shared_heap_address(heap, block), length, atomic_fetch_add(&shared->next_mark, 1));
    offer(block);
    return true;
}

static _Noreturn void live(const int fds[QUIRE_SHARED_HEAP_FDS], unsigned role)
{
    struct quire_block kept[N_KEPT];
    unsigned n_kept = 0;
    struct quire_shared_heap *heap;
    random_state = (uint64_t)getpid() * 0x9e3779b97f4a7c15 + 1;
    REQUIRE(quire_shared_heap_join(fds, &heap) == 0);
    atomic_store(&shared->joined[role], true);
    for (;;) {
        if (n_kept < N_KEPT && draw(2) == 0)
            n_kept += draw(2) ? allocate(heap, &kept[n_kept]) : take(heap, &kept[n_kept]);
        else if (n_kept > 0) {
            const unsigned i = (unsigned)draw(n_kept);
            check(quire_shared_heap_address(heap, &kept[i]), kept[i].length);
            REQUIRE(quire_shared_heap_drop(heap, &kept[i]) == 0);
            kept[i] = kept[--n_kept];
        }
        atomic_fetch_add(&shared->n_steps, 1);
    }
}

static pid_t start(const struct quire_shared_heap *heap, unsigned role)
{
    int fds[QUIRE_SHARED_HEAP_FDS];
    quire_shared_heap_fds(heap, fds);
    atomic_store(&shared->joined[role], false);
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0)
        live(fds, role);
    return child;
}

static void end(pid_t child, unsigned role)
{
    int status;
    while (!atomic_load(&shared->joined[role]) && waitpid(child, &status, WNOHANG) == 0)
        usleep(50);
    kill(child, SIGKILL);
    REQUIRE(atomic_load(&shared->joined[role]) && waitpid(child, &status, 0) == child);
    REQUIRE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

int main(void)
{
    const struct quire_shared_heap_config config = {HEAP_BYTES, 0, MAX_BLOCKS, false};
    struct quire_shared_heap_stats stats;
    struct quire_shared_heap *heap;
    pid_t children[N_MEMBERS];
    const char *given = getenv("QUIRE_TEST_SEED");
    random_state = given != NULL ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    random_state = random_state * 0x9e3779b97f4a7c15 + 1;
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(shared != MAP_FAILED && quire_shared_heap_create(&config, &heap) == 0);
    for (unsigned i = 0; i < N_MEMBERS; i++)
        children[i] = start(heap, i);
    for (unsigned k = 0; k < N_KILLS; k++) {
        const unsigned victim = (unsigned)draw(N_MEMBERS);
        usleep((useconds_t)draw(LIFE_US));
        end(children[victim], victim);
        REQUIRE(quire_shared_heap_validate(heap) == 0);
        children[victim] = start(heap, victim);
    }
    for (unsigned i = 0; i < N_MEMBERS; i++)
        end(children[i], i);
    REQUIRE(quire_shared_heap_reap(heap) >= 0 && quire_shared_heap_validate(heap) == 0);
    REQUIRE(quire_shared_heap_stats(heap, &stats) == 0);
    REQUIRE(stats.n_members == 1 && stats.n_blocks == 0 && stats.free_bytes == HEAP_BYTES);
    printf("%llu steps, %llu of %u killed with the lock\n", (unsigned long long)shared->n_steps,
           (unsigned long long)stats.n_recovered, N_KILLS + N_MEMBERS);
    quire_shared_heap_leave(heap);
    return 0;
}
