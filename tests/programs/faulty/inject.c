/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inject: the library as the tests load it whose swap file is to fail: QUIRE_TEST_FAULT says how.
 *
 *   read|write NTH TIMES ERRNO STALL_MS SHORTEN [; ...]
 *
 * Only what goes to the swap file counts. ERRNO 0: the call runs. Every process of a run reads it
 * anew and counts its own calls. No libc here: this runs before libc is ready.
 */
#include "base/sys.h"

#include <string.h>

#define VARIABLE "QUIRE_TEST_FAULT="

static unsigned long number(const char **text)
{
    unsigned long n = 0;
    while (**text == ' ')
        ++*text;
    while (**text >= '0' && **text <= '9')
        n = n * 10 + (unsigned long)(*(*text)++ - '0');
    return n;
}

static void inject(const char *text)
{
    while (*text != '\0') {
        while (*text == ' ' || *text == ';')
            text++;
        const enum sys_class class = *text == 'r' ? SYS_CLASS_READ : SYS_CLASS_WRITE;
        while (*text >= 'a' && *text <= 'z')
            text++;
        struct sys_fault fault = {.in_swap = true};
        fault.nth = number(&text);
        fault.n_times = number(&text);
        fault.error = (int)number(&text);
        fault.stall_ns = number(&text) * 1000000;
        fault.shorten = number(&text) != 0;
        sys_inject_fault(class, &fault);
        while (*text != '\0' && *text != ';')
            text++;
    }
}

__attribute__((constructor)) static void initialise(int argc, char **argv, char **environment)
{
    for (; *environment; environment++)
        if (strncmp(*environment, VARIABLE, strlen(VARIABLE)) == 0)
            inject(*environment + strlen(VARIABLE));
}
