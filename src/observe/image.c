/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image: another process's memory; see image.h.
 *
 *   base: ELF header -> program headers -> PT_DYNAMIC -> DT_SYMTAB, DT_STRTAB, DT_GNU_HASH
 *                                                              hash of the name -> bucket -> chain
 *
 * The image in memory is read, not the file: that may have been replaced since.
 */
#include "observe/image.h"

#include "base/sys.h"
#include "observe/procfs.h"

#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define MAX_PROGRAM_HEADERS 64
#define MAX_DYNAMIC 256
#define MAX_CHAIN 4096

int image_read(int pid, uint64_t address, void *buffer, size_t n_bytes)
{
    size_t n_done = 0;

    while (n_done < n_bytes) {
        struct iovec remote = {(void *)(uintptr_t)(address + n_done), n_bytes - n_done};
        ssize_t n = sys_process_vm_readv(pid, (char *)buffer + n_done, n_bytes - n_done, &remote,
                                         1);
        if (n <= 0)
            return n < 0 ? (int)n : -EFAULT;
        n_done += (size_t)n;
    }
    return 0;
}

/* "START-END rwxp OFFSET DEV INODE PATH": *start, if it is the start of such a file. */
static bool is_start_of(const char *line, const char *name, uint64_t *start)
{
    unsigned long offset;
    unsigned long long from;
    const char *path = strchr(line, '/');
    const char *last = path != NULL ? strrchr(path, '/') : NULL;

    if (last == NULL || strncmp(last + 1, name, strlen(name)) != 0)
        return false;
    if (sscanf(line, "%llx-%*x %*4s %lx", &from, &offset) != 2 || offset != 0)
        return false;
    *start = from;
    return true;
}

int image_find(int pid, const char *name, uint64_t *base)
{
    struct procfs_reader reader;
    char path[64];
    int found = -ENOENT;

    snprintf(path, sizeof path, "/proc/%d/maps", pid);
    int error = procfs_open(&reader, path);
    if (error < 0)
        return error == -ENOENT ? -ESRCH : error;
    for (const char *line; found != 0 && (line = procfs_line(&reader)) != NULL;)
        if (is_start_of(line, name, base))
            found = 0;
    procfs_close(&reader);
    return found;
}

struct dynamic {
    uint64_t symbols, strings, hash;
};

/* glibc adds the base to what stands in memory; other linkers leave it. */
static uint64_t rebase(uint64_t base, uint64_t value)
{
    return value < base ? base + value : value;
}

static int read_dynamic(int pid, uint64_t base, struct dynamic *dynamic)
{
    Elf64_Ehdr header;
    Elf64_Phdr program;
    uint64_t at = 0;
    int error = image_read(pid, base, &header, sizeof header);

    if (error < 0)
        return error;
    if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_phentsize != sizeof program)
        return -ENOEXEC;
    for (unsigned i = 0; i < header.e_phnum && i < MAX_PROGRAM_HEADERS && at == 0; i++) {
        error = image_read(pid, base + header.e_phoff + i * sizeof program, &program,
                           sizeof program);
        if (error < 0)
            return error;
        if (program.p_type == PT_DYNAMIC)
            at = base + program.p_vaddr;
    }
    for (unsigned i = 0; at != 0 && i < MAX_DYNAMIC; i++) {
        Elf64_Dyn entry;
        error = image_read(pid, at + i * sizeof entry, &entry, sizeof entry);
        if (error < 0 || entry.d_tag == DT_NULL)
            break;
        if (entry.d_tag == DT_SYMTAB)
            dynamic->symbols = rebase(base, entry.d_un.d_ptr);
        else if (entry.d_tag == DT_STRTAB)
            dynamic->strings = rebase(base, entry.d_un.d_ptr);
        else if (entry.d_tag == DT_GNU_HASH)
            dynamic->hash = rebase(base, entry.d_un.d_ptr);
    }
    if (error < 0)
        return error;
    return dynamic->symbols != 0 && dynamic->strings != 0 && dynamic->hash != 0 ? 0 : -ENOEXEC;
}

static uint32_t hash_of(const char *name)
{
    uint32_t hash = 5381;
    for (; *name != '\0'; name++)
        hash = hash * 33 + (unsigned char)*name;
    return hash;
}

/* Whether symbol `index` has the name; then its address. 0, -ENOENT, or an error. */
static int match(int pid, uint64_t base, const struct dynamic *dynamic, uint32_t index,
                 const char *name, uint64_t *address)
{
    Elf64_Sym symbol;
    char text[64] = "";
    int error = image_read(pid, dynamic->symbols + index * sizeof symbol, &symbol, sizeof symbol);

    if (error == 0)
        error = image_read(pid, dynamic->strings + symbol.st_name, text, strlen(name) + 1);
    if (error < 0)
        return error;
    if (memcmp(text, name, strlen(name) + 1) != 0 || symbol.st_shndx == SHN_UNDEF)
        return -ENOENT;
    *address = base + symbol.st_value;
    return 0;
}

int image_symbol(int pid, uint64_t base, const char *symbol, uint64_t *address)
{
    struct dynamic dynamic = {0};
    struct {
        uint32_t n_buckets, first, n_bloom_words, shift;
    } head = {0};
    uint32_t hash = hash_of(symbol), index = 0, chain = 0;
    int error = strlen(symbol) < 64 ? read_dynamic(pid, base, &dynamic) : -ENOENT;

    if (error == 0)
        error = image_read(pid, dynamic.hash, &head, sizeof head);
    if (error < 0)
        return error;
    if (head.n_buckets == 0)
        return -ENOENT;
    uint64_t buckets = dynamic.hash + sizeof head + (uint64_t)head.n_bloom_words * 8;
    uint64_t chains = buckets + (uint64_t)head.n_buckets * 4;
    error = image_read(pid, buckets + (uint64_t)(hash % head.n_buckets) * 4, &index, sizeof index);
    if (error == 0 && index < head.first)
        return -ENOENT;
    for (unsigned i = 0; error == 0 && i < MAX_CHAIN && (chain & 1) == 0; i++, index++) {
        error = image_read(pid, chains + (uint64_t)(index - head.first) * 4, &chain, sizeof chain);
        if (error == 0 && (chain | 1) == (hash | 1)) {
            int found = match(pid, base, &dynamic, index, symbol, address);
            if (found != -ENOENT)
                return found;
        }
    }
    return error < 0 ? error : -ENOENT;
}
