/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seal: what goes to the swap file is encrypted and authenticated; private to the store, but for
 * the making of the key, which is the launcher's.
 *
 * A run has one key. It lies in a page of shared memory that has no name, is locked in RAM, is left
 * out of core dumps, and exists for as long as the run does. The launcher makes it, the run's
 * keeper holds it, and each process that pages maps it, to be read only.
 *
 * Thread safety: seal_encrypt(), seal_decrypt() and seal_units() may be called by any thread at any
 * time, those that libc does not know included. They take no lock, allocate nothing and do not
 * touch errno.
 */
#ifndef QUIRE_STORE_SEAL_H
#define QUIRE_STORE_SEAL_H

#include <stddef.h>
#include <stdint.h>

struct seal; /* the page with the key */

enum seal_cipher { SEAL_AES_256_GCM = 1, SEAL_CHACHA20_POLY1305 };

/*
 * Readies the library of ciphers, once a process; cheap from then on. In a thread that libc knows,
 * before anything else here, and again after a fork only where it was not called before. 0 or -EIO:
 * the system gives no random numbers.
 */
int seal_prepare(void);

enum seal_cipher seal_best_cipher(void); /* the fastest here; after seal_prepare() */
const char *seal_cipher_name(enum seal_cipher cipher);

/*
 * The launcher: makes a page with a new random key. Returns its descriptor (close-on-exec) and sets
 * *seal, or a negative errno; -EPERM: the page can't be locked (RLIMIT_MEMLOCK).
 */
int seal_create(enum seal_cipher cipher, struct seal **seal);

/* A fork of the launcher: locks its own mapping, too, since locks are not inherited. 0 or -EPERM.
 */
int seal_hold(struct seal *seal);

/* Overwrites the key: nothing that was sealed by it can be read any more, by anyone. */
void seal_destroy(struct seal *seal);

/*
 * A process of the run: maps the page through `path` (/proc/PID/fd/N), to be read only, and tries
 * the cipher. 0 or a negative errno; -EPROTO: it is no such page; -EOPNOTSUPP: the ciphers of this
 * process can't do it. After a fork the child has the same page.
 */
int seal_attach(const char *path, const struct seal **seal);
void seal_detach(const struct seal *seal); /* this process needs it no more */

/*
 * Where a sealed object lies and when it was written. `use` is never given twice in a run, so no
 * two objects have the same of both, and none verifies anywhere else or instead of a later one.
 */
struct seal_place {
    uint64_t use; /* of the cluster: see swap_new_use() */
    uint32_t cluster;
    uint16_t unit;    /* of the cluster: where the object starts */
    uint16_t n_units; /* how long it is, at most 255 */
};

/*
 * A sealed object: | tag 16 | length 1, masked | encrypted ... |. The length can be told from the
 * bytes alone, by who has the key, without knowing where the object ends.
 */
#define SEAL_TAG_BYTES 16
#define SEAL_PREFIX_BYTES (SEAL_TAG_BYTES + (size_t)1)

/* Both work in place on all of the n_bytes of an object, prefix included. */
void seal_encrypt(const struct seal *seal, const struct seal_place *place, unsigned char *object,
                  size_t n_bytes);
/* 0, or -EBADMSG: not one bit of it may be used; the memory is overwritten. */
int seal_decrypt(const struct seal *seal, const struct seal_place *place, unsigned char *object,
                 size_t n_bytes);

/* How many units an object claims to have; `place` lacks n_units. Not verified: may be anything. */
unsigned seal_units(const struct seal *seal, const struct seal_place *place,
                    const unsigned char *object);

#endif
