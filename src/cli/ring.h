/* SPDX-License-Identifier: Apache-2.0 */
/* ring: what the files of `quire ring` share. */
#ifndef QUIRE_CLI_RING_H
#define QUIRE_CLI_RING_H

#include <quire/ring.h>
#include <quire/share.h>

#include <argp.h>

#define RING_TAG "ring" /* of what is published */

/* Descriptors of a published ring. */
enum ring_fd { RING_FD_MEMORY, RING_FD_DATA_EVENT, RING_FD_SPACE_EVENT, RING_N_FDS };

struct ring_open { /* a ring that was found by its name */
    struct quire_share_opened share;
    struct quire_ring ring;
    void *memory;
    size_t n_bytes;
};

/* Opens and attaches. EXIT_SUCCESS, or EXIT_FAILURE after a message. */
int ring_open(const char *name, enum quire_ring_side side, struct ring_open *open);
void ring_close(struct ring_open *open);
/*
 * Tells the keeper that this process uses the ring no more: who has not detached has died. Waits
 * until it has taken note, so that a ring that ends with this user is gone afterwards.
 */
void ring_hang_up(struct ring_open *open);

void ring_tell_bad_name(const char *name);

/* What each subcommand does; argv[0] is "quire ring NAME". The exit status. */
int ring_create(int argc, char **argv);
int ring_put(int argc, char **argv);
int ring_get(int argc, char **argv);
int ring_stat(int argc, char **argv);
int ring_ls(int argc, char **argv);
int ring_rm(int argc, char **argv);
int ring_bench(int argc, char **argv);

/*
 * The command line of a subcommand that takes one NAME and no options of its own but --json (where
 * as_json is given) and --watch (where watch is). Exits on errors as argp does.
 */
const char *ring_parse_name(int argc, char **argv, const char *documentation, bool *as_json,
                            bool *watch);
/* Likewise of one that takes no NAME, and --json alone. Whether that was given. */
bool ring_parse_json(int argc, char **argv, const char *documentation);

#endif
