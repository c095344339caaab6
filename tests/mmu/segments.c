/* SPDX-License-Identifier: Apache-2.0 */
/*
 * segments: a program for the bare machine, in 32-bit protected mode, that asks the processor what
 * segmentation makes of selectors and offsets: descriptors of every type, from every ring, by every
 * kind of register. tests/mmu/segments.py starts it and reads what it writes to the parallel port.
 *
 * Memory is flat and mapped below 4 MiB; descriptors under test have bases far above, where nothing
 * is. So an access that segmentation lets through ends as a page fault, and CR2 is the linear
 * address; any other exception is segmentation's own.
 */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned u32;
typedef unsigned long long u64;

#define FIRST_TESTED 16
#define N_GDT 208
#define N_LDT 24
#define TSS 0x48
#define LDT 0x50

enum { DATA, STACK, CODE, CALL };
enum { READ, WRITE, EXECUTE };

/* What a record has; the first byte says which. */
struct __attribute__((packed)) access {
    u8 kind, cpl, use, access, size, vector;
    u16 selector, error;
    u32 offset, linear;
};
struct __attribute__((packed)) rights {
    u8 kind, cpl, flags; /* flags: ZF after LAR, LSL, VERR, VERW */
    u16 selector;
    u32 lar, lsl;
};

static u64 gdt[N_GDT], ldt[N_LDT], idt[256];
static u32 directory[1024] __attribute__((aligned(4096)));
static u32 tss[26];
static char stacks[4][4096] __attribute__((aligned(16)));

/* For the code below. */
u32 in_cpl, in_selector, in_offset, in_snippet, in_stack, saved_stack;
u32 out_vector, out_error, out_linear, out_lar, out_lsl, out_flags;
struct __attribute__((packed)) {
    u32 offset;
    u16 selector;
} in_far;

void run_case(void);
extern char handlers[], snippets[];

__asm__(".globl _start, run_case, handlers, snippets\n"
        ".section .boot, \"ax\"\n"
        ".long _start\n"
        "_start: mov $stacks + 4096, %esp\n call run\n1: cli\n hlt\n jmp 1b\n"
        ".text\n"
        /* Enters the ring; every way out leads to `back`. */
        "run_case: pusha\n"
        "  mov %esp, saved_stack\n"
        "  mov in_selector, %eax\n mov in_offset, %esi\n mov $in_far, %edi\n mov $0x10, %ecx\n"
        "  mov $0x43, %edx\n mov %dx, %ds\n mov %dx, %es\n"
        "  mov in_cpl, %ebp\n"
        "  test %ebp, %ebp\n"
        "  jnz 1f\n"
        "  jmp *in_snippet\n"
        "1: mov %ebp, %ebx\n shl $4, %ebx\n or %ebp, %ebx\n" /* code 0x8 + 16 n, data 0x10 + 16 n */
        "  lea 0x10(%ebx), %edx\n push %edx\n"
        "  push in_stack\n"
        "  push $2\n"
        "  lea 8(%ebx), %edx\n push %edx\n"
        "  push in_snippet\n"
        "  iret\n"
        "back: mov %ebx, %ss:out_lar\n mov %edx, %ss:out_lsl\n mov %ebp, %ss:out_flags\n"
        "  pop %ss:out_vector\n pop %ss:out_error\n"
        "  mov %cr2, %ebx\n mov %ebx, %ss:out_linear\n"
        "  mov $0x10, %bx\n mov %bx, %ds\n mov %bx, %es\n"
        "  mov saved_stack, %esp\n popa\n ret\n"
        ".balign 16\n"
        "handlers:\n"
        ".set n, 0\n"
        ".rept 49\n"
        ".balign 16\n"
        ".if (n != 8) && (n < 10 || n > 14) && (n != 17)\n push $0\n .endif\n"
        " push $n\n jmp back\n"
        ".set n, n + 1\n"
        ".endr\n"
        /* 32 bytes each: DATA, STACK: reads of 1, 2, 4 bytes, writes; CODE, CALL; longer: rights */
        ".balign 32\n"
        "snippets:\n"
        " mov %ax, %ds\n mov %ds:(%esi), %bl\n int $48\n .balign 32\n"
        " mov %ax, %ds\n mov %ds:(%esi), %bx\n int $48\n .balign 32\n"
        " mov %ax, %ds\n mov %ds:(%esi), %ebx\n int $48\n .balign 32\n"
        " mov %ax, %ds\n mov %bl, %ds:(%esi)\n int $48\n .balign 32\n"
        " mov %ax, %ds\n mov %bx, %ds:(%esi)\n int $48\n .balign 32\n"
        " mov %ax, %ds\n mov %ebx, %ds:(%esi)\n int $48\n .balign 32\n"
        " mov %ax, %ss\n mov %ss:(%esi), %bl\n int $48\n .balign 32\n"
        " mov %ax, %ss\n mov %ss:(%esi), %bx\n int $48\n .balign 32\n"
        " mov %ax, %ss\n mov %ss:(%esi), %ebx\n int $48\n .balign 32\n"
        " mov %ax, %ss\n mov %bl, %ss:(%esi)\n int $48\n .balign 32\n"
        " mov %ax, %ss\n mov %bx, %ss:(%esi)\n int $48\n .balign 32\n"
        " mov %ax, %ss\n mov %ebx, %ss:(%esi)\n int $48\n .balign 32\n"
        " mov %ax, %ss\n mov %cx, %ss\n int $48\n .balign 32\n"
        " ljmp *(%edi)\n .balign 32\n"
        " lcall *(%edi)\n .balign 32\n"
        " xor %ebp, %ebp\n xor %ebx, %ebx\n xor %edx, %edx\n"
        " lar %eax, %ebx\n jnz 1f\n or $1, %ebp\n1: lsl %eax, %edx\n jnz 1f\n or $2, %ebp\n"
        "1: verr %ax\n jnz 1f\n or $4, %ebp\n1: verw %ax\n jnz 1f\n or $8, %ebp\n1: int $48\n");

/* Tells the parallel port that a byte is there. */
static void strobe(void)
{
    for (u8 on = 0; on < 2; on++)
        __asm__ volatile("outb %0, %1" : : "a"((u8)(0x0d - on)), "d"((u16)0x37a));
}

static void put(const void *bytes, u32 n)
{
    for (const u8 *at = bytes; n-- > 0; at++) {
        __asm__ volatile("outb %0, %1" : : "a"(*at), "d"((u16)0x378));
        strobe();
    }
}

static u64 descriptor(u32 base, u32 limit, u32 access, u32 flags)
{
    return (limit & 0xffff) | (u64)(base & 0xffffff) << 16 | (u64)access << 40 |
           (u64)(limit >> 16 & 15) << 48 | (u64)flags << 52 | (u64)(base >> 24) << 56;
}

static u64 gate(u32 selector, u32 offset, u32 access)
{
    return (offset & 0xffff) | (u64)selector << 16 | (u64)access << 40 | (u64)(offset >> 16) << 48;
}

/* Flat code and data for each ring, a TSS for the stack of ring 0, an LDT. */
static void make_tables(void)
{
    for (u32 ring = 0; ring < 4; ring++) {
        gdt[1 + 2 * ring] = descriptor(0, 0xfffff, 0x9b | ring << 5, 0xc);
        gdt[2 + 2 * ring] = descriptor(0, 0xfffff, 0x93 | ring << 5, 0xc);
    }
    gdt[TSS >> 3] = descriptor((u32)tss, sizeof tss - 1, 0x89, 0);
    gdt[LDT >> 3] = descriptor((u32)ldt, sizeof ldt - 1, 0x82, 0);
    tss[1] = (u32)stacks[1] + 4096;
    tss[2] = 0x10;
    tss[3] = tss[5] = (u32)stacks[3] + 4096; /* rings 1 and 2 */
    tss[4] = 0x21;
    tss[6] = 0x32;
    for (u32 i = 0; i < 49; i++)
        idt[i] = gate(8, (u32)handlers + 16 * i, i == 48 ? 0xee : 0x8e);
    directory[0] = 0x87; /* 4 MiB, for all rings */
}

/* The descriptors under test; their base tells which it was. */
static u32 make_tested(void)
{
    u32 n = FIRST_TESTED, base = 0x40000000;

    for (u32 type = 0; type < 16; type++) {
        for (u32 dpl = 0; dpl < 4; dpl++, base += 0x100000)
            gdt[n++] = descriptor(base, 0xfff, 0x90 | dpl << 5 | type, 4);
        gdt[n++] = descriptor(base += 0x100000, 0xfff, 0x70 | type, 4);    /* not present */
        gdt[n++] = descriptor(base += 0x100000, 0x2fff, 0xf0 | type, 0);   /* 16 bit */
        gdt[n++] = descriptor(base += 0x100000, 2, 0xf0 | type, 12);       /* of 4 KiB units */
        gdt[n++] = descriptor(base += 0x100000, 0xfffff, 0xf0 | type, 12); /* 4 GiB */
        gdt[n++] = descriptor(base += 0x100000, 0, 0xf0 | type, 4);        /* one byte */
        gdt[n++] = descriptor(base += 0x100000, 0xfff, 0xe0 | type, 4);    /* the system's */
        gdt[n++] = descriptor(base += 0x100000, 0xfff, 0x80 | (type & 3) << 5 | type, 4);
    }
    /* call gates: to code of each ring, conforming code, data, nothing, what is not there */
    gdt[n++] = gate(8, 0x50000000, 0xec);
    gdt[n++] = gate(8, 0x50000000, 0x8c);
    gdt[n++] = gate(8, 0x50000000, 0x6c);
    gdt[n++] = gate(0x38, 0x50000000, 0xec);
    gdt[n++] = gate((FIRST_TESTED + 11 * 10 + 3) << 3, 0x50000123, 0xe4); /* 16 bit */
    gdt[n++] = gate(0x10, 0x50000000, 0xec);
    gdt[n++] = gate(0, 0x50000000, 0xec);
    gdt[n++] = gate(0xfff8, 0x50000000, 0xec);
    gdt[n++] = gate(0x18, 0x50000000, 0xec);
    gdt[n++] = gate(0x18, 0x50000000, 0xcc);
    gdt[n++] = gate(0x28, 0x50000000, 0xec);
    gdt[n++] = gate((FIRST_TESTED + 11 * 10 + 4) << 3, 0x50000000, 0xec); /* not present */
    for (u32 i = 0; i < N_LDT; i++)
        ldt[i] = descriptor(base += 0x100000, 0x7ff, 0x90 | (i & 3) << 5 | i % 16, 4);
    return n;
}

static u64 of(u32 selector)
{
    u32 index = selector >> 3;
    if ((selector & 4) != 0)
        return index < N_LDT ? ldt[index] : 0;
    return index < N_GDT ? gdt[index] : 0;
}

/* A jump to one of these switches tasks. */
static int is_task(u64 raw)
{
    u32 type = raw >> 40 & 31;
    return type == 1 || type == 3 || type == 5 || type == 9 || type == 11;
}

static void ask(u32 cpl, u32 use, u32 access, u32 size, u32 selector, u32 offset)
{
    struct access record = {'A', (u8)cpl,       (u8)use, (u8)access, (u8)size,
                            0,   (u16)selector, 0,       offset,     0};
    u32 width = size == 4 ? 2 : size - 1, which = 6 * use + 3 * access + width;

    if (use >= CODE && is_task(of(selector)))
        return;
    if (use == STACK && cpl == 0) /* with such a stack there is none for an exception */
        which = 12;
    if (use >= CODE)
        which = use == CODE ? 13 : 14;
    in_cpl = cpl;
    in_selector = selector;
    in_offset = in_far.offset = offset;
    in_far.selector = (u16)selector;
    in_snippet = (u32)snippets + 32 * which;
    in_stack = (u32)stacks[2] + 4096;
    run_case();
    record.vector = (u8)out_vector;
    record.error = (u16)out_error;
    record.linear = out_vector == 14 ? out_linear : 0;
    put(&record, sizeof record);
}

static void ask_rights(u32 cpl, u32 selector)
{
    struct rights record = {'R', (u8)cpl, 0, (u16)selector, 0, 0};

    in_cpl = cpl;
    in_selector = selector;
    in_snippet = (u32)snippets + 32 * 15;
    in_stack = (u32)stacks[2] + 4096;
    run_case();
    record.flags = (u8)out_flags;
    record.lar = (out_flags & 1) != 0 ? out_lar & 0x00f0ff00 : 0;
    record.lsl = (out_flags & 2) != 0 ? out_lsl : 0;
    put(&record, sizeof record);
}

/* Everything about one selector's table index, from every ring. */
static void ask_all(u32 index_and_table)
{
    for (u32 cpl = 0; cpl < 4; cpl++) {
        for (u32 rpl = 0; rpl < 4; rpl++) {
            u32 selector = index_and_table | rpl;
            ask(cpl, DATA, READ, 1, selector, 0x10);
            ask(cpl, STACK, WRITE, 1, selector, 0x10);
            ask(cpl, CODE, EXECUTE, 1, selector, 0x10);
            ask(cpl, CALL, EXECUTE, 1, selector, 0x10);
            ask_rights(cpl, selector);
        }
    }
}

/* Every size of access around the limit and the ends of 16 and 32 bits. */
static void ask_limits(u32 selector)
{
    u64 raw = of(selector);
    u32 limit = (u32)(raw & 0xffff) | (u32)(raw >> 48 & 15) << 16;

    if ((raw >> 55 & 1) != 0)
        limit = limit << 12 | 0xfff;
    const u32 offsets[] = {0,      limit - 3, limit - 1, limit,      limit + 1,
                           0xfffe, 0xffff,    0x10000,   0xfffffffe, 0xffffffff};
    for (u32 i = 0; i < sizeof offsets / sizeof offsets[0]; i++) {
        for (u32 size = 1; size <= 4; size *= 2) {
            ask(3, DATA, READ, size, selector, offsets[i]);
            ask(3, DATA, WRITE, size, selector, offsets[i]);
            ask(3, STACK, READ, size, selector, offsets[i]);
        }
        ask(3, CODE, EXECUTE, 1, selector, offsets[i]);
    }
}

__attribute__((used)) static void run(void)
{
    struct __attribute__((packed)) {
        u16 limit;
        u32 base;
    } table;

    make_tables();
    u32 n = make_tested();
    table.limit = (u16)(n * 8 - 1);
    table.base = (u32)gdt;
    __asm__ volatile("lgdt %0\n ljmp $8, $1f\n1: mov %1, %%ds\n mov %1, %%es\n mov %1, %%ss\n"
                     "mov %2, %%fs\n mov %2, %%gs"
                     :
                     : "m"(table), "r"(0x10), "r"(0));
    table.limit = sizeof idt - 1;
    table.base = (u32)idt;
    __asm__ volatile("lidt %0\n ltr %w1\n lldt %w2" : : "m"(table), "r"(TSS), "r"(LDT));
    __asm__ volatile("mov %0, %%cr3\n mov %%cr4, %%eax\n or $0x10, %%eax\n mov %%eax, %%cr4\n"
                     "mov %%cr0, %%eax\n or $0x80010000, %%eax\n mov %%eax, %%cr0"
                     :
                     : "r"(directory)
                     : "eax");
    put("G", 1);
    put(&n, 4);
    put(gdt, n * 8);
    put("L", 1);
    put(&(u32){N_LDT}, 4);
    put(ldt, sizeof ldt);
    ask_all(0);
    ask_all(4);
    for (u32 i = FIRST_TESTED; i < n + 1; i++)
        ask_all(i << 3);
    for (u32 i = 0; i < N_LDT + 1; i++)
        ask_all(i << 3 | 4);
    for (u32 i = FIRST_TESTED; i < n; i++)
        if ((of(i << 3) >> 44 & 15) == 15) /* present, of ring 3, no system's */
            ask_limits(i << 3 | 3);
    put("E", 1);
}
