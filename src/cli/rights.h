/* SPDX-License-Identifier: Apache-2.0 */
/* rights: whether this process may page another program's memory, and if not, what opens it. */
#ifndef QUIRE_CLI_RIGHTS_H
#define QUIRE_CLI_RIGHTS_H

#include "base/uffd.h"

#include <stdbool.h>

struct rights {
    enum uffd_way way;   /* how userfaultfd was had, or what is open at most */
    bool may_serve;      /* faults of the kernel too */
    bool has_move;       /* UFFDIO_MOVE; found out through whatever way is open */
    bool by_sysctl;      /* vm.unprivileged_userfaultfd is 1 */
    bool by_capability;  /* CAP_SYS_PTRACE is effective, as it is for root */
    const char *problem; /* what is missing, in a sentence; NULL when nothing is */
    char fix[400];       /* the commands that would open it; "" when no command does */
};

void rights_find(struct rights *rights);

/* Moves a page with UFFDIO_MOVE and looks at what arrived. 0 or a negative errno. */
int rights_try_move(void);

#endif
