/* SPDX-License-Identifier: Apache-2.0 */
/* hand: quire_share_memory, with room to grow. */
#ifndef QUIRE_SHARE_HAND_H
#define QUIRE_SHARE_HAND_H

#include <quire/share.h>

/* As quire_share_memory; map_bytes are mapped, n_bytes or more. */
int hand_memory(const char *name, size_t n_bytes, size_t map_bytes, unsigned flags, void **memory);

#endif
