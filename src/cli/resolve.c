/* SPDX-License-Identifier: Apache-2.0 */
/*
 * resolve: looks COMMAND up in PATH, and puts into words why a program can't be served.
 *
 * Not found gives 127, what exec would refuse gives 126. What would run, but without Quire, gives
 * 125: it is Quire that can't.
 */
#include "cli/resolve.h"

#include "cli/cli.h"
#include "observe/program.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Whether exec could take this file: 0 or the errno it would give. */
static int try_file(const char *path)
{
    struct stat info;

    if (stat(path, &info) != 0)
        return errno;
    if (S_ISDIR(info.st_mode))
        return EISDIR;
    return access(path, X_OK) == 0 ? 0 : EACCES;
}

/* Goes through PATH. 0, or the errno to tell: a file that is there but barred beats none at all. */
static int search_path(const char *command, char *path, size_t n_bytes)
{
    const char *directories = getenv("PATH");
    int error = ENOENT;

    if (directories == NULL)
        directories = "/bin:/usr/bin"; /* confstr(_CS_PATH), as execvp has it */
    for (const char *at = directories, *end; at != NULL; at = end != NULL ? end + 1 : NULL) {
        end = strchr(at, ':');
        int n_at = (int)(end != NULL ? end - at : (ptrdiff_t)strlen(at));
        int n = snprintf(path, n_bytes, "%.*s%s%s", n_at, at, n_at > 0 ? "/" : "./", command);
        if (n < 0 || (size_t)n >= n_bytes)
            continue;
        int result = try_file(path);
        if (result == 0)
            return 0;
        if (result == EACCES)
            error = EACCES;
    }
    return error;
}

static int find_command(const char *command, char *path, size_t n_bytes)
{
    if (strchr(command, '/') == NULL)
        return command[0] == '\0' ? ENOENT : search_path(command, path, n_bytes);
    if (strlen(command) >= n_bytes)
        return ENAMETOOLONG;
    memcpy(path, command, strlen(command) + 1);
    return try_file(path);
}

static const struct words {
    int status;
    const char *what, *fix; /* what is wrong with the file; the way out or NULL */
} words[] = {
    [PROGRAM_MISSING] = {CLI_EXIT_NOT_FOUND, "there is no such file", NULL},
    [PROGRAM_DIRECTORY] = {CLI_EXIT_NOT_EXECUTABLE, "it is a directory", NULL},
    [PROGRAM_NOT_EXECUTABLE] = {CLI_EXIT_NOT_EXECUTABLE, "it is not executable",
                                "if it is meant to be: chmod +x"},
    [PROGRAM_TOO_DEEP] = {CLI_EXIT_NOT_EXECUTABLE, "its \"#!\" leads through too many scripts",
                          "name the interpreter on the command line"},
    [PROGRAM_NO_LOADER] = {CLI_EXIT_NOT_EXECUTABLE, "the loader that it asks for is not there",
                           "install the C library it was built for"},
    [PROGRAM_BROKEN] = {CLI_EXIT_NOT_EXECUTABLE, "it is a damaged ELF file", NULL},
    [PROGRAM_STATIC] = {CLI_EXIT_FAILED,
                        "it is linked statically, so Quire's library can't be loaded into it",
                        "build or install it linked dynamically (without -static)"},
    [PROGRAM_GO] = {CLI_EXIT_FAILED,
                    "it is a Go program; those take memory straight from the kernel, past malloc",
                    "give it a limit of its own: GOMEMLIMIT"},
    [PROGRAM_32BIT] = {CLI_EXIT_FAILED, "it is a 32-bit program; Quire serves 64-bit ones",
                       "install its 64-bit build"},
    [PROGRAM_FOREIGN] = {CLI_EXIT_FAILED, "it is not a program for this machine's processor",
                         "install the build for this machine"},
    [PROGRAM_OTHER_LIBC] = {CLI_EXIT_FAILED,
                            "it is linked with another C library; Quire's is built for glibc",
                            "install a build for glibc (most distributions' packages are)"},
    [PROGRAM_SANITIZER] = {CLI_EXIT_FAILED,
                           "it is built with a sanitizer, which brings an allocator of its own",
                           "build it without -fsanitize=address, thread, memory or leak"},
    [PROGRAM_SET_USER] =
        {CLI_EXIT_FAILED,
         "it is set-uid or set-gid, and the loader keeps other libraries out of it",
         "run it as that user in the first place: sudo quire run ..."},
    [PROGRAM_PRIVILEGES] =
        {CLI_EXIT_FAILED,
         "it has file capabilities, and the loader keeps other libraries out of it",
         "run it as root in the first place: sudo quire run ..."},
};

static int refuse(enum program_verdict verdict, const struct program *program)
{
    const struct words *say = &words[verdict];
    char detail[PATH_MAX + 320] = "";

    if (verdict == PROGRAM_NO_LOADER || verdict == PROGRAM_OTHER_LIBC)
        snprintf(detail, sizeof detail, " (%s)", program->elf.interpreter);
    else if (verdict == PROGRAM_SANITIZER)
        snprintf(detail, sizeof detail, " (%s)", program->elf.sanitizer);
    if (program->from[0] != '\0')
        snprintf(detail + strlen(detail), sizeof detail - strlen(detail),
                 "\n%s is a script that names it in its first line", program->from);
    cli_error("cannot run %s: %s%s%s%s", program->path, say->what, detail,
              say->fix != NULL ? "\n" : "", say->fix != NULL ? say->fix : "");
    /* the command itself was found then */
    return program->from[0] != '\0' && say->status == CLI_EXIT_NOT_FOUND ? CLI_EXIT_NOT_EXECUTABLE
                                                                         : say->status;
}

int resolve_command(const char *command, char *path, size_t n_bytes)
{
    static struct program program; /* two paths long */
    int error = find_command(command, path, n_bytes);

    if (error == ENOENT && strchr(command, '/') == NULL) {
        cli_error("cannot find the command '%s' in PATH", command);
        return CLI_EXIT_NOT_FOUND;
    }
    if (error == ENOENT || error == ENOTDIR) {
        cli_error("cannot run %s: there is no such file", command);
        return CLI_EXIT_NOT_FOUND;
    }
    if (error == EISDIR) {
        cli_error("cannot run %s: it is a directory", command);
        return CLI_EXIT_NOT_EXECUTABLE;
    }
    if (error == EACCES) {
        cli_error("cannot run %s: it is not executable\nif it is meant to be: chmod +x", command);
        return CLI_EXIT_NOT_EXECUTABLE;
    }
    if (error != 0) {
        cli_error("cannot run %s: %s", command, strerror(error));
        return CLI_EXIT_NOT_EXECUTABLE;
    }
    enum program_verdict verdict = program_inspect(path, &program);
    return verdict == PROGRAM_SERVED || verdict == PROGRAM_UNKNOWN ? 0 : refuse(verdict, &program);
}
