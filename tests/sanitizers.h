/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which sanitizer a test was built with. They set up state of their own where they see a thread
 * being made. Quire's threads (base/thread.h) are made behind their backs: ThreadSanitizer crashes
 * in the first instrumented function on one of them, AddressSanitizer where such a thread ends.
 */
#ifndef QUIRE_TESTS_SANITIZERS_H
#define QUIRE_TESTS_SANITIZERS_H

#ifndef __has_feature
#define __has_feature(feature) 0
#endif

#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
#define UNDER_THREAD_SANITIZER 1
#else
#define UNDER_THREAD_SANITIZER 0
#endif

#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define UNDER_ADDRESS_SANITIZER 1
#else
#define UNDER_ADDRESS_SANITIZER 0
#endif

#endif
