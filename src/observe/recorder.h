/* SPDX-License-Identifier: Apache-2.0 */
/* recorder: writes samples into a recording (record_file.h). */
#ifndef QUIRE_OBSERVE_RECORDER_H
#define QUIRE_OBSERVE_RECORDER_H

#include "observe/sample.h"

struct recorder;

/*
 * Makes the file, or goes on in one that is there. `max_bytes` (at least 1 MiB) is what a new file
 * grows to before the oldest is dropped; 0: 64 MiB. *message says what is wrong; "" with a plain
 * errno. Errors: -EBADMSG: there is a file that is no recording; -EPROTO: of another version;
 * -EBUSY: somebody else writes to it; -EINVAL: it was made with another max_bytes; -EXDEV: its
 * fields are others than this version's.
 */
int recorder_open(const char *path, uint64_t max_bytes, uint64_t interval_ms,
                  struct recorder **recorder) __attribute__((warn_unused_result));

/* 0; -EFBIG: one sample alone is larger than a frame may be: give a larger max_bytes; or -errno. */
int recorder_append(struct recorder *recorder, const struct sample *sample)
    __attribute__((warn_unused_result));

/* So far, of this recorder: samples, and bytes that they took in the file. */
uint64_t recorder_n_samples(const struct recorder *recorder);
uint64_t recorder_n_bytes(const struct recorder *recorder);

void recorder_close(struct recorder *recorder);

#endif
