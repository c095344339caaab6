/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segmentation beside this processor: LAR, LSL, VERR and VERW are executed on the kernel's own
 * segments in the GDT, and on descriptors of every kind that modify_ldt(2) lets a program make;
 * Quire, given the same table, has to say the same.
 *
 * The second is skipped where modify_ldt does not reach the processor (some virtual machines);
 * all of it where there is no x86-64.
 */
#include <quire/segment.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#if defined(__x86_64__) && defined(__linux__)
#include <asm/ldt.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define N_KINDS 64
#define SELECTOR(index) ((uint16_t)((index) << 3 | 7))
#define DATA_AT 0x20000000ul /* below 4 GiB: bases have 32 bits */

static uint64_t table[N_KINDS];

static int read_table(void *context, uint64_t linear, void *bytes, size_t n)
{
    (void)context;
    if (linear + n > sizeof table)
        return -EFAULT;
    memcpy(bytes, (const char *)table + linear, n);
    return 0;
}

static struct quire_segment_machine machine_of(bool is_64_bit)
{
    return (struct quire_segment_machine){.read = read_table,
                                          .ldt_limit = sizeof table - 1,
                                          .has_ldt = true,
                                          .is_long_mode = true,
                                          .is_64_bit = is_64_bit,
                                          .cpl = 3};
}

/* Descriptors of all kinds: contents, granularity, presence, read-only, 16 and 32 bits. */
static bool make_table(void)
{
    static const struct {
        unsigned base, limit;
        bool in_pages;
    } places[] = {{DATA_AT, 0xfff, false}, {DATA_AT, 0x20, true}};

    for (unsigned i = 0; i < N_KINDS; i++) {
        struct user_desc entry = {.entry_number = i,
                                  .base_addr = places[i >> 5 & 1].base,
                                  .limit = places[i >> 5 & 1].limit,
                                  .limit_in_pages = places[i >> 5 & 1].in_pages,
                                  .contents = i & 3,
                                  .read_exec_only = i >> 2 & 1,
                                  .seg_not_present = (i >> 3 & 1) && (i & 3) != 3,
                                  .seg_32bit = i >> 4 & 1};
        if (entry.contents == 3 && !entry.seg_not_present)
            entry.seg_not_present = 1; /* conforming code: the kernel wants it absent */
        if (syscall(SYS_modify_ldt, 0x11, &entry, sizeof entry) != 0)
            return false;
    }
    return syscall(SYS_modify_ldt, 0, table, sizeof table) == (long)sizeof table;
}

static bool is_known(uint16_t selector) /* to the processor */
{
    unsigned lar = 0;
    bool is_there;
    __asm__("lar %2, %1" : "=@ccz"(is_there), "+r"(lar) : "r"((unsigned)selector));
    return is_there;
}

/* Whether what modify_ldt() takes is what the processor has: some virtual machines only say so. */
static bool has_ldt(void)
{
    return make_table() && is_known(SELECTOR(16));
}

/* Linux's user segments in the GDT (arch/x86/kernel/cpu/common.c), with the accessed bit set. */
static void the_kernels_own(void **state)
{
    struct quire_segment_machine machine = machine_of(true);
    (void)state;

    memset(table, 0, sizeof table);
    table[5] = 0x00cff3000000ffff;
    table[6] = 0x00affb000000ffff;
    machine.has_ldt = false;
    machine.gdt_limit = sizeof table - 1;
    for (unsigned selector = 0x28; selector < 0x38; selector++) {
        struct quire_segment_rights rights;
        unsigned lar = 0, lsl = 0;
        bool has_lar, has_lsl, verr, verw;
        if ((selector & 4) != 0) /* of the LDT */
            continue;
        __asm__("lar %2, %1" : "=@ccz"(has_lar), "+r"(lar) : "r"(selector));
        __asm__("lsl %2, %1" : "=@ccz"(has_lsl), "+r"(lsl) : "r"(selector));
        __asm__("verr %w1" : "=@ccz"(verr) : "r"(selector));
        __asm__("verw %w1" : "=@ccz"(verw) : "r"(selector));
        assert_int_equal(quire_segment_rights(&machine, (uint16_t)selector, &rights), 0);
        assert_int_equal(rights.lar_valid, has_lar);
        assert_int_equal(rights.lsl_valid, has_lsl);
        assert_int_equal(rights.verr, verr);
        assert_int_equal(rights.verw, verw);
        assert_int_equal(rights.lar, lar & 0x00f0ff00);
        assert_int_equal(rights.lsl, lsl);
    }
}

static void answers(void **state)
{
    struct quire_segment_machine machine = machine_of(true);
    (void)state;

    if (!has_ldt())
        skip();
    for (unsigned i = 0; i < N_KINDS + 4; i++) {
        struct quire_segment_rights rights;
        uint16_t selector = i < N_KINDS ? SELECTOR(i) : (uint16_t)(i - N_KINDS);
        unsigned lar = 0, lsl = 0, wide = selector;
        bool has_lar, has_lsl, verr, verw;
        __asm__("lar %2, %1" : "=@ccz"(has_lar), "+r"(lar) : "r"(wide));
        __asm__("lsl %2, %1" : "=@ccz"(has_lsl), "+r"(lsl) : "r"(wide));
        __asm__("verr %w1" : "=@ccz"(verr) : "r"(wide));
        __asm__("verw %w1" : "=@ccz"(verw) : "r"(wide));
        assert_int_equal(quire_segment_rights(&machine, selector, &rights), 0);
        assert_int_equal(rights.lar_valid, has_lar);
        assert_int_equal(rights.lsl_valid, has_lsl);
        assert_int_equal(rights.verr, verr);
        assert_int_equal(rights.verw, verw);
        if (has_lar)
            assert_int_equal(rights.lar, lar & 0x00f0ff00);
        if (has_lsl)
            assert_int_equal(rights.lsl, lsl);
    }
}
#endif

int main(void)
{
#if defined(__x86_64__) && defined(__linux__)
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_kernels_own),
                                       cmocka_unit_test(answers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
#else
    return 77;
#endif
}
