/* SPDX-License-Identifier: Apache-2.0 */
/* scratch: see scratch.h. */
#include "base/scratch.h"

#include "base/checked.h"
#include "base/meta.h"
#include "base/sys.h"

#include <assert.h>
#include <errno.h>
#include <sys/mman.h>

int scratch_open(struct scratch *scratch, size_t n_bytes)
{
    *scratch = (struct scratch){.n_bytes = round_up(n_bytes, SYS_PAGE_SIZE)};
    scratch->memory = meta_map(scratch->n_bytes);
    return scratch->memory ? 0 : -ENOMEM;
}

void scratch_close(struct scratch *scratch)
{
    meta_charge(-(long)scratch->used_bytes);
    meta_unmap(scratch->memory, scratch->n_bytes);
    *scratch = (struct scratch){0};
}

void scratch_use(struct scratch *scratch, size_t n_bytes)
{
    if (n_bytes <= scratch->used_bytes)
        return;
    assert(n_bytes <= scratch->n_bytes);
    size_t used_bytes = round_up(n_bytes, SYS_PAGE_SIZE);
    meta_charge((long)(used_bytes - scratch->used_bytes)); /* S1 */
    scratch->used_bytes = used_bytes;
}

void scratch_drop(struct scratch *scratch)
{
    if (scratch->used_bytes == 0 ||
        sys_madvise(scratch->memory, scratch->used_bytes, MADV_DONTNEED) < 0)
        return;
    meta_charge(-(long)scratch->used_bytes); /* S1 */
    scratch->used_bytes = 0;
}
