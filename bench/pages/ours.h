/* SPDX-License-Identifier: Apache-2.0 */
/* ours: Quire's buddy system in its forms, as peers of each other. */
#ifndef QUIRE_BENCH_PAGES_OURS_H
#define QUIRE_BENCH_PAGES_OURS_H

#include "peer.h"

#define N_OURS 3
extern const struct pages_peer pages_ours[N_OURS]; /* lists, tree, lists with a thread's cache */

#endif
