/* SPDX-License-Identifier: Apache-2.0 */
/*
 * accesses: a program for the bare machine, in 64-bit mode, that reads, writes and executes at
 * addresses, as the supervisor and as the user, and tells what became of it: the page fault's error
 * code. tests/mmu/qemu.py starts it over page tables of its own, with the registers and addresses
 * at PARAMETERS, and reads what it writes to port 0xe9.
 *
 * The program lies below 2 MiB, where its tables map all to itself, for the supervisor; the page of
 * snippets is at USER_SNIPPETS for the user, too. Frames under test hold `int $48` everywhere.
 */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned u32;
typedef unsigned long long u64;

#define PARAMETERS 0x1f0000
#define USER_SNIPPETS 0x600000

struct parameters {
    u64 cr0, cr3, cr4, efer;
    u32 pkru, n;
    u64 vas[];
};

static u64 gdt[] = {
    0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00cff3000000ffff, 0x00affb000000ffff, 0, 0};
static struct {
    u64 low, high;
} idt[64];
static u32 tss[26];
char stack[8192] __attribute__((aligned(16)));
u64 in_va, in_snippet, in_is_user, saved_stack, out_vector, out_error;
struct __attribute__((packed)) {
    u16 limit;
    u64 base;
} gdtr = {sizeof gdt - 1, (u64)gdt}, idtr = {sizeof idt - 1, (u64)idt};

void run_case(void);
extern char handlers[], snippets[];

__asm__(".globl _start, run_case, handlers, snippets\n"
        ".section .boot, \"ax\"\n.code32\n"
        ".long 0x1badb002, 0x10000, -0x1badb002 - 0x10000, 0x100000, 0x100000, end_of_file, "
        "end_of_all, "
        "_start\n"
        "_start: mov 0x1f0010, %eax\n mov %eax, %cr4\n"
        " mov $0xc0000080, %ecx\n mov 0x1f0018, %eax\n xor %edx, %edx\n wrmsr\n"
        " mov 0x1f0008, %eax\n mov %eax, %cr3\n mov 0x1f0000, %eax\n mov %eax, %cr0\n"
        " lgdt gdtr\n ljmp $8, $1f\n"
        ".code64\n"
        "1: mov $0x10, %eax\n mov %eax, %ss\n mov $stack + 8192, %esp\n"
        " call run\n2: cli\n hlt\n jmp 2b\n"
        ".section .snippets, \"ax\"\n.balign 4096\n"
        "snippets: mov (%rsi), %bl\n int $48\n.balign 16\n"
        " mov %cl, (%rsi)\n int $48\n.balign 16\n"
        " jmp *%rsi\n.balign 4096\n"
        ".text\n"
        "run_case: push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n"
        " mov %rsp, saved_stack\n"
        " mov in_va, %rsi\n mov in_snippet, %rax\n mov $0xcd, %ecx\n"
        " cmpq $0, in_is_user\n jne 1f\n jmp *%rax\n"
        "1: push $0x1b\n push $0\n push $2\n push $0x23\n push %rax\n iretq\n"
        "back: pop out_vector\n pop out_error\n mov saved_stack, %rsp\n"
        " pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n ret\n"
        ".balign 16\n"
        "handlers:\n.set n, 0\n.rept 49\n.balign 16\n"
        ".if (n != 8) && (n < 10 || n > 14) && (n != 17)\n push $0\n.endif\n"
        " push $n\n jmp back\n.set n, n + 1\n.endr\n");

static void put(const void *bytes, u32 n)
{
    for (const u8 *at = bytes; n-- > 0; at++)
        __asm__ volatile("outb %0, $0xe9" : : "a"(*at));
}

static void make_tables(void)
{
    u64 at = (u64)tss;

    for (u32 i = 0; i < 49; i++) {
        u64 to = (u64)handlers + 16 * i;
        idt[i].low = (to & 0xffff) | 8 << 16 | (i == 48 ? 0xeeull : 0x8eull) << 40 | to >> 16 << 48;
        idt[i].high = to >> 32;
    }
    tss[1] = (u32)(u64)stack + 4096; /* for exceptions of the user's */
    gdt[5] = (sizeof tss - 1) | (at & 0xffffff) << 16 | 0x89ull << 40 | (at >> 24 & 0xff) << 56;
    __asm__ volatile("lgdt gdtr\n lidt idtr\n ltr %w0" : : "r"(0x28));
}

/* The page fault's error code; 0xffff: there was none; 0xee00 and the vector: something else. */
static u16 ask(u64 va, u32 access, u32 is_user)
{
    in_va = va;
    in_is_user = is_user;
    in_snippet = (is_user ? USER_SNIPPETS : (u64)snippets) + 16 * access;
    run_case();
    return out_vector == 48 ? 0xffff : (u16)(out_vector == 14 ? out_error : 0xee00 | out_vector);
}

__attribute__((used)) static void run(void)
{
    const struct parameters *parameters = (const struct parameters *)PARAMETERS;

    make_tables();
    if ((parameters->cr4 >> 22 & 1) != 0)
        __asm__ volatile("wrpkru" : : "a"(parameters->pkru), "c"(0), "d"(0));
    for (u32 i = 0; i < parameters->n; i++) {
        for (u32 is_user = 0; is_user < 2; is_user++) {
            for (u32 access = 0; access < 3; access++) {
                u16 answer = ask(parameters->vas[i], access, is_user);
                put(&answer, sizeof answer);
            }
        }
    }
    put("E", 1);
}
