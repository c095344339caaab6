/* SPDX-License-Identifier: Apache-2.0 */
/* codec: packing, unpacking, and that damage never becomes other bytes. */
#include "store/codec.h"
#include "store_pages.h"

#include <errno.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h> /* wants the ones above */

static const enum store_codec codecs[] = {STORE_CODEC_NONE, STORE_CODEC_LZ4, STORE_CODEC_ZSTD};
#define N_CODECS 3

static struct store_packer *packers[N_CODECS];
static struct store_packed packed;
static unsigned char page[SYS_PAGE_SIZE], *out; /* what lies behind `out` can't be touched */
static unsigned char *data_end;                 /* nor what lies behind data_end */

static int set_up(void **state)
{
    for (unsigned i = 0; i < N_CODECS; i++)
        packers[i] = new_packer(codecs[i]);
    unsigned char *memory = mmap(NULL, 6 * SYS_PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
                                 -1, 0);
    mprotect(memory + SYS_PAGE_SIZE, SYS_PAGE_SIZE, PROT_READ | PROT_WRITE);
    mprotect(memory + 3 * SYS_PAGE_SIZE, 2 * SYS_PAGE_SIZE, PROT_READ | PROT_WRITE);
    out = memory + SYS_PAGE_SIZE;
    data_end = memory + 5 * SYS_PAGE_SIZE;
    return memory == MAP_FAILED;
}

static struct object_header header_of_packed(void)
{
    return (struct object_header){
        .checksum = packed.checksum, .n_bytes = packed.n_bytes, .codec = packed.codec};
}

/* Decodes from memory that ends where the data does, into memory that ends where the page does. */
static int decode(unsigned codec, const struct object_header *header, size_t n_bytes)
{
    memcpy(data_end - n_bytes, packed.data, n_bytes);
    return codec_decode(packers[codec], header, data_end - n_bytes, n_bytes, out);
}

static void same_filled_is_found(void **state)
{
    uint32_t pattern;
    make_page(page, PAGE_ZERO, 0);
    assert_true(codec_same_filled(page, &pattern));
    assert_int_equal(pattern, 0);
    make_page(page, PAGE_PATTERN, 0xdeadbeef);
    assert_true(codec_same_filled(page, &pattern));
    assert_int_equal(pattern, 0xdeadbeef);
}

static void one_other_byte_is_not_same_filled(void **state)
{
    uint32_t pattern;
    make_page(page, PAGE_PATTERN, 0x01020304);
    for (size_t i = 0; i < SYS_PAGE_SIZE; i++) {
        page[i] ^= 0x40;
        assert_false(codec_same_filled(page, &pattern));
        page[i] ^= 0x40;
    }
}

static void every_kind_of_page_comes_back(void **state)
{
    for (unsigned c = 0; c < N_CODECS; c++)
        for (enum page_kind kind = PAGE_TINY; kind < PAGE_KINDS; kind++)
            for (uint64_t seed = 1; seed < 50; seed++) {
                make_page(page, kind, seed);
                store_pack(packers[c], page, &packed);
                assert_false(packed.same);
                const struct object_header header = header_of_packed();
                assert_int_equal(decode(c, &header, packed.n_bytes), 0);
                assert_memory_equal(out, page, SYS_PAGE_SIZE);
            }
}

static void what_does_not_compress_stays_raw(void **state)
{
    for (unsigned c = 0; c < N_CODECS; c++) {
        make_page(page, PAGE_RANDOM, 9);
        store_pack(packers[c], page, &packed);
        assert_int_equal(packed.codec, STORE_CODEC_NONE);
        assert_int_equal(packed.n_bytes, SYS_PAGE_SIZE);
        memset(page, 0, SYS_PAGE_SIZE / 16); /* a sixteenth less is not worth decoding */
        store_pack(packers[c], page, &packed);
        assert_int_equal(packed.codec, STORE_CODEC_NONE);
        make_page(page, PAGE_TEXT, 9);
        store_pack(packers[c], page, &packed);
        assert_int_equal(packed.codec, codecs[c]);
        assert_in_range(packed.n_bytes, 1, c == 0 ? SYS_PAGE_SIZE : CODEC_WORTH_BYTES);
    }
}

static void every_flipped_bit_is_noticed_or_harmless(void **state)
{
    const enum page_kind kinds[] = {PAGE_TINY, PAGE_TEXT, PAGE_HALF, PAGE_RANDOM};
    for (unsigned c = 0; c < N_CODECS; c++)
        for (unsigned k = 0; k < 4; k++) {
            make_page(page, kinds[k], 3);
            store_pack(packers[c], page, &packed);
            const struct object_header header = header_of_packed();
            for (size_t bit = 0; bit < packed.n_bytes * 8u; bit++) {
                packed.data[bit / 8] ^= (unsigned char)(1 << bit % 8);
                const int error = decode(c, &header, packed.n_bytes);
                if (error == 0)
                    assert_memory_equal(out, page, SYS_PAGE_SIZE);
                else
                    assert_int_equal(error, -EBADMSG);
                packed.data[bit / 8] ^= (unsigned char)(1 << bit % 8);
            }
        }
}

static void a_header_is_not_trusted(void **state)
{
    for (unsigned c = 0; c < N_CODECS; c++) {
        make_page(page, PAGE_HALF, 2);
        store_pack(packers[c], page, &packed);
        for (unsigned n = 0; n <= UINT16_MAX; n += n < 5000 ? 1 : 97)
            for (unsigned codec = 0; codec < 5; codec++) {
                struct object_header header = header_of_packed();
                if (n == header.n_bytes && codec == header.codec)
                    continue;
                header.n_bytes = (uint16_t)n;
                header.codec = (uint8_t)codec;
                assert_int_equal(decode(c, &header, packed.n_bytes), -EBADMSG);
            }
        struct object_header header = header_of_packed();
        header.checksum ^= 1;
        assert_int_equal(decode(c, &header, packed.n_bytes), -EBADMSG);
    }
}

static void a_packer_refuses_a_costlier_codec(void **state)
{
    make_page(page, PAGE_TEXT, 2);
    store_pack(packers[STORE_CODEC_ZSTD], page, &packed);
    const struct object_header header = header_of_packed();
    assert_int_equal(header.codec, STORE_CODEC_ZSTD);
    assert_int_equal(decode(STORE_CODEC_LZ4, &header, packed.n_bytes), -EBADMSG);
    assert_int_equal(decode(STORE_CODEC_ZSTD, &header, packed.n_bytes), 0);
}

static void a_packer_packs_by_a_cheaper_codec_too(void **state)
{
    for (enum store_codec most = STORE_CODEC_NONE; most <= STORE_CODEC_ZSTD; most++)
        for (enum store_codec codec = STORE_CODEC_NONE; codec <= most; codec++) {
            make_page(page, PAGE_TEXT, 3);
            store_pack_by(packers[most], codec, page, &packed);
            assert_int_equal(packed.codec, codec);
            const struct object_header header = header_of_packed();
            assert_int_equal(decode(most, &header, packed.n_bytes), 0);
            assert_memory_equal(out, page, SYS_PAGE_SIZE);
        }
}

static void a_loader_loads_what_a_packer_packed(void **state)
{
    static const enum page_kind kinds[] = {PAGE_TEXT, PAGE_HALF, PAGE_RANDOM};
    for (unsigned c = 0; c < N_CODECS; c++) {
        size_t n_bytes = store_loader_bytes(codecs[c]);
        void *memory = calloc(1, n_bytes);
        struct store_packer *loader = store_loader_init(memory, codecs[c]);
        assert_true(codecs[c] == STORE_CODEC_NONE || n_bytes < store_packer_bytes(codecs[c]));
        for (unsigned k = 0; k < 3; k++) {
            make_page(page, kinds[k], k);
            store_pack(packers[codecs[c]], page, &packed);
            const struct object_header header = header_of_packed();
            assert_int_equal(codec_decode(loader, &header, packed.data, packed.n_bytes, out), 0);
            assert_memory_equal(out, page, SYS_PAGE_SIZE);
        }
        free(memory);
    }
}

/* Also from a packer's first use on: the warm-up must not need it either. */
static void nothing_is_allocated(void **state)
{
    void *memory[N_CODECS];
    for (unsigned c = 0; c < N_CODECS; c++)
        memory[c] = malloc(store_packer_bytes(codecs[c]));
    const struct mallinfo2 before = mallinfo2();
    for (unsigned c = 0; c < N_CODECS; c++) {
        struct store_packer *packer = store_packer_init(memory[c], codecs[c]);
        make_page(page, PAGE_HALF, 1);
        store_pack(packer, page, &packed);
        const struct object_header header = header_of_packed();
        assert_int_equal(codec_decode(packer, &header, packed.data, packed.n_bytes, out), 0);
    }
    const struct mallinfo2 after = mallinfo2();
    assert_int_equal(before.uordblks, after.uordblks);
    assert_int_equal(before.hblkhd, after.hblkhd);
    for (unsigned c = 0; c < N_CODECS; c++)
        free(memory[c]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_filled_is_found),
        cmocka_unit_test(one_other_byte_is_not_same_filled),
        cmocka_unit_test(every_kind_of_page_comes_back),
        cmocka_unit_test(what_does_not_compress_stays_raw),
        cmocka_unit_test(every_flipped_bit_is_noticed_or_harmless),
        cmocka_unit_test(a_header_is_not_trusted),
        cmocka_unit_test(a_packer_refuses_a_costlier_codec),
        cmocka_unit_test(a_packer_packs_by_a_cheaper_codec_too),
        cmocka_unit_test(a_loader_loads_what_a_packer_packed),
        cmocka_unit_test(nothing_is_allocated),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
