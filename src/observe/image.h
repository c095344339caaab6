/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image: another process's memory, and the dynamic symbols of the libraries mapped there.
 *
 * Nothing that is read is trusted: every loop is bounded, every address is only ever read through
 * process_vm_readv(2). Nothing here allocates; thread-safe.
 * Source: System V ABI (gABI) chapter 5; the GNU hash table as glibc's dynamic linker reads it.
 */
#ifndef QUIRE_OBSERVE_IMAGE_H
#define QUIRE_OBSERVE_IMAGE_H

#include <stddef.h>
#include <stdint.h>

/* All n_bytes at `address`. 0, or a negative errno: -EFAULT, -EPERM, -ESRCH. */
int image_read(int pid, uint64_t address, void *buffer, size_t n_bytes);

/*
 * Where the first file whose name begins with `name` ("libquire.so") is mapped from its start on.
 * 0; -ENOENT: nowhere; -ESRCH: no such process; -EACCES: its maps may not be read.
 */
int image_find(int pid, const char *name, uint64_t *base);

/* The address of a dynamic symbol of the image at `base`. 0; -ENOENT: it has none of that name;
 * -ENOEXEC: it is no image. */
int image_symbol(int pid, uint64_t base, const char *symbol, uint64_t *address);

#endif
