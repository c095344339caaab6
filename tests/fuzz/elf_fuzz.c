/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a program file: nothing is read outside of them, and what is said of them holds. */
#include "observe/elf.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    struct elf_facts facts;

    elf_inspect(&(struct elf_file){.data = data, .n_bytes = n_bytes, .fd = -1}, &facts);
    if (memchr(facts.interpreter, '\0', sizeof facts.interpreter) == NULL)
        abort();
    if (facts.kind == ELF_DYNAMIC && !facts.is_loader && facts.interpreter[0] == '\0')
        abort();
    if (facts.kind != ELF_DYNAMIC && facts.sanitizer != NULL)
        abort();
    return 0;
}
