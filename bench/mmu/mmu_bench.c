/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mmu_bench: how fast addresses are translated, and how fast all mappings are listed.
 *
 *   mmu_bench [MODE ...]     x86-48, x86-57, x86-pae, x86-32, sv39, sv48, arm64, inverted;
 *                            default: all
 *
 * For each mode a machine is built in memory: a third of the addresses in pages of the smallest
 * size (1 GiB of them, 256 MiB for 32-bit modes), a third in the next larger, a third in the one
 * after that, where there is one, each address drawn at random with equal chance from all three.
 * The first pass warms, the best of five others counts:
 *
 *   one       quire_mmu_translate(), the next address depending on nothing
 *   chained   the same, where each address depends on the answer before it: the latency of a walk
 *   many      quire_mmu_translate_many(), 1024 at a time
 *
 * `map`: a 64-bit Linux guest's worth of mappings, 64 GiB: x86-48, 60 GiB in 2 MiB pages and 4 GiB
 * in scattered 4 KiB pages; and 64 GiB all in 4 KiB pages (128 MiB of tables), merged and not.
 */
#include <quire/mmu.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define N_ADDRESSES (1u << 18)
#define N_TURNS 5
#define TABLES_AT ((uint64_t)1 << 20)
#define TABLES_BYTES ((uint64_t)200 << 20)

struct machine {
    struct quire_image *image;
    struct quire_mmu mmu;
    unsigned char *bytes;
    uint64_t next;
};

static uint64_t random_state = 88172645463325252u;

static uint64_t draw(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static double now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void check(int error, const char *what)
{
    if (error == 0)
        return;
    fprintf(stderr, "mmu_bench: %s: %s\n", what, strerror(-error));
    exit(1);
}

static uint64_t take(void *context, uint64_t n_bytes)
{
    struct machine *machine = context;
    uint64_t address = (machine->next + n_bytes - 1) & ~(n_bytes - 1);
    if (address + n_bytes > TABLES_AT + TABLES_BYTES)
        return 0;
    machine->next = address + n_bytes;
    return address;
}

static void give(void *context, uint64_t address, uint64_t n_bytes)
{
    (void)context;
    (void)address;
    (void)n_bytes;
}

static void make(struct machine *machine, enum quire_mmu_mode mode)
{
    machine->next = TABLES_AT;
    machine->bytes = mmap(NULL, TABLES_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                          -1, 0);
    check(machine->bytes == MAP_FAILED ? -12 : 0, "memory");
    check(quire_image_new(&machine->image), "an image");
    check(quire_image_add_memory(machine->image, TABLES_AT, machine->bytes, TABLES_BYTES, true),
          "memory");
    if (mode == QUIRE_MMU_INVERTED) {
        check(quire_mmu_inverted_format(machine->image, TABLES_AT, 0, 1u << 18, 18), "a table");
        check(quire_mmu_init_inverted(&machine->mmu, machine->image, TABLES_AT, 1), "a mode");
        return;
    }
    check(quire_mmu_init_mode(&machine->mmu, machine->image, mode, take(machine, 4096), 0),
          "a mode");
}

static void drop(struct machine *machine)
{
    quire_image_free(machine->image);
    munmap(machine->bytes, TABLES_BYTES);
}

static void map(struct machine *machine, uint64_t va, uint64_t address, unsigned shift)
{
    const struct quire_mmu_frames frames = {take, give, machine};
    check(quire_mmu_map(&machine->mmu, machine->image, &frames, va, address, shift,
                        QUIRE_MMU_ALL | QUIRE_MMU_ACCESSED | QUIRE_MMU_DIRTY),
          "a mapping");
}

/* Maps a part for each page size; returns how many there are. */
static unsigned fill(struct machine *machine, uint64_t starts[3], uint64_t *part)
{
    uint64_t sizes = quire_mmu_page_sizes(&machine->mmu);
    bool is_small = quire_mmu_va_bits(&machine->mmu) == 32;
    unsigned n = 0;

    *part = (uint64_t)1 << (is_small ? 28 : 30);
    if ((sizes & 1 << 16) != 0 && (sizes & 1 << 21) != 0)
        sizes &= ~((uint64_t)1 << 16); /* NAPOT is no level of its own */
    for (unsigned shift = 12; shift < 31 && n < 3; shift++) {
        if ((sizes >> shift & 1) == 0)
            continue;
        starts[n] = *part * n;
        for (uint64_t at = 0; at < *part; at += (uint64_t)1 << shift)
            map(machine, starts[n] + at,
                machine->mmu.mode == QUIRE_MMU_INVERTED
                    ? at
                    : (*part * 4 + at * 7 % *part) & ~(((uint64_t)1 << shift) - 1),
                shift);
        n++;
    }
    return n;
}

static double best_of(double a, double b)
{
    return a == 0 || b < a ? b : a;
}

static void measure(enum quire_mmu_mode mode)
{
    static uint64_t vas[N_ADDRESSES];
    static struct quire_mmu_answer answers[1024];
    struct machine machine;
    uint64_t starts[3], part, sum = 0;
    double one = 0, chained = 0, many = 0;

    make(&machine, mode);
    unsigned n_parts = fill(&machine, starts, &part);
    for (unsigned i = 0; i < N_ADDRESSES; i++)
        vas[i] = starts[draw() % n_parts] + draw() % part;
    for (unsigned turn = 0; turn <= N_TURNS; turn++) {
        struct quire_mmu_answer answer = {0};
        double t0 = now_ns();
        for (unsigned i = 0; i < N_ADDRESSES; i++) {
            quire_mmu_translate(&machine.mmu, vas[i], &answer, NULL);
            sum += answer.address + answer.reason;
        }
        double t1 = now_ns();
        for (unsigned i = 0; i < N_ADDRESSES; i++) {
            quire_mmu_translate(&machine.mmu, vas[i] ^ (answer.rights & 1u << 31), &answer, NULL);
            sum += answer.address + answer.reason;
        }
        double t2 = now_ns();
        for (unsigned i = 0; i < N_ADDRESSES; i += 1024) {
            quire_mmu_translate_many(&machine.mmu, vas + i, answers, 1024);
            sum += answers[17].address;
        }
        double t3 = now_ns();
        if (turn == 0)
            continue;
        one = best_of(one, t1 - t0);
        chained = best_of(chained, t2 - t1);
        many = best_of(many, t3 - t2);
    }
    for (unsigned i = 0; i < 1024; i++)
        check(answers[i].reason == QUIRE_MMU_OK ? 0 : -22, "every address is mapped");
    double million = 1e3 * N_ADDRESSES;
    printf("%-10s %u sizes   one %6.1f   chained %6.1f   many %6.1f   million a second  (%llx)\n",
           quire_mmu_mode_name(mode), n_parts, million / one, million / chained, million / many,
           (unsigned long long)sum & 0xf);
    drop(&machine);
}

static bool count(void *context, const struct quire_mmu_mapping *mapping)
{
    uint64_t *n = context;
    n[0]++;
    n[1] += mapping->n_bytes;
    return true;
}

static void measure_map(const char *what, bool all_small)
{
    const struct quire_mmu_limits all = {.range = {0, UINT64_MAX}};
    struct machine machine;
    uint64_t gib = (uint64_t)1 << 30, base = 0xffff888000000000;

    make(&machine, QUIRE_MMU_X86_48);
    if (all_small) {
        for (uint64_t at = 0; at < 64 * gib; at += 4096)
            map(&machine, base + at, at, 12);
    } else {
        for (uint64_t at = 0; at < 60 * gib; at += 2 << 20)
            map(&machine, base + at, at, 21);
        for (uint64_t at = 0; at < 4 * gib; at += 4096)
            map(&machine, 0x550000000000 + at, (at * 0x9e3779b1) & (64 * gib - 4096), 12);
    }
    for (unsigned merged = 0; merged < 2; merged++) {
        double best = 0;
        uint64_t n[2];
        for (unsigned turn = 0; turn < 3; turn++) {
            double start = now_ns();
            n[0] = n[1] = 0;
            check((merged ? quire_mmu_each_merged : quire_mmu_each)(&machine.mmu, &all, count, n),
                  "all mappings");
            best = best_of(best, now_ns() - start);
        }
        printf("map %-24s %s   %9llu of them, %llu GiB   %7.1f ms\n", what,
               merged ? "merged " : "as is  ", (unsigned long long)n[0],
               (unsigned long long)(n[1] / gib), best / 1e6);
    }
    drop(&machine);
}

int main(int argc, char **argv)
{
    static const enum quire_mmu_mode modes[] = {
        QUIRE_MMU_X86_48, QUIRE_MMU_X86_57, QUIRE_MMU_X86_PAE, QUIRE_MMU_X86_32,
        QUIRE_MMU_SV39,   QUIRE_MMU_SV48,   QUIRE_MMU_ARM64,   QUIRE_MMU_INVERTED};

    for (unsigned i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        bool is_wanted = argc == 1;
        for (int j = 1; j < argc; j++)
            is_wanted |= strcmp(argv[j], quire_mmu_mode_name(modes[i])) == 0;
        if (is_wanted)
            measure(modes[i]);
    }
    if (argc == 1) {
        measure_map("64 GiB, 2 MiB and 4 KiB", false);
        measure_map("64 GiB, all 4 KiB", true);
    }
    return 0;
}
