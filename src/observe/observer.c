/* SPDX-License-Identifier: Apache-2.0 */
/* observer: what holds the descriptors and buffers of <quire/observe.h> together. */
#include "base/sys.h"
#include "observe/processes.h"
#include "observe/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

int quire_observe_open(const char *root, struct quire_observe **result)
{
    struct quire_observe *observe = calloc(1, sizeof *observe);

    *result = NULL;
    if (observe == NULL)
        return -ENOMEM;
    observe->root_fd = sys_openat(AT_FDCWD, root != NULL && root[0] != '\0' ? root : "/",
                                  O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    if (observe->root_fd < 0) {
        int error = observe->root_fd;
        free(observe);
        return error;
    }
    *result = observe;
    return 0;
}

void quire_observe_close(struct quire_observe *observe)
{
    if (observe == NULL)
        return;
    for (unsigned i = 0; i < observe->n_kept; i++)
        sys_close(observe->kept[i].fd);
    processes_free(observe->processes);
    runs_free(observe->runs);
    sys_close(observe->root_fd);
    free(observe->buffer);
    free(observe->zones);
    free(observe->slabs);
    free(observe->mappings);
    free(observe->groups);
    free(observe->heaps);
    free(observe);
}

const char *quire_observe_message(const struct quire_observe *observe)
{
    return observe->message;
}
