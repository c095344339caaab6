/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sparse: reserves much and touches some: sparse RESERVED_GIB TOUCHED_MIB. Used by cases/large.py.
 * Every page touched gets a quarter of noise; then all are checked, in another order.
 */
#include "helper.h"

int main(int argc, char **argv)
{
    EXPECT(argc == 3);
    const size_t n_reserved = strtoul(argv[1], NULL, 10) << 18;
    const size_t n_touched = strtoul(argv[2], NULL, 10) << 8;
    EXPECT(n_touched > 0 && n_reserved > n_touched);
    uint64_t *pages = mmap(NULL, n_reserved * PAGE, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    EXPECT(pages != MAP_FAILED);

    /* Clusters of 32 pages, evenly over all of the range. */
    const size_t n_clusters = n_touched / 32, stride = n_reserved / n_clusters;
    for (size_t cluster = 0; cluster < n_clusters; cluster++)
        for (size_t i = 0; i < 32; i++) {
            size_t page = cluster * stride + i;
            for (size_t word = 0; word < 512; word++)
                pages[page * 512 + word] = word < 128 ? mix(page * 512 + word) : page;
        }
    uint64_t sum = 0;
    for (size_t n = 0; n < n_clusters; n++)
        for (size_t i = 0; i < 32; i++) {
            size_t page = n * 7919 % n_clusters * stride + i;
            for (size_t word = 0; word < 512; word += 64) {
                uint64_t value = pages[page * 512 + word];
                if (value != (word < 128 ? mix(page * 512 + word) : page))
                    fail("page %zu, word %zu: %llx", page, word, (unsigned long long)value);
                sum = mix(sum ^ value);
            }
        }
    /* Between the clusters nothing has appeared. */
    for (size_t n = 0; n < n_clusters; n += 97)
        EXPECT(pages[(n * stride + stride - 1) * 512] == 0);
    printf("OK %016llx\n", (unsigned long long)sum);
    return 0;
}
