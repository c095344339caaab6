/* SPDX-License-Identifier: Apache-2.0 */
/* table: see table.h. */
#include "sim/table.h"

#include "base/sys.h"

#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>

#define LEAST_BYTES ((size_t)64 << 10)

int table_grow(struct table *table, size_t n_bytes)
{
    size_t size = table->n_bytes != 0 ? table->n_bytes : LEAST_BYTES;
    if (n_bytes <= table->n_bytes)
        return 0;
    if (n_bytes > SIZE_MAX / 4)
        return -ENOMEM;
    while (size < n_bytes)
        size *= 2;
    void *base = table->base == NULL
                     ? sys_mmap(NULL, size, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
                     : sys_mremap(table->base, table->n_bytes, size, MREMAP_MAYMOVE, NULL);
    if (sys_is_error(base))
        return -ENOMEM;
    sys_madvise(base, size, MADV_HUGEPAGE); /* random access: fewer walks; or none, if refused */
    table->base = base;
    table->n_bytes = size;
    return 0;
}

void table_free(struct table *table)
{
    if (table->base != NULL)
        sys_munmap(table->base, table->n_bytes);
    *table = (struct table){0};
}
