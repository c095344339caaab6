/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guest: the only program of a Linux guest (tests/mmu/linux.py): maps memory in many ways, tells
 * what its kernel says of it, and then spins, so that the processor stays in this address space.
 *
 *     pkru X                     x86 with protection keys
 *     text X, code X             where the kernel is: virtual (kallsyms), physical (iomem)
 *     page VA ENTRY r|- w|-      an entry of /proc/self/pagemap; whether the page can be read and
 *                                written to: the kernel itself does it, on this program's behalf
 *     words VA BYTES             three pages filled with a known text (VA / 16 in hexadecimal)
 *     done
 *
 * Without a C library, so that one compiler makes it for all architectures.
 */
typedef unsigned long word;

#if defined(__x86_64__)
enum {
    READ = 0,
    WRITE = 1,
    PREAD = 17,
    OPENAT = 257,
    MMAP = 9,
    MPROTECT = 10,
    MADVISE = 28,
    MOUNT = 165,
    PIPE2 = 293,
    PKEY_MPROTECT = 329,
    PKEY_ALLOC = 330
};
static long call(long n, word a, word b, word c, word d, word e, word f)
{
    register word r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "+a"(n)
                     : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return n;
}
#elif defined(__i386__)
enum {
    READ = 3,
    WRITE = 4,
    PREAD = 180,
    OPENAT = 295,
    MMAP = 192,
    MPROTECT = 125,
    MADVISE = 219,
    MOUNT = 21,
    PIPE2 = 331,
    PKEY_MPROTECT = 380,
    PKEY_ALLOC = 381
};
long call(long n, word a, word b, word c, word d, word e, word f);
__asm__("call: push %ebp; push %ebx; push %esi; push %edi\n"
        "mov 20(%esp), %eax; mov 24(%esp), %ebx; mov 28(%esp), %ecx; mov 32(%esp), %edx\n"
        "mov 36(%esp), %esi; mov 40(%esp), %edi; mov 44(%esp), %ebp; int $0x80\n"
        "pop %edi; pop %esi; pop %ebx; pop %ebp; ret");
#elif defined(__aarch64__)
enum {
    READ = 63,
    WRITE = 64,
    PREAD = 67,
    OPENAT = 56,
    MMAP = 222,
    MPROTECT = 226,
    MADVISE = 233,
    MOUNT = 40,
    PIPE2 = 59,
    PKEY_MPROTECT = 288,
    PKEY_ALLOC = 289
};
static long call(long n, word a, word b, word c, word d, word e, word f)
{
    register word x8 __asm__("x8") = (word)n, x0 __asm__("x0") = a, x1 __asm__("x1") = b,
                     x2 __asm__("x2") = c, x3 __asm__("x3") = d, x4 __asm__("x4") = e,
                     x5 __asm__("x5") = f;
    __asm__ volatile("svc #0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory");
    return (long)x0;
}
#elif defined(__riscv)
enum {
    READ = 63,
    WRITE = 64,
    PREAD = 67,
    OPENAT = 56,
    MMAP = 222,
    MPROTECT = 226,
    MADVISE = 233,
    MOUNT = 40,
    PIPE2 = 59,
    PKEY_MPROTECT = 288,
    PKEY_ALLOC = 289
};
static long call(long n, word a, word b, word c, word d, word e, word f)
{
    register word a7 __asm__("a7") = (word)n, a0 __asm__("a0") = a, a1 __asm__("a1") = b,
                     a2 __asm__("a2") = c, a3 __asm__("a3") = d, a4 __asm__("a4") = e,
                     a5 __asm__("a5") = f;
    __asm__ volatile("ecall"
                     : "+r"(a0)
                     : "r"(a7), "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a5)
                     : "memory");
    return (long)a0;
}
#endif

#define PAGE 4096ul
#define HERE ((word)-100) /* AT_FDCWD */
enum { NONE = 0, R = 1, W = 2, X = 4, PRIVATE = 0x22, SHARED = 0x21, FIXED = 0x10, HUGEPAGE = 14 };

static int pages[2], pagemap;
static char text[65536] =
    "x"; /* of /proc/self/maps and others; in .data: it is there from the start */

static word open_file(const char *path)
{
    return (word)call(OPENAT, HERE, (word)path, 0, 0, 0, 0);
}

static word length(const char *string)
{
    word n = 0;
    while (string[n] != '\0')
        n++;
    return n;
}

static void say(const char *string)
{
    call(WRITE, 1, (word)string, length(string), 0, 0, 0);
}

static void say_hex(unsigned long long value)
{
    char digits[19], *at = digits + sizeof digits - 1;
    *at = '\0';
    do
        *--at = "0123456789abcdef"[value & 15];
    while ((value >>= 4) != 0);
    say(" 0x");
    say(at);
}

static word map(word at, word n_pages, word rights, word flags)
{
    return (word)call(MMAP, at, n_pages * PAGE, rights, flags | (at != 0 ? FIXED : 0), (word)-1, 0);
}

static void touch(word at, word n_pages, word step)
{
    for (word i = 0; i < n_pages; i += step)
        *(volatile char *)(at + i * PAGE) = (char)i;
}

/* Whether the kernel can take a byte from there, and put the same one back. */
static void probe(word va)
{
    int readable = call(WRITE, (word)pages[1], va, 1, 0, 0, 0) == 1;
    say(readable ? " r" : " -");
    if (!readable)
        call(WRITE, (word)pages[1], (word) "?", 1, 0, 0, 0);
    int writable = readable && call(READ, (word)pages[0], va, 1, 0, 0, 0) == 1;
    if (!writable)
        call(READ, (word)pages[0], (word)text + sizeof text - 1, 1, 0, 0, 0);
    say(writable ? " w" : " -");
}

static unsigned long long entry_of(word va)
{
    unsigned long long entry = 0;
    word at = va / PAGE * 8;
    call(PREAD, (word)pagemap, (word)&entry, 8, at, 0, 0);
    return entry;
}

static void tell_page(word va)
{
    unsigned long long entry = entry_of(va);
    say("page");
    say_hex(va);
    if ((entry >> 63) == 0) { /* probing would bring it in */
        say_hex(entry);
        say(" - -\n");
        return;
    }
    probe(va);
    say_hex(entry_of(va)); /* the probe may have copied it */
    say("\n");
}

static word read_file(const char *path)
{
    word file = open_file(path), n = 0;
    long got;
    while ((got = call(READ, file, (word)text + n, sizeof text - 1 - n, 0, 0, 0)) > 0)
        n += (word)got;
    text[n] = '\0';
    return n;
}

static const char *parse(const char *at, word *value)
{
    *value = 0;
    for (;; at++) {
        if (*at >= '0' && *at <= '9')
            *value = *value << 4 | (word)(*at - '0');
        else if (*at >= 'a' && *at <= 'f')
            *value = *value << 4 | (word)(*at - 'a' + 10);
        else
            return at;
    }
}

/* All areas, up to 160 pages of each. */
static void tell_pages(void)
{
    static struct {
        word first, end;
    } areas[64];
    unsigned n = 0;

    read_file("/proc/self/maps");
    for (const char *at = text; *at != '\0' && n < 64; n++) {
        at = parse(at, &areas[n].first);
        at = parse(at + 1, &areas[n].end);
        while (*at != '\0' && *at++ != '\n')
            continue;
    }
    for (unsigned i = 0; i < n; i++)
        for (word va = areas[i].first; va < areas[i].end && va - areas[i].first < 160 * PAGE;
             va += PAGE)
            tell_page(va);
}

static const char *find(const char *what)
{
    word n = length(what);
    for (const char *at = text; *at != '\0'; at++) {
        word i = 0;
        while (i < n && at[i] == what[i])
            i++;
        if (i == n)
            return at;
    }
    return 0;
}

static void tell_kernel(void)
{
    word value;
    const char *at;

    read_file("/proc/iomem");
    at = find("Kernel code");
    if (at != 0) {
        while (at > text && at[-1] != '\n')
            at--;
        while (*at == ' ')
            at++;
        parse(at, &value);
        say("code");
        say_hex(value);
        say("\n");
    }
    read_file("/proc/kallsyms"); /* as much as fits: text begins it, but for per-cpu symbols */
    at = find(" T _text\n");
    if (at == 0)
        at = find(" T _stext\n");
    if (at != 0) {
        while (at > text && at[-1] != '\n')
            at--;
        parse(at, &value);
        say("text");
        say_hex(value);
        say("\n");
    }
}

static void make_words(void)
{
    char *at = (char *)map(0, 3, R | W, PRIVATE);
    word first = (word)at;

    for (word va = first; va < first + 3 * PAGE; va += 16) {
        unsigned long long number = va >> 4;
        for (int i = 14; i >= 0; i--)
            *at++ = "0123456789abcdef"[number >> 4 * i & 15];
        *at++ = '\n';
    }
    say("words");
    say_hex(first);
    say_hex(3 * PAGE);
    say("\n");
}

static void make_areas(void)
{
    word large = map(0, 3 * 1024, R | W, PRIVATE);
    word aligned = (large + (4ul << 20) - 1) & -(4ul << 20);

    call(MADVISE, aligned, 4ul << 20, HUGEPAGE, 0, 0, 0);
    touch(aligned, 1024, 512);
    touch(map(0, 64, R | W, PRIVATE), 64, 2); /* every other page */
    touch(map(0, 16, R | W, SHARED), 16, 3);
    map(0, 8, NONE, PRIVATE);
    word only_read = map(0, 8, R | W, PRIVATE);
    touch(only_read, 8, 1);
    call(MPROTECT, only_read, 8 * PAGE, R, 0, 0, 0);
    word code = map(0, 4, R | W, PRIVATE);
    touch(code, 4, 1);
    call(MPROTECT, code, 4 * PAGE, R | X, 0, 0, 0);
    word hidden = map(0, 4, R | W, PRIVATE);
    touch(hidden, 4, 1);
    call(MPROTECT, hidden, 4 * PAGE, NONE, 0, 0, 0);
    word zeros = map(0, 8, R | W, PRIVATE); /* read only: all are the page of zeros */
    for (word i = 0; i < 8; i++)
        (void)*(volatile char *)(zeros + i * PAGE);
}

static void make_keys(void)
{
#if defined(__x86_64__)
    unsigned pkru = 0;

    for (word rights = 1; rights <= 2; rights++) { /* no access; no write */
        long key = call(PKEY_ALLOC, 0, rights, 0, 0, 0, 0);
        word at = map(0, 4, R | W, PRIVATE);
        touch(at, 4, 1);
        if (key < 0 || call(PKEY_MPROTECT, at, 4 * PAGE, R | W, (word)key, 0, 0) != 0)
            return;
    }
    __asm__ volatile("rdpkru" : "=a"(pkru) : "c"(0) : "edx");
    say("pkru");
    say_hex(pkru);
    say("\n");
#endif
}

__attribute__((noreturn, used)) static void run(void)
{
    call(MOUNT, (word) "proc", (word) "/proc", (word) "proc", 0, 0, 0);
    call(PIPE2, (word)pages, 0, 0, 0, 0, 0);
    pagemap = (int)open_file("/proc/self/pagemap");
    make_areas();
    make_keys();
    make_words();
    tell_kernel();
    tell_pages();
    say("done\n");
    for (;;)
        __asm__ volatile("");
}

/* The stack is not aligned as a called function expects it. */
#if defined(__x86_64__)
__asm__(".globl _start\n_start: and $-16, %rsp\ncall run");
#elif defined(__i386__)
__asm__(".globl _start\n_start: and $-16, %esp\ncall run");
#elif defined(__aarch64__)
__asm__(".globl _start\n_start: bl run");
#else
__asm__(".globl _start\n_start: call run");
#endif
