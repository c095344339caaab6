/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segmentation beside this processor: LAR, LSL, VERR and VERW are executed on the kernel's own
 * segments in the GDT, and on descriptors of every kind that modify_ldt(2) lets a program make; and
 * from 32-bit code memory is accessed through these, where nothing is: what segmentation lets
 * through is a page fault, at the linear address. Quire, given the same table, has to say the same.
 *
 * All but the first is skipped where modify_ldt does not reach the processor (some virtual
 * machines); all of it where there is no x86-64.
 */
#include <quire/segment.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#if defined(__x86_64__) && defined(__linux__)
#include <asm/ldt.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
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

/* Faulting accesses */

#define USER_CS_32 0x23 /* Linux's 32-bit code segment */
#define SNIPPET_BYTES 32

/* For the 32-bit code, which needs it below 4 GiB. */
struct low {
    uint32_t selector, offset;
    struct {
        uint32_t offset;
        uint16_t selector;
    } __attribute__((packed)) far;
    unsigned char code[16 * SNIPPET_BYTES] __attribute__((aligned(16)));
    char stack[1024];
};

/* By ES: read 1 byte, 4; write 1, 4. By SS: the same. By CS: a jump. %edi is a struct low. */
extern const unsigned char snippets[], snippets_end[];
__asm__(
    ".pushsection .rodata\n.code32\n.globl snippets, snippets_end\nsnippets:\n"
    ".macro snippet register:req, instruction:vararg\n"
    " mov %cs:(%edi), %eax\n mov %cs:4(%edi), %esi\n mov %eax, \\register\n \\instruction\n ud2\n"
    " .balign 32\n.endm\n"
    "snippet %es, mov %es:(%esi), %bl\nsnippet %es, mov %es:(%esi), %ebx\n"
    "snippet %es, mov %bl, %es:(%esi)\nsnippet %es, mov %ebx, %es:(%esi)\n"
    "snippet %ss, mov %ss:(%esi), %bl\nsnippet %ss, mov %ss:(%esi), %ebx\n"
    "snippet %ss, mov %bl, %ss:(%esi)\nsnippet %ss, mov %ebx, %ss:(%esi)\n"
    "ljmp *%cs:8(%edi)\n.balign 32\nsnippets_end:\n.code64\n.popsection\n");

static sigjmp_buf back;
static volatile long long trap, trap_error, trap_address;

static void on_trap(int number, siginfo_t *info, void *context)
{
    const greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    (void)number;
    (void)info;
    trap = registers[REG_TRAPNO];
    trap_error = registers[REG_ERR];
    trap_address = registers[REG_CR2];
    siglongjmp(back, 1);
}

/* Runs a snippet; every way out of it is a signal. */
static void run(struct low *low, unsigned snippet, uint16_t selector, uint32_t offset)
{
    low->selector = low->far.selector = selector;
    low->offset = low->far.offset = offset;
    if (sigsetjmp(back, 1) != 0)
        return;
    __asm__ volatile(
        "mov %0, %%rsp\n push %1\n push %2\n lretq"
        :
        : "r"((uint64_t)(uintptr_t)(low + 1) & ~(uint64_t)15), "r"((uint64_t)USER_CS_32),
          "r"((uint64_t)(uintptr_t)low->code + (uint64_t)snippet * SNIPPET_BYTES), "D"(low)
        : "memory");
    __builtin_unreachable();
}

static void compare(struct low *low, unsigned snippet, uint16_t selector, uint32_t offset)
{
    static const enum quire_segment_use uses[] = {QUIRE_SEGMENT_DATA, QUIRE_SEGMENT_STACK,
                                                  QUIRE_SEGMENT_CODE};
    struct quire_segment_machine machine = machine_of(false);
    enum quire_segment_access access = snippet == 8         ? QUIRE_SEGMENT_EXECUTE
                                       : (snippet & 2) != 0 ? QUIRE_SEGMENT_WRITE
                                                            : QUIRE_SEGMENT_READ;
    struct quire_segment_answer answer;

    quire_segment_translate(&machine, selector, uses[snippet / 4], offset,
                            (snippet & 1) != 0 ? 4 : 1, access, &answer);
    run(low, snippet, selector, offset);
    if (answer.exception == QUIRE_SEGMENT_OK) {
        assert_int_equal(trap, 14); /* a page fault, as nothing is there */
        assert_int_equal(trap_address, answer.linear);
    } else {
        assert_int_equal(trap, answer.exception);
        assert_int_equal(trap_error, answer.error);
    }
}

static void compare_all(struct low *low)
{
    static const uint32_t offsets[] = {0,       0x10,    0xffc,  0xffd,   0xfff,     0x1000,
                                       0x20fff, 0x21000, 0xffff, 0x10000, 0xfffffffc};
    for (unsigned i = 0; i < N_KINDS + 4; i++) {
        uint16_t selector = i < N_KINDS ? SELECTOR(i) : (uint16_t)(i - N_KINDS);
        for (unsigned snippet = 0; snippet <= 8; snippet++)
            for (unsigned j = 0; j < sizeof offsets / sizeof offsets[0]; j++)
                compare(low, snippet, selector, offsets[j]);
    }
    for (unsigned snippet = 0; snippet <= 8; snippet++) {
        compare(low, snippet, SELECTOR(N_KINDS), 0);    /* beyond the table */
        compare(low, snippet, SELECTOR(0) & ~3u, 0x10); /* RPL 0 */
        compare(low, snippet, SELECTOR(2) & ~2u, 0x10);
    }
}

static void faulting_accesses(void **state)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGILL};
    static char alternate[1 << 16];
    const stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
    const stack_t none = {.ss_flags = SS_DISABLE};
    struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO | SA_ONSTACK},
                     before[3];
    void *reserved = mmap((void *)(DATA_AT - (1ul << 24)), 1ul << 26, PROT_NONE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_NORESERVE, -1, 0);
    struct low *low = mmap(NULL, sizeof *low, PROT_READ | PROT_WRITE | PROT_EXEC,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    (void)state;

    if (!has_ldt() || !is_known(USER_CS_32) || low == MAP_FAILED || reserved == MAP_FAILED)
        skip();
    memcpy(low->code, snippets, (size_t)(snippets_end - snippets));
    assert_int_equal(sigaltstack(&stack, NULL), 0);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(sigaction(signals[i], &action, &before[i]), 0);
    compare_all(low);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(sigaction(signals[i], &before[i], NULL), 0);
    assert_int_equal(sigaltstack(&none, NULL), 0);
    munmap(low, sizeof *low);
    munmap(reserved, 1ul << 26);
}
#endif

int main(void)
{
#if defined(__x86_64__) && defined(__linux__)
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_kernels_own), cmocka_unit_test(answers),
                                       cmocka_unit_test(faulting_accesses)};
    return cmocka_run_group_tests(tests, NULL, NULL);
#else
    return 77;
#endif
}
