/* SPDX-License-Identifier: Apache-2.0 */
/*
 * elf: reads an ELF program's headers without trusting them.
 *
 *   file header -> program headers -> PT_INTERP   the interpreter's path
 *                                  -> PT_NOTE     Go's build id
 *                                  -> PT_DYNAMIC  -> DT_NEEDED names   (a sanitizer as a library)
 *                                                 -> DT_GNU_HASH, DT_HASH (one linked into it)
 *
 * Dynamic entries name addresses, not offsets; they are translated through the PT_LOAD headers.
 *
 * Invariants:
 *   E1  Every read goes through read_at(), which refuses what is not wholly inside the file.
 *   E2  Every loop is bounded by a constant: ELF_MAX_HEADERS, ELF_MAX_DYNAMIC, ELF_MAX_CHAIN.
 *   E3  What contradicts itself before the interpreter is known is ELF_BROKEN. After that the file
 *       is dynamic, whatever else is wrong with it: the loader will say so better.
 */
#include "observe/elf.h"

#include "base/checked.h"
#include "base/sys.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#define ELF_MAX_HEADERS 64u
#define ELF_MAX_DYNAMIC 4096u
#define ELF_MAX_CHAIN 65536u

#if defined(__x86_64__)
#define ELF_THIS_MACHINE EM_X86_64
#elif defined(__aarch64__)
#define ELF_THIS_MACHINE EM_AARCH64
#elif defined(__riscv)
#define ELF_THIS_MACHINE EM_RISCV
#else
#error "say which e_machine this processor has"
#endif

/* What the dynamic section tells, still as addresses. */
struct dynamic {
    uint64_t offset, n_entries;
    uint64_t strings, n_string_bytes;
    uint64_t symbols;
    uint64_t gnu_hash, hash; /* 0: there is none */
    uint64_t soname;         /* offset in strings */
    bool has_soname;
};

struct inspection {
    const struct elf_file *file;
    struct elf_facts *facts;
    Elf64_Ehdr header;
    Elf64_Phdr segments[ELF_MAX_HEADERS]; /* header.e_phnum of them */
    struct dynamic dynamic;
};

/* Reads up to n_bytes; returns how many there are, 0 outside of the file (E1). */
static size_t read_some(const struct elf_file *file, uint64_t offset, void *buffer, size_t n_bytes)
{
    uint64_t end;
    size_t done = 0;

    if (!checked_add(offset, n_bytes, &end) || end > INT64_MAX)
        return 0;
    if (file->data != NULL) {
        if (offset >= file->n_bytes)
            return 0;
        done = n_bytes < file->n_bytes - offset ? n_bytes : (size_t)(file->n_bytes - offset);
        memcpy(buffer, (const unsigned char *)file->data + offset, done);
        return done;
    }
    while (done < n_bytes) {
        ssize_t n = sys_pread(file->fd, (char *)buffer + done, n_bytes - done,
                              (off_t)(offset + done));
        if (n == -EINTR)
            continue;
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    return done;
}

static bool read_at(const struct elf_file *file, uint64_t offset, void *buffer, size_t n_bytes)
{
    return read_some(file, offset, buffer, n_bytes) == n_bytes;
}

/* Reads a string, cut to n_bytes - 1. False where the file ends before the string does. */
static bool read_string(const struct elf_file *file, uint64_t offset, char *buffer, size_t n_bytes)
{
    size_t n = read_some(file, offset, buffer, n_bytes - 1);

    buffer[n] = '\0';
    return n == n_bytes - 1 || memchr(buffer, '\0', n) != NULL;
}

/* The file offset of n_bytes at a virtual address. */
static bool translate(const struct inspection *in, uint64_t address, uint64_t n_bytes,
                      uint64_t *offset)
{
    for (unsigned i = 0; i < in->header.e_phnum; i++) {
        const Elf64_Phdr *segment = &in->segments[i];

        if (segment->p_type != PT_LOAD || address < segment->p_vaddr)
            continue;
        uint64_t inside = address - segment->p_vaddr;
        if (inside < segment->p_filesz && n_bytes <= segment->p_filesz - inside)
            return checked_add(segment->p_offset, inside, offset);
    }
    return false;
}

static bool read_address(const struct inspection *in, uint64_t address, void *buffer,
                         size_t n_bytes)
{
    uint64_t offset;

    return translate(in, address, n_bytes, &offset) && read_at(in->file, offset, buffer, n_bytes);
}

/* A string of the dynamic string table. */
static bool read_name(const struct inspection *in, uint64_t index, char *name, size_t n_bytes)
{
    uint64_t address, offset;

    return index < in->dynamic.n_string_bytes &&
           checked_add(in->dynamic.strings, index, &address) &&
           translate(in, address, 1, &offset) && read_string(in->file, offset, name, n_bytes);
}

static bool read_dynamic_entry(const struct inspection *in, uint64_t index, Elf64_Dyn *entry)
{
    uint64_t offset;

    return index < in->dynamic.n_entries &&
           checked_add(in->dynamic.offset, index * sizeof *entry, &offset) &&
           read_at(in->file, offset, entry, sizeof *entry) && entry->d_tag != DT_NULL;
}

static void gather_dynamic(struct inspection *in, const Elf64_Phdr *segment)
{
    struct dynamic *dynamic = &in->dynamic;
    uint64_t n_entries = segment->p_filesz / sizeof(Elf64_Dyn);
    Elf64_Dyn entry;

    dynamic->offset = segment->p_offset;
    dynamic->n_entries = n_entries < ELF_MAX_DYNAMIC ? n_entries : ELF_MAX_DYNAMIC;
    for (uint64_t i = 0; read_dynamic_entry(in, i, &entry); i++) {
        uint64_t value = entry.d_un.d_val;

        switch (entry.d_tag) {
        case DT_STRTAB:
            dynamic->strings = value;
            break;
        case DT_STRSZ:
            dynamic->n_string_bytes = value;
            break;
        case DT_SYMTAB:
            dynamic->symbols = value;
            break;
        case DT_GNU_HASH:
            dynamic->gnu_hash = value;
            break;
        case DT_HASH:
            dynamic->hash = value;
            break;
        case DT_SONAME:
            dynamic->soname = value;
            dynamic->has_soname = true;
            break;
        default:
            break;
        }
    }
}

/* Whether symbol `index` is defined in this file and has this name. */
static bool symbol_is(const struct inspection *in, uint32_t index, const char *name)
{
    Elf64_Sym symbol;
    uint64_t address;
    char own[32];

    return checked_add(in->dynamic.symbols, (uint64_t)index * sizeof symbol, &address) &&
           read_address(in, address, &symbol, sizeof symbol) && symbol.st_shndx != SHN_UNDEF &&
           read_name(in, symbol.st_name, own, sizeof own) && strcmp(own, name) == 0;
}

static uint32_t gnu_hash(const char *name)
{
    uint32_t hash = 5381;

    for (; *name != '\0'; name++)
        hash = hash * 33 + (unsigned char)*name;
    return hash;
}

/* Looks a defined symbol up in DT_GNU_HASH: header, Bloom filter, buckets, chains. */
static bool defines_by_gnu_hash(const struct inspection *in, const char *name)
{
    struct {
        uint32_t n_buckets, first_symbol, n_bloom, bloom_shift;
    } table;
    uint32_t hash = gnu_hash(name), symbol, link = 0;
    uint64_t buckets, chains, at;

    if (!read_address(in, in->dynamic.gnu_hash, &table, sizeof table) || table.n_buckets == 0 ||
        !checked_add(in->dynamic.gnu_hash, sizeof table + (uint64_t)table.n_bloom * 8, &buckets) ||
        !checked_add(buckets, (uint64_t)table.n_buckets * 4, &chains) ||
        !checked_add(buckets, (uint64_t)(hash % table.n_buckets) * 4, &at) ||
        !read_address(in, at, &symbol, sizeof symbol) || symbol < table.first_symbol)
        return false;
    for (unsigned n = 0; n < ELF_MAX_CHAIN && !(link & 1); n++, symbol++) {
        if (!checked_add(chains, (uint64_t)(symbol - table.first_symbol) * 4, &at) ||
            !read_address(in, at, &link, sizeof link))
            return false;
        if ((link | 1) == (hash | 1) && symbol_is(in, symbol, name))
            return true;
    }
    return false;
}

static uint32_t sysv_hash(const char *name)
{
    uint32_t hash = 0;

    for (; *name != '\0'; name++) {
        hash = (hash << 4) + (unsigned char)*name;
        uint32_t high = hash & 0xf0000000u;
        hash = (hash ^ high >> 24) & ~high;
    }
    return hash;
}

/* The same in DT_HASH: n_buckets, n_chains, buckets, chains. */
static bool defines_by_hash(const struct inspection *in, const char *name)
{
    struct {
        uint32_t n_buckets, n_chains;
    } table;
    uint64_t buckets, at;
    uint32_t symbol;

    if (!read_address(in, in->dynamic.hash, &table, sizeof table) || table.n_buckets == 0 ||
        !checked_add(in->dynamic.hash, sizeof table, &buckets) ||
        !checked_add(buckets, (uint64_t)(sysv_hash(name) % table.n_buckets) * 4, &at) ||
        !read_address(in, at, &symbol, sizeof symbol))
        return false;
    for (unsigned n = 0; n < ELF_MAX_CHAIN && symbol != STN_UNDEF; n++) {
        if (symbol_is(in, symbol, name))
            return true;
        if (!checked_add(buckets, ((uint64_t)table.n_buckets + symbol) * 4, &at) ||
            !read_address(in, at, &symbol, sizeof symbol))
            return false;
    }
    return false;
}

static bool defines(const struct inspection *in, const char *name)
{
    return in->dynamic.gnu_hash != 0 ? defines_by_gnu_hash(in, name)
                                     : in->dynamic.hash != 0 && defines_by_hash(in, name);
}

/* The runtimes that bring an allocator of their own and refuse to share the process. UBSan does
 * not. */
static const struct {
    const char *name, *library, *clang_library, *symbol;
} sanitizers[] = {
    {"AddressSanitizer", "libasan.so", "libclang_rt.asan", "__asan_init"},
    {"ThreadSanitizer", "libtsan.so", "libclang_rt.tsan", "__tsan_init"},
    {"MemorySanitizer", "libmsan.so", "libclang_rt.msan", "__msan_init"},
    {"HWAddressSanitizer", "libhwasan.so", "libclang_rt.hwasan", "__hwasan_init"},
    {"LeakSanitizer", "liblsan.so", "libclang_rt.lsan", "__lsan_init"},
};
#define N_SANITIZERS (sizeof sanitizers / sizeof sanitizers[0])

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

static const char *find_sanitizer(const struct inspection *in)
{
    Elf64_Dyn entry;

    for (uint64_t i = 0; read_dynamic_entry(in, i, &entry); i++) {
        char name[64];

        if (entry.d_tag != DT_NEEDED || !read_name(in, entry.d_un.d_val, name, sizeof name))
            continue;
        for (size_t s = 0; s < N_SANITIZERS; s++)
            if (starts_with(name, sanitizers[s].library) ||
                starts_with(name, sanitizers[s].clang_library))
                return sanitizers[s].name;
    }
    for (size_t s = 0; s < N_SANITIZERS; s++)
        if (defines(in, sanitizers[s].symbol))
            return sanitizers[s].name;
    return NULL;
}

/* The first note of a Go program: name "Go", type 4, the build id. */
static bool is_go_note(const struct inspection *in, const Elf64_Phdr *segment)
{
    struct {
        Elf64_Nhdr header;
        char name[4];
    } note;

    return segment->p_filesz >= sizeof note &&
           read_at(in->file, segment->p_offset, &note, sizeof note) && note.header.n_namesz == 4 &&
           note.header.n_type == 4 && memcmp(note.name, "Go\0", 4) == 0;
}

/* Checks the file header; what is left to do only for ELF_STATIC, which is then the first guess. */
static enum elf_kind judge_header(struct inspection *in)
{
    const Elf64_Ehdr *header = &in->header;

    if (header->e_ident[EI_CLASS] != ELFCLASS64)
        return ELF_BROKEN;
    if (header->e_ident[EI_DATA] != ELFDATA2LSB || header->e_machine != ELF_THIS_MACHINE ||
        (header->e_type != ET_EXEC && header->e_type != ET_DYN))
        return ELF_FOREIGN;
    if (header->e_phentsize != sizeof(Elf64_Phdr) || header->e_phnum == 0 ||
        header->e_phnum > ELF_MAX_HEADERS) /* E2 */
        return ELF_BROKEN;
    return ELF_STATIC;
}

static enum elf_kind read_segments(struct inspection *in)
{
    struct elf_facts *facts = in->facts;
    enum elf_kind kind = ELF_STATIC;

    if (!read_at(in->file, in->header.e_phoff, in->segments,
                 in->header.e_phnum * sizeof in->segments[0]))
        return ELF_BROKEN;
    for (unsigned i = 0; i < in->header.e_phnum; i++) {
        const Elf64_Phdr *segment = &in->segments[i];

        if (segment->p_type == PT_INTERP) {
            if (!read_string(in->file, segment->p_offset, facts->interpreter,
                             sizeof facts->interpreter) ||
                facts->interpreter[0] == '\0')
                return ELF_BROKEN;
            kind = ELF_DYNAMIC;
        } else if (segment->p_type == PT_DYNAMIC) {
            gather_dynamic(in, segment);
        } else if (segment->p_type == PT_NOTE) {
            facts->is_go |= is_go_note(in, segment);
        }
    }
    return kind;
}

void elf_inspect(const struct elf_file *file, struct elf_facts *facts)
{
    struct inspection in;
    char soname[64];

    memset(&in, 0, sizeof in);
    in.file = file;
    in.facts = facts;
    *facts = (struct elf_facts){.kind = ELF_NONE};
    if (!read_at(file, 0, in.header.e_ident, EI_NIDENT) ||
        memcmp(in.header.e_ident, ELFMAG, SELFMAG) != 0)
        return;
    facts->kind = ELF_BROKEN;
    if (in.header.e_ident[EI_CLASS] == ELFCLASS32) { /* its header is shorter */
        facts->kind = ELF_32BIT;
        return;
    }
    if (!read_at(file, 0, &in.header, sizeof in.header))
        return;
    facts->machine = in.header.e_machine;
    facts->kind = judge_header(&in);
    if (facts->kind != ELF_STATIC)
        return;
    facts->kind = read_segments(&in);
    if (facts->kind == ELF_BROKEN)
        return;
    if (facts->kind == ELF_STATIC && in.dynamic.has_soname &&
        read_name(&in, in.dynamic.soname, soname, sizeof soname) && starts_with(soname, "ld-")) {
        facts->kind = ELF_DYNAMIC;
        facts->is_loader = true;
    }
    if (facts->kind == ELF_DYNAMIC)
        facts->sanitizer = find_sanitizer(&in);
}
