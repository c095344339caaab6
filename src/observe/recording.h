/* SPDX-License-Identifier: Apache-2.0 */
/* recording: what `quire log` wrote, as a feed in which one can go back and forth. */
#ifndef QUIRE_OBSERVE_RECORDING_H
#define QUIRE_OBSERVE_RECORDING_H

#include "observe/feed.h"

/*
 * Opens a recording; a writer may still be at it, what it adds then is not seen. A file that was
 * cut or damaged gives what can be read of it. 0, then feed_close() it; -EBADMSG: it is no
 * recording, or nothing of it can be read; -EPROTO: it is of another version; or a negative errno.
 * `message` (RECORDING_MESSAGE_BYTES) then says in a sentence what is wrong.
 */
#define RECORDING_MESSAGE_BYTES 256
int feed_open_recorded(const char *path, struct feed **feed, char *message)
    __attribute__((warn_unused_result));

#endif
