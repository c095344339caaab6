/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kernel_exec: execve and posix_spawn whose arguments and environment lie in evicted memory; the
 * new program (this one again) checks them all.
 */
#include "helper.h"

#include <spawn.h>

enum { N_STRINGS = 500 };

static const char *expected_string(int i, const char *kind)
{
    static char text[400];
    int n = snprintf(text, sizeof text, "%s%d=", kind, i);
    for (int k = 0; k < i % 300; k++)
        text[n + k] = (char)('a' + (i + k) % 26);
    text[n + i % 300] = '\0';
    return text;
}

static int check_as_child(char **argv)
{
    int n_found = 0;
    for (int i = 0; i < N_STRINGS; i++)
        EXPECT(argv[i + 2] && strcmp(argv[i + 2], expected_string(i, "argument")) == 0);
    EXPECT(argv[N_STRINGS + 2] == NULL);
    for (char **e = environ; *e; e++)
        if (strncmp(*e, "variable", 8) == 0)
            EXPECT(strcmp(*e, expected_string(n_found++, "variable")) == 0);
    EXPECT(n_found == N_STRINGS);
    return 42;
}

/* Puts the strings of a kind into an array of pointers, from `at` on, all of it malloc'ed. */
static void append(char **array, int at, const char *kind)
{
    for (int i = 0; i < N_STRINGS; i++)
        EXPECT((array[at + i] = strdup(expected_string(i, kind))));
    array[at + N_STRINGS] = NULL;
}

int main(int argc, char **argv)
{
    if (argc > 2)
        return check_as_child(argv);
    helper_init(argc, argv);
    int n_inherited = 0;
    while (environ[n_inherited])
        n_inherited++;
    char **arguments = calloc(N_STRINGS + 3, sizeof *arguments);
    char **variables = calloc((size_t)n_inherited + N_STRINGS + 1, sizeof *variables);
    EXPECT(arguments && variables);
    char *path = strdup("/proc/self/exe");
    arguments[0] = strdup("kernel_exec");
    arguments[1] = strdup("child");
    append(arguments, 2, "argument");
    for (int i = 0; i < n_inherited; i++)
        variables[i] = strdup(environ[i]);
    append(variables, n_inherited, "variable");

    for (int round = 0; round < 2; round++) {
        press();
        pid_t pid = fork();
        EXPECT(pid >= 0);
        if (pid == 0) {
            execve(path, arguments, variables);
            _exit(99);
        }
        expect_exit(pid, 42);

        press();
        pid = vfork();
        if (pid == 0) {
            execve(path, arguments, variables);
            _exit(99);
        }
        EXPECT(pid > 0);
        expect_exit(pid, 42);

        press();
        EXPECT(posix_spawn(&pid, path, NULL, NULL, arguments, variables) == 0);
        expect_exit(pid, 42);
    }
    return helper_done();
}
