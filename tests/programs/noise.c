/* SPDX-License-Identifier: Apache-2.0 */
/*
 * noise: takes memory until there is none or SIZE_MIB are full, all of it incompressible, then
 * checks every byte: noise SIZE_MIB. Used by cases/out_of_room.py.
 *
 * Ends with 0: all was had; 3: malloc said no, and what was had before is intact; 1: wrong data.
 */
#include "helper.h"

enum { BLOCK_BYTES = 1 << 20, WORDS = BLOCK_BYTES / 8 };

int main(int argc, char **argv)
{
    EXPECT(argc == 2);
    const size_t n_blocks = strtoul(argv[1], NULL, 10);
    uint64_t **blocks = calloc(n_blocks, sizeof *blocks);
    EXPECT(blocks);
    size_t n = 0;
    for (; n < n_blocks; n++) {
        blocks[n] = malloc(BLOCK_BYTES);
        if (!blocks[n]) {
            EXPECT(errno == ENOMEM);
            break;
        }
        for (size_t i = 0; i < WORDS; i++)
            blocks[n][i] = mix(n * WORDS + i);
    }
    for (int round = 0; round < 2; round++)
        for (size_t b = 0; b < n; b++)
            for (size_t i = 0; i < WORDS; i++)
                if (blocks[b][i] != mix(b * WORDS + i))
                    fail("block %zu, word %zu: %llx", b, i, (unsigned long long)blocks[b][i]);
    if (n < n_blocks) {
        puts("no more memory, all intact");
        return 3;
    }
    puts("OK");
    return 0;
}
