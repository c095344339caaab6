/* SPDX-License-Identifier: Apache-2.0 */
/* relax: a pause in a loop that waits for another processor. */
#ifndef QUIRE_BASE_RELAX_H
#define QUIRE_BASE_RELAX_H

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#endif
