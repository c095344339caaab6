/* SPDX-License-Identifier: Apache-2.0 */
/* What program files say of themselves: images made here, and the same ones damaged. */
#include "observe/elf.h"

#include <elf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h> /* wants the headers above */

#if defined(__x86_64__)
#define THIS_MACHINE EM_X86_64
#elif defined(__aarch64__)
#define THIS_MACHINE EM_AARCH64
#else
#define THIS_MACHINE EM_RISCV
#endif

#define BASE 0x400000u /* virtual address of the file's first byte */

/* A program of one loaded segment that holds everything; pieces are put where there is room. */
struct image {
    Elf64_Ehdr header;
    Elf64_Phdr segments[4]; /* LOAD, INTERP, DYNAMIC, NOTE */
    char interpreter[32];
    Elf64_Dyn dynamic[8];
    char strings[64];
    Elf64_Sym symbols[2];
    struct {
        uint32_t n_buckets, first, n_bloom, shift;
        uint64_t bloom[1];
        uint32_t buckets[1], chains[1];
    } gnu;
    struct {
        uint32_t n_buckets, n_chains, buckets[1], chains[2];
    } sysv;
    struct {
        Elf64_Nhdr header;
        char name[4];
    } note;
};

#define OFFSET(field) offsetof(struct image, field)
#define ADDRESS(field) (BASE + OFFSET(field))

static struct image make_static(void)
{
    struct image image = {
        .header = {.e_type = ET_EXEC,
                   .e_machine = THIS_MACHINE,
                   .e_phoff = OFFSET(segments),
                   .e_phentsize = sizeof(Elf64_Phdr),
                   .e_phnum = 4},
        .segments = {{.p_type = PT_LOAD, .p_vaddr = BASE, .p_filesz = sizeof image},
                     {.p_type = PT_NULL},
                     {.p_type = PT_NULL},
                     {.p_type = PT_NULL}},
    };
    memcpy(image.header.e_ident, ELFMAG, SELFMAG);
    image.header.e_ident[EI_CLASS] = ELFCLASS64;
    image.header.e_ident[EI_DATA] = ELFDATA2LSB;
    return image;
}

static void add_dynamic(struct image *image, int64_t tag, uint64_t value)
{
    size_t i = 0;

    while (image->dynamic[i].d_tag != DT_NULL)
        i++;
    image->dynamic[i].d_tag = tag;
    image->dynamic[i].d_un.d_val = value;
    image->segments[2] = (Elf64_Phdr){
        .p_type = PT_DYNAMIC, .p_offset = OFFSET(dynamic), .p_filesz = sizeof image->dynamic};
}

static struct image make_dynamic(const char *interpreter)
{
    struct image image = make_static();

    image.segments[1] = (Elf64_Phdr){
        .p_type = PT_INTERP, .p_offset = OFFSET(interpreter), .p_filesz = sizeof image.interpreter};
    strncpy(image.interpreter, interpreter, sizeof image.interpreter - 1);
    add_dynamic(&image, DT_STRTAB, ADDRESS(strings));
    add_dynamic(&image, DT_STRSZ, sizeof image.strings);
    return image;
}

/* A program that defines `name`; both tables of hashes know it, the dynamic section neither yet. */
static struct image make_defining(const char *name, uint32_t gnu_hash)
{
    struct image image = make_dynamic("/lib64/ld-linux-x86-64.so.2");

    strncpy(image.strings + 1, name, sizeof image.strings - 2);
    image.symbols[1] = (Elf64_Sym){.st_name = 1, .st_shndx = 7};
    image.gnu.n_buckets = image.gnu.first = image.gnu.n_bloom = image.gnu.buckets[0] = 1;
    image.gnu.chains[0] = gnu_hash | 1; /* the end of its chain */
    image.sysv.n_buckets = image.sysv.buckets[0] = 1;
    image.sysv.n_chains = 2;
    add_dynamic(&image, DT_SYMTAB, ADDRESS(symbols));
    return image;
}

static uint32_t hash_of(const char *name)
{
    uint32_t hash = 5381;

    while (*name != '\0')
        hash = hash * 33 + (unsigned char)*name++;
    return hash;
}

static struct elf_facts inspect(const void *data, size_t n_bytes)
{
    struct elf_facts facts;

    elf_inspect(&(struct elf_file){.data = data, .n_bytes = n_bytes}, &facts);
    return facts;
}

static enum elf_kind kind_of(struct image image)
{
    return inspect(&image, sizeof image).kind;
}

static void a_file_that_is_no_elf(void **state)
{
    assert_int_equal(inspect("#!/bin/sh\n", 10).kind, ELF_NONE);
    assert_int_equal(inspect("", 0).kind, ELF_NONE);
    assert_int_equal(inspect(ELFMAG, SELFMAG).kind, ELF_NONE);
}

static void a_dynamic_program(void **state)
{
    struct image image = make_dynamic("/lib64/ld-linux-x86-64.so.2");
    struct elf_facts facts = inspect(&image, sizeof image);

    assert_int_equal(facts.kind, ELF_DYNAMIC);
    assert_string_equal(facts.interpreter, "/lib64/ld-linux-x86-64.so.2");
    assert_null(facts.sanitizer);
    assert_false(facts.is_go);
    assert_false(facts.is_loader);
}

static void a_static_program(void **state)
{
    struct image image = make_static();

    assert_int_equal(kind_of(image), ELF_STATIC);
    image.header.e_type = ET_DYN; /* static-pie: a dynamic section, no interpreter */
    add_dynamic(&image, DT_STRTAB, ADDRESS(strings));
    assert_int_equal(kind_of(image), ELF_STATIC);
}

static void a_loader_is_no_static_program(void **state)
{
    struct image image = make_static();

    add_dynamic(&image, DT_STRTAB, ADDRESS(strings));
    add_dynamic(&image, DT_STRSZ, sizeof image.strings);
    add_dynamic(&image, DT_SONAME, 3);
    memcpy(image.strings + 3, "ld-linux.so", 12);
    assert_true(inspect(&image, sizeof image).is_loader);
    memcpy(image.strings + 3, "libfoo.so", 10);
    assert_int_equal(kind_of(image), ELF_STATIC);
}

static void other_machines(void **state)
{
    struct image image = make_dynamic("/lib/ld.so");

    image.header.e_machine = EM_PPC64;
    assert_int_equal(kind_of(image), ELF_FOREIGN);
    image = make_dynamic("/lib/ld.so");
    image.header.e_ident[EI_DATA] = ELFDATA2MSB;
    assert_int_equal(kind_of(image), ELF_FOREIGN);
    image = make_dynamic("/lib/ld.so");
    image.header.e_type = ET_REL; /* an object file */
    assert_int_equal(kind_of(image), ELF_FOREIGN);
    image.header.e_ident[EI_CLASS] = ELFCLASS32;
    assert_int_equal(kind_of(image), ELF_32BIT);
    image.header.e_ident[EI_CLASS] = 9;
    assert_int_equal(kind_of(image), ELF_BROKEN);
}

static void a_sanitizer_as_a_library(void **state)
{
    struct image image = make_dynamic("/lib/ld.so");

    add_dynamic(&image, DT_NEEDED, 5);
    memcpy(image.strings + 5, "libasan.so.8", 13);
    assert_string_equal(inspect(&image, sizeof image).sanitizer, "AddressSanitizer");
    memcpy(image.strings + 5, "libtsan.so.2", 13);
    assert_string_equal(inspect(&image, sizeof image).sanitizer, "ThreadSanitizer");
    memcpy(image.strings + 5, "libubsan.so", 12); /* brings no allocator */
    assert_null(inspect(&image, sizeof image).sanitizer);
}

static void a_sanitizer_linked_in(void **state)
{
    struct image image = make_defining("__asan_init", hash_of("__asan_init"));
    struct image other = make_defining("__asan_innit", hash_of("__asan_innit"));
    struct image old = image;

    add_dynamic(&image, DT_GNU_HASH, ADDRESS(gnu));
    add_dynamic(&other, DT_GNU_HASH, ADDRESS(gnu));
    add_dynamic(&old, DT_HASH, ADDRESS(sysv));
    old.sysv.buckets[0] = 1;
    assert_string_equal(inspect(&image, sizeof image).sanitizer, "AddressSanitizer");
    assert_string_equal(inspect(&old, sizeof old).sanitizer, "AddressSanitizer");
    assert_null(inspect(&other, sizeof other).sanitizer);
    image.symbols[1].st_shndx = SHN_UNDEF; /* only asked for, by a program that can do without */
    assert_null(inspect(&image, sizeof image).sanitizer);
}

static void chains_that_never_end(void **state)
{
    struct image image = make_defining("x", 2);
    struct image old = make_defining("x", 2);

    add_dynamic(&image, DT_GNU_HASH, ADDRESS(gnu));
    image.gnu.chains[0] = 2;
    assert_null(inspect(&image, sizeof image).sanitizer);
    add_dynamic(&old, DT_HASH, ADDRESS(sysv));
    old.sysv.chains[1] = 1; /* follows itself */
    assert_null(inspect(&old, sizeof old).sanitizer);
}

static void a_go_program(void **state)
{
    struct image image = make_static();

    image.segments[3] = (Elf64_Phdr){
        .p_type = PT_NOTE, .p_offset = OFFSET(note), .p_filesz = sizeof image.note};
    image.note.header = (Elf64_Nhdr){.n_namesz = 4, .n_type = 4};
    memcpy(image.note.name, "GNU", 4);
    assert_false(inspect(&image, sizeof image).is_go);
    memcpy(image.note.name, "Go\0", 4);
    assert_true(inspect(&image, sizeof image).is_go);
}

static void headers_that_contradict(void **state)
{
    struct image good = make_dynamic("/lib/ld.so"), image = good;

    image.header.e_phoff = UINT64_MAX - 8;
    assert_int_equal(kind_of(image), ELF_BROKEN);
    image = good;
    image.header.e_phoff = sizeof image;
    assert_int_equal(kind_of(image), ELF_BROKEN);
    image = good;
    image.header.e_phnum = UINT16_MAX;
    assert_int_equal(kind_of(image), ELF_BROKEN);
    image = good;
    image.header.e_phnum = 0;
    assert_int_equal(kind_of(image), ELF_BROKEN);
    image = good;
    image.header.e_phentsize = 1;
    assert_int_equal(kind_of(image), ELF_BROKEN);
    image = good;
    image.segments[1].p_offset = sizeof image;
    assert_int_equal(kind_of(image), ELF_BROKEN);
    image = good;
    image.interpreter[0] = '\0';
    assert_int_equal(kind_of(image), ELF_BROKEN);
}

/* Every prefix of a program: never read behind its end (the sanitizers watch), never dynamic early.
 */
static void every_prefix(void **state)
{
    struct image image = make_defining("__asan_init", hash_of("__asan_init"));

    add_dynamic(&image, DT_GNU_HASH, ADDRESS(gnu));
    for (size_t n = 0; n < sizeof image; n++) {
        char *prefix = test_malloc(n + 1);
        memcpy(prefix, &image, n);
        enum elf_kind kind = inspect(prefix, n).kind;
        if (n < OFFSET(interpreter))
            assert_true(kind == ELF_NONE || kind == ELF_BROKEN);
        test_free(prefix);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_that_is_no_elf), cmocka_unit_test(a_dynamic_program),
        cmocka_unit_test(a_static_program),      cmocka_unit_test(a_loader_is_no_static_program),
        cmocka_unit_test(other_machines),        cmocka_unit_test(a_sanitizer_as_a_library),
        cmocka_unit_test(a_sanitizer_linked_in), cmocka_unit_test(chains_that_never_end),
        cmocka_unit_test(a_go_program),          cmocka_unit_test(headers_that_contradict),
        cmocka_unit_test(every_prefix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
