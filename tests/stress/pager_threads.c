/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pager's own threads, as threads that ThreadSanitizer knows: handlers that read faults and
 * serve them, one that makes room and writes on to the file, and a program's threads that read,
 * write and drop pages, four times as many as fit. In place of src/pager/service.c and handlers.c,
 * whose threads are made behind its back.
 *
 *   word t of a page    how often thread t has written there; only it writes it
 *   the rest            a pattern of the page's number, from the first write on
 */
#include "pager_run.h"
#include "pager_stand_in.h"
#include "require.h"

#include "pager/reclaim.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

#define N_PAGES 3072u
#define N_PROGRAM 3u
#define N_HANDLERS 2u
#define N_STEPS 12000u
#define BUDGET_BYTES ((uint64_t)3 << 20)
#define SWAP_BYTES ((uint64_t)32 << 20)
#define PAGE_WORDS (SYS_PAGE_SIZE / sizeof(uint64_t))
#define OWN 8u /* one page in so many is its thread's alone, which drops it now and then */
#define SECONDS 200

static _Atomic uint64_t *words; /* of all pages */
static atomic_bool is_over;

static struct thread {
    uint32_t index;
    uint64_t random;
    uint16_t n_written[N_PAGES];
} threads[N_PROGRAM];

static _Atomic uint64_t *word(uint32_t page, uint32_t i)
{
    return &words[page * PAGE_WORDS + i];
}

static uint64_t pattern(uint32_t page)
{
    return page % 5 == 0 ? 0 : page * 0x9e3779b97f4a7c15; /* some pages have two words only */
}

static void fill(uint32_t page)
{
    for (uint32_t i = N_PROGRAM; i < PAGE_WORDS; i += 3)
        atomic_store_explicit(word(page, i), pattern(page) * i * i, memory_order_relaxed);
}

static void write_to(struct thread *self, uint32_t page)
{
    atomic_store_explicit(word(page, self->index), ++self->n_written[page], memory_order_relaxed);
    fill(page);
}

static void check(const struct thread *self, uint32_t page)
{
    const uint64_t n = atomic_load_explicit(word(page, self->index), memory_order_relaxed);
    REQUIRE(n == self->n_written[page]);
    for (uint32_t i = N_PROGRAM; n > 0 && i < PAGE_WORDS; i += 3)
        REQUIRE(atomic_load_explicit(word(page, i), memory_order_relaxed) == pattern(page) * i * i);
}

static void *run_program(void *argument)
{
    struct thread *self = argument;
    for (unsigned step = 0; step < N_STEPS; step++) {
        const uint32_t page = (uint32_t)(next_random(&self->random) >> 32) % N_PAGES;
        const uint32_t what = (uint32_t)(next_random(&self->random) >> 32) % 100;
        const bool is_own = page % OWN == 0;
        if (is_own && page / OWN % N_PROGRAM != self->index)
            continue;
        if (is_own && what < 20) {
            REQUIRE(pager_advise((void *)word(page, 0), SYS_PAGE_SIZE, MADV_DONTNEED) == 0);
            self->n_written[page] = 0;
        } else if (what < 50) {
            write_to(self, page);
        }
        check(self, page);
    }
    return NULL;
}

static void *handle(void *unused)
{
    static _Atomic uint32_t n_served;
    while (!atomic_load(&is_over)) {
        struct pollfd what = {.fd = service_uffd, .events = POLLIN};
        struct uffd_msg message;
        if (poll(&what, 1, 10) != 1 ||
            read(service_uffd, &message, sizeof message) != sizeof message)
            continue;
        const struct fault fault = {message.arg.pagefault.address, message.arg.pagefault.flags,
                                    message.arg.pagefault.feat.ptid};
        fault_serve(&n_served, &fault);
    }
    return NULL;
}

static void *make_room(void *unused)
{
    struct watermarks marks;
    while (!atomic_load(&is_over)) {
        budget_watermarks(&marks);
        lock_take(&pager.pass);
        if (reclaim_room() < marks.high && reclaim_pass(marks.high))
            budget_announce_room();
        writeback_tidy();
        lock_release(&pager.pass);
        usleep(500);
    }
    return NULL;
}

static void look_at_all(void)
{
    for (uint32_t page = 0; page < N_PAGES; page++)
        for (uint32_t t = 0; t < N_PROGRAM; t++)
            if (page % OWN != 0 || page / OWN % N_PROGRAM == t)
                check(&threads[t], page);
}

static void body(void *unused)
{
    pthread_t program[N_PROGRAM], handlers[N_HANDLERS], reclaimer;
    REQUIRE(pager_init(run_control, NULL) == 0);
    REQUIRE(arm() == 0);
    words = pager_map(N_PAGES * SYS_PAGE_SIZE, PROT_READ | PROT_WRITE);
    REQUIRE(words != NULL);
    for (unsigned i = 0; i < N_HANDLERS; i++)
        REQUIRE(pthread_create(&handlers[i], NULL, handle, NULL) == 0);
    REQUIRE(pthread_create(&reclaimer, NULL, make_room, NULL) == 0);
    for (uint32_t i = 0; i < N_PROGRAM; i++) {
        threads[i].index = i;
        threads[i].random = test_seed() + i + 1;
        REQUIRE(pthread_create(&program[i], NULL, run_program, &threads[i]) == 0);
    }
    for (unsigned i = 0; i < N_PROGRAM; i++)
        pthread_join(program[i], NULL);
    look_at_all();
    atomic_store(&is_over, true);
    for (unsigned i = 0; i < N_HANDLERS; i++)
        pthread_join(handlers[i], NULL);
    pthread_join(reclaimer, NULL);
}

static uint64_t n_faults(enum control_fault kind)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < CONTROL_SLOTS; i++)
        n += run_control->slot[i].stats.faults[kind];
    return n;
}

int main(void)
{
    int status = 0;
    const char *missing = run_missing_rights();
    if (missing) {
        printf("skipped: %s\n", missing);
        return RUN_SKIPPED;
    }
    const struct run_config config = {
        .budget_bytes = BUDGET_BYTES, .swap_bytes = SWAP_BYTES, .codec = STORE_CODEC_LZ4};
    run_create(&config);
    printf("QUIRE_TEST_SEED=%llu\n", (unsigned long long)test_seed());
    const enum run_end end = run_child(body, NULL, SECONDS, &status);
    if (end != RUN_DONE)
        printf("FAILED: %s\n", end == RUN_HUNG      ? "it hangs"
                               : end == RUN_VERDICT ? run_control->message
                                                    : "see above");
    const uint64_t n_file = n_faults(CONTROL_FAULT_FILE), n_ram = n_faults(CONTROL_FAULT_RAM);
    printf("faults: %llu from RAM, %llu from the file, %llu from staging\n",
           (unsigned long long)n_ram, (unsigned long long)n_file,
           (unsigned long long)n_faults(CONTROL_FAULT_STAGING));
    run_destroy();
    return end == RUN_DONE && n_file > 0 && n_ram > 0 ? 0 : 1;
}
