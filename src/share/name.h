/* SPDX-License-Identifier: Apache-2.0 */
/* name: what the two ends of a name say to each other, and where names are. */
#ifndef QUIRE_SHARE_NAME_H
#define QUIRE_SHARE_NAME_H

#include <quire/share.h>

#include <sys/un.h>

#define NAME_MAGIC 0x51524e31u /* "QRN1" */
#define NAME_VERSION 1u

/* The publisher's first message; the descriptors come with it. */
struct name_offer {
    uint32_t magic;
    uint16_t version, word_bits;
    int32_t error; /* a negative errno in place of descriptors */
    char tag[QUIRE_SHARE_MAX_TAG_BYTES + 1];
};

enum name_request { NAME_HELLO, NAME_REMOVE };

/* The user's, any number. */
struct name_message {
    uint32_t magic;
    uint32_t request; /* enum name_request */
    uint32_t own_pid;
};

/* Where the socket of a name is. */
struct name_place {
    struct sockaddr_un address;
    const char *file;                                     /* its last part, within the address */
    char home[sizeof((struct sockaddr_un *)0)->sun_path]; /* the directory of names; "": another */
};

enum name_use { NAME_TO_OPEN, NAME_TO_REMOVE, NAME_TO_TAKE };

/* The directory (locked against other publishers, but to open), and where the name is in it.
 * -EINVAL: it is no name. */
int name_find(const char *name, enum name_use use, struct name_place *place);

/* Whether somebody listens there; removes a name that was left behind. */
bool name_is_taken(int directory, const struct name_place *place);

/* Removes the directory of names if that was the last of them. */
void name_leave(const struct name_place *place);

#endif
