/* SPDX-License-Identifier: Apache-2.0 */
/*
 * program: follows what execve(2) would follow, and judges the file at the end of it.
 *
 *   file -- "#! interpreter" --> file -- ... --> ELF -- PT_INTERP --> the dynamic loader
 *
 * Quire gets into a program by LD_PRELOAD, so the end must be a dynamic program of this machine
 * whose loader is glibc's and obeys LD_PRELOAD: it does not in "secure execution" (set-uid, file
 * capabilities), see ld.so(8). `env` and the like are dynamic programs themselves; what they go on
 * to start is judged when it starts.
 */
#include "observe/program.h"

#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#define MAX_SCRIPTS 5         /* the kernel gives up after as many (fs/exec.c) */
#define SCRIPT_LINE_BYTES 256 /* and reads this much of the line (BINPRM_BUF_SIZE) */

/* Copies the interpreter's path from a line "#! PATH [ARGUMENT]". */
static bool parse_script(const char *line, size_t n_bytes, char *interpreter)
{
    if (n_bytes < 2 || line[0] != '#' || line[1] != '!')
        return false;
    const char *end = memchr(line, '\n', n_bytes);
    const char *at = line + 2, *stop = end != NULL ? end : line + n_bytes;
    while (at < stop && (*at == ' ' || *at == '\t'))
        at++;
    size_t n = 0;
    while (at + n < stop && at[n] != ' ' && at[n] != '\t' && at[n] != '\0')
        n++;
    memcpy(interpreter, at, n);
    interpreter[n] = '\0';
    return n > 0;
}

/* Whether exec would change who the process is, so that the loader ignores LD_PRELOAD. */
static enum program_verdict judge_privileges(int fd, const struct stat *info)
{
    struct statvfs file_system;
    char capabilities[64];
    bool other_user = (info->st_mode & S_ISUID) && info->st_uid != geteuid();
    bool other_group = (info->st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) &&
                       info->st_gid != getegid();

    if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ||
        (fstatvfs(fd, &file_system) == 0 && (file_system.f_flag & ST_NOSUID)))
        return PROGRAM_SERVED;
    if (other_user || other_group)
        return PROGRAM_SET_USER;
    /* the kernel lets root keep LD_PRELOAD: it gains nothing by the file's capabilities */
    if (getuid() != 0 &&
        fgetxattr(fd, "security.capability", capabilities, sizeof capabilities) > 0)
        return PROGRAM_PRIVILEGES;
    return PROGRAM_SERVED;
}

static enum program_verdict judge_elf(const struct elf_facts *elf)
{
    const char *slash = strrchr(elf->interpreter, '/');
    const char *loader = slash != NULL ? slash + 1 : elf->interpreter;

    switch (elf->kind) {
    case ELF_NONE:
        return PROGRAM_UNKNOWN;
    case ELF_BROKEN:
        return PROGRAM_BROKEN;
    case ELF_32BIT:
        return PROGRAM_32BIT;
    case ELF_FOREIGN:
        return PROGRAM_FOREIGN;
    case ELF_STATIC:
        return elf->is_go ? PROGRAM_GO : PROGRAM_STATIC;
    case ELF_DYNAMIC:
        break;
    }
    if (elf->is_loader)
        return PROGRAM_SERVED;
    if (strncmp(loader, "ld-linux", 8) != 0 && strncmp(loader, "ld64", 4) != 0)
        return PROGRAM_OTHER_LIBC;
    if (elf->is_go)
        return PROGRAM_GO;
    if (elf->sanitizer != NULL)
        return PROGRAM_SANITIZER;
    return access(elf->interpreter, F_OK) == 0 ? PROGRAM_SERVED : PROGRAM_NO_LOADER;
}

/* Judges program->path itself. *next: it is a script, and this is the interpreter it names. */
static enum program_verdict judge_file(struct program *program, char *next)
{
    struct stat info;
    char line[SCRIPT_LINE_BYTES];

    next[0] = '\0';
    if (stat(program->path, &info) != 0)
        return errno == EACCES ? PROGRAM_NOT_EXECUTABLE : PROGRAM_MISSING;
    if (S_ISDIR(info.st_mode))
        return PROGRAM_DIRECTORY;
    if (!S_ISREG(info.st_mode) || faccessat(AT_FDCWD, program->path, X_OK, AT_EACCESS) != 0)
        return PROGRAM_NOT_EXECUTABLE;
    int fd = sys_openat(AT_FDCWD, program->path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0) /* may be run but not read; the summary tells if Quire did not get in */
        return PROGRAM_UNKNOWN;
    enum program_verdict verdict = PROGRAM_SERVED;
    ssize_t n = sys_pread(fd, line, sizeof line, 0);
    if (n <= 0 || !parse_script(line, (size_t)n, next)) {
        elf_inspect(&(struct elf_file){.fd = fd}, &program->elf);
        verdict = judge_elf(&program->elf);
        if (verdict == PROGRAM_SERVED)
            verdict = judge_privileges(fd, &info);
    }
    sys_close(fd);
    return verdict;
}

static bool set_path(char *path, const char *value)
{
    size_t n = strnlen(value, PATH_MAX);

    if (n == PATH_MAX)
        return false;
    memcpy(path, value, n + 1);
    return true;
}

enum program_verdict program_inspect(const char *path, struct program *program)
{
    char next[PATH_MAX];

    program->from[0] = '\0';
    program->elf = (struct elf_facts){.kind = ELF_NONE};
    if (!set_path(program->path, path))
        return PROGRAM_MISSING;
    for (int depth = 0; depth <= MAX_SCRIPTS; depth++) {
        enum program_verdict verdict = judge_file(program, next);
        if (verdict != PROGRAM_SERVED || next[0] == '\0')
            return verdict;
        set_path(program->from, program->path);
        set_path(program->path, next);
    }
    return PROGRAM_TOO_DEEP;
}
