/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What store_load makes of an object that says anything at all: an error, or a page that its
 * checksum vouches for; and it reads and writes nothing else.
 *
 * The input is an object: header and data. It is put into the pool, and decoded from a block of
 * exactly its size as well. In the test suite this runs by itself on damaged real objects; under
 * libFuzzer:
 *   clang -g -O1 -fsanitize=fuzzer,address -DQUIRE_LIBFUZZER -D_GNU_SOURCE -Isrc -Itests \
 *     tests/fuzz/store_object.c src/store/[a-z]*.c src/base/{sys,lock,log,meta}.c \
 *     -llz4 -lzstd -lsodium
 */
#include "store/codec.h"
#include "store/inside.h"
#include "store_pages.h"

#include <errno.h>

#define N_RUNS 60000

static struct store *store;
static struct store_packer *packer;
static store_ref ref; /* of the largest kind of object: a raw page */
static unsigned char page[SYS_PAGE_SIZE];
static _Alignas(4096) unsigned char scratch[2 * SYS_PAGE_SIZE];

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t n_bytes);

static void start(void)
{
    static struct store_packed packed;
    const struct store_config config = {.pool_max_bytes = POOL_BLOCK_BYTES};
    packer = new_packer(STORE_CODEC_ZSTD);
    make_page(page, PAGE_RANDOM, 1);
    store_pack(packer, page, &packed);
    if (store_init(&config, &store) != 0 || store_insert(store, 0, &packed, SIZE_MAX, &ref) != 0)
        abort();
}

static void judge(int error, const void *out, uint64_t checksum)
{
    if (error != -EBADMSG && !(error == 0 && codec_checksum(out) == checksum))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t n_bytes)
{
    if (store == NULL)
        start();
    struct object_header header;
    if (n_bytes < sizeof(header) || n_bytes > OBJECT_MAX_BYTES)
        return 0;
    memcpy(&header, input, sizeof(header));
    const size_t n_data = n_bytes - sizeof(header);
    void *data = malloc(n_data), *out = malloc(SYS_PAGE_SIZE);
    if (data == NULL || out == NULL)
        abort();
    memcpy(data, input + sizeof(header), n_data);
    judge(codec_decode(packer, &header, data, n_data, out), out, header.checksum);
    size_t capacity;
    memcpy(pool_object(&store->pool, ref_slot(ref), &capacity), input, n_bytes);
    judge(store_load(store, packer, ref, header.page, out, scratch), out, header.checksum);
    free(data);
    free(out);
    return 0;
}

#ifndef QUIRE_LIBFUZZER
/* A real object, damaged in a few places, most often early in the data, where formats decide. */
int main(void)
{
    static unsigned char object[OBJECT_MAX_BYTES];
    static struct store_packed packed;
    uint64_t seed = test_seed() | 1;
    static struct store_packer *packers[3];
    for (unsigned i = 0; i < 3; i++)
        packers[i] = new_packer((enum store_codec)i);
    printf("QUIRE_TEST_SEED=%llu\n", (unsigned long long)seed);
    for (unsigned i = 0; i < N_RUNS; i++) {
        make_page(page, PAGE_TINY + next_random(&seed) % (PAGE_KINDS - PAGE_TINY), i);
        store_pack(packers[i % 3], page, &packed);
        const struct object_header header = {
            .checksum = packed.checksum, .n_bytes = packed.n_bytes, .codec = packed.codec};
        memcpy(object, &header, sizeof(header));
        memcpy(object + sizeof(header), packed.data, packed.n_bytes);
        size_t n_bytes = sizeof(header) + packed.n_bytes;
        for (unsigned n = (unsigned)(next_random(&seed) % 5); n > 0; n--) {
            const size_t within = next_random(&seed) % 2 == 0 && n_bytes > 48 ? 48 : n_bytes;
            object[next_random(&seed) % within] = (unsigned char)next_random(&seed);
        }
        if (next_random(&seed) % 8 == 0)
            n_bytes = next_random(&seed) % (n_bytes + 1);
        LLVMFuzzerTestOneInput(object, n_bytes);
    }
    return 0;
}
#endif
