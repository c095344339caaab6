/* SPDX-License-Identifier: Apache-2.0 */
/* array: see array.h. */
#include "sim/array.h"

#include "base/sys.h"

#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>

#define LEAST_BYTES ((size_t)64 << 10)

int array_grow(struct array *array, size_t n_bytes)
{
    size_t size = array->n_bytes != 0 ? array->n_bytes : LEAST_BYTES;
    if (n_bytes <= array->n_bytes)
        return 0;
    if (n_bytes > SIZE_MAX / 4)
        return -ENOMEM;
    while (size < n_bytes)
        size *= 2;
    void *base = array->base == NULL
                     ? sys_mmap(NULL, size, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
                     : sys_mremap(array->base, array->n_bytes, size, MREMAP_MAYMOVE, NULL);
    if (sys_is_error(base))
        return -ENOMEM;
    sys_madvise(base, size, MADV_HUGEPAGE); /* random access: fewer walks; or none, if refused */
    array->base = base;
    array->n_bytes = size;
    return 0;
}

void array_free(struct array *array)
{
    if (array->base != NULL)
        sys_munmap(array->base, array->n_bytes);
    *array = (struct array){0};
}
