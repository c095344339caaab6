/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a test was built with ThreadSanitizer. That keeps its state in thread-local memory which
 * it sets up where it sees a thread being made; Quire's own threads (base/thread.h) are made behind
 * its back, so the first instrumented function on one of them would crash.
 */
#ifndef QUIRE_TESTS_THREAD_SANITIZER_H
#define QUIRE_TESTS_THREAD_SANITIZER_H

#if defined(__SANITIZE_THREAD__)
#define UNDER_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_THREAD_SANITIZER 1
#endif
#endif

#ifndef UNDER_THREAD_SANITIZER
#define UNDER_THREAD_SANITIZER 0
#endif

#endif
