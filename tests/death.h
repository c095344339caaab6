/* SPDX-License-Identifier: Apache-2.0 */
/* death: what a process says before a check ends it. For tests of suite `misuse`, with cmocka. */
#ifndef QUIRE_TESTS_DEATH_H
#define QUIRE_TESTS_DEATH_H

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h> /* wants the headers above */

/* A child that does the wrong thing must say exactly this and end by a signal. */
static inline void assert_dies(void (*misuse)(void), const char *expected)
{
    int ends[2], status;
    char message[200] = "";
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_DUMPABLE, 0); /* no core file */
        signal(SIGILL, SIG_DFL);   /* which cmocka, and sanitizers, handle */
        signal(SIGTRAP, SIG_DFL);
        dup2(ends[1], 2);
        misuse();
        _exit(0);
    }
    close(ends[1]);
    assert_true(read(ends[0], message, sizeof message - 1) > 0);
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_string_equal(message, expected);
}

#endif
