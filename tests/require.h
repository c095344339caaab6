/* SPDX-License-Identifier: Apache-2.0 */
/* require: what must hold in a test that is a process of its own, without cmocka. */
#ifndef QUIRE_TESTS_REQUIRE_H
#define QUIRE_TESTS_REQUIRE_H

#include <stdio.h>
#include <stdlib.h>

#define REQUIRE(condition)                                                          \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: %s: not so\n", __FILE__, __LINE__, #condition); \
            abort();                                                                \
        }                                                                           \
    } while (0)

#endif
